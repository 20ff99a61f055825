"""How often do the gates err? Markets of known truth, one release each through all stages and gates G0 to G6.

    python -m benchmarks.gate_study                                # PLAN: nothing to find, and something to find
    python -m benchmarks.gate_study --edge 0.5 --releases 20       # another edge
    python -m benchmarks.gate_study --show                         # the tables of what is kept

One seed is one release: it makes the market and every training on it. A market is simulated, read, validated, learnt
and judged by the stages of ``grandmodel run`` in the quick profile, and the ladder of ``configs/staging.yaml`` rules.
Each finished release is one line of ``benchmarks/results/gates/edge_<x>.jsonl``, so a killed study goes on where it
was; lines of other code, parameters or markets stop it, for a rate is of one ladder alone. After a change of the gates
alone, remove the lines and run again: the trainings are kept beside, in ``runs/``, and taken up.

The strength of the edge and the universe were chosen on ``--pilot``, whose seeds and files are others than the study's.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.queues import Queue
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from benchmarks import record
from benchmarks.gate_table import table
from grandmodel.core.clock import iso, system_clock
from grandmodel.core.config import Params, load_environment
from grandmodel.core.errors import ConfigError, DataError, GrandModelError
from grandmodel.core.files import write_text_atomic
from grandmodel.core.hashing import hash_json
from grandmodel.data.simulator.generate import simulate
from grandmodel.gates.ladder import verdict
from grandmodel.gates.result import GateResult
from grandmodel.stats.performance import annual_sharpe
from pipelines.evaluate import evaluate
from pipelines.features import features
from pipelines.ingest import ingest
from pipelines.package import code_hash, package
from pipelines.stress import stress
from pipelines.train import train
from pipelines.validate import validate
from pipelines.workspace import (
    OWNER_VARIABLE,
    PROJECT,
    STATE_VARIABLE,
    end_with_owner,
    open_workspace,
    profile_params,
    write_params,
)

RESULTS = record.RESULTS / "gates"
TRAININGS = PROJECT / "runs" / "gate_study"
SESSIONS, SYMBOLS = 400, ("NQ", "CL", "GC")
FIRST_SEED, FIRST_PILOT_SEED = 1, 1001
PROCESSES = 2
MUST_CATCH_EDGE = 1.0
PLAN = ((0.0, 200), (MUST_CATCH_EDGE, 100))  # edge, releases


@dataclass(frozen=True)
class Study:
    """Releases on markets of one strength of the edge."""

    edge: float
    pilot: bool = False

    @property
    def name(self) -> str:
        """Name of its file of results, and of its folder of trainings."""
        return f"{'pilot_' if self.pilot else ''}edge_{self.edge:g}"

    @property
    def path(self) -> Path:
        """One JSON line for each finished release."""
        return RESULTS / f"{self.name}.jsonl"

    def seeds(self, releases: int) -> range:
        """Return the seeds of the first ``releases`` releases."""
        first = FIRST_PILOT_SEED if self.pilot else FIRST_SEED
        return range(first, first + releases)

    def settings(self) -> dict[str, Any]:
        """Return what must be equal in all lines: market, parameters but the seed, code."""
        simulator = {"edge": self.edge, "sessions": SESSIONS, "symbols": list(SYMBOLS)}
        params = study_params(0).model_dump(exclude={"seed"})
        return {"simulator": simulator, "params_hash": hash_json(params), "code_hash": code_hash()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run or show studies; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", type=float, help="strength of the planted edge; 0: none, 1: that of the tracked set")
    parser.add_argument("--releases", type=int, default=10)
    parser.add_argument("--pilot", action="store_true", help="other seeds, another file: to choose settings on")
    parser.add_argument("--processes", type=int, default=PROCESSES)
    parser.add_argument("--show", action="store_true", help="print the tables of all results")
    given = parser.parse_args(arguments)
    if given.show:
        print(table([read_lines(path) for path in sorted(RESULTS.glob("*.jsonl"))]))
        return 0
    plan = PLAN if given.edge is None else ((given.edge, given.releases),)
    try:
        print(table([run(Study(edge, given.pilot), releases, given.processes) for edge, releases in plan]))
    except GrandModelError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def study_params(seed: int) -> Params:
    """Return the parameters of one release."""
    return profile_params("quick").model_copy(update={"seed": seed})


def run(study: Study, releases: int, processes: int) -> list[dict[str, Any]]:
    """Make what is missing of the first ``releases`` releases, side by side; return the lines of all.

    Raises ConfigError when kept lines were made by other code, parameters or markets.
    """
    settings = study.settings()
    kept = read_lines(study.path)
    refuse_other_settings(study.path, kept, settings)
    write_text_atomic(study.path, "".join(line_of(row) for row in kept))  # without a line cut short by a kill
    about = settings | {"commit": record.commit(), "machine": record.machine()}
    done = {row["seed"] for row in kept}
    missing = [seed for seed in study.seeds(releases) if seed not in done]
    for number, row in enumerate(finished(study, missing, processes), start=1):
        append(study.path, row | about | {"measured": iso(system_clock())})
        print(
            f"{number} of {len(missing)}: seed {row['seed']}, {row['cpu_seconds']:.0f} s, {row['sentence']}", flush=True
        )
    return [row for row in read_lines(study.path) if row["seed"] in study.seeds(releases)]


def finished(study: Study, seeds: Sequence[int], processes: int) -> Iterator[dict[str, Any]]:
    """Make the releases of ``seeds`` in ``processes``, each on a core of its own; yield them as they are done."""
    os.environ |= {OWNER_VARIABLE: str(os.getpid()), "OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"}
    context, free = get_context("spawn"), sorted(os.sched_getaffinity(0))
    places = context.Queue()
    for number in range(processes):
        places.put(free[number % len(free)])
    with (
        tempfile.TemporaryDirectory() as state,
        ProcessPoolExecutor(processes, context, initializer=prepare, initargs=(places, state)) as pool,
    ):
        pending = [pool.submit(release, study, seed) for seed in seeds]
        try:
            for future in as_completed(pending):
                yield future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def prepare(places: Queue[int], state: str) -> None:
    """Keep this process to one of the cores in ``places``, and end it with its owner.

    Its trials are entered in a ledger below ``state``: a measurement is no part of the project's search.
    """
    end_with_owner()
    os.environ[STATE_VARIABLE] = state
    os.sched_setaffinity(0, {places.get()})


def release(study: Study, seed: int) -> dict[str, Any]:
    """Simulate one market, run all stages on it, return the verdict with its figures.

    A market that a stage refuses promotes nothing; its line keeps the sentence. Any other error ends the study.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    before = set(trainings(study, seed).glob("*/done.json"))
    with tempfile.TemporaryDirectory() as place, contextlib.redirect_stdout(io.StringIO()):
        try:
            row = run_stages(study, seed, Path(place))
        except DataError as error:
            row = {"passed": False, "refused_by": ["a stage"], "sentence": str(error), "gates": {}, "figures": {}}
    spent = {"wall_seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
    trained = len(set(trainings(study, seed).glob("*/done.json")) - before)
    return {"seed": seed, **row, **spent, "trained": trained}


def run_stages(study: Study, seed: int, place: Path) -> dict[str, Any]:
    """Run the pipeline on one new market below ``place``; return the verdict with its figures."""
    simulate(place / "data", edge=study.edge, seed=seed, sessions=SESSIONS)
    write_params(place, study_params(seed))
    workspace = open_workspace(place)
    trainings(study, seed).mkdir(parents=True, exist_ok=True)
    workspace.units.symlink_to(trainings(study, seed))
    ingest(workspace, place / "data", symbols=SYMBOLS)
    for stage in (validate, features, train, evaluate, stress, package):
        stage(workspace)
    gates = [GateResult.from_dict(gate) for gate in json.loads((workspace.package / "gates.json").read_text())]
    return ruled(gates) | {"figures": figures_of(workspace.evaluate / "evidence" / "daily.safetensors")}


def trainings(study: Study, seed: int) -> Path:
    """Return where the trainings of one release are kept, on this machine: gates can judge anew without training anew.

    The train stage takes one only while nothing it depends on has changed.
    """
    return TRAININGS / study.name / str(seed)


def ruled(gates: Sequence[GateResult]) -> dict[str, Any]:
    """Return the ladder's verdict over ``gates``, and each gate's in short."""
    ruling = verdict(gates, load_environment(PROJECT / "configs" / "staging.yaml").gates_required)
    short = {g.name: {"passed": g.passed, "statistic": g.statistic, "threshold": g.threshold} for g in gates}
    return {
        "passed": ruling.passed,
        "refused_by": list(ruling.refused_by),
        "sentence": ruling.sentence,
        "gates": short,
    }


def figures_of(returns: Path) -> dict[str, float | None]:
    """Return days out of sample, and the annual Sharpe ratios of the release and of the oracle after costs."""
    daily = load_file(returns)
    return {
        "days": len(daily["sessions"]),
        "release_sharpe": annual_sharpe(daily["release"][0]),
        "oracle_sharpe": annual_sharpe(daily["oracle"]),
    }


def refuse_other_settings(path: Path, rows: Sequence[dict[str, Any]], settings: dict[str, Any]) -> None:
    """Raise ConfigError when a kept line was made under other settings."""
    for row in rows:
        for name, value in settings.items():
            if row[name] != value:
                rule = f"all lines must be of one {name}; seed {row['seed']} has another"
                raise ConfigError(str(path), rule, row[name], "Remove the file to begin the study anew")


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the finished releases in the order of their seeds; a line that a kill cut short is not one."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines if line.endswith("\n")]
    return sorted(rows, key=lambda row: row["seed"])


def append(path: Path, row: dict[str, Any]) -> None:
    """Add one finished release to the file, so that it survives a kill of the machine."""
    with path.open("a") as stream:
        stream.write(line_of(row))
        stream.flush()
        os.fsync(stream.fileno())


def line_of(row: dict[str, Any]) -> str:
    """Return one release as a line."""
    return json.dumps(row, sort_keys=True) + "\n"


if __name__ == "__main__":
    raise SystemExit(main())
