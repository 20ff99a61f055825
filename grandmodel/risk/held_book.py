"""The tail of a book that changes: what is held now, over how its instruments moved before.

A number made of the P&L of the past is one of the books of the past: it is too small whenever a strategy takes up a
position after a rest, and those exceptions come together. So each forecast values the present book in each past bar
(historical simulation), and what it is held against is what that book would have made had nobody touched it for a bar:
the hypothetical P&L of Basel Committee (2019), Minimum Capital Requirements for Market Risk, MAR32.

Each instrument's move is taken over what it usually moves at that time of day (``stats/seasonality.py``), and the
number is scaled back by the time of day of the coming bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import DataError
from grandmodel.risk.tail import METHODS
from grandmodel.risk.tail_kernel import six_tails, tail_constants
from grandmodel.stats.seasonality import OCCURRENCES_MIN, time_of_day_scale

Floats = NDArray[np.float64]
HALF_HOURS_A_DAY = 48


@dataclass(frozen=True)
class HeldBook:
    """A book and its market by half hours of the clock, oldest first. Raises DataError when the columns do not fit."""

    half_hour: NDArray[np.int64]  # [n] half hours since 1970-01-01 UTC, rising
    exposure: Floats  # [n, instruments] signed notional over equity of the whole book, as held when the half hour began
    move_frac: Floats  # [n, instruments] close / close before - 1; 0 where an instrument did not trade

    def __post_init__(self) -> None:
        if self.exposure.shape != self.move_frac.shape or self.exposure.ndim != 2:
            raise DataError("held book", "needs an exposure for each move", (self.exposure.shape, self.move_frac.shape))
        if len(self.half_hour) != len(self.exposure) or not (np.diff(self.half_hour) > 0).all():
            raise DataError("held book", "needs one rising half hour a row", (len(self.half_hour), len(self.exposure)))
        if not (np.isfinite(self.exposure).all() and np.isfinite(self.move_frac).all()):
            raise DataError("held book", "every exposure and move must be finite")

    @property
    def hypothetical(self) -> Floats:
        """Return float64[n], simple returns: what the book of each beginning would have made untouched."""
        return np.asarray((self.exposure * self.move_frac).sum(axis=1))


def join_books(parts: Sequence[HeldBook]) -> HeldBook:
    """Return books of the same instruments one after the other in time; a half hour that two share is the earlier's."""
    ends = np.cumsum([len(part.half_hour) for part in parts])
    half_hour = np.concatenate([part.half_hour for part in parts])
    kept = np.ones(len(half_hour), np.bool_)
    for end in ends[:-1]:
        kept[end] = half_hour[end] > half_hour[end - 1]
    exposure, move_frac = (
        np.concatenate([getattr(part, name) for part in parts])[kept] for name in ("exposure", "move_frac")
    )
    return HeldBook(half_hour[kept], exposure, move_frac)


def book_tails(book: HeldBook, level: float, window: int, decay: float) -> tuple[NDArray[np.int64], Floats]:
    """Return the rows that are judged, and VaR and ES of the book before each.

    Judged is a row in which something was held, after ``window`` rows whose time of day is known: it was seen
    ``OCCURRENCES_MIN`` times before.

    Args:
        book: what was held.
        level: of VaR and ES, in (0.5, 1).
        window: rows that a forecast looks back on.
        decay: of the EWMA methods.

    Returns:
        int64[m] rows of the book; float64[m, 6, 2] in the order of ``tail.METHODS``, (VaR, ES), positive fractions of
        equity. NaN where a method has no number.
    """
    slot = book.half_hour % HALF_HOURS_A_DAY
    rows = np.flatnonzero(_seen_before(slot) >= OCCURRENCES_MIN)
    usual = np.stack([time_of_day_scale(moves, slot) for moves in book.move_frac.T], axis=1)[rows]
    usual = np.nan_to_num(usual)  # 0: an instrument that has never moved at this time of day
    moves = np.divide(book.move_frac[rows], usual, out=np.zeros_like(usual), where=usual > 0.0)
    exposure = book.exposure[rows]
    judged = np.flatnonzero(exposure.any(axis=1) & (np.arange(len(rows)) >= window))
    constants, scratch = tail_constants(window, (level,), decay), np.empty((2, window))
    tails, six = np.full((len(judged), len(METHODS), 2), np.nan), np.empty((len(METHODS), 1, 2))
    for place, t in enumerate(judged):
        past = moves[t - window : t] @ (exposure[t] * usual[t])
        if np.ptp(past) > 0.0:
            six_tails(past, constants, scratch, six)
            tails[place] = six[:, 0]
    return rows[judged], tails


def _seen_before(slot: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return int64[n]: how many earlier rows have the same slot."""
    seen = np.empty(len(slot), np.int64)
    for one in np.unique(slot):
        rows = np.flatnonzero(slot == one)
        seen[rows] = np.arange(len(rows))
    return seen
