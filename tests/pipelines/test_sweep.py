"""The sweep sees no bar that a test judges, and keeps every trial."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from optuna.study import Study

from grandmodel.core.errors import ConfigError
from grandmodel.data.dataset import Dataset
from pipelines.sweep import CHOICES, RANGES, split_training_span, sweep
from pipelines.tapes import fold_folders, load_fold
from pipelines.workspace import Workspace


@pytest.mark.parametrize("team", ["strategic", "tactical"])
def test_the_split_lies_before_every_test_span(workspace: Workspace, dataset: Dataset, team: str) -> None:
    split = split_training_span(workspace, team)
    folds = [load_fold(folder, dataset, workspace.params.market) for folder in fold_folders(workspace.features)]
    assert split.validation.close_ns.max() <= min(fold.test_ns[0] for fold in folds)
    embargo = workspace.params.folds.embargo_sessions
    gap = np.unique(folds[0].train.strategic.session)
    gap = gap[(gap > split.train.session.max()) & (gap < split.validation.session.min())]
    assert len(gap) == embargo == 1
    assert split.team.name == team


def test_no_features_no_sweep(tmp_path: Path, params_path: Path) -> None:
    with pytest.raises(ConfigError, match="features: must hold features"):
        split_training_span(Workspace(tmp_path, params_path), "strategic")


def test_a_trial_that_was_killed_is_run_again(workspace: Workspace, tmp_path: Path, monkeypatch) -> None:
    whole = sweep(workspace, team="strategic", trials=2, folder=tmp_path / "whole")
    run = Study.optimize

    def killed(study: Study, *_: object, **__: object) -> None:
        study.ask()
        raise KeyboardInterrupt

    monkeypatch.setattr(Study, "optimize", killed)
    with pytest.raises(KeyboardInterrupt):
        sweep(workspace, team="strategic", trials=1, folder=tmp_path / "killed")
    monkeypatch.setattr(Study, "optimize", run)
    again = sweep(workspace, team="strategic", trials=2, folder=tmp_path / "killed")
    done = [one["params"] for one in again["trials"] if one["daily_log_return"] is not None]
    assert done == [one["params"] for one in whole["trials"]]


def test_trials_are_kept_and_equal_in_one_go_or_in_two(workspace: Workspace, tmp_path: Path) -> None:
    whole = sweep(workspace, team="strategic", trials=3, folder=tmp_path / "whole")
    sweep(workspace, team="strategic", trials=1, folder=tmp_path / "parts")
    parts = sweep(workspace, team="strategic", trials=2, folder=tmp_path / "parts")
    assert parts == whole
    assert json.loads((tmp_path / "whole" / f"{whole['study']}.json").read_text()) == whole
    stands = workspace.params.training.strategic
    assert whole["trials"][0]["params"] == {name: getattr(stands, name) for name in sorted((*RANGES, *CHOICES))}
    values = [one["daily_log_return"] for one in whole["trials"]]
    assert len(set(values)) == 3
    assert whole["best"] == int(np.argmax(values))
