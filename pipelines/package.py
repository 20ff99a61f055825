"""Package: the released weights, what they need to decide, their limits and evidence, in one folder to be signed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from grandmodel.core.files import write_json_atomic
from grandmodel.core.hashing import hash_file, hash_folder, hash_json
from grandmodel.data.dataset import Dataset
from grandmodel.gates.gate_report import gate_report
from grandmodel.gates.result import GateResult
from pipelines.tapes import fold_folders
from pipelines.workspace import PROJECT, Workspace, empty_folder, run_stage

RELEASED_SEED = "seed_0"  # named before training: picking the best of several would have to be paid for at gate G4
SOURCES = (
    *(f"grandmodel/{room}" for room in ("core", "stats", "data", "features", "market", "marl", "risk", "gates")),
    "models",
    "pipelines",
)


def package(workspace: Workspace) -> None:
    """Lay out the bundle: weights of the first seed of the last fold, specification, limits, gates, evidence, cards."""
    folder = empty_folder(workspace.package)
    last_fold = fold_folders(workspace.features)[-1]
    weights = workspace.train / "weights" / last_fold.name / RELEASED_SEED
    for path in sorted(weights.glob("*.safetensors")):
        shutil.copy(path, folder / path.name)
        team = path.stem
        shutil.copy(PROJECT / "models" / team / "card.md", folder / f"card_{team}.md")
    shutil.copy(last_fold / "feature_spec.json", folder / "feature_spec.json")
    stress = _read(workspace.stress / "stress.json")
    gates = [*_read(workspace.evaluate / "evidence" / "gates.json"), stress["gate"]]
    write_json_atomic(folder / "gates.json", gates)
    verdicts = [GateResult.from_dict(gate) for gate in gates]
    write_json_atomic(folder / "gate_report.json", gate_report(verdicts, workspace.params.gates))
    write_json_atomic(folder / "limits.json", stress["limits"])
    write_json_atomic(folder / "stress.json", {"scenarios": stress["scenarios"], "dated": stress["dated"]})
    write_json_atomic(folder / "params.json", workspace.params.model_dump())
    write_json_atomic(folder / "evidence.json", _evidence(workspace, last_fold.name, weights))


def _evidence(workspace: Workspace, fold_name: str, weights: Path) -> dict[str, Any]:
    """Return what identifies the release and what was measured on it."""
    dataset = Dataset.load(workspace.features / "bars")
    evidence = workspace.evaluate / "evidence"
    return {
        "data": {
            "name": dataset.name,
            "simulated": dataset.simulated,
            "licence": dataset.licence,
            "source": dataset.source,
            "instruments": sorted(dataset.strategic),
            "trained_until": _trained_until(_read(workspace.package / "feature_spec.json")),
        },
        "decision_hash": _read(evidence / "decisions.json")[f"{fold_name}/{RELEASED_SEED}"],
        "fold": fold_name,
        "lineage": {
            "data": dataset.raw_hash,
            "params": hash_json(workspace.params.model_dump()),
            "code": code_hash(),
            "features": hash_file(workspace.features / fold_name / "features.safetensors"),
            "weights": hash_folder(weights),
        },
        "paths": _read(evidence / "paths.json") if (evidence / "paths.json").exists() else None,
        "profile": workspace.params.profile,
        "metrics": _read(workspace.evaluate / "metrics.json"),
        "strategies": _read(evidence / "strategies.json"),
        "strategic_only": not dataset.tactical,
    }


def _trained_until(feature_spec: Mapping[str, Any]) -> str:
    """Return the day (ISO, UTC) of the last bar that anything was fitted on."""
    last_ns = max(symbol["strategic"]["fit_stop_ns"] for symbol in feature_spec["symbols"].values()) - 1
    return str(np.datetime64(last_ns, "ns").astype("datetime64[D]"))


def code_hash() -> str:
    """Return the hash of all sources that take part in making a release."""
    files = [path for room in SOURCES for path in sorted((PROJECT / room).rglob("*.py"))]
    return hash_json({path.relative_to(PROJECT).as_posix(): hash_file(path) for path in files})


def _read(path: Path) -> Any:
    return json.loads(path.read_text())


if __name__ == "__main__":
    run_stage(package)
