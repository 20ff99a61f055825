"""Slow, obvious twins of the fast paths of tail risk and covariance: from scratch, in plain Python or plain numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from grandmodel.risk.tail import METHODS

Floats = NDArray[np.float64]


def ewma_variance(returns: Sequence[float], decay: float, first: float | None = None) -> list[float]:
    """Return the EWMA variance before each return and after the last, from ``first`` or the first return squared."""
    variance = [returns[0] ** 2 if first is None else first]
    for value in returns:
        variance.append(decay * variance[-1] + (1.0 - decay) * value**2)
    return variance


def historical_tail(returns: Sequence[float], level: float) -> tuple[float, float]:
    """Return VaR and ES from the sorted returns: the k-th smallest and the mean of the k smallest."""
    k = math.ceil(round(len(returns) * (1.0 - level), 9))
    tail = sorted(returns)[:k]
    return -tail[-1], -sum(tail) / k


def filtered_tail(returns: Sequence[float], level: float, decay: float) -> tuple[float, float]:
    """Return filtered historical VaR and ES, the EWMA started from the mean square."""
    variance = ewma_variance(returns, decay, sum(value**2 for value in returns) / len(returns))
    shapes = [value / math.sqrt(before) for value, before in zip(returns, variance[:-1], strict=True)]
    var, es = historical_tail(shapes, level)
    return var * math.sqrt(variance[-1]), es * math.sqrt(variance[-1])


def six_tails(window: Floats, levels: tuple[float, ...]) -> Floats:
    """Return float64[6, L, 2]: each readable method at each level."""
    risks = [[method(window, level) for level in levels] for method in METHODS.values()]
    return np.array([[(risk.var_frac, risk.es_frac) for risk in row] for row in risks])


def rolling_tails(returns: Floats, levels: tuple[float, ...], window: int) -> Floats:
    """Return float64[n, 6, L, 2]: the readable methods over the window ahead of each return."""
    empty = np.full((6, len(levels), 2), np.nan)
    rows = [empty if t < window else six_tails(returns[t - window : t], levels) for t in range(len(returns))]
    return np.array(rows)


def ewma_covariance(returns: Floats, decay: float, first: Floats | None = None) -> Floats:
    """Return the EWMA covariance after the last row of ``returns`` (float64[T, N]), from ``first`` or the first row."""
    covariance = np.outer(returns[0], returns[0]) if first is None else first
    for row in returns:
        covariance = decay * covariance + (1.0 - decay) * np.outer(row, row)
    return covariance


def mean_correlation(returns: Floats, decay: float) -> float:
    """Return the mean correlation without a matrix, by its definition: two EWMAs of standardised sums."""
    squares = [np.array(ewma_variance(column.tolist(), decay)[1:]) for column in returns.T]
    standardised = returns / np.sqrt(np.array(squares).T)
    total = ewma_variance(standardised.sum(axis=1).tolist(), decay)[-1]
    norm = ewma_variance(np.sqrt((standardised**2).sum(axis=1)).tolist(), decay)[-1]
    assets = returns.shape[1]
    return float((assets * total / norm - assets) / (assets * (assets - 1)))


def eigenvalue_share(covariance: Floats) -> float:
    """Return the largest eigenvalue of the correlations over N, by a full decomposition."""
    deviation = np.sqrt(np.diag(covariance))
    return float(np.linalg.eigvalsh(covariance / np.outer(deviation, deviation))[-1]) / len(covariance)


def book_tails(returns: Floats, weights: Floats, levels: tuple[float, ...], horizon_bars: tuple[int, ...]) -> Floats:
    """Return float64[H, 6, L, 2] of a book over the window ``returns`` (float64[T, N])."""
    one_bar = six_tails(np.array([sum(row * weights) for row in returns]), levels)
    return np.array([one_bar * math.sqrt(bars) for bars in horizon_bars])
