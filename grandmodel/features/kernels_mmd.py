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
    size = len(reference)
    within = 0.0
    for i in range(size):
        for j in range(i):
            within += _kernel(reference, i, reference, j, gamma)
    within *= 2.0 / (size * (size - 1))

    out = np.full(len(points), np.nan)
    between = np.zeros(window)  # ring: sum of the bar's kernels with all reference points
    running = np.zeros((window, window))  # ring: running[t % window, n] = sum of its kernels with the n bars before it
    for t in range(first, len(points)):
        slot = t % window
        between[slot] = 0.0
        for j in range(size):
            between[slot] += _kernel(points, t, reference, j, gamma)
        for n in range(1, min(window, t - first + 1)):
            running[slot, n] = running[slot, n - 1] + _kernel(points, t, points, t - n, gamma)
        begin = t - window + 1
        if begin >= first:
            pairs = 0.0
            across = 0.0
            for s in range(begin, t + 1):
                pairs += running[s % window, s - begin]
                across += between[s % window]
            out[t] = 2.0 * pairs / (window * (window - 1)) + within - 2.0 * across / (window * size)
    return out
