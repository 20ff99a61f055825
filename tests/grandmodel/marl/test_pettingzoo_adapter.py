"""Training on a PettingZoo parallel environment, and the errors that name what is wrong with one."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pettingzoo
import pytest
from gymnasium import spaces

from grandmodel.core.config import TeamParams
from grandmodel.core.errors import TrainingError
from grandmodel.marl import train

PARAMS = TeamParams(
    hidden=32, critic_hidden=32, environments=8, rollout_steps=32, learning_rate=3e-3, critic_learning_rate=3e-3
)


class Signals(pettingzoo.ParallelEnv[str, Any, Any]):
    """Each agent sees a signal and is paid for answering it; agents differ in inputs and actions."""

    metadata = {"name": "signals_v0"}  # noqa: RUF012
    possible_agents = ["small", "large"]  # noqa: RUF012
    counts = {"small": 2, "large": 3}  # noqa: RUF012
    first = {"small": 0, "large": 5}  # noqa: RUF012

    def observation_space(self, agent: str) -> gymnasium.Space[Any]:
        return spaces.Box(0, 1, (self.counts[agent],), np.float32)

    def action_space(self, agent: str) -> gymnasium.Space[Any]:
        return spaces.Discrete(self.counts[agent], start=self.first[agent])

    def signals(self) -> dict[str, Any]:
        self.answer = {agent: int(self.generator.integers(count)) for agent, count in self.counts.items()}
        return {agent: np.eye(count, dtype=np.float32)[self.answer[agent]] for agent, count in self.counts.items()}

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        if seed is not None:
            self.generator = np.random.default_rng(seed)
        self.agents, self.clock = list(self.possible_agents), 0
        return self.signals(), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, Any]) -> Any:
        rewards = {agent: float(actions[agent] - self.first[agent] == self.answer[agent]) for agent in self.agents}
        self.clock += 1
        ends = dict.fromkeys(self.agents, False)
        cuts = dict.fromkeys(self.agents, self.clock == 10)
        return self.signals(), rewards, ends, cuts, {agent: {} for agent in self.agents}


def test_a_parallel_environment_is_learned() -> None:
    team = train(Signals, PARAMS, steps=8_000, seed=1)
    assert team.curves[0]["return_per_step"] < 0.6
    assert team.curves[-1]["return_per_step"] > 0.95
    assert team.actor["actor.0.weight"].shape == (2, 3, 32)
    assert train(Signals, PARAMS, steps=500, seed=1).curves == train(Signals, PARAMS, steps=500, seed=1).curves


def test_a_continuous_action_space_is_refused() -> None:
    class Continuous(Signals):
        def action_space(self, agent: str) -> gymnasium.Space[Any]:
            return spaces.Box(-1, 1, (2,)) if agent == "large" else super().action_space(agent)

    with pytest.raises(TrainingError, match=r"agent large, step 0 field action_space: it must be Discrete"):
        train(Continuous, PARAMS, steps=100, seed=1)


def test_a_dictionary_observation_space_is_refused() -> None:
    class Nested(Signals):
        def observation_space(self, agent: str) -> gymnasium.Space[Any]:
            return spaces.Dict({"signal": spaces.Discrete(2)})

    with pytest.raises(TrainingError, match=r"agent small, step 0 field observation_space: it must be a Box"):
        train(Nested, PARAMS, steps=100, seed=1)


def test_a_nan_reward_names_agent_step_and_field() -> None:
    class Broken(Signals):
        def step(self, actions: dict[str, Any]) -> Any:
            observations, rewards, *rest = super().step(actions)
            return observations, {**rewards, "large": np.nan if self.clock == 3 else 0.0}, *rest

    with pytest.raises(TrainingError, match=r"agent large, step 2 field reward: it must be a finite number; found nan"):
        train(Broken, PARAMS, steps=100, seed=1)


def test_a_wrong_observation_shape_names_agent_step_and_field() -> None:
    class Broken(Signals):
        def step(self, actions: dict[str, Any]) -> Any:
            observations, *rest = super().step(actions)
            return {**observations, "small": np.zeros(7 if self.clock == 4 else 2)}, *rest

    with pytest.raises(TrainingError, match=r"agent small, step 3 field observation: it must have shape \(2,\)"):
        train(Broken, PARAMS, steps=100, seed=1)


def test_an_agent_that_leaves_early_is_refused() -> None:
    class Early(Signals):
        def step(self, actions: dict[str, Any]) -> Any:
            observations, rewards, ends, *rest = super().step(actions)
            return observations, rewards, {**ends, "small": self.clock == 2}, *rest

    with pytest.raises(TrainingError, match=r"agent small, step 1 field terminations: all agents must end together"):
        train(Early, PARAMS, steps=100, seed=1)
