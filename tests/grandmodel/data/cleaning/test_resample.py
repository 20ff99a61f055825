"""Short bars to longer ones: by count within the session, or by the clock; nothing is filled and nothing shifts."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grandmodel.core.bars import Bars
from grandmodel.core.errors import DataError
from grandmodel.core.instrument import Instrument
from grandmodel.data.cleaning import reference
from grandmodel.data.cleaning.resample import both_clocks, grouping_of, resample, resample_to_30, session_places

MINUTE_NS = 60 * 10**9


def make_bars(lengths: list[int], seed: int = 0, minutes: int = 5) -> Bars:
    """Return sessions of so many bars with holes between them at random."""
    generator = np.random.default_rng(seed)
    count = sum(lengths)
    start = (np.cumsum(generator.integers(1, 4, count)) * minutes * MINUTE_NS).astype(np.int64)
    price = generator.uniform(90, 110, (4, count))
    volume = generator.integers(0, 3, count).astype(np.float64)
    return Bars(
        "X",
        minutes,
        start,
        start + minutes * MINUTE_NS,
        open=price[1],
        high=price.max(axis=0),
        low=price.min(axis=0),
        close=price[2],
        volume=volume,
        session=np.repeat(np.arange(len(lengths)), lengths).astype(np.int32),
        price_factor=np.ones(count),
        tradable=volume > 0,
    )


def _minutes(present: list[int], session: list[int] | None = None) -> Bars:
    """Return 1-minute bars of volume 1 at these minutes after midnight; prices equal the minute plus 100."""
    start = np.array(present, np.int64) * MINUTE_NS
    price = np.array(present, np.float64) + 100
    ones = np.ones(len(present))
    return Bars(
        "X",
        1,
        start,
        start + MINUTE_NS,
        open=price,
        high=price + 0.5,
        low=price - 0.5,
        close=price,
        volume=ones,
        session=np.array(session or [0] * len(present), np.int32),
        price_factor=ones,
        tradable=ones > 0,
    )


@given(
    st.lists(st.integers(1, 40), max_size=12),
    st.integers(0, 5),
    st.sampled_from([(1, 5), (1, 30), (5, 30)]),
    st.sampled_from(["count", "clock"]),
)
def test_it_equals_the_slow_twin(lengths: list[int], seed: int, step: tuple[int, int], grouping: str):
    bars = make_bars(lengths, seed, minutes=step[0])
    fast, index = resample(bars, step[1], grouping)
    slow, slow_index = reference.resample(bars, step[1], grouping)
    assert index.tolist() == slow_index
    for field in fields(Bars):
        np.testing.assert_array_equal(getattr(fast, field.name), getattr(slow, field.name))


def test_groups_never_cross_a_session_and_only_the_last_is_short():
    bars30, index = resample_to_30(make_bars([15, 7]))
    assert np.bincount(index).tolist() == [6, 6, 3, 6, 1]
    assert bars30.session.tolist() == [0, 0, 0, 1, 1]


@given(st.lists(st.integers(1, 20), max_size=8), st.integers(0, 9), st.sampled_from([1, 5]))
def test_places_and_groups_of_cut_bars_equal_their_slow_twins(lengths: list[int], seed: int, minutes: int):
    bars = make_bars(lengths, seed, minutes)
    generator = np.random.default_rng(seed)
    outside = generator.random(len(bars)) < 0.2
    place = session_places(bars.start_ns, bars.session, outside)
    assert place.tolist() == reference.session_places(bars.start_ns.tolist(), bars.session.tolist(), outside.tolist())
    kept = np.flatnonzero(generator.random(len(bars)) < 0.7)
    left = _left(bars, kept)
    fast, index = resample(left, 30, "count", place[kept])
    slow, slow_index = reference.resample(left, 30, "count", place[kept].tolist())
    assert index.tolist() == slow_index
    for field in fields(Bars):
        np.testing.assert_array_equal(getattr(fast, field.name), getattr(slow, field.name))


def _left(bars: Bars, kept: np.ndarray) -> Bars:
    """Return the bars ``kept``."""
    return replace(bars, **{field.name: getattr(bars, field.name)[kept] for field in fields(Bars)[2:]})


@pytest.mark.parametrize("minutes", [1, 5])
def test_a_cut_bar_leaves_a_shorter_group_and_shifts_none(minutes: int):
    parts = 5 // minutes
    price = np.arange(15 * parts, dtype=np.float64)
    start = np.arange(15 * parts, dtype=np.int64) * minutes * MINUTE_NS
    session = np.zeros(15 * parts, np.int32)
    ones = np.ones(15 * parts)
    columns = {"open": price, "high": price, "low": price, "close": price, "volume": ones, "session": session}
    bars = Bars("X", minutes, start, start + minutes * MINUTE_NS, **columns, price_factor=ones, tradable=ones > 0)
    place = session_places(start, session, np.zeros(len(start), np.bool_))
    kept = np.setdiff1d(np.arange(len(start)), np.arange(3 * parts, 4 * parts))
    thirty = both_clocks(_left(bars, kept), "count", place[kept])[1]
    assert thirty.volume.tolist() == [5 * parts, 6 * parts, 3 * parts]
    assert (thirty.start_ns // MINUTE_NS).tolist() == [0, 30, 60]
    shifted = both_clocks(_left(bars, kept), "count")[1]
    assert (shifted.start_ns // MINUTE_NS).tolist() == [0, 35, 65]


def test_a_bar_outside_the_hours_joins_the_next_group_and_holds_no_place():
    bars = make_bars([13])
    outside = np.zeros(13, np.bool_)
    outside[[0, 7]] = True
    place = session_places(bars.start_ns, bars.session, outside)
    assert place.tolist() == [0, 0, 1, 2, 3, 4, 5, 6, 6, 7, 8, 9, 10]
    _, index = resample_to_30(bars, "count", place)
    assert np.bincount(index).tolist() == [7, 6]


def test_a_counted_bar_is_visible_only_when_its_last_part_closes():
    bars = make_bars([6])
    assert resample_to_30(bars)[0].close_ns.tolist() == [int(bars.close_ns[-1])]


def test_a_missing_minute_does_not_shift_the_bars_of_the_clock():
    whole = resample(_minutes(list(range(20))), 5, "clock")[0]
    holed = resample(_minutes([m for m in range(20) if m not in (0, 3, 9)]), 5, "clock")[0]
    np.testing.assert_array_equal(whole.start_ns, holed.start_ns)
    np.testing.assert_array_equal(whole.close_ns, holed.close_ns)
    assert holed.volume.tolist() == [3, 4, 5, 5]
    assert holed.open.tolist() == [101, 105, 110, 115]
    assert holed.close.tolist() == [104, 108, 114, 119]


def test_an_empty_interval_gives_no_bar():
    joined, index = resample(_minutes([0, 1, 12]), 5, "clock")
    assert (joined.start_ns // MINUTE_NS).tolist() == [0, 10]
    assert index.tolist() == [0, 0, 1]


def test_a_bar_of_the_clock_is_visible_when_its_interval_ends():
    joined, _ = resample(_minutes([0, 1, 2]), 5, "clock")  # nobody knows at 00:03 that nothing more will come
    assert (joined.close_ns // MINUTE_NS).tolist() == [5]


def test_a_session_that_ends_inside_an_interval_splits_it():
    joined, _ = resample(_minutes([28, 29, 31, 32], [0, 0, 1, 1]), 30, "clock")
    assert (joined.start_ns // MINUTE_NS).tolist() == [0, 30]
    inside, _ = resample(_minutes([0, 1, 12, 13], [0, 0, 1, 1]), 30, "clock")
    assert (inside.start_ns // MINUTE_NS).tolist() == [0, 2]
    assert (inside.close_ns // MINUTE_NS).tolist() == [2, 30]


def test_both_groupings_agree_where_nothing_is_missing():
    bars = _minutes(list(range(120)))
    five, by_count = resample(bars, 5, "clock")[0], resample(bars, 5, "count")[0]
    for field in fields(Bars):
        np.testing.assert_array_equal(getattr(five, field.name), getattr(by_count, field.name))
    for field in fields(Bars):
        clock, count = (getattr(resample_to_30(five, grouping)[0], field.name) for grouping in ("clock", "count"))
        np.testing.assert_array_equal(clock, count)


def test_minutes_give_both_clocks_and_the_long_one_is_made_of_the_short():
    bars = _minutes([m for m in range(90) if not 35 <= m < 40])
    five, thirty = both_clocks(bars, "clock")
    assert five is not None
    assert (five.bar_minutes, thirty.bar_minutes) == (5, 30)
    assert len(five) == 17
    assert (thirty.start_ns // MINUTE_NS).tolist() == [0, 30, 60]
    assert thirty.volume.tolist() == [30, 25, 30]
    np.testing.assert_array_equal(thirty.close_ns, five.close_ns[[5, 10, 16]])


def test_longer_sources_have_no_short_clock_and_days_none_at_all():
    thirty = make_bars([4], minutes=30)
    assert both_clocks(thirty, "count") == (None, thirty)
    with pytest.raises(DataError, match=r"teams trade 30- and 5-minute bars; found '1440 minutes'"):
        both_clocks(make_bars([4], minutes=1440), "count")
    with pytest.raises(DataError, match="bars must divide 5 minutes"):
        resample(thirty, 5, "count")


@pytest.mark.parametrize(
    ("calendar", "grouping"),
    [("", "count"), ("fx", "clock"), ("24/7", "clock"), ("chinese", "count"), ("XHKG", "count")],
)
def test_breaks_call_for_counting(calendar: str, grouping: str):
    instrument = Instrument(symbol="X", multiplier=1, tick_size=1, session_bars_5m=69, calendar=calendar)
    assert grouping_of(instrument) == grouping


@pytest.mark.parametrize("lengths", [[], [1]])
@pytest.mark.parametrize("grouping", ["count", "clock"])
def test_few_bars_are_no_trouble(lengths: list[int], grouping: str):
    assert len(resample_to_30(make_bars(lengths), grouping)[0]) == len(lengths)
