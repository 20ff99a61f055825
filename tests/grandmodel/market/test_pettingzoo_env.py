from __future__ import annotations

import numpy as np
import pytest

from grandmodel.core.config import MarketParams
from grandmodel.core.errors import ConfigError, TrainingError
from grandmodel.core.random import random_stream
from grandmodel.market.core import VectorMarket
from grandmodel.market.pettingzoo_env import MarketAEC, MarketParallel
from grandmodel.market.simulated import simulated_tape

PARAMS = MarketParams(ruin_drawdown_frac=0.01)
STEPS = 10_000
SEEDED_RESET_EVERY = 1501  # steps; in the middle of an episode
WINDOW_BARS = 50
EPISODES = pytest.mark.parametrize("episodes", ["window", "session"])


def drawn_actions(spec, seed, steps=STEPS):
    stream = random_stream(seed, "actions")
    return np.stack([stream.integers(0, count, steps) for count in spec.action_counts], axis=1).astype(np.int64)


def equal_pair(face, spec, seed, episodes):
    """Return a face and a core of one environment, over one tape and from one seed."""
    tape = simulated_tape(spec, rows=400)
    env = face(tape, spec, PARAMS, window_bars=WINDOW_BARS, episodes=episodes)
    simultaneous = face is MarketParallel
    core = VectorMarket(tape, spec, PARAMS, 1, WINDOW_BARS, seed, simultaneous=simultaneous, episodes=episodes)
    return env, core


@EPISODES
@pytest.mark.parametrize("uses_intent", [False, True])
def test_acting_in_turn_equals_the_core_step_by_step(lagged_team, uses_intent, episodes):
    spec = lagged_team(uses_intent)
    face, core = equal_pair(MarketAEC, spec, 11, episodes)
    face.reset(seed=11)
    ends = {"terminated": 0, "truncated": 0}
    for step, actions in enumerate(drawn_actions(spec, 1)):
        if step % SEEDED_RESET_EVERY == SEEDED_RESET_EVERY - 1:
            face.reset(seed=step)
            core.reset(step)
        assert np.array_equal(face.state(), core.states[0])
        for index, agent in enumerate(face.possible_agents):
            assert face.agent_selection == agent
            core.observe(index, actions[None, :])
            assert np.array_equal(face.observe(agent), core.observations[0, index])
            face.step(int(actions[index]))
        result = core.step(actions[None, :])
        assert set(face.rewards.values()) == {float(result.reward[0])}
        assert set(face.terminations.values()) == {bool(result.terminated[0])}
        assert set(face.truncations.values()) == {bool(result.truncated[0])}
        assert not (result.terminated[0] and result.truncated[0])
        assert np.array_equal(face.state(), result.final_states[0])
        if result.terminated[0] or result.truncated[0]:
            ends["terminated" if result.terminated[0] else "truncated"] += 1
            for _ in spec.agents:
                face.step(None)
            assert face.agents == []
            face.reset()
    assert min(ends.values()) > 3


@EPISODES
@pytest.mark.parametrize("uses_intent", [False, True])
def test_acting_at_once_equals_the_simultaneous_core_step_by_step(lagged_team, uses_intent, episodes):
    spec = lagged_team(uses_intent)
    face, core = equal_pair(MarketParallel, spec, 12, episodes)
    observations, _ = face.reset(seed=12)
    ends = {"terminated": 0, "truncated": 0}
    for step, actions in enumerate(drawn_actions(spec, 2)):
        if step % SEEDED_RESET_EVERY == SEEDED_RESET_EVERY - 1:
            observations, _ = face.reset(seed=step)
            core.reset(step)
        for index, agent in enumerate(face.possible_agents):
            assert np.array_equal(observations[agent], core.observations[0, index])
        result = core.step(actions[None, :])
        choices = dict(zip(face.possible_agents, actions.tolist(), strict=True))
        observations, rewards, terminations, truncations, _ = face.step(choices)
        assert set(rewards.values()) == {float(result.reward[0])}
        assert set(terminations.values()) == {bool(result.terminated[0])}
        assert set(truncations.values()) == {bool(result.truncated[0])}
        assert np.array_equal(face.state(), result.final_states[0])
        if not face.agents:
            ends["terminated" if result.terminated[0] else "truncated"] += 1
            assert face.step(choices) == ({}, {}, {}, {}, {})
            observations, _ = face.reset()
    assert min(ends.values()) > 3


@pytest.mark.parametrize("face", [MarketAEC, MarketParallel])
def test_an_episode_can_be_asked_to_begin_at_a_row(sized_team, face):
    tape = simulated_tape(sized_team)
    env = face(tape, sized_team, PARAMS)
    env.reset(seed=1, options={"row": 37})
    assert env.state()[: sized_team.n_columns].tolist() == tape.features[37].tolist()
    assert env.state()[sized_team.n_columns : -1].tolist() == [0.0, 0.0, 0.0]
    with pytest.raises(ConfigError, match="row"):
        env.reset(options={"row": len(tape)})


@pytest.mark.parametrize("face", [MarketAEC, MarketParallel])
@pytest.mark.parametrize("row", [5.7, "x", None, True, -1, 10**6, 2**70])
@pytest.mark.parametrize("seed", [None, 9])
def test_a_refused_row_leaves_the_episode_and_the_stream_where_they_are(sized_team, face, row, seed):
    env, undisturbed = (face(simulated_tape(sized_team), sized_team, PARAMS, seed=1) for _ in range(2))
    for each in (env, undisturbed):
        each.reset()
    with pytest.raises(ConfigError, match="row"):
        env.reset(seed=seed, options={"row": row})
    assert np.array_equal(env.state(), undisturbed.state())
    for each in (env, undisturbed):
        each.reset()
    assert np.array_equal(env.state(), undisturbed.state())


def test_options_of_other_names_are_left_alone(sized_team):
    env, plain = (MarketParallel(simulated_tape(sized_team), sized_team, PARAMS) for _ in range(2))
    env.reset(seed=1, options={"options": 1})
    plain.reset(seed=1)
    assert np.array_equal(env.state(), plain.state())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sizer_0": None}, "agent sizer_0: its action must be an integer in 0..3"),
        ({"sizer_0": 1.0}, "agent sizer_0: its action must be an integer"),
        ({"sizer_0": 99}, "agent sizer_0: its action must be an integer in 0..3; found 99"),
        ({"sizer_0": -1}, "agent sizer_0: its action"),
        ({"nobody_0": 1}, "agent nobody_0: must be one of"),
        ({"sizer_0": ...}, "agent sizer_0: needs an action"),
    ],
)
def test_actions_at_once_that_are_none_are_refused_by_agent(sized_team, change, message):
    env = MarketParallel(simulated_tape(sized_team), sized_team, PARAMS)
    env.reset(seed=1)
    before = env.state()
    actions = dict.fromkeys(env.possible_agents, 1) | change
    actions = {agent: action for agent, action in actions.items() if action is not ...}
    with pytest.raises(TrainingError, match=message):
        env.step(actions)
    with pytest.raises(TrainingError, match="must be a dict"):
        env.step([1, 1, 1, 1])
    assert np.array_equal(env.state(), before)


@pytest.mark.parametrize("action", [None, 1.0, 3, -1, "long"])
def test_an_action_in_turn_that_is_none_is_refused_by_agent(sized_team, action):
    env = MarketAEC(simulated_tape(sized_team), sized_team, PARAMS)
    env.reset(seed=1)
    agent = env.agent_selection
    with pytest.raises(TrainingError, match=f"agent {agent}: its action must be an integer in 0..2"):
        env.step(action)
    assert env.agent_selection == agent


def test_the_end_of_a_session_truncates_and_the_end_of_the_data_terminates(sized_team):
    tape = simulated_tape(sized_team, rows=33)  # two sessions of 16 bars and one of a single bar
    for row, episodes, ends in ((14, "session", "truncated"), (31, "window", "terminated")):
        env = MarketParallel(tape, sized_team, PARAMS, episodes=episodes)
        flat = dict.fromkeys(env.possible_agents, 1) | {"sizer_0": 0}
        env.reset(seed=1, options={"row": row})
        _, _, terminations, truncations, _ = env.step(flat)
        assert set(terminations.values()) == {ends == "terminated"}
        assert set(truncations.values()) == {ends == "truncated"}
        assert env.agents == []


def test_agents_at_once_see_the_triples_of_the_previous_bar(sized_team):
    face = MarketParallel(simulated_tape(sized_team), sized_team, PARAMS)
    observations, _ = face.reset(seed=1)
    assert not observations["sizer_0"][4:].any()
    observations, *_ = face.step(dict(zip(face.possible_agents, (0, 1, 2, 3), strict=True)))
    assert observations["sizer_0"][4:].tolist() == [1, 0, 0, 0, 1, 0, 0, 0, 1]


def test_an_option_that_does_not_exist_is_refused(sized_team):
    with pytest.raises(TypeError, match="window_bar"):
        MarketParallel(simulated_tape(sized_team), sized_team, PARAMS, window_bar=9)


def test_features_that_leave_the_observation_space_are_refused(sized_team, hand_tape):
    tape = hand_tape(np.zeros(4), np.zeros(4), features=np.full((4, 5), 1e4, np.float32))
    with pytest.raises(ConfigError, match="lie within"):
        MarketAEC(tape, sized_team, PARAMS)
