"""Does the ladder let a planted edge through and refuse a market without one? Simulated markets, whole pipeline each.

``python -m benchmarks.edge_study --edge 0 --seeds 1 2 3 4 5`` simulates one market per seed, runs every stage on it and
records which gates refused. The seed changes the market and every training.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import yaml

from benchmarks.record import write
from grandmodel.core.config import load_environment, load_params
from grandmodel.data.simulator.generate import simulate
from grandmodel.gates.ladder import verdict
from grandmodel.gates.result import GateResult
from pipelines.evaluate import evaluate
from pipelines.features import features
from pipelines.ingest import ingest
from pipelines.package import package
from pipelines.stress import stress
from pipelines.train import train
from pipelines.validate import validate
from pipelines.workspace import PROJECT, Workspace

SESSIONS = 400


def run(edge: float, seed: int, folder: Path) -> dict[str, Any]:
    """Simulate one market, run all stages, return the verdict with its figures."""
    simulate(folder / "data", edge=edge, seed=seed, sessions=SESSIONS)
    params = load_params(PROJECT / "params.yaml").model_copy(update={"seed": seed})
    (folder / "params.yaml").write_text(yaml.safe_dump(params.model_dump()))
    workspace = Workspace(folder / "work", folder / "params.yaml")
    ingest(workspace, folder / "data")
    for stage in (validate, features, train, evaluate, stress, package):
        stage(workspace)
    gates = [GateResult.from_dict(gate) for gate in json.loads((workspace.package / "gates.json").read_text())]
    required = load_environment(PROJECT / "configs" / "staging.yaml").gates_required
    ruling = verdict(gates, required)
    evidence = json.loads((workspace.package / "evidence.json").read_text())
    by_name = {gate.name: gate for gate in gates}
    return {
        "edge": edge,
        "seed": seed,
        "passed": ruling.passed,
        "refused_by": list(ruling.refused_by),
        "sentence": ruling.sentence,
        "metrics": evidence["metrics"],
        "advantage_annual_log": by_name["g3_seeds"].evidence.get("baselines"),
        "strategies": evidence["strategies"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--edge", type=float, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    given = parser.parse_args()
    rows = []
    for seed in given.seeds:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(run(given.edge, seed, Path(folder)))
        print(f"edge {given.edge:g} seed {seed}: {rows[-1]['sentence']}", flush=True)
    passed = sum(row["passed"] for row in rows)
    summary = {"simulated": True, "sessions": SESSIONS, "runs": rows, "passed": passed, "of": len(rows)}
    print(f"{passed} of {len(rows)} passed; {write(f'edge_{given.edge:g}', summary)}")


if __name__ == "__main__":
    main()
