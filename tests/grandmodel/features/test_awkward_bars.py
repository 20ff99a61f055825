"""Properties on awkward bars: flat and one-tick runs, jumps, no volume, rolls, fine and coarse ticks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from grandmodel.core.bars import NS_PER_MINUTE, Bars
from grandmodel.core.config import FeatureParams
from grandmodel.features.columns import BOUNDED_COLUMNS, STRATEGIC_COLUMNS, TACTICAL_COLUMNS
from grandmodel.features.mmd import MmdReference
from grandmodel.features.reference import strategic_reference, tactical_reference
from grandmodel.features.strategic import strategic_features
from grandmodel.features.streaming import StrategicStream, TacticalStream, bar_at
from grandmodel.features.tactical import tactical_features

WINDOWS = FeatureParams(
    mlmi_neighbours=3,
    kernel_window_bars=6,
    profile_window_bars=8,
    mmd_window_bars=20,
    volatility_window_bars=6,
    gap_lookback_bars=3,
    gap_body_multiple=1.1,
    gap_age_bars_max=7,
)
WARM = 51
TICKS = (0.0001, 0.01, 0.2, 5.0)
BASE_TICKS = 5000
PLAIN = st.tuples(
    st.integers(-6, 6), st.integers(0, 4), st.integers(0, 4), st.integers(-2, 2), st.sampled_from([1, 30])
)
FLAT = st.just((0, 0, 0, 0, 0))
ONE_TICK = st.tuples(st.integers(-1, 1), st.just(0), st.just(0), st.just(0), st.sampled_from([0, 1]))
JUMP = st.tuples(st.integers(-400, 400), st.integers(0, 60), st.integers(0, 60), st.integers(-300, 300), st.just(999))
BARS = st.lists(st.one_of(PLAIN, PLAIN, FLAT, ONE_TICK, JUMP), min_size=60, max_size=110)
REFERENCE = MmdReference(
    points=np.array([[0.1 * i % 1.7 - 0.8, 0.3 * i % 1.1, 0.7 * i % 1.3] for i in range(25)]),
    center=np.array([0.0, 0.002, 0.003]),
    scale=np.array([0.003, 0.002, 0.001]),
    bandwidth=1.2,
    fit_start_ns=0,
    fit_stop_ns=1,
)


@st.composite
def awkward_bars(draw: Callable[..., object]) -> tuple[Bars, float]:
    """Return bars and their tick; each bar is (body, upper wick, lower wick, opening gap, volume) in ticks."""
    tick = draw(st.sampled_from(TICKS))
    moves = draw(BARS)
    roll_row = draw(st.integers(0, len(moves)))
    ratio = draw(st.sampled_from([1.0, 0.9731, 1.0217]))
    prices = []
    before = BASE_TICKS
    for body, upper, lower, gap, _ in moves:
        open_ = max(before + gap, 100)
        close = max(open_ + body, 100)
        prices.append((open_, max(open_, close) + upper, max(min(open_, close) - lower, 1), close))
        before = close
    factor = np.where(np.arange(len(moves)) < roll_row, ratio, 1.0)
    open_, high, low, close = (np.array(column) * tick * factor for column in zip(*prices, strict=True))
    start_ns = np.arange(len(moves), dtype=np.int64) * 30 * NS_PER_MINUTE
    volume = np.array([float(move[4]) for move in moves])
    bars = Bars(
        "AWK",
        30,
        start_ns,
        start_ns + 30 * NS_PER_MINUTE,
        open_,
        high,
        low,
        close,
        volume,
        np.zeros(len(moves), np.int32),
        factor,
        volume > 0,
    )
    return bars, tick


def assert_same_bits(left: np.ndarray, right: np.ndarray) -> None:
    assert np.array_equal(left, right, equal_nan=True)


def assert_bounded(values: np.ndarray, names: tuple[str, ...]) -> None:
    assert np.isfinite(values[WARM:]).all()
    for k, name in enumerate(names):
        if name in BOUNDED_COLUMNS:
            assert np.abs(values[WARM:, k]).max() <= 1.0, name


@settings(max_examples=25)
@given(awkward_bars())
def test_strategic_batch_equals_its_slow_twin_and_stays_in_range(case: tuple[Bars, float]) -> None:
    bars, tick = case
    values = strategic_features(bars, WINDOWS, REFERENCE, tick)
    assert_bounded(values, STRATEGIC_COLUMNS)
    assert_allclose(values, strategic_reference(bars, WINDOWS, REFERENCE, tick), rtol=1e-9, atol=1e-9)


@settings(max_examples=60)
@given(awkward_bars())
def test_tactical_batch_equals_its_slow_twin_and_stays_in_range(case: tuple[Bars, float]) -> None:
    bars, _ = case
    values = tactical_features(bars, WINDOWS)
    assert_bounded(values, TACTICAL_COLUMNS)
    assert_allclose(values, tactical_reference(bars, WINDOWS), rtol=1e-9, atol=1e-9)


@settings(max_examples=60)
@given(awkward_bars(), st.integers(0, 59))
def test_streams_give_the_bits_of_the_batch_across_a_restart(case: tuple[Bars, float], cut: int) -> None:
    bars, tick = case
    strategic = StrategicStream("AWK", WINDOWS, REFERENCE, tick)
    tactical = TacticalStream("AWK", WINDOWS)
    slow, fast = [strategic.extend(bars.rows(0, cut))], [tactical.extend(bars.rows(0, cut))]
    strategic = StrategicStream.from_arrays(strategic.to_arrays(), "AWK", WINDOWS, REFERENCE, tick)
    tactical = TacticalStream.from_arrays(tactical.to_arrays(), "AWK", WINDOWS)
    for t in range(cut, len(bars)):
        slow.append(strategic.push(bar_at(bars, t))[None])
        fast.append(tactical.push(bar_at(bars, t))[None])
    assert_same_bits(np.concatenate(slow), strategic_features(bars, WINDOWS, REFERENCE, tick))
    assert_same_bits(np.concatenate(fast), tactical_features(bars, WINDOWS))


@settings(max_examples=60)
@given(awkward_bars(), st.integers(1, 59))
def test_cutting_the_future_moves_no_bit(case: tuple[Bars, float], t: int) -> None:
    bars, tick = case
    assert_same_bits(
        strategic_features(bars.rows(0, t), WINDOWS, REFERENCE, tick),
        strategic_features(bars, WINDOWS, REFERENCE, tick)[:t],
    )
    assert_same_bits(tactical_features(bars.rows(0, t), WINDOWS), tactical_features(bars, WINDOWS)[:t])


@pytest.mark.parametrize("kind", ["flat", "one_tick", "no_volume"])
def test_endless_awkward_runs_stay_equal_and_finite(kind: str, make_bars: Callable[..., Bars]) -> None:
    start = [100.0 + 0.2 * (i * 7 % 11) for i in range(60)]
    run = {"flat": [100.0] * 900, "one_tick": [100.0, 100.2] * 450, "no_volume": start * 15}[kind]
    volume = [5.0] * 60 + [0.0 if kind == "no_volume" else 3.0] * 900
    bars = make_bars(start + run, volume=volume)
    values = strategic_features(bars, WINDOWS, REFERENCE, 0.2)
    assert np.isfinite(values[WARM:]).all()
    assert_same_bits(StrategicStream("HAND", WINDOWS, REFERENCE, 0.2).extend(bars), values)
    assert_same_bits(TacticalStream("HAND", WINDOWS).extend(bars), tactical_features(bars, WINDOWS))
