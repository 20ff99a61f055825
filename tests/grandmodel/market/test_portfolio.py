from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest

from grandmodel.core.config import MarketParams
from grandmodel.core.errors import ConfigError, TrainingError
from grandmodel.core.random import random_stream
from grandmodel.market.core import VectorMarket
from grandmodel.market.portfolio import PortfolioMarket, common_clock
from grandmodel.market.reference_portfolio import ReferencePortfolio
from grandmodel.market.simulated import simulated_tape
from grandmodel.marl.environment import check_environment, defaults_of


def with_rows(tape, keep):
    """Return ``tape`` without the rows that are not to ``keep`` [T]."""
    counts = [int(keep[tape.rows(symbol)].sum()) for symbol in tape.symbols]
    rows = {f.name: getattr(tape, f.name)[keep] for f in fields(tape)[3:]}
    return replace(tape, offsets=np.cumsum([0, *counts], dtype=np.int64), **rows)


def ragged_tape(spec, rows=150, instruments=3, params=None):
    """Return instruments that lack bars at times of their own, and begin and end at times of their own."""
    tape = simulated_tape(spec, seed=3, rows=rows, instruments=instruments, params=params)
    keep = random_stream(8, "ragged").random(len(tape)) < 0.8
    place = np.arange(len(tape)) % rows
    keep[(place < 4) & (np.arange(len(tape)) < rows)] = False
    keep[(place > rows - 6) & (np.arange(len(tape)) >= rows)] = False
    return with_rows(tape, keep)


def random_actions(spec, steps, rows, seed=0):
    stream = random_stream(seed, "test actions")
    draws = [stream.integers(0, count, (steps, rows)) for count in spec.action_counts]
    return np.stack(draws, axis=-1).astype(np.int64)


def all_in(spec, rows, vote=2):
    actions = np.full((rows, len(spec.agents)), vote, np.int64)
    actions[:, -1] = spec.action_counts[-1] - 1
    return actions


@pytest.mark.parametrize(("uses_intent", "ruin_drawdown_frac"), [(False, 0.05), (True, 0.006)])
def test_ten_thousand_rows_equal_the_reference(lagged_team, uses_intent, ruin_drawdown_frac):
    spec = lagged_team(uses_intent)
    params = MarketParams(ruin_drawdown_frac=ruin_drawdown_frac, volatility_target_annual_frac=1.0)
    tape = ragged_tape(spec, params=params)
    n, instruments, steps = 8, 3, 420
    market = PortfolioMarket(tape, spec, params, n, 40, seed=5)
    twins = [ReferencePortfolio(tape, spec, params, index, 40, 5) for index in range(n)]
    caps = random_stream(1, "caps").uniform(0.2, 1.0, (steps, n, instruments))
    ends = {"terminated": 0, "truncated": 0}
    for step, actions in enumerate(random_actions(spec, steps, n * instruments)):
        market.gross_cap[:] = caps[step].ravel()
        for agent in range(len(spec.agents)):
            market.observe(agent, actions)
        chosen = actions.reshape(n, instruments, -1)
        seen = [
            [twin.observation(i, k, chosen[m, i]) for k in range(len(spec.agents))]
            for m, twin in enumerate(twins)
            for i in range(instruments)
        ]
        np.testing.assert_array_equal(market.observations, seen)
        np.testing.assert_array_equal(market.states, [twin.state(i) for twin in twins for i in range(instruments)])
        result = market.step(actions)
        for m, twin in enumerate(twins):
            twin.gross_caps = caps[step, m].tolist()
            reward, terminated, truncated, final_states = twin.step(chosen[m].tolist())
            rows = slice(m * instruments, (m + 1) * instruments)
            np.testing.assert_allclose(result.reward[rows], reward, atol=1e-6)
            assert set(result.terminated[rows].tolist()) == {terminated}
            assert set(result.truncated[rows].tolist()) == {truncated}
            np.testing.assert_array_equal(result.final_states[rows], final_states)
            ends["terminated"] += terminated
            ends["truncated"] += truncated
    assert min(ends.values()) > 10, ends


def test_the_learner_can_play_it(sized_team, params):
    market = PortfolioMarket(ragged_tape(sized_team), sized_team, params, 2, 30, seed=1)
    check_environment(market)
    assert market.n_environments == 6
    assert (market.observations == PortfolioMarket(market.tape, sized_team, params, 2, 30, seed=1).observations).all()
    first = market.states.copy()
    market.reset(2)
    assert not np.array_equal(market.states, first)
    market.reset(1)
    np.testing.assert_array_equal(market.states, first)


def test_it_hands_on_the_team_s_default_actions(ordering_team, params):
    spec = replace(ordering_team, default_actions=(1, 1, 2))
    tape = simulated_tape(spec)
    for market in (PortfolioMarket(tape, spec, params, 1, 10, seed=1), VectorMarket(tape, spec, params, 1, 10, seed=1)):
        assert defaults_of(market) == (1, 1, 2)


def test_the_clock_is_the_union_of_closes_while_all_have_bars(sized_team):
    tape = ragged_tape(sized_team)
    clock = common_clock(tape)
    closes = [tape.close_ns[tape.rows(symbol)] for symbol in tape.symbols]
    assert clock.close_ns[0] == max(close[0] for close in closes)
    assert clock.close_ns[-1] == min(close[-1] for close in closes)
    assert (np.diff(clock.close_ns) > 0).all()
    for i, close in enumerate(closes):
        np.testing.assert_array_equal(clock.trades[:, i], np.isin(clock.close_ns, close))
        known = tape.close_ns[clock.row[:, i]]
        assert (known <= clock.close_ns).all()
        assert (known[clock.trades[:, i]] == clock.close_ns[clock.trades[:, i]]).all()
        assert set(np.diff(clock.row[:, i]).tolist()) == {0, 1}
    assert clock.trades.any(axis=1).all()
    assert not clock.trades.all()


def test_an_instrument_without_a_bar_keeps_its_position_and_fills_nothing(sized_team, params):
    market = PortfolioMarket(ragged_tape(sized_team), sized_team, params, 4, 60, seed=1)
    quiet = 0
    for actions in random_actions(sized_team, 50, 12):
        before, at = market.accounts[:, 0].copy(), market.moments.copy()
        result = market.step(actions)
        resting = ~market.clock.trades[at + 1].ravel() & ~result.terminated & ~result.truncated
        np.testing.assert_array_equal(market.accounts[resting, 0], before[resting])
        assert not market.turnover[~market.clock.trades[at + 1].ravel()].any()
        quiet += int(resting.sum())
    assert quiet > 50


def test_the_return_is_the_mean_of_the_shares(sized_team, hand_tape):
    body = [0.0, 0.0, 0.02, 0.0, 0.0, -0.01]
    tape = hand_tape(np.zeros(6), body, offsets=(0, 3, 6), commission_frac=1e-3, close_ns=np.tile([10, 20, 30], 2))
    market = PortfolioMarket(tape, sized_team, MarketParams(downside_penalty=0.0), 1, 9, seed=1)
    start = market.accounts[0, 1]
    market.step(all_in(sized_team, 2))
    np.testing.assert_allclose(market.log_return, math.log1p(-1e-3), rtol=1e-12)
    assert market.accounts[:, 1].tolist() == pytest.approx([start + math.log1p(-1e-3)] * 2)
    result = market.step(all_in(sized_team, 2))
    np.testing.assert_allclose(market.log_return, math.log1p(0.005), rtol=1e-12)
    np.testing.assert_allclose(result.reward, 100 * math.log1p(0.005), rtol=1e-6)
    assert result.terminated.all()


def test_a_portfolio_of_one_is_the_single_market(sized_team, params):
    tape = simulated_tape(sized_team, rows=300, instruments=1)
    portfolio = PortfolioMarket(tape, sized_team, params, 3, 200, seed=1)
    single = VectorMarket(tape, sized_team, params, 3, 200, seed=1)
    single.begin_at(portfolio.rows.copy())
    portfolio.accounts[:] = 0.0
    for actions in random_actions(sized_team, 90, 3):
        np.testing.assert_array_equal(portfolio.step(actions).reward, single.step(actions).reward)
        np.testing.assert_array_equal(portfolio.observations, single.observations)
        np.testing.assert_array_equal(portfolio.log_return, single.log_return)


def test_ruin_is_of_the_portfolio_and_ends_all_its_rows(sized_team, hand_tape):
    body = np.r_[np.full(40, -0.05), np.full(40, 0.001)]
    tape = hand_tape(np.zeros(80), body, offsets=(0, 40, 80), leverage=5.0, close_ns=np.tile(np.arange(40), 2))
    market = PortfolioMarket(tape, sized_team, MarketParams(ruin_drawdown_frac=0.5), 20, 30, seed=1)
    ended = 0
    for _ in range(6):
        result = market.step(all_in(sized_team, 40))
        rows = result.terminated.reshape(20, 2)
        np.testing.assert_array_equal(rows[:, 0], rows[:, 1])
        ended += int(rows[:, 0].sum())
    assert ended > 0
    assert not result.truncated.any()


def test_what_cannot_be_a_portfolio_is_refused(sized_team, ordering_team, params):
    tape = simulated_tape(sized_team, rows=50)
    apart = replace(tape, close_ns=np.arange(len(tape)))
    with pytest.raises(ConfigError, match="span"):
        PortfolioMarket(apart, sized_team, params, 1, 10, seed=1)
    with pytest.raises(ConfigError, match="columns"):
        PortfolioMarket(tape, ordering_team, params, 1, 10, seed=1)
    with pytest.raises(ConfigError, match="1 or more"):
        PortfolioMarket(tape, sized_team, params, 1, 0, seed=1)
    market = PortfolioMarket(tape, sized_team, params, 2, 10, seed=1)
    moments = market.moments.copy()
    wrong = np.zeros((4, 4), np.int64)
    wrong[2, 3] = 4
    with pytest.raises(TrainingError, match="environment 2"):
        market.step(wrong)
    with pytest.raises(TrainingError, match="int64"):
        market.observe(1, wrong[:3])
    np.testing.assert_array_equal(market.moments, moments)
