"""Real futures through the whole pipeline: 24 contracts of China, yearly walk-forward tests of 2017 to 2020.

    python -m benchmarks.futures_walk_forward
    python -m benchmarks.futures_walk_forward --data ../shared/data/cn_futures_5m --keep runs/futures

The stages are those of ``grandmodel run`` under ``params.yaml`` but for FOLDS. An instrument that the data suite blocks
is left out only where it is named in LEFT_OUT; the study first sees it blocked, alone, and keeps the suite's sentence.
One that was listed later joins the first fold that can train on it. What the gates say is kept whatever it is, in
``benchmarks/results/futures_walk_forward.json``; ``python -m benchmarks.experiments`` makes the page of it. A run that
was killed goes on with the trainings it has, in the folder of ``--keep``.
"""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from benchmarks import record
from grandmodel.core.config import FoldParams, Params, load_environment
from grandmodel.core.errors import DataError
from grandmodel.core.hashing import hash_json
from grandmodel.data.dataset import Dataset
from grandmodel.gates.ladder import verdict
from grandmodel.gates.result import GateResult
from pipelines.evaluate import evaluate
from pipelines.features import features
from pipelines.ingest import ingest
from pipelines.package import package
from pipelines.stress import stress
from pipelines.tapes import fold_folders
from pipelines.train import train
from pipelines.validate import validate
from pipelines.workspace import PROJECT, Workspace, open_workspace, profile_params, write_params

NAME = "futures_walk_forward"
LEFT_OUT = ("SHFE.al",)  # the suite blocks it; it is not mended by hand, and the others are not held up by it
OWN_AND_TRAININGS = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)  # of the latter the largest process
FOLDS = FoldParams(count=4, test_frac=0.2, embargo_sessions=1)  # five years: tests of about a year, 2017 to 2020


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study, print its verdicts and write the result; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=PROJECT.parent / "shared" / "data" / "cn_futures_5m")
    parser.add_argument("--keep", type=Path, default=PROJECT / "runs" / NAME, help="folder of the stages' files")
    given = parser.parse_args(arguments)
    result = study(given.data, given.keep, profile_params("full").model_copy(update={"folds": FOLDS}))
    for gate in result["gates"]:
        print(f"{'pass  ' if gate['passed'] else 'refuse'} {gate['name']}: {gate['reason']}")
    print(f"{result['seconds']['all']:.0f} s; {record.write(NAME, result)}")
    return 0


def study(data: Path, folder: Path, params: Params) -> dict[str, Any]:
    """Run all stages on the instruments of ``data`` but those left out; return verdicts, figures and seconds."""
    symbols = sorted(path.stem for path in data.glob("*.parquet"))
    blocked = {symbol: blocking_sentence(data, symbol) for symbol in LEFT_OUT if symbol in symbols}
    taken = tuple(symbol for symbol in symbols if symbol not in blocked)
    write_params(folder, params)
    workspace = open_workspace(folder)
    seconds = {"ingest": timed(partial(ingest, workspace, data, symbols=taken))}
    for stage in (validate, features, train, evaluate, stress, package):
        seconds[stage.__name__] = timed(partial(stage, workspace))
        print(f"{stage.__name__}: {seconds[stage.__name__]:.0f} s", flush=True)
    seconds["all"] = sum(seconds.values())
    return {
        "simulated": False,
        "seed": params.seed,
        "params_hash": hash_json(params.model_dump()),
        "folds": len(fold_folders(workspace.features)),
        "seconds": seconds,
        "memory_gib": max(resource.getrusage(who).ru_maxrss for who in OWN_AND_TRAININGS) / 2**20,
        "left_out": blocked,
        **outcome(workspace),
    }


def outcome(workspace: Workspace) -> dict[str, Any]:
    """Return what stands in the bundle: instruments, gates, the ladder's verdict, strategies, metrics."""
    gates = json.loads((workspace.package / "gates.json").read_text())
    evidence = json.loads((workspace.package / "evidence.json").read_text())
    required = load_environment(PROJECT / "configs" / "staging.yaml").gates_required
    dataset = Dataset.load(workspace.features / "bars")
    days = load_file(workspace.evaluate / "evidence" / "daily.safetensors")["sessions"].astype("datetime64[D]")
    kept = ("name", "passed", "statistic", "threshold", "power", "n", "reason")
    return {
        "data_hash": dataset.raw_hash,
        "first_day": str(days[0]),
        "last_day": str(days[-1]),
        "seeds": workspace.params.training.seeds,
        "bars": {symbol: len(bars) for symbol, bars in dataset.tactical.items()},
        "gates": [{name: gate[name] for name in kept} for gate in gates],
        "sentence": verdict([GateResult.from_dict(gate) for gate in gates], required).sentence,
        "metrics": evidence["metrics"],
        "strategies": evidence["strategies"],
    }


def blocking_sentence(data: Path, symbol: str) -> str:
    """Return with which sentence the data suite blocks ``symbol`` alone. Raises DataError when it no longer does."""
    with tempfile.TemporaryDirectory() as place:
        workspace = Workspace(Path(place))
        ingest(workspace, data, symbols=(symbol,))
        try:
            validate(workspace)
        except DataError as error:
            return str(error)
    raise DataError(symbol, "what is left out must be blocked by the suite", "it passed", "Take it off LEFT_OUT")


def timed(work: Callable[[], None]) -> float:
    """Return the wall seconds that ``work`` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    raise SystemExit(main())
