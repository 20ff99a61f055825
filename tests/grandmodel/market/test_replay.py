from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grandmodel.core.config import MarketParams
from grandmodel.core.errors import ConfigError, DataError
from grandmodel.core.random import random_stream
from grandmodel.market.accounting import ORDER_MARKET
from grandmodel.market.core import VectorMarket
from grandmodel.market.policy import TeamPolicy, random_policy
from grandmodel.market.reference import reference_replay
from grandmodel.market.replay import Order, Walk, decision_hash, replay, simulate_targets
from grandmodel.market.simulated import simulated_tape

PARAMS = MarketParams()


def fixed_policy(spec, choices):
    """Return a policy that takes ``choices`` whatever it sees."""
    policy = random_policy(spec, 4, random_stream(0, "fixed"), scale=0.0)
    bias = policy.weights["actor.2.bias"].copy()
    bias[np.arange(len(choices)), choices] = 1.0
    return TeamPolicy(spec, {**policy.weights, "actor.2.bias": bias})


def follow_column(spec, column_entry):
    """Return a policy whose voters go long or short with the sign of one number they see, at full size."""
    policy = random_policy(spec, 4, random_stream(0, "fixed"), scale=0.0)
    weights = {name: array.copy() for name, array in policy.weights.items()}
    weights["actor.0.weight"][:, column_entry, 0] = 10.0
    weights["actor.1.weight"][:, 0, 0] = 10.0
    weights["actor.2.weight"][:-1, 0, :3] = [-1.0, 0.0, 1.0]
    weights["actor.2.bias"][-1, spec.action_counts[-1] - 1] = 1.0
    return TeamPolicy(spec, weights)


@pytest.mark.parametrize("uses_intent", [False, True])
@pytest.mark.parametrize("delay_bars", [0, 2])
def test_replay_equals_the_reference(lagged_team, uses_intent, delay_bars):
    spec = lagged_team(uses_intent)
    tape = simulated_tape(spec, seed=4, rows=120, instruments=2)
    policy = random_policy(spec, 12, random_stream(5, "policy"), scale=1.0)
    found = replay(tape, policy, PARAMS, delay_bars=delay_bars, gross_cap=0.8)
    expected = reference_replay(tape, policy, delay_bars, gross_cap=0.8)
    for name in ("actions", "order", "position"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    for name in ("target", "log_return", "turnover", "cost_frac"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), atol=1e-14)
    assert decision_hash(found) == decision_hash(expected)
    assert found.turnover.sum() > 1
    assert len(np.unique(found.actions)) >= 3


def test_replay_sees_and_does_what_training_sees_and_does(lagged_team):
    for uses_intent in (False, True):
        spec = lagged_team(uses_intent)
        whole = simulated_tape(spec, seed=6, rows=400, instruments=1)
        policy = random_policy(spec, 12, random_stream(6, "policy"), scale=1.0)
        market = VectorMarket(whole, spec, PARAMS, 1, 10_000, seed=1, auto_reset=False)
        assert market.rows[0] == 0
        walk = Walk(whole, policy, "SIM0")
        walk.account[:] = market.accounts[0]
        walk.advance(400)
        passed = walk.replay()
        actions = np.zeros((1, len(spec.agents)), np.int64)
        for row in range(399):
            for agent in range(len(spec.agents)):
                market.observe(agent, actions)
                actions[0, agent] = policy.act(market.observations[0, agent], agent)
            np.testing.assert_array_equal(actions[0], passed.actions[row])
            ended = market.step(actions).terminated[0]
            assert market.accounts[0, 0] == passed.position[row + 1]
            assert market.log_return[0] == passed.log_return[row + 1]
            assert ended == (row == 398)
        assert passed.turnover.sum() > 1


def test_buy_and_hold_earns_the_price_less_one_entry_cost(hand_tape):
    stream = random_stream(1, "moves")
    gap, body = stream.normal(0, 0.002, 50), stream.normal(0, 0.01, 50)
    tape = hand_tape(gap, body, half_spread_frac=1e-4, commission_frac=2e-5, impact_frac=3e-4)
    held = simulate_targets(tape, np.ones(50), PARAMS)
    price = np.log1p(gap) + np.log1p(body)
    cost = 1e-4 + 2e-5 + 3e-4
    expected = np.log1p(body[1] - cost) + price[2:].sum()
    assert held.log_return.sum() == pytest.approx(expected, abs=1e-13)
    assert held.turnover.sum() == 1.0
    assert held.turnover[1] == 1.0
    assert held.cost_frac.sum() == pytest.approx(cost)


def test_flat_targets_earn_nothing(hand_tape):
    tape = hand_tape(np.full(20, 0.01), np.full(20, -0.02), half_spread_frac=1e-4)
    flat = simulate_targets(tape, np.zeros(20), PARAMS)
    assert not flat.log_return.any()
    assert not flat.position.any()
    assert flat.actions.shape == (20, 0)


def test_positions_of_a_hand_made_policy_are_those_computed_by_hand(sized_team, hand_tape):
    sign = np.array([1, 1, -1, 1, -1, -1], np.float32)
    features = np.zeros((6, 5), np.float32)
    features[:, 0], features[:, 2], features[:, 4] = sign, sign, sign
    tape = hand_tape(np.zeros(6), [0.0, 0.01, 0.02, -0.01, 0.03, 0.01], features=features)
    passed = replay(tape, follow_column(sized_team, 0), PARAMS)
    assert passed.target.tolist() == sign.tolist()
    assert passed.position.tolist() == [0, 1, 1, -1, 1, -1]
    np.testing.assert_allclose(passed.log_return, np.log1p([0, 0.01, 0.02, 0.01, 0.03, -0.01]))
    assert passed.turnover.tolist() == [0, 1, 0, 2, 2, 2]


@given(delay=st.integers(0, 6))
def test_delay_shifts_fills_and_nothing_else(hand_tape_module, delay):
    stream = random_stream(2, "targets")
    targets = np.round(stream.uniform(-1, 1, 40), 2)
    tape = hand_tape_module(np.zeros(40), stream.normal(0, 0.01, 40))
    prompt, late = (simulate_targets(tape, targets, PARAMS, delay_bars=bars) for bars in (0, delay))
    np.testing.assert_array_equal(late.position[delay:], prompt.position[: 40 - delay])
    assert not late.position[: delay + 1].any()
    assert len(np.unique(prompt.position)) > 10


def test_a_limit_order_fills_only_when_the_price_trades_through_it(ordering_team, hand_tape):
    long_intent = np.tile(np.array([0, 0, 1, 1, 1, 0], np.float32), (4, 1))
    gap, body = [0.0, 0.002, 0.002, 0.002], [0.0, 0.001, 0.001, 0.001]
    execute = fixed_policy(ordering_team, [2, 2, 1])
    missed = replay(hand_tape(gap, body, columns=3, intent=long_intent), execute, PARAMS)
    assert missed.target.tolist() == [1, 1, 1, 1]
    assert not missed.position.any()
    lows = np.array([0.0, 0.0, -0.001, 0.0])
    filled = replay(hand_tape(gap, body, columns=3, intent=long_intent, low_frac=lows), execute, PARAMS)
    assert filled.position.tolist() == [0, 0, 1, 1]
    assert filled.log_return[2] == pytest.approx(np.log(1.002 * 1.001))


def test_wait_keeps_the_position_and_the_cap_cuts_it(ordering_team, hand_tape):
    intent = np.tile(np.array([0, 0, 1, 1, 1, 0], np.float32), (6, 1))
    tape = hand_tape(np.zeros(6), np.full(6, 0.01), columns=3, intent=intent)
    walk = Walk(tape, fixed_policy(ordering_team, [2, 2, 2]), "S0")
    walk.advance(2)
    assert walk.position == 1.0
    waiting = Walk(tape, fixed_policy(ordering_team, [2, 2, 0]), "S0")
    waiting.advance(1)
    waiting.account[0] = 1.0
    waiting.advance(2)
    assert waiting.position == 1.0
    waiting.advance(1, gross_cap=0.25)
    assert waiting.position == 0.25


def test_a_bar_without_volume_fills_nothing(hand_tape):
    tape = hand_tape(np.zeros(4), np.full(4, 0.01), tradable=np.array([True, False, False, True]))
    assert simulate_targets(tape, np.ones(4), PARAMS).position.tolist() == [0, 0, 0, 1]


@given(cap=st.floats(0, 1))
def test_the_gross_cap_holds(hand_tape_module, cap):
    targets = random_stream(3, "targets").uniform(-2, 2, 30)
    tape = hand_tape_module(np.zeros(30), np.zeros(30))
    assert np.abs(simulate_targets(tape, targets, PARAMS, gross_cap=cap).position).max() <= cap


def test_instruments_do_not_touch_each_other(sized_team):
    tape = simulated_tape(sized_team, rows=100, instruments=3)
    policy = random_policy(sized_team, 8, random_stream(7, "policy"), scale=1.0)
    together = replay(tape, policy, PARAMS)
    for symbol in tape.symbols:
        alone = replay(tape.only(symbol), policy, PARAMS)
        np.testing.assert_array_equal(alone.position, together.position[together.rows(symbol)])
        assert alone.turnover.sum() > 0


def test_a_walk_in_pieces_is_a_replay(lagged_team):
    for uses_intent in (False, True):
        spec = lagged_team(uses_intent)
        tape = simulated_tape(spec, rows=100, instruments=1)
        policy = random_policy(spec, 8, random_stream(8, "policy"), scale=1.0)
        walk = Walk(tape, policy, "SIM0", delay_bars=1)
        while walk.advance(7):
            pass
        whole = replay(tape, policy, PARAMS, delay_bars=1)
        assert decision_hash(walk.replay()) == decision_hash(whole)
        assert walk.drawdown_frac == pytest.approx(
            1 - np.exp(whole.log_return.sum() - max(0, np.cumsum(whole.log_return).max()))
        )


def test_a_fork_goes_on_to_the_bit_whatever_the_other_does(lagged_team):
    for uses_intent in (False, True):
        spec = lagged_team(uses_intent)
        tape = simulated_tape(spec, rows=150, instruments=2)
        policy = random_policy(spec, 8, random_stream(8, "policy"), scale=1.0)
        walk = Walk(tape, policy, "SIM1", delay_bars=1)
        walk.advance(70)
        kept, overruled = walk.fork(), walk.fork()
        while overruled.advance(1):
            overruled.send(Order(0.0, ORDER_MARKET))
        kept.advance(len(tape))
        seen, flat = kept.replay(), overruled.replay()
        alone = Walk(tape, policy, "SIM1", delay_bars=1)
        alone.advance(len(tape))
        for name in ("actions", "target", "order", "position", "log_return", "turnover", "cost_frac"):
            np.testing.assert_array_equal(getattr(seen, name), getattr(alone.replay(), name))
        np.testing.assert_array_equal(kept.account, alone.account)
        assert not np.array_equal(flat.position, seen.position)
        assert not walk.replay().position[tape.rows("SIM1")][70:].any()


def test_orders_that_are_looked_at_and_sent_as_asked_change_no_bit(lagged_team):
    for uses_intent in (False, True):
        spec = lagged_team(uses_intent)
        tape = simulated_tape(spec, rows=150, instruments=1)
        policy = random_policy(spec, 8, random_stream(9, "policy"), scale=1.0)
        walk, asked = Walk(tape, policy, "SIM0"), []
        while walk.advance(1):
            asked.append(walk.asked)
            walk.send(walk.asked)
        seen, whole = walk.replay(), replay(tape, policy, PARAMS)
        assert asked == [Order(*one) for one in zip(whole.target.tolist(), whole.order.tolist(), strict=True)][:-1]
        for name in ("actions", "target", "order", "position", "log_return", "turnover", "cost_frac"):
            np.testing.assert_array_equal(getattr(seen, name), getattr(whole, name))
        assert whole.turnover.sum() > 1


def test_what_is_sent_is_filled_instead_of_what_was_asked(ordering_team, hand_tape):
    intent = np.tile(np.array([0, 0, 1, 1, 1, 0], np.float32), (5, 1))
    walk = Walk(
        hand_tape(np.zeros(5), np.full(5, 0.01), columns=3, intent=intent), fixed_policy(ordering_team, [2, 2, 2]), "S0"
    )
    assert walk.asked == Order(0.0, 0)
    walk.advance(1)
    assert walk.asked == Order(1.0, 2)
    walk.send(Order(0.25, 2))
    walk.advance(1)
    assert walk.position == 0.25
    walk.advance(1)
    assert walk.position == 1.0
    np.testing.assert_allclose(walk.replay().log_return[:3], np.log1p([0.0, 0.0025, 0.01]))


def test_an_order_needs_a_bar_and_a_finite_target(ordering_team, hand_tape):
    walk = Walk(hand_tape(np.zeros(3), np.zeros(3), columns=3), fixed_policy(ordering_team, [2, 2, 2]), "S0")
    with pytest.raises(DataError, match="a bar at whose close"):
        walk.send(Order(0.0, 2))
    walk.advance(1)
    with pytest.raises(DataError, match="finite target"):
        walk.send(Order(float("nan"), 2))


def test_equal_replays_have_equal_hashes_and_different_ones_do_not(sized_team):
    tape = simulated_tape(sized_team, rows=100)
    policies = [random_policy(sized_team, 8, random_stream(seed, "policy"), scale=1.0) for seed in (1, 1, 2)]
    hashes = [decision_hash(replay(tape, policy, PARAMS)) for policy in policies]
    assert hashes[0] == hashes[1] != hashes[2]


def test_wrong_inputs_are_refused(sized_team, ordering_team, hand_tape):
    tape = hand_tape(np.zeros(5), np.zeros(5))
    with pytest.raises(ConfigError, match="columns"):
        replay(tape, fixed_policy(ordering_team, [1, 1, 1]), PARAMS)
    with pytest.raises(ConfigError, match="delay"):
        replay(tape, fixed_policy(sized_team, [1, 1, 1, 1]), PARAMS, delay_bars=-1)
    for wrong in (np.ones(4), np.array([0, 0, np.nan, 0, 0])):
        with pytest.raises(DataError, match="targets"):
            simulate_targets(tape, wrong, PARAMS)
    with pytest.raises(DataError, match="replay"):
        simulate_targets(tape, np.ones(5), PARAMS).rows("other")
