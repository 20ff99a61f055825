"""Compiled loops of the volume profile: nearest low-volume node and skew."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from grandmodel.features.kernels import Floats

LEAST_VARIANCE_BINS = 1e-12
"""In squared bins; what lies below is rounding around a profile with one bin."""


@njit(cache=True)
def _bin(price: float, tick: float, ticks_per_bin: int) -> int:
    # First to whole ticks, then down: halving a price on the tick grid would leave the bin to rounding.
    return math.floor(price / tick + 0.5) // ticks_per_bin


@njit(cache=True)
def _grid(high: Floats, low: Floats, begin: int, end: int, tick: float, bins_max: int) -> tuple[int, int, int]:
    """Return (ticks per bin, first bin, bins): 1 tick, doubled until the range fits into ``bins_max`` bins."""
    lowest = low[begin]
    highest = high[begin]
    for s in range(begin + 1, end):
        lowest = min(lowest, low[s])
        highest = max(highest, high[s])
    per_bin = 1
    while _bin(highest, tick, per_bin) - _bin(lowest, tick, per_bin) >= bins_max:
        per_bin *= 2
    first = _bin(lowest, tick, per_bin)
    return per_bin, first, _bin(highest, tick, per_bin) - first + 1


@njit(cache=True)
def _fill_profile(
    profile: Floats,
    high: Floats,
    low: Floats,
    volume: Floats,
    begin: int,
    end: int,
    tick: float,
    per_bin: int,
    first: int,
    count: int,
) -> float:
    """Spread each bar's volume evenly over the bins from its low to its high; return the point of control's volume."""
    for b in range(count):
        profile[b] = 0.0
    most = 0.0
    for s in range(begin, end):
        bottom = _bin(low[s], tick, per_bin) - first
        top = _bin(high[s], tick, per_bin) - first
        share = volume[s] / (top - bottom + 1)
        for b in range(bottom, top + 1):
            profile[b] += share
            most = max(most, profile[b])
    return most


@njit(cache=True)
def _nearest_node(profile: Floats, count: int, here: int, limit: float) -> int:
    """Return the bin below ``limit`` nearest to bin ``here``, ties to the lower price; -1 without one."""
    nearest = -1
    for b in range(count):
        if profile[b] < limit and (nearest < 0 or abs(b - here) < abs(nearest - here)):
            nearest = b
    return nearest


@njit(cache=True)
def _skew(profile: Floats, count: int) -> float:
    """Return the third standardised moment of the bin index weighted by volume; 0 without spread or volume."""
    mass = 0.0
    mean = 0.0
    for b in range(count):
        mass += profile[b]
        mean += b * profile[b]
    if mass <= 0.0:
        return 0.0
    mean /= mass
    second = 0.0
    third = 0.0
    for b in range(count):
        offset = b - mean
        second += profile[b] * offset**2
        third += profile[b] * offset**3
    second /= mass
    third /= mass
    return third / second**1.5 if second > LEAST_VARIANCE_BINS else 0.0


@njit(cache=True)
def volume_profile(
    high: Floats,
    low: Floats,
    close: Floats,
    volume: Floats,
    ticks: Floats,
    true_range: Floats,
    window: int,
    low_node_frac: float,
    bins_max: int,
) -> Floats:
    """Return float64[T, 3]: lvn_distance, lvn_strength, volume_profile_skew.

    ``ticks`` float64[T] is the tick in adjusted prices as seen from each bar's own contract.
    """
    out = np.full((len(close), 3), np.nan)
    profile = np.empty(bins_max)
    for t in range(window - 1, len(close)):
        out[t, 0], out[t, 1], out[t, 2] = profile_at(
            high, low, volume, t, close[t], ticks[t], true_range[t], window, low_node_frac, profile
        )
    return out


@njit(cache=True)
def profile_at(
    high: Floats,
    low: Floats,
    volume: Floats,
    t: int,
    close: float,
    tick: float,
    true_range: float,
    window: int,
    low_node_frac: float,
    profile: Floats,
) -> tuple[float, float, float]:
    """Return the three columns at row ``t``; ``profile`` float64[bins_max] is scratch."""
    begin = t - window + 1
    per_bin, first, count = _grid(high, low, begin, t + 1, tick, len(profile))
    limit = low_node_frac * _fill_profile(profile, high, low, volume, begin, t + 1, tick, per_bin, first, count)
    here = _bin(close, tick, per_bin) - first
    node = _nearest_node(profile, count, here, limit)
    skew = _skew(profile, count)
    if node < 0:
        return 0.0, 0.0, skew
    distance = (node - here) * per_bin * tick / true_range if true_range > 0.0 else 0.0
    return distance, 1.0 - profile[node] / limit, skew
