"""Whatever is trained on some data stands in the trial ledger, by whichever stage it was looked at."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from grandmodel.core.clock import system_clock
from grandmodel.core.hashing import hash_folder
from grandmodel.data.dataset import Dataset
from grandmodel.registry.ledger import Ledger
from grandmodel.registry.trials import known_on, open_trials, read_returns, read_trials, verify_trials
from pipelines import evaluate as stage
from pipelines.sweep import sweep
from pipelines.train import plan_units
from pipelines.trials import record_evidence
from pipelines.workspace import PROJECT, STATE_VARIABLE, Workspace, state_folder


@pytest.fixture
def trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """Return an empty trial ledger, which is the one that stages of this test write."""
    monkeypatch.setenv(STATE_VARIABLE, str(tmp_path / "state"))
    return open_trials(tmp_path / "state", system_clock)


def beside(workspace: Workspace, folder: Path, **changes: object) -> Workspace:
    """Return a workspace over the same files under other parameters."""
    params = yaml.safe_load(workspace.params_path.read_text())
    for key, value in changes.items():
        params[key] = {**params[key], **value} if isinstance(value, dict) else value
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    for name in ("features", "train", "evaluate"):
        (folder / name).symlink_to(getattr(workspace, name))
    return Workspace(folder, folder / "params.yaml")


def test_tests_write_into_no_ledger_of_the_project() -> None:
    assert PROJECT not in (state_folder(), *state_folder().parents)


def test_the_stage_evaluate_enters_its_trainings_without_a_promotion(workspace: Workspace) -> None:
    data_hash = Dataset.load(workspace.features / "bars").raw_hash
    entered = {one.id for one in read_trials(open_trials(state_folder(), system_clock)) if one.data_hash == data_hash}
    assert len(entered) >= workspace.params.training.seeds


def test_one_line_a_seed_with_its_daily_returns(workspace: Workspace, trials: Ledger) -> None:
    assert record_evidence(workspace, trials) == 3
    tables = load_file(workspace.evaluate / "evidence" / "daily.safetensors")
    found = verify_trials(trials)
    assert [one.seed_number for one in found] == [0, 1, 2]
    assert len({one.id for one in found}) == 3
    assert len({one.configuration for one in found}) == 1
    assert all(one.simulated for one in found)
    for one, row in zip(found, tables["release"], strict=True):
        np.testing.assert_array_equal(read_returns(trials, one).daily_returns, row)
        np.testing.assert_array_equal(read_returns(trials, one).sessions, tables["sessions"])
    lineage = json.loads((workspace.package / "evidence.json").read_text())["lineage"]
    assert (found[0].data_hash, found[0].weights) == (lineage["data"], lineage["weights"])


def test_a_run_that_is_repeated_adds_nothing(workspace: Workspace, trials: Ledger) -> None:
    record_evidence(workspace, trials)
    before = trials.path.read_bytes()
    assert record_evidence(workspace, trials) == 0
    assert trials.path.read_bytes() == before


def test_evaluating_again_changes_no_out_and_no_line(workspace: Workspace, trials: Ledger, tmp_path: Path) -> None:
    again = Workspace(tmp_path / "again", workspace.params_path)
    again.folder.mkdir()
    for name in ("ingest", "validate", "features", "train"):
        (again.folder / name).symlink_to(getattr(workspace, name))
    stage.evaluate(again)
    assert len(read_trials(trials)) == 3
    assert hash_folder(again.evaluate) == hash_folder(workspace.evaluate)
    assert record_evidence(workspace, trials) == 0


def identities(workspace: Workspace) -> tuple[set[str], set[str]]:
    units = plan_units(workspace)
    return {unit.key for unit in units}, {unit.configuration for unit in units}


def test_a_threshold_makes_no_other_trial(workspace: Workspace, tmp_path: Path) -> None:
    lenient = beside(workspace, tmp_path, gates={"deflated_sharpe_min": 0.5})
    assert identities(lenient) == identities(workspace)


def test_more_seeds_are_the_same_configuration(workspace: Workspace, tmp_path: Path) -> None:
    keys, configurations = identities(beside(workspace, tmp_path, training={"seeds": 4}))
    assert keys > identities(workspace)[0]
    assert configurations == identities(workspace)[1]


@pytest.mark.parametrize("changes", [{"seed": 8}, {"market": {"impact_coefficient": 0.2}}])
def test_another_base_seed_or_market_is_another_configuration(
    workspace: Workspace, tmp_path: Path, changes: dict[str, object]
) -> None:
    keys, configurations = identities(beside(workspace, tmp_path, **changes))
    assert not keys & identities(workspace)[0]
    assert not configurations & identities(workspace)[1]


def test_every_trial_of_a_sweep_counts_on_its_own_days(workspace: Workspace, trials: Ledger, tmp_path: Path) -> None:
    sweep(workspace, team="strategic", trials=2, folder=tmp_path / "sweep")
    record_evidence(workspace, trials)
    swept = [entry for entry in trials.read() if entry.actor == "sweep"]
    found = [one for one in read_trials(trials) if one.id in {entry.subject["id"] for entry in swept}]
    assert len({one.configuration for one in found}) == 2
    tested = load_file(workspace.evaluate / "evidence" / "daily.safetensors")["sessions"]
    assert all(read_returns(trials, one).sessions.max() < tested.min() for one in found)
    known = known_on(trials, found[0], tested)
    assert (len(known.trials), known.unseen) == (3, 2)
    sweep(workspace, team="strategic", trials=2, folder=tmp_path / "the same again")
    assert len(read_trials(trials)) == 5
