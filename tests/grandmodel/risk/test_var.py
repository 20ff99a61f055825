from __future__ import annotations

import math

import arch.data.sp500
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import norm

from grandmodel.core.errors import ConfigError
from grandmodel.core.random import random_stream
from grandmodel.risk.reference import ewma_variance, historical_tail
from grandmodel.risk.state import TradingState, fail_closed
from grandmodel.risk.var import (
    EWMA_LAMBDA,
    ewma_normal,
    ewma_volatility,
    filtered_historical,
    historical,
    parametric,
    returns_min,
    tail_count,
)

METHODS = (historical, parametric, ewma_normal, filtered_historical)


@pytest.fixture(scope="module")
def sp500() -> NDArray[np.float64]:
    """Return 100 x simple returns of the adjusted close, 5030 days."""
    close = arch.data.sp500.load()["Adj Close"].to_numpy(dtype=np.float64)
    returns: NDArray[np.float64] = 100 * (close[1:] / close[:-1] - 1)
    assert len(returns) == 5030
    return returns


def test_historical_meets_the_order_statistics_of_the_sp500(sp500: NDArray[np.float64]) -> None:
    risk = historical(sp500, 0.99)
    assert risk.var_frac == pytest.approx(3.31201720, abs=1e-8)  # the 51st smallest
    assert risk.es_frac == pytest.approx(4.68873643, abs=1e-8)  # the mean of the 51 smallest
    assert risk.var_frac > -np.quantile(sp500, 0.01)  # the interpolated one, 3.30594176, is smaller


def test_parametric_meets_the_normal_figures_of_the_sp500(sp500: NDArray[np.float64]) -> None:
    risk = parametric(sp500, 0.99)
    assert risk.var_frac == pytest.approx(2.77734074, abs=1e-8)
    assert risk.es_frac == pytest.approx(3.18502202, abs=1e-8)


def test_ewma_meets_the_next_day_sigma_of_the_sp500(sp500: NDArray[np.float64]) -> None:
    assert ewma_volatility(sp500)[-1] == pytest.approx(1.77153140, abs=1e-8)
    assert ewma_normal(sp500, 0.99).var_frac == pytest.approx(1.77153140 * norm.ppf(0.99), abs=1e-7)


def test_filtered_historical_passes_its_backtest_where_the_normal_fails(sp500: NDArray[np.float64]) -> None:
    """Of 4280 days 55 fall below the interpolated quantile; ours is one order statistic more careful."""
    volatility = ewma_volatility(sp500)[:-1]
    standardised = sp500 / volatility
    interpolated, ordered = 0, 0
    for day in range(750, 5030):
        window = standardised[day - 500 : day]
        interpolated += sp500[day] < np.quantile(window, 0.01) * volatility[day]
        ordered += sp500[day] < -historical(window, 0.99).var_frac * volatility[day]
    assert interpolated == 55
    assert ordered == 45  # 42.8 expected
    assert np.sum(sp500[250:] < norm.ppf(0.01) * volatility[250:]) > 90  # of 4780, 47.8 expected


def test_filtered_historical_is_the_tail_of_standardised_returns(sp500: NDArray[np.float64]) -> None:
    risk = filtered_historical(sp500, 0.99)
    volatility = ewma_volatility(sp500)
    tail = historical(sp500[-500:] / volatility[-501:-1], 0.99)
    assert risk.var_frac == pytest.approx(tail.var_frac * volatility[-1], rel=1e-12)
    assert risk.es_frac == pytest.approx(tail.es_frac * volatility[-1], rel=1e-12)
    assert risk.n == 500


def test_hull_example_of_one_ewma_step() -> None:
    returns = np.array([0.01, 0.02])
    assert ewma_volatility(returns, 0.90)[-1] == pytest.approx(math.sqrt(0.00013), rel=1e-12)


@pytest.mark.parametrize(("level", "multiplier"), [(0.95, 2.0627128), (0.975, 2.3378028), (0.99, 2.6652142)])
def test_normal_expected_shortfall_multipliers(level: float, multiplier: float) -> None:
    returns = random_stream(3, "var").standard_normal(1000)
    standard = (returns - returns.mean()) / returns.std(ddof=1)
    assert parametric(standard, level).es_frac == pytest.approx(multiplier, abs=1e-7)


def test_fast_paths_equal_their_slow_twins() -> None:
    for seed in range(20):
        stream = random_stream(seed, "var twins")
        returns = stream.standard_t(3, size=int(stream.integers(100, 700))) * 0.01
        fast = ewma_volatility(returns, EWMA_LAMBDA)
        np.testing.assert_allclose(fast**2, ewma_variance(list(returns), EWMA_LAMBDA), rtol=1e-12)
        for level in (0.95, 0.975, 0.99):
            risk = historical(returns, level)
            assert (risk.var_frac, risk.es_frac) == pytest.approx(historical_tail(list(returns), level), rel=1e-12)


@pytest.mark.parametrize(
    ("n", "level", "count"),
    [(100, 0.99, 1), (101, 0.99, 2), (500, 0.99, 5), (5030, 0.99, 51), (1000, 0.95, 50), (20, 0.95, 1)],
)
def test_the_tail_count_is_the_ceiling_of_n_times_tail_probability(n: int, level: float, count: int) -> None:
    assert tail_count(n, level) == count


def test_hand_made_tail() -> None:
    returns = np.array([-0.05, -0.03, *np.full(38, 0.01)])
    risk = historical(returns, 0.95)
    assert (risk.var_frac, risk.es_frac) == pytest.approx((0.03, 0.04))


@pytest.mark.parametrize("method", METHODS)
def test_shortfall_is_at_least_value_at_risk_and_both_rise_with_the_level(method: object) -> None:
    assert callable(method)
    returns = random_stream(5, "var").standard_t(4, size=600) * 0.01
    low, high = method(returns, 0.95), method(returns, 0.99)
    assert 0 < low.var_frac < high.var_frac
    assert low.es_frac > low.var_frac
    assert high.es_frac > high.var_frac


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_return_that_is_no_number_gives_nan_and_so_reduces(method: object, bad: float) -> None:
    assert callable(method)
    returns = random_stream(5, "var").standard_normal(600)
    returns[10] = bad
    risk = method(returns, 0.99)
    assert math.isnan(risk.var_frac)
    assert math.isnan(risk.es_frac)
    assert fail_closed(TradingState.ACTIVE, risk.var_frac) is TradingState.REDUCING


@pytest.mark.parametrize("method", METHODS)
def test_too_few_returns_give_nan(method: object) -> None:
    assert callable(method)
    assert returns_min(0.99) == 100
    assert math.isnan(method(np.full(99, 0.01), 0.99).var_frac)


def test_a_flat_start_leaves_filtered_historical_unknown() -> None:
    assert math.isnan(filtered_historical(np.zeros(600), 0.99).var_frac)


@pytest.mark.parametrize("level", [0.5, 1.0, 0.01, math.nan])
def test_a_level_that_is_no_confidence_is_refused(level: float) -> None:
    for method in METHODS:
        with pytest.raises(ConfigError, match="VaR level"):
            method(np.zeros(600), level)


def test_a_decay_outside_its_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="decay"):
        ewma_volatility(np.ones(5), 1.0)
    with pytest.raises(ConfigError, match="at least one"):
        ewma_volatility(np.empty(0))
