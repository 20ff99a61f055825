"""Serving: all agents of one or more teams decide in one compiled call, and say how sure they are; without torch.

The weights of an agent lie behind each other in one row, widths padded to whole vectors. A mixture layer is folded: its
unitary into the gate, its embeddings into the last layer, which then reads the state probabilities as K more inputs.
Sums run in vectors, so logits are within 1e-5 of ``TeamPolicy.logits`` and not bit for bit: replays keep to that one.

Monte Carlo dropout (Gal and Ghahramani 2016): the same decision under N dropout masks. Masks come from a counter-based
generator, so sample n of an agent is the same whatever is drawn beside it. The first layer's product is shared by all.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.core.philox import fill_masks, new_words
from grandmodel.core.vector import compile_once, exp, log, multiply, padded, tanh
from grandmodel.market.mixture import (
    EMBEDDINGS,
    MIX,
    NONE,
    SOFTMAX,
    STATES,
    Floats,
    fold_gate,
    state_probabilities,
)
from grandmodel.market.policy import TeamPolicy
from grandmodel.market.team import FLAT, TRIPLE_SIZE

TILE = 128  # samples worked off together, so that they stay in the cache
F = np.float32
KIND, SIZE, COUNT, VOTES_AT, FIRST = range(5)  # columns of a plan
GATE = padded(2 * STATES)


class Uncertainty(NamedTuple):
    """How sure each agent is, over its dropout samples; entropies in nats."""

    probabilities: Floats  # [A, actions_max], mean over the samples, 0 for actions an agent lacks
    predictive_entropy: NDArray[np.float64]  # [A], of the mean
    expected_entropy: NDArray[np.float64]  # [A], mean of the samples'
    mutual_information: NDArray[np.float64]  # [A], the difference: what the samples disagree about
    samples: Floats  # [A, N, actions_max], each sample's probabilities


class Network(NamedTuple):
    """Views of one agent's row of parameters."""

    weight0: Floats  # [D, H]
    bias0: Floats  # [1, H]
    weight1: Floats  # [H, H]
    bias1: Floats
    gate: Floats  # [H, GATE]
    gate_bias: Floats
    mix: Floats  # [K, K]
    top: Floats  # [H + K, O], for hidden layer and state probabilities
    top_bias: Floats


class FusedInference:
    """The agents of ``policies`` at work, one after the other in acting order, each team for itself.

    Write what each agent sees into ``observations`` [A, D] (zeros behind its own numbers), leaving out the triples of
    earlier agents: ``decide`` fills them in. One object serves one thread.
    """

    def __init__(self, policies: Sequence[TeamPolicy]) -> None:
        """Lay out the weights. Raises ConfigError when no policy is given."""
        if not policies:
            raise ConfigError("inference", "needs at least one team", 0)
        self.agents = tuple(agent for policy in policies for agent in policy.spec.agents)
        inputs = max(policy.spec.observation_size for policy in policies)
        hidden = padded(max(policy.hidden for policy in policies))
        outputs = padded(max(policy.spec.actions_max for policy in policies))
        self._widths = np.array([inputs, hidden, outputs], np.int64)
        pairs = [(policy, agent) for policy in policies for agent in range(len(policy.spec.agents))]
        self._parameters = np.stack([_row(policy, agent, inputs, hidden, outputs) for policy, agent in pairs])
        self._plan = _plan(policies)
        self._scratch = np.zeros(_scratch_size(hidden, outputs), F)
        self._words = new_words(TILE, 2 * hidden)
        self.observations = np.zeros((len(self.agents), inputs), F)
        self.probabilities = np.zeros((len(self.agents), outputs), F)
        self.actions = np.zeros(len(self.agents), np.int64)

    def decide(self) -> NDArray[np.int64]:
        """Return the greedy actions [A], the lowest among equals; ``probabilities`` [A, O] then holds the chances.

        The returned array is reused by the next call. Raises DataError naming the agent that sees no number.
        """
        broken = _decide(
            self._parameters,
            self._plan,
            self._widths,
            self._scratch,
            self.observations,
            self.probabilities,
            self.actions,
        )
        if broken >= 0:
            self._refuse(broken)
        return self.actions

    def uncertainty(self, *, samples: int, rate: float, seed: int, agents: range | None = None) -> Uncertainty:
        """Return how sure ``agents`` (all, if None) are of what they see now, votes of earlier agents included.

        Args:
            samples: dropout masks an agent, 1 or more.
            rate: share of the units of both hidden layers that is dropped, in steps of 1 / 65536; 0 or more, below 1.
            seed: of the masks; equal seeds give equal masks.
            agents: which agents; the fields of the others are zero.

        Raises:
            ConfigError: samples, rate, seed or agents out of range.
            DataError: naming the agent that sees no number.
        """
        if samples < 1 or not 0.0 <= rate < 1.0 - 1e-4:
            raise ConfigError("MC dropout", "needs samples >= 1 and 0 <= rate < 1", (samples, rate))
        if not 0 <= seed < 2**63:
            raise ConfigError("MC dropout", "seed must lie in 0 to 2^63 - 1", seed)
        everyone = range(len(self.agents))
        chosen = everyone if agents is None else agents
        if any(agent not in everyone for agent in chosen):
            raise ConfigError("MC dropout", f"agents must lie in {everyone}", agents)
        drawn = np.zeros((len(self.agents), samples, int(self._plan[:, COUNT].max())), F)
        means, entropies = np.zeros((len(self.agents), drawn.shape[2])), np.zeros((2, len(self.agents)))
        for agent in chosen:
            sees_numbers = _sample(
                self._parameters,
                self._plan,
                self._widths,
                self._scratch,
                self._words,
                self.observations,
                agent,
                rate,
                seed,
                drawn,
                means,
                entropies,
            )
            if not sees_numbers:
                self._refuse(agent)
        # Rounding alone may push the difference below zero where all samples agree.
        information = np.maximum(entropies[0] - entropies[1], 0.0)
        return Uncertainty(means.astype(F), entropies[0], entropies[1], information, drawn)

    def _refuse(self, agent: int) -> None:
        rule = "all it sees must be finite"
        raise DataError(f"observation of {self.agents[agent]}", rule, self.observations[agent].tolist())


def abstain(
    actions: NDArray[np.int64], voters: Sequence[int], uncertainty: Uncertainty, entropy_max: float
) -> NDArray[np.int64]:
    """Return ``actions`` [A] with those of ``voters`` flat whose predictive entropy exceeds ``entropy_max`` nats.

    Entropies that are not numbers abstain too. Which threshold keeps which share of the votes at which risk is
    measured on data the team was not trained on; ``docs/uncertainty.md`` has a curve.
    """
    kept = actions.copy()
    for agent in voters:
        if not uncertainty.predictive_entropy[agent] <= entropy_max:
            kept[agent] = FLAT
    return kept


def _plan(policies: Sequence[TeamPolicy]) -> NDArray[np.int64]:
    """Return per agent, with all teams behind each other, the columns KIND to FIRST."""
    rows, first = [], 0
    for policy in policies:
        layout = policy.spec.layout
        for agent, count in enumerate(policy.spec.action_counts):
            at = int(layout.triples_at[agent])
            rows.append((policy.mixture, at + TRIPLE_SIZE * agent, count, at, first))
        first += len(policy.spec.agents)
    return np.array(rows, np.int64)


def _row(policy: TeamPolicy, agent: int, inputs: int, hidden: int, outputs: int) -> Floats:
    """Return one agent's parameters, padded and folded, in the order of ``Network``."""
    weights, own = policy.weights, policy.hidden
    layers = [(weights[f"actor.{n}.weight"][agent], weights[f"actor.{n}.bias"][agent]) for n in range(3)]
    gate, gate_bias = np.zeros((own, 2 * STATES), F), np.zeros(2 * STATES, F)
    mix, top = np.zeros((STATES, STATES), F), np.zeros((hidden + STATES, outputs), F)
    top[:own, : policy.spec.actions_max] = layers[2][0]
    if policy.mixture != NONE:
        gate, gate_bias = fold_gate(weights, agent)
        votes = weights[EMBEDDINGS][agent].astype(np.float64) @ layers[2][0]
        top[hidden:, : policy.spec.actions_max] = votes
    if policy.mixture == SOFTMAX:
        mix = weights[MIX][agent]
    arrays = (
        _pad(layers[0][0], inputs, hidden),
        _pad(layers[0][1][None], 1, hidden),
        _pad(layers[1][0], hidden, hidden),
        _pad(layers[1][1][None], 1, hidden),
        _pad(gate, hidden, GATE),
        _pad(gate_bias[None], 1, GATE),
        mix,
        top,
        _pad(layers[2][1][None], 1, outputs),
    )
    return np.concatenate([np.asarray(array, F).ravel() for array in arrays])


def _pad(array: NDArray[np.floating], rows: int, columns: int) -> Floats:
    out = np.zeros((rows, columns), F)
    out[: array.shape[0], : array.shape[1]] = array
    return out


def _scratch_size(hidden: int, outputs: int) -> int:
    return TILE * (hidden + (hidden + STATES) + GATE + outputs + 2 * hidden + 2 * outputs + 4) + hidden


@njit(cache=True, nogil=True, inline="always")
def _network(row: Floats, widths: NDArray[np.int64]) -> Network:
    inputs, hidden, outputs = widths[0], widths[1], widths[2]
    a = inputs * hidden
    b = a + hidden
    c = b + hidden * hidden
    d = c + hidden
    e = d + hidden * GATE
    f = e + GATE
    g = f + STATES * STATES
    h = g + (hidden + STATES) * outputs
    return Network(
        row[:a].reshape(inputs, hidden),
        row[a:b].reshape(1, hidden),
        row[b:c].reshape(hidden, hidden),
        row[c:d].reshape(1, hidden),
        row[d:e].reshape(hidden, GATE),
        row[e:f].reshape(1, GATE),
        row[f:g].reshape(STATES, STATES),
        row[g:h].reshape(hidden + STATES, outputs),
        row[h : h + outputs].reshape(1, outputs),
    )


@njit(cache=True, nogil=True, error_model="numpy")
def _squash(values: Floats) -> None:
    for i in range(len(values)):
        values[i] = tanh(values[i])


@njit(cache=True, nogil=True)
def _is_finite(values: Floats, size: int) -> bool:
    total = F(0.0)
    for i in range(size):
        total += values[i] * F(0.0)
    return bool(total == F(0.0))


@njit(cache=True, nogil=True, error_model="numpy")
def _decide(
    parameters: Floats,
    plan: NDArray[np.int64],
    widths: NDArray[np.int64],
    scratch: Floats,
    observations: Floats,
    probabilities: Floats,
    actions: NDArray[np.int64],
) -> int:
    """Let every agent decide; return -1, or the first agent that sees something not finite."""
    hidden, outputs = widths[1], widths[2]
    first = scratch[:hidden].reshape(1, hidden)
    second = scratch[hidden : 2 * hidden + STATES].reshape(1, hidden + STATES)
    gated = scratch[2 * hidden + STATES : 2 * hidden + STATES + GATE].reshape(1, GATE)
    for agent in range(len(plan)):
        kind, size, count, at = plan[agent, KIND], plan[agent, SIZE], plan[agent, COUNT], plan[agent, VOTES_AT]
        begin = plan[agent, FIRST]
        seen = observations[agent : agent + 1]
        for earlier in range(begin, agent):
            for side in range(TRIPLE_SIZE):
                seen[0, at + TRIPLE_SIZE * (earlier - begin) + side] = F(1.0) if actions[earlier] == side else F(0.0)
        if not _is_finite(seen[0], size):
            return agent
        net = _network(parameters[agent], widths)
        multiply(seen, False, net.weight0, net.bias0, first, 1, hidden, size)
        _squash(first[0])
        multiply(first, False, net.weight1, net.bias1, second, 1, hidden, hidden)
        _squash(second[0, :hidden])
        depth = hidden
        if kind != NONE:
            multiply(second, False, net.gate, net.gate_bias, gated, 1, GATE, hidden)
            state_probabilities(kind, gated[0], net.mix, second[0, hidden:])
            depth = hidden + STATES
        chances = probabilities[agent : agent + 1]
        multiply(second, False, net.top, net.top_bias, chances, 1, outputs, depth)
        actions[agent] = _softmax(chances[0], count)
    return -1


@njit(cache=True, nogil=True, error_model="numpy")
def _softmax(values: Floats, count: int) -> int:
    """Turn the first ``count`` logits into probabilities, the rest into 0; return the first of the largest."""
    best = 0
    for action in range(1, count):
        if values[action] > values[best]:
            best = action
    highest, total = values[best], F(0.0)
    for action in range(count):
        values[action] = exp(values[action] - highest)
        total += values[action]
    for action in range(count):
        values[action] /= total
    for action in range(count, len(values)):
        values[action] = F(0.0)
    return best


@njit(cache=True, nogil=True, error_model="numpy")
def _sample(
    parameters: Floats,
    plan: NDArray[np.int64],
    widths: NDArray[np.int64],
    scratch: Floats,
    words: NDArray[np.uint32],
    observations: Floats,
    agent: int,
    rate: float,
    seed: int,
    drawn: Floats,
    means: NDArray[np.float64],
    entropies: NDArray[np.float64],
) -> bool:
    """Fill ``drawn[agent]`` [N, K], its mean and the entropies [2] (of the mean, mean of the samples') of one agent.

    Return whether all it sees is finite.
    """
    kind, size, count = plan[agent, KIND], plan[agent, SIZE], plan[agent, COUNT]
    hidden, outputs = widths[1], widths[2]
    seen = observations[agent : agent + 1]
    if not _is_finite(seen[0], size):
        return False
    net = _network(parameters[agent], widths)
    at = hidden
    shared = scratch[:at].reshape(1, hidden)
    first = scratch[at : at + TILE * hidden].reshape(TILE, hidden)
    at += TILE * hidden
    second = scratch[at : at + TILE * (hidden + STATES)].reshape(TILE, hidden + STATES)
    at += TILE * (hidden + STATES)
    gated = scratch[at : at + TILE * GATE].reshape(TILE, GATE)
    at += TILE * GATE
    logits = scratch[at : at + TILE * outputs].reshape(TILE, outputs)
    at += TILE * outputs
    masks = scratch[at : at + TILE * 2 * hidden].reshape(TILE, 2 * hidden)
    at += TILE * 2 * hidden
    columns = scratch[at : at + TILE * (2 * outputs + 4)].reshape(2 * outputs + 4, TILE)

    multiply(seen, False, net.weight0, net.bias0, shared, 1, hidden, size)
    _squash(shared[0])
    entropy, samples = 0.0, drawn.shape[1]
    for begin in range(0, samples, TILE):
        rows = min(samples - begin, TILE)
        fill_masks(seed, agent, begin, rate, words, masks[:rows])
        for s in range(rows):
            for j in range(hidden):
                first[s, j] = shared[0, j] * masks[s, j]
        multiply(first, False, net.weight1, net.bias1, second, rows, hidden, hidden)
        for s in range(rows):
            for j in range(hidden):
                second[s, j] = tanh(second[s, j]) * masks[s, hidden + j]
        depth = hidden
        if kind != NONE:
            multiply(second, False, net.gate, net.gate_bias, gated, rows, GATE, hidden)
            for s in range(rows):
                state_probabilities(kind, gated[s], net.mix, second[s, hidden:])
            depth = hidden + STATES
        multiply(second, False, net.top, net.top_bias, logits, rows, outputs, depth)
        entropy += _softmax_of_tile(logits, count, rows, columns, drawn[agent, begin : begin + rows])
    for action in range(count):
        total = 0.0
        for s in range(samples):
            total += drawn[agent, s, action]
        means[agent, action] = total / samples
        if total > 0.0:
            entropies[0, agent] -= means[agent, action] * math.log(means[agent, action])
    entropies[1, agent] = entropy / samples
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _softmax_of_tile(logits: Floats, count: int, rows: int, columns: Floats, chances: Floats) -> float:
    """Write the probabilities of ``rows`` samples to ``chances`` [rows, O]; return the sum of their entropies.

    Action by action, so that samples fill the vectors.
    """
    compile_once()
    highest, total, weighted = columns[0], columns[1], columns[2]
    for s in range(rows):
        highest[s] = logits[s, 0]
        total[s] = F(0.0)
        weighted[s] = F(0.0)
    for action in range(1, count):
        for s in range(rows):
            highest[s] = max(highest[s], logits[s, action])
    for action in range(count):
        for s in range(rows):
            columns[4 + action, s] = logits[s, action] - highest[s]
    for action in range(count):
        shifted, odds = columns[4 + action], columns[4 + count + action]
        for s in range(rows):
            odds[s] = exp(shifted[s])
            total[s] += odds[s]
            weighted[s] += odds[s] * shifted[s]
    entropy = 0.0
    for s in range(rows):
        weighted[s] = log(total[s]) - weighted[s] / total[s]
    for s in range(rows):
        entropy += weighted[s]
    for action in range(count):
        odds = columns[4 + count + action]
        for s in range(rows):
            chances[s, action] = odds[s] / total[s]
    return entropy
