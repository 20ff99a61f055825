"""Compiled loop of the rolling maximum mean discrepancy."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from grandmodel.features.kernels import Floats


@njit(cache=True)
def _kernel(left: Floats, i: int, right: Floats, j: int, gamma: float) -> float:
    squared = 0.0
    for c in range(left.shape[1]):
        squared += (left[i, c] - right[j, c]) ** 2
    return math.exp(-gamma * squared)


@njit(cache=True)
def mmd_scores(points: Floats, first: int, reference: Floats, gamma: float, window: int) -> Floats:
    """Return the unbiased squared MMD of the last ``window`` points against ``reference`` (Gretton et al. 2012, eq. 3).

    ``points`` float64[T, 3] exist from row ``first`` on, ``reference`` is float64[M, 3], both standardised alike;
    kernel exp(-gamma d^2). Each new bar costs M + window kernels and window additions: its kernels with its
    predecessors are kept as running sums, so the pairs inside any later window are read off, and nothing is ever
    subtracted that could leave drift behind.
    """
    within = mean_within(reference, gamma)
    out = np.full(len(points), np.nan)
    between = np.zeros(window)
    running = np.zeros((window, window))
    for t in range(first, len(points)):
        out[t] = mmd_step(points, t, t - first, between, running, reference, gamma, within)
    return out


@njit(cache=True)
def mean_within(reference: Floats, gamma: float) -> float:
    """Return the mean kernel of all pairs of different reference points."""
    size = len(reference)
    within = 0.0
    for i in range(size):
        for j in range(i):
            within += _kernel(reference, i, reference, j, gamma)
    within *= 2.0 / (size * (size - 1))
    return within


@njit(cache=True)
def mmd_step(
    points: Floats,
    row: int,
    seen: int,
    between: Floats,
    running: Floats,
    reference: Floats,
    gamma: float,
    within: float,
) -> float:
    """Take the point at ``row`` into the running sums; return the score, NaN until the window is full.

    ``seen`` points came before it and lie above it in ``points``. Both rings are written to, at ``n % window``:
    ``between`` float64[window] holds each point's kernels with the reference, summed; ``running``
    float64[window, window] at [.., n] the sum of its kernels with the n points before it.
    """
    size = len(reference)
    window = len(between)
    slot = seen % window
    between[slot] = 0.0
    for j in range(size):
        between[slot] += _kernel(points, row, reference, j, gamma)
    for n in range(1, min(window, seen + 1)):
        running[slot, n] = running[slot, n - 1] + _kernel(points, row, points, row - n, gamma)
    begin = seen - window + 1
    if begin < 0:
        return np.nan
    pairs = 0.0
    across = 0.0
    for s in range(begin, seen + 1):
        pairs += running[s % window, s - begin]
        across += between[s % window]
    return 2.0 * pairs / (window * (window - 1)) + within - 2.0 * across / (window * size)
