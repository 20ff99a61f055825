from __future__ import annotations

import math

import arch.data.sp500
import numpy as np
import pytest
from scipy.special import bdtr, chdtri

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.core.random import random_stream
from grandmodel.stats.coverage import (
    CoverageResult,
    Light,
    Verdict,
    binomial_band,
    binomial_power,
    chi_square_p,
    exact_binomial,
    exceptions,
    kupiec,
    kupiec_power,
    kupiec_statistic,
    traffic_light,
    traffic_light_power,
    zones,
)


def _closed_form(count: int, n: int, level: float) -> float:
    """Return Kupiec's ratio as the paper prints it, for a count that is neither 0 nor n."""
    tail, rate = 1 - level, count / n
    likelihood_promised = (1 - tail) ** (n - count) * tail**count
    likelihood_observed = (1 - rate) ** (n - count) * rate**count
    return -2 * math.log(likelihood_promised / likelihood_observed)


def test_an_exception_is_a_loss_above_the_forecast_and_not_one_at_it() -> None:
    returns = np.array([-0.02, -0.01, 0.03, -0.011])
    assert exceptions(returns, np.full(4, 0.01)).tolist() == [True, False, False, True]


@pytest.mark.parametrize("unknown", [math.nan, math.inf, -math.inf])
def test_a_bar_without_a_forecast_was_not_covered(unknown: float) -> None:
    assert exceptions(np.array([0.01, 0.01]), np.array([0.02, unknown])).tolist() == [False, True]


def test_returns_that_are_unknown_or_too_few_are_refused() -> None:
    with pytest.raises(DataError, match="return 1: a realised return must be finite; found nan"):
        exceptions(np.array([0.0, math.nan]), np.zeros(2))
    with pytest.raises(DataError, match="as many forecasts as returns"):
        exceptions(np.zeros(3), np.zeros(2))
    with pytest.raises(DataError, match="one at least"):
        exceptions(np.zeros(0), np.zeros(0))


def test_critical_values_of_chi_square() -> None:
    assert [round(float(chdtri(degrees, 0.05)), 6) for degrees in (1, 2)] == [3.841459, 5.991465]
    assert chi_square_p(3.841459, 1) == pytest.approx(0.05, abs=1e-7)
    assert chi_square_p(5.991465, 2) == pytest.approx(0.05, abs=1e-7)


def test_kupiec_has_the_published_values() -> None:
    result = kupiec(57, 1043, 0.95)
    assert (round(result.statistic, 6), round(result.p, 5)) == (0.461466, 0.49694)
    assert result.verdict is Verdict.PASSED
    assert round(float(bdtr(57, 1043, 0.05)), 5) == 0.77913
    assert round(kupiec_statistic(20, 252, 0.95), 4) == 3.9126
    assert kupiec(20, 252, 0.95).verdict is Verdict.REJECTED
    assert round(kupiec_statistic(15, 1000, 0.99), 4) == 2.1892
    assert round(kupiec_statistic(6, 250, 0.99), 5) == 3.55535  # the value that vartests 0.4.1 prints


@pytest.mark.parametrize("level", [0.95, 0.975, 0.99])
@pytest.mark.parametrize("n", [100, 250, 252])
def test_kupiec_is_its_closed_form(n: int, level: float) -> None:
    counts = range(1, 40)
    ours = np.array([kupiec_statistic(count, n, level) for count in counts])
    np.testing.assert_allclose(ours, [_closed_form(count, n, level) for count in counts], atol=1e-9, rtol=0)


def test_kupiec_without_and_with_nothing_but_exceptions_is_defined() -> None:
    assert kupiec_statistic(0, 250, 0.99) == pytest.approx(-2 * 250 * math.log(0.99), abs=1e-9)
    assert kupiec_statistic(250, 250, 0.99) == pytest.approx(-2 * 250 * math.log(0.01), abs=1e-9)


@pytest.mark.parametrize(("n", "percent"), [(250, (9.5, 24, 63)), (1000, (5.5, 78, 99.7)), (3250, (5.4, 99.7, 100))])
def test_kupiec_is_oversized_and_weak_in_one_year_of_days(n: int, percent: tuple[float, ...]) -> None:
    powers = [100 * kupiec_power(n, 0.99, true) for true in (0.99, 0.98, 0.97)]
    np.testing.assert_allclose(powers, percent, atol=0.51)
    assert powers[0] == pytest.approx(percent[0], abs=0.06)


@pytest.mark.parametrize(("n", "level"), [(100, 0.99), (250, 0.99), (731, 0.99), (250, 0.975), (12_000, 0.99)])
def test_the_exact_test_rejects_a_right_model_no_oftener_than_stated(n: int, level: float) -> None:
    assert 0 < binomial_power(n, level, level) <= 0.05


@pytest.mark.parametrize(("n", "level"), [(20, 0.95), (250, 0.99), (731, 0.99), (1043, 0.95)])
def test_the_band_holds_exactly_the_counts_that_are_not_rejected(n: int, level: float) -> None:
    low, high = binomial_band(n, level)
    inside = [count for count in range(n + 1) if exact_binomial(count, n, level).p > 0.05]
    assert inside == list(range(low, high + 1))


def test_bands_by_hand() -> None:
    # P(X <= 3) of 3 tosses of a coin of 0.2 is 1; P(X >= 3) is 0.008, P(X >= 2) is 0.104.
    assert binomial_band(3, 0.8) == (0, 2)
    assert exact_binomial(3, 5, 0.8).p == pytest.approx(2 * (10 * 0.008 * 0.64 + 5 * 0.0016 * 0.8 + 0.00032))
    assert binomial_band(250, 0.99) == (0, 6)


@pytest.mark.parametrize("test_of", [exact_binomial, kupiec])
def test_stated_power_is_the_frequency_of_rejections(test_of: object) -> None:
    assert callable(test_of)
    drawn = random_stream(1, "coverage power").binomial(300, 0.02, 4000)
    table: dict[int, CoverageResult] = {int(count): test_of(int(count), 300, 0.99) for count in np.unique(drawn)}
    rejected = np.mean([table[int(count)].verdict is Verdict.REJECTED for count in drawn])
    assert rejected == pytest.approx(table[int(drawn[0])].power, abs=0.025)
    assert table[int(drawn[0])].alternative == "coverage 0.98"


def test_basel_zones_and_their_cumulative_probabilities() -> None:
    percent = [round(100 * float(bdtr(count, 250, 0.01)), 2) for count in range(11)]
    assert percent == [8.11, 28.58, 54.32, 75.81, 89.22, 95.88, 98.63, 99.60, 99.89, 99.97, 99.99]
    assert zones(250, 0.99) == (5, 10)
    lights = [traffic_light(count, 250, 0.99) for count in range(12)]
    assert lights == [Light.GREEN] * 5 + [Light.YELLOW] * 5 + [Light.RED] * 2


def test_basel_errors_of_both_kinds() -> None:
    assert round(100 * traffic_light_power(250, 0.99, 0.99), 2) == 10.78
    assert round(100 * traffic_light_power(250, 0.99, 0.99, Light.RED), 2) == 0.03
    assert round(100 * (1 - traffic_light_power(250, 0.99, 0.97)), 1) == 12.8
    assert round(100 * traffic_light_power(250, 0.99, 0.98)) == 56
    assert traffic_light_power(250, 0.99, 0.97, Light.GREEN) == 1.0


def test_the_light_does_not_see_a_forecast_that_is_far_too_large() -> None:
    assert traffic_light(0, 2500, 0.99) is Light.GREEN
    assert exact_binomial(0, 2500, 0.99).verdict is Verdict.REJECTED


def test_too_few_forecasts_are_not_judged() -> None:
    assert exact_binomial(0, 99, 0.99).verdict is Verdict.UNKNOWN
    assert kupiec(9, 99, 0.99).verdict is Verdict.UNKNOWN
    # By the cumulative probability alone, not one exception in five forecasts would be yellow.
    with pytest.raises(ConfigError, match=r"needs 100 forecasts at level 0\.99; found 5"):
        traffic_light(0, 5, 0.99)


@pytest.mark.parametrize(
    ("count", "n", "level"), [(1, 250, 0.5), (1, 250, 1.0), (-1, 250, 0.99), (3, 2, 0.99), (0, 0, 0.9)]
)
def test_impossible_counts_and_levels_are_refused(count: int, n: int, level: float) -> None:
    for test_of in (exact_binomial, kupiec, traffic_light):
        with pytest.raises(ConfigError, match="coverage"):
            test_of(count, n, level)


def _volatility(returns: np.ndarray, variance: float) -> np.ndarray:
    before = []
    for value in returns:
        before.append(variance)
        variance = 0.94 * variance + 0.06 * value * value
    return np.sqrt(before)


def test_backtests_of_the_sp500_have_the_reference_counts() -> None:
    close = arch.data.sp500.load()["Adj Close"].to_numpy(dtype=np.float64)
    returns = close[1:] / close[:-1] - 1.0
    volatility = _volatility(returns[250:], float(returns[:250].var()))
    returns = returns[250:]
    normal = exceptions(returns, 2.3263478740408408 * volatility)
    assert (int(normal.sum()), len(normal)) == (94, 4780)
    assert kupiec(94, 4780, 0.99).verdict is Verdict.REJECTED
    shape = returns / volatility
    # Of 500 values, interpolated: the convention of the reference count, not of this project.
    filtered = [-np.quantile(shape[t - 500 : t], 0.01) * volatility[t] for t in range(500, len(returns))]
    hits = exceptions(returns[500:], np.array(filtered))
    assert (int(hits.sum()), len(hits)) == (55, 4280)
    assert kupiec(55, 4280, 0.99).verdict is Verdict.PASSED


def test_a_count_that_is_not_whole_gives_no_verdict() -> None:
    with pytest.raises(ConfigError, match="exceptions must be whole"):
        exact_binomial(3.5, 250, 0.99)  # type: ignore[arg-type]
