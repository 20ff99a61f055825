"""What a replay held at the beginning of each half hour, and how the market moved in it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from grandmodel.market.tape import MarketTape
from grandmodel.risk.held_book import HeldBook
from pipelines.baselines import THIRTY_MINUTES_NS


def held_book(tape: MarketTape, position: NDArray[np.float64], symbols: Sequence[str]) -> HeldBook:
    """Return the book of equal capital in every instrument of ``tape``, half hour by half hour of the clock.

    Args:
        tape: the traded clock.
        position: float64[T] held at the close of each row.
        symbols: columns of the book; one that the tape has not stays at 0.
    """
    half_hour = (tape.close_ns - 1) // THIRTY_MINUTES_NS
    grid = np.unique(half_hour)
    exposure, move_frac = np.zeros((2, len(grid), len(symbols)))
    for symbol in tape.symbols:
        rows, column = tape.rows(symbol), symbols.index(symbol)
        place = np.searchsorted(grid, half_hour[rows])
        growth = np.log1p(tape.gap_frac[rows]) + np.log1p(tape.body_frac[rows])
        move_frac[:, column] = np.expm1(np.bincount(place, weights=growth, minlength=len(grid)))
        # What stood at the last close before the half hour: its bars that ended in an earlier one.
        before = np.searchsorted(place, np.arange(len(grid))) - 1
        held = position[rows] * tape.leverage[rows] / len(tape.symbols)
        exposure[:, column] = np.where(before >= 0, held[before], 0.0)
    return HeldBook(grid, exposure, move_frac)
