"""Statistics of series: known answers."""

from __future__ import annotations

import numpy as np
import pytest

from grandmodel.core.bars import NS_PER_MINUTE
from grandmodel.core.random import random_stream
from grandmodel.data import return_facts as rf


def series(
    close: np.ndarray, *, steps_minutes: np.ndarray | None = None, volume: np.ndarray | None = None
) -> rf.Series:
    count = len(close)
    minutes = np.arange(count) * 30 if steps_minutes is None else np.cumsum(steps_minutes)
    return rf.Series(
        bar_minutes=30,
        session_bars=48,
        start_ns=minutes.astype(np.int64) * NS_PER_MINUTE,
        close=close,
        volume=np.ones(count) if volume is None else volume,
        minute_of_day=minutes.astype(np.int64) % 1440,
    )


@pytest.mark.parametrize("exponent", [2.0, 3.0, 5.0])
def test_hill_finds_the_exponent_of_a_power_law(exponent: float) -> None:
    draws = random_stream(1, "pareto").random(200_000) ** (-1 / exponent)
    assert rf.hill_tail_index(draws) == pytest.approx(exponent, rel=0.08)


def test_hill_tells_a_normal_tail_from_a_heavy_one_and_needs_a_tail() -> None:
    stream = random_stream(2, "tails")
    assert rf.hill_tail_index(stream.standard_normal(100_000)) > 5
    assert rf.hill_tail_index(stream.standard_t(3, 100_000)) < 3.5
    assert np.isnan(rf.hill_tail_index(stream.standard_normal(900)))
    assert np.isnan(rf.hill_tail_index(-np.ones(10_000)))


def test_moments_of_small_samples_by_hand() -> None:
    values = np.array([0.0, 0.0, 0.0, 4.0])
    assert rf.skew(values) == pytest.approx(6 / 3**1.5)
    assert rf.excess_kurtosis(values) == pytest.approx((3 * 1 + 81) / 4 / 9 - 3)


def test_autocorrelation_of_an_alternating_series_is_minus_one() -> None:
    assert rf.autocorrelation(np.tile([1.0, -1.0], 500), 1) == pytest.approx(-1.0)
    assert rf.autocorrelation(np.tile([1.0, -1.0], 500), 2) == pytest.approx(1.0)


def test_losses_that_are_followed_by_large_moves_show_as_leverage() -> None:
    returns = np.tile([-1.0, 2.0, 1.0, 0.1], 200)
    quiet = random_stream(3, "quiet").standard_normal(2000)
    assert rf.leverage_effect(returns, 1) < -0.3
    assert abs(rf.leverage_effect(quiet, 1)) < 0.1


def test_the_share_of_pauses_is_that_of_their_squares() -> None:
    steps = np.array([0, 30, 30, 600, 30])
    close = np.exp(np.cumsum([0.0, 0.01, 0.01, 0.02, 0.01]))
    one = series(close, steps_minutes=steps)
    assert one.after_pause.tolist() == [False, False, True, False]
    assert rf.pause_share(one) == pytest.approx(4 / 7)


def test_the_profile_finds_the_busy_hour_and_leaves_out_rests() -> None:
    days, volume = 60, np.tile(np.where(np.arange(48) // 2 == 10, 8.0, 2.0), 60)
    moves = np.tile(np.where(np.arange(48) // 2 == 10, 0.03, 0.01), days) * np.tile([1, -1], 24 * days)
    one = series(np.exp(np.cumsum(moves)), volume=volume)
    by_hour, volume_by_hour = rf.hourly_profile(one)
    assert by_hour[10] == pytest.approx(0.03)
    assert rf.busiest_to_quietest(by_hour) == pytest.approx(3.0)
    assert rf.busiest_to_quietest(volume_by_hour) == pytest.approx(4.0)
    half_hours, _ = rf.slot_profile(one)
    assert rf.profile_correlation(half_hours, half_hours) == pytest.approx(1.0)
    assert np.isnan(rf.busiest_to_quietest(np.array([1.0, np.nan])))


def test_correlation_is_taken_over_shared_bars() -> None:
    close = np.exp(np.cumsum(random_stream(4, "walk").standard_normal(100)))
    whole, part = series(close), series(close)
    cut = rf.Series(30, 48, part.start_ns[20:], part.close[20:] ** -1, part.volume[20:], part.minute_of_day[20:])
    assert rf.correlation({"one": whole, "other": cut}) == pytest.approx(np.array([[1.0, -1.0], [-1.0, 1.0]]))


def test_facts_are_named_and_those_of_a_short_span_are_missing() -> None:
    close = np.exp(np.cumsum(random_stream(5, "walk").normal(0, 0.01, 3000)))
    numbers = dict(zip(rf.FACTS, rf.facts(series(close)), strict=True))
    assert numbers["bars"] == 2999
    assert numbers["sd, bp"] == pytest.approx(100, rel=0.05)
    assert not any(np.isnan(number) for number in numbers.values())
    short = series(close[:400])
    numbers = dict(zip(rf.FACTS, rf.facts(rf.Series(**{**vars(short), "session_bars": None})), strict=True))
    assert {name for name, number in numbers.items() if np.isnan(number)} == {
        "sd a year",
        "tail index, losses (Hill, 1 %)",
        "tail index, gains (Hill, 1 %)",
        "ACF r, 1 day",
        "ACF abs r, 1 day",
        "ACF abs r, 5 days",
        "leverage: corr r, abs r of next day",
    }
