"""From prices to the rows and exposures of a book, through zero as well.

A simple return multiplies a price that is positive. Where a price has crossed zero or is negative (crude oil on
2020-04-20 closed at -37.63 USD) a return has the wrong sign or no meaning, so such an asset takes absolute shocks,
changes of price, and its exposure is units per equity instead of value per equity. Either way the P&L of a bar, as a
fraction of equity, is the sum over assets of shock times exposure.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import DataError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Shocks:
    """What the assets of a book did, bar by bar."""

    rows: Floats  # [T, N] simple return, or change of price where absolute
    absolute: NDArray[np.bool_]  # [N]
    last_price: Floats  # [N]


def shocks_of(prices: Floats) -> Shocks:
    """Return the shocks of ``prices``: absolute for an asset with any price at or below zero, else relative.

    The rule looks at all prices given, so hand over the window that the book keeps; when an asset changes sides, load
    the book anew.

    Args:
        prices: float64[T + 1, N], oldest first.

    Raises:
        DataError: fewer than two rows, no asset, or a price that is not finite.
    """
    table = np.asarray(prices, np.float64)
    if table.ndim != 2 or len(table) < 2 or table.shape[1] == 0:
        raise DataError("prices of the book", "need two rows and one asset at least", table.shape)
    if not bool(np.isfinite(table).all()):
        row, asset = (int(place) for place in np.argwhere(~np.isfinite(table))[0])
        raise DataError(f"price of asset {asset} row {row}", "must be finite", float(table[row, asset]))
    absolute = np.any(table <= 0, axis=0)
    changes = np.diff(table, axis=0)
    return Shocks(changes / np.where(absolute, 1.0, table[:-1]), np.asarray(absolute), table[-1].copy())


def exposures(shocks: Shocks, quantities: Floats, point_values: Floats, equity: float) -> Floats:
    """Return the exposures that turn ``shocks`` into P&L as fractions of equity, float64[N], shorts negative.

    Args:
        shocks: of the assets held.
        quantities: float64[N], signed contracts or units.
        point_values: float64[N], money per unit of price of one contract, positive.
        equity: in the same money.

    Raises:
        DataError: equity or a point value is not positive, or a number is not finite.
    """
    if not (np.isfinite(equity) and equity > 0):
        raise DataError("equity", "must be positive and finite", equity)
    if not bool(np.isfinite(quantities).all()) or not bool((np.isfinite(point_values) & (point_values > 0)).all()):
        raise DataError("positions", "need finite quantities and positive point values", (quantities, point_values))
    return quantities * point_values * np.where(shocks.absolute, 1.0, shocks.last_price) / equity
