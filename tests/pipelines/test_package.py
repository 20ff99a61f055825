"""The package holds all that a release needs, nothing that could hold a pickle, and the same bytes every time."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from grandmodel.core.files import write_json_atomic
from grandmodel.core.hashing import hash_file, hash_folder, hash_json
from grandmodel.market.replay import decision_hash
from grandmodel.registry.bundle import seal
from grandmodel.registry.materials import BILL_OF_MATERIALS, bill_of_materials
from grandmodel.registry.signing import development_key
from models.release import Release
from pipelines.package import RELEASED_SEED, _trained_until, code_hash
from pipelines.tapes import FoldMarket
from pipelines.workspace import PROJECT, Workspace
from tests.pipelines.conftest import SYMBOLS, run_all


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_the_bundle_holds_weights_specification_limits_gates_evidence_and_cards(workspace: Workspace) -> None:
    assert sorted(path.name for path in workspace.package.iterdir()) == [
        "card_strategic.md",
        "card_tactical.md",
        "evidence.json",
        "feature_spec.json",
        "gate_report.json",
        "gates.json",
        "limits.json",
        "params.json",
        "strategic.safetensors",
        "stress.json",
        "tactical.safetensors",
    ]


def test_the_first_seed_of_the_last_fold_is_released(workspace: Workspace, fold: FoldMarket) -> None:
    released = workspace.train / "weights" / f"fold_{fold.number}" / RELEASED_SEED
    for team in ("strategic", "tactical"):
        name = f"{team}.safetensors"
        assert hash_file(workspace.package / name) == hash_file(released / name)
    assert read(workspace.package / "evidence.json")["fold"] == f"fold_{fold.number}"


def test_lineage_names_data_params_code_features_and_weights(workspace: Workspace, fold: FoldMarket) -> None:
    evidence = read(workspace.package / "evidence.json")
    folder = workspace.features / f"fold_{fold.number}"
    assert evidence["lineage"] == {
        "data": read(workspace.features / "bars" / "dataset.json")["raw_hash"],
        "params": hash_json(workspace.params.model_dump()),
        "code": code_hash(),
        "features": hash_file(folder / "features.safetensors"),
        "weights": hash_folder(workspace.train / "weights" / f"fold_{fold.number}" / RELEASED_SEED),
    }
    assert evidence["data"]["simulated"] is True
    assert evidence["data"]["instruments"] == list(SYMBOLS)
    assert evidence["strategic_only"] is False


def test_all_seven_gates_are_told_once(workspace: Workspace) -> None:
    names = [gate["name"] for gate in read(workspace.package / "gates.json")]
    assert [name[:2] for name in names] == ["g0", "g1", "g2", "g3", "g4", "g5", "g6"]


def test_the_packaged_weights_decide_as_they_were_evaluated(workspace: Workspace, fold: FoldMarket) -> None:
    params = workspace.params
    decided = Release.load(workspace.package, params.training).decide(fold.test, params.market)
    assert decided.turnover.sum() > 0.0
    assert decision_hash(decided) == read(workspace.package / "evidence.json")["decision_hash"]


def test_the_package_can_be_sealed_with_its_bill_of_materials(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "sealed"
    folder.mkdir()
    for path in workspace.package.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    write_json_atomic(folder / BILL_OF_MATERIALS, bill_of_materials(PROJECT / "requirements.lock"))
    bundle = seal(folder, development_key(tmp_path))
    assert set(bundle.files) == {path.name for path in workspace.package.iterdir()} | {BILL_OF_MATERIALS}


@pytest.mark.slow
def test_a_second_run_gives_equal_weights_decisions_and_package(
    workspace: Workspace, market_folder: Path, tmp_path: Path
) -> None:
    again = run_all(Workspace(tmp_path / "second", workspace.params_path), market_folder)
    decisions = Path("evidence") / "decisions.json"
    assert len(read(again.evaluate / decisions)) == again.params.folds.count * again.params.training.seeds
    assert read(again.evaluate / decisions) == read(workspace.evaluate / decisions)
    for stage in ("ingest", "features", "train", "evaluate", "stress", "package"):
        assert hash_folder(getattr(again, stage)) == hash_folder(getattr(workspace, stage)), stage


def test_seeds_differ_from_each_other(workspace: Workspace) -> None:
    weights = read(workspace.train / "summary.json")["weights"]
    assert len(weights) == workspace.params.folds.count * workspace.params.training.seeds
    assert len(set(weights.values())) == len(weights)


def test_training_ends_on_the_day_of_its_last_bar() -> None:
    midnight_ns = 1_704_153_600_000_000_000  # 2024-01-02, exclusive
    symbols = {"NQ": {"strategic": {"fit_stop_ns": midnight_ns}}, "ES": {"strategic": {"fit_stop_ns": 1}}}
    assert _trained_until({"symbols": symbols}) == "2024-01-01"
    symbols["NQ"]["strategic"]["fit_stop_ns"] += 1
    assert _trained_until({"symbols": symbols}) == "2024-01-02"
