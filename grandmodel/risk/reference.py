"""Slow, obvious twins of the fast paths in this room."""

from __future__ import annotations

import math
from collections.abc import Sequence


def ewma_variance(returns: Sequence[float], decay: float) -> list[float]:
    """Return the EWMA variance before each return and after the last, seeded with the first return squared."""
    variance = [returns[0] ** 2]
    for value in returns:
        variance.append(decay * variance[-1] + (1.0 - decay) * value**2)
    return variance


def historical_tail(returns: Sequence[float], level: float) -> tuple[float, float]:
    """Return VaR and ES from the sorted returns: the k-th smallest and the mean of the k smallest."""
    k = math.ceil(round(len(returns) * (1.0 - level), 9))
    tail = sorted(returns)[:k]
    return -tail[-1], -sum(tail) / k
