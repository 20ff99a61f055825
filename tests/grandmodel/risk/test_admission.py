"""The vector arithmetic agrees with its slow twin, and what it adds breaks no limit."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from grandmodel.core.config import RiskLimits
from grandmodel.risk import reference_guard
from grandmodel.risk.admission import Room, gross_of, kept_part, orders_let_through, within
from grandmodel.risk.limits import book_breaches

SYMBOLS = tuple("ABCDEF")
LIMITS = RiskLimits(
    gross_exposure_max=2.0, net_exposure_max=1.0, concentration_max_frac=0.3, positions_max=4, messages_per_minute_max=3
)


def books(seed: int, count: int) -> list[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]]:
    """Return (quantity, target, correlation) of random books, many positions flat, kept or flipped."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        n = int(rng.integers(1, 7))
        quantity = rng.normal(0, rng.choice([0.2, 1.0]), n) * (rng.random(n) < 0.7)
        ways = (quantity, quantity * 0.5, quantity * 1.5, -quantity, np.zeros(n), rng.normal(0, 0.5, n))
        target = np.choose(rng.integers(0, len(ways), n), ways)
        factors = rng.normal(0, 1, (n, 2))
        covariance = factors @ factors.T + 0.1 * np.eye(n)
        deviation = np.sqrt(np.diag(covariance))
        found.append((quantity, target, covariance / np.outer(deviation, deviation)))
    return found


def test_vectors_and_loops_agree() -> None:
    rng = np.random.default_rng(3)
    shrunk = added = refused = 0
    for quantity, target, correlation in books(1, 2000):
        kept = kept_part(quantity, target)
        assert kept.tolist() == [reference_guard.kept_part(q, t) for q, t in zip(quantity, target, strict=True)]
        messages = int(rng.integers(0, 4))
        through, _ = orders_let_through(LIMITS, quantity, kept, target, correlation, messages=messages, symbols=SYMBOLS)
        slow = reference_guard.orders_let_through(
            LIMITS, quantity.tolist(), kept.tolist(), target.tolist(), correlation.tolist(), messages
        )
        assert through.tolist() == slow
        refused += int(((target != kept) & ~through).any())
        unit = rng.uniform(0.5, 2, len(kept))
        unit_added = unit * rng.choice([1.0, 1.3], len(kept), p=[0.8, 0.2])
        room = Room(unit, unit_added, rng.choice([0.5, 2.0]), 1.0, rng.uniform(0.1, 1, len(kept)))
        permitted = within(room, kept, target)
        expected = reference_guard.within(
            room.unit.tolist(),
            room.unit_added.tolist(),
            room.gross_max,
            room.net_max,
            room.instrument_max.tolist(),
            kept.tolist(),
            target.tolist(),
        )
        np.testing.assert_allclose(permitted, expected, rtol=1e-9, atol=1e-12)
        shrunk += gross_of(kept, room.unit) > room.gross_max
        added += bool((np.abs(permitted) > np.abs(kept)).any())
    assert min(shrunk, added, refused) > 100


def test_what_is_added_breaks_no_limit_that_was_not_broken_before() -> None:
    rng = np.random.default_rng(4)
    for quantity, target, correlation in books(2, 2000):
        n = len(quantity)
        unit, move = rng.uniform(0.5, 2, n), np.full(n, 0.02)
        kept = kept_part(quantity, target)
        through, _ = orders_let_through(LIMITS, quantity, kept, target, correlation, messages=0, symbols=SYMBOLS)
        cap = np.full(n, 0.6)
        permitted = within(Room(unit, unit, 2.0, 1.0, cap), kept, np.where(through, target, kept))
        before = {
            (one.limit, one.symbol): one.value for one in book_breaches(LIMITS, kept * unit, move, correlation, SYMBOLS)
        }
        after = book_breaches(LIMITS, permitted * unit, move, correlation, SYMBOLS)
        for one in after:
            if one.limit == "correlation_max":  # it is the pair that counts, and one of a pair that is kept has it too
                assert any(limit == "correlation_max" for limit, _ in before)
            else:
                assert one.value <= before[one.limit, one.symbol] * (1 + 1e-9)


def test_what_is_kept_is_never_more_than_is_held_nor_than_is_asked() -> None:
    for quantity, target, _ in books(3, 500):
        kept = kept_part(quantity, target)
        assert (np.abs(kept) <= np.minimum(np.abs(quantity), np.abs(target))).all()
        assert (kept * quantity >= 0).all()


def test_an_infinite_unit_weighs_nothing_on_a_flat_position() -> None:
    room = Room(np.array([np.inf, 3.0]), np.array([np.inf, 3.0]), 10.0, 10.0, np.array([1.0, 9.0]))
    with np.errstate(invalid="ignore"):
        assert gross_of(np.array([0.0, 2.0]), room.unit) == 6.0
        assert within(room, np.array([0.0, 2.0]), np.array([5.0, 3.0])).tolist() == [0.0, 3.0]


def test_the_first_in_the_book_has_the_first_claim() -> None:
    none, asked = np.zeros(3), np.array([1.0, -1.0, 1.0])
    through, spent = orders_let_through(LIMITS, none, none, asked, np.eye(3), messages=2, symbols=SYMBOLS)
    assert through.tolist() == [True, False, False]
    assert [(one.symbol, one.value, one.bound) for one in spent] == [("B", 4.0, 3.0), ("C", 4.0, 3.0)]


def test_an_order_that_changes_sides_is_one_message() -> None:
    held, kept, asked = np.array([1.0, 1.0]), np.zeros(2), np.array([-1.0, -1.0])
    for messages, allowed in ((1, [True, True]), (2, [False, False]), (9, [False, False])):
        through, spent = orders_let_through(LIMITS, held, kept, asked, np.eye(2), messages=messages, symbols=SYMBOLS)
        assert through.tolist() == allowed
        assert [(one.symbol, one.value) for one in spent] == [
            (name, messages + 2.0) for name, ok in zip("AB", allowed, strict=True) if not ok
        ]


def test_long_and_short_of_what_moves_together_is_a_hedge() -> None:
    together = np.array([[1.0, 0.9], [0.9, 1.0]])
    kept = np.array([1.0, 0.0])
    for target, allowed in ((0.5, False), (-0.5, True)):
        asked = np.array([1.0, target])
        through, _ = orders_let_through(LIMITS, kept, kept, asked, together, messages=0, symbols=SYMBOLS)
        assert through.tolist() == [False, allowed]


@pytest.mark.parametrize("unknown", [np.nan, np.inf])
def test_an_unknown_limit_of_an_instrument_adds_nothing_beyond_it(unknown: float) -> None:
    room = Room(np.ones(2), np.ones(2), 10.0, 10.0, np.array([unknown, 1.0]))
    permitted = within(room, np.array([1.0, 1.0]), np.array([3.0, 3.0]))
    assert permitted.tolist() == [1.0 if np.isnan(unknown) else 3.0, 1.0]
