"""Compiled loop from ticks to bars and their features: one loop for a file, for a handful of ticks and for one tick.

Everything the loop remembers stands in one int64 array, so a stream may be cut anywhere. It works by *runs*, that is
accepted ticks at one price within one bar: inside a run only volume is added, as whole lots; all floating-point sums
are made where a run ends, in the order of trade. A run may span any number of calls, hence the cuts cannot move a bit.
Prices are whole ticks: the nearest to price / tick size.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit, types
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

# Places in the state. Those of F_ names hold float64 bits, the others int64.
(BAR_NS, TICK_TOP, TICK_BOTTOM, SIGNED, EMA_BARS, RSI_BARS, ATR_BARS) = range(7)
(LAST_NS, BAR_STOP_NS, RUN_LOTS, F_LAST_PRICE) = range(7, 11)
(BAR_START_NS, BAR_END_NS, BAR_DAY, OPEN, HIGH, LOW, LAST, LOTS, TICKS, SPAN) = range(11, 21)
(F_OFFSET, F_VARIANCE, F_SQUARED_MOVES) = range(21, 24)
(BARS, BARS_DONE, F_EMA, F_GAIN, F_LOSS, F_RANGE, F_CLOSE) = range(24, 31)
REJECTED = 31  # counts by reason from here on
(OUT_OF_ORDER, NO_TRADE, BAD_VOLUME, NOT_A_NUMBER, OFF_GRID, NOT_POSITIVE, OUTSIDE, DUPLICATE) = range(
    REJECTED, REJECTED + 8
)
LAST_SEQUENCE = REJECTED + 8
STATE_SIZE = LAST_SEQUENCE + 1

# Places in a finished bar; again F_ names hold float64 bits.
(R_START_NS, R_END_NS, R_DAY, R_LOTS, R_TICKS, R_COMPLETE) = range(6)
(F_R_OPEN, F_R_HIGH, F_R_LOW, F_R_CLOSE, F_R_VWAP, F_R_VARIANCE, F_R_SQUARED_MOVES, F_R_EMA, F_R_RSI, F_R_ATR) = range(
    6, 16
)
ROW_SIZE = 16

# Places in a trading span.
(S_ACCEPT_NS, S_OPEN_NS, S_CLOSE_NS, S_STOP_NS, S_DAY) = range(5)
SPAN_SIZE = 5

MOST_LOTS = 2**40
MOST_TICKS = 2**30
REFUSED = -(2**31)
GRID_TOLERANCE = 0.05
"""In ticks: what storage as float32 leaves of a price; anything farther from the grid is no price of the instrument."""

_SERIES_MAX = 0.0078125


@njit(cache=True, error_model="numpy")
def squared_log_return(old: int, new: int) -> float:
    """Return log(new / old) squared for positive whole ticks.

    log(b / a) = 2 atanh(z), z = (b - a) / (b + a); for small z its series is exact to rounding and several times
    faster than a logarithm.
    """
    z = float(new - old) / float(new + old)
    if abs(z) > _SERIES_MAX:
        change = math.log(new / old)
    else:
        s = z * z
        change = 2.0 * z * (1.0 + s * (1.0 / 3.0 + s * (0.2 + s * (1.0 / 7.0 + s * (1.0 / 9.0)))))
    return change * change


@njit(cache=True, error_model="numpy")
def level_of(price: float, per_price: float, unsigned: bool) -> int:
    """Return ``price`` in whole ticks; REFUSED or less, naming the reason, when it is no price of the instrument."""
    scaled = price * per_price
    if not abs(scaled) <= MOST_TICKS:
        return REFUSED - NOT_A_NUMBER
    nearest = math.floor(scaled + 0.5)
    if abs(scaled - nearest) > GRID_TOLERANCE:
        return REFUSED - OFF_GRID
    if nearest <= 0 and unsigned:
        return REFUSED - NOT_POSITIVE
    return int(nearest)


@njit(cache=True, error_model="numpy")
def _load_run(state: Integers, floats: Floats) -> tuple[float, int, int, int, int, int]:
    return floats[F_LAST_PRICE], state[LAST_NS], state[BAR_STOP_NS], state[RUN_LOTS], state[TICKS], state[OPEN]


@njit(cache=True, error_model="numpy")
def _store_run(state: Integers, floats: Floats, price: float, last_ns: int, run: int, ticks: int) -> None:
    floats[F_LAST_PRICE] = price
    state[LAST_NS] = last_ns
    state[RUN_LOTS] = run
    state[TICKS] = ticks


@njit(cache=True, error_model="numpy")
def _load_sums(state: Integers, floats: Floats) -> tuple[int, int, int, int, float, float, float]:
    whole = (state[LAST], state[HIGH], state[LOW], state[LOTS])
    return (*whole, floats[F_OFFSET], floats[F_VARIANCE], floats[F_SQUARED_MOVES])


@njit(cache=True, error_model="numpy")
def _store_sums(
    state: Integers,
    floats: Floats,
    last: int,
    high: int,
    low: int,
    lots_done: int,
    offset: float,
    variance: float,
    squared: float,
) -> None:
    state[LAST] = last
    state[HIGH] = high
    state[LOW] = low
    state[LOTS] = lots_done
    floats[F_OFFSET] = offset
    floats[F_VARIANCE] = variance
    floats[F_SQUARED_MOVES] = squared


@njit(cache=True, error_model="numpy")
def _other_tick(
    state: Integers, floats: Floats, rows: Integers, spans: Integers, stamp: int, price: float, size: int
) -> bool:
    """Take one tick that leaves the bar or breaks a rule; False when ``rows`` is full."""
    if stamp < state[LAST_NS]:
        state[OUT_OF_ORDER] += 1
        return True
    if size <= 0 or size > MOST_LOTS:
        state[NO_TRADE if size == 0 else BAD_VOLUME] += 1
        return True
    level = level_of(price, state[TICK_BOTTOM] / state[TICK_TOP], state[SIGNED] == 0)
    if level <= REFUSED:
        state[REFUSED - level] += 1
        return True
    span = _span_of(spans, state[SPAN], stamp)
    if span < 0:
        state[OUTSIDE] += 1
        return True
    if state[TICKS] > 0 and not close_bar(state, floats, rows, 1):
        return False
    _open_bar(state, floats, spans, span, stamp, level)
    floats[F_LAST_PRICE] = price
    state[LAST_NS] = stamp
    state[RUN_LOTS] = size
    state[TICKS] = 1
    return True


@njit(cache=True, error_model="numpy")
def _settle_run(state: Integers, floats: Floats) -> None:
    floats[F_OFFSET] += float(state[LAST] - state[OPEN]) * float(state[RUN_LOTS])
    state[LOTS] += state[RUN_LOTS]
    state[RUN_LOTS] = 0


@njit(cache=True, error_model="numpy")
def _span_of(spans: Integers, first: int, stamp: int) -> int:
    """Return the span that accepts ``stamp``, searching from ``first`` on; -1 outside all."""
    for s in range(first, len(spans)):
        if stamp < spans[s, S_STOP_NS]:
            return s if stamp >= spans[s, S_ACCEPT_NS] else -1
    return -1


@njit(cache=True, error_model="numpy")
def _open_bar(state: Integers, floats: Floats, spans: Integers, span: int, stamp: int, level: int) -> None:
    open_ns = spans[span, S_OPEN_NS]
    close_ns = spans[span, S_CLOSE_NS]
    inside = min(max(stamp, open_ns), close_ns - 1)
    start = open_ns + (inside - open_ns) // state[BAR_NS] * state[BAR_NS]
    state[BAR_START_NS] = start
    state[BAR_END_NS] = min(start + state[BAR_NS], close_ns)
    state[BAR_STOP_NS] = spans[span, S_STOP_NS] if state[BAR_END_NS] == close_ns else state[BAR_END_NS]
    state[BAR_DAY] = spans[span, S_DAY]
    state[SPAN] = span
    state[OPEN] = state[HIGH] = state[LOW] = state[LAST] = level
    state[LOTS] = state[RUN_LOTS] = state[TICKS] = 0
    floats[F_OFFSET] = floats[F_VARIANCE] = floats[F_SQUARED_MOVES] = 0.0


@njit(cache=True, error_model="numpy")
def close_bar(state: Integers, floats: Floats, rows: Integers, complete: int) -> bool:
    """Write the open bar and its features to ``rows`` and leave no bar open; False when ``rows`` is full."""
    row = state[BARS]
    if row == len(rows):
        return False
    _settle_run(state, floats)
    size = state[TICK_TOP] / state[TICK_BOTTOM]
    out = rows[row].view(np.float64)
    rows[row, R_START_NS] = state[BAR_START_NS]
    rows[row, R_END_NS] = state[BAR_END_NS]
    rows[row, R_DAY] = state[BAR_DAY]
    rows[row, R_LOTS] = state[LOTS]
    rows[row, R_TICKS] = state[TICKS]
    rows[row, R_COMPLETE] = complete
    out[F_R_OPEN] = _price(state, state[OPEN])
    out[F_R_HIGH] = _price(state, state[HIGH])
    out[F_R_LOW] = _price(state, state[LOW])
    out[F_R_CLOSE] = _price(state, state[LAST])
    out[F_R_VWAP] = out[F_R_OPEN] + floats[F_OFFSET] / state[LOTS] * size if state[LOTS] > 0 else np.nan
    out[F_R_VARIANCE] = floats[F_VARIANCE]
    out[F_R_SQUARED_MOVES] = floats[F_SQUARED_MOVES] * (size * size)
    _average(state, floats, out)
    state[BARS] = row + 1
    state[BARS_DONE] += 1
    state[TICKS] = 0
    state[LAST_NS] = max(state[LAST_NS], state[BAR_STOP_NS])
    state[BAR_STOP_NS] = state[LAST_NS]
    return True


@njit(cache=True, error_model="numpy")
def _price(state: Integers, level: int) -> float:
    # The product is exact, so the quotient is the double nearest to the decimal price.
    return float(level * state[TICK_TOP]) / float(state[TICK_BOTTOM])


@njit(cache=True, error_model="numpy")
def _average(state: Integers, floats: Floats, out: Floats) -> None:
    """Carry EMA, RSI and ATR over the bar just finished, number ``state[BARS_DONE]``."""
    bar = state[BARS_DONE]
    high, low, close, before = out[F_R_HIGH], out[F_R_LOW], out[F_R_CLOSE], floats[F_CLOSE]
    floats[F_CLOSE] = close

    weight = 2.0 / (state[EMA_BARS] + 1.0)
    floats[F_EMA] = close if bar == 0 else floats[F_EMA] + weight * (close - floats[F_EMA])
    out[F_R_EMA] = floats[F_EMA] if bar >= state[EMA_BARS] - 1 else np.nan

    window = state[ATR_BARS]
    reach = high - low
    if bar > 0:
        reach = max(reach, abs(high - before), abs(low - before))
    floats[F_RANGE] = _wilder(floats[F_RANGE], reach, bar + 1, window)
    out[F_R_ATR] = floats[F_RANGE] if bar >= window - 1 else np.nan

    window = state[RSI_BARS]
    out[F_R_RSI] = np.nan
    if bar > 0:
        floats[F_GAIN] = _wilder(floats[F_GAIN], max(close - before, 0.0), bar, window)
        floats[F_LOSS] = _wilder(floats[F_LOSS], max(before - close, 0.0), bar, window)
        total = floats[F_GAIN] + floats[F_LOSS]
        if bar >= window:
            out[F_R_RSI] = 100.0 * floats[F_GAIN] / total if total > 0.0 else 50.0


@njit(cache=True, error_model="numpy")
def _wilder(average: float, value: float, number: int, window: int) -> float:
    """Return Wilder's average after its value ``number`` (from 1): a plain mean over the first ``window``."""
    if number <= window:
        return average + value / window
    return (average * (window - 1) + value) / window


_COLUMN, _WHOLE_COLUMN = (
    types.Array(types.float64, 1, "C", readonly=True),
    types.Array(types.int64, 1, "C", readonly=True),
)


@njit(
    types.int64(types.int64[::1], types.int64[:, ::1], types.int64[:, ::1], _WHOLE_COLUMN, _COLUMN, _WHOLE_COLUMN),
    cache=True,
    error_model="numpy",
)
def run_ticks(
    state: Integers, rows: Integers, spans: Integers, stamps_ns: Integers, prices: Floats, lots: Integers
) -> int:
    """Feed ticks; return how many are used up: fewer than given when ``rows`` is full, -1 when lengths differ.

    The signature is fixed, so that a column of another type is refused and not compiled for.

    Args:
        state: int64[STATE_SIZE], changed in place.
        rows: int64[capacity, ROW_SIZE]; finished bars are written from row ``state[BARS]`` on.
        spans: int64[spans, SPAN_SIZE], trading spans in time order.
        stamps_ns: int64[n], UTC nanoseconds, in the order of trade.
        prices: float64[n].
        lots: int64[n], traded volume in whole lots.
    """
    if len(prices) != len(stamps_ns) or len(lots) != len(stamps_ns):
        return -1
    floats = state.view(np.float64)
    per_price, unsigned = state[TICK_BOTTOM] / state[TICK_TOP], state[SIGNED] == 0
    price, last_ns, stop_ns, run, ticks, start = _load_run(state, floats)
    last, high, low, lots_done, offset, variance, squared = _load_sums(state, floats)
    for i in range(len(stamps_ns)):
        stamp = stamps_ns[i]
        size = lots[i]
        # Without branches between them the four comparisons cost next to nothing.
        lawful = (last_ns <= stamp) & (stamp < stop_ns) & (size > 0) & (size <= MOST_LOTS)
        if lawful and prices[i] == price:
            run += size
            ticks += 1
            last_ns = stamp
            continue
        level = level_of(prices[i], per_price, unsigned) if lawful else REFUSED
        if level > REFUSED:
            offset += float(last - start) * float(run)
            lots_done += run
            if level != last:
                move = float(level - last)
                squared += move * move
                variance += squared_log_return(last, level) if last > 0 and level > 0 else np.nan
            last = level
            high = max(high, level)
            low = min(low, level)
            price = prices[i]
            run = size
            ticks += 1
            last_ns = stamp
            continue
        _store_run(state, floats, price, last_ns, run, ticks)
        _store_sums(state, floats, last, high, low, lots_done, offset, variance, squared)
        if not _other_tick(state, floats, rows, spans, stamp, prices[i], size):
            return i
        price, last_ns, stop_ns, run, ticks, start = _load_run(state, floats)
        last, high, low, lots_done, offset, variance, squared = _load_sums(state, floats)
    _store_run(state, floats, price, last_ns, run, ticks)
    _store_sums(state, floats, last, high, low, lots_done, offset, variance, squared)
    return len(stamps_ns)


@njit(cache=True, error_model="numpy")
def run_numbered(
    state: Integers,
    rows: Integers,
    spans: Integers,
    sequence: Integers,
    stamps_ns: Integers,
    prices: Floats,
    lots: Integers,
) -> int:
    """Feed ticks with sequence numbers one by one; return how many are used up, as ``run_ticks`` does.

    A number at or below that of the last accepted tick is counted as a duplicate. Only an accepted tick moves the
    number on: one damaged number on a tick that is refused anyway would silence the feed.
    """
    for i in range(len(sequence)):
        if sequence[i] <= state[LAST_SEQUENCE]:
            state[DUPLICATE] += 1
            continue
        rejected = state[REJECTED:DUPLICATE].sum()
        if run_ticks(state, rows, spans, stamps_ns[i : i + 1], prices[i : i + 1], lots[i : i + 1]) == 0:
            return i
        if state[REJECTED:DUPLICATE].sum() == rejected:
            state[LAST_SEQUENCE] = sequence[i]
    return len(sequence)
