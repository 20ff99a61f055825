"""Copies of any PettingZoo parallel environment with discrete actions, stepped one after the other in one process.

Spaces and wrappers are recognised by their fields and names, so that neither PettingZoo nor Gymnasium is needed here.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, NoReturn, Protocol

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import TrainingError
from grandmodel.core.random import derive_seed
from grandmodel.marl.environment import Step, Zeros

ByAgent = Mapping[str, Any]
REWARD_MAX = float(np.finfo(np.float32).max)


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


class Spaces(NamedTuple):
    """What the agents see and may do."""

    agents: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]  # of the observations
    action_counts: tuple[int, ...]
    first_actions: tuple[int, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers in each agent's observation."""
        return tuple(int(np.prod(shape)) for shape in self.shapes)


class Arrays(NamedTuple):
    """What N copies write."""

    observations: NDArray[np.float32]  # [N, A, D], padded with zeros
    states: NDArray[np.float32]  # [N, S], all observations side by side
    final_states: NDArray[np.float32]  # [N, S], before the reset of an ended copy
    reward: NDArray[np.float32]  # [N]
    terminated: NDArray[np.bool_]  # [N]
    truncated: NDArray[np.bool_]  # [N]

    def part(self, copies: slice) -> Arrays:
        """Return the views of some copies."""
        views: list[Any] = [array[copies] for array in self]
        return Arrays(*views)

    @property
    def result(self) -> Step:
        """Outcome of the last step."""
        return Step(self.reward, self.terminated, self.truncated, self.final_states)


def new_arrays(spaces: Spaces, copies: int, zeros: Zeros = np.zeros) -> Arrays:
    """Return zeroed arrays for ``copies``."""
    agents, width, size = len(spaces.agents), max(spaces.sizes), sum(spaces.sizes)
    return Arrays(
        observations=zeros((copies, agents, width), np.float32),
        states=zeros((copies, size), np.float32),
        final_states=zeros((copies, size), np.float32),
        reward=zeros((copies,), np.float32),
        terminated=zeros((copies,), np.bool_),
        truncated=zeros((copies,), np.bool_),
    )


class Copies:
    """Copies of an environment for the learner, in this process; the team's reward is the mean over its agents.

    An episode terminates when all agents do and is truncated when it ends otherwise; an agent that leaves before the
    others is refused. Ended copies are reset. The critic's state is all observations side by side.
    """

    simultaneous = True

    def __init__(
        self, make: MakeParallelEnv, spaces: Spaces, arrays: Arrays, first: int, at: NDArray[np.int64]
    ) -> None:
        """Build the copies that ``arrays`` have room for, numbered from ``first``.

        ``at`` [2] always tells the copy at work and its step. Raises TrainingError where a copy cannot be built.
        """
        self.agents, self.action_counts = spaces.agents, spaces.action_counts
        self.n_environments, self.first_copy = len(arrays.reward), first
        self.observation_size, self.state_size = arrays.observations.shape[2], arrays.states.shape[1]
        self.observations, self.states = arrays.observations, arrays.states
        self._shapes, self._sizes = spaces.shapes, spaces.sizes
        self._first_actions, self._ends = np.array(spaces.first_actions), np.cumsum(spaces.sizes)
        self._arrays, self._at = arrays, at
        self._views = [
            [row[agent, :size].reshape(spaces.shapes[agent]) for agent, size in enumerate(spaces.sizes)]
            for row in arrays.observations
        ]
        self._games: list[ParallelEnv] = []
        try:
            for number in range(self.n_environments):
                self._at[0] = first + number
                game = without_call_checks(make())
                if any(game is other for other in self._games):
                    subject, do = f"environment copy {first + number}", "Build a new environment at each call"
                    raise TrainingError(subject, "it must be an object of its own", type(game).__name__, do)
                self._games.append(game)
        except Exception as error:
            self._fail(error)

    def reset(self, seed: int) -> None:
        """Start all copies anew, each with its own seed."""
        self._at[1] = 0
        try:
            for number, game in enumerate(self._games):
                copy = self.first_copy + number
                self._at[0] = copy
                self._store(number, game.reset(seed=derive_seed(seed, copy) % 2**31)[0])
        except Exception as error:
            self._fail(error)
        self._write_states(self.observations, self.states)

    def observe(self, agent_index: int, actions: NDArray[np.int64]) -> None:
        """Do nothing: agents of a parallel environment do not see each other's action of the same step."""

    def step(self, actions: NDArray[np.int64]) -> Step:
        """Step every copy by ``actions`` [N, A], counted from 0."""
        choices = (actions + self._first_actions).tolist()
        try:
            for number, game in enumerate(self._games):
                self._at[0] = self.first_copy + number
                self._step_one(number, game, dict(zip(self.agents, choices[number], strict=True)))
        except Exception as error:
            self._fail(error)
        self._write_states(self.observations, self.states)
        self._at[1] += 1
        return self._arrays.result

    def close(self) -> None:
        """Close all copies."""
        for game in self._games:
            end(game)

    def _step_one(self, number: int, game: ParallelEnv, choice: dict[str, int]) -> None:
        arrays = self._arrays
        observations, rewards, ends, cuts, _ = game.step(choice)
        arrays.reward[number] = self._team_reward(rewards)
        self._store(number, observations)
        ended = self._ended(ends, cuts)
        arrays.terminated[number] = terminated = ended and all(ends[agent] for agent in self.agents)
        arrays.truncated[number] = ended and not terminated
        if ended:
            row = slice(number, number + 1)
            self._write_states(arrays.observations[row], arrays.final_states[row])
            self._store(number, game.reset()[0])

    def _team_reward(self, rewards: ByAgent) -> float:
        total = 0.0
        for agent in self.agents:
            reward = float(rewards[agent]) if agent in rewards else np.nan
            if not abs(reward) <= REWARD_MAX:
                found = reward if agent in rewards else "nothing"
                self._refuse(agent, "reward", "it must be a finite number", found)
            total += reward
        return total / len(self.agents)

    def _ended(self, ends: ByAgent, cuts: ByAgent) -> bool:
        gone = []
        for agent in self.agents:
            if agent not in ends or agent not in cuts:
                self._refuse(agent, "terminations", "every agent needs its flags until all end together", "nothing")
            gone.append(bool(ends[agent] or cuts[agent]))
        if any(gone) and not all(gone):
            agent = self.agents[gone.index(True)]
            found = {"terminated": bool(ends[agent]), "truncated": bool(cuts[agent])}
            do = "Wrap the environment so that a finished agent stays and waits"
            self._refuse(agent, "terminations", "all agents must end together", found, do)
        return all(gone)

    def _store(self, number: int, observations: ByAgent) -> None:
        for agent, shape, view in zip(self.agents, self._shapes, self._views[number], strict=True):
            seen = np.asarray(observations[agent]) if agent in observations else None
            if seen is None or seen.shape != shape:
                found = "nothing" if seen is None else seen.shape
                self._refuse(agent, "observation", f"it must have shape {shape}", found)
            view[...] = seen

    def _write_states(self, observations: NDArray[np.float32], states: NDArray[np.float32]) -> None:
        for agent, (size, end) in enumerate(zip(self._sizes, self._ends, strict=True)):
            states[:, end - size : end] = observations[:, agent, :size]

    def _refuse(self, agent: str, field: str, rule: str, found: object, do: str = "") -> NoReturn:
        raise TrainingError(f"agent {agent}, step {int(self._at[1])} field {field}", rule, found, do)

    def _fail(self, error: Exception) -> NoReturn:
        """Say which copy failed at which step and line; what is typed already goes through."""
        if isinstance(error, TrainingError):
            raise error
        place = traceback.extract_tb(error.__traceback__)[-1]
        found = f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})"
        subject = f"environment copy {int(self._at[0])}, step {int(self._at[1])}"
        raise TrainingError(subject, "it must not fail", found) from error


def end(game: ParallelEnv) -> None:
    """Close ``game`` where it can be closed; one that fails to close loses no training."""
    if hasattr(game, "close"):
        with suppress(Exception):
            game.close()


def spaces_of(game: ParallelEnv) -> Spaces:
    """Return the spaces of ``game``. Raises TrainingError naming agent and field for one that cannot be used."""
    agents = tuple(getattr(game, "possible_agents", ()))
    if not agents:
        raise TrainingError("environment field possible_agents", "it must name one agent or more", type(game).__name__)
    counts, first_actions = zip(*[action_range(agent, game.action_space(agent)) for agent in agents], strict=True)
    shapes = tuple(observation_shape(agent, game.observation_space(agent)) for agent in agents)
    return Spaces(agents, shapes, counts, first_actions)


def without_call_checks(game: ParallelEnv) -> ParallelEnv:
    """Return ``game`` without what PettingZoo does around an environment of turns that training has no use for.

    Two wrappers check that calls come in order and actions within their range, which training keeps; before each turn
    an agent observes what nobody reads. Both together take half of the time of a step in mpe2. Any other wrapper stays,
    and so does everything below it.
    """
    checks = ("OrderEnforcingWrapper", "AssertOutOfBoundsWrapper")
    if _is_of_pettingzoo(game, ("aec_to_parallel_wrapper",)):
        turns = game.aec_env  # type: ignore[attr-defined]
        while _is_of_pettingzoo(turns, checks):
            turns = turns.env
        if type(turns).last.__module__ == "pettingzoo.utils.env":
            turns.last = partial(turns.last, observe=False)
        game.aec_env = turns  # type: ignore[attr-defined]
    return game


def _is_of_pettingzoo(game: object, names: tuple[str, ...]) -> bool:
    """Tell whether ``game`` is exactly of one of these classes, not of one derived from them."""
    kind = type(game)
    return kind.__name__ in names and kind.__module__.startswith("pettingzoo.utils.")


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
    if 0 in space.shape:
        raise TrainingError(f"agent {agent}, step 0 field observation_space", "it must hold a number", space.shape)
    return tuple(int(length) for length in space.shape)
