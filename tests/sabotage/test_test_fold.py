"""The test fold trained on: gate G1 refuses it by what the training says it was given, and by the spans of the fold."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable

import numpy as np
import pytest

from pipelines.tapes import FoldMarket
from pipelines.train import plan_units, train_unit
from pipelines.workspace import empty_folder
from tests.sabotage.conftest import Attempt


def train_small(attempt: Attempt) -> None:
    """Train the one unit of a small workspace in this process, as the stage does in its own."""
    attempt.market.dataset.save(attempt.workspace.features / "bars")
    (unit,) = plan_units(attempt.workspace)
    empty_folder(attempt.workspace.train)
    train_unit(attempt.workspace, unit)
    kept = attempt.workspace.units / unit.key / "weights"
    shutil.copytree(kept, attempt.workspace.train / "weights" / unit.name)


def test_an_honest_training_passes(attempt: Callable[[], Attempt]) -> None:
    one = attempt()
    train_small(one)
    result = one.leakage()
    assert result.passed, result.reason


def test_a_training_that_was_given_the_test_is_caught(
    attempt: Callable[[], Attempt], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = attempt()
    with monkeypatch.context() as patched:
        patched.setattr(FoldMarket, "train", property(lambda fold: fold.tapes))
        train_small(one)
    sessions = len(np.unique(one.folds[0].test.strategic.session))
    result = one.leakage()
    assert not result.passed
    assert f"a finished training was given {sessions} sessions of the test" in result.reason


def test_a_fold_whose_training_reaches_into_its_test_is_caught(attempt: Callable[[], Attempt]) -> None:
    one = attempt()
    path = one.workspace.features / "fold_0" / "fold.json"
    spans = json.loads(path.read_text())
    path.write_text(json.dumps(spans | {"train_ns": [[spans["train_ns"][0][0], spans["test_ns"][-1][1]]]}))
    result = one.leakage()
    assert not result.passed
    assert "test rows were trained on, from row" in result.reason


def test_a_fold_without_its_embargo_is_caught(attempt: Callable[[], Attempt]) -> None:
    one = attempt()
    path = one.workspace.features / "fold_0" / "fold.json"
    spans = json.loads(path.read_text())
    path.write_text(json.dumps(spans | {"train_ns": [[spans["train_ns"][0][0], spans["test_ns"][0][0]]]}))
    result = one.leakage()
    assert not result.passed
    assert "the label of training row" in result.reason
    assert "0 sessions of embargo instead of 1" in result.reason
