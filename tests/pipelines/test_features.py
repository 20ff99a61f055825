"""Who takes part in which fold: an instrument that is listed late joins when it can be trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from grandmodel.core.errors import DataError
from grandmodel.data.dataset import Dataset
from pipelines.evaluate import replay_fold
from pipelines.features import TRAIN_BARS_MIN, members, plan_folds, write_fold
from pipelines.leakage import fold_cases
from pipelines.tapes import load_fold
from pipelines.workspace import Workspace


@pytest.fixture
def late(dataset: Dataset, workspace: Workspace) -> Dataset:
    """The market with NQ listed a few sessions before the first test, too late to be trained on in the first fold."""
    first = plan_folds(dataset, workspace.params)[0]
    listed = first.train_sessions[1] - 7

    def cut(clock: str) -> dict[str, object]:
        bars = getattr(dataset, clock)
        own = bars["NQ"]
        return bars | {"NQ": own.rows(int((own.session < listed).sum()), len(own))}

    return replace(dataset, strategic=cut("strategic"), tactical=cut("tactical"))


def test_a_late_listing_joins_the_first_fold_that_can_train_on_it(late: Dataset, workspace: Workspace) -> None:
    folds = plan_folds(late, workspace.params)
    assert [list(members(late, fold).strategic) for fold in folds] == [["ES"], ["ES", "NQ"]]
    assert [list(members(late, fold).tactical) for fold in folds] == [["ES"], ["ES", "NQ"]]
    assert sum(stop - first for first, stop in folds[1].on(late.strategic["NQ"].session).train_rows) >= TRAIN_BARS_MIN


def test_the_fold_before_is_learnt_judged_and_paid_without_it(
    late: Dataset, workspace: Workspace, tmp_path: Path
) -> None:
    first = plan_folds(late, workspace.params)[0]
    write_fold(tmp_path / "fold_0", members(late, first), first, workspace.params)
    fold = load_fold(tmp_path / "fold_0", late, workspace.params.market)
    assert fold.tapes.strategic.symbols == fold.tapes.traded.symbols == ("ES",)
    (out,) = replay_fold(workspace, fold, late, None)
    assert out.release.shape == (workspace.params.training.seeds, len(out.sessions))


def test_a_fold_that_nobody_can_be_trained_on_refuses_by_name(
    dataset: Dataset, workspace: Workspace, tmp_path: Path
) -> None:
    first = plan_folds(dataset, workspace.params)[0]
    short = replace(
        dataset,
        strategic={symbol: bars.rows(len(bars) - 800, len(bars)) for symbol, bars in dataset.strategic.items()},
    )
    assert members(short, first) is short
    with pytest.raises(DataError, match="fold 0 needs at least 500 training bars"):
        write_fold(tmp_path / "fold_0", short, first, workspace.params)


def test_gate_g1_has_a_case_only_for_who_takes_part(late: Dataset, workspace: Workspace, tmp_path: Path) -> None:
    folds = []
    for fold in plan_folds(late, workspace.params):
        folder = tmp_path / f"fold_{fold.number}"
        write_fold(folder, members(late, fold), fold, workspace.params)
        folds.append(load_fold(folder, late, workspace.params.market))
    names = [case.name for case in fold_cases(workspace, late, folds)]
    assert not any("fold 0" in name and "NQ" in name for name in names)
    assert {"fold 0 strategic ES", "fold 1 strategic NQ", "fold 1 tactical NQ"} <= set(names)
