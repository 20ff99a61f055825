from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grandmodel.core.random import random_stream
from grandmodel.market import accounting as book
from grandmodel.market.reference import ORDER_CODES, Account, filled_position, live_through

positions = st.floats(-1, 1)
moves = st.floats(-0.2, 0.2)
costs = st.floats(0, 0.01)
orders = st.sampled_from(sorted(ORDER_CODES))


def advance(account, tape, target, order, cap):
    """Carry the one account [4] in place over the second bar of ``tape``."""
    accounts = account.reshape(4, 1)
    return book.advance_account(accounts, 0, tape.arrays.market, 1, target, order, cap)


def test_old_position_carries_the_gap_and_new_one_the_body():
    assert book.bar_growth_frac(0.01, 0.02, 2.0, -0.5, 1.0, False) == pytest.approx(0.99 * 1.04 - 1, abs=1e-15)


def test_a_limit_fill_carries_the_gap_too():
    assert book.bar_growth_frac(0.01, 0.02, 1.0, 0.0, 1.0, True) == pytest.approx(1.01 * 1.02 - 1, abs=1e-15)


def test_cost_is_leverage_times_spread_commission_and_square_root_impact():
    cost = book.trade_cost_frac(0.25, 0.001, 0.0002, 0.004, 3.0, False)
    assert cost == pytest.approx(3 * (0.25 * 0.0012 + 0.004 * 0.125), rel=1e-15)
    assert book.trade_cost_frac(0.25, 0.001, 0.0002, 0.004, 3.0, True) == pytest.approx(3 * 0.25 * 0.0002)


def test_reward_is_the_scaled_return_less_its_squared_loss():
    assert book.bar_reward(0.01, 50.0, 0.1) == pytest.approx(0.5)
    assert book.bar_reward(-0.01, 50.0, 0.1) == pytest.approx(-0.5 - 0.1 * 0.25)


@pytest.mark.parametrize(("low", "filled"), [(-0.001, 0.8), (0.0, 0.2), (0.001, 0.2)])
def test_a_buy_limit_fills_only_when_traded_through(low, filled):
    assert book.fill_position(0.2, 0.8, book.ORDER_LIMIT, 1.0, 0.01, low, True) == (filled, True)


@pytest.mark.parametrize(("high", "filled"), [(0.001, -0.8), (0.0, 0.2), (-0.001, 0.2)])
def test_a_sell_limit_fills_only_when_traded_through(high, filled):
    assert book.fill_position(0.2, -0.8, book.ORDER_LIMIT, 1.0, high, -0.01, True) == (filled, True)


@pytest.mark.parametrize("order", [book.ORDER_NONE, book.ORDER_LIMIT, book.ORDER_MARKET])
def test_a_position_beyond_the_cap_is_cut_at_the_market_whatever_the_order(order):
    position, at_limit = book.fill_position(0.9, 0.7, order, 0.5, 0.0, 0.0, True)
    assert (position, at_limit) == (0.5, False)


@pytest.mark.parametrize("order", [book.ORDER_NONE, book.ORDER_LIMIT, book.ORDER_MARKET])
def test_a_bar_that_is_not_tradable_fills_nothing(order):
    assert book.fill_position(0.9, -1.0, order, 0.5, 0.1, -0.1, False)[0] == 0.9


@pytest.mark.parametrize("cap", [-0.5, -0.0, math.nan, -math.inf])
@pytest.mark.parametrize("order", ["none", "limit", "market"])
def test_a_cap_that_is_negative_or_no_number_is_zero(hand_tape, cap, order):
    tape = hand_tape(np.array([0.0, 0.01]), np.array([0.0, -0.02]))
    for before in (0.6, -0.6, 0.0):
        zero, damaged = Account(position=before), Account(position=before)
        live_through(zero, tape, 1, 0.8, order, 0.0)
        live_through(damaged, tape, 1, 0.8, order, cap)
        accounts = np.array([[before], [0.0], [0.0], [0.0]])
        book.advance_account(accounts, 0, tape.arrays.market, 1, 0.8, ORDER_CODES[order], cap)
        assert damaged == zero
        assert accounts[book.POSITION, 0] == 0.0
        assert accounts[book.LOG_EQUITY, 0] == pytest.approx(zero.log_equity, abs=1e-15)


def test_open_return_starts_anew_from_flat_and_on_a_change_of_side():
    assert book.open_return(0.3, 0.1, 0.5, 0.7) == pytest.approx(0.4)
    assert book.open_return(0.3, 0.1, 0.5, -0.7) == 0.1
    assert book.open_return(0.0, 0.1, 0.0, 0.7) == 0.1
    assert book.open_return(0.3, 0.1, 0.5, 0.0) == 0.0


@settings(max_examples=200, deadline=None)
@given(before=positions, target=positions, order=orders, gap=moves, body=moves, cap=st.floats(0, 1), cost=costs)
def test_costs_never_help_and_the_cap_holds(hand_tape_module, before, target, order, gap, body, cap, cost):
    free = hand_tape_module([0.0, gap], [0.0, body], leverage=2.0)
    dear = hand_tape_module(
        [0.0, gap], [0.0, body], leverage=2.0, half_spread_frac=cost, commission_frac=cost, impact_frac=cost
    )
    accounts = np.array([[before, 0.0, 0.0, 0.0]] * 2)
    free_return, _, _ = advance(accounts[0], free, target, ORDER_CODES[order], cap)
    dear_return, turnover, cost_frac = advance(accounts[1], dear, target, ORDER_CODES[order], cap)
    assert accounts[0, 0] == accounts[1, 0]
    assert dear_return <= free_return
    assert cost_frac >= 0
    assert turnover == abs(accounts[1, 0] - before)
    assert abs(accounts[1, 0]) <= cap


@settings(max_examples=300, deadline=None)
@given(
    before=positions, target=positions, order=orders, gap=moves, body=moves, cap=st.floats(0, 1),
    tradable=st.booleans(), rolled=st.booleans(),
)  # fmt: skip
def test_compiled_account_equals_the_plain_one(
    hand_tape_module, before, target, order, gap, body, cap, tradable, rolled
):
    tape = hand_tape_module(
        [0.0, gap], [0.0, body], leverage=3.0, half_spread_frac=1e-4, commission_frac=2e-5, impact_frac=3e-4,
        tradable=np.array([True, tradable]), rolled=np.array([False, rolled]),
    )  # fmt: skip
    account = np.array([before, -0.1, 0.05, 0.02])
    plain = Account(before, -0.1, 0.05, 0.02)
    found = advance(account, tape, target, ORDER_CODES[order], cap)
    expected = live_through(plain, tape, 1, target, order, cap)
    assert found == pytest.approx(expected, abs=1e-14)
    assert account[0] == filled_position(tape, 1, before, target, order, cap)
    assert account.tolist() == pytest.approx(
        [plain.position, plain.log_equity, plain.log_peak, plain.open_return], abs=1e-14
    )
    assert book.drawdown_frac(account[1], account[2]) == pytest.approx(plain.drawdown_frac, abs=1e-14)


def test_a_bar_can_never_lose_everything(hand_tape):
    tape = hand_tape([0.0, -0.5], [0.0, -0.9], leverage=5.0)
    account = np.array([1.0, 0.0, 0.0, 0.0])
    log_return, _, _ = advance(account, tape, 1.0, book.ORDER_NONE, 1.0)
    assert math.isfinite(log_return)
    assert book.drawdown_frac(account[1], account[2]) < 1.0


def test_a_position_carried_into_a_new_contract_pays_two_trades_and_is_no_turnover(hand_tape):
    tape = hand_tape(
        [0.0, 0.0], [0.0, 0.0], leverage=2.0, half_spread_frac=1e-4, commission_frac=3e-5, impact_frac=4e-4,
        rolled=np.array([False, True]),
    )  # fmt: skip
    held, flat = np.array([-0.5, 0.0, 0.0, 0.0]), np.zeros(4)
    log_return, turnover, cost_frac = advance(held, tape, -0.5, book.ORDER_MARKET, 1.0)
    assert cost_frac == pytest.approx(2 * 2.0 * (0.5 * 1.3e-4 + 4e-4 * 0.5**1.5), rel=1e-12)
    assert log_return == pytest.approx(math.log1p(-cost_frac), rel=1e-12)
    assert (turnover, held[0]) == (0.0, -0.5)
    assert advance(flat, tape, 0.0, book.ORDER_MARKET, 1.0) == (0.0, 0.0, 0.0)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), cap=st.floats(0, 1), leverage=st.sampled_from([0.0, 1.0, 5.0, 20.0]))
def test_through_crashes_rolls_and_bars_without_volume_the_books_stay_whole(hand_tape_module, seed, cap, leverage):
    rows, stream = 40, random_stream(seed, "wild bars")
    tape = hand_tape_module(
        stream.uniform(-0.9, 0.9, rows) * (stream.random(rows) < 0.3), stream.uniform(-0.9, 0.9, rows),
        leverage=leverage, half_spread_frac=1e-3, commission_frac=1e-4, impact_frac=1e-2,
        tradable=stream.random(rows) < 0.7, rolled=stream.random(rows) < 0.2,
    )  # fmt: skip
    accounts, plain = np.zeros((4, 1)), Account()
    for row in range(1, rows):
        target, order = stream.uniform(-1, 1), ("none", "limit", "market")[stream.integers(3)]
        before = accounts[0, 0]
        found = book.advance_account(accounts, 0, tape.arrays.market, row, target, ORDER_CODES[order], cap)
        assert found == pytest.approx(live_through(plain, tape, row, target, order, cap), rel=1e-12, abs=1e-12)
        assert accounts[:, 0].tolist() == pytest.approx(
            [plain.position, plain.log_equity, plain.log_peak, plain.open_return], rel=1e-12, abs=1e-12
        )
        log_return, turnover, cost_frac = found
        assert log_return >= math.log1p(book.RETURN_FRAC_MIN)
        assert 0 <= book.drawdown_frac(accounts[1, 0], accounts[2, 0]) <= 1
        if tape.tradable[row]:
            assert abs(accounts[0, 0]) <= cap
        else:
            assert (accounts[0, 0], turnover) == (before, 0)
            assert cost_frac == 0 or tape.rolled[row]


def test_no_bar_however_bad_gives_a_nan(hand_tape):
    tape = hand_tape([0.0, -1.0], [0.0, -1.0], leverage=20.0, impact_frac=1.0)
    for before in (-1.0, 0.0, 1.0):
        for order in ORDER_CODES.values():
            account = np.array([before, 0.0, 0.0, 0.0])
            assert np.isfinite(advance(account, tape, -before, order, 1.0)).all()
            assert np.isfinite(account).all()
