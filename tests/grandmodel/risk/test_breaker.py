from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grandmodel.core.config import BreakerLimits
from grandmodel.core.errors import ConfigError
from grandmodel.risk.breaker import BreakerState, Step, alarm, armed, reset, update
from grandmodel.risk.state import TradingState

LIMITS = BreakerLimits()
EQUITIES = st.lists(st.one_of(st.floats(0.5, 1.5), st.just(math.nan), st.just(-0.1)), min_size=1, max_size=40)


def walk(equities: list[float], state: BreakerState | None = None) -> list[Step]:
    steps = []
    state = state or armed(1.0, LIMITS)
    for equity in equities:
        step = update(state, equity)
        state = step[0]
        steps.append(step)
    return steps


@pytest.mark.parametrize(
    ("equity", "cap", "state", "kind"),
    [
        (0.9, 0.5, TradingState.ACTIVE, "cut"),
        (0.85, 0.25, TradingState.ACTIVE, "cut"),
        (0.8, 0.0, TradingState.HALTED, "halt"),
        (-1.0, 0.0, TradingState.HALTED, "halt"),
    ],
)
def test_each_limit_trips_exactly_where_it_stands(equity: float, cap: float, state: TradingState, kind: str) -> None:
    after, events = update(armed(1.0, LIMITS), equity)
    assert (after.gross_cap, after.trading) == (cap, state)
    assert [event.kind for event in events] == [kind]


def test_just_above_a_limit_nothing_happens() -> None:
    assert update(armed(1.0, LIMITS), 0.9001) == (armed(1.0, LIMITS), ())


def test_levels_come_one_after_another_and_each_speaks_once() -> None:
    steps = walk([0.95, 0.90, 0.89, 0.85, 0.84, 0.80, 0.50])
    assert [state.gross_cap for state, _ in steps] == [1.0, 0.5, 0.5, 0.25, 0.25, 0.0, 0.0]
    assert [event.kind for _, events in steps for event in events] == ["cut", "cut", "halt"]


def test_the_drawdown_is_counted_from_the_highest_equity() -> None:
    steps = walk([2.0, 1.81, 1.79])
    assert [state.level for state, _ in steps] == [0, 0, 1]
    assert steps[-1][1][0].drawdown_frac == pytest.approx(0.105)


def test_a_recovery_does_not_raise_the_cap() -> None:
    assert walk([0.9, 5.0])[-1][0].gross_cap == 0.5


def test_a_second_alarm_while_latched_does_not_halve_again() -> None:
    first, events = alarm(armed(1.0, LIMITS), "correlation shock HIGH")
    assert (first.gross_cap, events[0].kind) == (0.5, "cut")
    second, events = alarm(first, "correlation shock CRITICAL")
    assert (second, events[0].kind) == (first, "alarm_while_latched")
    assert update(first, 0.9) == (first, ())
    assert update(first, 0.85)[0].gross_cap == 0.25


@pytest.mark.parametrize("equity", [math.nan, math.inf, -math.inf])
def test_equity_that_is_no_number_reduces_with_the_cap_held(equity: float) -> None:
    before = walk([0.9])[-1][0]
    after, events = update(before, equity)
    assert (after.trading, after.gross_cap) == (TradingState.REDUCING, 0.5)
    assert [event.kind for event in events] == ["equity_unknown"]
    assert update(after, equity) == (after, ())
    assert update(after, 1.0)[0].trading is TradingState.REDUCING
    assert update(after, 0.7)[0].trading is TradingState.HALTED


def test_only_a_named_person_with_a_reason_resets() -> None:
    halted = walk([0.7])[-1][0]
    for actor, reason in (("", "fine again"), ("ann", "  ")):
        with pytest.raises(ConfigError, match="actor and reason"):
            reset(halted, 0.7, actor=actor, reason=reason)
    fresh, events = reset(halted, 0.7, actor="ann", reason="feed repaired")
    assert (fresh.gross_cap, fresh.trading, fresh.peak_equity) == (1.0, TradingState.ACTIVE, 0.7)
    assert (events[0].kind, events[0].actor, events[0].reason) == ("reset", "ann", "feed repaired")
    assert update(fresh, 0.65) == (fresh, ())


@pytest.mark.parametrize("equity", [0.0, -1.0, math.nan, math.inf])
def test_a_breaker_cannot_be_armed_on_nonsense(equity: float) -> None:
    with pytest.raises(ConfigError, match="equity"):
        armed(equity, LIMITS)
    with pytest.raises(ConfigError, match="equity"):
        reset(armed(1.0, LIMITS), equity, actor="ann", reason="why")


def test_limits_must_rise() -> None:
    with pytest.raises(ConfigError, match="must rise"):
        armed(1.0, BreakerLimits(half_drawdown_frac=0.2, quarter_drawdown_frac=0.15, halt_drawdown_frac=0.3))


def test_the_state_survives_a_restart() -> None:
    for state, _ in walk([0.9 + 1e-17, math.nan, 0.84, 0.1]):
        assert BreakerState.from_dict(json.loads(json.dumps(state.to_dict()))) == state


@given(EQUITIES, st.floats(0.1, 4))
def test_between_resets_nothing_ever_gets_looser(equities: list[float], base_cap: float) -> None:
    state = armed(1.0, LIMITS, base_cap=base_cap)
    for after, _ in walk(equities, state):
        assert after.gross_cap <= state.gross_cap
        assert after.trading >= state.trading
        state = after


@given(EQUITIES, st.floats(0, 1))
def test_a_cut_leaves_at_most_half_of_what_was_held(equities: list[float], gross: float) -> None:
    state = armed(1.0, LIMITS)
    for equity in equities:
        held = min(gross, state.gross_cap)
        state, events = update(state, equity, gross=held)
        for event in events:
            if event.kind in ("cut", "halt"):
                assert event.gross_after <= held / 2
                assert event.gross_after <= state.gross_cap <= 0.5


def test_the_cap_comes_down_with_what_was_held() -> None:
    cut, events = alarm(armed(1.0, LIMITS, base_cap=4.0), "correlation shock", gross=1.2)
    assert (cut.gross_cap, events[0].gross_before, events[0].gross_after) == (0.6, 1.2, 0.6)
    deeper, events = update(cut, 0.85, gross=0.5)
    assert (deeper.gross_cap, events[0].gross_after) == (0.25, 0.25)
    assert BreakerState.from_dict(json.loads(json.dumps(deeper.to_dict()))) == deeper
    assert reset(deeper, 0.85, actor="ann", reason="calm again")[0].gross_cap == 4.0


@pytest.mark.parametrize("gross", [None, 0.0, math.nan, math.inf, 9.0])
def test_a_flat_or_unknown_book_takes_half_of_the_cap(gross: float | None) -> None:
    cut, events = alarm(armed(1.0, LIMITS, base_cap=4.0), "correlation shock", gross=gross)
    assert cut.gross_cap == 2.0
    assert events[0].gross_after <= 2.0


@pytest.mark.parametrize("gross", [math.nan, 0.3, 7.0])
def test_an_alarm_while_latched_says_what_may_be_held(gross: float) -> None:
    latched = alarm(armed(1.0, LIMITS), "first")[0]
    (event,) = alarm(latched, "second", gross=gross)[1]
    assert event.gross_after == (0.3 if gross == 0.3 else 0.5)


@given(EQUITIES, st.floats(-1, 1), st.floats(0, 1))
def test_risk_reducing_moves_pass_in_every_state(equities: list[float], position: float, share: float) -> None:
    for state, _ in walk(equities):
        assert abs(state.permits(position, position * share)) <= abs(position * share)


@given(EQUITIES, st.floats(-1, 1), st.floats(-2, 2))
def test_a_halted_breaker_lets_nothing_add_risk(equities: list[float], position: float, target: float) -> None:
    state = walk([*equities, 0.01])[-1][0]
    assert state.trading is TradingState.HALTED
    assert state.permits(position, target) == 0.0


@given(EQUITIES)
def test_restarting_at_every_step_changes_nothing(equities: list[float]) -> None:
    straight = walk(equities)[-1][0]
    state = armed(1.0, LIMITS)
    for equity in equities:
        state = BreakerState.from_dict(json.loads(json.dumps(update(state, equity)[0].to_dict())))
    assert state == straight
