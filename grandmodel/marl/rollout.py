"""Collection: let the team play into preallocated buffers that torch shares without copying."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from grandmodel.core.errors import TrainingError
from grandmodel.marl import ranks
from grandmodel.marl.advantage import ReturnScale, advantages
from grandmodel.marl.environment import SplitEnvironment, StepResult, VectorEnvironment, check_result

# A step, the copies that were cut in it, and their last states.
Cut = tuple[int, NDArray[np.int64], NDArray[np.float32]]


class Policy(Protocol):
    """What collection asks of a learner."""

    row_by_row: bool  # what a copy gets does not depend, to the last bit, on which others are asked about with it

    def begin_rollout(self, copies: int, generator: np.random.Generator) -> None:
        """Take over the parameters as they stand, and draw dropout masks for ``copies``, where there is dropout."""

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
    bootstrap: NDArray[np.float32]  # [T, N], value of what follows a cut step
    values: NDArray[np.float32]  # [T, N], in units of reward


def new_rollout(environment: VectorEnvironment, steps: int) -> Rollout:
    """Allocate the buffers for ``steps`` steps of ``environment``."""
    agents, copies = len(environment.agents), environment.n_environments
    shape = (steps, copies)
    return Rollout(
        observations=np.zeros((agents, *shape, environment.observation_size), np.float32),
        states=np.zeros((*shape, environment.state_size), np.float32),
        actions=np.zeros((agents, *shape), np.int64),
        log_probs=np.zeros((agents, *shape), np.float32),
        rewards=np.zeros(shape, np.float32),
        terminated=np.zeros(shape, np.bool_),
        truncated=np.zeros(shape, np.bool_),
        bootstrap=np.zeros(shape, np.float32),
        values=np.zeros(shape, np.float32),
    )


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
    if policy.row_by_row and isinstance(environment, SplitEnvironment):
        cut = _play_apart(environment, policy, rollout, uniforms)
    else:
        cut = _play(environment, policy, rollout, uniforms, first_step)
    _check_inputs(environment, rollout, first_step)
    _estimate(environment, policy, rollout, scale, cut)


def _play(
    environment: VectorEnvironment, policy: Policy, rollout: Rollout, uniforms: NDArray[np.float32], first_step: int
) -> list[Cut]:
    """Let all copies step together."""
    steps, copies = rollout.rewards.shape
    actions = np.zeros((copies, len(environment.agents)), np.int64)
    cut: list[Cut] = []
    for step in range(steps):
        _act(environment, policy, rollout, actions, uniforms[step], step, slice(0, copies))
        result = environment.step(actions)
        check_result(result, copies, first_step + step)
        cut += _store(result, rollout, step, slice(0, copies))
    return cut


def _play_apart(
    environment: SplitEnvironment, policy: Policy, rollout: Rollout, uniforms: NDArray[np.float32]
) -> list[Cut]:
    """Let each group of copies go on as soon as it can: the same numbers, since they depend on a copy alone."""
    cut: list[Cut] = []
    done = [0] * len(environment.groups)  # steps of each group
    running = set(range(len(environment.groups)))

    def begin(group: int) -> None:
        step, rows = done[group], environment.groups[group]
        _act(environment, policy, rollout, environment.actions, uniforms[step], step, rows)
        environment.begin(group)

    for group in sorted(running):
        begin(group)
    while running:
        for group in environment.finished(running):
            cut += _store(environment.result, rollout, done[group], environment.groups[group])
            done[group] += 1
            if done[group] < len(uniforms):
                begin(group)
            else:
                running.remove(group)
    return cut


def _store(result: StepResult, rollout: Rollout, step: int, rows: slice) -> list[Cut]:
    """Write what a step of the copies ``rows`` brought; return what was cut."""
    rollout.rewards[step, rows], rollout.terminated[step, rows] = result.reward[rows], result.terminated[rows]
    rollout.truncated[step, rows] = result.truncated[rows]
    cut = np.flatnonzero(result.truncated[rows]) + rows.start
    return [(step, cut, result.final_states[cut])] if len(cut) else []


def _act(
    environment: VectorEnvironment,
    policy: Policy,
    rollout: Rollout,
    actions: NDArray[np.int64],
    uniforms: NDArray[np.float32],
    step: int,
    rows: slice,
) -> None:
    """Let the agents choose at once, or one after the other where each sees what the earlier ones chose."""
    rollout.states[step, rows] = environment.states[rows]
    seen, log_probs = rollout.observations[:, step, rows], rollout.log_probs[:, step, rows]
    observations, chosen, draws = environment.observations[rows], actions[rows], np.ascontiguousarray(uniforms[:, rows])
    agents = len(environment.agents)
    if environment.simultaneous:
        policy.act(range(agents), observations, draws, seen, chosen, log_probs)
    else:
        for agent in range(agents):
            environment.observe(agent, actions)
            policy.act(range(agent, agent + 1), observations, draws, seen, chosen, log_probs)
    rollout.actions[:, step, rows] = chosen.T


def _estimate(
    environment: VectorEnvironment,
    policy: Policy,
    rollout: Rollout,
    scale: ReturnScale,
    cut: list[Cut],
) -> None:
    """Fill values and bootstrap in one pass of the critic each."""
    steps, copies, size = rollout.states.shape
    last = np.arange(copies)
    pieces = [(steps - 1, last, environment.states), *cut]  # where the last step is cut, the cut wins
    following = policy.values(np.concatenate([states for _, _, states in pieces])).astype(np.float64)
    following = following * scale.deviation + scale.mean
    start = 0
    for step, rows, _ in pieces:
        rollout.bootstrap[step, rows] = following[start : start + len(rows)]
        start += len(rows)
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
