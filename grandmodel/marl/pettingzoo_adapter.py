"""Any PettingZoo parallel environment with discrete actions as a vectorised environment, in one process.

Spaces are recognised by their fields, so that neither PettingZoo nor Gymnasium is needed here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import TrainingError
from grandmodel.core.random import derive_seed
from grandmodel.marl.environment import Step

ByAgent = Mapping[str, Any]


class ParallelEnv(Protocol):
    """The part of PettingZoo's parallel interface that training needs."""

    possible_agents: list[str]

    def reset(self, seed: int | None = None) -> tuple[ByAgent, ByAgent]:
        """Return observations and infos."""

    def step(self, actions: dict[str, Any]) -> tuple[ByAgent, ByAgent, ByAgent, ByAgent, ByAgent]:
        """Return observations, rewards, terminations, truncations and infos."""

    def observation_space(self, agent: str) -> Any:
        """Return a space with ``low``, ``high`` and ``shape``."""

    def action_space(self, agent: str) -> Any:
        """Return a space with ``n`` and ``start``."""


MakeParallelEnv = Callable[[], ParallelEnv]


class ParallelEnvironments:
    """N copies of a parallel environment; all agents act at once and share the mean of their rewards.

    The critic's state is all observations side by side. An episode terminates when all agents do and is truncated
    when it ends otherwise; an agent that leaves before the others is refused.
    """

    simultaneous = True

    def __init__(self, make: MakeParallelEnv, copies: int) -> None:
        """Build ``copies`` environments. Raises TrainingError naming agent and field for a space it cannot use."""
        self._games = [make() for _ in range(copies)]
        game = self._games[0]
        self.agents = tuple(game.possible_agents)
        self.n_environments = copies
        self._shapes = [observation_shape(agent, game.observation_space(agent)) for agent in self.agents]
        counts, self._first_actions = zip(*[action_range(a, game.action_space(a)) for a in self.agents], strict=True)
        self.action_counts: tuple[int, ...] = counts
        sizes = [int(np.prod(shape)) for shape in self._shapes]
        self._ends = np.cumsum(sizes)
        self.observation_size, self.state_size = max(sizes), sum(sizes)
        self.observations = np.zeros((copies, len(self.agents), self.observation_size), np.float32)
        self.states = np.zeros((copies, self.state_size), np.float32)
        self._final_states = np.zeros_like(self.states)
        self._steps = 0

    def reset(self, seed: int) -> None:
        """Start all copies anew, each with its own seed."""
        self._steps = 0
        for copy, game in enumerate(self._games):
            observations, _ = game.reset(seed=derive_seed(seed, copy) % 2**31)
            self._store(copy, observations)

    def observe(self, agent_index: int, actions: NDArray[np.int64]) -> None:
        """Do nothing: agents of a parallel environment do not see each other's action of the same step."""

    def step(self, actions: NDArray[np.int64]) -> Step:
        """Step every copy; ended copies are reset."""
        reward = np.zeros(self.n_environments, np.float32)
        terminated, truncated = np.zeros((2, self.n_environments), np.bool_)
        choices = (actions + self._first_actions).tolist()
        for copy, game in enumerate(self._games):
            observations, rewards, ends, cuts, _ = game.step(dict(zip(self.agents, choices[copy], strict=True)))
            reward[copy] = self._team_reward(rewards)
            self._store(copy, observations)
            if self._ended(ends, cuts):
                terminated[copy] = all(ends[agent] for agent in self.agents)
                truncated[copy] = not terminated[copy]
                self._final_states[copy] = self.states[copy]
                self._store(copy, game.reset()[0])
        self._steps += 1
        return Step(reward, terminated, truncated, self._final_states)

    def _team_reward(self, rewards: ByAgent) -> float:
        for agent in self.agents:
            if agent not in rewards or not np.isfinite(rewards[agent]):
                subject = f"agent {agent}, step {self._steps} field reward"
                raise TrainingError(subject, "it must be a finite number", rewards.get(agent, "nothing"))
        return sum(float(rewards[agent]) for agent in self.agents) / len(self.agents)

    def _ended(self, ends: ByAgent, cuts: ByAgent) -> bool:
        gone = [bool(ends[agent] or cuts[agent]) for agent in self.agents]
        if any(gone) and not all(gone):
            agent = self.agents[gone.index(True)]
            raise TrainingError(
                f"agent {agent}, step {self._steps} field terminations",
                "all agents must end together",
                {"terminated": bool(ends[agent]), "truncated": bool(cuts[agent])},
                "Wrap the environment so that a finished agent stays and waits",
            )
        return all(gone)

    def _store(self, copy: int, observations: ByAgent) -> None:
        for index, (agent, shape) in enumerate(zip(self.agents, self._shapes, strict=True)):
            seen = np.asarray(observations[agent] if agent in observations else np.empty(0))
            if seen.shape != shape:
                subject = f"agent {agent}, step {self._steps} field observation"
                raise TrainingError(subject, f"it must have shape {shape}", seen.shape)
            size = seen.size
            self.observations[copy, index, :size] = seen.reshape(-1)
            self.states[copy, self._ends[index] - size : self._ends[index]] = self.observations[copy, index, :size]


def action_range(agent: str, space: Any) -> tuple[int, int]:
    """Return number of actions and first action of a discrete ``space``. Raises TrainingError for any other."""
    if not (hasattr(space, "n") and hasattr(space, "start")):
        do = "Train with discrete actions, or discretise them in a wrapper"
        raise TrainingError(f"agent {agent}, step 0 field action_space", "it must be Discrete", str(space), do)
    return int(space.n), int(space.start)


def observation_shape(agent: str, space: Any) -> tuple[int, ...]:
    """Return the shape of a box ``space``. Raises TrainingError for any other."""
    if not (hasattr(space, "low") and hasattr(space, "high")):
        do = "Flatten or one-hot encode it in a wrapper"
        raise TrainingError(f"agent {agent}, step 0 field observation_space", "it must be a Box", str(space), do)
    return tuple(int(length) for length in space.shape)
