"""Compiled code of the fused path: forward, loss, backward, clipping and Adam of a team in one call."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from grandmodel.marl.losses import Rules, policy_slopes, value_slopes
from grandmodel.marl.perceptron import (
    TILE,
    F,
    Floats,
    Side,
    backward,
    clear_gradients,
    forward,
    load_weights,
    store_gradients,
)


class Samples(NamedTuple):
    """One rollout, as ``rollout.Batch`` has it."""

    observations: Floats  # [A, M, D]
    states: Floats  # [M, S]
    actions: NDArray[np.int64]  # [A, M]
    log_probs: Floats  # [A, M]
    advantages: Floats  # [M]
    returns: Floats  # [M]
    values: Floats  # [M]


class Moments(NamedTuple):
    """Adam's state of one side and what its next step needs."""

    first: Floats  # [B, P]
    second: Floats  # [B, P]
    rate: float
    decay_first: float
    decay_second: float
    epsilon: float
    steps: float  # with the one about to be taken


@njit(cache=True, nogil=True)
def _gather(source: Floats, index: NDArray[np.int64], out: Floats) -> None:
    for s in range(len(index)):
        row = index[s]
        for column in range(source.shape[1]):
            out[s, column] = source[row, column]


@njit(cache=True, nogil=True)
def add_gradients(
    actors: Side,
    critic: Side,
    samples: Samples,
    index: NDArray[np.int64],
    rules: Rules,
    statistics: NDArray[np.float64],
) -> None:
    """Write both gradients of the minibatch ``index`` and the means named by ``autograd.STATISTICS``."""
    agents, size = len(samples.observations), len(index)
    shared = len(actors.flat) == 1
    share = 1.0 / (size * agents) if shared else 1.0 / size
    load_weights(actors)
    load_weights(critic)
    clear_gradients(actors)
    clear_gradients(critic)
    statistics[:] = 0.0
    for agent in range(agents):
        network = 0 if shared else agent
        for begin in range(0, size, TILE):
            part = index[begin : begin + TILE]
            _gather(samples.observations[agent], part, actors.tile.inputs)
            forward(actors, network, actors.tile.inputs, len(part))
            policy_slopes(
                actors.tile,
                samples.actions[agent],
                samples.log_probs[agent],
                samples.advantages,
                part,
                rules.action_counts[agent],
                rules,
                share,
                statistics,
            )
            backward(actors, network, len(part))
    statistics /= size * agents
    loss = 0.0
    for begin in range(0, size, TILE):
        part = index[begin : begin + TILE]
        _gather(samples.states, part, critic.tile.inputs)
        forward(critic, 0, critic.tile.inputs, len(part))
        weight = rules.value_coefficient / size
        loss += value_slopes(critic.tile.outputs, samples.values, samples.returns, part, rules.clip, weight)
        backward(critic, 0, len(part))
    statistics[1] = 0.5 * loss / size
    store_gradients(actors)
    store_gradients(critic)


@njit(cache=True, nogil=True)
def _squared_norm(values: Floats) -> float:
    """Return the sum of squares by sixteen running sums, which fit into vectors."""
    sums = np.zeros(16)
    whole = len(values) - len(values) % 16
    for i in range(0, whole, 16):
        for lane in range(16):
            sums[lane] += np.float64(values[i + lane]) * np.float64(values[i + lane])
    total = 0.0
    for lane in range(16):
        total += sums[lane]
    for i in range(whole, len(values)):
        total += np.float64(values[i]) * np.float64(values[i])
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _adam(values: Floats, gradient: Floats, first: Floats, second: Floats, moments: Moments) -> None:
    """Take one step of Adam (Kingma and Ba 2015, algorithm 1) on one network."""
    one, two = F(moments.decay_first), F(moments.decay_second)
    rest_one, rest_two = F(1.0 - moments.decay_first), F(1.0 - moments.decay_second)
    rate = F(moments.rate / (1.0 - moments.decay_first**moments.steps))
    root = F(1.0 / math.sqrt(1.0 - moments.decay_second**moments.steps))
    epsilon = F(moments.epsilon)
    for i in range(len(values)):
        first[i] = one * first[i] + rest_one * gradient[i]
        second[i] = two * second[i] + rest_two * gradient[i] * gradient[i]
        values[i] -= rate * first[i] / (np.sqrt(second[i]) * root + epsilon)


@njit(cache=True, nogil=True, error_model="numpy")
def clip_and_step(side: Side, moments: Moments, norm_max: float) -> None:
    """Scale each network's gradient to a norm of at most ``norm_max`` and take a step of Adam."""
    for network in range(len(side.flat)):
        gradient = side.gradient[network]
        scale = norm_max / (math.sqrt(_squared_norm(gradient)) + 1e-6)
        if not scale >= 1.0:  # a norm that is not a number must show
            gradient *= F(scale)
        _adam(side.flat[network], gradient, moments.first[network], moments.second[network], moments)


@njit(cache=True, nogil=True)
def improve_team(
    actors: Side,
    critic: Side,
    samples: Samples,
    index: NDArray[np.int64],
    rules: Rules,
    moments: tuple[Moments, Moments],
    statistics: NDArray[np.float64],
) -> None:
    """Take one gradient step on the minibatch ``index``."""
    add_gradients(actors, critic, samples, index, rules, statistics)
    clip_and_step(actors, moments[0], rules.gradient_norm_max)
    clip_and_step(critic, moments[1], rules.gradient_norm_max)
