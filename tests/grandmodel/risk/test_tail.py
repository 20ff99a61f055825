from __future__ import annotations

import math
from collections.abc import Callable

import arch
import arch.data.sp500
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import kurtosis, norm, skew

from grandmodel.core.errors import ConfigError
from grandmodel.core.random import random_stream
from grandmodel.risk.reference import ewma_variance, filtered_tail, historical_tail
from grandmodel.risk.state import TradingState, fail_closed
from grandmodel.risk.tail import (
    DEGREES,
    EWMA_LAMBDA,
    LEVELS,
    METHODS,
    NO_LOSS,
    NO_VARIATION,
    OUT_OF_RANGE,
    OUTSIDE_DOMAIN,
    STILL,
    TOO_STILL,
    TailRisk,
    cornish_fisher,
    cornish_fisher_is_monotone,
    degrees_rung,
    effective_bars,
    ewma_normal,
    ewma_volatility,
    filtered_historical,
    historical,
    monte_carlo,
    parametric,
    returns_min,
    student_draws,
    student_tail,
    tail_count,
)

Floats = NDArray[np.float64]
Method = Callable[[Floats, float], TailRisk]
every_method = pytest.mark.parametrize("method", METHODS.values(), ids=METHODS.keys())


@pytest.fixture(scope="module")
def sp500() -> Floats:
    """Return 100 x simple returns of the adjusted close, 5030 days."""
    close = arch.data.sp500.load()["Adj Close"].to_numpy(dtype=np.float64)
    returns: Floats = 100 * (close[1:] / close[:-1] - 1)
    assert len(returns) == 5030
    return returns


def test_the_sp500_is_the_series_that_the_figures_are_of(sp500: Floats) -> None:
    assert sp500.std(ddof=1) == pytest.approx(1.20307397, abs=1e-8)
    assert skew(sp500) == pytest.approx(-0.02048293, abs=1e-8)
    assert kurtosis(sp500) == pytest.approx(8.33611791, abs=1e-8)


def test_historical_meets_the_order_statistics_of_the_sp500(sp500: Floats) -> None:
    risk = historical(sp500, 0.99)
    assert risk.var_frac == pytest.approx(3.31201720, abs=1e-8)  # the 51st smallest
    assert risk.es_frac == pytest.approx(4.68873643, abs=1e-8)  # the mean of the 51 smallest
    assert np.quantile(sp500, 0.01) == pytest.approx(-3.30594176, abs=1e-8)  # interpolated: a smaller VaR


def test_parametric_meets_the_normal_figures_of_the_sp500(sp500: Floats) -> None:
    risk = parametric(sp500, 0.99)
    assert risk.var_frac == pytest.approx(2.77734074, abs=1e-8)
    assert risk.es_frac == pytest.approx(3.18502202, abs=1e-8)


def test_ewma_meets_the_next_day_sigma_of_the_sp500(sp500: Floats) -> None:
    assert ewma_volatility(sp500)[-1] == pytest.approx(1.77153140, abs=1e-8)
    assert ewma_normal(sp500, 0.99).var_frac == pytest.approx(1.77153140 * norm.ppf(0.99), abs=1e-7)


def test_the_published_garch_fit_of_the_sp500_is_met(sp500: Floats) -> None:
    """A second library fit of the same series: it pins the figures above to these 5030 returns."""
    fitted = arch.arch_model(sp500).fit(disp="off")
    assert fitted.loglikelihood == pytest.approx(-6936.7185, abs=5e-4)


def test_filtered_historical_passes_its_backtest_where_the_normal_fails(sp500: Floats) -> None:
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
    first_year = ewma_volatility(sp500[250:], seed_variance=float(sp500[:250].var()))[:-1]
    assert np.sum(sp500[250:] < norm.ppf(0.01) * first_year) == 94  # of 4780, 47.8 expected


def test_hull_example_of_one_ewma_step() -> None:
    returns = np.array([0.01, 0.02])
    assert ewma_volatility(returns, 0.90)[-1] ** 2 == pytest.approx(0.00013, rel=1e-12)
    assert ewma_volatility(returns, 0.90)[-1] == pytest.approx(0.011402, abs=5e-7)


@pytest.mark.parametrize(("level", "multiplier"), [(0.95, 2.0627128), (0.975, 2.3378028), (0.99, 2.6652142)])
def test_normal_expected_shortfall_multipliers(level: float, multiplier: float) -> None:
    returns = random_stream(3, "var").standard_normal(1000)
    standard = (returns - returns.mean()) / returns.std(ddof=1)
    assert parametric(standard, level).es_frac == pytest.approx(multiplier, abs=1e-7)


def test_student_tail_of_four_degrees() -> None:
    assert student_tail(0.99, 4.0) == pytest.approx((2.6494919, 3.6915105), abs=1e-7)


@pytest.mark.parametrize(("tolerance", "bars"), [(1e-5, 186), (1e-4, 149), (1e-3, 112), (1e-2, 74)])
def test_effective_days_of_riskmetrics(tolerance: float, bars: int) -> None:
    assert effective_bars(tolerance) == bars


def test_cornish_fisher_is_the_normal_where_the_moments_are() -> None:
    places = (np.arange(20_000) + 0.5) / 20_000
    returns = norm.ppf(places)
    plain = cornish_fisher(returns, 0.99)
    # Midpoints of strata lack the outermost tail: the kurtosis is 0.01 short of the normal's.
    assert (plain.var_frac, plain.es_frac) == pytest.approx((2.3263479, 2.6652142), rel=2e-3)


def test_cornish_fisher_shortfall_is_the_mean_of_its_quantiles(sp500: Floats) -> None:
    """Average the expansion over 100,000 places of the tail, the slow way."""
    for returns in (np.exp(0.1 * random_stream(4, "cf").standard_normal(600)) - 1.0, sp500[:600]):
        centred = returns - returns.mean()
        deviation, s, k = centred.std(), skew(returns), kurtosis(returns)
        z = norm.ppf(0.01 * (np.arange(100_000) + 0.5) / 100_000)
        quantiles = z + (z**2 - 1) * s / 6 + (z**3 - 3 * z) * k / 24 - (2 * z**3 - 5 * z) * s**2 / 36
        risk = cornish_fisher(returns, 0.99)
        assert risk.es_frac == pytest.approx(-returns.mean() - deviation * quantiles.mean(), rel=1e-4)
        at = norm.ppf(0.01)
        quantile = at + (at**2 - 1) * s / 6 + (at**3 - 3 * at) * k / 24 - (2 * at**3 - 5 * at) * s**2 / 36
        assert risk.var_frac == pytest.approx(-returns.mean() - deviation * quantile, rel=1e-12)


def test_cornish_fisher_says_where_its_expansion_turns_back(sp500: Floats) -> None:
    assert cornish_fisher(sp500, 0.99).reason == OUTSIDE_DOMAIN  # excess kurtosis 8.3
    assert cornish_fisher(random_stream(4, "cf").standard_t(12, 600), 0.99).reason == ""


def test_the_domain_of_cornish_fisher_is_where_its_quantile_rises() -> None:
    """Look for a falling stretch of the quantile on a fine grid, and compare with the condition."""
    z = np.linspace(-60, 60, 40_001)
    inside = 0
    for s in np.linspace(-3, 3, 13):
        for k in np.linspace(-1, 12, 27):
            slope = 1 + z * s / 3 + (z**2 - 1) * k / 8 - (6 * z**2 - 5) * s**2 / 36
            monotone = cornish_fisher_is_monotone(float(s), float(k))
            inside += monotone
            if abs(slope.min()) > 1e-4:
                assert monotone == (slope.min() > 0), (s, k)
    assert 40 < inside < 200
    assert not cornish_fisher_is_monotone(math.nan, 1.0)
    assert not cornish_fisher_is_monotone(0.0, 8.1)


def test_stratified_draws_keep_a_tenth_of_the_error_of_plain_ones() -> None:
    plain, stratified = [], []
    exact = np.array(student_tail(0.99, DEGREES[4]))
    for seed in range(40):
        stratified.append(student_draws(0.99, seed)[4] / exact - 1)
        draws = random_stream(seed, "plain").standard_t(DEGREES[4], 10_000) * math.sqrt(1 - 2 / DEGREES[4])
        plain.append(np.array(historical_tail(draws.tolist(), 0.99)) / exact - 1)
    errors = np.sqrt(np.mean(np.square(stratified), axis=0))
    assert errors[0] < 0.002
    assert errors[1] < 0.006
    assert bool(np.all(errors < 0.2 * np.sqrt(np.mean(np.square(plain), axis=0))))


def test_monte_carlo_finds_the_tail_of_the_law_it_was_shown() -> None:
    returns = random_stream(9, "student").standard_t(8, 20_000) * 0.01 * math.sqrt(0.75)
    risk = monte_carlo(returns, 0.99, decay=0.9999)
    assert (risk.var_frac, risk.es_frac) == pytest.approx([0.01 * part for part in student_tail(0.99, 8)], rel=0.04)


@pytest.mark.parametrize(("excess", "degrees"), [(-1.0, 1000.0), (0.0, 1000.0), (6.0, 5.0), (5.9, 5.0), (500.0, 4.1)])
def test_degrees_of_freedom_are_rounded_towards_the_fatter_tail(excess: float, degrees: float) -> None:
    assert DEGREES[degrees_rung(excess)] == degrees


def test_fast_paths_equal_their_slow_twins() -> None:
    for seed in range(20):
        stream = random_stream(seed, "var twins")
        returns = stream.standard_t(3, size=int(stream.integers(100, 700))) * 0.01
        fast = ewma_volatility(returns, EWMA_LAMBDA)
        np.testing.assert_allclose(fast**2, ewma_variance(list(returns), EWMA_LAMBDA), rtol=1e-12)
        for level in LEVELS:
            risk = historical(returns, level)
            assert (risk.var_frac, risk.es_frac) == pytest.approx(historical_tail(list(returns), level), rel=1e-12)
            risk = filtered_historical(returns, level)
            slow = filtered_tail(list(returns), level, EWMA_LAMBDA)
            assert (risk.var_frac, risk.es_frac) == pytest.approx(slow, rel=1e-10)


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


@every_method
def test_shortfall_is_at_least_value_at_risk_and_both_rise_with_the_level(method: Method) -> None:
    returns = random_stream(5, "var").standard_t(6, size=600) * 0.01
    low, high = method(returns, 0.95), method(returns, 0.99)
    assert 0 < low.var_frac < high.var_frac
    assert low.es_frac > low.var_frac
    assert high.es_frac > high.var_frac
    assert (low.n, low.reason, low.horizon_bars) == (600, "", 1)


@every_method
def test_risk_grows_with_the_size_of_the_position(method: Method) -> None:
    returns = random_stream(6, "var").standard_t(6, size=600) * 0.01
    one, three = method(returns, 0.99), method(3.0 * returns, 0.99)
    assert (three.var_frac, three.es_frac) == pytest.approx((3 * one.var_frac, 3 * one.es_frac), rel=1e-12)


@every_method
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_return_that_is_no_number_gives_nan_and_so_reduces(method: Method, bad: float) -> None:
    returns = random_stream(5, "var").standard_normal(600)
    returns[10] = bad
    risk = method(returns, 0.99)
    assert math.isnan(risk.var_frac)
    assert math.isnan(risk.es_frac)
    assert risk.reason == "return 10 is not finite"
    assert fail_closed(TradingState.ACTIVE, risk.var_frac) is TradingState.REDUCING


@every_method
@pytest.mark.parametrize("n", [0, 1, 99])
def test_too_few_returns_give_nan(method: Method, n: int) -> None:
    assert returns_min(0.99) == 100
    risk = method(random_stream(5, "var").standard_normal(n), 0.99)
    assert math.isnan(risk.var_frac)
    assert risk.reason == f"{n} returns, and level 0.99 needs 100"


@every_method
def test_returns_that_do_not_vary_give_nan(method: Method) -> None:
    for value in (0.0, 0.01):
        risk = method(np.full(600, value), 0.99)
        assert math.isnan(risk.es_frac)
        assert risk.reason == NO_VARIATION


@every_method
@pytest.mark.parametrize("scale", [1e-80, 1e80, 1e200])
def test_returns_out_of_all_range_give_nan(method: Method, scale: float) -> None:
    risk = method(random_stream(5, "var").standard_normal(600) * scale, 0.99)
    assert math.isnan(risk.var_frac)
    assert risk.reason == OUT_OF_RANGE


@pytest.mark.parametrize("method", [monte_carlo, filtered_historical, ewma_normal])
def test_a_volatility_that_has_run_out_gives_nan(method: Method) -> None:
    returns = random_stream(5, "var").standard_normal(6000)
    returns[70:5930] = 0.0
    assert math.isnan(method(returns, 0.99).var_frac)
    assert method(returns, 0.99).reason == STILL
    assert historical(returns, 0.99).reason == ""


@every_method
def test_a_quiet_first_bar_does_not_decide_the_tail(method: Method) -> None:
    returns = random_stream(8, "var").standard_normal(600) * 0.01
    quiet = returns.copy()
    quiet[0] = 0.0
    assert method(quiet, 0.99).var_frac == pytest.approx(method(returns, 0.99).var_frac, rel=0.05)


@every_method
@pytest.mark.parametrize("level", [0.5, 1.0, 0.01, math.nan])
def test_a_level_that_is_no_confidence_is_refused(method: Method, level: float) -> None:
    with pytest.raises(ConfigError, match="VaR level"):
        method(np.zeros(600), level)


def test_a_decay_outside_its_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="decay"):
        ewma_volatility(np.ones(5), 1.0)
    with pytest.raises(ConfigError, match="at least one"):
        ewma_volatility(np.empty(0))


@every_method
def test_a_tail_of_fewer_moves_than_places_and_a_loss_that_is_none_give_nan(method: Method) -> None:
    few = method(np.r_[np.zeros(991), np.full(9, -0.05)], 0.99)
    assert (math.isnan(few.var_frac), math.isnan(few.es_frac), few.reason) == (True, True, TOO_STILL)
    gains = method(np.linspace(0.010, 0.011, 500), 0.99)
    assert gains.var_frac > 0.0 or (math.isnan(gains.var_frac) and gains.reason in (NO_LOSS, OUTSIDE_DOMAIN))
    assert math.isnan(historical(np.linspace(0.010, 0.011, 500), 0.99).var_frac)
