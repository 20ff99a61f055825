"""The tail of a book that changes, against the methods applied one by one to each window."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from grandmodel.core.errors import DataError
from grandmodel.risk.held_book import HALF_HOURS_A_DAY, HeldBook, book_tails, join_books
from grandmodel.risk.tail import METHODS
from grandmodel.stats.seasonality import OCCURRENCES_MIN, time_of_day_scale

LEVEL, WINDOW, DECAY = 0.95, 40, 0.97
A_DAY = 6  # half hours in which these markets trade


def drawn(days: int = 40, seed: int = 1) -> HeldBook:
    """Return a book of two instruments that rests for days, and whose market opens wildly."""
    generator = np.random.default_rng(seed)
    day, place = np.divmod(np.arange(days * A_DAY), A_DAY)
    moves = generator.normal(0.0, 0.001, (len(day), 2)) * np.where(place == 0, 5.0, 1.0)[:, None]
    exposure = np.repeat(generator.choice([-1.0, 0.0, 2.0], (days, 2)), A_DAY, axis=0)
    exposure[25 * A_DAY : 27 * A_DAY] = 0.0
    return HeldBook(day * HALF_HOURS_A_DAY + place, exposure, moves)


def test_each_number_is_that_of_the_method_on_the_window_of_the_book_held_then() -> None:
    book = drawn()
    rows, tails = book_tails(book, LEVEL, WINDOW, DECAY)
    slot = book.half_hour % HALF_HOURS_A_DAY
    usual = np.stack([time_of_day_scale(moves, slot) for moves in book.move_frac.T], axis=1)
    first = OCCURRENCES_MIN * A_DAY
    for row, found in list(zip(rows, tails, strict=True))[::7]:
        past = np.array(
            [
                sum(book.exposure[row, i] * usual[row, i] * book.move_frac[t, i] / usual[t, i] for i in range(2))
                for t in range(row - WINDOW, row)
            ]
        )
        for place, (name, method) in enumerate(METHODS.items()):
            options = {"decay": DECAY} if name in ("monte_carlo", "filtered_historical", "ewma_normal") else {}
            one = method(past, LEVEL, **options)
            np.testing.assert_allclose(found[place], (one.var_frac, one.es_frac), rtol=1e-6, err_msg=name)
    held = book.exposure.any(axis=1)
    assert rows.tolist() == [t for t in range(first + WINDOW, len(slot)) if held[t]]


def test_a_number_knows_nothing_of_its_own_half_hour_or_later_ones() -> None:
    book = drawn()
    rows, tails = book_tails(book, LEVEL, WINDOW, DECAY)
    t = int(rows[30])
    later = book.move_frac.copy()
    later[t:] *= 100.0
    np.testing.assert_array_equal(book_tails(replace(book, move_frac=later), LEVEL, WINDOW, DECAY)[1][:31], tails[:31])


def test_twice_the_book_has_twice_the_number_and_the_other_side_another() -> None:
    book = drawn()
    _, tails = book_tails(book, LEVEL, WINDOW, DECAY)
    _, twice = book_tails(replace(book, exposure=2.0 * book.exposure), LEVEL, WINDOW, DECAY)
    np.testing.assert_allclose(twice, 2.0 * tails, rtol=1e-9)
    _, other = book_tails(replace(book, exposure=-book.exposure), LEVEL, WINDOW, DECAY)
    assert not np.allclose(other[:, 0], tails[:, 0])


def test_an_instrument_that_never_moved_has_no_number() -> None:
    book = drawn()
    still = replace(book, move_frac=np.zeros_like(book.move_frac))
    rows, tails = book_tails(still, LEVEL, WINDOW, DECAY)
    assert len(rows) == len(tails) > 0
    assert np.isnan(tails).all()


def test_books_are_joined_and_a_shared_half_hour_stays_with_the_earlier() -> None:
    book = drawn()
    early = HeldBook(book.half_hour[:10], book.exposure[:10], book.move_frac[:10])
    late = HeldBook(book.half_hour[9:], book.exposure[9:] + 1.0, book.move_frac[9:])
    joined = join_books([early, late])
    np.testing.assert_array_equal(joined.half_hour, book.half_hour)
    np.testing.assert_array_equal(joined.exposure[9:11] - book.exposure[9:11], [[0.0, 0.0], [1.0, 1.0]])


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"exposure": np.zeros((3, 2))}, "an exposure for each move"),
        ({"half_hour": np.zeros(240, np.int64)}, "one rising half hour a row"),
        ({"move_frac": np.full((240, 2), np.nan)}, "must be finite"),
    ],
)
def test_a_book_that_does_not_fit_is_refused(change: dict[str, np.ndarray], rule: str) -> None:
    with pytest.raises(DataError, match=rule):
        replace(drawn(), **change)
