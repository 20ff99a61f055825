"""Date and time text to nanoseconds: the order of day and month is found by evidence, never assumed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from grandmodel.core.bars import NS_PER_MINUTE
from grandmodel.core.errors import DataError

DateOrder = Literal["auto", "day-first", "month-first"]
_LONG_GAP_NS = 10 * 24 * 60 * NS_PER_MINUTE
_STAMP = re.compile(
    r"\s*(\d{1,4})[-/.](\d{1,2})[-/.](\d{1,4})(?:[T ]+(\d{1,2}):(\d{2})(?::(\d{2})(?:\.0+)?)?)?\s*"
    r"(Z|UTC|[+-]\d{2}:?\d{2})?\s*"
)
_EPOCH = re.compile(r"\s*\d{9,19}\s*")
_EXAMPLE = "Write stamps as 2020-06-29 01:00:00"


@dataclass(frozen=True, slots=True)
class Stamps:
    """Stamps of one file: nanoseconds since 1970 in local time, or in UTC where the text carries its offset."""

    ns: NDArray[np.int64]
    is_utc: bool
    evidence: str


def parse_stamps(cells: pd.Series, rows: NDArray[np.int64], file: str, date_order: DateOrder = "auto") -> Stamps:
    """Return the stamps of ``cells`` with the order of day and month settled.

    A slashed date is read in the order under which fewer stamps are impossible, run backwards or leave holes of more
    than ten days. A file that only reads month-first is refused unless ``date_order`` says so: that is how
    day-first files look after a spreadsheet has swapped them.

    Raises:
        DataError: a stamp cannot be read, or the order cannot be decided; names the row.
    """
    if pd.api.types.is_datetime64_any_dtype(cells.dtype):
        return _typed(cells, rows, file)
    text = cells.astype(str).to_numpy(dtype=object)
    if _EPOCH.fullmatch(text[0]):
        return _epochs(text, rows, file)
    fields, offset_minutes = _split(text, rows, file)
    fields, chosen, evidence = _settle_order(fields, rows, text, file, date_order)
    ns = _compose(fields)
    if (ns == _INVALID).any():
        index = int(np.argmax(ns == _INVALID))
        rule = f"the stamp must be a possible {chosen} date and time"
        raise DataError(f"{file} row {rows[index]}", rule, text[index], _EXAMPLE)
    has_offset = ~np.isnan(offset_minutes)
    if has_offset.any() and not has_offset.all():
        index = int(np.argmin(has_offset))
        raise DataError(f"{file} row {rows[index]}", "all stamps or none must carry an offset", text[index], _EXAMPLE)
    is_utc = bool(has_offset.all())
    shift = (offset_minutes * NS_PER_MINUTE).astype(np.int64) if is_utc else np.int64(0)
    return Stamps(ns - shift, is_utc, evidence)


def refuse_backward_steps(ns: NDArray[np.int64], rows: NDArray[np.int64], file: str) -> None:
    """Raise DataError naming the first row whose stamp is earlier than the one before; equal stamps may pass."""
    backward = np.diff(ns) < 0
    if backward.any():
        index = int(np.argmax(backward)) + 1
        raise DataError(
            f"{file} row {rows[index]}",
            "time must not run backwards",
            f"{np.datetime64(int(ns[index]), 'ns')} after {np.datetime64(int(ns[index - 1]), 'ns')}",
            "Sort the file by time or export it again",
        )


_INVALID = np.iinfo(np.int64).min


def _typed(cells: pd.Series, rows: NDArray[np.int64], file: str) -> Stamps:
    if cells.isna().any():
        row = int(rows[int(np.argmax(cells.isna().to_numpy()))])
        raise DataError(f"{file} row {row}", "the stamp must not be empty", do="Correct or remove the row")
    aware = getattr(cells.dtype, "tz", None) is not None
    plain = cells.dt.tz_convert("UTC").dt.tz_localize(None) if aware else cells
    return Stamps(plain.to_numpy().astype("datetime64[ns]").astype(np.int64), aware, "stamps are typed, not text")


def _epochs(text: NDArray[np.object_], rows: NDArray[np.int64], file: str) -> Stamps:
    for index, cell in enumerate(text):
        if not _EPOCH.fullmatch(cell):
            rule = "all stamps must be epoch numbers like the first"
            raise DataError(f"{file} row {rows[index]}", rule, cell, _EXAMPLE)
    numbers = text.astype(np.int64)
    per_second = 10 ** (3 * max(0, (len(str(int(np.median(numbers)))) - 8) // 3))
    return Stamps(numbers * (1_000_000_000 // per_second), True, f"stamps are epoch numbers, {per_second} a second")


def _split(
    text: NDArray[np.object_], rows: NDArray[np.int64], file: str
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return fields int64[n, 6] in the order of the text and offsets in minutes (NaN where none is written)."""
    fields = np.zeros((len(text), 6), np.int64)
    offset_minutes = np.full(len(text), np.nan)
    for index, cell in enumerate(text):
        match = _STAMP.fullmatch(cell)
        if match is None or (len(match[1]) == 4) == (len(match[3]) == 4):
            raise DataError(f"{file} row {rows[index]}", "the stamp must be a date and time", cell, _EXAMPLE)
        fields[index] = [int(part or 0) for part in match.groups()[:6]]
        if match[7]:
            offset_minutes[index] = _offset_minutes(match[7])
    return fields, offset_minutes


def _offset_minutes(text: str) -> int:
    if text in ("Z", "UTC"):
        return 0
    digits = text[1:].replace(":", "")
    return (-1 if text[0] == "-" else 1) * (60 * int(digits[:2]) + int(digits[2:]))


def _settle_order(
    fields: NDArray[np.int64], rows: NDArray[np.int64], text: NDArray[np.object_], file: str, date_order: DateOrder
) -> tuple[NDArray[np.int64], str, str]:
    """Return fields as year, month, day, hour, minute, second, the order they had, and why."""
    year_first = fields[:, 0] > 31
    day_first = fields.copy()
    day_first[~year_first, 0], day_first[~year_first, 2] = fields[~year_first, 2], fields[~year_first, 0]
    if year_first.all():
        return day_first, "year-first", "dates are written year-first"
    month_first = day_first.copy()
    month_first[~year_first, 1], month_first[~year_first, 2] = fields[~year_first, 0], fields[~year_first, 1]
    orders = {"day-first": day_first, "month-first": month_first}
    if date_order != "auto":
        return orders[date_order], date_order, f"dates are read {date_order} as told"
    wrong = {name: _wrong_count(_compose(candidate)) for name, candidate in orders.items()}
    evidence = (
        f"dates are read day-first: so read {wrong['day-first']} stamps are impossible, backwards or after a long "
        f"hole, month-first {wrong['month-first']}"
    )
    if wrong["day-first"] < wrong["month-first"] or np.array_equal(day_first, month_first):
        return day_first, "day-first", evidence
    index = _first_wrong(_compose(day_first if wrong["day-first"] else month_first))
    if wrong["day-first"] > wrong["month-first"]:
        rule = "dates must be year-first or day-first; this file reads only month-first"
        do = 'If that is meant, give date_order="month-first" (--date-order month-first)'
        raise DataError(f"{file} row {rows[index]}", rule, text[index], do)
    rule = "the order of day and month must be evident; both readings are equally likely"
    do = f'{_EXAMPLE}, or give date_order="day-first" or "month-first"'
    raise DataError(f"{file} row {rows[index]}", rule, text[index], do)


def _compose(fields: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return nanoseconds for rows of year, month, day, hour, minute, second; the least int64 where impossible."""
    year, month, day, hour, minute, second = fields.T
    valid = (month >= 1) & (month <= 12) & (day >= 1) & (hour < 24) & (minute < 60) & (second < 60)
    valid &= (year >= 1900) & (year < 2200)
    months = np.where(valid, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (np.where(valid, day, 1) - 1)
    valid &= days.astype("datetime64[M]") == months
    seconds = days.astype("datetime64[s]").astype(np.int64) + hour * 3600 + minute * 60 + second
    return np.asarray(np.where(valid, seconds * 1_000_000_000, _INVALID), np.int64)


def _suspicious(ns: NDArray[np.int64]) -> NDArray[np.bool_]:
    wrong: NDArray[np.bool_] = ns == _INVALID
    known = np.flatnonzero(~wrong)
    steps = np.diff(ns[known])
    wrong[known[1:][(steps < 0) | (steps > _LONG_GAP_NS)]] = True
    return wrong


def _wrong_count(ns: NDArray[np.int64]) -> int:
    return int(_suspicious(ns).sum())


def _first_wrong(ns: NDArray[np.int64]) -> int:
    return int(np.argmax(_suspicious(ns)))
