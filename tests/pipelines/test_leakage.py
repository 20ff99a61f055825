"""Gate G1 on the pipeline's own features: clean as they are, refused as soon as one looks ahead."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from grandmodel.data.dataset import Dataset
from grandmodel.features.columns import STRATEGIC_COLUMNS, TACTICAL_COLUMNS
from grandmodel.gates import g1_leakage
from grandmodel.gates.result import GateResult
from models.feature_spec import SymbolSpec
from pipelines.leakage import fold_cases, truncation_cases
from pipelines.tapes import FoldMarket, fold_folders, load_fold
from pipelines.workspace import Workspace

POINTS = 12


def judge(workspace: Workspace, dataset: Dataset, fold: FoldMarket) -> GateResult:
    folds = [load_fold(folder, dataset, workspace.params.market) for folder in fold_folders(workspace.features)]
    return g1_leakage.judge(
        truncation_cases(workspace, dataset, fold),
        fold_cases(dataset, folds, workspace.params),
        points_per_case=POINTS,
        seed=workspace.params.seed,
    )


@pytest.fixture
def tampered(workspace: Workspace, tmp_path: Path) -> Workspace:
    """A copy whose features may be changed."""
    shutil.copytree(workspace.features, tmp_path / "features")
    return Workspace(tmp_path, workspace.params_path)


def shift_by_one_bar(workspace: Workspace, fold: FoldMarket, table: str, column: int) -> None:
    path = workspace.features / f"fold_{fold.number}" / "features.safetensors"
    columns = load_file(path)
    columns[table][:-1, column] = columns[table][1:, column]
    save_file(columns, path)


def test_the_pipelines_own_features_are_clean(workspace: Workspace, dataset: Dataset, fold: FoldMarket) -> None:
    result = judge(workspace, dataset, fold)
    assert result.passed, result.reason
    assert result.n == POINTS * len(dataset.strategic) * 2


@pytest.mark.parametrize(
    ("clock", "column"),
    [
        ("strategic", STRATEGIC_COLUMNS.index("nwrqk_deviation")),
        ("tactical", TACTICAL_COLUMNS.index("momentum_5")),
    ],
)
def test_a_column_shifted_by_one_bar_is_caught(
    tampered: Workspace, dataset: Dataset, fold: FoldMarket, clock: str, column: int
) -> None:
    shift_by_one_bar(tampered, fold, f"{clock}/NQ", column)
    result = judge(tampered, dataset, fold)
    assert not result.passed
    assert result.statistic >= POINTS // 2
    assert f"{clock} NQ" in result.reason
    assert f"columns [{column}]" in result.reason


def test_market_columns_are_looked_at_too(workspace: Workspace, dataset: Dataset, fold: FoldMarket) -> None:
    case = truncation_cases(workspace, dataset, fold)[0]
    assert case.matrix.shape[1] > len(STRATEGIC_COLUMNS)
    known = np.array(case.matrix)
    known[:-1, len(STRATEGIC_COLUMNS)] = known[1:, len(STRATEGIC_COLUMNS)]  # the gap to the next open
    folds = fold_cases(dataset, [fold] * workspace.params.folds.count, workspace.params)
    result = g1_leakage.judge([replace(case, matrix=known)], folds, points_per_case=POINTS, seed=1)
    assert not result.passed


def test_a_scaler_fitted_beyond_the_start_of_the_test_is_a_fault(
    workspace: Workspace, dataset: Dataset, fold: FoldMarket
) -> None:
    def late(spec: SymbolSpec) -> SymbolSpec:
        return replace(spec, strategic=replace(spec.strategic, fit_stop_ns=fold.test_ns[1]))

    symbols = {symbol: late(spec) for symbol, spec in fold.spec.symbols.items()}
    spoilt = replace(fold, spec=replace(fold.spec, symbols=symbols))
    first = load_fold(fold_folders(workspace.features)[0], dataset, workspace.params.market)
    cases = fold_cases(dataset, [first, spoilt], workspace.params)
    faults = [fault for case in cases for fault in g1_leakage.fold_faults(case)]
    assert len(faults) == len(dataset.strategic)
    assert all("scaler was fitted beyond" in fault for fault in faults)


def test_every_fold_clock_and_instrument_is_a_case(workspace: Workspace, dataset: Dataset, fold: FoldMarket) -> None:
    first = load_fold(fold_folders(workspace.features)[0], dataset, workspace.params.market)
    cases = fold_cases(dataset, [first, fold], workspace.params)
    assert len({case.name for case in cases}) == 2 * 2 * len(dataset.strategic)
    assert all(case.label_horizon_bars >= 1 for case in cases)
