"""Slow, obvious twins of the fast paths of this room; tests hold the two together."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from grandmodel.stats.trials import Trials


def overfitting_probability(trials: Trials, *, blocks: int) -> float:
    """Return PBO as the paper tells it: block by block, half by half, rank by rank. Twin of ``overfitting``."""
    table = trials.daily_returns
    size = table.shape[1] // blocks
    parts = [table[:, block * size : (block + 1) * size] for block in range(blocks)]
    worse = 0
    halves = list(combinations(range(blocks), blocks // 2))
    for half in halves:
        selecting = np.concatenate([parts[block] for block in half], axis=1)
        testing = np.concatenate([parts[block] for block in range(blocks) if block not in half], axis=1)
        best = int(np.argmax([_sharpe(row) for row in selecting]))
        found = [_sharpe(row) for row in testing]
        below = sum(value < found[best] for value in found)
        level = sum(value == found[best] for value in found)  # itself among them
        rank = below + (level + 1) / 2
        worse += rank <= (len(found) + 1) / 2
    return worse / len(halves)


def _sharpe(returns: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    return float(returns.mean() / returns.std(ddof=1)) if np.any(returns) else 0.0
