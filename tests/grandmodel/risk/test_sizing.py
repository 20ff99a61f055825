from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grandmodel.core.config import BreakerLimits, RiskLimits
from grandmodel.risk.guard import guard
from grandmodel.risk.guard_inputs import Book, RiskNumbers
from grandmodel.risk.guard_state import opened
from grandmodel.risk.limits import book_breaches
from grandmodel.risk.sizing import kelly_of_odds, kelly_of_returns, sized_exposure

LIMITS = RiskLimits(positions_max=3, gross_exposure_max=1.0, net_exposure_max=0.4, concentration_max_frac=0.5)
ANY = st.floats(allow_nan=True, allow_infinity=True)
COLUMNS = st.lists(st.tuples(st.floats(-3, 3), st.floats(0.001, 0.2)), min_size=1, max_size=6)


def test_the_size_of_a_bet_is_that_of_kelly() -> None:
    assert kelly_of_odds(0.6, 1.0) == pytest.approx(0.2)
    assert kelly_of_odds(0.5, 2.0) == pytest.approx(0.25)


def test_the_size_of_a_return_is_the_edge_after_costs_over_the_variance() -> None:
    size = kelly_of_returns(np.array([0.001, -0.001]), np.array([0.02, 0.02]), np.array([0.0, 0.0002]))
    assert size.tolist() == pytest.approx([2.5, -2.0])


@pytest.mark.parametrize(
    ("probability", "payoff"),
    [(0.5, 1.0), (0.3, 2.0), (math.nan, 1.0), (0.6, math.nan), (0.6, 0.0), (1.2, 1.0), (0.6, math.inf)],
)
def test_a_bet_without_an_edge_gets_nothing(probability: float, payoff: float) -> None:
    assert kelly_of_odds(probability, payoff) == 0.0


@pytest.mark.parametrize(
    ("mean", "deviation", "cost"),
    [(0.0, 0.1, 0.0), (0.01, 0.1, 0.01), (-0.01, 0.1, 0.02), (math.nan, 0.1, 0.0), (0.01, 0.0, 0.0),
     (0.01, math.nan, 0.0), (0.01, 0.1, math.nan), (math.inf, 0.1, 0.0), (0.01, 0.1, -0.1), (0.01, -0.1, 0.0)],
)  # fmt: skip
def test_a_return_without_an_edge_or_an_estimate_gets_nothing(mean: float, deviation: float, cost: float) -> None:
    assert kelly_of_returns(np.array([mean]), np.array([deviation]), np.array([cost])).tolist() == [0.0]


def test_a_fraction_is_asked_for_and_never_more_than_its_cap() -> None:
    wide = RiskLimits(concentration_max_frac=1.0, net_exposure_max=5.0)
    asked = sized_exposure(np.array([0.4, -0.4, 50.0]), np.full(3, 0.01), wide, gross_cap=5.0)
    assert asked.tolist() == pytest.approx([0.1, -0.1, 0.25])


def test_the_limits_of_the_book_shrink_all_alike_and_drop_the_smallest() -> None:
    asked = sized_exposure(np.array([9.0, 9.0, 9.0, 0.01]), np.full(4, 0.01), LIMITS, gross_cap=1.0)
    assert asked.tolist() == pytest.approx([0.4 / 3] * 3 + [0.0])


@pytest.mark.parametrize("cap", [0.0, -1.0, math.nan, math.inf])
def test_without_a_cap_nothing_is_asked_for(cap: float) -> None:
    assert sized_exposure(np.array([1.0]), np.array([0.01]), LIMITS, gross_cap=cap).tolist() == [0.0]


@given(st.lists(st.tuples(ANY, ANY), min_size=1, max_size=5))
def test_the_answer_is_always_a_number_within_the_cap(rows: list[tuple[float, float]]) -> None:
    kelly, move = (np.array(column) for column in zip(*rows, strict=True))
    asked = sized_exposure(kelly, move, LIMITS, gross_cap=0.7)
    assert np.isfinite(asked).all()
    assert np.abs(asked).sum() <= 0.7 * (1 + 1e-12)
    assert (np.abs(asked) <= LIMITS.kelly_cap_frac).all()
    assert (asked[~(np.isfinite(kelly) & (move > 0))] == 0).all()


@given(COLUMNS)
def test_the_guard_lets_a_sized_book_pass_unchanged(rows: list[tuple[float, float]]) -> None:
    kelly, move = (np.array(column) for column in zip(*rows, strict=True))
    n = len(kelly)
    asked = sized_exposure(kelly, move, LIMITS, gross_cap=1.0)
    names = tuple(f"S{i}" for i in range(n))
    assert book_breaches(LIMITS, asked, move, np.eye(n), names) == ()
    state = opened(names, [1.0] * n, [1.0] * n, 1.0, LIMITS, BreakerLimits(), 0)
    decision = guard(state, Book(1.0, np.zeros(n)), np.ones(n), asked, RiskNumbers(0.0, move, np.eye(n)), 0)
    np.testing.assert_allclose(decision.permitted, asked, rtol=1e-12)
    assert all(event.kind == "overruled" for event in decision.events)
