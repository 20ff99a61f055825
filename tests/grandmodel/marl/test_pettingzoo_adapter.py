"""Training on a PettingZoo parallel environment, and the errors that name what is wrong with one."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pettingzoo
import pytest
from gymnasium import spaces
from pettingzoo.utils import wrappers
from pettingzoo.utils.conversions import aec_to_parallel, parallel_to_aec

from grandmodel.core.config import TeamParams
from grandmodel.core.errors import ConfigError, TrainingError
from grandmodel.marl import train
from grandmodel.marl.pettingzoo_adapter import without_call_checks

PARAMS = TeamParams(
    hidden=32, critic_hidden=32, environments=8, rollout_steps=32, learning_rate=3e-3, critic_learning_rate=3e-3
)


class Signals(pettingzoo.ParallelEnv[str, Any, Any]):
    """Each agent sees a signal and is paid for answering it; agents differ in inputs and actions."""

    metadata = {"name": "signals_v0"}  # noqa: RUF012
    render_mode = None
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


def test_copies_that_are_one_object_are_refused() -> None:
    game = Signals()
    with pytest.raises(TrainingError, match="environment copy 1: it must be an object of its own"):
        train(lambda: game, PARAMS, steps=1000, seed=1, workers=0)


def test_a_last_observation_that_is_not_finite_is_named() -> None:
    class Late(Signals):
        def step(self, actions: dict[str, int]) -> Any:
            observations, rewards, ends, cuts, infos = super().step(actions)
            if any(cuts.values()):
                observations = {agent: np.full_like(seen, np.nan) for agent, seen in observations.items()}
            return observations, rewards, ends, cuts, infos

    with pytest.raises(TrainingError, match=r"field states: it must be finite"):
        train(Late, PARAMS, steps=1000, seed=1, workers=0)


@pytest.mark.parametrize(("steps", "minibatches"), [(0, 2), (1000, 10**6)])
def test_settings_that_cannot_be_are_refused(steps: int, minibatches: int) -> None:
    with pytest.raises(ConfigError, match=r"steps|key minibatches"):
        train(Signals, PARAMS.model_copy(update={"minibatches": minibatches}), steps=steps, seed=1, workers=0)


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


class Doubled(wrappers.BaseWrapper[str, Any, Any]):
    """A wrapper of turns that changes what agents see."""

    def observe(self, agent: str) -> Any:
        return 2 * super().observe(agent)


def in_turns() -> Any:
    turns = wrappers.AssertOutOfBoundsWrapper(Doubled(parallel_to_aec(Signals())))
    return aec_to_parallel(wrappers.OrderEnforcingWrapper(turns))


def test_an_environment_of_turns_steps_alike_without_the_checks_of_its_calls() -> None:
    checked, plain = in_turns(), without_call_checks(in_turns())
    assert type(plain.aec_env) is Doubled  # type: ignore[attr-defined]
    for game in (checked, plain):
        game.reset(seed=5)
    actions = np.random.default_rng(1)
    for _ in range(40):
        choice = {"small": int(actions.integers(2)), "large": 5 + int(actions.integers(3))}
        expected, found = checked.step(choice), plain.step(choice)
        for mine, theirs in zip(found[:4], expected[:4], strict=True):
            assert mine.keys() == theirs.keys()
            for agent, value in theirs.items():
                np.testing.assert_array_equal(mine[agent], value)
        if all(found[3].values()):
            for game in (checked, plain):
                game.reset()


def test_other_environments_keep_their_wrappers() -> None:
    game = Signals()
    assert without_call_checks(game) is game


def test_an_agent_without_flags_or_reward_is_named() -> None:
    class Silent(Signals):
        field = 1

        def step(self, actions: dict[str, Any]) -> Any:
            result = list(super().step(actions))
            del result[self.field]["large"]
            return tuple(result)

    class Flagless(Silent):
        field = 3

    class Unseen(Silent):
        field = 0

    cases = {Silent: "reward: it must be a finite number; found 'nothing'", Flagless: "terminations: every agent needs"}
    for kind, text in {**cases, Unseen: r"observation: it must have shape \(3,\); found 'nothing'"}.items():
        with pytest.raises(TrainingError, match=f"agent large, step 0 field {text}"):
            train(kind, PARAMS, steps=100, seed=1)
