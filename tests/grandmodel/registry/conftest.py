"""Real MLflow on a sqlite file, real bundles; the empty database is made once and copied."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from grandmodel.core.config import Environment
from grandmodel.registry.conditions import ENVIRONMENTS, load_environments
from grandmodel.registry.store import Registry
from grandmodel.registry.tracking import Tracking
from tests.grandmodel.registry.releases import CONFIGS, SELECTED, make_bundle, open_registry, register, ticking_clock


@pytest.fixture(scope="session")
def empty_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("registry-template")
    path = folder / "mlflow.db"
    # An experiment remembers its artifact folder, so all is kept but that.
    models = tuple(f"{name}.grandmodel" for name in ENVIRONMENTS)
    client = Tracking(f"sqlite:///{path}", (folder / "artifacts").as_uri(), models).client
    experiment = client.get_experiment_by_name("grandmodel")
    assert experiment is not None
    client.rename_experiment(experiment.experiment_id, "template")
    return path


@pytest.fixture
def state(tmp_path: Path, empty_state: Path) -> Path:
    """Return a folder holding an MLflow database with the four empty models."""
    shutil.copy(empty_state, tmp_path / "mlflow.db")
    return tmp_path


@pytest.fixture
def make(state: Path) -> Callable[..., Path]:
    """Return a function that makes and seals a bundle below the state folder."""

    def build(weight: float, failed: tuple[str, ...] = ()) -> Path:
        return make_bundle(state / f"bundle-{weight}", state, weight=weight, failed=failed)

    return build


@pytest.fixture(scope="session")
def environments() -> dict[str, Environment]:
    return load_environments(CONFIGS)


@pytest.fixture
def registry_of(environments: dict[str, Environment]) -> Callable[..., Registry]:
    """Return a function that opens the registry of a state folder anew, as another process would."""
    clock = ticking_clock()

    def build(state: Path, **options: Any) -> Registry:
        return open_registry(state, environments, clock, **options)

    return build


@pytest.fixture(scope="session")
def shelf(
    tmp_path_factory: pytest.TempPathFactory, empty_state: Path, environments: dict[str, Environment]
) -> tuple[Path, dict[Path, bytes]]:
    """Return a state folder with versions 1 and 2 in dev and version 1 in staging, and the bytes of its bundles."""
    folder = tmp_path_factory.mktemp("shelf")
    shutil.copy(empty_state, folder / "mlflow.db")
    registry = open_registry(folder, environments)
    register(registry, make_bundle(folder / "bundle-1.0", folder, weight=1.0))
    registry.promote("staging", "1", actor="flow", reason="gates passed", evidence=SELECTED)
    register(registry, make_bundle(folder / "bundle-2.0", folder, weight=2.0))
    bundles = {path: path.read_bytes() for path in folder.glob("artifacts/**/bundle/*")}
    assert len(bundles) == 20
    return folder, bundles


@pytest.fixture
def two_releases(
    state: Path, registry_of: Callable[..., Registry], shelf: tuple[Path, dict[Path, bytes]]
) -> Iterator[Registry]:
    """Return a registry of its own over the shelf's bundles, which are mended after a test that spoils them."""
    folder, bundles = shelf
    for name in ("mlflow.db", "ledger.jsonl", "ledger.jsonl.head"):
        shutil.copy(folder / name, state / name)
    yield registry_of(state)
    for path, content in bundles.items():
        path.write_bytes(content)
