import numpy as np
import pytest
from arch.bootstrap import StationaryBootstrap, optimal_block_length

from grandmodel.core.errors import DataError
from grandmodel.stats.bootstrap import bootstrap_difference, bootstrap_mean, day_weights, optimal_block_days


def _autoregressive(days: int, rho: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=days)
    values = np.zeros(days)
    for day in range(1, days):
        values[day] = rho * values[day - 1] + noise[day]
    return values


def test_block_length_is_the_one_of_arch_and_grows_with_dependence() -> None:
    dependent = _autoregressive(1000, 0.7, 1)
    assert optimal_block_days(dependent) == pytest.approx(optimal_block_length(dependent)["stationary"].iloc[0])
    assert optimal_block_days(dependent) > 3 * optimal_block_days(np.random.default_rng(1).normal(size=1000))


def test_block_length_of_a_constant_is_one_day() -> None:
    assert optimal_block_days(np.zeros(100)) == 1.0


def test_day_weights_sum_to_one_and_average_to_equal_shares() -> None:
    weights = day_weights(50, 4.0, draws=4000, seed=2)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0)
    np.testing.assert_allclose(weights.mean(axis=0), 1 / 50, atol=0.002)


def test_weighted_means_have_the_spread_of_arch_samples() -> None:
    values = _autoregressive(300, 0.6, 3)
    ours = (day_weights(300, 12.0, draws=3000, seed=1) @ values).std()
    theirs = StationaryBootstrap(12, values, seed=1).apply(np.mean, 3000).std()
    assert ours == pytest.approx(theirs, rel=0.06)


def test_standard_error_of_independent_days_is_the_textbook_one() -> None:
    returns = np.random.default_rng(4).normal(0.0, 0.01, 1000)
    interval = bootstrap_mean(returns, draws=2000, confidence=0.95, seed=1, sessions_per_year=252.0)
    assert interval.estimate == pytest.approx(returns.mean() * 252.0)
    assert interval.standard_error == pytest.approx(0.01 / np.sqrt(1000) * 252.0, rel=0.1)
    assert interval.lower == pytest.approx(interval.estimate - 1.96 * interval.standard_error, rel=0.1, abs=0.02)


def test_pairing_removes_the_market_that_both_sides_share() -> None:
    stream = np.random.default_rng(5)
    market = stream.normal(0.0, 0.02, 400)
    release = market + 0.0005 + stream.normal(0.0, 0.001, (5, 400))
    paired = bootstrap_difference(release, {"market": market}, draws=500, confidence=0.95, seed=1)["market"]
    alone = bootstrap_mean(release, draws=500, confidence=0.95, seed=1)
    assert paired.standard_error < 0.1 * alone.standard_error
    assert paired.lower > 0.0
    assert paired.estimate == pytest.approx(0.0005 * 252, abs=0.02)


def test_seeds_that_share_one_market_do_not_shrink_the_interval() -> None:
    market = np.random.default_rng(6).normal(0.0, 0.01, 500)
    one = bootstrap_mean(market, draws=2000, confidence=0.95, seed=1)
    five = bootstrap_mean(np.tile(market, (5, 1)), draws=2000, confidence=0.95, seed=1)
    assert five.standard_error == pytest.approx(one.standard_error, rel=0.05)


def test_a_baseline_of_many_runs_is_aggregated_like_the_release() -> None:
    stream = np.random.default_rng(7)
    runs = stream.normal(0.0, 0.01, (20, 300))
    interval = bootstrap_difference(runs, {"same": runs}, draws=300, confidence=0.9, seed=1)["same"]
    assert interval.estimate == 0.0
    assert interval.lower < 0.0 < interval.upper


def test_intervals_repeat_with_their_seed() -> None:
    returns = np.random.default_rng(8).normal(0.0, 0.01, (3, 100))
    first = bootstrap_mean(returns, draws=200, confidence=0.95, seed=1)
    assert first == bootstrap_mean(returns, draws=200, confidence=0.95, seed=1)
    assert first != bootstrap_mean(returns, draws=200, confidence=0.95, seed=2)


def test_smallest_effect_is_the_one_detected_with_the_stated_power() -> None:
    returns = np.random.default_rng(9).normal(0.0005, 0.01, 500)
    interval = bootstrap_mean(returns, draws=500, confidence=0.95, seed=1)
    assert interval.detection_power(interval.smallest_effect(0.8)) == pytest.approx(0.8)
    assert interval.smallest_effect(0.8) == pytest.approx(2.8016 * interval.standard_error, rel=1e-4)
    assert interval.detection_power(0.0) == pytest.approx(0.025)


def test_days_needed_grow_with_the_square_of_the_missing_precision() -> None:
    returns = np.random.default_rng(10).normal(0.0, 0.01, 400)
    weak = bootstrap_mean(returns - returns.mean() + 0.0002, draws=500, confidence=0.95, seed=1)
    strong = bootstrap_mean(returns - returns.mean() + 0.0004, draws=500, confidence=0.95, seed=1)
    assert weak.days_needed(400) == pytest.approx(4 * strong.days_needed(400), rel=0.01)
    assert bootstrap_mean(-np.abs(returns), draws=300, confidence=0.95, seed=1).days_needed(400) is None


def test_empirical_coverage_of_a_dependent_series_is_near_nominal() -> None:
    misses = 0
    for trial in range(150):
        series = _autoregressive(400, 0.3, 1000 + trial)
        interval = bootstrap_mean(series, draws=300, confidence=0.95, seed=trial)
        misses += not interval.lower <= 0.0 <= interval.upper
    assert 1 <= misses <= 19  # nominal 7.5; a naive interval misses 27 of 150 here


@pytest.mark.parametrize("bad", [np.zeros((2, 5)), np.full((2, 50), np.nan), np.zeros((0, 50)), np.zeros((1, 2, 50))])
def test_tables_too_short_or_not_finite_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(DataError):
        bootstrap_mean(bad, draws=200, confidence=0.95, seed=0)


def test_a_baseline_of_another_length_is_refused() -> None:
    with pytest.raises(DataError, match="span the release's 50 days"):
        bootstrap_difference(np.zeros((2, 50)), {"flat": np.zeros(49)}, draws=200, confidence=0.95, seed=0)
