"""Compiled loops shared by both clocks, and those of mlmi and nwrqk.

Each value depends on the past in one fixed order of operations, so cutting or changing the future cannot move a bit.
Logarithms, sines and hyperbolic tangents are taken one number at a time for the same reason: numpy's vector versions
may differ in the last bit with the length of the array. No fastmath anywhere. All arrays are float64[T] unless said;
rows that are not warm are NaN.

What one bar adds stands in a function of its own (``next_*``, ``*_at``, ``cross_step``): the loops here call it for
every bar of an array, a stream calls it for the bar that has just closed.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NS_PER_DAY = 86_400_000_000_000


@njit(cache=True)
def log_change(values: Floats, lag: int) -> Floats:
    """Return log(values[t] / values[t - lag])."""
    out = np.full(len(values), np.nan)
    for t in range(lag, len(values)):
        out[t] = math.log(values[t] / values[t - lag])
    return out


@njit(cache=True)
def log_ratio(above: Floats, below: Floats) -> Floats:
    """Return log(above[t] / below[t])."""
    out = np.empty(len(above))
    for t in range(len(above)):
        out[t] = math.log(above[t] / below[t])
    return out


@njit(cache=True)
def day_cycle(close_ns: NDArray[np.int64]) -> Floats:
    """Return float64[T, 2]: sine and cosine of the fraction of the UTC day at ``close_ns``."""
    out = np.empty((len(close_ns), 2))
    for t in range(len(close_ns)):
        out[t, 0], out[t, 1] = day_cycle_at(close_ns[t])
    return out


@njit(cache=True)
def day_cycle_at(close_ns: int) -> tuple[float, float]:
    """Return sine and cosine of the fraction of the UTC day at ``close_ns``."""
    angle = 2.0 * math.pi * (close_ns % NS_PER_DAY) / NS_PER_DAY
    return math.sin(angle), math.cos(angle)


@njit(cache=True)
def root_mean_square(values: Floats, first: int, window: int) -> Floats:
    """Return the root mean square of the last ``window`` values; values before ``first`` do not exist."""
    out = np.full(len(values), np.nan)
    for t in range(first + window - 1, len(values)):
        out[t] = root_mean_square_at(values, t, window)
    return out


@njit(cache=True)
def root_mean_square_at(values: Floats, t: int, window: int) -> float:
    """Return the root mean square of the ``window`` values up to row ``t``."""
    total = 0.0
    for i in range(t - window + 1, t + 1):
        total += values[i] * values[i]
    return math.sqrt(total / window)


@njit(cache=True)
def average_true_range(high: Floats, low: Floats, close: Floats, window: int) -> Floats:
    """Return Wilder's average true range: mean of the first ``window`` ranges, then (n - 1 parts old, 1 new) / n."""
    out = np.full(len(close), np.nan)
    average = 0.0
    for t in range(len(close)):
        before = close[t - 1] if t > 0 else close[t]
        average = next_range_average(average, t, high[t], low[t], before, window)
        if t >= window - 1:
            out[t] = average
    return out


@njit(cache=True)
def next_range_average(average: float, seen: int, high: float, low: float, close_before: float, window: int) -> float:
    """Return Wilder's average after one more bar; ``seen`` bars came before it. A plain sum until ``window`` are in."""
    true_range = high - low
    if seen > 0:
        true_range = max(true_range, abs(high - close_before), abs(low - close_before))
    if seen >= window:
        return (average * (window - 1) + true_range) / window
    average += true_range
    return average / window if seen == window - 1 else average


@njit(cache=True)
def relative_strength(values: Floats, window: int) -> Floats:
    """Return Wilder's RSI, 0..100: 100 gain / (gain + loss), seeded with the mean of the first ``window`` changes."""
    out = np.full(len(values), np.nan)
    gain = 0.0
    loss = 0.0
    for t in range(1, len(values)):
        gain, loss = next_gain_and_loss(gain, loss, t, values[t] - values[t - 1], window)
        if t >= window:
            out[t] = strength(gain, loss)
    return out


@njit(cache=True)
def next_gain_and_loss(gain: float, loss: float, seen: int, change: float, window: int) -> tuple[float, float]:
    """Return Wilder's average gain and loss after one more change; ``seen`` bars came before the one that made it."""
    up = max(change, 0.0)
    down = max(-change, 0.0)
    if seen <= window:
        return gain + up / window, loss + down / window
    return (gain * (window - 1) + up) / window, (loss * (window - 1) + down) / window


@njit(cache=True)
def strength(gain: float, loss: float) -> float:
    """Return 100 gain / (gain + loss); 50 where nothing moved."""
    return 100.0 * gain / (gain + loss) if gain + loss > 0.0 else 50.0


@njit(cache=True)
def _weighted_offset(values: Floats, t: int, window: int) -> float:
    """Return WMA - values[t]; weights window, window - 1, .. 1 backwards. Exactly 0 on a flat run."""
    total = 0.0
    for age in range(1, window):
        total += (window - age) * (values[t - age] - values[t])
    return total / (window * (window + 1) / 2)


@njit(cache=True)
def weighted_average(values: Floats, first: int, window: int) -> Floats:
    """Return the linearly weighted moving average (newest weighs most); values before ``first`` do not exist."""
    out = np.full(len(values), np.nan)
    for t in range(first + window - 1, len(values)):
        out[t] = weighted_average_at(values, t, window)
    return out


@njit(cache=True)
def weighted_average_at(values: Floats, t: int, window: int) -> float:
    """Return the linearly weighted average of the ``window`` values up to row ``t``."""
    return float(values[t] + _weighted_offset(values, t, window))


@njit(cache=True)
def average_side(values: Floats, fast: int, slow: int, tie_frac: float) -> NDArray[np.int8]:
    """Return int8[T]: sign of WMA(fast) - WMA(slow), 0 before ``slow`` bars or when closer than ``tie_frac``."""
    out = np.zeros(len(values), np.int8)
    for t in range(slow - 1, len(values)):
        out[t] = average_side_at(values, t, fast, slow, tie_frac)
    return out


@njit(cache=True)
def average_side_at(values: Floats, t: int, fast: int, slow: int, tie_frac: float) -> int:
    """Return the sign of WMA(fast) - WMA(slow) at row ``t``; 0 when closer than ``tie_frac``."""
    difference = _weighted_offset(values, t, fast) - _weighted_offset(values, t, slow)
    if abs(difference) > tie_frac * values[t]:
        return 1 if difference > 0.0 else -1
    return 0


@njit(cache=True)
def _select(values: Floats, count: int, rank: int) -> float:
    """Return the ``rank``-th smallest of ``values[:count]``, reordering them (Hoare's FIND)."""
    left = 0
    right = count - 1
    while left < right:
        pivot = values[(left + right) // 2]
        i = left
        j = right
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if j < rank:
            left = i
        if rank < i:
            right = j
    return float(values[rank])


@njit(cache=True)
def _nearest_vote(distances: Floats, scratch: Floats, labels: NDArray[np.int8], count: int, neighbours: int) -> float:
    """Return the label sum of the nearest ``neighbours`` of ``count``, divided by ``neighbours``; ties to the older."""
    limit = np.inf
    if count > neighbours:
        for i in range(count):  # a slice assignment would compile numpy's shape errors, for seconds
            scratch[i] = distances[i]
        limit = _select(scratch, count, neighbours - 1)
    total = 0
    taken = 0
    for i in range(count):
        if distances[i] < limit:
            total += labels[i]
            taken += 1
    for i in range(count):
        if distances[i] == limit and taken < neighbours:
            total += labels[i]
            taken += 1
    return total / neighbours


@njit(cache=True)
def cross_votes(
    slow_point: Floats, fast_point: Floats, side: NDArray[np.int8], close: Floats, neighbours: int
) -> Floats:
    """Return float64[T, 2]: mlmi_value and mlmi_signal.

    A cross is a change of ``side`` between its nonzero values. It waits until the next cross and is stored then, once,
    with its label: the sign of what the close did between the two.
    """
    length = len(close)
    out = np.full((length, 2), np.nan)
    marks = np.zeros(3, np.int64)
    waiting = np.zeros(3)
    stored = np.empty((length, 2))
    labels = np.empty(length, np.int8)
    distances = np.empty(length)
    scratch = np.empty(length)
    for t in range(length):
        if math.isnan(slow_point[t]) or math.isnan(fast_point[t]):
            continue
        cross = cross_step(marks, waiting, stored, labels, slow_point[t], fast_point[t], side[t], close[t])
        value = vote(stored, labels, distances, scratch, marks[0], slow_point[t], fast_point[t], neighbours)
        out[t, 0] = value
        out[t, 1] = cross if cross * value > 0.0 else 0.0
    return out


@njit(cache=True)
def cross_step(
    marks: NDArray[np.int64],
    waiting: Floats,
    stored: Floats,
    labels: NDArray[np.int8],
    slow_point: float,
    fast_point: float,
    side: int,
    close: float,
) -> int:
    """Return the direction of a cross on this bar, else 0; store the cross before it with its label.

    ``marks`` int64[3] holds stored crosses, whether one waits, and the last nonzero side; ``waiting`` float64[3] the
    point and the close of the one that waits. Both are written to.
    """
    if side == 0 or side == marks[2]:
        return 0
    cross = 0
    if marks[2] != 0:
        cross = side
        if marks[1] != 0:
            count = marks[0]
            stored[count, 0] = waiting[0]
            stored[count, 1] = waiting[1]
            labels[count] = np.sign(close - waiting[2])
            marks[0] = count + 1
        marks[1] = 1
        waiting[0], waiting[1], waiting[2] = slow_point, fast_point, close
    marks[2] = side
    return cross


@njit(cache=True)
def vote(
    stored: Floats,
    labels: NDArray[np.int8],
    distances: Floats,
    scratch: Floats,
    count: int,
    slow_point: float,
    fast_point: float,
    neighbours: int,
) -> float:
    """Return the vote of the ``neighbours`` of ``count`` stored crosses that lie nearest to the point."""
    for i in range(count):
        distances[i] = (stored[i, 0] - slow_point) ** 2 + (stored[i, 1] - fast_point) ** 2
    return _nearest_vote(distances, scratch, labels, count, neighbours)


@njit(cache=True)
def kernel_offset(close: Floats, weights: Floats) -> Floats:
    """Return line - close for the weighted mean of the last ``len(weights)`` closes. Exactly 0 on a flat run."""
    window = len(weights)
    mass = kernel_mass(weights)
    out = np.full(len(close), np.nan)
    for t in range(window - 1, len(close)):
        out[t] = kernel_offset_at(close, t, weights, mass)
    return out


@njit(cache=True)
def kernel_mass(weights: Floats) -> float:
    """Return the sum of the weights, newest first."""
    mass = 0.0
    for age in range(len(weights)):
        mass += weights[age]
    return mass


@njit(cache=True)
def kernel_offset_at(close: Floats, t: int, weights: Floats, mass: float) -> float:
    """Return line - close at row ``t``."""
    total = 0.0
    for age in range(1, len(weights)):
        total += weights[age] * (close[t - age] - close[t])
    return total / mass
