"""The peer in plain Python must be the same market as the core, or its speed says nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pettingzoo.test import parallel_api_test

from benchmarks.plain_market import PlainMarket
from grandmodel.core.config import MarketParams, TeamParams
from grandmodel.core.random import random_stream
from grandmodel.market.accounting import LOG_EQUITY
from grandmodel.market.core import VectorMarket
from grandmodel.market.simulated import simulated_tape
from models.strategic.agents import strategic_team
from models.tactical.agents import tactical_team

PARAMS = MarketParams(ruin_drawdown_frac=0.01)
STEPS = 5000
TEAMS = pytest.mark.parametrize("spec", [strategic_team(TeamParams(lags=2)), tactical_team(TeamParams())])


def rolling_tape(spec):
    tape = simulated_tape(spec, rows=400)
    return replace(tape, rolled=np.arange(len(tape)) % 37 == 0)


@TEAMS
def test_it_equals_the_core_step_by_step(spec):
    tape = rolling_tape(spec)
    core = VectorMarket(tape, spec, PARAMS, 1, 60, seed=5, simultaneous=True)
    plain = PlainMarket(tape, spec, PARAMS, window_bars=60)
    stream, ends = random_stream(5, "actions"), {"terminated": 0, "truncated": 0}
    observations = plain.begin_at(int(core.rows[0]), float(core.accounts[0, LOG_EQUITY]))
    for _ in range(STEPS):
        for agent, name in enumerate(plain.possible_agents):
            np.testing.assert_array_max_ulp(observations[name], core.observations[0, agent], 1)
        actions = np.array([[stream.integers(0, count) for count in spec.action_counts]], np.int64)
        result = core.step(actions)
        choices = dict(zip(plain.possible_agents, actions[0].tolist(), strict=True))
        observations, rewards, terminations, truncations, _ = plain.step(choices)
        assert set(map(np.float32, rewards.values())) == {result.reward[0]}
        assert set(terminations.values()) == {bool(result.terminated[0])}
        assert set(truncations.values()) == {bool(result.truncated[0])}
        if not plain.agents:
            ends["terminated" if result.terminated[0] else "truncated"] += 1
            observations = plain.begin_at(int(core.rows[0]), float(core.accounts[0, LOG_EQUITY]))
    assert min(ends.values()) > 5


@TEAMS
def test_it_is_a_pettingzoo_environment(spec):
    parallel_api_test(PlainMarket(simulated_tape(spec), spec, MarketParams()), num_cycles=300)
