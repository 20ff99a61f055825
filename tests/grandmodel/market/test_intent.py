from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest

from grandmodel.core.bars import NS_PER_MINUTE
from grandmodel.core.config import MarketParams
from grandmodel.core.errors import ConfigError, DataError
from grandmodel.core.random import random_stream
from grandmodel.market.intent import (
    Intent,
    encode_intent,
    intent_of,
    intents_from_replay,
    intents_on_clock,
    valid_until,
)
from grandmodel.market.policy import random_policy
from grandmodel.market.replay import replay, simulate_targets
from grandmodel.market.simulated import simulated_tape

HALF_HOUR = 30 * NS_PER_MINUTE
FLAT = [0, 1, 0, 0, 0, 1]
COLUMNS = ("decided_ns", "valid_until_ns", "direction", "size", "confidence", "regime")


@pytest.fixture
def intent():
    return Intent("A", HALF_HOUR, 3 * HALF_HOUR, (0.0, 0.25, 0.75), 0.5, 0.75, 2)


@pytest.fixture
def replayed(sized_team):
    spec = replace(sized_team, agents=("near", "far", "regime", "sizer"))
    tape = simulated_tape(spec, rows=200, instruments=2)
    policy = random_policy(spec, 8, random_stream(3, "policy"), scale=1.0)
    return tape, replay(tape, policy, MarketParams())


def paused(team):
    tape = simulated_tape(team, rows=200, instruments=1)
    return tape, replay(tape, random_policy(team, 8, random_stream(3, "policy"), scale=1.0), MarketParams())


def test_a_valid_intent_tells_its_age(intent):
    assert encode_intent(intent, HALF_HOUR).tolist() == [0, 0.25, 0.75, 0.5, 0.75, 0]
    assert encode_intent(intent, 2 * HALF_HOUR).tolist() == [0, 0.25, 0.75, 0.5, 0.75, 0.5]


def test_a_missing_stale_or_early_intent_is_flat_without_size(intent):
    assert encode_intent(None, HALF_HOUR).tolist() == FLAT
    assert encode_intent(intent, 3 * HALF_HOUR).tolist() == FLAT
    assert encode_intent(intent, HALF_HOUR - 1).tolist() == FLAT


def test_a_contradicting_intent_is_flat_with_half_the_size(intent):
    torn = replace(intent, direction=(0.4, 0.2, 0.4))
    np.testing.assert_allclose(encode_intent(torn, HALF_HOUR), [0, 1, 0, 0.25, 0.75, 0])


def test_an_intent_cannot_be_changed_or_be_nonsense(intent):
    with pytest.raises(FrozenInstanceError):
        intent.size = 1.0
    for wrong in (
        {"direction": (0.5, 0.5, 0.5)},
        {"direction": (-0.5, 0.5, 1.0)},
        {"size": 1.1},
        {"confidence": -0.1},
        {"valid_until_ns": HALF_HOUR},
        {"size": float("nan")},
    ):
        with pytest.raises(ConfigError):
            replace(intent, **wrong)


def test_actions_become_vote_size_and_regime(sized_team):
    spec = replace(sized_team, agents=("near", "far", "regime", "sizer"))
    made = intent_of(spec, np.array([2, 2, 0, 2], np.int8), "A", HALF_HOUR, 3 * HALF_HOUR)
    assert made.direction == pytest.approx((1 / 3, 0, 2 / 3))
    assert made.size == pytest.approx(2 / 3)
    assert made.confidence == pytest.approx(2 / 3)
    assert made.regime == 0
    assert (made.decided_ns, made.valid_until_ns) == (HALF_HOUR, 3 * HALF_HOUR)
    assert intent_of(sized_team, np.array([2, 2, 0, 2], np.int8), "A", HALF_HOUR, 3 * HALF_HOUR).regime == -1


def test_a_replay_gives_one_intent_per_bar_decided_at_its_close(replayed):
    tape, passed = replayed
    tables = intents_from_replay(tape, passed)
    assert set(tables) == set(tape.symbols)
    for symbol, table in tables.items():
        part = tape.rows(symbol)
        np.testing.assert_array_equal(table.decided_ns, tape.close_ns[part])
        np.testing.assert_array_equal(table.regime, passed.actions[part, 2])
        for index in (0, 57):
            actions = passed.actions[part][index]
            moments = int(table.decided_ns[index]), int(table.valid_until_ns[index])
            assert table.at(index) == intent_of(passed.spec, actions, symbol, *moments)
        np.testing.assert_array_equal(table.valid_until_ns, valid_until(table.decided_ns, tape.bar_minutes))


def test_an_intent_holds_until_two_more_bars_have_closed_and_a_pause_is_no_bar():
    closes = np.array([1, 2, 3, 50, 51, 51.5, 90], np.float64)  # in half hours: two pauses, and a short last bar
    found = valid_until((closes * HALF_HOUR).astype(np.int64), 30)
    np.testing.assert_array_equal(found, np.array([3, 50, 51, 52, 90, 53.5, 92]) * HALF_HOUR)


def test_what_was_decided_before_a_pause_holds_after_it_and_ends_by_itself(sized_team):
    table = intents_from_replay(*paused(sized_team))["SIM0"]
    last = int(np.argmax(np.diff(table.decided_ns)))  # decided at the last close before the longest pause
    assert table.decided_ns[last + 1] - table.decided_ns[last] > 2 * HALF_HOUR
    alone = replace(table, **{name: getattr(table, name)[: last + 1] for name in COLUMNS})
    moments = np.array([table.decided_ns[last + 1] - 1, table.decided_ns[last + 2]])
    after_pause, two_bars_later = intents_on_clock(alone, moments)
    np.testing.assert_array_equal(after_pause, encode_intent(table.at(last), int(moments[0])))
    assert after_pause[:3].tolist() == table.direction[last].tolist()
    assert after_pause[5] == 1.0
    assert two_bars_later.tolist() == FLAT


def test_the_clock_table_equals_the_message_rule_at_every_moment(replayed):
    tape, passed = replayed
    table = intents_from_replay(tape, passed)["SIM1"]
    stream = random_stream(9, "moments")
    moments = np.sort(stream.integers(0, table.decided_ns[-1] + 4 * HALF_HOUR, 2000))
    moments = np.concatenate([moments, table.decided_ns, table.valid_until_ns])
    found = intents_on_clock(table, moments)
    kinds = {"flat": 0, "torn": 0, "plain": 0}
    for moment, numbers in zip(moments, found, strict=True):
        latest = int(np.searchsorted(table.decided_ns, moment, side="right")) - 1
        known = table.at(latest) if latest >= 0 else None
        np.testing.assert_array_equal(numbers, encode_intent(known, int(moment)))
        holds = known is not None and moment < known.valid_until_ns
        torn = holds and numbers[1] == 1 and table.direction[latest, 2] > 0
        kinds["torn" if torn else "plain" if holds else "flat"] += 1
    assert min(kinds.values()) > 0


def test_no_number_tells_of_a_hole_in_the_data_before_it(replayed):
    table = intents_from_replay(*replayed)["SIM0"]
    columns = {name: getattr(table, name)[:6] for name in COLUMNS}
    closes = np.array([1, 2, 3, 11, 12, 13]) * HALF_HOUR  # nothing between the third bar and the fourth
    whole = replace(table, **columns | {"decided_ns": closes, "valid_until_ns": valid_until(closes, 30)})
    cut = {name: getattr(whole, name)[:3] for name in COLUMNS}
    before = replace(whole, **cut | {"valid_until_ns": valid_until(closes[:3], 30)})
    moments = np.arange(HALF_HOUR, 3 * HALF_HOUR + 1, HALF_HOUR // 6)
    np.testing.assert_array_equal(intents_on_clock(whole, moments), intents_on_clock(before, moments))


def test_nothing_decided_later_is_known(replayed):
    tape, passed = replayed
    table = intents_from_replay(tape, passed)["SIM0"]
    moment = table.decided_ns[20:21]
    at_close = intents_on_clock(table, moment)
    just_before = intents_on_clock(table, moment - 1)
    np.testing.assert_array_equal(at_close[0], encode_intent(table.at(20), int(moment[0])))
    np.testing.assert_array_equal(just_before[0], encode_intent(table.at(19), int(moment[0]) - 1))


def test_a_replay_of_something_else_is_refused(replayed):
    tape, passed = replayed
    with pytest.raises(ConfigError):
        intents_from_replay(tape.only("SIM0"), passed)
    with pytest.raises(ConfigError):
        intents_from_replay(tape, simulate_targets(tape, np.zeros(len(tape)), MarketParams()))
    table = intents_from_replay(tape, passed)["SIM0"]
    with pytest.raises(DataError, match="order"):
        replace(table, decided_ns=table.decided_ns[::-1])
