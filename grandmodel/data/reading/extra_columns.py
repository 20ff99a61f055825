"""The columns beside prices and stamps: which instrument and zone they name, and which are left out."""

from __future__ import annotations

import pandas as pd

from grandmodel.core.errors import DataError
from grandmodel.data.dataset import Finding
from grandmodel.data.instruments import known_root
from grandmodel.data.reading.headers import SYNONYMS, normalise
from grandmodel.data.reading.timezones import ZONE_WORDS

_SYMBOL_HEADERS = frozenset({"symbol", "sym", "ticker", "contract", "instrument", "product", "root"})
_ZONE_HEADERS = frozenset({"tz", "timezone", "time_zone", "zone", "tzinfo"})
_USED_HEADERS = frozenset({"row", "trading_day", "open_interest"})
_QUOTE_WORDS = frozenset({"bid", "ask"})
_SHOWN_MAX = 6


def stated_symbol(table: pd.DataFrame, file: str) -> str | None:
    """Return the one symbol that a column of ``table`` names, or None; a contract such as NQU0 names its root.

    Raises:
        DataError: such a column has more than one value: bars of several instruments, or contracts, in one file.
    """
    found = None
    for column in _named(table, _SYMBOL_HEADERS):
        values = _values(table[column])
        if len(values) > 1:
            rule = f"the file must hold one instrument; its column {column!r} names {len(values)}"
            do = "Write one file for each; remove the column where it is one joined series"
            raise DataError(file, rule, _some(values), do)
        if values and found is None:
            found = known_root(values[0]) or values[0]
    return found


def stated_zone(table: pd.DataFrame, file: str) -> tuple[str, str] | None:
    """Return the one zone that a column of ``table`` names, and which column says so; None where there is none.

    Raises:
        DataError: such a column has more than one value.
    """
    for column in _named(table, _ZONE_HEADERS):
        values = _values(table[column])
        if len(values) > 1:
            rule = f"all stamps must be in one zone; the column {column!r} names {len(values)}"
            raise DataError(file, rule, _some(values), "Write the stamps in UTC, or with their offset")
        if values:
            return ZONE_WORDS.get(values[0].lower(), values[0]), f"the column {column!r}"
    return None


def left_out(table: pd.DataFrame, file: str) -> list[Finding]:
    """Return a finding that names the columns of ``table`` which nothing reads, if there are any."""
    read = _USED_HEADERS | _SYMBOL_HEADERS | _ZONE_HEADERS | {name for names in SYNONYMS.values() for name in names}
    unread = [str(column) for column in table.columns if normalise(column) not in read and not _is_quote(column)]
    if not unread:
        return []
    columns = "column is" if len(unread) == 1 else "columns are"
    return [Finding("info", file, f"{len(unread)} {columns} left out: {_some(unread)}")]


def _named(table: pd.DataFrame, headers: frozenset[str]) -> list[str]:
    return [column for column in table.columns if normalise(column) in headers]


def _is_quote(column: object) -> bool:
    return normalise(column).split("_")[0] in _QUOTE_WORDS


def _values(cells: pd.Series) -> list[str]:
    """Return the different values in the order in which they come, without blanks."""
    return [text for text in dict.fromkeys(cells.dropna().astype(str).str.strip()) if text]


def _some(values: list[str]) -> str:
    more = f" and {len(values) - _SHOWN_MAX} more" if len(values) > _SHOWN_MAX else ""
    return ", ".join(values[:_SHOWN_MAX]) + more
