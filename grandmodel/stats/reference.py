"""Slow, obvious twins of the fast paths of this room; tests hold the two together."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from grandmodel.stats.trials import Trials

Values = np.ndarray[tuple[int], np.dtype[np.float64]]


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


def log_evidence_symmetric(values: Values, precision: float, *, points: int = 20_001) -> Values:
    """Return the mixture over bets as a plain sum over a grid of bets. Twin of ``log_evidence_symmetric``."""
    largest = 12.0 / np.sqrt(precision)  # deviations of the half normal beyond which nothing weighs
    bets = np.linspace(0.0, largest, points)
    weights = np.sqrt(2.0 * precision / np.pi) * np.exp(-precision * bets**2 / 2.0) * (bets[1] - bets[0])
    weights[0] /= 2.0
    found = [np.log(weights @ np.exp(bets * sum(values[: t + 1]) - bets**2 / 2.0 * sum(values[: t + 1] ** 2)))
             for t in range(len(values))]  # fmt: skip
    return np.array(found)


def log_evidence_bounded(values: Values, mean_max: float) -> Values:
    """Return the mean capital of nineteen gamblers, bet by bet. Twin of ``log_evidence_bounded``."""
    capitals, path = [1.0] * 19, []
    for value in values.tolist():
        for gambler in range(19):
            share = (gambler + 1) / 20.0
            capitals[gambler] *= 1.0 + share * (value - mean_max) / mean_max
        path.append(np.log(sum(capitals) / 19.0))
    return np.array(path)


def _sharpe(returns: np.ndarray[tuple[int], np.dtype[np.float64]]) -> float:
    return float(returns.mean() / returns.std(ddof=1)) if np.any(returns) else 0.0
