"""Gate G1 on the pipeline's own release: clean as it is, refused as soon as an artefact was tampered with."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from grandmodel.core.errors import DataError
from grandmodel.data.dataset import Dataset
from grandmodel.features.columns import STRATEGIC_COLUMNS, TACTICAL_COLUMNS
from grandmodel.gates import g1_leakage
from grandmodel.gates.result import GateResult
from grandmodel.market.replay import simulate_targets
from pipelines.features import plan_folds
from pipelines.leakage import cases_without_rows, earned_by, earning_cases, fit_cases, fold_cases, judge_leakage
from pipelines.tapes import FoldMarket, fold_folders, load_fold
from pipelines.workspace import Workspace


@pytest.fixture
def folds(workspace: Workspace, dataset: Dataset) -> list[FoldMarket]:
    return [load_fold(folder, dataset, workspace.params.market) for folder in fold_folders(workspace.features)]


@pytest.fixture
def tampered(workspace: Workspace, tmp_path: Path) -> Workspace:
    """A copy whose features may be changed."""
    shutil.copytree(workspace.features, tmp_path / "features")
    shutil.copytree(workspace.train / "weights", tmp_path / "train" / "weights")
    return Workspace(tmp_path, workspace.params_path)


def judge(workspace: Workspace, dataset: Dataset) -> GateResult:
    folders = fold_folders(workspace.features)
    return judge_leakage(workspace, dataset, [load_fold(f, dataset, workspace.params.market) for f in folders])


def test_the_pipelines_own_release_is_clean(workspace: Workspace, dataset: Dataset) -> None:
    result = judge(workspace, dataset)
    gates = workspace.params.gates
    assert result.passed, result.reason
    assert result.n == len(dataset.strategic) * (gates.truncation_points + gates.shuffle_points)
    assert result.evidence["stages"] == [
        *("features", "market columns", "observations", "environment", "decisions", "intents"),
    ]
    assert result.evidence["folds"] == 2 * 2 * len(dataset.strategic)


@pytest.mark.parametrize(
    ("clock", "column"),
    [
        ("strategic", STRATEGIC_COLUMNS.index("nwrqk_deviation")),
        ("tactical", TACTICAL_COLUMNS.index("momentum_5")),
    ],
)
def test_a_column_shifted_by_one_bar_is_caught(tampered: Workspace, dataset: Dataset, clock: str, column: int) -> None:
    path = fold_folders(tampered.features)[-1] / "features.safetensors"
    columns = load_file(path)
    columns[f"{clock}/NQ"][:-1, column] = columns[f"{clock}/NQ"][1:, column]
    save_file(columns, path)
    result = judge(tampered, dataset)
    assert not result.passed
    assert result.statistic == tampered.params.gates.truncation_points + tampered.params.gates.shuffle_points
    assert f"features of {clock} NQ at row" in result.reason


def test_every_fold_is_fitted_again(workspace: Workspace, dataset: Dataset, folds: list[FoldMarket]) -> None:
    cases = fit_cases(dataset, folds, workspace.params)
    assert [case.name for case in cases] == ["what fold 0 fitted", "what fold 1 fitted"]
    assert len(cases[0].fitted) == 4 * len(dataset.strategic)
    assert all(g1_leakage.fit_faults(case) == [] for case in cases)
    assert cases[0].fitted != cases[1].fitted


def test_what_accounts_earn_is_counted_from_the_bars(workspace: Workspace, dataset: Dataset, fold: FoldMarket) -> None:
    cases = earning_cases(dataset, fold, workspace.params)
    assert len(cases) == 2 * len(dataset.strategic)
    for case in cases:
        assert np.count_nonzero(case.due) > len(case.due) // 2
        assert g1_leakage.earning_faults(case) == []


def test_the_plain_count_of_earnings_knows_bars_that_fill_nothing(
    workspace: Workspace, dataset: Dataset, fold: FoldMarket
) -> None:
    bars = dataset.strategic["NQ"].rows(0, 200)
    tradable = np.random.default_rng(0).random(200) < 0.5
    tape = replace(fold.tapes.strategic.only("NQ").with_cost_multiple(0.0))
    tape = tape.window(int(tape.start_ns[0]), int(tape.start_ns[200]))
    targets = np.random.default_rng(1).choice([-1.0, 0.0, 1.0], 200)
    earned = simulate_targets(replace(tape, tradable=tradable), targets, workspace.params.market).log_return
    due = earned_by(targets, replace(bars, tradable=tradable), fold.spec.leverage["NQ"])
    np.testing.assert_allclose(earned, due, atol=1e-12)
    assert np.abs(due - earned_by(targets, bars, fold.spec.leverage["NQ"])).max() > 1e-6


def test_every_fold_clock_and_instrument_is_a_case(
    workspace: Workspace, dataset: Dataset, folds: list[FoldMarket]
) -> None:
    cases = fold_cases(workspace, dataset, folds)
    assert len({case.name for case in cases}) == 2 * 2 * len(dataset.strategic)
    for case in cases:
        assert case.label_horizon_bars >= 1
        given = frozenset(np.unique(case.session[case.trained]).tolist())
        assert case.seen_sessions == (given,) * workspace.params.training.seeds


def test_a_fold_that_lost_its_test_refuses(workspace: Workspace, dataset: Dataset, folds: list[FoldMarket]) -> None:
    result = judge_leakage(workspace, dataset, [replace(folds[0], test_spans_ns=()), folds[1]])
    assert not result.passed
    assert "training or test rows are missing in fold 0 strategic ES, fold 0 strategic NQ" in result.reason


def test_an_instrument_that_the_plan_gives_no_rows_is_named(workspace: Workspace, dataset: Dataset) -> None:
    params = workspace.params
    assert cases_without_rows(dataset, params) == frozenset()
    first, last = plan_folds(dataset, params)
    clocks = {"strategic": dataset.strategic, "tactical": dataset.tactical}
    rows = {clock: last.on(bars["NQ"].session).test_start for clock, bars in clocks.items()}
    ended = {clock: bars | {"NQ": bars["NQ"].rows(0, rows[clock])} for clock, bars in clocks.items()}
    assert cases_without_rows(replace(dataset, **ended), params) == {"fold 1 strategic NQ", "fold 1 tactical NQ"}
    began = first.on(dataset.tactical["NQ"].session).train_stop
    late = dataset.tactical | {"NQ": dataset.tactical["NQ"].rows(began, len(dataset.tactical["NQ"]))}
    assert cases_without_rows(replace(dataset, tactical=late), params) == {"fold 0 tactical NQ"}


def test_an_instrument_that_joins_a_later_fold_is_no_case_of_the_first(
    workspace: Workspace, dataset: Dataset, folds: list[FoldMarket]
) -> None:
    first, _ = plan_folds(dataset, workspace.params)
    began = first.on(dataset.strategic["NQ"].session).train_stop - 100
    late = replace(
        dataset,
        strategic=dataset.strategic | {"NQ": dataset.strategic["NQ"].rows(began, len(dataset.strategic["NQ"]))},
    )
    assert cases_without_rows(late, workspace.params) == frozenset()
    names = [case.name for case in fold_cases(workspace, late, folds)]
    assert "fold 0 strategic NQ" not in names
    assert "fold 1 strategic NQ" in names


def test_weights_without_a_record_of_their_training_are_refused(tampered: Workspace, dataset: Dataset) -> None:
    (tampered.train / "weights" / "fold_1" / "seed_2" / "tactical_trained_on.json").unlink()
    with pytest.raises(DataError, match="must say which sessions it was given"):
        judge(tampered, dataset)
