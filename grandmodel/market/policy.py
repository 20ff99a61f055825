"""The exported policy of a team: three dense layers per agent in float32, without torch.

Arithmetic, in one stated order so that every machine gives equal bits: hidden = bias; then for each input i in rising
order hidden[j] += x[i] * weight[i, j], rounded to float32 after the product and after the sum. ``tanh`` is the rational
approximation below, within 5e-7 of the exact value. An actor trained with a mixture layer carries it (``mixture``), one
trained with dropout its rate; deciding drops nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from grandmodel.core.errors import ConfigError
from grandmodel.core.files import write_bytes_atomic
from grandmodel.core.hashing import canonical_json, hash_arrays
from grandmodel.market.mixture import NONE, STATES, MixtureArrays, arrays_of, kind_of, shapes_of, state_probabilities
from grandmodel.market.team import TeamSpec

WEIGHT_NAMES = tuple(f"actor.{layer}.{part}" for layer in range(3) for part in ("weight", "bias"))
DROPOUT = "actor.dropout"  # [1], the rate in training; optional
SPEC_KEY = "spec"

# tanh(x) = x P(x^2) / Q(x^2) on [-TANH_LIMIT, TANH_LIMIT], beyond it the value at the limit. The coefficients are a
# reweighted least-squares (Lawson) minimax fit of tanh(x) / x in x^2; lowest power first.
TANH_LIMIT = np.float32(8.0)
P0, P1, P2, P3, P4 = map(
    np.float32,
    (0.9999999403953552, 0.13438180088996887, 0.003564142854884267, 2.1773015760118142e-05, 1.5061459635035135e-08),
)
Q1, Q2, Q3, Q4 = map(
    np.float32, (0.46771499514579773, 0.026135966181755066, 0.00033991571399383247, 8.453525310869736e-07)
)
Q0 = np.float32(1.0)


class Weights(NamedTuple):
    """The layers of all agents as plain arrays for compiled code."""

    weight0: NDArray[np.float32]  # [A, D, H]
    bias0: NDArray[np.float32]  # [A, H]
    weight1: NDArray[np.float32]  # [A, H, H]
    bias1: NDArray[np.float32]
    weight2: NDArray[np.float32]  # [A, H, actions_max]
    bias2: NDArray[np.float32]
    mixture: MixtureArrays


@njit(cache=True)
def tanh_in_place(values: NDArray[np.float32]) -> None:
    """Replace float32 ``values`` by their hyperbolic tangent."""
    for i in range(len(values)):
        x = min(max(values[i], -TANH_LIMIT), TANH_LIMIT)
        y = x * x
        p = x * ((((P4 * y + P3) * y + P2) * y + P1) * y + P0)
        q = (((Q4 * y + Q3) * y + Q2) * y + Q1) * y + Q0
        values[i] = p / q


@njit(cache=True)
def dense(
    inputs: NDArray[np.float32],
    size: int,
    weight: NDArray[np.float32],
    bias: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Write bias + inputs[:size] @ weight[:size] into ``out``, summed over inputs in rising order.

    Four inputs a pass: ``out`` is read and written a quarter as often, in the same order of sums.
    """
    for j in range(len(out)):
        out[j] = bias[j]
    for i in range(0, size - 3, 4):
        a, b, c, d = inputs[i], inputs[i + 1], inputs[i + 2], inputs[i + 3]
        for j in range(len(out)):
            out[j] = out[j] + a * weight[i, j] + b * weight[i + 1, j] + c * weight[i + 2, j] + d * weight[i + 3, j]
    for i in range(size - size % 4, size):
        x = inputs[i]
        for j in range(len(out)):
            out[j] += x * weight[i, j]


@njit(cache=True)
def policy_logits(
    observation: NDArray[np.float32],
    size: int,
    agent: int,
    weights: Weights,
    hidden: NDArray[np.float32],
    logits: NDArray[np.float32],
) -> None:
    """Write the logits of ``agent`` for ``observation``, of which ``size`` numbers count; ``hidden`` is [2, H]."""
    dense(observation, size, weights.weight0[agent], weights.bias0[agent], hidden[0])
    tanh_in_place(hidden[0])
    dense(hidden[0], hidden.shape[1], weights.weight1[agent], weights.bias1[agent], hidden[1])
    tanh_in_place(hidden[1])
    if weights.mixture.kind != NONE:
        _add_context(hidden[1], agent, weights.mixture)
    dense(hidden[1], hidden.shape[1], weights.weight2[agent], weights.bias2[agent], logits)


@njit(cache=True)
def _add_context(hidden: NDArray[np.float32], agent: int, mixture: MixtureArrays) -> None:
    """Add the expected embedding of the market states to ``hidden`` [H]."""
    gated, chances = np.empty(2 * STATES, np.float32), np.empty(STATES, np.float32)
    dense(hidden, len(hidden), mixture.gate[agent], mixture.gate_bias[agent], gated)
    state_probabilities(mixture.kind, gated, mixture.mix[agent], chances)
    for k in range(STATES):
        for j in range(len(hidden)):
            hidden[j] += chances[k] * mixture.embeddings[agent, k, j]


@njit(cache=True)
def greedy_action(logits: NDArray[np.float32], count: int) -> int:
    """Return the action of the largest of the first ``count`` logits; the lowest among equals."""
    best = 0
    for action in range(1, count):
        if logits[action] > logits[best]:
            best = action
    return best


@dataclass(frozen=True)
class TeamPolicy:
    """A team and its weights, by the names in ``WEIGHT_NAMES``; with a mixture layer those in ``mixture`` as well.

    ``actor.{0,1,2}.weight`` is float32 [A, in, out], ``actor.{0,1,2}.bias`` float32 [A, out]; the first layer reads the
    padded observation, the last gives ``actions_max`` logits, of which actions that an agent lacks are ignored.
    """

    spec: TeamSpec
    weights: Mapping[str, NDArray[np.float32]]

    def __post_init__(self) -> None:
        if not set(self.weights) >= set(WEIGHT_NAMES):
            rule = f"needs exactly {WEIGHT_NAMES}, and what a mixture adds"
            raise ConfigError(f"policy {self.spec.name}", rule, sorted(self.weights))
        shapes = _shapes(self.spec, self.hidden) | self._optional_shapes()
        if set(self.weights) != set(shapes):
            raise ConfigError(f"policy {self.spec.name}", f"needs exactly {tuple(shapes)}", sorted(self.weights))
        for name, shape in shapes.items():
            array = self.weights[name]
            if array.shape != shape or array.dtype != np.float32 or not bool(np.isfinite(array).all()):
                raise ConfigError(f"policy {self.spec.name} {name}", f"must be finite float32 {shape}", array.shape)

    @property
    def hidden(self) -> int:
        """Return the width of the hidden layers."""
        return int(self.weights["actor.0.weight"].shape[-1])

    @property
    def mixture(self) -> int:
        """Return the kind of mixture layer: NONE, SUPERPOSITION or SOFTMAX."""
        return kind_of(set(self.weights))

    @property
    def dropout(self) -> float:
        """Return the dropout rate of the training, 0 where there was none."""
        return float(self.weights[DROPOUT][0]) if DROPOUT in self.weights else 0.0

    def _optional_shapes(self) -> dict[str, tuple[int, ...]]:
        dropout = {DROPOUT: (1,)} if DROPOUT in self.weights else {}
        return shapes_of(self.mixture, len(self.spec.agents), self.hidden) | dropout

    @cached_property
    def arrays(self) -> Weights:
        """Return the weights as contiguous arrays for compiled code."""
        a, b, c, d, e, f = (np.array(self.weights[name], np.float32, order="C") for name in WEIGHT_NAMES)
        return Weights(a, b, c, d, e, f, arrays_of(self.weights))

    def logits(self, observation: NDArray[np.float32], agent: int) -> NDArray[np.float32]:
        """Return the logits [own actions] of agent number ``agent`` for one ``observation`` [observation_size]."""
        size = self.spec.observation_sizes[agent]
        if observation.shape not in ((size,), (self.spec.observation_size,)) or observation.dtype != np.float32:
            subject = f"observation of {self.spec.agents[agent]}"
            raise ConfigError(subject, f"must be float32 [{size}]", observation.shape)
        hidden, logits = np.empty((2, self.hidden), np.float32), np.empty(self.spec.actions_max, np.float32)
        policy_logits(np.ascontiguousarray(observation), size, agent, self.arrays, hidden, logits)
        return logits[: self.spec.action_counts[agent]]

    def probabilities(self, observation: NDArray[np.float32], agent: int) -> NDArray[np.float32]:
        """Return the action probabilities [own actions] of agent number ``agent`` for one ``observation``."""
        logits = self.logits(observation, agent)
        odds = np.exp(logits - logits.max())
        return np.asarray(odds / odds.sum(), np.float32)

    def act(self, observation: NDArray[np.float32], agent: int) -> int:
        """Return the greedy action of agent number ``agent``; the lowest among equals."""
        return int(np.argmax(self.logits(observation, agent)))

    def hash(self) -> str:
        """Return the hex SHA-256 of the weights."""
        return hash_arrays(self.weights)

    def save(self, path: Path) -> None:
        """Write spec and weights as one safetensors file, atomically."""
        tensors = {name: np.ascontiguousarray(self.weights[name]) for name in sorted(self.weights)}
        write_bytes_atomic(path, save(tensors, metadata={SPEC_KEY: canonical_json(self.spec.to_dict())}))

    @classmethod
    def load(cls, path: Path, spec: TeamSpec | None = None) -> TeamPolicy:
        """Read a policy with the team it was saved for, or for exactly ``spec`` where given.

        Raises ConfigError when the file is broken or made for another team.
        """
        try:
            with safe_open(path, framework="np") as stream:
                found = TeamSpec.from_dict(json.loads((stream.metadata() or {})[SPEC_KEY]))
                weights = {name: np.array(stream.get_tensor(name)) for name in stream.keys()}  # noqa: SIM118
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise ConfigError(str(path), "must be a safetensors file of a team policy", str(error)) from error
        if spec is not None and found != spec:
            raise ConfigError(str(path), f"must be a policy of {spec}", found)
        return cls(found, weights)


def random_policy(spec: TeamSpec, hidden: int, generator: np.random.Generator, scale: float = 0.3) -> TeamPolicy:
    """Return a policy with normal weights of standard deviation ``scale``, a baseline without any training."""
    shapes = _shapes(spec, hidden)
    draws = {name: generator.normal(0.0, scale, shapes[name]).astype(np.float32) for name in WEIGHT_NAMES}
    return TeamPolicy(spec, draws)


def _shapes(spec: TeamSpec, hidden: int) -> dict[str, tuple[int, ...]]:
    widths = (spec.observation_size, hidden, hidden, spec.actions_max)
    shapes: dict[str, tuple[int, ...]] = {}
    for layer in range(3):
        shapes[f"actor.{layer}.weight"] = (len(spec.agents), widths[layer], widths[layer + 1])
        shapes[f"actor.{layer}.bias"] = (len(spec.agents), widths[layer + 1])
    return shapes
