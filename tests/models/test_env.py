from __future__ import annotations

from types import ModuleType

import pytest
from pettingzoo.test import api_test, parallel_api_test, parallel_seed_test, seed_test

import models.strategic.env
import models.tactical.env
from grandmodel.core.config import TeamParams
from grandmodel.market.simulated import simulated_tape
from models.strategic.agents import strategic_team

FACES = pytest.mark.parametrize("face", [models.strategic.env, models.tactical.env])

pytestmark = pytest.mark.filterwarnings("error")


@FACES
def test_acting_in_turn_keeps_the_contract(face: ModuleType):
    api_test(face.env(), num_cycles=1000)
    api_test(face.raw_env(), num_cycles=300)
    api_test(face.env(render_mode="ansi"), num_cycles=10)


@FACES
def test_acting_at_once_keeps_the_contract(face: ModuleType):
    parallel_api_test(face.parallel_env(), num_cycles=1000)


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
def test_an_action_that_does_not_exist_is_refused(face: ModuleType):
    env = face.env()
    env.reset(seed=1)
    with pytest.raises(AssertionError):
        env.step(7)
