"""Compiled code of the fused path for collection: actors decide, the critic estimates."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from grandmodel.marl.losses import softmax
from grandmodel.marl.perceptron import TILE, Floats, Side, Tile, forward, load_weights, new_side


class ActorWeights(NamedTuple):
    """All that a process needs to decide as the actors do."""

    widths: tuple[int, int, int, int]
    flat: Floats  # [B, P], see ``networks.Stack``
    action_counts: NDArray[np.int64]  # [A]


class CompiledActors:
    """Actors that decide without torch, and to the last bit alike for a copy whichever others are asked with it."""

    def __init__(self, side: Side, action_counts: NDArray[np.int64]) -> None:
        self._side, self._action_counts = side, action_counts

    def act(
        self,
        agents: range,
        observations: Floats,
        uniforms: Floats,
        seen: Floats,
        actions: NDArray[np.int64],
        log_probs: Floats,
    ) -> None:
        """Let ``agents`` act, see ``rollout.Actors``."""
        first, last = agents.start, agents.stop
        act_kernel(self._side, self._action_counts, first, last, observations, uniforms, seen, actions, log_probs)


def compiled_actors(weights: ActorWeights) -> CompiledActors:
    """Return actors with these weights as they stand."""
    side = new_side(weights.widths, weights.flat, np.zeros_like(weights.flat))
    load_weights(side)
    return CompiledActors(side, weights.action_counts)


@njit(cache=True, nogil=True)
def act_kernel(
    actors: Side,
    action_counts: NDArray[np.int64],
    first: int,
    last: int,
    observations: Floats,
    uniforms: Floats,
    seen: Floats,
    actions: NDArray[np.int64],
    log_probs: Floats,
) -> None:
    """Let agents ``first`` to ``last - 1`` act in all copies, with the arrays of ``rollout.Actors.act``."""
    copies, inputs = observations.shape[0], actors.tile.inputs
    for agent in range(first, last):
        network = 0 if len(actors.flat) == 1 else agent
        for begin in range(0, copies, TILE):
            rows = min(copies - begin, TILE)
            for s in range(rows):
                for column in range(inputs.shape[1]):
                    value = observations[begin + s, agent, column]
                    inputs[s, column] = value
                    seen[agent, begin + s, column] = value
            forward(actors, network, inputs, rows)
            _choose(actors.tile, action_counts[agent], rows, uniforms[agent, begin : begin + rows])
            for s in range(rows):
                actions[begin + s, agent] = np.int64(actors.tile.scratch[2, s])
                log_probs[agent, begin + s] = actors.tile.scratch[3, s]


@njit(cache=True, nogil=True)
def _choose(tile: Tile, count: int, rows: int, uniforms: Floats) -> None:
    """Write to scratch, from the tile's logits, row 2: drawn actions, and row 3: their log-probabilities.

    The first action at which the running sum of probabilities passes the uniform number is drawn.
    """
    scratch = tile.scratch
    softmax(tile.outputs, count, rows, scratch)
    total, log_total, choice, taken, running = scratch[0], scratch[1], scratch[2], scratch[3], scratch[4]
    for s in range(rows):
        choice[s] = np.float32(0.0)
        running[s] = np.float32(0.0)
        taken[s] = scratch[6, s]
    for action in range(count - 1):
        for s in range(rows):
            running[s] += scratch[6 + count + action, s]
            passed = running[s] <= uniforms[s] * total[s]
            choice[s] += np.float32(1.0) if passed else np.float32(0.0)
            taken[s] = scratch[7 + action, s] if passed else taken[s]
    for s in range(rows):
        taken[s] -= log_total[s]


@njit(cache=True, nogil=True)
def values_kernel(critic: Side, states: Floats, estimates: Floats) -> None:
    """Write the critic's estimates [M] for ``states`` [M, S]."""
    for begin in range(0, len(states), TILE):
        part = states[begin : begin + TILE]
        forward(critic, 0, part, len(part))
        for s in range(len(part)):
            estimates[begin + s] = critic.tile.outputs[s, 0]
