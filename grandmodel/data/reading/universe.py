"""What the instruments of a dataset were chosen from: every file beside theirs, and the rows of ``universe.csv``.

``universe.csv`` (symbol, first, last; ISO dates; an empty last is an instrument that still trades) names instruments
whose bars nobody kept. Without it the universe is what lies in the folder, each file dated by its first and last stamp.
A single file outside a folder with an instrument table is a universe of one.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from grandmodel.core.errors import DataError
from grandmodel.data.dataset import Listing
from grandmodel.data.reading.formats import read_table
from grandmodel.data.reading.headers import rename_columns
from grandmodel.data.reading.layouts import UNIVERSE_FILE, Layout
from grandmodel.data.reading.quotes import mid_prices
from grandmodel.data.reading.stamps import DateOrder, parse_stamps

_NS_PER_DAY = 86_400_000_000_000
_COLUMNS = ["symbol", "first", "last"]
_STILL_TRADES = "9999-12-31"


def find_universe(layout: Layout, members: list[Listing], date_order: DateOrder) -> tuple[Listing, ...]:
    """Return members and all that could have been one, by symbol.

    Members are dated by their bars; others by ``universe.csv`` or, where it does not name them, by their file. A file
    that cannot be read as bars stays undated. Raises: DataError when ``universe.csv`` cannot be read.
    """
    tables = [file for file in layout.side_files if file.name == UNIVERSE_FILE]
    listings = {symbol: _dated_by_file(symbol, file, date_order) for symbol, file in layout.others.items()}
    for table in tables:
        listings |= {listing.symbol: listing for listing in read_universe(table)}
    listings |= {listing.symbol: listing for listing in members}
    return tuple(listings[symbol] for symbol in sorted(listings))


def read_universe(path: Path) -> list[Listing]:
    """Return the rows of ``universe.csv`` as listings that are no members.

    Raises: DataError when a column is missing, a symbol stands twice, or a date is none.
    """
    do = "Give one row per instrument: symbol,first,last with ISO dates, last empty while it trades"
    try:
        rows = pd.read_csv(path, dtype=str)[_COLUMNS]
        first = pd.to_datetime(rows["first"], format="%Y-%m-%d").to_numpy("datetime64[D]").astype(np.int64)
        last = pd.to_datetime(rows["last"].fillna(_STILL_TRADES), format="%Y-%m-%d")
    except (OSError, ValueError, KeyError) as error:
        raise DataError(path.name, "must hold symbol, first and last day", str(error), do) from error
    if rows["symbol"].isna().any() or rows["symbol"].duplicated().any():
        raise DataError(path.name, "every symbol must stand once", rows["symbol"].tolist(), do)
    last_days = last.to_numpy("datetime64[D]").astype(np.int64)
    return [
        Listing(str(symbol), int(start), int(stop), is_member=False, dated_by=path.name)
        for symbol, start, stop in zip(rows["symbol"], first, last_days, strict=True)
    ]


def universe_table(listings: Iterable[Listing]) -> str:
    """Return the text of a ``universe.csv`` of the dated ``listings`` that are no members; empty where there is none.

    It goes with bars that are copied without the files beside them. A file that could not be dated is left behind.
    """
    lines = [
        f"{one.symbol},{_date(one.first_session)},{_date(one.last_session)}\n"
        for one in listings
        if not one.is_member and one.first_session is not None and one.last_session is not None
    ]
    return "".join([f"{','.join(_COLUMNS)}\n", *lines]) if lines else ""


def _date(session: int) -> str:
    text = str(np.datetime64(session, "D"))
    return "" if text == _STILL_TRADES else text


def _dated_by_file(symbol: str, file: Path, date_order: DateOrder) -> Listing:
    """Return the days of the first and last stamp as they stand in the file, whatever its zone."""
    try:
        priced, _ = mid_prices(read_table(file), file.name)
        table, _ = rename_columns(priced, file.name, optional=frozenset({"volume"}))
        stamps = parse_stamps(table["ts"], table["row"].to_numpy(np.int64), file.name, date_order, None)
    except DataError:
        return Listing(symbol, None, None, is_member=False, dated_by=file.name)
    first, last = (int(ns // _NS_PER_DAY) for ns in (stamps.ns.min(), stamps.ns.max()))
    return Listing(symbol, first, last, is_member=False, dated_by=file.name)
