"""Positions of a release as quantities of one book, and back.

A release trades every instrument from a sleeve of its own: equal capital at the start, and from then on what the
instrument made of it. A position is a fraction in [-1, 1] of the sleeve's risk budget; position x leverage is notional
over the equity of the *sleeve*. The guard knows one book: money, and quantities that the market counts.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]


class Sleeves(NamedTuple):
    """N sleeves at one moment."""

    equity: float  # money of all sleeves together
    quantity_per_position: Vector  # [N] quantity of position 1; not finite where the price is not
    exposure_per_position: Vector  # [N] notional of position 1 over the equity of the book


def sleeves_of(
    log_equity: Vector, leverage: Vector, price: Vector, multiplier: Vector, *, capital_per_sleeve: float
) -> Sleeves:
    """Return what position 1 of each instrument is in the book.

    Args:
        log_equity: float64[N], log of each sleeve's equity over its capital at the start.
        leverage: float64[N], notional over equity of the sleeve at position 1.
        price: float64[N], positive; NaN gives NaN in ``quantity_per_position`` alone.
        multiplier: float64[N], money per point of price and unit of quantity.
        capital_per_sleeve: money of each sleeve at the start.
    """
    money = capital_per_sleeve * np.exp(log_equity)
    equity = float(money.sum())
    return Sleeves(equity, leverage * money / (price * multiplier), leverage * money / equity)
