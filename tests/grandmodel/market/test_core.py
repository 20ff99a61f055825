from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from grandmodel.core.config import MarketParams
from grandmodel.core.errors import ConfigError, TrainingError
from grandmodel.core.random import random_stream
from grandmodel.market.core import VectorMarket
from grandmodel.market.episodes import uniform_draw
from grandmodel.market.reference import ReferenceMarket, uniform
from grandmodel.market.simulated import simulated_tape

ENVIRONMENTS = 7


def random_actions(spec, steps, environments, seed=0):
    stream = random_stream(seed, "test actions")
    draws = [stream.integers(0, count, (steps, environments)) for count in spec.action_counts]
    return np.stack(draws, axis=-1).astype(np.int64)


def constant_actions(spec, environments, votes, last):
    actions = np.full((environments, len(spec.agents)), votes, np.int64)
    actions[:, -1] = last
    return actions


@pytest.mark.parametrize(
    ("uses_intent", "simultaneous", "episodes"),
    [
        (False, False, "window"),
        (True, False, "window"),
        (False, True, "session"),
        (True, True, "window"),
        (True, False, "session"),
    ],
)
def test_ten_thousand_steps_equal_the_reference(lagged_team, uses_intent, simultaneous, episodes):
    spec = lagged_team(uses_intent)
    params = MarketParams(ruin_drawdown_frac=0.02, volatility_target_annual_frac=1.0)
    tape = simulated_tape(spec, seed=3, rows=150, instruments=3, params=params)
    tape = replace(tape, rolled=np.arange(len(tape)) % 41 == 40)
    n, steps = 20, 500
    market = VectorMarket(tape, spec, params, n, 40, 5, simultaneous=simultaneous, episodes=episodes)
    twins = [ReferenceMarket(tape, spec, params, e, 40, 5, simultaneous, episodes) for e in range(n)]
    caps = random_stream(1, "caps").uniform(0.2, 1.0, (steps, n))
    ends = {"terminated": 0, "truncated": 0}
    for step, actions in enumerate(random_actions(spec, steps, n)):
        market.gross_cap[:] = caps[step]
        for agent in range(len(spec.agents)):
            market.observe(agent, actions)
        seen = [[twin.observation(k, actions[e]) for k in range(len(spec.agents))] for e, twin in enumerate(twins)]
        np.testing.assert_array_equal(market.observations, seen)
        np.testing.assert_array_equal(market.states, [twin.state() for twin in twins])
        result = market.step(actions)
        for e, twin in enumerate(twins):
            twin.gross_cap = caps[step, e]
        outcomes = [twin.step(actions[e]) for e, twin in enumerate(twins)]
        reward, terminated, truncated, final_states = zip(*outcomes, strict=True)
        np.testing.assert_allclose(result.reward, reward, atol=1e-6)
        np.testing.assert_array_equal(result.terminated, terminated)
        np.testing.assert_array_equal(result.truncated, truncated)
        np.testing.assert_array_equal(result.final_states, final_states)
        ends["terminated"] += int(result.terminated.sum())
        ends["truncated"] += int(result.truncated.sum())
    assert min(ends.values()) > 20


def test_draws_equal_the_reference_and_fill_the_unit_interval():
    draws = [uniform_draw(np.uint64(99), k) for k in range(2000)]
    assert draws == [uniform(99, k) for k in range(2000)]
    assert 0 <= min(draws) < 0.01
    assert 0.99 < max(draws) < 1
    assert abs(np.mean(draws) - 0.5) < 0.03


def test_equal_seeds_give_equal_games_and_others_do_not(sized_team, params):
    tape = simulated_tape(sized_team)

    def play(market):
        rewards = [market.step(actions).reward.copy() for actions in random_actions(sized_team, 60, ENVIRONMENTS)]
        return np.array(rewards)

    market = VectorMarket(tape, sized_team, params, ENVIRONMENTS, 32, seed=1)
    first = play(market)
    market.reset(1)
    np.testing.assert_array_equal(play(market), first)
    market.reset(2)
    assert not np.array_equal(play(market), first)


def test_an_environment_does_not_depend_on_how_many_stand_beside_it(sized_team, params):
    tape = simulated_tape(sized_team)
    few = VectorMarket(tape, sized_team, params, 2, 32, seed=1)
    many = VectorMarket(tape, sized_team, params, 9, 32, seed=1)
    for actions in random_actions(sized_team, 50, 9):
        few_reward, many_reward = few.step(actions[:2].copy()).reward, many.step(actions).reward
        np.testing.assert_array_equal(few_reward, many_reward[:2])


def test_copies_with_numbers_of_their_own_play_their_share_of_the_games(sized_team, params):
    tape = simulated_tape(sized_team)
    share = VectorMarket(tape, sized_team, params, 4, 32, seed=1, first_copy=5)
    everyone = VectorMarket(tape, sized_team, params, 9, 32, seed=1)
    for actions in random_actions(sized_team, 50, 9):
        share_reward, reward = share.step(actions[5:].copy()).reward, everyone.step(actions).reward
        np.testing.assert_array_equal(share_reward, reward[5:])
    assert not np.array_equal(reward[:4], share_reward)


def test_flat_earns_nothing(sized_team, params):
    market = VectorMarket(simulated_tape(sized_team), sized_team, params, ENVIRONMENTS, 32, seed=1)
    flat = constant_actions(sized_team, ENVIRONMENTS, votes=1, last=3)
    for _ in range(100):
        assert (market.step(flat).reward == 0).all()
        assert (market.log_return == 0).all()
        assert (market.turnover == 0).all()


def test_the_window_end_truncates_and_never_terminates(sized_team, params):
    market = VectorMarket(simulated_tape(sized_team, rows=2000), sized_team, params, 50, 20, seed=1)
    flat = constant_actions(sized_team, 50, votes=1, last=0)
    for step in range(1, 61):
        result = market.step(flat)
        assert (result.truncated == (step % 20 == 0)).all()
        assert not result.terminated.any()


def test_the_end_of_data_terminates_and_never_truncates(sized_team, params):
    market = VectorMarket(simulated_tape(sized_team, rows=15), sized_team, params, 5, 500, seed=1)
    flat = constant_actions(sized_team, 5, votes=1, last=0)
    ended = 0
    for step in range(1, 29):
        result = market.step(flat)
        assert (result.terminated == (step % 14 == 0)).all()
        assert not result.truncated.any()
        ended += int(result.terminated.sum())
    assert ended == 10


def test_ruin_terminates(sized_team, hand_tape):
    rows = 40
    tape = hand_tape(np.zeros(rows), np.full(rows, -0.05), leverage=5.0)
    market = VectorMarket(tape, sized_team, MarketParams(ruin_drawdown_frac=0.5), 4, 30, seed=1, auto_reset=False)
    long = constant_actions(sized_team, 4, votes=2, last=3)
    started = 1 - np.exp(market.accounts[:, 1])
    assert (started > 0).all()
    assert (started < 0.25).all()
    for step in range(1, 4):
        result = market.step(long)
        np.testing.assert_array_equal(result.terminated, 1 - (1 - started) * 0.75**step >= 0.5)
        assert not result.truncated.any()
    assert result.terminated.all()


def test_the_gross_cap_holds_on_every_tradable_bar(ordering_team, params):
    tape = simulated_tape(ordering_team, rows=400)
    market = VectorMarket(tape, ordering_team, params, 20, 300, seed=1)
    stream, cut = random_stream(2, "caps"), 0
    for actions in random_actions(ordering_team, 300, 20):
        market.gross_cap[:] = stream.choice([0.0, 0.1, 1.0], 20)
        over = np.abs(market.accounts[:, 0]) > market.gross_cap
        result = market.step(actions)
        living = ~(result.terminated | result.truncated)
        tradable = tape.tradable[market.rows]
        held = np.abs(market.accounts[:, 0])
        assert (held[living & tradable] <= market.gross_cap[living & tradable]).all()
        cut += int((over & living & tradable).sum())
    assert cut > 50


def test_triples_of_the_same_bar_reach_only_later_agents(sized_team, params):
    market = VectorMarket(simulated_tape(sized_team), sized_team, params, 3, 32, seed=1)
    actions = np.array([[0, 1, 2, 3]] * 3, np.int64)
    before = market.observations.copy()
    for agent in range(4):
        market.observe(agent, actions)
    np.testing.assert_array_equal(market.observations[:, 0], before[:, 0])
    assert market.observations[0, 3, 4:].tolist() == [1, 0, 0, 0, 1, 0, 0, 0, 1]
    assert market.observations[0, 1, 6:9].tolist() == [1, 0, 0]


def test_buffers_are_reused(sized_team, params):
    market = VectorMarket(simulated_tape(sized_team), sized_team, params, 3, 32, seed=1)
    observations, states = market.observations, market.states
    first = market.step(random_actions(sized_team, 1, 3)[0])
    second = market.step(random_actions(sized_team, 1, 3)[0])
    assert observations is market.observations
    assert states is market.states
    assert first.reward is second.reward


def test_torch_shares_the_buffers_and_sees_every_step(sized_team, params):
    market = VectorMarket(simulated_tape(sized_team), sized_team, params, 3, 32, seed=1)
    observations, states = torch.from_numpy(market.observations), torch.from_numpy(market.states)
    assert observations.data_ptr() == market.observations.ctypes.data
    before = observations.clone()
    actions = random_actions(sized_team, 1, 3)[0]
    market.step(actions)
    assert not torch.equal(observations, before)
    market.observe(3, actions)
    np.testing.assert_array_equal(observations.numpy(), market.observations)
    np.testing.assert_array_equal(states.numpy(), market.states)


def test_final_states_are_those_before_the_reset_and_outlive_the_step(sized_team, params):
    market = VectorMarket(simulated_tape(sized_team), sized_team, params, 3, 5, seed=1)
    flat = constant_actions(sized_team, 3, votes=1, last=0)
    for step in range(1, 6):
        result = market.step(flat)
        final_states = result.final_states
        changed = (final_states != market.states).any(axis=1)
        assert changed.tolist() == [step == 5] * 3
    kept = final_states.copy()
    market.step(flat)
    np.testing.assert_array_equal(final_states, kept)


def test_session_episodes_go_from_the_first_bar_of_a_session_to_its_last(sized_team, params):
    tape = simulated_tape(sized_team, rows=160)
    market = VectorMarket(tape, sized_team, params, 40, 3, seed=1, episodes="session")
    long = constant_actions(sized_team, 40, votes=2, last=3)
    for step in range(64):
        first_of_session = np.diff(tape.session, prepend=-1)[market.rows] != 0
        assert (first_of_session == (step % 15 == 0)).all()
        before, session = market.rows.copy(), tape.session[market.rows]
        result = market.step(long)
        ended = result.terminated | result.truncated
        assert (ended == (step % 15 == 14)).all()
        assert (session == tape.session[before + 1]).all()
        assert (result.terminated == np.isin(before + 1, tape.offsets[1:] - 1)).all()
        assert not (result.terminated & result.truncated).any()


def test_a_session_of_one_bar_is_never_played(sized_team, params, hand_tape):
    session = np.array([0, 0, 0, 1, 2, 2, 3, 3, 3, 3], np.int32)
    tape = hand_tape(np.zeros(10), np.zeros(10), session=session)
    market = VectorMarket(tape, sized_team, params, 200, 3, seed=1, episodes="session")
    assert set(market.rows.tolist()) == {0, 4, 6}
    alone = replace(tape, session=np.arange(10, dtype=np.int32))
    with pytest.raises(ConfigError, match=r"S0.*session"):
        VectorMarket(alone, sized_team, params, 1, 3, seed=1, episodes="session")
    with pytest.raises(ConfigError, match="episodes"):
        VectorMarket(tape, sized_team, params, 1, 3, seed=1, episodes="day")


def test_an_episode_can_begin_at_a_stated_row_without_moving_the_streams(sized_team, params):
    tape = simulated_tape(sized_team, rows=100)
    market = VectorMarket(tape, sized_team, params, 3, 20, seed=1)
    undisturbed = VectorMarket(tape, sized_team, params, 3, 20, seed=1)
    rows = np.array([0, 95, 130])
    market.begin_at(rows)
    assert market.rows.tolist() == rows.tolist()
    assert not market.accounts.any()
    np.testing.assert_array_equal(market.states[:, :5], tape.features[rows])
    flat = constant_actions(sized_team, 3, votes=1, last=0)
    ends = [(r.terminated.tolist(), r.truncated.tolist()) for r in (market.step(flat) for _ in range(4))]
    assert ends[3] == ([False, True, False], [False, False, False])
    market.begin_episodes()
    undisturbed.begin_episodes()
    undisturbed.begin_episodes()  # the second environment drew one more when its data ended
    assert market.rows[1] == undisturbed.rows[1]


def test_a_stated_row_ends_with_its_session(sized_team, params):
    tape = simulated_tape(sized_team, rows=100)
    market = VectorMarket(tape, sized_team, params, 2, 50, seed=1, auto_reset=False, episodes="session")
    market.begin_at(np.array([13, 110]))
    flat = constant_actions(sized_team, 2, votes=1, last=0)
    ended = [market.step(flat).truncated.tolist() for _ in range(5)]
    assert ended[:2] == [[False, False], [True, False]]
    assert ended[4] == [True, True]
    with pytest.raises(ConfigError, match=r"after them.*15"):
        market.begin_at(np.array([0, 15]))


def test_rows_at_which_nothing_can_begin_are_refused(sized_team, params):
    market = VectorMarket(simulated_tape(sized_team, rows=100), sized_team, params, 2, 50, seed=1)
    rows = market.rows.copy()
    for wrong in ([0, 200], [-1, 0], [0, 99], [199, 0], [0], [0.0, 1.0]):
        with pytest.raises(ConfigError, match="rows to begin at"):
            market.begin_at(np.array(wrong))
    np.testing.assert_array_equal(market.rows, rows)


def test_actions_of_a_wrong_shape_are_refused_before_anything_is_written(sized_team, params):
    market = VectorMarket(simulated_tape(sized_team), sized_team, params, 3, 32, seed=1)
    before = market.observations.copy()
    with pytest.raises(TrainingError, match="actions"):
        market.observe(1, np.zeros((4, 4), np.int64))
    np.testing.assert_array_equal(market.observations, before)


def test_impossible_actions_move_nothing(sized_team, params):
    market = VectorMarket(simulated_tape(sized_team), sized_team, params, 3, 32, seed=1)
    rows = market.rows.copy()
    for wrong in (np.full((3, 4), 3), np.full((3, 4), -1), np.ones((2, 4), np.int64), np.ones((3, 4), np.int32)):
        with pytest.raises(TrainingError):
            market.step(wrong)
    np.testing.assert_array_equal(market.rows, rows)


def test_lists_in_the_place_of_arrays_are_refused(sized_team, params):
    market = VectorMarket(simulated_tape(sized_team), sized_team, params, 1, 32, seed=1)
    with pytest.raises(TrainingError, match="must be an array int64"):
        market.step([[1, 1, 1, 0]])
    with pytest.raises(ConfigError, match="rows to begin at: must be an array"):
        market.begin_at([5])


def test_a_refusal_names_the_rule_that_was_broken_alone(sized_team, params):
    market = VectorMarket(simulated_tape(sized_team), sized_team, params, 2, 32, seed=1)
    with pytest.raises(TrainingError, match=r"environment 1: actions must .*99") as refused:
        market.step(np.array([[1, 1, 1, 0], [1, 1, 1, 99]]))
    assert "ended" not in str(refused.value)


def test_an_ended_market_without_automatic_reset_refuses_to_go_on(sized_team, params):
    market = VectorMarket(simulated_tape(sized_team, rows=5), sized_team, params, 1, 50, 1, auto_reset=False)
    flat = constant_actions(sized_team, 1, votes=1, last=0)
    for _ in range(4):
        result = market.step(flat)
    assert result.terminated[0]
    with pytest.raises(TrainingError, match="ended"):
        market.step(flat)
    market.begin_episodes()
    assert not market.step(flat).terminated[0]


def test_what_does_not_fit_is_refused(sized_team, ordering_team, params, hand_tape):
    tape = simulated_tape(sized_team)
    with pytest.raises(ConfigError, match="columns"):
        VectorMarket(tape, ordering_team, params, 1, 10, 0)
    with pytest.raises(ConfigError, match="two rows"):
        VectorMarket(hand_tape([0.0], [0.0]), sized_team, params, 1, 10, 0)
    with pytest.raises(ConfigError, match="1 or more"):
        VectorMarket(tape, sized_team, params, 0, 10, 0)


@pytest.mark.parametrize("episodes", ["window", "session"])
def test_a_market_goes_on_from_its_saved_state(lagged_team, episodes):
    spec = lagged_team(False)
    tape = simulated_tape(spec, seed=3, rows=150)
    market, other = (VectorMarket(tape, spec, MarketParams(), 5, 40, seed, episodes=episodes) for seed in (1, 2))
    market.gross_cap[:] = 0.5
    actions = random_actions(spec, 60, 5)
    for step in range(30):
        market.step(actions[step])
    state = market.save_state()
    before = {name: array.copy() for name, array in state.items()}
    other.load_state(state)
    for step in range(30, 60):
        for twin in (market, other):
            for agent in range(len(spec.agents)):
                twin.observe(agent, actions[step])
        np.testing.assert_array_equal(market.observations, other.observations)
        np.testing.assert_array_equal(market.states, other.states)
        rewards = [np.array(twin.step(actions[step]).reward) for twin in (market, other)]
        np.testing.assert_array_equal(*rewards)
    for name, array in state.items():
        np.testing.assert_array_equal(array, before[name])  # it is a copy


def test_the_state_of_another_market_is_refused(lagged_team):
    spec = lagged_team(False)
    tape = simulated_tape(spec, seed=3, rows=150)
    market, larger = (VectorMarket(tape, spec, MarketParams(), copies, 40, 1) for copies in (5, 6))
    before = market.save_state()
    with pytest.raises(TrainingError, match=r"field \w+: must be \w+ \(.*5.*\); found '\w+ \(.*6"):
        market.load_state(larger.save_state())
    with pytest.raises(TrainingError, match="must have the fields"):
        market.load_state({"row": before["row"]})
    for name, array in market.save_state().items():
        np.testing.assert_array_equal(array, before[name])
