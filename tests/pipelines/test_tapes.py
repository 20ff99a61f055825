"""One fold's tapes: training and test lie apart, and both clocks are cut at the same moments."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from grandmodel.data.dataset import Dataset
from pipelines.tapes import FoldMarket, fold_folders, load_fold
from pipelines.workspace import Workspace


def test_folds_are_listed_in_order_of_their_number(tmp_path: Path) -> None:
    for number in (10, 2, 0):
        (tmp_path / f"fold_{number}").mkdir()
    assert [path.name for path in fold_folders(tmp_path)] == ["fold_0", "fold_2", "fold_10"]


def test_training_ends_an_embargo_before_the_test(workspace: Workspace, dataset: Dataset) -> None:
    sessions = np.unique(next(iter(dataset.strategic.values())).session)
    for folder in fold_folders(workspace.features):
        fold = load_fold(folder, dataset, workspace.params.market)
        for train, test in ((fold.train.strategic, fold.test.strategic), (fold.train.traded, fold.test.traded)):
            assert train.close_ns.max() <= test.start_ns.min()
            between = (sessions > train.session.max()) & (sessions < test.session.min())
            assert between.sum() == workspace.params.folds.embargo_sessions


def test_both_clocks_cover_the_same_sessions(fold: FoldMarket) -> None:
    for part in (fold.train, fold.test):
        assert part.tactical is not None
        assert set(part.strategic.session.tolist()) == set(part.tactical.session.tolist())
        assert len(part.tactical) == 6 * len(part.strategic)
        assert part.traded is part.tactical


def test_the_test_spans_of_the_folds_follow_each_other(workspace: Workspace) -> None:
    spans = [json.loads((folder / "fold.json").read_text()) for folder in fold_folders(workspace.features)]
    assert len(spans) == workspace.params.folds.count
    assert spans[0]["test_ns"][0][1] <= spans[1]["test_ns"][0][0]
    assert spans[0]["train_ns"][0][0] == spans[1]["train_ns"][0][0]


def test_leverage_and_features_come_from_the_specification(fold: FoldMarket, workspace: Workspace) -> None:
    tape = fold.test.traded
    for symbol in tape.symbols:
        own = tape.leverage[tape.rows(symbol)]
        assert (own == fold.spec.leverage[symbol]).all()
        assert own[0] <= workspace.params.market.leverage_max
    assert np.abs(tape.features).max() <= workspace.params.features.scaled_abs_max
    assert tape.features.std() > 0.1
