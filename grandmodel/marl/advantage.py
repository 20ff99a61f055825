"""Generalised advantage estimation and the running scale of returns."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from grandmodel.marl.ranks import mean_over_ranks


def advantages(
    rewards: NDArray[np.float32],
    values: NDArray[np.float32],
    bootstrap: NDArray[np.float32],
    terminated: NDArray[np.bool_],
    truncated: NDArray[np.bool_],
    gamma: float,
    gae_lambda: float,
) -> NDArray[np.float32]:
    """Return advantages [T, N] by GAE (Schulman et al. 2016, eq. 16); returns are advantages + values.

    Args:
        rewards: float32 [T, N].
        values: critic estimates of the states before each step, float32 [T, N].
        bootstrap: estimate of what follows a step that is cut: [t, n] is read where ``truncated`` (the state before
            the automatic reset) and on the last row (the state after it). Float32 [T, N].
        terminated: the episode truly ended in this step: nothing follows. Wins over ``truncated``.
        truncated: the episode was cut in this step: the estimate follows, the accumulated advantage does not.
        gamma: discount per step.
        gae_lambda: weight of longer estimates.
    """
    gains = np.empty(rewards.shape, np.float32)
    _advantages_kernel(rewards, values, bootstrap, terminated, truncated, gamma, gamma * gae_lambda, gains)
    return gains


@njit(cache=True, nogil=True)
def _advantages_kernel(
    rewards: NDArray[np.float32],
    values: NDArray[np.float32],
    bootstrap: NDArray[np.float32],
    terminated: NDArray[np.bool_],
    truncated: NDArray[np.bool_],
    gamma: float,
    decay: float,
    gains: NDArray[np.float32],
) -> None:
    steps, copies = rewards.shape
    for step in range(steps - 1, -1, -1):
        for copy in range(copies):
            cut = truncated[step, copy]
            following = bootstrap[step, copy] if cut or step == steps - 1 else values[step + 1, copy]
            later = 0.0 if cut or step == steps - 1 else decay * gains[step + 1, copy]
            later = 0.0 if terminated[step, copy] else gamma * following + later
            gains[step, copy] = rewards[step, copy] + later - values[step, copy]


@dataclass(slots=True)
class ReturnScale:
    """Running mean and deviation of returns, unbiased from the first update on (Yu et al. 2022)."""

    decay: float = 0.95
    weight: float = 0.0
    weighted_mean: float = 0.0
    weighted_square: float = 0.0

    def update(self, returns: NDArray[np.float32]) -> None:
        """Take in one rollout of returns, of all ranks."""
        self.weight = self.decay * self.weight + 1 - self.decay
        mean, square = float(np.mean(returns, dtype=np.float64)), float(np.mean(np.square(returns, dtype=np.float64)))
        mean, square = mean_over_ranks(mean, square)
        self.weighted_mean = self.decay * self.weighted_mean + (1 - self.decay) * mean
        self.weighted_square = self.decay * self.weighted_square + (1 - self.decay) * square

    @property
    def mean(self) -> float:
        """Mean of returns; 0 before the first update."""
        return self.weighted_mean / self.weight if self.weight else 0.0

    @property
    def deviation(self) -> float:
        """Standard deviation of returns, at least 1e-4; 1 before the first update."""
        if not self.weight:
            return 1.0
        return math.sqrt(max(self.weighted_square / self.weight - self.mean**2, 1e-8))
