from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from grandmodel.core.config import Environment
from grandmodel.core.errors import RegistryError
from grandmodel.registry.relocation import path_of, relocate, uri_below
from grandmodel.registry.store import Registry
from tests.grandmodel.registry.releases import SELECTED, make_bundle, open_registry, register
from tests.grandmodel.registry.test_store import Killed, killer

Opener = Callable[..., Registry]


@pytest.fixture(scope="module")
def filled(
    tmp_path_factory: pytest.TempPathFactory, empty_state: Path, environments: dict[str, Environment]
) -> tuple[Path, Path]:
    """Return where a state folder with a champion in staging was filled, and where it was moved to and not opened."""
    before, after = (tmp_path_factory.mktemp(name) / "state" for name in ("before", "after"))
    before.mkdir()
    shutil.copy(empty_state, before / "mlflow.db")
    registry = open_registry(before, environments)
    register(registry, make_bundle(before / "bundle-1.0", before, weight=1.0))
    registry.promote("staging", "1", actor="flow", reason="green", evidence=SELECTED)
    register(registry, make_bundle(before / "bundle-2.0", before, weight=2.0))
    shutil.move(before, after)
    return before, after


@pytest.fixture
def moved(filled: tuple[Path, Path], tmp_path: Path) -> Path:
    """Return the moved folder once more, for one test."""
    shutil.copytree(filled[1], tmp_path / "state")
    return tmp_path / "state"


def test_champions_are_found_where_the_folder_stands_now(moved: Path, registry_of: Opener) -> None:
    registry = registry_of(moved)
    for environment in ("dev", "staging"):
        assert moved in registry.load_champion(environment).parents
    assert [row["state"] for row in registry.status()] == ["ok"] * 4


def test_moves_go_on_and_write_below_the_new_place_alone(
    moved: Path, registry_of: Opener, filled: tuple[Path, Path]
) -> None:
    registry = registry_of(moved)
    assert registry.promote("staging", "2", actor="flow", reason="green", evidence=SELECTED).version == "2"
    assert registry.rollback("staging", actor="ann", reason="slippage").version == "1"
    assert register(registry, make_bundle(moved / "bundle-3.0", moved, weight=3.0)) == "3"
    (moved / "report.txt").write_text("report")
    registry.attach(registry.status()[0]["release_id"], moved / "report.txt")
    assert moved in registry.load_champion("dev").parents
    assert not filled[0].exists()


def test_where_one_bundle_is_missing_the_others_move_and_nothing_is_written_at_the_old_place(
    moved: Path, registry_of: Opener, filled: tuple[Path, Path]
) -> None:
    missing = next(
        path.parent
        for path in (moved / "artifacts").rglob("strategic.safetensors")
        if load_file(path)["actor.0.weight"][0, 0] == 2.0
    )
    shutil.rmtree(missing)
    registry = registry_of(moved)
    assert moved in registry.load_champion("staging").parents
    with pytest.raises(RegistryError, match=str(filled[0])):
        registry.load_champion("dev")
    assert registry.rollback("dev", "1", actor="ann", reason="its bundle is lost").changed
    assert register(registry, make_bundle(moved / "bundle-3.0", moved, weight=3.0)) == "3"
    assert moved in registry.load_champion("dev").parents
    assert not filled[0].exists()


def test_a_registration_that_was_killed_is_finished_after_the_move_with_one_version(
    tmp_path: Path, registry_of: Opener, empty_state: Path
) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    shutil.copy(empty_state, before / "mlflow.db")
    bundle = make_bundle(before / "bundle-1.0", before)
    with pytest.raises(Killed):
        register(registry_of(before, after_step=killer("version")), bundle)
    shutil.move(before, after)
    registry = registry_of(after)
    assert registry.reconcile() == ["registration into dev finished"]
    assert after in registry.load_champion("dev").parents
    assert len(registry.tracking.client.search_model_versions("name = 'dev.grandmodel'")) == 1


def test_a_copy_serves_its_own_bundles_and_leaves_the_original_alone(
    moved: Path, registry_of: Opener, tmp_path: Path
) -> None:
    shutil.copytree(moved, tmp_path / "copy")
    assert tmp_path / "copy" in registry_of(tmp_path / "copy").load_champion("staging").parents
    assert moved in registry_of(moved).load_champion("staging").parents


def test_a_database_is_pointed_elsewhere_once_and_only_where_the_bundles_are(
    moved: Path, tmp_path: Path, filled: tuple[Path, Path]
) -> None:
    database = moved / "mlflow.db"
    assert not relocate(database, "grandmodel", (tmp_path / "empty").as_uri())
    assert not relocate(database, "no such experiment", (moved / "artifacts").as_uri())
    assert relocate(database, "grandmodel", (moved / "artifacts").as_uri())
    assert not relocate(database, "grandmodel", (moved / "artifacts").as_uri())
    with sqlite3.connect(database) as connection:
        script = "\n".join(connection.iterdump())
    assert (moved / "artifacts").as_uri() in script
    assert filled[0].as_uri() not in script


def test_a_bundle_in_a_remote_store_is_left_where_it_is(tmp_path: Path) -> None:
    remote = "s3://bucket/run/artifacts/bundle"
    assert uri_below(tmp_path.as_uri(), remote) == remote
    assert path_of(remote) is None
