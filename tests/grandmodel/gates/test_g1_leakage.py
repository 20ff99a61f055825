from dataclasses import dataclass, replace

import numpy as np
import pytest

from grandmodel.core.config import FoldParams
from grandmodel.gates import g1_leakage
from grandmodel.gates.g1_leakage import FoldCase, TruncationCase, fold_faults
from grandmodel.stats.folds import walk_forward

CLOSE = np.random.default_rng(0).normal(size=400).cumsum()


@dataclass(frozen=True)
class Scaler:
    fit_stop_ns: int


def honest(close: np.ndarray) -> np.ndarray:
    """Past mean and last change; unknown on the first rows."""
    mean = np.full(len(close), np.nan)
    for row in range(4, len(close)):
        mean[row] = close[row - 4 : row + 1].mean()
    return np.column_stack([mean, np.diff(close, prepend=np.nan)])


def peeking(close: np.ndarray) -> np.ndarray:
    """Look one bar ahead in the second column."""
    return np.column_stack([honest(close)[:, 0], np.append(np.diff(close), 0.0)])


def _case(function, name: str = "features") -> TruncationCase:
    return TruncationCase(name, lambda stop: function(CLOSE[:stop])[-1], function(CLOSE))


def _fold_case() -> FoldCase:
    session = np.repeat(np.arange(100, 140, dtype=np.int32), 10)
    fold = walk_forward(session, FoldParams(count=1, test_frac=0.25, embargo_sessions=1))[0]
    start_ns = np.arange(400, dtype=np.int64) * 1000
    return FoldCase("fold 0", fold, session, start_ns, Scaler(int(start_ns[fold.train_stop])), 1, 1)


def test_features_of_the_past_and_a_purged_fold_pass() -> None:
    result = g1_leakage.judge([_case(honest)], [_fold_case()], points_per_case=24, seed=1)
    assert result.passed
    assert result.statistic == 0.0
    assert result.n == 24
    assert result.power == pytest.approx(1 - 0.9**24)
    assert result.evidence["smallest_share_80"] == pytest.approx(1 - 0.2 ** (1 / 24))


def test_one_bar_of_look_ahead_in_one_column_is_caught_and_located() -> None:
    result = g1_leakage.judge([_case(honest), _case(peeking, "peek")], [_fold_case()], points_per_case=24, seed=1)
    assert not result.passed
    assert result.statistic is not None
    assert result.statistic >= 23
    assert "24 rows of 48 changed" in result.reason or "23 rows of 48 changed" in result.reason
    assert all("peek row" in found and "columns [1]" in found for found in result.evidence["differences"])


def test_scaling_by_the_whole_series_is_caught() -> None:
    result = g1_leakage.judge(
        [_case(lambda close: honest(close) / np.std(close))], [_fold_case()], points_per_case=8, seed=1
    )
    assert not result.passed


def test_a_leak_in_the_last_digit_is_caught() -> None:
    matrix = honest(CLOSE)
    matrix[:, 0] = np.nextafter(matrix[:, 0], np.inf)
    case = TruncationCase("digit", lambda stop: honest(CLOSE[:stop])[-1], matrix)
    assert not g1_leakage.judge([case], [_fold_case()], points_per_case=5, seed=1).passed


def test_the_stated_power_is_the_measured_one() -> None:
    matrix = honest(CLOSE)[10:]
    leaking = matrix.copy()
    leaking[np.random.default_rng(2).choice(len(matrix), len(matrix) // 10, replace=False), 0] += 1.0
    case = TruncationCase("sparse", lambda stop: matrix[stop - 1], leaking)
    results = [g1_leakage.judge([case], [_fold_case()], points_per_case=12, seed=s) for s in range(300)]
    assert results[0].power == pytest.approx(0.718, abs=0.001)
    caught = np.mean([not result.passed for result in results])
    assert caught == pytest.approx(results[0].power, abs=0.07)


def test_points_depend_on_the_seed_and_avoid_warm_up() -> None:
    rows = {tuple(g1_leakage._draw_rows(honest(CLOSE), 6, seed, "x").tolist()) for seed in range(5)}
    assert len(rows) == 5
    assert all(row >= 1 for drawn in rows for row in drawn)


def test_a_fold_whose_label_reaches_the_test_is_refused() -> None:
    case = _fold_case()
    touching = replace(case, fold=replace(case.fold, train_stop=case.fold.test_start))
    assert any("training label" in fault for fault in fold_faults(touching))
    assert not g1_leakage.judge([_case(honest)], [touching], points_per_case=5, seed=1).passed


def test_an_embargo_shorter_than_asked_is_refused() -> None:
    assert fold_faults(replace(_fold_case(), embargo_sessions=2)) == ["fold 0: 1 sessions of embargo instead of 2"]


def test_a_scaler_fitted_on_all_data_is_refused() -> None:
    case = replace(_fold_case(), scaler=Scaler(400_000))
    result = g1_leakage.judge([_case(honest)], [case], points_per_case=5, seed=1)
    assert not result.passed
    assert "scaler was fitted beyond" in result.reason


def test_nothing_to_compare_is_refused_not_passed() -> None:
    empty = TruncationCase("empty", lambda stop: np.array([np.nan]), np.full((10, 1), np.nan))
    for cases, folds in (([], [_fold_case()]), ([_case(honest)], []), ([empty], [_fold_case()])):
        result = g1_leakage.judge(cases, folds, points_per_case=5, seed=1)
        assert not result.passed
        assert result.statistic is None
