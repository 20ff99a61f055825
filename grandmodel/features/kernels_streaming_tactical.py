"""Compiled step of the 5-minute stream: one closed bar in, one row of columns out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from grandmodel.features.columns import TACTICAL_MOMENTUM_BARS, TIE_FRAC, VOLUME_AVERAGE_BARS
from grandmodel.features.kernels import Floats
from grandmodel.features.kernels_gaps import (
    add_gap,
    age_gaps,
    gap_direction,
    gap_state,
    next_volume_average,
    volume_excess,
)
from grandmodel.features.kernels_streaming import (
    ACCEPTED,
    CLOSE,
    HIGH,
    LAST_START,
    LOW,
    OPEN,
    ROW,
    SEEN,
    momentum,
    move_to_front,
    range_step,
    refusal,
    warm_range,
)

COUNT, BORN = 3, 4  # further ``marks``: living gaps, and the gap that the last bar completed


class TacticalSetup(NamedTuple):
    """What the tactical step never changes: its windows."""

    lookback: int
    multiple: float
    age_max: int
    keep: int


class TacticalState(NamedTuple):
    """What the tactical step remembers."""

    marks: NDArray[np.int64]  # [5]: SEEN, ROW, LAST_START, COUNT, BORN
    levels: Floats  # [1]
    prices: Floats  # [4, capacity]
    gaps: Floats  # [age_max + 2, 4]
    volume_average: Floats  # [1]


@njit(cache=True)
def tactical_step(
    setup: TacticalSetup,
    state: TacticalState,
    open_: float,
    high: float,
    low: float,
    close: float,
    volume: float,
    out: Floats,
) -> None:
    """Take one accepted bar into the state and write its 7 columns to ``out``."""
    seen = state.marks[SEEN]
    row = state.marks[ROW]
    if row == state.prices.shape[1]:
        move_to_front(state.prices, setup.keep)
        row = setup.keep - 1
    prices = state.prices
    prices[OPEN, row], prices[HIGH, row], prices[LOW, row], prices[CLOSE, row] = open_, high, low, close
    range_step(state.levels, prices, seen, row)
    for column in range(len(out)):
        out[column] = np.nan
    state.marks[BORN] = 0
    if seen >= setup.lookback + 1:
        _gap_step(setup, state, seen, row, out)
    out[5] = momentum(prices, seen, row, TACTICAL_MOMENTUM_BARS)
    average = next_volume_average(state.volume_average[0], seen, volume, VOLUME_AVERAGE_BARS)
    state.volume_average[0] = average
    if seen >= VOLUME_AVERAGE_BARS - 1:
        out[6] = volume_excess(volume, average)
    state.marks[SEEN] = seen + 1
    state.marks[ROW] = row + 1


@njit(cache=True)
def _gap_step(setup: TacticalSetup, state: TacticalState, seen: int, row: int, out: Floats) -> None:
    prices, gaps = state.prices, state.gaps
    high, low, close = prices[HIGH, row], prices[LOW, row], prices[CLOSE, row]
    count, mitigated = age_gaps(gaps, state.marks[COUNT], seen, high, low, setup.age_max)
    born = gap_direction(
        prices[OPEN], prices[HIGH], prices[LOW], prices[CLOSE], row, setup.lookback, setup.multiple, TIE_FRAC
    )
    if born != 0:
        count = add_gap(gaps, count, born, seen, prices[HIGH, row - 2], prices[LOW, row - 2], high, low)
    true_range = warm_range(state.levels, seen)
    out[0], out[1], out[2], out[3] = gap_state(gaps, count, seen, close, true_range, setup.age_max, TIE_FRAC)
    out[4] = mitigated
    state.marks[COUNT] = count
    state.marks[BORN] = born


@njit(cache=True)
def tactical_push(
    setup: TacticalSetup,
    state: TacticalState,
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
    last = state.marks[LAST_START]  # no column counts ticks here: against an endless tick every price is small
    verdict = refusal(last, np.inf, start_ns, close_ns, open_, high, low, close, volume, price_factor)
    if verdict == ACCEPTED:
        tactical_step(setup, state, open_, high, low, close, volume, out)
        state.marks[LAST_START] = start_ns
    return verdict


@njit(cache=True)
def tactical_run(
    setup: TacticalSetup,
    state: TacticalState,
    open_: Floats,
    high: Floats,
    low: Floats,
    close: Floats,
    volume: Floats,
    out: Floats,
) -> None:
    """Take bars that have been judged before into the state, one after the other; ``out`` float64[T, 7]."""
    for t in range(len(close)):
        tactical_step(setup, state, open_[t], high[t], low[t], close[t], volume[t], out[t])
