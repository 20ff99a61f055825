"""Streams give the bits of the batch, go on after a restart, follow a roll and refuse impossible bars."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from grandmodel.core.bars import Bars
from grandmodel.core.config import FeatureParams
from grandmodel.core.errors import ConfigError, DataError
from grandmodel.features.mmd import MmdReference, fit_mmd_reference
from grandmodel.features.strategic import strategic_features
from grandmodel.features.streaming import Bar, StrategicStream, TacticalStream, bar_at
from grandmodel.features.tactical import tactical_features
from tests.grandmodel.features.feature_samples import OTHER_WINDOWS, PRICES, pushed_unadjusted

WRONG: list[tuple[str, float]] = [
    ("open", math.nan),
    ("high", math.inf),
    ("low", 0.0),
    ("low", -5.0),
    ("close", -math.inf),
    ("volume", -1.0),
    ("volume", math.nan),
    ("price_factor", 0.0),
    ("high", 1.0),
    ("start_ns", 0),
    ("close_ns", 0),
]


@pytest.fixture
def strategic(params: FeatureParams, reference: MmdReference, tick: float) -> Callable[[], StrategicStream]:
    return lambda: StrategicStream("TEST", params, reference, tick)


@pytest.fixture
def tactical(params: FeatureParams) -> Callable[[], TacticalStream]:
    return lambda: TacticalStream("TEST", params)


def pushed(stream: StrategicStream | TacticalStream, bars: Bars) -> np.ndarray:
    return np.array([stream.push(bar_at(bars, t)) for t in range(len(bars))])


def same_bits(left: np.ndarray, right: np.ndarray) -> bool:
    """Compare bytes; a NaN is a NaN, whichever of its spellings a processor leaves."""
    spelt = (np.where(np.isnan(values), np.nan, values) for values in (left, right))
    first, second = (values.tobytes() for values in spelt)
    return first == second


def same_arrays(left: dict[str, np.ndarray], right: dict[str, np.ndarray]) -> bool:
    return left.keys() == right.keys() and all(np.array_equal(left[name], right[name]) for name in left)


@pytest.mark.parametrize("windows", [FeatureParams(), FeatureParams(mlmi_neighbours=5), OTHER_WINDOWS])
@pytest.mark.parametrize("seed", [31, 32])
def test_strategic_bars_one_by_one_give_the_bits_of_the_batch(
    seed: int, windows: FeatureParams, make_random_bars: Callable[..., Bars], tick: float
) -> None:
    bars = make_random_bars(seed, 1300)
    fitted = fit_mmd_reference(bars, 200, windows, seed)
    batch = strategic_features(bars, windows, fitted, tick)
    assert (np.nanstd(batch, axis=0) > 0).all()
    assert same_bits(pushed(StrategicStream("TEST", windows, fitted, tick), bars), batch)
    assert same_bits(StrategicStream("TEST", windows, fitted, tick).extend(bars), batch)


@pytest.mark.parametrize("windows", [FeatureParams(), OTHER_WINDOWS])
@pytest.mark.parametrize("seed", [41, 42])
def test_tactical_bars_one_by_one_give_the_bits_of_the_batch(
    seed: int, windows: FeatureParams, make_random_bars: Callable[..., Bars]
) -> None:
    bars = make_random_bars(seed, 1500, bar_minutes=5)
    batch = tactical_features(bars, windows)
    assert (np.nanstd(batch, axis=0) > 0).all()
    assert same_bits(pushed(TacticalStream("TEST", windows), bars), batch)
    assert same_bits(TacticalStream("TEST", windows).extend(bars), batch)


def test_more_crosses_than_a_stream_has_room_for_at_first(
    make_random_bars: Callable[..., Bars], params: FeatureParams, reference: MmdReference, tick: float
) -> None:
    bars = make_random_bars(5, 4500)
    stream = StrategicStream("TEST", params, reference, tick)
    assert same_bits(stream.extend(bars), strategic_features(bars, params, reference, tick))
    assert len(stream.to_arrays()["stored"]) > 200


@pytest.mark.parametrize("cut", [0, 1, 19, 39, 130, 250, 399, 400, 401])
def test_a_restored_strategic_stream_goes_on_with_the_same_bits(
    cut: int,
    bars30: Bars,
    strategic: Callable[[], StrategicStream],
    params: FeatureParams,
    reference: MmdReference,
    tick: float,
) -> None:
    first = strategic()
    first.extend(bars30.rows(0, cut))
    saved = first.to_arrays()
    expected = pushed(first, bars30.rows(cut, 420))
    restored = StrategicStream.from_arrays(saved, "TEST", params, reference, tick)
    assert restored.bars_seen == cut
    assert same_bits(pushed(restored, bars30.rows(cut, 420)), expected)
    assert same_arrays(restored.to_arrays(), first.to_arrays())
    assert not same_arrays(restored.to_arrays(), saved)


@pytest.mark.parametrize("cut", [0, 5, 21, 87, 88, 89, 300, 500])
def test_a_restored_tactical_stream_goes_on_with_the_same_bits(
    cut: int, bars5: Bars, tactical: Callable[[], TacticalStream], params: FeatureParams
) -> None:
    first = tactical()
    first.extend(bars5.rows(0, cut))
    saved = first.to_arrays()
    expected = pushed(first, bars5.rows(cut, 700))
    restored = TacticalStream.from_arrays(saved, "TEST", params)
    assert restored.bars_seen == cut
    assert same_bits(pushed(restored, bars5.rows(cut, 700)), expected)
    assert same_arrays(restored.to_arrays(), first.to_arrays())


def test_saved_arrays_are_copies(bars5: Bars, tactical: Callable[[], TacticalStream]) -> None:
    stream = tactical()
    stream.extend(bars5.rows(0, 100))
    saved = stream.to_arrays()
    before = {name: array.copy() for name, array in saved.items()}
    stream.extend(bars5.rows(100, 200))
    assert same_arrays(saved, before)


def test_push_and_extend_may_be_mixed(bars30: Bars, strategic: Callable[[], StrategicStream]) -> None:
    whole, mixed = strategic().extend(bars30), strategic()
    parts = [
        mixed.extend(bars30.rows(0, 137)),
        pushed(mixed, bars30.rows(137, 290)),
        mixed.extend(bars30.rows(290, 420)),
    ]
    assert same_bits(np.concatenate(parts), whole)
    assert mixed.bars_seen == 420


def with_rolls(bars: Bars, ratios: list[float]) -> Bars:
    """Return the same unadjusted bars, rolled by ``ratios`` at equal distances and adjusted."""
    ages = np.arange(len(bars)) * (len(ratios) + 1) // len(bars)
    factor = np.append(np.cumprod(ratios[::-1])[::-1], 1.0)[ages]
    prices = {name: getattr(bars, name) / bars.price_factor * factor for name in PRICES}
    return replace(bars, **prices, price_factor=factor)


def test_strategic_rescaling_at_rolls_equals_the_adjusted_series(
    bars30: Bars, strategic: Callable[[], StrategicStream], params: FeatureParams, reference: MmdReference, tick: float
) -> None:
    bars = with_rolls(bars30, [1.0173, 0.9871, 1.04, 0.93])
    batch = strategic_features(bars, params, reference, tick)
    live = pushed_unadjusted(strategic(), bars, rolls_min=1)
    assert_allclose(live, batch, rtol=1e-9, atol=1e-9)
    unscaled = pushed(strategic(), replace(bars, **{name: getattr(bars, name) / bars.price_factor for name in PRICES}))
    assert np.nanmax(np.abs(unscaled - batch)) > 1e-3  # the rescaling is what makes them equal


def test_tactical_rescaling_at_rolls_equals_the_adjusted_series(
    bars5: Bars, tactical: Callable[[], TacticalStream], params: FeatureParams
) -> None:
    bars = with_rolls(bars5, [1.0173, 0.9871, 1.04, 0.93])
    batch = tactical_features(bars, params)
    assert_allclose(pushed_unadjusted(tactical(), bars, rolls_min=1), batch, rtol=1e-9, atol=1e-9)
    unscaled = pushed(tactical(), replace(bars, **{name: getattr(bars, name) / bars.price_factor for name in PRICES}))
    assert np.nanmax(np.abs(unscaled - batch)) > 1e-3


@pytest.mark.parametrize("ratio", [0.0, -1.0, math.nan, math.inf])
def test_a_ratio_that_is_none_is_refused(
    ratio: float, strategic: Callable[[], StrategicStream], tactical: Callable[[], TacticalStream]
) -> None:
    for stream in (strategic(), tactical()):
        before = stream.to_arrays()
        with pytest.raises(DataError, match="roll ratio"):
            stream.rescale(ratio)
        assert same_arrays(stream.to_arrays(), before)


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_bar_is_refused_and_leaves_the_stream_as_it_was(
    name: str,
    value: float,
    bars30: Bars,
    bars5: Bars,
    strategic: Callable[[], StrategicStream],
    tactical: Callable[[], TacticalStream],
) -> None:
    for stream, bars in ((strategic(), bars30), (tactical(), bars5)):
        stream.extend(bars.rows(0, 200))
        before = stream.to_arrays()
        good = bar_at(bars, 200)
        with pytest.raises(DataError, match=name):
            stream.push(good._replace(**{name: value}))
        assert same_arrays(stream.to_arrays(), before)
        assert len(stream.push(good)) in (13, 7)
        assert stream.bars_seen == 201


def test_a_bar_is_taken_once(bars5: Bars, tactical: Callable[[], TacticalStream]) -> None:
    stream = tactical()
    stream.push(bar_at(bars5, 0))
    with pytest.raises(DataError, match="later than that of the bar before"):
        stream.push(bar_at(bars5, 0))


@pytest.mark.parametrize(
    ("name", "beside", "by"), [("open", "high", 1.1), ("close", "high", 1.1), ("close", "low", 0.9)]
)
def test_an_open_or_close_outside_its_bar_is_refused(
    name: str,
    beside: str,
    by: float,
    bars30: Bars,
    bars5: Bars,
    strategic: Callable[[], StrategicStream],
    tactical: Callable[[], TacticalStream],
) -> None:
    for stream, bars in ((strategic(), bars30), (tactical(), bars5)):
        stream.extend(bars.rows(0, 100))
        before = stream.to_arrays()
        values = getattr(bars, name).copy()
        values[100] = getattr(bars, beside)[100] * by
        wrong = replace(bars, **{name: values})
        with pytest.raises(DataError, match=f"{name}.*between low and high"):
            stream.push(bar_at(wrong, 100))
        with pytest.raises(DataError, match=f"{name} row 0.*between low and high"):
            stream.extend(wrong.rows(100, 110))
        assert same_arrays(stream.to_arrays(), before)


def test_bars_of_another_symbol_or_clock_are_refused(
    bars30: Bars, bars5: Bars, strategic: Callable[[], StrategicStream], tactical: Callable[[], TacticalStream]
) -> None:
    for stream, bars in ((strategic(), bars30), (tactical(), bars5)):
        with pytest.raises(DataError, match="own symbol"):
            stream.extend(replace(bars, symbol="OTHER"))
        stream.extend(bars.rows(0, 100))
        before = stream.to_arrays()
        with pytest.raises(DataError, match=f"bars of {bars.bar_minutes} minutes"):
            stream.extend(replace(bars, bar_minutes=60).rows(100, 110))
        assert same_arrays(stream.to_arrays(), before)


def test_a_part_with_one_wrong_bar_is_refused_whole(
    bars30: Bars, bars5: Bars, strategic: Callable[[], StrategicStream], tactical: Callable[[], TacticalStream]
) -> None:
    for stream, bars in ((strategic(), bars30), (tactical(), bars5)):
        stream.extend(bars.rows(0, 100))
        before = stream.to_arrays()
        volume = bars.volume.copy()
        volume[180] = math.nan
        with pytest.raises(DataError, match="volume row 80"):
            stream.extend(replace(bars, volume=volume).rows(100, 200))
        with pytest.raises(DataError, match="start_ns row 0"):
            stream.extend(bars.rows(99, 150))
        assert same_arrays(stream.to_arrays(), before)


def test_a_price_of_too_many_ticks_is_refused(params: FeatureParams, reference: MmdReference, bars30: Bars) -> None:
    stream = StrategicStream("TEST", params, reference, 1e-10)
    with pytest.raises(DataError, match="1e12 ticks"):
        stream.push(bar_at(bars30, 0))
    with pytest.raises(ConfigError, match="tick_size"):
        stream.extend(bars30)
    assert stream.bars_seen == 0


@pytest.mark.parametrize("tick_size", [0.0, -1.0, math.nan, math.inf])
def test_a_tick_that_is_none_is_refused(tick_size: float, params: FeatureParams, reference: MmdReference) -> None:
    with pytest.raises(ConfigError, match="tick_size"):
        StrategicStream("TEST", params, reference, tick_size)


def test_the_gap_signal_is_that_of_the_last_bar(bars5: Bars, tactical: Callable[[], TacticalStream]) -> None:
    stream = tactical()
    signals = []
    for t in range(len(bars5)):
        row = stream.push(bar_at(bars5, t))
        signals.append(stream.gap_signal)
        if stream.gap_signal:
            assert row[0 if stream.gap_signal > 0 else 1] == 1.0
    assert {-1, 0, 1} == set(signals)


def test_numbers_of_any_kind_make_a_bar(bars5: Bars, tactical: Callable[[], TacticalStream]) -> None:
    plain, odd = tactical(), tactical()
    for t in range(30):
        bar = bar_at(bars5, t)._replace(open=100, high=101, low=99, close=100, volume=7)
        left = plain.push(bar)
        right = odd.push(Bar(np.int64(bar.start_ns), np.int64(bar.close_ns), *(np.float32(v) for v in bar[2:])))
        assert same_bits(left, right)


def test_no_bars_change_nothing(bars30: Bars, strategic: Callable[[], StrategicStream]) -> None:
    stream = strategic()
    before = stream.to_arrays()
    assert stream.extend(bars30.rows(0, 0)).shape == (0, 13)
    assert same_arrays(stream.to_arrays(), before)
