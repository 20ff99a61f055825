"""The optional mixture layer of an exported actor, without torch: K market states between second hidden and last layer.

``superposition`` is a complex-valued mixture layer on classical hardware, no quantum advantage claimed: amplitudes
c = a + ib from the hidden layer, brought to unit length; psi = U c with a learned unitary U; Born probabilities
p = |psi|^2. ``softmax`` is its plain twin with arrays of the same shapes: p = softmax(a + tanh(b) M). Either adds the
context sum_k p_k e_k to the hidden layer. ``grandmodel.marl.superposition`` is the text to read, and trains them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from grandmodel.core.vector import exp, tanh

STATES = 8
SMALLEST_LENGTH = np.float32(1e-12)  # squared, of the amplitudes; below it there is no direction to speak of
NONE, SUPERPOSITION, SOFTMAX = 0, 1, 2

GATE_WEIGHT, GATE_BIAS, EMBEDDINGS = "actor.mixture.gate.weight", "actor.mixture.gate.bias", "actor.mixture.states"
UNITARY, MIX = "actor.mixture.unitary", "actor.mixture.mix"
KINDS = {frozenset(): NONE, frozenset({UNITARY}): SUPERPOSITION, frozenset({MIX}): SOFTMAX}
Floats = NDArray[np.float32]


class MixtureArrays(NamedTuple):
    """The mixture layers of all agents as plain arrays for compiled code; of no agent where ``kind`` is NONE."""

    kind: int
    gate: Floats  # [A, H, 2 K], folded
    gate_bias: Floats  # [A, 2 K]
    mix: Floats  # [A, K, K], zero but for SOFTMAX
    embeddings: Floats  # [A, K, H]


def kind_of(names: Mapping[str, object] | set[str]) -> int:
    """Return which mixture arrays of these ``names`` form: NONE, SUPERPOSITION or SOFTMAX."""
    return KINDS[frozenset({UNITARY, MIX}.intersection(names))]


def shapes_of(kind: int, agents: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of the arrays of a mixture of ``kind`` for ``agents``."""
    if kind == NONE:
        return {}
    mix = {UNITARY: (agents, 2, STATES, STATES)} if kind == SUPERPOSITION else {MIX: (agents, STATES, STATES)}
    return {
        GATE_WEIGHT: (agents, hidden, 2 * STATES),
        GATE_BIAS: (agents, 2 * STATES),
        **mix,
        EMBEDDINGS: (agents, STATES, hidden),
    }


def fold_gate(weights: Mapping[str, Floats], agent: int) -> tuple[Floats, Floats]:
    """Return gate weight [H, 2 K] and bias [2 K] of one agent with the unitary multiplied in.

    U (h W + b) is linear in h, and U leaves the length as it is: normalising after the mix gives the same p.
    """
    rows = np.vstack([weights[GATE_WEIGHT][agent], weights[GATE_BIAS][agent]]).astype(np.float64)
    if UNITARY in weights:
        unitary = weights[UNITARY][agent].astype(np.float64)
        psi = (rows[:, :STATES] + 1j * rows[:, STATES:]) @ (unitary[0] + 1j * unitary[1]).T
        rows = np.hstack([psi.real, psi.imag])
    folded = rows.astype(np.float32)
    return folded[:-1], folded[-1]


def arrays_of(weights: Mapping[str, Floats]) -> MixtureArrays:
    """Return the mixture among ``weights`` for compiled code."""
    kind = kind_of(set(weights))
    if kind == NONE:
        none = np.zeros((0, 0, 0), np.float32)
        return MixtureArrays(kind, none, np.zeros((0, 0), np.float32), none, none)
    embeddings = np.array(weights[EMBEDDINGS], np.float32, order="C")
    gates, biases = zip(*(fold_gate(weights, agent) for agent in range(len(embeddings))), strict=True)
    mix = np.zeros((len(embeddings), STATES, STATES), np.float32)
    if kind == SOFTMAX:
        mix[:] = weights[MIX]
    return MixtureArrays(kind, np.stack(gates), np.stack(biases), mix, embeddings)


@njit(cache=True, nogil=True, error_model="numpy")
def state_probabilities(kind: int, gated: Floats, mix: Floats, out: Floats) -> None:
    """Write the K probabilities to ``out`` from the outputs ``gated`` [2 K] of the folded gate."""
    if kind == SUPERPOSITION:
        total = np.float32(0.0)
        for k in range(STATES):
            out[k] = gated[k] * gated[k] + gated[STATES + k] * gated[STATES + k]
            total += out[k]
        total = max(total, SMALLEST_LENGTH)
    else:
        for k in range(STATES):
            out[k] = gated[k]
        for j in range(STATES):
            x = tanh(gated[STATES + j])
            for k in range(STATES):
                out[k] += x * mix[j, k]
        highest = out[0]
        for k in range(1, STATES):
            highest = max(highest, out[k])
        total = np.float32(0.0)
        for k in range(STATES):
            out[k] = exp(out[k] - highest)
            total += out[k]
    for k in range(STATES):
        out[k] /= total


def states_of(weights: Mapping[str, Floats], hidden: Floats, agent: int) -> Floats:
    """Return the probabilities [K] of the states that ``agent`` sees in its second hidden layer ``hidden`` [H]."""
    kind, (gate, bias) = kind_of(set(weights)), fold_gate(weights, agent)
    mix = weights[MIX][agent] if kind == SOFTMAX else np.zeros((STATES, STATES), np.float32)
    out = np.empty(STATES, np.float32)
    state_probabilities(kind, hidden @ gate + bias, mix, out)
    return out
