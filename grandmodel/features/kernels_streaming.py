"""Compiled steps of the streams: one closed bar in, one row of columns out.

Here stand what both clocks share and the 30-minute clock.

A state is a tuple of arrays, all of fixed size but the stored crosses; a setup is what never changes. A step calls the
same functions per bar, in the same order, as the loops over whole arrays do, so that both give the same bits. Windows
are read from a table of the last bars: bars are appended, and when the table is full its last bars move to the front,
which costs each bar a constant share.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from grandmodel.features import kernels as k
from grandmodel.features.columns import (
    CROSS_FAST_BARS,
    CROSS_SLOW_BARS,
    MOMENTUM_BARS,
    RSI_AVERAGE_BARS,
    RSI_FAST_BARS,
    RSI_SLOW_BARS,
    TIE_FRAC,
    TRUE_RANGE_BARS,
)
from grandmodel.features.kernels import Floats
from grandmodel.features.kernels_mmd import mmd_step
from grandmodel.features.kernels_profile import profile_at
from grandmodel.features.strategic import TICKS_MAX

SEEN, ROW, LAST_START = range(3)  # the first ``marks`` of both clocks
OPEN, HIGH, LOW, CLOSE, HEIKIN_ASHI = range(5)  # rows of ``prices``; the last on the 30-minute clock alone
VOLUME, RETURN, RSI_SLOW, RSI_FAST = range(4)  # rows of ``values``
RANGE, GAIN_SLOW, LOSS_SLOW, GAIN_FAST, LOSS_FAST, LINE = range(6)  # ``levels``, all in units of price
WAITING_CLOSE: Final = 2  # in ``waiting``: slow point, fast point, close
MOMENTUM_SHORT, MOMENTUM_LONG = MOMENTUM_BARS

REFUSALS: Final = (
    ("open", "must be finite and positive"),
    ("high", "must be finite and positive"),
    ("low", "must be finite and positive"),
    ("close", "must be finite and positive"),
    ("price_factor", "must be finite and positive"),
    ("volume", "must be finite and not negative"),
    ("high", "must not lie below the low"),
    ("start_ns", "must be later than that of the bar before"),
    ("close_ns", "must be later than the start of its bar"),
    ("high", "must be at most 1e12 ticks"),
    ("open", "must lie between low and high"),
    ("close", "must lie between low and high"),
)
ACCEPTED: Final = -1
NEVER: Final = -(2**63)  # start of the bar before the first


class StrategicSetup(NamedTuple):
    """What the strategic step never changes: windows, kernel weights, the MMD reference."""

    neighbours: int
    smooth_weights: Floats
    quick_weights: Floats
    profile_bars: int
    low_node_frac: float
    volatility_bars: int
    points: Floats  # float64[M, 3], standardised reference
    center: Floats
    scale: Floats
    gamma: float
    within: float
    tick_size: float
    keep: int  # bars that any window looks back, with the bar itself


class StrategicState(NamedTuple):
    """What the strategic step remembers."""

    marks: NDArray[np.int64]  # [3]: SEEN, ROW, LAST_START
    levels: Floats  # [6]
    prices: Floats  # [5, capacity]
    values: Floats  # [4, capacity]
    points: Floats  # [capacity, 3], standardised (return, range, volatility)
    between: Floats  # [window]
    running: Floats  # [window, window]
    cross_marks: NDArray[np.int64]  # [3]
    waiting: Floats  # [3]
    stored: Floats  # [room, 2]; grows with the crosses
    labels: NDArray[np.int8]  # [room]
    distances: Floats  # [room], scratch
    scratch: Floats  # [room], scratch
    profile: Floats  # [bins], scratch


@njit(cache=True)
def refusal(
    last_start_ns: int,
    tick_size: float,
    start_ns: int,
    close_ns: int,
    open_: float,
    high: float,
    low: float,
    close: float,
    volume: float,
    price_factor: float,
) -> int:
    """Return the index in ``REFUSALS`` of the first rule that the bar breaks, or ``ACCEPTED``."""
    for index, value in enumerate((open_, high, low, close, price_factor)):
        if not (math.isfinite(value) and value > 0.0):
            return index
    if not (math.isfinite(volume) and volume >= 0.0):
        return 5
    if high < low:
        return 6
    if start_ns <= last_start_ns:
        return 7
    if close_ns <= start_ns:
        return 8
    if not low <= open_ <= high:
        return 10
    if not low <= close <= high:
        return 11
    return 9 if high / price_factor / tick_size > TICKS_MAX else ACCEPTED


@njit(cache=True)
def move_to_front(table: Floats, keep: int) -> None:
    """Move the last ``keep`` - 1 columns of a full table to its front: the new bar goes behind them."""
    first = table.shape[1] - keep + 1
    for i in range(table.shape[0]):
        for j in range(keep - 1):
            table[i, j] = table[i, first + j]


@njit(cache=True)
def strategic_step(
    setup: StrategicSetup,
    state: StrategicState,
    close_ns: int,
    open_: float,
    high: float,
    low: float,
    close: float,
    volume: float,
    price_factor: float,
    out: Floats,
) -> None:
    """Take one accepted bar into the state and write its 13 columns to ``out``."""
    seen = state.marks[SEEN]
    row = state.marks[ROW]
    if row == state.prices.shape[1]:
        move_to_front(state.prices, setup.keep)
        move_to_front(state.values, setup.keep)
        move_to_front(state.points.T, setup.keep)
        row = setup.keep - 1
    heikin_ashi = (open_ + high + low + close) / 4
    state.prices[OPEN, row] = open_
    state.prices[HIGH, row] = high
    state.prices[LOW, row] = low
    state.prices[CLOSE, row] = close
    state.prices[HEIKIN_ASHI, row] = heikin_ashi
    state.values[VOLUME, row] = volume
    range_step(state.levels, state.prices, seen, row)
    for column in range(len(out)):
        out[column] = np.nan
    _mlmi_step(setup, state, seen, row, out)
    _nwrqk_step(setup, state, seen, row, out)
    if seen >= setup.profile_bars - 1:
        out[4], out[5], out[12] = profile_at(
            state.prices[HIGH],
            state.prices[LOW],
            state.values[VOLUME],
            row,
            close,
            setup.tick_size * price_factor,
            warm_range(state.levels, seen),
            setup.profile_bars,
            setup.low_node_frac,
            state.profile,
        )
    out[6], out[7] = k.day_cycle_at(close_ns)
    out[8] = momentum(state.prices, seen, row, MOMENTUM_SHORT)
    out[9] = momentum(state.prices, seen, row, MOMENTUM_LONG)
    _regime_step(setup, state, seen, row, out)
    state.marks[SEEN] = seen + 1
    state.marks[ROW] = row + 1


@njit(cache=True)
def range_step(levels: Floats, prices: Floats, seen: int, row: int) -> None:
    """Take the bar at ``row`` into the average true range."""
    high, low = prices[HIGH, row], prices[LOW, row]
    before = prices[CLOSE, row - 1] if seen > 0 else prices[CLOSE, row]
    levels[RANGE] = k.next_range_average(levels[RANGE], seen, high, low, before, TRUE_RANGE_BARS)


@njit(cache=True)
def warm_range(levels: Floats, seen: int) -> float:
    """Return the average true range; NaN until warm."""
    return float(levels[RANGE]) if seen >= TRUE_RANGE_BARS - 1 else np.nan


@njit(cache=True)
def momentum(prices: Floats, seen: int, row: int, lag: int) -> float:
    """Return the log return of ``lag`` bars; NaN until warm."""
    return math.log(prices[CLOSE, row] / prices[CLOSE, row - lag]) if seen >= lag else np.nan


@njit(cache=True)
def _mlmi_step(setup: StrategicSetup, state: StrategicState, seen: int, row: int, out: Floats) -> None:
    heikin_ashi = state.prices[HEIKIN_ASHI]
    levels = state.levels
    if seen > 0:
        change = heikin_ashi[row] - heikin_ashi[row - 1]
        levels[GAIN_SLOW], levels[LOSS_SLOW] = k.next_gain_and_loss(
            levels[GAIN_SLOW], levels[LOSS_SLOW], seen, change, RSI_SLOW_BARS
        )
        levels[GAIN_FAST], levels[LOSS_FAST] = k.next_gain_and_loss(
            levels[GAIN_FAST], levels[LOSS_FAST], seen, change, RSI_FAST_BARS
        )
    state.values[RSI_SLOW, row] = k.strength(levels[GAIN_SLOW], levels[LOSS_SLOW])
    state.values[RSI_FAST, row] = k.strength(levels[GAIN_FAST], levels[LOSS_FAST])
    if seen < RSI_SLOW_BARS + RSI_AVERAGE_BARS - 1:
        return
    slow = k.weighted_average_at(state.values[RSI_SLOW], row, RSI_AVERAGE_BARS)
    fast = k.weighted_average_at(state.values[RSI_FAST], row, RSI_AVERAGE_BARS)
    side = k.average_side_at(heikin_ashi, row, CROSS_FAST_BARS, CROSS_SLOW_BARS, TIE_FRAC)
    close = state.prices[CLOSE, row]
    cross = k.cross_step(state.cross_marks, state.waiting, state.stored, state.labels, slow, fast, side, close)
    count = state.cross_marks[0]
    value = k.vote(state.stored, state.labels, state.distances, state.scratch, count, slow, fast, setup.neighbours)
    out[0] = value
    out[1] = cross if cross * value > 0.0 else 0.0


@njit(cache=True)
def _nwrqk_step(setup: StrategicSetup, state: StrategicState, seen: int, row: int, out: Floats) -> None:
    window = len(setup.smooth_weights)
    if seen < window - 1:
        return
    close = state.prices[CLOSE]
    if seen >= TRUE_RANGE_BARS - 1:
        offset = k.kernel_offset_at(close, row, setup.smooth_weights, k.kernel_mass(setup.smooth_weights))
        true_range = state.levels[RANGE]
        out[2] = -offset / true_range if true_range > 0.0 else 0.0
    line = close[row] + k.kernel_offset_at(close, row, setup.quick_weights, k.kernel_mass(setup.quick_weights))
    if seen >= window:
        out[3] = line / state.levels[LINE] - 1.0
    state.levels[LINE] = line


@njit(cache=True)
def _regime_step(setup: StrategicSetup, state: StrategicState, seen: int, row: int, out: Floats) -> None:
    if seen == 0:
        return
    returns = state.values[RETURN]
    returns[row] = math.log(state.prices[CLOSE, row] / state.prices[CLOSE, row - 1])
    if seen < setup.volatility_bars:
        return
    volatility = k.root_mean_square_at(returns, row, setup.volatility_bars)
    raw = (returns[row], math.log(state.prices[HIGH, row] / state.prices[LOW, row]), volatility)
    for column, value in enumerate(raw):
        state.points[row, column] = (value - setup.center[column]) / setup.scale[column]
    before = seen - setup.volatility_bars
    out[10] = mmd_step(state.points, row, before, state.between, state.running, setup.points, setup.gamma, setup.within)
    out[11] = volatility


@njit(cache=True)
def strategic_push(
    setup: StrategicSetup,
    state: StrategicState,
    start_ns: int,
    close_ns: int,
    open_: float,
    high: float,
    low: float,
    close: float,
    volume: float,
    price_factor: float,
    out: Floats,
) -> int:
    """Judge one bar and take it in when nothing speaks against it; return the verdict of ``refusal``."""
    last, tick = state.marks[LAST_START], setup.tick_size
    verdict = refusal(last, tick, start_ns, close_ns, open_, high, low, close, volume, price_factor)
    if verdict == ACCEPTED:
        strategic_step(setup, state, close_ns, open_, high, low, close, volume, price_factor, out)
        state.marks[LAST_START] = start_ns
    return verdict


@njit(cache=True)
def strategic_run(
    setup: StrategicSetup,
    state: StrategicState,
    close_ns: NDArray[np.int64],
    open_: Floats,
    high: Floats,
    low: Floats,
    close: Floats,
    volume: Floats,
    price_factor: Floats,
    out: Floats,
) -> None:
    """Take bars that have been judged before into the state, one after the other; ``out`` float64[T, 13]."""
    for t in range(len(close)):
        strategic_step(
            setup, state, close_ns[t], open_[t], high[t], low[t], close[t], volume[t], price_factor[t], out[t]
        )
