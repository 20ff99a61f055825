"""What Prefect, DVC, MLflow and Great Expectations cost over the same stages as plain calls (``make bench``).

Plain: one process calls the stage functions in order; rows are checked with pandas instead of Great Expectations;
nothing is registered. Orchestrated: ``python -m flows.release`` in a fresh copy of the checkout, from checking the
tracked data to the release in production. Both train everything anew, turn by turn in one run; medians and their ratio
are recorded.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.record import commit, write
from pipelines.workspace import PROJECT


def fresh_checkout(folder: Path) -> Path:
    """Clone the checkout, with uncommitted changes to tracked files, into an empty folder."""
    target = folder / "checkout"
    subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(target)], check=True)
    for name in subprocess.run(
        ["git", "diff", "--name-only", "HEAD"], cwd=PROJECT, capture_output=True, text=True, check=True
    ).stdout.split():
        if (PROJECT / name).exists():
            shutil.copy(PROJECT / name, target / name)
    return target


def timed(command: list[str], folder: Path) -> float:
    """Run ``command`` in ``folder``, which is where its modules come from; return the seconds it took."""
    environment = os.environ | {"PYTHONPATH": str(folder), "PREFECT_HOME": str(folder / ".prefect")}
    began = time.monotonic()
    subprocess.run(command, cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    measured_commit = commit()  # the checkout may move on while this runs
    flow = [sys.executable, "-m", "flows.release"]
    plain = [sys.executable, "-m", "benchmarks.plain_stages"]
    plain_seconds, flow_seconds, unchanged_seconds = [], [], []
    with tempfile.TemporaryDirectory() as root:
        checkout = fresh_checkout(Path(root))
        subprocess.run([sys.executable, "-m", "dvc", "pull", "-q", "data.dvc"], cwd=checkout, check=True)
        timed([*plain, str(checkout / "warm")], checkout)  # compiles kernels once for both
        for turn in range(repeats):
            plain_seconds.append(timed([*plain, str(checkout / f"plain_{turn}")], checkout))
            for name in ("artifacts", "state", ".dvc/cache", ".dvc/tmp"):
                shutil.rmtree(checkout / name, ignore_errors=True)
            flow_seconds.append(timed(flow, checkout))
            unchanged_seconds.append(timed(flow, checkout))
            turns = (plain_seconds[-1], flow_seconds[-1], unchanged_seconds[-1])
            print("plain {:.1f} s, flow {:.1f} s, flow with nothing changed {:.1f} s".format(*turns), flush=True)
    medians = {
        "plain_seconds": statistics.median(plain_seconds),
        "flow_seconds": statistics.median(flow_seconds),
        "unchanged_seconds": statistics.median(unchanged_seconds),
    }
    ratio = statistics.median([f / p for f, p in zip(flow_seconds, plain_seconds, strict=True)])
    content = {
        "commit": measured_commit,
        **medians,
        "overhead_frac": ratio - 1.0,
        "turns": {"plain": plain_seconds, "flow": flow_seconds},
    }
    print(f"overhead {ratio - 1.0:+.1%} (median of {repeats} ratios); {write('orchestration', content)}")


if __name__ == "__main__":
    main()
