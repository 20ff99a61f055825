"""The guard: what holds whatever it is given, over a hundred thousand cases, and that breaking any of it is seen."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from grandmodel.core.config import BreakerLimits, RiskLimits
from grandmodel.core.errors import ConfigError
from grandmodel.risk import breaker as breakers
from grandmodel.risk import guard as guards
from grandmodel.risk import guard_inputs
from grandmodel.risk.breaker import BreakerState
from grandmodel.risk.guard import Decision, guard
from grandmodel.risk.guard_inputs import ALARMS, Book, RiskNumbers
from grandmodel.risk.guard_state import GuardState, opened, reset
from grandmodel.risk.limits import instrument_cap
from grandmodel.risk.shock import Severity
from grandmodel.risk.state import TradingState
from tests.grandmodel.risk.guard_cases import drive

NAN = math.nan
SECOND_NS = 1_000_000_000
START_NS = 1_600_000_000 * SECOND_NS
LIMITS = RiskLimits(concentration_max_frac=0.5, gross_exposure_max=2.0, net_exposure_max=2.0)
CALM = RiskNumbers(0.01, (0.01, 0.01), np.eye(2))
PRICES = (100.0, 50.0)


def state_of(limits: RiskLimits = LIMITS) -> GuardState:
    return opened(("ES", "CL"), (50.0, 1000.0), PRICES, 1e6, limits, BreakerLimits(), START_NS)


def decide(
    state: GuardState,
    held: tuple[float, float],
    targets: Any,
    *,
    equity: float = 1e6,
    prices: Any = PRICES,
    risk: RiskNumbers | None = CALM,
    after_s: float = 300.0,
) -> Decision:
    return guard(state, Book(equity, held), prices, targets, risk, state.clock_ns + int(after_s * SECOND_NS))


def kinds(decision: Decision) -> list[str]:
    return [event.limit or event.kind for event in decision.events]


@pytest.mark.slow
def test_the_invariants_hold_in_a_hundred_thousand_cases() -> None:
    seen = drive(1, sequences=5000)
    assert seen["case"] == 100_000
    looked_at = (
        "adds", "flip", "cut with a book", "halt", "second alarm", "faulty", "reset", "restart", "REDUCING", "HALTED",
        "correlation_max", "trade_risk_max_frac", "concentration_max_frac", "gross_exposure_max", "net_exposure_max",
        "positions_max", "messages_per_minute_max", "price_collar_frac", "duplicate_window_ms",
        "value_at_risk_max_frac", "daily_loss_max_frac",
    )  # fmt: skip
    assert min(seen[name] for name in looked_at) > 100, seen


def without_faults(*inputs: Any) -> Any:
    return replace(READ_INPUTS(*inputs), faults=())


def unlatched(state: BreakerState, equity: float, *, gross: float | None = None) -> breakers.Step:
    return UPDATE(replace(state, level=0, kept_cap=math.inf), equity, gross=gross)


def halving_again(state: BreakerState, reason: str, *, gross: float | None = None) -> breakers.Step:
    return ALARM(state, reason, gross=gross) if state.level != 1 else breakers._cut(state, 2, None, gross, reason)


def blind_to_collars(*given: Any) -> Any:
    return replace(VALUE(*given), off_collar=np.zeros(len(given[0].symbols), np.bool_))


def forgetting_messages(*given: Any) -> GuardState:
    return replace(REMEMBER(*given), message_ns=())


def letting_flips_through(limits: RiskLimits, quantity: Any, kept: Any, target: Any, *more: Any, **named: Any) -> Any:
    through, spent = LET_THROUGH(limits, quantity, kept, target, *more, **named)
    return through | ((kept != quantity) & (target != kept)), spent


def knowing_only_the_last_order(*given: Any) -> GuardState:
    after = REMEMBER(*given)
    return replace(after, sent=tuple({one.symbol: one for one in after.sent}.values()))


LET_THROUGH = guards.orders_let_through
READ_INPUTS, UPDATE, ALARM = guards.read_inputs, breakers.update, breakers.alarm
VALUE, REMEMBER, ROOM, WITHIN = guards._value, guards._remember, guards.Room, guards.within
STATES = {"ACTIVE": TradingState.ACTIVE, "REDUCING": TradingState.REDUCING, "HALTED": TradingState.HALTED}


@pytest.mark.parametrize(
    ("where", "name", "broken", "noticed"),
    [
        (guards, "within", lambda room, kept, target: target, "below the cap|half of|net limit|concentrat|per trade"),
        (guards, "kept_part", lambda quantity, target: quantity, "beyond what was asked|not asked for|held back"),
        (guards, "read_inputs", without_faults, "cannot be known reduces|always a number"),
        (breakers, "alarm", lambda state, reason, gross: (state, ()), "in the decision that sees its cause"),
        (breakers, "update", lambda state, equity, gross: (state, ()), "in the decision that sees its cause"),
        (breakers, "update", unlatched, "stays latched|in the decision that sees its cause"),
        (breakers, "alarm", halving_again, "and once"),
        (breakers, "CAP_FRACTIONS", (1.0, 0.6, 0.25, 0.0), "half|cut"),
        (BreakerState, "gross_cap", property(lambda state: (2.0, 1.0, 0.5, 0.0)[state.level]), "comes down with it"),
        (guards, "TradingState", SimpleNamespace(**{**STATES, "ACTIVE": TradingState.REDUCING}), "add nothing|sides"),
        (guards, "orders_let_through", lambda limits, q, kept, *_, **__: (np.ones(len(q), bool), ()), "bet|positions"),
        (guards, "_value", blind_to_collars, "price collar"),
        (guards, "_duplicates", lambda state, seen, kept: (np.zeros(len(kept), bool), []), "same order twice"),
        (guards, "value_at_risk_breach", lambda limits, value: None, "value at risk"),
        (guards, "daily_loss_breach", lambda limits, day, equity: None, "daily loss"),
        (guards, "day_of", lambda limits, clock_ns: 0, "daily loss"),
        (guards, "instrument_cap", lambda limits, move: np.full(len(move), np.inf), "concentration|risk per trade"),
        (guards, "Room", lambda unit, more, gross, net, most: ROOM(unit, more, gross, np.inf, most), "net limit"),
        (guards, "_remember", forgetting_messages, "message rate"),
        (guards, "orders_let_through", letting_flips_through, "message rate|bet"),
        (guards, "_remember", knowing_only_the_last_order, "same order twice"),
        (guard_inputs, "_are_correlations", lambda matrix: (np.abs(matrix) <= 1).all(), "cannot be known reduces"),
    ],
)  # fmt: skip
def test_breaking_any_of_it_is_seen(
    monkeypatch: pytest.MonkeyPatch, where: Any, name: str, broken: Any, noticed: str
) -> None:
    monkeypatch.setattr(where, name, broken)
    with pytest.raises(AssertionError, match=noticed):
        drive(1, sequences=1500)


def test_a_halt_that_is_not_heeded_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is held twice, by the state and by a cap of zero, so both must break."""
    monkeypatch.setattr(guards, "TradingState", SimpleNamespace(**{**STATES, "HALTED": None}))
    drive(1, sequences=100)
    monkeypatch.setattr(guards, "within", lambda room, *parts: WITHIN(room, *parts) if room.gross_max else parts[0])
    with pytest.raises(AssertionError, match="HALTED is flat"):
        drive(1, sequences=1500)


def test_within_the_limits_the_targets_pass_unchanged() -> None:
    decision = decide(state_of(), (1.0, -2.0), (30.0, -10.0))
    assert decision.permitted.tolist() == [30.0, -10.0]
    assert decision.events == ()


def test_an_alarm_halves_the_book_in_the_same_decision_and_the_cap_stays() -> None:
    held = (120.0, -8.0)  # gross exposure 0.6 + 0.4
    alarmed = replace(CALM, alarm="CRITICAL")
    first = decide(state_of(), held, (200.0, -16.0), risk=alarmed)
    assert first.permitted.tolist() == pytest.approx([60.0, -4.0])
    assert (first.state.gross_cap, kinds(first)[0]) == (pytest.approx(0.5), "cut")
    assert (first.events[0].gross_before, first.events[0].gross_after) == pytest.approx((1.0, 0.5))
    again = decide(first.state, tuple(first.permitted), (200.0, -16.0), risk=alarmed)
    assert again.permitted.tolist() == pytest.approx([60.0, -4.0])
    assert kinds(again)[0] == "alarm_while_latched"
    calm = decide(again.state, tuple(again.permitted), (200.0, -16.0))
    assert calm.permitted.tolist() == pytest.approx([60.0, -4.0])


def test_a_cut_takes_what_the_policy_gives_up_first() -> None:
    first = decide(state_of(), (120.0, -8.0), (0.0, -8.0), risk=replace(CALM, alarm="HIGH"))
    assert first.permitted.tolist() == [0.0, -8.0]


def test_a_flat_book_takes_half_of_the_base_cap() -> None:
    first = decide(state_of(), (0.0, 0.0), (100.0, 0.0), risk=replace(CALM, alarm="HIGH"))
    assert first.permitted.tolist() == [0.0, 0.0]
    assert first.state.gross_cap == 1.0


def test_a_cut_with_unknown_prices_halves_every_position() -> None:
    decision = decide(state_of(), (120.0, -8.0), (120.0, -3.0), prices=(NAN, 50.0), equity=0.9e6)
    assert decision.permitted.tolist() == [60.0, -3.0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"prices": (NAN, 50.0)}, "price of ES is nan"),
        ({"prices": (100.0, -37.63)}, "price of CL is -37.63"),
        ({"prices": (math.inf, 50.0)}, "price of ES is inf"),
        ({"prices": None}, "price of ES is nan and 1 more"),
        ({"prices": (100.0,)}, "price of ES is nan and 1 more"),
        ({"targets": (NAN, 0.0)}, "target of ES is nan"),
        ({"targets": "up"}, "target of ES is nan and 1 more"),
        ({"equity": NAN}, "equity is nan"),
        ({"risk": None}, "value at risk is nan"),
        ({"risk": replace(CALM, value_at_risk_frac=-0.01)}, "value at risk is -0.01"),
        ({"risk": replace(CALM, adverse_move_frac=(0.0, 0.01))}, "adverse move of ES is 0.0"),
        ({"risk": replace(CALM, correlation=[[1.0, 1.5], [1.5, 1.0]])}, "correlations"),
        ({"risk": replace(CALM, correlation=None)}, "correlations"),
        ({"risk": replace(CALM, correlation=np.zeros((2, 2)))}, "correlations"),
        ({"risk": replace(CALM, correlation=[[1.0, 0.95], [0.0, 1.0]])}, "correlations"),
        ({"risk": replace(CALM, correlation=[[1.0, 0.0], [0.95, 1.0]])}, "correlations"),
        ({"prices": np.ma.MaskedArray([100.0, 50.0], mask=[True, False])}, "price of ES is nan"),
        ({"prices": np.ma.MaskedArray([100, 50], mask=[False, True])}, "price of CL is nan"),
        ({"equity": np.ma.MaskedArray(1e6, mask=True)}, "equity is nan"),
        ({"risk": replace(CALM, alarm="UNKNOWN")}, "alarm is 'UNKNOWN'"),
        ({"risk": replace(CALM, alarm=np.zeros(2))}, "alarm is array"),
        ({"after_s": -1.0}, "the clock says"),
    ],
)
def test_an_input_that_cannot_be_used_reduces_with_the_reason(change: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"targets": (200.0, -1.0), **change}
    decision = decide(state_of(), (100.0, -8.0), **given)
    assert decision.state.trading is TradingState.REDUCING
    assert [said in event.reason for event in decision.events if event.kind == "input_unknown"] == [True]
    assert (np.abs(decision.permitted) <= (100.0, 8.0)).all()
    assert decide(decision.state, (100.0, -8.0), (200.0, -9.0)).permitted.tolist() == [100.0, -8.0]


def test_a_book_that_is_missing_is_brought_to_zero() -> None:
    decision = guard(state_of(), None, PRICES, (5.0, 5.0), CALM, START_NS)
    assert decision.permitted.tolist() == [0.0, 0.0]
    assert decision.state.trading is TradingState.REDUCING


def test_the_daily_loss_reduces_until_a_person_resets() -> None:
    first = decide(state_of(), (100.0, 0.0), (120.0, 0.0), equity=0.95e6)
    assert (first.state.trading, kinds(first)[0]) == (TradingState.REDUCING, "daily_loss_max_frac")
    next_day = decide(first.state, (100.0, 0.0), (120.0, 0.0), equity=0.95e6, after_s=90_000)
    assert next_day.permitted.tolist() == [100.0, 0.0]
    fresh, _ = reset(next_day.state, 0.95e6, next_day.state.clock_ns, actor="ann", reason="one bad fill")
    assert decide(fresh, (100.0, 0.0), (120.0, 0.0), equity=0.949e6).permitted.tolist() == [120.0, 0.0]


def test_a_loss_over_night_belongs_to_the_new_day() -> None:
    before = decide(state_of(), (100.0, 0.0), (100.0, 0.0), equity=1.1e6)
    after = decide(before.state, (100.0, 0.0), (120.0, 0.0), equity=1.04e6, after_s=90_000)
    assert after.state.trading is TradingState.REDUCING


def test_the_same_order_is_not_sent_twice_within_the_window() -> None:
    first = decide(state_of(), (0.0, 0.0), (20.0, 0.0))
    second = decide(first.state, (0.0, 0.0), (20.0, 0.0), after_s=0.5)
    assert (second.permitted.tolist(), kinds(second)) == ([0.0, 0.0], ["duplicate_window_ms", "overruled"])
    assert decide(second.state, (0.0, 0.0), (20.0, 0.0), after_s=1.0).permitted.tolist() == [20.0, 0.0]


def test_what_reduces_passes_with_all_messages_spent() -> None:
    state = state_of(LIMITS.model_copy(update={"messages_per_minute_max": 1}))
    first = decide(state, (0.0, 0.0), (20.0, 1.0))
    assert first.permitted.tolist() == [20.0, 0.0]
    second = decide(first.state, (20.0, 0.0), (30.0, 0.0), after_s=2)
    assert (second.permitted.tolist(), kinds(second)) == ([20.0, 0.0], ["messages_per_minute_max", "overruled"])
    third = decide(second.state, (20.0, 0.0), (10.0, 0.0), after_s=2)
    assert third.permitted.tolist() == [10.0, 0.0]
    assert decide(third.state, (10.0, 0.0), (0.0, 0.0), after_s=2).permitted.tolist() == [0.0, 0.0]
    assert decide(third.state, (10.0, 0.0), (20.0, 0.0), after_s=61).permitted.tolist() == [20.0, 0.0]


def test_changing_sides_over_and_over_stays_within_the_messages_of_a_minute() -> None:
    state = state_of(LIMITS.model_copy(update={"duplicate_window_ms": 0}))
    held, target, orders, kinds_seen = (0.0, 0.0), 20.0, 0, set()
    for _ in range(1000):  # in one second
        decision = decide(state, held, (target, 0.0), after_s=0.001)
        state, target = decision.state, -target
        changed, before = tuple(decision.permitted) != held, held
        held = tuple(decision.permitted.tolist())
        orders += changed
        kinds_seen.update(kinds(decision))
        assert orders <= 120 or not changed or held == (0.0, 0.0), (before, held)
    assert (orders, held) == (121, (0.0, 0.0)), "the last one went to zero and no farther"
    assert "messages_per_minute_max" in kinds_seen


def test_the_way_to_zero_passes_where_the_other_side_waits() -> None:
    state = state_of(LIMITS.model_copy(update={"messages_per_minute_max": 1}))
    first = decide(state, (0.0, 0.0), (20.0, 0.0))
    second = decide(first.state, (20.0, 0.0), (-20.0, 0.0), after_s=2)
    assert (second.permitted.tolist(), kinds(second)) == ([0.0, 0.0], ["messages_per_minute_max", "overruled"])
    assert decide(second.state, (0.0, 0.0), (-20.0, 0.0), after_s=61).permitted.tolist() == [-20.0, 0.0]
    one_message = decide(first.state, (20.0, 0.0), (-20.0, 0.0), after_s=61)
    assert one_message.permitted.tolist() == [-20.0, 0.0]


def test_the_same_flip_from_the_same_position_waits_though_another_order_came_between() -> None:
    first = decide(state_of(), (20.0, 0.0), (-20.0, 0.0))
    back = decide(first.state, (-20.0, 0.0), (20.0, 0.0), after_s=0.3)
    assert back.permitted.tolist() == [20.0, 0.0]
    again = decide(back.state, (20.0, 0.0), (-20.0, 0.0), after_s=0.3)
    assert (again.permitted.tolist(), kinds(again)) == ([0.0, 0.0], ["duplicate_window_ms", "overruled"])
    assert decide(back.state, (20.0, 0.0), (-20.0, 0.0), after_s=0.71).permitted.tolist() == [-20.0, 0.0]
    assert len(decide(back.state, (20.0, 0.0), (20.0, 0.0), after_s=2).state.sent) == 0


@pytest.mark.parametrize("clock_ns", [NAN, 1.5, "now", None])
def test_a_clock_that_is_no_whole_number_is_refused(clock_ns: Any) -> None:
    with pytest.raises(ConfigError, match="whole nanoseconds"):
        reset(state_of(), 1e6, clock_ns, actor="ann", reason="looked at it")
    with pytest.raises(ConfigError, match="whole nanoseconds"):
        opened(("ES",), (50.0,), (100.0,), 1e6, LIMITS, BreakerLimits(), clock_ns)


def test_a_cut_on_a_residue_leaves_what_it_leaves_a_flat_book() -> None:
    residue = decide(state_of(), (1e-9, 0.0), (1e-9, 0.0), risk=replace(CALM, alarm="HIGH"))
    assert residue.state.gross_cap == 1.0
    assert abs(residue.permitted[0]) <= 0.5e-9


def test_a_price_off_its_collar_adds_nothing_for_one_decision_and_lets_reductions_pass() -> None:
    state = state_of()
    assert decide(state, (20.0, 4.0), (10.0, 5.0), prices=(110.0, 50.0)).permitted.tolist() == [10.0, 5.0]
    first = decide(state, (20.0, 4.0), (30.0, 5.0), prices=(110.0, 50.0))
    assert (first.permitted.tolist(), kinds(first)) == ([20.0, 5.0], ["price_collar_frac", "overruled"])
    assert decide(first.state, (20.0, 5.0), (30.0, 5.0), prices=(110.0, 50.0)).permitted.tolist() == [30.0, 5.0]


def test_one_wild_price_sells_nothing_after_it_is_gone() -> None:
    held = (120.0, -8.0)  # gross exposure 1.0 of 2.0
    wild = decide(state_of(), held, held, prices=(130.0, 50.0))
    assert wild.permitted.tolist() == list(held)
    assert decide(wild.state, held, held).permitted.tolist() == list(held)


def test_a_fall_through_the_collar_makes_no_room_for_others() -> None:
    limits = LIMITS.model_copy(update={"gross_exposure_max": 1.0, "concentration_max_frac": 1.0})
    first = decide(state_of(limits), (120.0, -8.0), (120.0, -12.0), prices=(50.0, 50.0))
    assert first.permitted.tolist() == [120.0, -8.0]
    assert decide(first.state, (120.0, -8.0), (120.0, -12.0), prices=(50.0, 50.0)).permitted.tolist() == [120.0, -12.0]


def test_the_guard_knows_the_alarms_of_the_shock_detector() -> None:
    assert {severity.name for severity in Severity} - set(ALARMS) == {"UNKNOWN"}


def test_value_at_risk_over_its_limit_lets_nothing_be_added() -> None:
    decision = decide(state_of(), (20.0, 4.0), (30.0, 2.0), risk=replace(CALM, value_at_risk_frac=0.06))
    assert (decision.permitted.tolist(), decision.state.trading) == ([20.0, 2.0], TradingState.ACTIVE)


def test_the_position_and_not_the_single_order_carries_the_risk_of_a_trade() -> None:
    state = state_of(LIMITS.model_copy(update={"trade_risk_max_frac": 0.001}))
    cap = float(instrument_cap(state.limits, np.array([0.01]))[0]) * 1e6 / (50 * 100)
    first = decide(state, (0.0, 0.0), (15.0, 0.0))
    assert first.permitted.tolist() == [15.0, 0.0]
    assert decide(first.state, (15.0, 0.0), (30.0, 0.0)).permitted.tolist() == pytest.approx([cap, 0.0])


@pytest.mark.parametrize("extreme", [1e-300, 1e300])
@pytest.mark.parametrize("column", ["equity", "prices", "held", "targets"])
def test_extreme_numbers_never_become_more_risk(extreme: float, column: str) -> None:
    given: dict[str, Any] = {"held": (20.0, 4.0), "targets": (30.0, 5.0)}
    given[column] = extreme if column == "equity" else (extreme, 4.0)
    decision = decide(state_of(), **given)
    held, target = np.abs(given["held"]), np.abs(given["targets"])
    assert np.isfinite(decision.permitted).all()
    assert (np.abs(decision.permitted) <= np.maximum(held, target)).all()


def test_the_guard_changes_nothing_that_it_is_given() -> None:
    state, held, targets = state_of(), np.array([20.0, 4.0]), np.array([500.0, 5.0])
    before = state.to_dict()
    guard(state, Book(1e6, held), np.array(PRICES), targets, CALM, START_NS)
    assert (held.tolist(), targets.tolist(), state.to_dict()) == ([20.0, 4.0], [500.0, 5.0], before)
