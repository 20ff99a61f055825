"""Collection: let the team play into preallocated buffers that torch shares without copying."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from grandmodel.core.errors import TrainingError
from grandmodel.marl import ranks
from grandmodel.marl.acting import ActorWeights
from grandmodel.marl.advantage import ReturnScale, advantages
from grandmodel.marl.environment import VectorEnvironment, Zeros, check_result


class Actors(Protocol):
    """Who decides."""

    def act(
        self,
        agents: range,
        observations: NDArray[np.float32],
        uniforms: NDArray[np.float32],
        seen: NDArray[np.float32],
        actions: NDArray[np.int64],
        log_probs: NDArray[np.float32],
    ) -> None:
        """Let ``agents`` act on ``observations`` [N, A, D] by numbers ``uniforms`` [A, N] from [0, 1).

        Each takes the first action at which the running sum of its probabilities exceeds its number. Write, for these
        agents alone, what they saw to ``seen`` [A, N, D], their ``actions`` [N, A], and ``log_probs`` [A, N] of them.
        """


class Policy(Actors, Protocol):
    """What collection asks of a learner."""

    @property
    def portable_actors(self) -> ActorWeights | None:
        """The actors for another process; None where they decide in this one only."""

    def begin_rollout(self, copies: int, generator: np.random.Generator) -> None:
        """Take over the parameters as they stand, and draw dropout masks for ``copies``, where there is dropout."""

    def values(self, states: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the critic's normalised estimates [M] for states [M, S]."""


class Batch(NamedTuple):
    """One rollout as the update sees it; M = T x N environment steps."""

    observations: Tensor  # float32 [A, M, D]
    states: Tensor  # float32 [M, S]
    actions: Tensor  # int64 [A, M]
    log_probs: Tensor  # float32 [A, M], of the taken actions when they were taken
    advantages: Tensor  # float32 [M], mean 0 and deviation 1 over the rollout of all ranks
    returns: Tensor  # float32 [M], normalised
    values: Tensor  # float32 [M], normalised

    def to(self, device: str) -> Batch:
        """Return the batch on ``device``."""
        return Batch(*(to_device(tensor, device) for tensor in self))


@dataclass(frozen=True)
class Rollout:
    """Buffers of T steps of N environment copies; agents lead, so that one agent's inputs are contiguous."""

    observations: NDArray[np.float32]  # [A, T, N, D]
    states: NDArray[np.float32]  # [T, N, S]
    actions: NDArray[np.int64]  # [A, T, N]
    log_probs: NDArray[np.float32]  # [A, T, N], of the taken actions
    rewards: NDArray[np.float32]  # [T, N]
    terminated: NDArray[np.bool_]  # [T, N]
    truncated: NDArray[np.bool_]  # [T, N]
    last_states: NDArray[np.float32]  # [T, N, S] before the reset; written, and memory taken, where truncated
    bootstrap: NDArray[np.float32]  # [T, N], value of what follows a cut step
    values: NDArray[np.float32]  # [T, N], in units of reward

    def part(self, copies: slice) -> Rollout:
        """Return the views of some copies."""
        by_agent = {name: getattr(self, name)[:, :, copies] for name in ("observations", "actions", "log_probs")}
        others = [field.name for field in fields(self) if field.name not in by_agent]
        return Rollout(**by_agent, **{name: getattr(self, name)[:, copies] for name in others})


@runtime_checkable
class PlayingEnvironment(VectorEnvironment, Protocol):
    """Copies in other processes, where actors that can travel play a whole rollout without the learner."""

    rollout: Rollout  # where they write what they play

    def play(self, actors: ActorWeights, uniforms: NDArray[np.float32], first_step: int) -> None:
        """Fill ``rollout``, but for values and bootstrap, by ``uniforms`` [T, A, N], as ``collect`` does."""


def new_rollout(environment: VectorEnvironment, steps: int, zeros: Zeros = np.zeros) -> Rollout:
    """Allocate the buffers for ``steps`` steps of ``environment``."""
    agents, copies = len(environment.agents), environment.n_environments
    shape = (steps, copies)
    return Rollout(
        observations=zeros((agents, *shape, environment.observation_size), np.float32),
        states=zeros((*shape, environment.state_size), np.float32),
        actions=zeros((agents, *shape), np.int64),
        log_probs=zeros((agents, *shape), np.float32),
        rewards=zeros(shape, np.float32),
        terminated=zeros(shape, np.bool_),
        truncated=zeros(shape, np.bool_),
        last_states=zeros((*shape, environment.state_size), np.float32),
        bootstrap=zeros(shape, np.float32),
        values=zeros(shape, np.float32),
    )


def rollout_for(environment: VectorEnvironment, steps: int) -> Rollout:
    """Return the environment's own buffers, where it has some, or new ones."""
    if not isinstance(environment, PlayingEnvironment):
        return new_rollout(environment, steps)
    assert len(environment.rollout.rewards) == steps
    return environment.rollout


def collect(
    environment: VectorEnvironment,
    policy: Policy,
    rollout: Rollout,
    scale: ReturnScale,
    generator: np.random.Generator,
    first_step: int,
) -> None:
    """Fill ``rollout`` with the team's play from where ``environment`` stands.

    Raises TrainingError naming agent, step (counted from ``first_step``) and field where a number is not finite.
    """
    steps, copies = rollout.rewards.shape
    everyone = copies * ranks.world().size
    uniforms = generator.random((steps, len(environment.agents), everyone), dtype=np.float32)
    uniforms = uniforms[:, :, ranks.part_of(copies)]
    policy.begin_rollout(copies, generator)
    actors = policy.portable_actors
    if actors is not None and isinstance(environment, PlayingEnvironment):
        assert environment.rollout is rollout
        environment.play(actors, uniforms, first_step)
    else:
        for step in range(steps):
            play_step(environment, policy, rollout, uniforms[step], step, first_step)
    _check_inputs(environment, rollout, first_step)
    _estimate(environment, policy, rollout, scale)


def play_step(
    environment: VectorEnvironment,
    actors: Actors,
    rollout: Rollout,
    uniforms: NDArray[np.float32],
    step: int,
    first_step: int,
) -> None:
    """Let all agents choose by ``uniforms`` [A, N] and all copies step; write it to ``rollout`` as its step ``step``.

    Raises TrainingError naming step (counted from ``first_step``) and field where the result is malformed.
    """
    actions = _act(environment, actors, rollout, uniforms, step)
    result = environment.step(actions)
    check_result(result, environment.n_environments, first_step + step)
    rollout.rewards[step], rollout.terminated[step] = result.reward, result.terminated
    rollout.truncated[step] = result.truncated
    cut = np.flatnonzero(result.truncated)
    if len(cut):
        rollout.last_states[step, cut] = result.final_states[cut]


def _act(
    environment: VectorEnvironment, actors: Actors, rollout: Rollout, uniforms: NDArray[np.float32], step: int
) -> NDArray[np.int64]:
    """Let the agents choose at once, or one after the other where each sees what the earlier ones chose."""
    rollout.states[step] = environment.states
    seen, log_probs = rollout.observations[:, step], rollout.log_probs[:, step]
    agents = len(environment.agents)
    actions = np.zeros((environment.n_environments, agents), np.int64)
    if environment.simultaneous:
        actors.act(range(agents), environment.observations, uniforms, seen, actions, log_probs)
    else:
        for agent in range(agents):
            environment.observe(agent, actions)
            actors.act(range(agent, agent + 1), environment.observations, uniforms, seen, actions, log_probs)
    rollout.actions[:, step] = actions.T
    return actions


def _estimate(environment: VectorEnvironment, policy: Policy, rollout: Rollout, scale: ReturnScale) -> None:
    """Fill values and bootstrap in one pass of the critic each."""
    steps, copies, size = rollout.states.shape
    cut = np.flatnonzero(rollout.truncated)
    last_states = rollout.last_states.reshape(-1, size)[cut]
    following = policy.values(np.concatenate([environment.states, last_states])).astype(np.float64)
    following = following * scale.deviation + scale.mean
    rollout.bootstrap[-1] = following[:copies]
    rollout.bootstrap.reshape(-1)[cut] = following[copies:]  # also where the last step is cut
    values = policy.values(rollout.states.reshape(-1, size)).reshape(steps, copies)
    rollout.values[:] = values.astype(np.float64) * scale.deviation + scale.mean


def batch_of(rollout: Rollout, scale: ReturnScale, gamma: float, gae_lambda: float) -> tuple[Batch, float]:
    """Return the update's view of ``rollout`` and the critic's explained variance; updates ``scale`` by its returns."""
    gains = advantages(
        rollout.rewards, rollout.values, rollout.bootstrap, rollout.terminated, rollout.truncated, gamma, gae_lambda
    )
    returns = gains + rollout.values
    first = scale.weight == 0  # the critic has put out normalised numbers all along, only their scale was unknown
    scale.update(returns)
    (centre, variance), (_, spread) = moments(gains), moments(returns)
    explained = 1.0 - float(variance) / float(spread) if spread > 0 else 0.0
    agents, _, _, size = rollout.observations.shape
    values = rollout.values if first else (rollout.values - scale.mean) / scale.deviation
    centred = (gains - centre) / (np.sqrt(variance) + 1e-8)
    arrays = (
        rollout.observations.reshape(agents, -1, size),
        rollout.states.reshape(-1, rollout.states.shape[2]),
        rollout.actions.reshape(agents, -1),
        rollout.log_probs.reshape(agents, -1),
        centred.astype(np.float32).reshape(-1),
        ((returns - scale.mean) / scale.deviation).astype(np.float32).reshape(-1),
        values.astype(np.float32).reshape(-1),
    )
    return Batch(*map(torch.from_numpy, arrays)), explained


def moments(values: NDArray[np.float32]) -> tuple[np.float64, np.float64]:
    """Return mean and variance of ``values`` over all ranks, which have equally many."""
    own_mean, own_variance = float(values.mean(dtype=np.float64)), float(values.var(dtype=np.float64))
    (mean,) = ranks.mean_over_ranks(own_mean)
    (variance,) = ranks.mean_over_ranks(own_variance + (own_mean - mean) ** 2)
    return np.float64(mean), np.float64(variance)


def to_device(tensor: Tensor, device: str | torch.device) -> Tensor:
    """Return ``tensor`` on ``device``; to CUDA through pinned memory, so that the host does not wait for the copy."""
    if torch.device(device).type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def _check_inputs(environment: VectorEnvironment, rollout: Rollout, first_step: int) -> None:
    for name, array in (("observations", rollout.observations), ("states", rollout.states)):
        # A sum in place shows any infinity or NaN without a mask as large as the buffer; it may itself overflow.
        if np.isfinite(array.sum()) or np.isfinite(array).all():
            continue
        where = np.argwhere(~np.isfinite(array))[0]
        agent = f"agent {environment.agents[where[0]]}" if name == "observations" else "critic"
        step = first_step + int(where[1] if name == "observations" else where[0])
        raise TrainingError(f"{agent}, step {step} field {name}", "it must be finite", float(array[tuple(where)]))
    ended = np.flatnonzero(rollout.truncated.any(axis=1))
    ends = [(int(at), rollout.last_states[at, rollout.truncated[at]]) for at in ended]
    for at, states in [*ends, (len(rollout.rewards) - 1, environment.states)]:
        if not np.isfinite(states).all():
            found = float(states[~np.isfinite(states)][0])
            raise TrainingError(f"critic, after step {first_step + at} field states", "it must be finite", found)
