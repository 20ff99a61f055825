from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grandmodel.core.errors import DataError
from grandmodel.data.ticks.spans import continuous_spans
from grandmodel.data.ticks.stream import REASONS, TickRules, TickStream, whole_lots
from tests.grandmodel.data.tick_samples import RULES, SPANS, assert_equal_bits, joined, make_ticks, whole

MINUTE = 60_000_000_000
OIL = replace(RULES, negative_prices=True)


def columns(*ticks: tuple[int, float, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    stamps, prices, lots = zip(*ticks, strict=True)
    return np.array(stamps, np.int64), np.array(prices, np.float64), np.array(lots, np.int64)


def feed_numbered(stream: TickStream, face: str, rows: list[tuple[int, float, int]]) -> None:
    """Feed (number, price, lots), all of one moment."""
    if face == "push":
        for number, price, lots in rows:
            stream.push_numbered(number, 0, price, lots)
    else:
        ticks = columns(*((0, price, lots) for _, price, lots in rows))
        stream.update(*ticks, sequence=np.array([number for number, _, _ in rows]))


def test_the_sample_has_every_fault_and_several_spans() -> None:
    bars, stream = whole(RULES, make_ticks(0))

    assert len(bars) > 20
    assert len(np.unique(bars.day)) == 3
    assert {reason for reason, count in stream.rejected.items() if count} == set(REASONS) - {"duplicate"}
    assert bars.ticks.sum() + sum(stream.rejected.values()) == 3000


@given(seed=st.integers(0, 5), data=st.data(), oil=st.booleans())
def test_any_chopping_gives_the_same_bits(seed: int, data: st.DataObject, oil: bool) -> None:
    ticks = make_ticks(seed, count=900, price=2.0 if oil else 100.0)
    rules = OIL if oil else RULES
    expected, once = whole(rules, ticks)
    cuts = sorted(data.draw(st.lists(st.integers(0, 900), max_size=12)))
    faces = data.draw(st.lists(st.sampled_from(["update", "push"]), min_size=13, max_size=13))
    takes = data.draw(st.lists(st.booleans(), min_size=13, max_size=13))

    stream, parts = TickStream(rules, SPANS), []
    for start, stop, face, take in zip([0, *cuts], [*cuts, 900], faces, takes, strict=False):
        piece = tuple(column[start:stop] for column in ticks)
        if face == "update":
            stream.update(*piece)
        else:
            for tick in zip(*(column.tolist() for column in piece), strict=True):
                stream.push(*tick)
        if take:
            parts.append(stream.take())
    stream.flush()
    parts.append(stream.take())

    assert_equal_bits(joined(parts), expected)
    assert stream.rejected == once.rejected


@pytest.mark.parametrize("size", [1, 2, 7, 256])
def test_micro_batches_of_one_size_give_the_same_bits(size: int) -> None:
    ticks = make_ticks(9, count=2500)
    stream = TickStream(RULES, SPANS)
    for start in range(0, 2500, size):
        stream.update(*(column[start : start + size] for column in ticks))
    stream.flush()

    assert_equal_bits(stream.take(), whole(RULES, ticks)[0])


def test_bars_grow_beyond_the_first_rows() -> None:
    count = 1000
    ticks = (np.arange(count) * 5 * MINUTE, np.full(count, 100.0), np.ones(count, np.int64))

    bars, _ = whole(RULES, ticks, None)

    assert len(bars) == count
    np.testing.assert_array_equal(bars.start_ns, ticks[0])


def test_an_out_of_order_tick_is_counted_and_moves_nothing() -> None:
    clean = columns((0, 100.0, 1), (2 * MINUTE, 101.0, 2), (3 * MINUTE, 100.5, 1))
    dirty = columns((0, 100.0, 1), (2 * MINUTE, 101.0, 2), (MINUTE, 90.0, 50), (3 * MINUTE, 100.5, 1))

    bars, stream = whole(RULES, dirty, None)

    assert stream.rejected["out_of_order"] == 1
    assert_equal_bits(bars, whole(RULES, clean, None)[0])


def test_equal_stamps_trade_in_the_order_of_the_file() -> None:
    bars, stream = whole(RULES, columns((0, 100.0, 1), (0, 102.0, 1), (0, 99.0, 1)), None)

    assert (bars.open[0], bars.high[0], bars.low[0], bars.close[0]) == (100.0, 102.0, 99.0, 99.0)
    assert sum(stream.rejected.values()) == 0


def test_equal_rows_are_two_trades_unless_their_number_was_seen() -> None:
    rows = columns((0, 100.0, 3), (0, 100.0, 3), (0, 100.0, 3))
    numbered = TickStream(RULES)
    numbered.update(*rows, sequence=np.array([7, 7, 8]))
    numbered.push_numbered(8, 0, 100.0, 3)
    numbered.push_numbered(9, 0, 100.0, 3)

    assert whole(RULES, rows, None)[0].volume[0] == 9
    assert numbered.open_bar().volume[0] == 9
    assert numbered.rejected["duplicate"] == 2


@pytest.mark.parametrize("face", ["update", "push"])
def test_a_number_at_or_below_the_last_accepted_one_is_a_duplicate(face: str) -> None:
    rows = [(5, 100.0, 1), (7, 100.0, 2), (6, 100.0, 4), (7, 100.0, 8), (8, 101.0, 16)]
    stream = TickStream(RULES)
    feed_numbered(stream, face, rows)

    assert stream.open_bar().volume[0] == 1 + 2 + 16
    assert {reason: count for reason, count in stream.rejected.items() if count} == {"duplicate": 2}


@pytest.mark.parametrize(("price", "lots"), [(np.nan, 1), (100.1, 1), (100.0, 0), (100.0, -1)])
@pytest.mark.parametrize("face", ["update", "push"])
def test_the_number_of_a_refused_tick_silences_nothing(price: float, lots: int, face: str) -> None:
    stream = TickStream(RULES)
    feed_numbered(stream, face, [(1, 100.0, 1), (10**12, price, lots), (2, 100.0, 1), (3, 100.25, 1)])

    assert stream.open_bar().ticks[0] == 3
    assert stream.rejected["duplicate"] == 0
    assert sum(stream.rejected.values()) == 1


def test_numbered_ticks_give_the_bars_of_the_same_ticks_without_numbers_in_both_faces() -> None:
    ticks = make_ticks(3, count=2500)
    expected, once = whole(RULES, ticks)
    pushed, updated = TickStream(RULES, SPANS), TickStream(RULES, SPANS)
    for number, tick in enumerate(zip(*(column.tolist() for column in ticks), strict=True)):
        pushed.push_numbered(number, *tick)
    updated.update(*ticks, sequence=np.arange(2500, dtype=np.uint64))

    for stream in (pushed, updated):
        stream.flush()
        assert_equal_bits(stream.take(), expected)
        assert stream.rejected == once.rejected


def test_numbered_bars_grow_beyond_the_first_rows() -> None:
    stream = TickStream(RULES)
    stream.update(np.arange(300) * 5 * MINUTE, np.full(300, 100.0), np.ones(300, np.int64), sequence=np.arange(300))
    stream.flush()

    assert len(stream.take()) == 300


@pytest.mark.parametrize("number", [5.0, "5", None, 2**63])
def test_a_number_that_is_none_is_refused(number: object) -> None:
    stream = TickStream(RULES)
    with pytest.raises(DataError, match="sequence number"):
        stream.push_numbered(number, 0, 100.0, 1)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="sequence number"):
        stream.update(*columns((0, 100.0, 1)), sequence=np.array([number]))
    assert len(stream.open_bar()) == 0


@pytest.mark.parametrize(
    ("price", "lots", "reason"),
    [
        (np.nan, 1, "not_a_number"),
        (np.inf, 1, "not_a_number"),
        (1e300, 1, "not_a_number"),
        (100.1, 1, "off_grid"),
        (0.0, 1, "not_positive"),
        (-37.75, 1, "not_positive"),
        (100.0, 0, "no_trade"),
        (100.0, -1, "bad_volume"),
        (100.0, 2**40 + 1, "bad_volume"),
    ],
)
@pytest.mark.parametrize("face", ["update", "push"])
def test_a_bad_tick_is_counted_by_reason_and_changes_no_bar(price: float, lots: int, reason: str, face: str) -> None:
    good = [(0, 100.0, 1), (MINUTE, 100.25, 2), (2 * MINUTE, 100.0, 1)]
    stream = TickStream(RULES)
    for tick in (good[0], (4 * MINUTE, price, lots), good[1], (4 * MINUTE, price, lots), good[2]):
        stream.push(*tick) if face == "push" else stream.update(*columns(tick))
    rejected = stream.rejected
    stream.flush()

    assert {name: count for name, count in rejected.items() if count} == {reason: 2}
    assert_equal_bits(stream.take(), whole(RULES, columns(*good), None)[0])


def test_oil_may_trade_below_zero_without_log_returns() -> None:
    day = columns((0, 1.0, 1), (1, -37.75, 2), (2, -10.0, 1), (5 * MINUTE, -10.0, 1), (5 * MINUTE + 1, -9.75, 1))

    bars, stream = whole(OIL, day, None)

    assert sum(stream.rejected.values()) == 0
    assert bars.low[0] == -37.75
    assert np.isnan(bars.realised_variance).all()
    np.testing.assert_allclose(bars.squared_moves, [38.75**2 + 27.75**2, 0.25**2], rtol=1e-15)
    assert bars.vwap[0] == pytest.approx((1.0 - 75.5 - 10.0) / 4)


def test_auction_and_session_end_ticks_join_the_first_and_the_last_bar() -> None:
    opening, closing, stop = (int(SPANS[0, place]) for place in (1, 2, 3))
    ticks = columns(
        (opening - 6 * MINUTE, 90.0, 1),  # before the auction
        (opening - MINUTE, 100.0, 1),
        (opening, 101.0, 1),
        (closing - 1, 102.0, 1),
        (closing, 103.0, 1),
        (stop - 1, 104.0, 1),
        (stop, 90.0, 1),
        (int(SPANS[1, 1]) - MINUTE, 90.0, 1),  # no auction after the noon break
    )

    bars, stream = whole(RULES, ticks, SPANS)

    assert stream.rejected["outside_session"] == 3
    assert bars.start_ns.tolist() == [opening, opening + 40 * MINUTE]
    assert bars.end_ns.tolist() == [opening + 5 * MINUTE, closing]  # the session leaves two minutes to its last bar
    assert bars.open.tolist() == [100.0, 102.0]
    assert bars.close.tolist() == [101.0, 104.0]


def test_the_clock_ends_a_bar_once_session_end_ticks_are_over() -> None:
    closing, stop = int(SPANS[0, 2]), int(SPANS[0, 3])
    stream = TickStream(RULES, SPANS)
    stream.push(closing - 1, 100.0, 1)

    stream.advance(closing)
    assert len(stream.take()) == 0
    stream.push(closing, 101.0, 1)
    stream.advance(stop)
    bars = stream.take()

    assert bars.close.tolist() == [101.0]
    assert bars.complete.tolist() == [True]


@pytest.mark.parametrize("face", ["update", "push"])
def test_a_flushed_bar_is_incomplete_and_later_ticks_inside_it_are_late(face: str) -> None:
    stream = TickStream(RULES)
    stream.push(0, 100.0, 1)
    stream.flush()
    for tick in ((MINUTE, 100.0, 1), (5 * MINUTE, 100.0, 1), (6 * MINUTE, 100.0, 1)):
        stream.push(*tick) if face == "push" else stream.update(*columns(tick))
    rejected = dict(stream.rejected)
    stream.flush()
    bars = stream.take()

    assert rejected["out_of_order"] == 1
    assert bars.ticks.tolist() == [1, 2]
    assert bars.complete.tolist() == [False, False]
    assert bars.to_bars().tradable.tolist() == [False, False]


def test_the_open_bar_can_be_looked_at_without_disturbing_the_stream() -> None:
    ticks = make_ticks(3, count=600)
    stream = TickStream(RULES, SPANS)
    looked = []
    for tick in zip(*(column.tolist() for column in ticks), strict=True):
        stream.push(*tick)
        looked.append(len(stream.open_bar()))
    stream.flush()

    assert max(looked) == 1
    assert_equal_bits(stream.take(), whole(RULES, ticks)[0])


@pytest.mark.parametrize("step_ns", [0, 1000])
def test_a_very_long_run_of_single_ticks_is_added_up_whole(step_ns: int) -> None:
    count = 10_000
    stamps, lots = np.arange(count) * step_ns, 1 + np.arange(count) % 7
    stream = TickStream(RULES)
    for stamp, size in zip(stamps.tolist(), lots.tolist(), strict=True):
        stream.push(stamp, 100.0, size)
    stream.flush()

    assert_equal_bits(stream.take(), whole(RULES, (stamps, np.full(count, 100.0), lots), None)[0])


def test_push_says_when_a_bar_is_finished() -> None:
    stream = TickStream(RULES)

    said = [stream.push(stamp, 100.0, 1) for stamp in (0, MINUTE, 5 * MINUTE, 6 * MINUTE, 12 * MINUTE)]

    assert said == [False, False, True, False, True]


def test_columns_of_other_types_are_taken_where_no_digit_is_lost() -> None:
    stamps, prices, lots = make_ticks(2, fault_frac=0.0)
    stream = TickStream(RULES, SPANS)
    stream.update(stamps.astype("datetime64[ns]"), prices.astype(np.float32), lots.astype(np.int32))
    stream.flush()

    assert_equal_bits(stream.take(), whole(RULES, (stamps, prices, lots))[0])


def test_columns_that_would_lose_digits_or_differ_in_length_are_refused() -> None:
    stamps, prices, lots = make_ticks(2, count=10)
    with pytest.raises(DataError, match="whole_lots"):
        TickStream(RULES).update(stamps, prices, lots.astype(float))
    with pytest.raises(DataError, match="one length"):
        TickStream(RULES).update(stamps, prices[:-1], lots)
    with pytest.raises(DataError, match="one for each tick"):
        TickStream(RULES).update(stamps, prices, lots, sequence=np.arange(9))


def test_single_ticks_of_other_types_are_refused() -> None:
    for tick in ((0, 100.0, 1.5), (0, "100", 1), (0.5, 100.0, 1), (0, 100.0, 2**70)):
        with pytest.raises(DataError, match="whole nanoseconds"):
            TickStream(RULES).push(*tick)  # type: ignore[arg-type]


def test_rules_name_what_is_wrong_with_them() -> None:
    with pytest.raises(DataError, match="must be positive"):
        TickRules("X", 0.0)
    with pytest.raises(DataError, match="short decimal"):
        TickRules("X", 1 / 3)


def test_prices_are_the_doubles_nearest_to_their_decimals() -> None:
    rules = TickRules("IF", 0.2)
    stored = np.array([5230.8, 5199.2, 5438.6], np.float32)

    bars, _ = whole(rules, (np.arange(3), stored.astype(np.float64), np.ones(3, np.int64)), None)

    assert (bars.open[0], bars.low[0], bars.close[0]) == (5230.8, 5199.2, 5438.6)


def test_whole_lots_of_decimal_steps() -> None:
    volume = [0.3, 0.1 + 0.2, 1.05, np.nan, -0.2, 0.0]

    assert whole_lots(volume, 0.1).tolist() == [3, 3, -1, -1, -2, 0]


def test_no_spans_means_always_open() -> None:
    ticks = make_ticks(4)

    assert_equal_bits(whole(RULES, ticks, None)[0], whole(RULES, ticks, continuous_spans())[0])


STREAM_A_DAY = """
import numpy as np
import psutil
from tests.grandmodel.data.tick_samples import RULES
from grandmodel.data.ticks.stream import TickStream

def day(stream, number, count):
    generator = np.random.default_rng(1)
    for batch in range(count // 256):
        stamps = number * 86_400_000_000_000 + (batch * 256 + np.arange(256)) * (86_400_000_000_000 // count)
        prices = 100.0 + 0.25 * generator.integers(0, 40, 256)
        lots = generator.integers(1, 9, 256)
        stream.update(stamps, prices, lots)
        for tick in zip(stamps.tolist(), prices.tolist(), lots.tolist()):
            stream.push(*tick)
        stream.take()

stream = TickStream(RULES)
day(stream, 0, 5_000)
before = psutil.Process().memory_info().rss
day(stream, 1, 250_000)
print(psutil.Process().memory_info().rss - before)
"""


def test_streaming_a_day_of_half_a_million_ticks_grows_by_less_than_five_megabytes() -> None:
    done = subprocess.run([sys.executable, "-c", STREAM_A_DAY], capture_output=True, text=True, check=True)

    assert int(done.stdout) < 5_000_000
