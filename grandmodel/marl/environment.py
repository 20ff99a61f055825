"""What the learner asks of an environment: many copies stepped at once, results written in place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import TrainingError

Zeros = Callable[[tuple[int, ...], Any], NDArray[Any]]  # allocates, as numpy.zeros does, for a shape and a type


class StepResult(Protocol):
    """Outcome of one step of all N environment copies; the arrays may be reused by the next step."""

    @property
    def reward(self) -> NDArray[np.float32]:
        """Reward of the team [N]."""

    @property
    def terminated(self) -> NDArray[np.bool_]:
        """Flags [N]: the episode truly ended, nothing follows."""

    @property
    def truncated(self) -> NDArray[np.bool_]:
        """Flags [N]: the episode was cut, what follows is worth the critic's estimate."""

    @property
    def final_states(self) -> NDArray[np.float32]:
        """Critic states [N, S] before the automatic reset; read where truncated."""


class Step(NamedTuple):
    """The plainest ``StepResult``."""

    reward: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    final_states: NDArray[np.float32]


class VectorEnvironment(Protocol):
    """N copies of one game for A agents that share a reward; ended copies reset themselves inside ``step``.

    Observations of agents with fewer inputs are padded with zeros to ``observation_size``.
    """

    agents: tuple[str, ...]
    n_environments: int
    observation_size: int
    state_size: int
    action_counts: tuple[int, ...]
    simultaneous: bool  # no agent sees what another does in the same step: ``observe`` is never called
    observations: NDArray[np.float32]  # [N, A, D], written in place
    states: NDArray[np.float32]  # [N, S], written in place

    def reset(self, seed: int) -> None:
        """Start all copies anew; equal seeds give equal games."""

    def observe(self, agent_index: int, actions: NDArray[np.int64]) -> None:
        """Write what agent ``agent_index`` sees of the same-step ``actions`` [N, A] of the agents before it."""

    def step(self, actions: NDArray[np.int64]) -> StepResult:
        """Advance all copies by ``actions`` [N, A]."""


@runtime_checkable
class SavableEnvironment(Protocol):
    """What an environment adds so that a training can go on in the middle of its episodes."""

    def save_state(self) -> dict[str, NDArray[np.generic]]:
        """Return copies of all that the next step depends on, ``observations`` and ``states`` among it."""

    def load_state(self, state: Mapping[str, NDArray[np.generic]]) -> None:
        """Stand where ``save_state`` was called, on an equally built environment."""


@runtime_checkable
class NumberedEnvironment(Protocol):
    """What an environment adds whose copies play by their numbers alone, so that processes can share them.

    Copy k of a rank is copy ``first_copy`` + k of all, and plays what that copy would play in one process.
    """

    first_copy: int


@runtime_checkable
class DefaultingEnvironment(Protocol):
    """What an environment adds in which one action of each agent is right before anything is learned."""

    @property
    def default_actions(self) -> tuple[int, ...] | None:
        """One action an agent; None where the environment knows of none."""


def defaults_of(environment: VectorEnvironment) -> tuple[int, ...] | None:
    """Return the default action of each agent, None where ``environment`` names none."""
    return environment.default_actions if isinstance(environment, DefaultingEnvironment) else None


def check_environment(environment: VectorEnvironment) -> None:
    """Raise TrainingError naming the field where ``environment`` breaks the protocol."""
    copies, agents = environment.n_environments, len(environment.agents)
    if copies < 1 or agents < 1:
        raise TrainingError("environment", "it must have copies and agents", {"copies": copies, "agents": agents})
    if len(environment.action_counts) != agents or min(environment.action_counts) < 1:
        raise TrainingError("field action_counts", "each agent needs at least one action", environment.action_counts)
    _check_array("observations", environment.observations, (copies, agents, environment.observation_size))
    _check_array("states", environment.states, (copies, environment.state_size))


def check_result(result: StepResult, copies: int, step: int) -> None:
    """Raise TrainingError naming step and field where a step's ``result`` is malformed or its reward not finite."""
    for name in ("reward", "terminated", "truncated"):
        shape = getattr(result, name).shape
        if shape != (copies,):
            raise TrainingError(f"step {step} field {name}", f"it must have shape ({copies},)", shape)
    if not np.isfinite(result.reward).all():
        copy = int(np.argmin(np.isfinite(result.reward)))
        found = f"{result.reward[copy]} in environment copy {copy}"
        raise TrainingError(f"all agents, step {step} field reward", "it must be finite", found)


def _check_array(name: str, array: NDArray[np.float32], shape: tuple[int, ...]) -> None:
    if array.shape != shape or array.dtype != np.float32:
        found = f"{array.dtype} {array.shape}"
        raise TrainingError(f"environment field {name}", f"it must be float32 of shape {shape}", found)
