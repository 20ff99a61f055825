from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grandmodel.risk.state import TradingState, fail_closed, permitted_position

POSITIONS = st.floats(-3, 3)
CAPS = st.floats(0, 2)
ANY = st.floats(allow_nan=True, allow_infinity=True)


def test_states_are_ordered_by_severity() -> None:
    assert max(TradingState.ACTIVE, TradingState.HALTED, TradingState.REDUCING) is TradingState.HALTED


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_risk_number_that_cannot_be_computed_reduces(number: float) -> None:
    assert fail_closed(TradingState.ACTIVE, 0.01, number) is TradingState.REDUCING
    assert fail_closed(TradingState.HALTED, number) is TradingState.HALTED
    assert fail_closed(TradingState.ACTIVE, 0.01) is TradingState.ACTIVE


@given(st.sampled_from(TradingState), CAPS, POSITIONS, ANY)
def test_nothing_ever_stands_above_the_cap(state: TradingState, cap: float, position: float, target: float) -> None:
    assert abs(permitted_position(state, cap, position, target)) <= cap


@given(st.sampled_from(TradingState), CAPS, POSITIONS, st.floats(0, 1))
def test_a_move_that_reduces_risk_is_never_blocked(
    state: TradingState, cap: float, position: float, share: float
) -> None:
    target = position * share
    assert abs(permitted_position(state, cap, position, target)) <= abs(target)


@given(CAPS, POSITIONS, ANY)
def test_reducing_never_adds_risk_and_never_changes_side(cap: float, position: float, target: float) -> None:
    allowed = permitted_position(TradingState.REDUCING, cap, position, target)
    assert abs(allowed) <= abs(position)
    assert allowed * position >= 0


@given(CAPS, ANY, ANY)
def test_halted_is_flat(cap: float, position: float, target: float) -> None:
    assert permitted_position(TradingState.HALTED, cap, position, target) == 0.0


@given(ANY, ANY, ANY)
def test_the_answer_is_always_a_number(cap: float, position: float, target: float) -> None:
    cap = abs(cap)
    assert math.isfinite(permitted_position(TradingState.ACTIVE, cap, position, target))


def test_an_active_target_within_the_cap_passes_unchanged() -> None:
    assert permitted_position(TradingState.ACTIVE, 1.0, -0.4, 0.7) == 0.7


def test_an_unknown_target_keeps_what_the_cap_allows() -> None:
    assert permitted_position(TradingState.ACTIVE, 0.5, 0.3, math.nan) == 0.3
    assert permitted_position(TradingState.ACTIVE, 0.5, 0.9, math.nan) == 0.5
