"""Slow, obvious twins of the learner's fast paths, for tests."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def advantages(
    rewards: NDArray[np.float32],
    values: NDArray[np.float32],
    bootstrap: NDArray[np.float32],
    terminated: NDArray[np.bool_],
    truncated: NDArray[np.bool_],
    gamma: float,
    gae_lambda: float,
) -> NDArray[np.float64]:
    """Sum discounted temporal differences forward from each step until the episode or the rollout stops."""
    steps, copies = rewards.shape
    result = np.zeros((steps, copies))
    for copy in range(copies):
        for start in range(steps):
            weight = 1.0
            for step in range(start, steps):
                if terminated[step, copy]:
                    following = 0.0
                elif truncated[step, copy] or step == steps - 1:
                    following = float(bootstrap[step, copy])
                else:
                    following = float(values[step + 1, copy])
                difference = float(rewards[step, copy]) + gamma * following - float(values[step, copy])
                result[start, copy] += weight * difference
                weight *= gamma * gae_lambda
                if terminated[step, copy] or truncated[step, copy]:
                    break
    return result
