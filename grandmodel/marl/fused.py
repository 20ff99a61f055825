"""The learner on a CPU in compiled code: the same numbers as ``autograd``, many times faster.

Parameters stay in the torch tensors of the stacks, which compiled code reads and writes in place, so that checkpoints,
export and the torch path see one and the same thing.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from grandmodel.core.config import TeamParams
from grandmodel.marl.acting import ActorWeights, CompiledActors, values_kernel
from grandmodel.marl.fused_kernels import Moments, Samples, add_gradients, improve_team
from grandmodel.marl.losses import Rules
from grandmodel.marl.networks import Stack
from grandmodel.marl.perceptron import Side, load_weights, new_side
from grandmodel.marl.rollout import Batch


class FusedLearner:
    """Inference, gradients and steps of one team on the CPU."""

    def __init__(self, actors: Stack, critic: Stack, action_counts: tuple[int, ...], params: TeamParams) -> None:
        self.actors, self.critic = actors, critic
        self.action_counts, self.params = action_counts, params
        self._sides = side_of(actors), side_of(critic)
        self._rules = Rules(
            action_counts=np.array(action_counts, np.int64),
            clip=params.clip,
            entropy=params.entropy,
            value_coefficient=params.value_coefficient,
            gradient_norm_max=params.gradient_norm_max,
        )
        self._compiled_actors = CompiledActors(self._sides[0], self._rules.action_counts)
        self._statistics = np.zeros(5)
        self._load_weights()

    @property
    def portable_actors(self) -> ActorWeights:
        """The actors for another process; the weights are those of now as long as nothing is learned."""
        return ActorWeights(self.actors.widths, self.actors.flat.detach().numpy(), self._rules.action_counts)

    def begin_rollout(self, copies: int, generator: np.random.Generator) -> None:
        """Take over the parameters as they stand."""
        self._load_weights()

    def _load_weights(self) -> None:
        for side in self._sides:
            load_weights(side)

    def act(
        self,
        agents: range,
        observations: NDArray[np.float32],
        uniforms: NDArray[np.float32],
        seen: NDArray[np.float32],
        actions: NDArray[np.int64],
        log_probs: NDArray[np.float32],
    ) -> None:
        """Let ``agents`` act, see ``rollout.Actors``."""
        self._compiled_actors.act(agents, observations, uniforms, seen, actions, log_probs)

    def values(self, states: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the critic's normalised estimates [M] for states [M, S]."""
        estimates = np.empty(len(states), np.float32)
        values_kernel(self._sides[1], states, estimates)
        return estimates

    def gradients(self, batch: Batch, index: Tensor) -> Tensor:
        """Write the gradients of the minibatch ``index`` [m]; return the means named by ``autograd.STATISTICS``."""
        add_gradients(*self._sides, samples_of(batch), index.numpy(), self._rules, self._statistics)
        return torch.from_numpy(self._statistics.copy())

    def update(self, batch: Batch, index: Tensor, optimiser: torch.optim.Adam) -> Tensor:
        """Take one gradient step on the minibatch ``index`` [m]; return the same means."""
        moments = next_moments(optimiser, 0), next_moments(optimiser, 1)
        improve_team(*self._sides, samples_of(batch), index.numpy(), self._rules, moments, self._statistics)
        return torch.from_numpy(self._statistics.copy())


def side_of(stack: Stack) -> Side:
    """Return compiled code's view of ``stack``; parameters and gradients are shared."""
    assert stack.flat.grad is not None
    return new_side(stack.widths, stack.flat.detach().numpy(), stack.flat.grad.numpy())


def samples_of(batch: Batch) -> Samples:
    """Return compiled code's view of ``batch``."""
    return Samples(*(tensor.numpy() for tensor in batch))


def next_moments(optimiser: torch.optim.Adam, number: int) -> Moments:
    """Return the state of parameter group ``number`` for its next step, which is counted here."""
    group = optimiser.param_groups[number]
    state = optimiser.state[group["params"][0]]
    state["step"] += 1
    return Moments(
        first=state["exp_avg"].numpy(),
        second=state["exp_avg_sq"].numpy(),
        rate=float(group["lr"]),
        decay_first=group["betas"][0],
        decay_second=group["betas"][1],
        epsilon=group["eps"],
        steps=float(state["step"]),
    )
