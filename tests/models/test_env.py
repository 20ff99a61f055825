from __future__ import annotations

from types import ModuleType

import numpy as np
import pytest
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, seed_test

import models.strategic.env
import models.tactical.env
from grandmodel.core.config import MarketParams, TeamParams
from grandmodel.core.random import random_stream
from grandmodel.market.core import VectorMarket
from grandmodel.market.simulated import simulated_tape
from models.strategic.agents import strategic_team

FACES = pytest.mark.parametrize("face", [models.strategic.env, models.tactical.env])
STEPS = 10_000

pytestmark = pytest.mark.filterwarnings("error")


@FACES
def test_acting_in_turn_keeps_the_contract(face: ModuleType):
    api_test(face.env(), num_cycles=1000)
    api_test(face.raw_env(), num_cycles=300)
    for render_mode in ("ansi", "rgb_array"):
        api_test(face.env(render_mode=render_mode), num_cycles=10)


@FACES
def test_acting_at_once_keeps_the_contract(face: ModuleType):
    parallel_api_test(face.parallel_env(), num_cycles=1000)
    for render_mode in ("ansi", "rgb_array"):
        parallel_api_test(face.parallel_env(render_mode=render_mode), num_cycles=10)


@FACES
def test_equal_seeds_give_equal_games(face: ModuleType):
    seed_test(face.env, num_cycles=300)
    seed_test(face.raw_env, num_cycles=300)
    parallel_seed_test(face.parallel_env, num_cycles=300)


def test_a_tape_and_lags_of_one_s_own_are_taken():
    params = TeamParams(lags=4, window_bars=10)
    env = models.strategic.env.env(simulated_tape(strategic_team(params), rows=50), team=params)
    env.reset(seed=1)
    assert env.observation_space("mlmi_0").shape == (4 * 4 + 4 + 3,)


@FACES
def test_wrapped_turns_equal_the_core_and_the_bars_made_here_are_called_simulated(face: ModuleType):
    env = face.env(render_mode="ansi", window_bars=40)
    market = env.unwrapped._face.market
    core = VectorMarket(market.tape, market.spec, MarketParams(), 1, 40, seed=3)
    stream = random_stream(3, "actions")
    env.reset(seed=3)
    assert "SIMULATED" in env.render()
    for _ in range(STEPS):
        actions = np.array([[stream.integers(0, count) for count in market.spec.action_counts]], np.int64)
        for index, agent in enumerate(env.possible_agents):
            core.observe(index, actions)
            observation, _, terminated, truncated, _ = env.last()
            assert np.array_equal(observation, core.observations[0, index])
            assert not terminated
            assert not truncated
            assert env.agent_selection == agent
            env.step(int(actions[0, index]))
        result = core.step(actions)
        assert set(env.rewards.values()) == {float(result.reward[0])}
        if result.terminated[0] or result.truncated[0]:
            env.reset()


def test_the_source_of_a_tape_of_one_s_own_is_as_stated():
    tape = simulated_tape(strategic_team(TeamParams()))
    for simulated, words in ((None, "not stated"), (False, ": market data"), (True, "SIMULATED")):
        env = models.strategic.env.parallel_env(tape, render_mode="ansi", simulated=simulated)
        env.reset(seed=1)
        assert words in env.render()


@FACES
def test_an_action_that_does_not_exist_is_refused(face: ModuleType):
    env = face.env()
    env.reset(seed=1)
    with pytest.raises(AssertionError):
        env.step(7)
