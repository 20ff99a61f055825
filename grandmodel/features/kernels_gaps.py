"""Compiled loops of the tactical clock: fair value gaps and relative volume."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from grandmodel.features.kernels import Floats


@njit(cache=True)
def _gap_direction(
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
def _age_gaps(
    bottom: Floats, top: Floats, born: Floats, side: Floats, count: int, t: int, high: float, low: float, age_max: int
) -> tuple[int, int]:
    """Drop gaps that are too old or filled by bar ``t``, in place; return how many live and the mitigation signal."""
    kept = 0
    bullish_filled = 0
    bearish_filled = 0
    for g in range(count):
        if t - born[g] > age_max:
            continue
        if side[g] > 0 and low <= bottom[g]:
            bullish_filled = 1
        elif side[g] < 0 and high >= top[g]:
            bearish_filled = 1
        else:
            bottom[kept], top[kept], born[kept], side[kept] = bottom[g], top[g], born[g], side[g]
            kept += 1
    return kept, bullish_filled - bearish_filled


@njit(cache=True)
def _nearest_edge(
    bottom: Floats, top: Floats, side: Floats, count: int, close: float, tie_frac: float
) -> tuple[int, float]:
    """Return the gap whose edge is nearest to ``close`` and edge - close; ties to the newer gap, its entry edge."""
    nearest = count - 1
    offset = np.inf
    for g in range(count - 1, -1, -1):
        entry, far = (top[g], bottom[g]) if side[g] > 0 else (bottom[g], top[g])
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
    bottom, top, born, side = np.empty((4, age_max + 2))  # at most one gap is born on a bar
    count = 0
    for t in range(lookback + 1, len(close)):
        count, mitigated = _age_gaps(bottom, top, born, side, count, t, high[t], low[t], age_max)
        direction = _gap_direction(open_, high, low, close, t, lookback, multiple, tie_frac)
        if direction != 0:
            bottom[count] = high[t - 2] if direction > 0 else high[t]
            top[count] = low[t] if direction > 0 else low[t - 2]
            born[count] = t
            side[count] = direction
            count += 1
        for column in range(4):
            out[t, column] = 0.0
        for g in range(count):
            out[t, 0 if side[g] > 0 else 1] = 1.0
        if count > 0:
            nearest, offset = _nearest_edge(bottom, top, side, count, close[t], tie_frac)
            out[t, 2] = offset / true_range[t] if true_range[t] > 0.0 else 0.0
            out[t, 3] = (t - born[nearest]) / age_max
        out[t, 4] = mitigated
    return out


@njit(cache=True)
def relative_volume(volume: Floats, window: int) -> Floats:
    """Return tanh(log1p(max(0, volume / EMA - 1))); EMA seeded with the mean of the first ``window`` volumes."""
    out = np.full(len(volume), np.nan)
    average = 0.0
    for t in range(len(volume)):
        if t < window:
            average += volume[t] / window
        else:
            average += (volume[t] - average) * (2.0 / (window + 1))
        if t >= window - 1:
            excess = volume[t] / average - 1.0 if average > 0.0 else 0.0
            out[t] = math.tanh(math.log1p(max(0.0, excess)))
    return out
