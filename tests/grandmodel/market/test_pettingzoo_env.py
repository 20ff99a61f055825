from __future__ import annotations

import numpy as np
import pytest

from grandmodel.core.config import MarketParams
from grandmodel.core.errors import ConfigError
from grandmodel.core.random import random_stream
from grandmodel.market.core import VectorMarket
from grandmodel.market.pettingzoo_env import MarketAEC, MarketParallel
from grandmodel.market.simulated import simulated_tape

PARAMS = MarketParams(ruin_drawdown_frac=0.05)
STEPS = 3000


def drawn_actions(spec, seed):
    stream = random_stream(seed, "actions")
    return np.stack([stream.integers(0, count, STEPS) for count in spec.action_counts], axis=1).astype(np.int64)


@pytest.mark.parametrize("uses_intent", [False, True])
def test_acting_in_turn_equals_the_core_step_by_step(lagged_team, uses_intent):
    spec = lagged_team(uses_intent)
    tape = simulated_tape(spec, rows=200)
    face = MarketAEC(tape, spec, PARAMS, window_bars=50)
    core = VectorMarket(tape, spec, PARAMS, 1, 50, seed=11)
    face.reset(seed=11)
    ends = {"terminated": 0, "truncated": 0}
    for actions in drawn_actions(spec, 1):
        np.testing.assert_array_equal(face.state(), core.states[0])
        for index, agent in enumerate(face.possible_agents):
            assert face.agent_selection == agent
            core.observe(index, actions[None, :])
            np.testing.assert_array_equal(face.observe(agent), core.observations[0, index])
            face.step(int(actions[index]))
        result = core.step(actions[None, :])
        assert set(face.rewards.values()) == {float(result.reward[0])}
        assert set(face.terminations.values()) == {bool(result.terminated[0])}
        assert set(face.truncations.values()) == {bool(result.truncated[0])}
        np.testing.assert_array_equal(face.state(), result.final_states[0])
        if result.terminated[0] or result.truncated[0]:
            ends["terminated" if result.terminated[0] else "truncated"] += 1
            for _ in spec.agents:
                face.step(None)
            assert face.agents == []
            face.reset()
    assert min(ends.values()) > 0


@pytest.mark.parametrize("uses_intent", [False, True])
def test_acting_at_once_equals_the_simultaneous_core_step_by_step(lagged_team, uses_intent):
    spec = lagged_team(uses_intent)
    tape = simulated_tape(spec, rows=200)
    face = MarketParallel(tape, spec, PARAMS, window_bars=50)
    core = VectorMarket(tape, spec, PARAMS, 1, 50, seed=12, simultaneous=True)
    observations, _ = face.reset(seed=12)
    ends = {"terminated": 0, "truncated": 0}
    for actions in drawn_actions(spec, 2):
        for index, agent in enumerate(face.possible_agents):
            np.testing.assert_array_equal(observations[agent], core.observations[0, index])
        result = core.step(actions[None, :])
        choices = dict(zip(face.possible_agents, actions.tolist(), strict=True))
        observations, rewards, terminations, truncations, _ = face.step(choices)
        assert set(rewards.values()) == {float(result.reward[0])}
        assert set(terminations.values()) == {bool(result.terminated[0])}
        assert set(truncations.values()) == {bool(result.truncated[0])}
        np.testing.assert_array_equal(face.state(), result.final_states[0])
        if not face.agents:
            ends["terminated" if result.terminated[0] else "truncated"] += 1
            assert face.step(choices) == ({}, {}, {}, {}, {})
            observations, _ = face.reset()
    assert min(ends.values()) > 0


def test_agents_at_once_see_the_triples_of_the_previous_bar(sized_team):
    face = MarketParallel(simulated_tape(sized_team), sized_team, PARAMS)
    observations, _ = face.reset(seed=1)
    assert not observations["sizer_0"][4:].any()
    observations, *_ = face.step(dict(zip(face.possible_agents, (0, 1, 2, 3), strict=True)))
    assert observations["sizer_0"][4:].tolist() == [1, 0, 0, 0, 1, 0, 0, 0, 1]


def test_text_shows_position_and_equity(sized_team):
    for face in (MarketAEC, MarketParallel):
        env = face(simulated_tape(sized_team), sized_team, PARAMS, render_mode="ansi")
        env.reset(seed=1)
        assert "position +0.000  equity" in env.render()
        env.close()
        silent = face(simulated_tape(sized_team), sized_team, PARAMS)
        silent.reset(seed=1)
        assert silent.render() is None


def test_features_that_leave_the_observation_space_are_refused(sized_team, hand_tape):
    tape = hand_tape(np.zeros(4), np.zeros(4), features=np.full((4, 5), 1e4, np.float32))
    with pytest.raises(ConfigError, match="lie within"):
        MarketAEC(tape, sized_team, PARAMS)
