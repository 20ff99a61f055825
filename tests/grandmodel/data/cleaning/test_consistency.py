"""Rows that contradict each other: every check sees a case on both sides; searches have a slow, obvious twin."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from grandmodel.core.bars import NS_PER_MINUTE
from grandmodel.core.errors import DataError
from grandmodel.core.random import random_stream
from grandmodel.data.cleaning.consistency import (
    PASTED_BARS_MIN,
    pasted_rows,
    refuse_inconsistent,
    repeated_row,
    shifted_rows,
    swapped_share,
    wick_multiples,
)
from grandmodel.data.dataset import PRICE_COLUMNS

TICK = 0.25
Columns = tuple[np.ndarray, np.ndarray, np.ndarray]


def _columns(globex, sessions: int = 20) -> Columns:
    """Return starts, prices [4, n] and volume of bars whose market opens elsewhere after each pause."""
    frame = globex(sessions=sessions)
    start_ns = frame["ts"].dt.tz_convert(None).to_numpy("datetime64[ns]").astype(np.int64)
    prices = np.stack([frame[name].to_numpy(np.float64) for name in PRICE_COLUMNS])
    opens = np.r_[False, np.diff(start_ns) > 30 * NS_PER_MINUTE]
    gaps = np.cumsum(np.where(opens, random_stream(1, "gaps").choice([-40.0, 40.0], len(opens)), 0.0))
    return start_ns, prices + gaps, frame["volume"].to_numpy(np.float64, copy=True)


def _refuse(start_ns: np.ndarray, prices: np.ndarray, volume: np.ndarray) -> None:
    rows = np.arange(2, len(start_ns) + 2)
    refuse_inconsistent("NQ.csv", rows, start_ns, 30, prices, volume, TICK)


def test_bars_that_agree_pass(globex):
    _refuse(*_columns(globex))


def test_open_and_close_swapped(globex):
    start_ns, prices, volume = _columns(globex)
    with pytest.raises(DataError, match=r"NQ\.csv: .*open and close seem to be swapped.*swap open and close"):
        _refuse(start_ns, prices[[3, 1, 2, 0]], volume)


def test_the_share_of_swapped_bars_is_counted(globex):
    start_ns, prices, _ = _columns(globex)
    follows = np.diff(start_ns) == 30 * NS_PER_MINUTE
    wrong = right = 0
    for bar in range(1, len(start_ns)):
        gap = abs(prices[0, bar] - prices[3, bar - 1])
        reverse = abs(prices[3, bar] - prices[0, bar - 1])
        wrong += bool(follows[bar - 1] and reverse < gap)
        right += bool(follows[bar - 1] and gap < reverse)
    assert swapped_share(prices[0], prices[3], follows) == wrong / (wrong + right) < 0.3
    assert swapped_share(prices[0, :20], prices[3, :20], follows[:19]) == 0.0


@pytest.mark.parametrize(("name", "factor"), [("high", 10.0), ("high", 1.2), ("low", 0.1), ("low", 0.8)])
def test_a_column_in_another_unit_whose_envelope_holds(globex, name: str, factor: float):
    start_ns, prices, volume = _columns(globex)
    prices[PRICE_COLUMNS.index(name)] *= factor
    with pytest.raises(DataError, match=rf"NQ\.csv: {name} must lie near open and close"):
        _refuse(start_ns, prices, volume)


def test_wicks_of_no_bars_are_nothing():
    assert wick_multiples(np.empty((4, 0)), TICK) == {}


def test_a_pasted_block_is_refused_by_its_later_row(globex):
    start_ns, prices, volume = _columns(globex)
    prices[:, 200:220], volume[200:220] = prices[:, 100:120], volume[100:120]
    with pytest.raises(DataError, match=r"NQ\.csv row 202: no 6 bars in a row may come back; .* from row 102 on"):
        _refuse(start_ns, prices, volume)


def _slow_pasted(prices: np.ndarray, volume: np.ndarray) -> tuple[int, int] | None:
    """Return what ``pasted_rows`` returns, comparing every block with every one before it."""
    rows = [tuple(column) for column in np.vstack([prices, volume]).T.tolist()]
    blocks = [rows[start : start + PASTED_BARS_MIN] for start in range(len(rows) - PASTED_BARS_MIN + 1)]
    for later, block in enumerate(blocks):
        if any(one == two for one, two in itertools.pairwise(block)):
            continue
        for earlier in range(later):
            if blocks[earlier] == block:
                return earlier, later
    return None


@pytest.mark.parametrize("seed", range(30))
def test_pasted_blocks_are_those_of_the_slow_twin(seed: int):
    generator = random_stream(seed, "pasted")
    prices = generator.integers(1, 3, (4, 60)).astype(np.float64)
    prices[1:3] = 1.0
    volume = generator.integers(1, 3, 60).astype(np.float64)
    if seed % 2:
        at, to = generator.integers(0, 20), generator.integers(30, 50)
        length = int(generator.integers(4, 9))
        prices[:, to : to + length], volume[to : to + length] = prices[:, at : at + length], volume[at : at + length]
    assert pasted_rows(prices, volume) == _slow_pasted(prices, volume)


def test_a_bar_that_repeats_itself_is_refused(globex):
    start_ns, prices, volume = _columns(globex)
    prices[:, 101], volume[101] = prices[:, 100], volume[100]
    prices[1, 100:102] += 2
    with pytest.raises(DataError, match=r"NQ\.csv row 103: no bar with a range may repeat"):
        _refuse(start_ns, prices, volume)


def test_a_repeat_is_left_alone_where_it_may_be_chance_a_stale_feed_or_volume_is_unknown():
    prices, volume = np.tile([[10.0], [12.0], [9.0], [11.0]], 12), np.r_[np.full(6, 5.0), np.arange(6) + 9.0]
    assert repeated_row(prices, volume, 1.0) is None  # three ticks high
    assert repeated_row(prices, volume, 0.1) is None  # five repeats are a stale feed
    assert repeated_row(prices[:, 2:], volume[2:], 0.1) == 1
    assert repeated_row(prices, np.ones(12), 0.1) is None


@pytest.mark.parametrize(("offset", "word"), [(1, "late"), (-1, "early")])
def test_prices_one_row_off_their_stamps_show_at_the_pauses(globex, offset: int, word: str):
    start_ns, prices, volume = _columns(globex)
    with pytest.raises(DataError, match=rf"NQ\.csv: .*the gaps stand one bar too {word}"):
        _refuse(start_ns, np.roll(prices, offset, axis=1), np.roll(volume, offset))


def test_a_shift_needs_pauses_to_be_seen(globex):
    start_ns, prices, _ = _columns(globex, sessions=12)
    shifted = np.roll(prices, 1, axis=1)
    assert shifted_rows(start_ns, 30, shifted[0], shifted[3]) == 0
    assert shifted_rows(start_ns, 1440, shifted[0], shifted[3]) == 0
