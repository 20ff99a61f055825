from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import ndtri

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.core.random import random_stream
from grandmodel.stats.coverage import Verdict
from grandmodel.stats.shortfall import (
    Forecasts,
    Scores,
    Truth,
    acerbi_szekely,
    critical_score,
    normal_excess,
    pareto_excess,
    simulate_scores,
    z_scores,
)


def _normal_forecasts(n: int, level: float, volatility: np.ndarray | float = 1.0) -> Forecasts:
    quantile = -float(ndtri(1 - level))
    shortfall = math.exp(-quantile * quantile / 2) / math.sqrt(2 * math.pi) / (1 - level)
    scale = np.broadcast_to(volatility, n)
    return Forecasts(level, quantile * scale, shortfall * scale, normal_excess(level))


def _simulated_bar_by_bar(forecasts: Forecasts, truth: Truth, stream: np.random.Generator, draws: int) -> Scores:
    """Return the statistics of whole series of returns, one number for each bar: the slow, obvious way."""
    rows = []
    for _ in range(draws):
        hit = stream.random(len(forecasts.var_frac)) < 1 - truth.level
        excess = forecasts.excess(stream, len(hit))
        losses = forecasts.var_frac + (truth.es_multiple * forecasts.es_frac - forecasts.var_frac) * excess
        rows.append(z_scores(np.where(hit, -losses, 0.0), forecasts))
    return Scores(*(np.concatenate(column) for column in zip(*rows, strict=True)))


def test_statistics_by_hand() -> None:
    forecasts = Forecasts(0.75, np.array([1.0, 1.0, 2.0, 2.0]), np.array([2.0, 2.0, 4.0, 4.0]), pareto_excess())
    scores = z_scores(np.array([-1.5, 0.5, -6.0, -2.0]), forecasts)
    # Two exceptions: 1.5 / 2 and 6 / 4 lose 2.25 together; one exception is expected of four bars.
    assert scores.z1.tolist() == [1 - 2.25 / 2]
    assert scores.z2.tolist() == [1 - 2.25]


def test_without_an_exception_z1_is_undefined_and_z2_is_one() -> None:
    forecasts = _normal_forecasts(250, 0.975)
    assert math.isnan(z_scores(np.zeros(250), forecasts).z1[0])
    z1, z2 = acerbi_szekely(np.zeros(250), forecasts, random_stream(1, "none"), draws=1000)
    assert (z1.verdict, math.isnan(z1.p)) == (Verdict.UNKNOWN, True)
    assert (z2.verdict, z2.statistic, z2.p) == (Verdict.PASSED, 1.0, 1.0)


def test_critical_values_are_the_published_ones() -> None:
    # Acerbi and Szekely (2014): -0.70 at 5 % in 250 days at 97.5 %, the same for a normal and for t tails.
    stream = random_stream(2, "critical values")
    year = simulate_scores(_normal_forecasts(250, 0.975), Truth(0.975), stream, 40_000)
    assert critical_score(year.z2) == pytest.approx(-0.70, abs=0.02)
    fat = _normal_forecasts(250, 0.975)._replace(excess=pareto_excess(0.25))
    assert critical_score(simulate_scores(fat, Truth(0.975), stream, 40_000).z2) == pytest.approx(-0.70, abs=0.04)
    # A commercial toolbox tabulates -0.34639 at 1 % in 1966 days, and p 0.0054 at -0.38265.
    long = simulate_scores(_normal_forecasts(1966, 0.975), Truth(0.975), stream, 40_000)
    assert critical_score(long.z2, 0.01) == pytest.approx(-0.34639, abs=0.012)
    assert np.mean(long.z2 <= -0.38265) == pytest.approx(0.0054, abs=0.0015)


@pytest.mark.parametrize("truth", [Truth(0.95), Truth(0.9, 1.3)])
def test_simulation_by_gaps_is_simulation_bar_by_bar(truth: Truth) -> None:
    volatility = random_stream(3, "volatility").uniform(0.5, 2.0, 60)
    forecasts = _normal_forecasts(60, 0.95, volatility)
    fast = simulate_scores(forecasts, truth, random_stream(3, "fast"), 20_000)
    slow = _simulated_bar_by_bar(forecasts, truth, random_stream(3, "slow"), 3000)
    for ours, theirs in zip(fast, slow, strict=True):
        assert np.isnan(ours).mean() == pytest.approx(np.isnan(theirs).mean(), abs=0.02)
        assert np.nanmean(ours) == pytest.approx(np.nanmean(theirs), abs=0.04)
        assert np.nanstd(ours) == pytest.approx(np.nanstd(theirs), rel=0.06)
        assert critical_score(ours) == pytest.approx(critical_score(theirs), rel=0.12, abs=0.02)


def test_both_are_zero_on_average_under_the_model() -> None:
    scores = simulate_scores(_normal_forecasts(500, 0.99), Truth(0.99), random_stream(4, "null"), 20_000)
    assert np.nanmean(scores.z1) == pytest.approx(0.0, abs=0.002)
    assert scores.z2.mean() == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("excess", [pareto_excess(), pareto_excess(0.3), normal_excess(0.99)])
def test_excesses_are_positive_with_mean_one(excess) -> None:
    drawn = excess(random_stream(5, "excess"), 200_000)
    assert drawn.min() >= 0
    assert drawn.mean() == pytest.approx(1.0, abs=0.02)


def test_normal_excess_is_what_a_normal_loses_beyond_its_quantile() -> None:
    losses = random_stream(6, "normal").standard_normal(2_000_000)
    forecast = _normal_forecasts(1, 0.99)
    var, es = float(forecast.var_frac[0]), float(forecast.es_frac[0])
    beyond = (losses[losses > var] - var) / (es - var)
    ours = normal_excess(0.99)(random_stream(6, "ours"), len(beyond))
    places = [0.1, 0.5, 0.9, 0.99]
    np.testing.assert_allclose(np.quantile(ours, places), np.quantile(beyond, places), rtol=0.06)


def test_a_right_model_passes_and_one_that_is_too_small_is_rejected() -> None:
    returns = random_stream(7, "returns").standard_normal(2000) * 0.01
    right = acerbi_szekely(returns, _normal_forecasts(2000, 0.99, 0.01), random_stream(7, "p"), draws=4000)
    assert [one.verdict for one in right] == [Verdict.PASSED] * 2
    small = acerbi_szekely(returns, _normal_forecasts(2000, 0.99, 0.008), random_stream(7, "p"), draws=4000)
    assert small[1].verdict is Verdict.REJECTED
    assert small[1].p == 1 / 4001


def test_z1_sees_losses_that_are_larger_and_not_that_they_are_more() -> None:
    forecasts, stream = _normal_forecasts(1000, 0.975), random_stream(8, "kinds")
    right = simulate_scores(forecasts, Truth(0.975), stream)
    often = simulate_scores(forecasts, Truth(0.95), stream)
    larger = simulate_scores(forecasts, Truth(0.975, 1.25), stream)
    rejected = {
        name: np.mean(one.z1 <= critical_score(right.z1)) for name, one in (("often", often), ("large", larger))
    }
    assert rejected["often"] < 0.05
    assert rejected["large"] > 0.9
    assert np.mean(often.z2 <= critical_score(right.z2)) > 0.9


def test_stated_power_is_the_frequency_of_rejections() -> None:
    forecasts, stream = _normal_forecasts(250, 0.99), random_stream(9, "power")
    rejected = np.zeros(2)
    for true_level, place in ((0.99, 0), (0.98, 1)):
        for _ in range(400):
            hit = stream.random(250) < 1 - true_level
            beyond = (1.25 * forecasts.es_frac - forecasts.var_frac) * forecasts.excess(stream, 250)
            returns = np.where(hit, -forecasts.var_frac - beyond, 0.0)
            results = acerbi_szekely(returns, forecasts, stream, draws=400)
            rejected[place] += results[place].verdict is Verdict.REJECTED
    z1, z2 = acerbi_szekely(-forecasts.es_frac, forecasts, stream)
    np.testing.assert_allclose(rejected / 400, [z1.power, z2.power], atol=0.08)
    assert z1.alternative == "losses beyond VaR 1.25 x ES"
    assert z2.alternative == "coverage 0.98, losses beyond VaR 1.25 x ES"
    assert 0.3 < z1.power < z2.power < 0.95


def test_p_repeats_with_its_stream() -> None:
    returns = random_stream(10, "returns").standard_normal(300)
    forecasts = _normal_forecasts(300, 0.975)
    first, again = (acerbi_szekely(returns, forecasts, random_stream(1, "p"), draws=500) for _ in range(2))
    assert first == again
    assert first != acerbi_szekely(returns, forecasts, random_stream(2, "p"), draws=500)


@pytest.mark.parametrize(("var", "es"), [(0.02, 0.01), (math.nan, 0.02), (0.01, math.inf), (0.0, 0.01), (-0.01, 0.01)])
def test_what_is_no_forecast_is_refused(var: float, es: float) -> None:
    forecasts = Forecasts(0.99, np.array([0.01, var]), np.array([0.02, es]), pareto_excess())
    with pytest.raises(DataError, match="forecast 1: needs 0 < VaR <= ES"):
        acerbi_szekely(np.zeros(2), forecasts, random_stream(1, "p"))


def test_wrong_lengths_draws_and_shapes_are_refused() -> None:
    forecasts = _normal_forecasts(200, 0.99)
    with pytest.raises(DataError, match="one VaR and one ES a return"):
        acerbi_szekely(np.zeros(199), forecasts, random_stream(1, "p"))
    with pytest.raises(ConfigError, match="a hundred at least; found 10"):
        acerbi_szekely(np.zeros(200), forecasts, random_stream(1, "p"), draws=10)
    for shape in (-0.1, 1.0):
        with pytest.raises(ConfigError, match=r"\[0, 1\)"):
            pareto_excess(shape)


def test_too_few_forecasts_are_not_judged() -> None:
    results = acerbi_szekely(np.full(99, -0.1), _normal_forecasts(99, 0.99, 0.01), random_stream(1, "p"), draws=200)
    assert [one.verdict for one in results] == [Verdict.UNKNOWN] * 2
