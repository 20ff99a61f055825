"""Dropout of an actor's two hidden layers: consistent in training, and Monte Carlo samples as torch computes them.

In training one mask stands for one environment copy and one agent during a whole rollout, and the update uses the same
mask that the action was taken under; otherwise the probability ratios of PPO would compare two different networks
(Hausknecht and Wagener 2022, "Consistent dropout for policy gradient reinforcement learning"). Kept units are scaled by
1 / (1 - rate). Monte Carlo dropout (Gal and Ghahramani 2016) keeps only dropout active: nothing else here is random.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from grandmodel.core.philox import dropout_masks
from grandmodel.core.vector import padded


class Masks(NamedTuple):
    """Factors of the two hidden layers: 0, or 1 / (1 - rate)."""

    first: Tensor  # [A, N, H]
    second: Tensor  # [A, N, H]


class Uncertainty(NamedTuple):
    """What N dropout samples say together; entropies in nats."""

    probabilities: Tensor  # [..., K], mean over the samples
    predictive_entropy: Tensor  # [...], of the mean
    expected_entropy: Tensor  # [...], mean of the samples' entropies
    mutual_information: Tensor  # [...], the difference: what the samples disagree about


def draw_masks(seed: int, agents: int, copies: int, hidden: int, rate: float, device: torch.device) -> Masks:
    """Return masks for ``agents`` and ``copies``; equal seeds give equal masks on every device.

    They are those that serving draws for the same seed, agents being the streams and copies the samples.
    """
    width = padded(hidden)
    drawn = [torch.from_numpy(dropout_masks(seed, agent, copies, 2 * width, rate)) for agent in range(agents)]
    both = torch.stack(drawn).to(device)
    return Masks(both[..., :hidden], both[..., width : width + hidden])


def uncertainty_of(chances: Tensor) -> Uncertainty:
    """Return the summary of samples ``chances`` [..., N, K]."""
    mean = chances.mean(dim=-2)
    predictive, expected = entropy(mean), entropy(chances).mean(dim=-1)
    return Uncertainty(mean, predictive, expected, predictive - expected)


def entropy(chances: Tensor) -> Tensor:
    """Return the entropy [...] of ``chances`` [..., K]; what has no chance adds nothing."""
    return -torch.xlogy(chances, chances).sum(dim=-1)
