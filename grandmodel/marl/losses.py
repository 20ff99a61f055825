"""Losses of the fused path and their derivatives, in compiled code; ``autograd`` has them in readable form."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from grandmodel.core.vector import compile_once, exp, log
from grandmodel.marl.perceptron import F, Floats, Tile


class Rules(NamedTuple):
    """What the losses ask."""

    action_counts: NDArray[np.int64]  # [A]
    clip: float
    entropy: float
    value_coefficient: float
    gradient_norm_max: float


@njit(cache=True, nogil=True, error_model="numpy")
def softmax(outputs: Floats, count: int, rows: int, scratch: Floats) -> None:
    """Write row 0 total and row 1 its log, rows 6 on the shifted logits and then their exponentials, by action."""
    total, log_total = scratch[0], scratch[1]
    for action in range(count):
        for s in range(rows):
            scratch[6 + action, s] = outputs[s, action]
    for s in range(rows):
        total[s] = scratch[6, s]
    for action in range(1, count):
        for s in range(rows):
            total[s] = max(total[s], scratch[6 + action, s])
    for action in range(count):
        for s in range(rows):
            shifted = scratch[6 + action, s] - total[s]
            scratch[6 + action, s] = shifted
            scratch[6 + count + action, s] = exp(shifted)
    total[:rows] = F(0.0)
    for action in range(count):
        for s in range(rows):
            total[s] += scratch[6 + count + action, s]
    for s in range(rows):
        log_total[s] = log(total[s])


@njit(cache=True, nogil=True, error_model="numpy")
def policy_slopes(
    tile: Tile,
    taken: NDArray[np.int64],
    old_log_probs: Floats,
    gains: Floats,
    index: NDArray[np.int64],
    count: int,
    rules: Rules,
    share: float,
    statistics: NDArray[np.float64],
) -> None:
    """Replace the logits in the tile's outputs by the derivatives of the actor's loss, and add to the statistics.

    The clipped loss less the entropy bonus (Schulman et al. 2017, eq. 7 and 9).
    """
    compile_once()
    rows, scratch, outputs = len(index), tile.scratch, tile.outputs
    softmax(outputs, count, rows, scratch)
    total, log_total, log_ratio, choice, gain, entropy = (
        scratch[0],
        scratch[1],
        scratch[2],
        scratch[3],
        scratch[4],
        scratch[5],
    )
    for s in range(rows):
        choice[s] = F(taken[index[s]])
        gain[s] = gains[index[s]]
        log_ratio[s] = -old_log_probs[index[s]]
        entropy[s] = F(0.0)
    for action in range(count):
        logs, probs = scratch[6 + action], scratch[6 + count + action]
        for s in range(rows):
            logs[s] -= log_total[s]
            probs[s] /= total[s]
            entropy[s] -= probs[s] * logs[s]
            log_ratio[s] += logs[s] if choice[s] == F(action) else F(0.0)
    low, high, bonus, part = F(1.0 - rules.clip), F(1.0 + rules.clip), F(rules.entropy * share), F(share)
    loss, bonus_sum, kl, outside = 0.0, 0.0, 0.0, 0.0
    for s in range(rows):
        ratio = exp(log_ratio[s])
        bounded = min(max(ratio, low), high)
        free, clipped = ratio * gain[s], bounded * gain[s]
        # Where the clipped term is the smaller, it is constant.
        total[s] = -part * free if free <= clipped else F(0.0) * free
        gain[s] = -min(free, clipped)
        log_total[s] = ratio - F(1.0) - log_ratio[s]
        log_ratio[s] = F(1.0) if abs(ratio - F(1.0)) > F(rules.clip) else F(0.0)
    for action in range(count):
        logs, probs = scratch[6 + action], scratch[6 + count + action]
        for s in range(rows):
            hit = F(1.0) if choice[s] == F(action) else F(0.0)
            logs[s] = total[s] * (hit - probs[s]) + bonus * probs[s] * (logs[s] + entropy[s])
    for s in range(rows):
        for action in range(count):
            outputs[s, action] = scratch[6 + action, s]
        for action in range(count, outputs.shape[1]):
            outputs[s, action] = F(0.0)
        loss += gain[s]
        bonus_sum += entropy[s]
        kl += log_total[s]
        outside += log_ratio[s]
    statistics[0] += loss
    statistics[2] += bonus_sum
    statistics[3] += kl
    statistics[4] += outside


@njit(cache=True, nogil=True)
def value_slopes(
    outputs: Floats, old: Floats, targets: Floats, index: NDArray[np.int64], clip: float, share: float
) -> float:
    """Replace the estimates by the derivatives of the critic's loss; return the sum of the worse squared errors."""
    bound, part, loss = F(clip), F(share), 0.0
    for s in range(len(index)):
        target, before, value = targets[index[s]], old[index[s]], outputs[s, 0]
        error, moved = value - target, value - before
        clipped = before + min(max(moved, -bound), bound) - target
        # Where the clipped error is the larger, it is constant; within the bound both are one but for rounding.
        free = abs(moved) <= bound or error * error >= clipped * clipped
        outputs[s, 0] = part * error if free else F(0.0) * error
        loss += max(error * error, clipped * clipped)
        for column in range(1, outputs.shape[1]):
            outputs[s, column] = F(0.0)
    return loss
