from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.core.random import random_stream
from grandmodel.risk import reference
from grandmodel.risk.covariance import (
    EwmaCovariance,
    MeanCorrelation,
    checked_row,
    correlation_path,
    largest_eigenvalue,
    marchenko_pastur_edge,
    mean_off_diagonal,
)
from grandmodel.risk.state import TradingState, fail_closed

Floats = NDArray[np.float64]


def market(bars: int, assets: int, correlation: float, seed: int = 1) -> Floats:
    stream = random_stream(seed, "covariance")
    common, own = stream.standard_normal((bars, 1)), stream.standard_normal((bars, assets))
    rows: Floats = 0.01 * (math.sqrt(correlation) * common + math.sqrt(1 - correlation) * own)
    return rows


@pytest.mark.parametrize("assets", [2, 5, 17])
def test_covariance_equals_its_slow_twin_and_is_symmetric_to_the_bit(assets: int) -> None:
    rows = market(150, assets, 0.4)
    kept = EwmaCovariance(assets)
    for row in rows:
        assert kept.update(row)
    slow = reference.ewma_covariance(rows, 0.94)
    np.testing.assert_allclose(kept.covariance, slow, rtol=1e-10, atol=1e-20)
    np.testing.assert_array_equal(kept.covariance, kept.covariance.T)
    assert kept.mean_correlation() == pytest.approx(mean_off_diagonal(kept.correlation()), rel=1e-12)
    assert kept.eigenvalue_share() == pytest.approx(reference.eigenvalue_share(slow), rel=1e-8)


def test_hull_example_of_one_variance_step() -> None:
    kept = EwmaCovariance(2, 0.90)
    kept.update(np.array([0.01, 0.0]))
    kept.update(np.array([0.02, 0.0]))
    assert kept.covariance[0, 0] == pytest.approx(0.00013, rel=1e-12)


@pytest.mark.parametrize("assets", [2, 6])
def test_the_mean_correlation_without_a_matrix_equals_its_slow_twin(assets: int) -> None:
    rows = market(200, assets, 0.5)
    gauge = MeanCorrelation(assets)
    answers = [gauge.update(row) for row in rows]
    for bar in (73, 120, 199):
        assert answers[bar] == pytest.approx(reference.mean_correlation(rows[: bar + 1], 0.94), rel=1e-10)
    assert np.isnan(answers[:73]).all()


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.9])
def test_both_mean_correlations_find_the_true_one(correlation: float) -> None:
    rows = market(4000, 10, correlation)
    means, shares = correlation_path(rows)
    kept = EwmaCovariance(10, 0.99)
    for row in rows:
        kept.update(row)
    assert np.nanmean(means) == pytest.approx(correlation, abs=0.03)
    assert kept.mean_correlation() == pytest.approx(correlation, abs=0.08)
    # The largest eigenvalue of equal correlations is 1 + (N - 1) rho; sampling adds to it, most where rho is small.
    assert np.nanmean(shares) == pytest.approx((1 + 9 * correlation) / 10, abs=0.16)


def test_identical_and_opposite_assets_have_correlation_one_and_minus_one() -> None:
    moves = random_stream(2, "twins").standard_normal(100) * 0.01
    for sign in (1.0, -1.0):
        gauge = MeanCorrelation(2)
        for move in moves:
            answer = gauge.update(np.array([move, sign * move]))
        assert answer == pytest.approx(sign, abs=1e-12)


@pytest.mark.parametrize(("assets", "correlation"), [(2, 0.3), (10, 0.6), (100, 0.95), (5, -0.1)])
def test_equicorrelation_eigenvalue(assets: int, correlation: float) -> None:
    matrix = np.full((assets, assets), correlation) + (1 - correlation) * np.eye(assets)
    scale = np.outer(np.arange(1, assets + 1), np.arange(1, assets + 1)) * 1e-4
    value = largest_eigenvalue(matrix * scale, np.full(assets, 1 / math.sqrt(assets)))
    assert value == pytest.approx(max(1 + (assets - 1) * correlation, 1 - correlation), rel=1e-7)


def test_marchenko_pastur_edge_bounds_unrelated_series() -> None:
    assert marchenko_pastur_edge(10, 250) == pytest.approx(1.44, rel=1e-12)
    noise = random_stream(3, "noise").standard_normal((2500, 100))
    assert np.linalg.eigvalsh(np.corrcoef(noise.T))[-1] == pytest.approx(marchenko_pastur_edge(100, 2500), rel=0.05)


def test_the_warm_iteration_finds_an_eigenvector_that_becomes_the_first() -> None:
    """Two blocks take turns in moving together; the vector of one is orthogonal to that of the other."""
    stream = random_stream(4, "blocks")
    kept = EwmaCovariance(8)
    for bar in range(600):
        row = stream.standard_normal(8) * 0.01
        block = slice(0, 4) if (bar // 150) % 2 else slice(4, 8)
        row[block] = 0.2 * row[block] + 0.01 * stream.standard_normal()
        kept.update(row)
        if bar > 80:
            assert kept.eigenvalue_share() == pytest.approx(reference.eigenvalue_share(kept.covariance), rel=1e-4)


def test_the_path_equals_the_steps() -> None:
    rows = market(200, 5, 0.4)
    rows[120, 3] = math.nan
    means, shares = correlation_path(rows, 0.9)
    gauge, kept = MeanCorrelation(5, 0.9), EwmaCovariance(5, 0.9)
    for bar, row in enumerate(rows):
        mean, taken = gauge.update(row), kept.update(row)
        np.testing.assert_equal(means[bar], mean)
        np.testing.assert_equal(shares[bar], kept.eigenvalue_share() if taken else math.nan)
    assert np.isfinite(means).sum() == 200 - gauge.warm_bars  # the first answer comes with the warm-th bar; one is bad


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e200])
def test_a_row_that_is_not_finite_is_not_taken_in(bad: float) -> None:
    gauge, kept = MeanCorrelation(3), EwmaCovariance(3)
    for row in market(100, 3, 0.4):
        gauge.update(row)
        kept.update(row)
    state, covariance = gauge.state.copy(), kept.covariance.copy()
    broken = np.array([0.01, bad, 0.01])
    answer = gauge.update(broken)
    assert math.isnan(answer)
    assert fail_closed(TradingState.ACTIVE, answer) is TradingState.REDUCING
    assert not kept.update(broken)
    np.testing.assert_array_equal(gauge.state, state)
    np.testing.assert_array_equal(kept.covariance, covariance)


def test_an_asset_that_never_moved_has_no_correlation() -> None:
    rows = market(100, 3, 0.4)
    rows[:, 1] = 0.0
    gauge, kept = MeanCorrelation(3), EwmaCovariance(3)
    for row in rows:
        assert math.isnan(gauge.update(row))
        kept.update(row)
    assert math.isnan(kept.mean_correlation())
    assert math.isnan(kept.eigenvalue_share())


def test_one_observation_gives_no_number() -> None:
    kept = EwmaCovariance(3)
    kept.update(np.array([0.01, 0.02, 0.03]))
    assert math.isnan(kept.mean_correlation())
    assert math.isnan(kept.eigenvalue_share())


def test_wrong_settings_and_shapes_are_refused() -> None:
    for assets in (0, 1):
        with pytest.raises(ConfigError, match="two assets"):
            MeanCorrelation(assets)
    with pytest.raises(ConfigError, match="decay"):
        EwmaCovariance(3, 1.0)
    with pytest.raises(ConfigError, match="two bars"):
        MeanCorrelation(3, warm_bars=1)
    with pytest.raises(DataError, match="each of 3 assets"):
        checked_row(np.zeros(2), 3)
    for wrong in (np.zeros(2), np.zeros(4)):
        with pytest.raises(ValueError, match="one return for each asset"):
            EwmaCovariance(3).update(wrong)
        with pytest.raises(ValueError, match="one return for each asset"):
            MeanCorrelation(3).update(wrong)
