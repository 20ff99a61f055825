"""Small real releases and registries for the tests of this room."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from grandmodel.core.clock import Clock
from grandmodel.core.config import Environment, load_params
from grandmodel.registry.bundle import seal
from grandmodel.registry.signing import development_key
from grandmodel.registry.store import Registry

ROOT = Path(__file__).parents[3]
CONFIGS, PARAMS = ROOT / "configs", load_params(ROOT / "params.yaml")
GATES = ("g0_data", "g1_leakage", "g2_sanity", "g3_seeds", "g4_selection", "g5_costs", "g6_risk")
# What staging wants to see besides the gates of the bundle: the verdict over all trials.
SELECTED: dict[str, Any] = {"selection": {"name": "g4_selection", "passed": True, "reason": "it survives all trials"}}

STEPS = ("intent", "version", "tags", "previous", "champion", "completion")
SIMULATED: dict[str, Any] = {"simulated": True}
START = datetime(2026, 3, 3, 14, 0, tzinfo=UTC)


def ticking_clock() -> Clock:
    """Return a clock that moves one second at each look."""
    now = START

    def look() -> datetime:
        nonlocal now
        now += timedelta(seconds=1)
        return now

    return look


class Days:
    """A clock that a test sets by hand."""

    def __init__(self) -> None:
        self.passed = 0

    def __call__(self) -> datetime:
        return START + timedelta(days=self.passed)


def make_bundle(
    folder: Path,
    state: Path,
    *,
    weight: float = 1.0,
    failed: tuple[str, ...] = (),
    data: Mapping[str, Any] = SIMULATED,
) -> Path:
    """Write and seal a small real bundle whose release id follows from ``weight``, ``failed`` and ``data``."""
    folder.mkdir(parents=True)
    save_file({"actor.0.weight": np.full((3, 2), weight, np.float32)}, folder / "strategic.safetensors")
    gates = [{"name": name, "passed": name not in failed, "reason": f"reason of {name}"} for name in GATES]
    contents: dict[str, Any] = {
        "feature_spec.json": {"columns": ["mlmi_value"]},
        "limits.json": {"gross_cap": 1.0},
        "sbom.json": {"bomFormat": "CycloneDX", "components": []},
        "evidence.json": {
            "decision_hash": f"decisions-{weight}",
            "profile": "full",
            "data": data,
        },
        "gates.json": gates,
        "params.json": PARAMS.model_dump(mode="json"),
    }
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content))
    (folder / "report.html").write_text("<p>report</p>")
    seal(folder, development_key(state))
    return folder


def open_registry(
    state: Path, environments: Mapping[str, Environment], clock: Clock | None = None, **options: Any
) -> Registry:
    """Return the registry of a state folder, opened anew as another process would."""
    uri = f"sqlite:///{state / 'mlflow.db'}"
    clock = clock or ticking_clock()
    return Registry(uri, state / "artifacts", state / "ledger.jsonl", clock, environments, **options)


def register(registry: Registry, bundle: Path) -> str:
    """Register a bundle and return its version in dev."""
    tags, metrics, params = {"git_commit": "abc"}, {"sharpe": 1.5}, {"seed": 7, "lags": 1}
    outcome = registry.register(bundle, author="trainer", tags=tags, metrics=metrics, params=params)
    assert outcome.version is not None
    return outcome.version


class Killed(Exception):
    """Stands in for a kill."""


def killer(at: str) -> Callable[[str], None]:
    def after_step(step: str) -> None:
        if step == at:
            raise Killed

    return after_step


def champions(registry: Registry) -> dict[str, str | None]:
    rows = registry.status()
    assert all(row["state"] == "ok" for row in rows)
    return {row["environment"]: row["release_id"] for row in rows}


def assert_one_champion(
    registry: Registry, environment: str, *, version: str, previous: str | None, versions: int = 2
) -> None:
    model = f"{environment}.grandmodel"
    expected = {"champion": version} if previous is None else {"champion": version, "previous": previous}
    assert registry._tracking.aliases(model) == expected
    assert len(registry._tracking.client.search_model_versions(f"name = '{model}'")) == versions
    assert registry.ledger.verify().torn_bytes == 0
    registry.load_champion(environment)
    before = registry.ledger.path.read_bytes()
    assert registry.reconcile() == []
    assert registry.ledger.path.read_bytes() == before


def spoil(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")
