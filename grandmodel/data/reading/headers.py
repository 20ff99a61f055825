"""Column names as people write them to the names of this house; what is doubtful is told or refused."""

from __future__ import annotations

import re

import pandas as pd

from grandmodel.core.errors import DataError
from grandmodel.data.dataset import PRICE_COLUMNS, Finding

SYNONYMS: dict[str, tuple[str, ...]] = {
    "ts": (
        "ts",
        "timestamp",
        "datetime",
        "date_time",
        "date",
        "time",
        "bar_start",
        "start",
        "ts_utc",
        "timestamp_utc",
        "datetime_utc",
        "time_utc",
        "utc",
        "gmt_time",
        "local_time",
        "open_time",
    ),
    "open": ("open", "o", "first", "open_price", "px_open"),
    "high": ("high", "h", "max", "high_price", "px_high"),
    "low": ("low", "l", "min", "low_price", "px_low"),
    "close": ("close", "c", "last", "close_price", "px_last", "close/last"),
    "volume": ("volume", "vol", "v", "qty", "tick_volume", "tickvol", "px_volume"),
}
_UNIT = re.compile(r"\(.*?\)|\[.*?\]")
_KNOWN = frozenset(synonym for synonyms in SYNONYMS.values() for synonym in synonyms)
_LONG_WORD = 8


def normalise(header: object) -> str:
    """Return a header in small letters without unit, brackets and quotes: ``<OPEN>`` is open, ``Volume (lots)`` volume.

    A header that is nothing but a unit is left as it is.
    """
    text = str(header).strip().strip("\"'").strip().lower()
    if text.startswith("<") and text.endswith(">"):
        text = text[1:-1]
    bare = _UNIT.sub("", text).strip() or text
    return re.sub(r"[\s_-]+", "_", bare).strip("_")


def rename_columns(
    table: pd.DataFrame, file: str, *, optional: frozenset[str] = frozenset()
) -> tuple[pd.DataFrame, list[Finding]]:
    """Return ts, open, high, low, close, volume and row under those names, and a warning per misspelt header.

    A name in ``optional`` may be missing; its column is then missing too. What ``read_table`` noticed about the file
    comes first among the findings. A header within one edit (two in words of eight letters and more) of a known name
    is taken for it where no other header could be meant.

    Raises:
        DataError: a column is missing or cannot be told from another; names the headers.
    """
    headers = _by_name(table)
    table, headers = _join_date_and_time(table, headers)
    chosen: dict[str, str] = {}
    findings = list(table.attrs.get("findings", []))
    for name, synonyms in SYNONYMS.items():
        match, found = _choose(name, synonyms, headers, file)
        findings += found
        if match is not None:
            chosen[name] = headers[match][0]
        elif name not in optional:
            do = f"Name it {name!r}; one of {', '.join(synonyms)} is understood too"
            present = [column for column in map(str, table.columns) if column != "row"]
            raise DataError(f"{file} row 1", f"the header must have a column {name!r}", present, do)
    _refuse_twofold_use(chosen, file)
    return table[[*chosen.values(), "row"]].set_axis([*chosen, "row"], axis=1), findings


def ends_in_price(columns: pd.Index) -> bool:
    """Return whether the last column is a price, so that a line cut off at its end may have lost digits of it."""
    last = normalise(columns[-1])
    words = {last, last.rsplit("_", 1)[-1]}
    return any(words & set(SYNONYMS[name]) for name in PRICE_COLUMNS)


def _by_name(table: pd.DataFrame) -> dict[str, list[str]]:
    headers: dict[str, list[str]] = {}
    for column in table.columns:
        if column != "row":
            headers.setdefault(normalise(column), []).append(column)
    return headers


def _choose(
    name: str, synonyms: tuple[str, ...], headers: dict[str, list[str]], file: str
) -> tuple[str | None, list[Finding]]:
    """Return the normalised header that means ``name``, or None, and what has to be said about it."""
    present = [synonym for synonym in synonyms if synonym in headers]
    if present:
        written = [column for synonym in present for column in headers[synonym]]
        if len(headers[present[0]]) > 1 or (len(written) > 1 and present[0] != name):
            _refuse_ambiguous(name, written, file)
        text = f"column {headers[present[0]][0]!r} is read as {name!r}, {', '.join(map(repr, written[1:]))} is left out"
        return present[0], [Finding("info", file, text)] if len(written) > 1 else []
    near = [header for header in headers if header not in _KNOWN and _is_misspelt(header, synonyms)]
    if len(near) > 1:
        _refuse_ambiguous(name, [headers[header][0] for header in near], file)
    if not near:
        return None, []
    written = headers[near[0]]
    if len(written) > 1:
        _refuse_ambiguous(name, written, file)
    text = f"column {written[0]!r} is read as {name!r}; correct the header if that is wrong"
    return near[0], [Finding("warning", file, text)]


def _refuse_ambiguous(name: str, written: list[str], file: str) -> None:
    rule = f"one column must be {name!r}; it could be {' or '.join(map(repr, written))}"
    raise DataError(f"{file} row 1", rule, do="Rename or remove all but one")


def _refuse_twofold_use(chosen: dict[str, str], file: str) -> None:
    for name, column in chosen.items():
        others = [other for other, taken in chosen.items() if taken == column and other != name]
        if others:
            rule = f"column {column!r} could be {name!r} or {others[0]!r}"
            raise DataError(f"{file} row 1", rule, do="Correct the header")


def _join_date_and_time(
    table: pd.DataFrame, headers: dict[str, list[str]]
) -> tuple[pd.DataFrame, dict[str, list[str]]]:
    """Return the table with a column ``ts`` where date and time stand apart, one of each and nothing else."""
    stamps = [column for name in SYNONYMS["ts"] for column in headers.get(name, [])]
    if len(stamps) != 2 or not {"date", "time"} <= headers.keys():
        return table, headers
    joined = table[headers["date"][0]].astype(str) + " " + table[headers["time"][0]].astype(str)
    rest = {name: columns for name, columns in headers.items() if name not in ("date", "time")}
    return table.assign(ts=joined), {"ts": ["ts"], **rest}


def _is_misspelt(header: str, synonyms: tuple[str, ...]) -> bool:
    return any(
        edit_distance(header, spelling) <= (2 if len(spelling) >= _LONG_WORD else 1)
        for spelling in synonyms
        if len(spelling) >= 3
    )


def edit_distance(left: str, right: str) -> int:
    """Return how many letters must be inserted, dropped, replaced or swapped with their neighbour.

    Optimal string alignment; swapping two neighbours counts once, so ``colse`` is one edit from ``close``.
    """
    before: list[int] = []
    above = list(range(len(right) + 1))
    for row, letter in enumerate(left, start=1):
        current = [row]
        for column, other in enumerate(right, start=1):
            cost = min(above[column] + 1, current[-1] + 1, above[column - 1] + (letter != other))
            if row > 1 and column > 1 and (letter, left[row - 2]) == (right[column - 2], other):
                cost = min(cost, before[column - 2] + 1)
            current.append(cost)
        before, above = above, current
    return above[-1]
