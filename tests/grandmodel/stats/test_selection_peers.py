"""The statistics of selection against the libraries that publish them, and the traps found by running those libraries.

purgedcv, ffn and vartests are dependencies of this test alone; nothing of the library imports them.
"""

from __future__ import annotations

from itertools import combinations

import ffn.core
import numpy as np
import pandas as pd
import purgedcv
import pytest
import vartests
from arch.bootstrap import SPA

from grandmodel.core.errors import DataError
from grandmodel.stats.bootstrap import optimal_block_days
from grandmodel.stats.combinatorial import combinatorial_folds
from grandmodel.stats.coverage import kupiec
from grandmodel.stats.overfitting import minimum_backtest_years, null_p, overfitting, simulated_searches
from grandmodel.stats.predictive_ability import predictive_ability
from grandmodel.stats.sharpe import deflated_sharpe, minimum_track_record, probabilistic_sharpe, sharpe_moments
from grandmodel.stats.trials import Trials

SEEDS = range(6)


def _trials(table: np.ndarray) -> Trials:
    names, sessions = tuple(f"trial_{row}" for row in range(len(table))), np.arange(table.shape[1], dtype=np.int32)
    return Trials(names, sessions, table, 0, True, "drawn")


def _noise(trials: int, days: int, seed: int, edge: float = 0.0) -> np.ndarray:
    table = np.random.default_rng(seed).normal(size=(trials, days))
    table[0] += edge
    return table


def _frame(table: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(table.T, index=pd.date_range("2020-01-01", periods=table.shape[1]))


def _fat_tails(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the daily returns of a release [days] and the daily Sharpe ratios of its trials."""
    stream = np.random.default_rng(seed)
    return 0.01 * stream.standard_t(5, 500) + 0.0015, stream.normal(0.0, 0.05, 20)


@pytest.mark.parametrize("seed", SEEDS)
def test_overfitting_is_exactly_that_of_ffn_and_purgedcv(seed: int) -> None:
    table = _noise(6, 160, seed, edge=0.1 * (seed % 3))
    ours = overfitting(_trials(table), blocks=8)
    theirs = purgedcv.probability_of_backtest_overfitting(table, n_splits=8)
    assert ours.probability == ffn.core.calc_prob_backtest_overfitting(_frame(table), n_blocks=8)
    assert ours.probability == theirs.pbo
    assert ours.degradation_slope == pytest.approx(theirs.slope, rel=1e-9)
    assert ours.loss_probability == np.mean(theirs.is_oos_performance[:, 1] < 0)


def test_overfitting_with_all_sixteen_blocks_is_exactly_that_of_purgedcv() -> None:
    table = _noise(2, 64, 3)
    theirs = purgedcv.probability_of_backtest_overfitting(table, n_splits=16)
    assert overfitting(_trials(table)).probability == theirs.pbo


def test_trap_overfitting_of_a_transposed_table_is_a_number_at_purgedcv_and_an_error_here() -> None:
    clear = _noise(24, 160, 1, edge=0.6)
    assert purgedcv.probability_of_backtest_overfitting(clear, n_splits=6).pbo == 0.0
    turned = purgedcv.probability_of_backtest_overfitting(clear.T, n_splits=6).pbo
    assert turned > 0.3  # on the same numbers, and without an error
    names, sessions = tuple(f"trial_{row}" for row in range(24)), np.arange(160, dtype=np.int32)
    with pytest.raises(DataError, match="one row for each name"):
        Trials(names, sessions, clear.T, 0, True, "drawn")
    with pytest.raises(DataError, match="increase from day to day"):
        Trials(names, sessions[::-1], clear, 0, True, "drawn")


def test_trap_the_median_of_an_odd_number_of_trials_counts_as_overfitting_here_and_at_ffn_alone() -> None:
    table = _noise(7, 160, 7)
    ours = overfitting(_trials(table), blocks=8).probability
    assert ours == ffn.core.calc_prob_backtest_overfitting(_frame(table), n_blocks=8)
    assert ours > purgedcv.probability_of_backtest_overfitting(table, n_splits=8).pbo


def test_trap_overfitting_of_noise_scatters_so_widely_that_one_half_is_no_threshold() -> None:
    found = [overfitting(_trials(_noise(24, 160, seed)), blocks=8) for seed in range(100)]
    probabilities = np.array([one.probability for one in found])
    assert 0.2 < np.mean(probabilities < 0.5) < 0.8  # a folklore threshold lets this share of pure noise pass
    assert np.ptp(probabilities) > 0.5
    null = simulated_searches(_trials(_noise(24, 160, 0)), seed=1, draws=200, blocks=8)
    ps = np.array([null_p((one.probability, one.loss_probability), null) for one in found])
    assert np.mean(ps <= 0.05) <= 0.12  # its own null keeps its 5 %


@pytest.mark.parametrize("seed", SEEDS)
def test_deflated_sharpe_agrees_with_ffn_and_purgedcv(seed: int) -> None:
    returns, sharpes = _fat_tails(seed)
    moments, variance = sharpe_moments(returns), float(sharpes.var(ddof=1))
    assert moments is not None
    ours = deflated_sharpe(moments, len(sharpes), variance)
    index = pd.date_range("2020-01-01", periods=len(returns))
    series = pd.Series(returns, index=index)
    theirs = ffn.core.calc_deflated_sharpe_ratio(series, sharpes, nperiods=252, annualized_trials=False)
    assert ours == pytest.approx(theirs, abs=1e-3)
    assert ours == pytest.approx(purgedcv.deflated_sharpe_ratio(returns, len(sharpes), variance), abs=1e-3)
    assert probabilistic_sharpe(moments) == pytest.approx(purgedcv.probabilistic_sharpe_ratio(returns, 0.0), abs=1e-3)


def test_trap_deflated_sharpe_of_ffn_takes_trials_as_annual_unless_told() -> None:
    returns, sharpes = _fat_tails(1)
    series = pd.Series(returns, index=pd.date_range("2020-01-01", periods=len(returns)))
    moments = sharpe_moments(returns)
    assert moments is not None
    ours = deflated_sharpe(moments, len(sharpes), float(sharpes.var(ddof=1)))
    by_default = ffn.core.calc_deflated_sharpe_ratio(series, sharpes, nperiods=252)
    assert ours is not None
    assert by_default > ours + 0.3  # the default divides the hurdle of daily trials by sixteen


@pytest.mark.parametrize("seed", SEEDS)
def test_minimum_track_record_and_backtest_length_are_those_of_purgedcv(seed: int) -> None:
    moments = sharpe_moments(_fat_tails(seed)[0])
    assert moments is not None
    ours = minimum_track_record(moments)
    theirs = purgedcv.min_track_record_length(moments.sharpe, 0.0, 0.05, moments.skew, moments.kurtosis)
    assert ours is not None
    assert np.ceil(ours) == theirs  # which counts whole observations
    trials = 2 + 20 * seed
    assert minimum_backtest_years(trials, 1.3) == pytest.approx(
        purgedcv.minimum_backtest_length(trials, 1.3), rel=1e-12
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_predictive_ability_is_that_of_arch_within_monte_carlo_error(seed: int) -> None:
    table = 0.01 * _noise(12, 250, seed, edge=0.15)
    ours = predictive_ability(_trials(table), draws=2000, seed=1)
    block_days = max(optimal_block_days(row) for row in table)
    test = SPA(np.zeros(250), -(table / table.std(axis=1, keepdims=True)).T, block_size=block_days, reps=2000, seed=99)
    test.compute()
    theirs = test.pvalues
    for name, value in (("lower", ours.p_lower), ("consistent", ours.p_consistent), ("upper", ours.p_upper)):
        error = np.sqrt(2 * 0.25 / 2000)  # of the difference of two shares of 2000 draws, at its largest
        assert value == pytest.approx(theirs[name], abs=4 * error)


def test_trap_predictive_ability_takes_losses_and_an_edge_handed_in_as_returns_is_invisible() -> None:
    table = _noise(8, 250, 1)
    table[3] += 0.4
    assert predictive_ability(_trials(table), draws=500, seed=1).p_consistent < 0.01
    turned = SPA(np.zeros(250), table.T, block_size=2, reps=500, seed=1)
    turned.compute()
    assert turned.pvalues["consistent"] > 0.05


def test_trap_predictive_ability_of_arch_does_not_studentize_whatever_it_is_asked() -> None:
    table = _noise(8, 300, 2)
    table[1] += 0.3
    table[0] *= 30.0  # one wild trial, and the edge of another drowns in its scatter
    options = {"block_size": 2, "reps": 500, "seed": 1}
    asked, plain = (SPA(np.zeros(300), -table.T, studentize=studentize, **options) for studentize in (True, False))
    asked.compute()
    plain.compute()
    assert asked.pvalues["upper"] == plain.pvalues["upper"] > 0.2
    assert predictive_ability(_trials(table), draws=500, seed=1).p_upper < 0.01


def test_trap_the_three_p_values_of_predictive_ability_differ_where_trials_are_bad() -> None:
    table = _noise(10, 300, 1)
    table[:3] -= 0.3  # far below zero: no trial for the consistent one either
    table[3:5] -= 0.05  # below zero as luck would have it: one for the consistent, none for the lower
    found = predictive_ability(_trials(table), draws=1000, seed=1)
    assert found.p_lower < found.p_consistent < found.p_upper


@pytest.mark.parametrize(("count", "n", "level"), [(6, 250, 0.99), (0, 250, 0.99), (15, 1000, 0.99), (57, 1043, 0.95)])
def test_kupiec_is_that_of_vartests(count: int, n: int, level: float) -> None:
    theirs = vartests.kupiec_test(x=count, n=n, risk_conf_level=level)
    assert kupiec(count, n, level).statistic == pytest.approx(theirs["statistic"], abs=1e-9)
    assert kupiec(6, 250, 0.99).statistic == pytest.approx(3.55535, abs=5e-6)


@pytest.mark.parametrize(("groups", "tested", "horizon"), [(6, 2, 3), (5, 1, 4), (5, 3, 1)])
def test_combinatorial_folds_purge_by_label_interval_as_purgedcv_does(groups: int, tested: int, horizon: int) -> None:
    rows = 60
    times = pd.Series(pd.date_range("2024-01-01", periods=rows, freq="D"))
    # There a label that ends where another begins does not touch it; here both hold that row, hence the hour.
    known = times + pd.Timedelta(days=horizon, hours=1)
    theirs = purgedcv.CombinatorialPurgedCV(
        groups, tested, prediction_times=times, evaluation_times=known, purge_horizon=pd.Timedelta(0)
    )
    session = np.arange(rows, dtype=np.int32)
    ours = combinatorial_folds(
        session, groups=groups, test_groups=tested, embargo_sessions=0, label_horizon_bars=horizon
    )
    assert [fold.tested for fold in ours] == list(combinations(range(groups), tested))
    for fold, (train, test) in zip(ours, theirs.split(np.zeros((rows, 1))), strict=True):
        assert [row for first, stop in fold.train_rows for row in range(first, stop)] == sorted(train)
        assert [row for first, stop in fold.test_rows for row in range(first, stop)] == sorted(test)
