"""Files of bid and ask to bars of the mid price, with the half-spread measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from grandmodel.core.errors import DataError
from grandmodel.core.instrument import Instrument
from grandmodel.data.dataset import PRICE_COLUMNS, Finding
from grandmodel.data.reading.formats import parse_column
from grandmodel.data.reading.headers import normalise

_DECIMALS = 10  # the mean of two decimal prices is decimal again


@dataclass(frozen=True, slots=True)
class Quotes:
    """What the two sides of a file say about its cost of trading, in points of price."""

    half_spread: float  # median over the closes
    crossed_frac: float  # fraction of bars whose closing bid is above the closing ask


def mid_prices(table: pd.DataFrame, file: str) -> tuple[pd.DataFrame, Quotes | None]:
    """Return ``table`` with open, high, low and close of the mid in place of bid_open ... ask_close.

    The high of the mid is taken as the mean of the two highs, which bounds it from above, and the low likewise, so the
    envelope of a bar holds. A table without quotes is returned as it is.

    Raises:
        DataError: some of the eight columns are there and some are missing, or a cell is no number.
    """
    headers = {normalise(column): column for column in table.columns}
    wanted = {(side, name): f"{side}_{name}" for name in PRICE_COLUMNS for side in ("bid", "ask")}
    missing = [name for name in wanted.values() if name not in headers]
    if len(missing) == len(wanted) or all(name in headers for name in PRICE_COLUMNS):
        return table, None
    if missing:
        rule = "bars of quotes must have open, high, low and close of bid and of ask"
        raise DataError(f"{file} row 1", rule, {"missing": missing}, "Export both sides, or one without the prefix")
    rows = table["row"].to_numpy(np.int64)
    sides = {key: parse_column(table[headers[text]], rows, text, file) for key, text in wanted.items()}
    mids = {name: np.round((sides["bid", name] + sides["ask", name]) / 2, _DECIMALS) for name in PRICE_COLUMNS}
    spread = sides["ask", "close"] - sides["bid", "close"]
    known = spread[np.isfinite(spread)]
    quotes = Quotes(float(np.median(known)) / 2, float(np.mean(known < 0))) if len(known) else None
    rest = table.drop(columns=[headers[text] for text in wanted.values()])
    return rest.assign(**mids), quotes


def with_measured_spread(instrument: Instrument, quotes: Quotes, file: str) -> tuple[Instrument, list[Finding]]:
    """Return ``instrument`` on the grid of mid prices with the half-spread of ``quotes``, and what the report says.

    A mid price lies on half ticks of its quotes, so the tick is halved.
    """
    text = (
        f"bid and ask are read as bars of their mid; {quotes.crossed_frac:.1%} of bars close with a bid above the ask"
    )
    findings = [Finding("info", file, text)]
    tick_size = instrument.tick_size / 2
    if not quotes.half_spread > 0:
        text = f"the median spread is {2 * quotes.half_spread:g}: the built-in half-spread is kept"
        return instrument.model_copy(
            update={"tick_size": tick_size, "half_spread_ticks": 2 * instrument.half_spread_ticks}
        ), [*findings, Finding("warning", file, text)]
    ticks = round(quotes.half_spread / tick_size, 6)
    text = (
        f"the half-spread is measured from the quotes: {quotes.half_spread:g} points, {ticks:g} ticks of "
        f"{tick_size:g}, in place of {instrument.half_spread_ticks * instrument.tick_size:g}"
    )
    updated = instrument.model_copy(update={"tick_size": tick_size, "half_spread_ticks": ticks})
    return updated, [*findings, Finding("info", file, text)]


def one_sided(stem: str) -> str | None:
    """Return ``bid`` or ``ask`` where the file name says that its prices are one side alone."""
    words = stem.lower().replace("-", "_").split("_")
    return next((side for side in ("bid", "ask") if side in words), None)


def constant_volume(count: int) -> NDArray[np.float64]:
    """Return float64[count] of 1.0, which stands for an unknown volume: a joined bar then counts its parts."""
    return np.ones(count)
