"""Compiled loops of the tactical clock: fair value gaps and relative volume."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from grandmodel.features.kernels import Floats

BOTTOM, TOP, BIRTH, SIDE = range(4)  # columns of the table of living gaps


@njit(cache=True)
def gap_direction(
    open_: Floats, high: Floats, low: Floats, close: Floats, t: int, lookback: int, multiple: float, tie_frac: float
) -> int:
    """Return 1 when bar ``t`` completes a bullish gap, -1 a bearish one, else 0."""
    if low[t] > high[t - 2]:
        direction = 1
    elif high[t] < low[t - 2]:
        direction = -1
    else:
        return 0
    total = 0.0
    for s in range(t - 1 - lookback, t - 1):
        total += abs(close[s] - open_[s])
    excess = abs(close[t - 1] - open_[t - 1]) - multiple * (total / lookback)
    return direction if excess > tie_frac * close[t - 1] else 0


@njit(cache=True)
def age_gaps(gaps: Floats, count: int, t: int, high: float, low: float, age_max: int) -> tuple[int, int]:
    """Drop gaps that are too old or filled by bar ``t``, in place; return how many live and the mitigation signal.

    ``gaps`` float64[age_max + 2, 4] holds bottom, top, bar of birth and side of the ``count`` living gaps.
    """
    kept = 0
    bullish_filled = 0
    bearish_filled = 0
    for g in range(count):
        if t - gaps[g, BIRTH] > age_max:
            continue
        if gaps[g, SIDE] > 0 and low <= gaps[g, BOTTOM]:
            bullish_filled = 1
        elif gaps[g, SIDE] < 0 and high >= gaps[g, TOP]:
            bearish_filled = 1
        else:
            if kept < g:
                for field in range(4):
                    gaps[kept, field] = gaps[g, field]
            kept += 1
    return kept, bullish_filled - bearish_filled


@njit(cache=True)
def _nearest_edge(gaps: Floats, count: int, close: float, tie_frac: float) -> tuple[int, float]:
    """Return the gap whose edge is nearest to ``close`` and edge - close; ties to the newer gap, its entry edge."""
    nearest = count - 1
    offset = np.inf
    for g in range(count - 1, -1, -1):
        bottom, top = gaps[g, BOTTOM], gaps[g, TOP]
        entry, far = (top, bottom) if gaps[g, SIDE] > 0 else (bottom, top)
        for level in (entry, far):
            if abs(level - close) < abs(offset) - tie_frac * close:
                nearest = g
                offset = level - close
    return nearest, offset


@njit(cache=True)
def gap_columns(
    open_: Floats,
    high: Floats,
    low: Floats,
    close: Floats,
    true_range: Floats,
    lookback: int,
    multiple: float,
    age_max: int,
    tie_frac: float,
) -> Floats:
    """Return float64[T, 5]: the five fair value gap columns in their order."""
    out = np.full((len(close), 5), np.nan)
    gaps = np.empty((age_max + 2, 4))  # at most one gap is born on a bar
    count = 0
    for t in range(lookback + 1, len(close)):
        count, mitigated = age_gaps(gaps, count, t, high[t], low[t], age_max)
        born = gap_direction(open_, high, low, close, t, lookback, multiple, tie_frac)
        if born != 0:
            count = add_gap(gaps, count, born, t, high[t - 2], low[t - 2], high[t], low[t])
        out[t, 0], out[t, 1], out[t, 2], out[t, 3] = gap_state(
            gaps, count, t, close[t], true_range[t], age_max, tie_frac
        )
        out[t, 4] = mitigated
    return out


@njit(cache=True)
def add_gap(
    gaps: Floats, count: int, born: int, t: int, high_before: float, low_before: float, high: float, low: float
) -> int:
    """Add the gap between bar ``t`` and the bar two before it; return how many live."""
    gaps[count, BOTTOM] = high_before if born > 0 else high
    gaps[count, TOP] = low if born > 0 else low_before
    gaps[count, BIRTH] = t
    gaps[count, SIDE] = born
    return count + 1


@njit(cache=True)
def gap_state(
    gaps: Floats, count: int, t: int, close: float, true_range: float, age_max: int, tie_frac: float
) -> tuple[float, float, float, float]:
    """Return whether a bullish and a bearish gap lives, and level and age of the nearest edge; zeros without one."""
    bullish = 0.0
    bearish = 0.0
    for g in range(count):
        if gaps[g, SIDE] > 0:
            bullish = 1.0
        else:
            bearish = 1.0
    if count == 0:
        return bullish, bearish, 0.0, 0.0
    nearest, offset = _nearest_edge(gaps, count, close, tie_frac)
    level = offset / true_range if true_range > 0.0 else 0.0
    return bullish, bearish, level, (t - gaps[nearest, BIRTH]) / age_max


@njit(cache=True)
def gap_births(
    open_: Floats, high: Floats, low: Floats, close: Floats, lookback: int, multiple: float, tie_frac: float
) -> NDArray[np.int8]:
    """Return int8[T]: 1 where a bar completes a bullish gap, -1 a bearish one, else 0; 0 until warm."""
    out = np.zeros(len(close), np.int8)
    for t in range(lookback + 1, len(close)):
        out[t] = gap_direction(open_, high, low, close, t, lookback, multiple, tie_frac)
    return out


@njit(cache=True)
def relative_volume(volume: Floats, window: int) -> Floats:
    """Return tanh(log1p(max(0, volume / EMA - 1))); EMA seeded with the mean of the first ``window`` volumes."""
    out = np.full(len(volume), np.nan)
    average = 0.0
    for t in range(len(volume)):
        average = next_volume_average(average, t, volume[t], window)
        if t >= window - 1:
            out[t] = volume_excess(volume[t], average)
    return out


@njit(cache=True)
def next_volume_average(average: float, seen: int, volume: float, window: int) -> float:
    """Return the exponential average after one more volume; ``seen`` came before it."""
    if seen < window:
        return average + volume / window
    return average + (volume - average) * (2.0 / (window + 1))


@njit(cache=True)
def volume_excess(volume: float, average: float) -> float:
    """Return tanh(log1p(max(0, volume / average - 1))); 0 without any volume."""
    excess = volume / average - 1.0 if average > 0.0 else 0.0
    return math.tanh(math.log1p(max(0.0, excess)))
