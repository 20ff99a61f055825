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
_NS_PER_SECOND = 1_000_000_000
_DAY_NS = 24 * 60 * NS_PER_MINUTE
_LONG_GAP_NS = 10 * _DAY_NS
_ALONE_NS = 60 * _DAY_NS
_ALONE_ROWS_MAX = 3
_ALONE_STEPS = 20  # times the usual step
_TIME = r"(?:[T ]+(\d{1,2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?(?: ?([AaPp][Mm]))?)?"
_OFFSET = r"\s*(Z|UTC|[+-]\d{2}(?::?\d{2})?)?\s*"
_STAMP = re.compile(rf"\s*(\d{{1,4}})[-/.](\d{{1,2}}|[A-Za-z]{{3}})[-/.](\d{{1,4}}){_TIME}{_OFFSET}")
_COMPACT = re.compile(r"\s*(\d{4})(\d{2})(\d{2})(?:[T ]*(\d{2}):?(\d{2})(?::?(\d{2})(?:\.(\d{1,9}))?)?)?()" + _OFFSET)
_EPOCH = re.compile(r"\s*(\d{9,19})(?:\.0*)?\s*")
_EPOCH_YEARS_S = (315_532_800, 4_102_444_800)  # 1980 to 2100: in any other unit the number is another century
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_EXAMPLE = "Write stamps as 2020-06-29 01:00:00"
_MONTH_FIRST = ("month-first", "day-first")
_INVALID = np.iinfo(np.int64).min


@dataclass(frozen=True, slots=True)
class Stamps:
    """Stamps of one file: nanoseconds since 1970 in local time, or in UTC where the text carries its offset."""

    ns: NDArray[np.int64]
    is_utc: bool
    evidence: str


def parse_stamps(
    cells: pd.Series,
    rows: NDArray[np.int64],
    file: str,
    date_order: DateOrder = "auto",
    now_ns: int | None = None,
) -> Stamps:
    """Return the stamps of ``cells`` with the order of day and month settled.

    Read are typed stamps, ISO text with and without offset, compact text (``20200629 010000``), named months
    (``29-Jun-2020``), slashed and dotted dates with a year of four digits, and epoch numbers in seconds, milliseconds,
    microseconds or nanoseconds; spellings may mix within a file, epochs may not.

    A slashed date is read in the order under which fewer stamps are impossible, run backwards, lie in the future or
    leave holes of more than ten days. Month-first needs more: not one such stamp, for a day-first file that a
    spreadsheet has half swapped also reads month-first, with some. ``date_order`` overrides the evidence.

    Args:
        cells: the column of stamps, length n.
        rows: int64[n], row in the file, for messages.
        file: for messages.
        date_order: order of day and month; ``auto`` finds it.
        now_ns: UTC nanoseconds; a stamp more than a day later lies in the future and is refused. None: not asked.

    Raises:
        DataError: a stamp cannot be read, the order cannot be decided, or a stamp stands alone years from the others;
            names the row.
    """
    stamps = _parse(cells, rows, file, date_order, now_ns)
    if now_ns is not None and (late := stamps.ns > now_ns + _DAY_NS).any():
        index = int(np.argmax(late))
        raise DataError(
            f"{file} row {rows[index]}", "no stamp may lie in the future", _text(stamps.ns[index]), _EXAMPLE
        )
    _refuse_lone_edges(stamps.ns, rows, file)
    return stamps


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


def _parse(cells: pd.Series, rows: NDArray[np.int64], file: str, date_order: DateOrder, now_ns: int | None) -> Stamps:
    if pd.api.types.is_datetime64_any_dtype(cells.dtype):
        return _typed(cells, rows, file)
    text = _as_text(cells)
    if _EPOCH.fullmatch(text[0]) and not _COMPACT.fullmatch(text[0]):
        return _epochs(text, rows, file)
    fields, offset_minutes = _split(text, rows, file)
    fields, chosen, evidence = _settle_order(fields, rows, text, file, date_order, now_ns)
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


def _as_text(cells: pd.Series) -> NDArray[np.object_]:
    if cells.dtype.kind == "f":  # an epoch column with a gap becomes float64: whole numbers are written as such
        return np.array([str(int(cell)) if float(cell).is_integer() else str(cell) for cell in cells], dtype=object)
    return cells.astype(str).to_numpy(dtype=object)


def _typed(cells: pd.Series, rows: NDArray[np.int64], file: str) -> Stamps:
    if cells.isna().any():
        row = int(rows[int(np.argmax(cells.isna().to_numpy()))])
        raise DataError(f"{file} row {row}", "the stamp must not be empty", do="Correct or remove the row")
    aware = getattr(cells.dtype, "tz", None) is not None
    plain = cells.dt.tz_convert("UTC").dt.tz_localize(None) if aware else cells
    try:
        ns = plain.dt.as_unit("ns").to_numpy().astype(np.int64)
    except (OverflowError, ValueError) as error:
        rule = "all stamps must lie between the years 1678 and 2262"
        raise DataError(file, rule, str(error), "Correct or remove the row") from error
    return Stamps(ns, aware, "stamps are typed, not text")


def _epochs(text: NDArray[np.object_], rows: NDArray[np.int64], file: str) -> Stamps:
    matches = [_EPOCH.fullmatch(cell) for cell in text]
    if None in matches:
        index = matches.index(None)
        rule = "all stamps must be epoch numbers like the first"
        raise DataError(f"{file} row {rows[index]}", rule, text[index], _EXAMPLE)
    numbers = [int(match[1]) for match in matches if match is not None]
    middle = sorted(numbers)[len(numbers) // 2]
    first_s, last_s = _EPOCH_YEARS_S
    per_second = next((unit for unit in (1, 10**3, 10**6, 10**9) if first_s <= middle // unit < last_s), None)
    if per_second is None:
        rule = "epoch stamps must count seconds, milliseconds, microseconds or nanoseconds since 1970"
        raise DataError(f"{file} row {rows[0]}", rule, text[0], _EXAMPLE)
    for number, row, cell in zip(numbers, rows, text, strict=True):
        if not first_s <= number // per_second < last_s:
            rule = f"all epoch stamps must count alike, {per_second} a second"
            raise DataError(f"{file} row {row}", rule, cell, "Correct or remove the row")
    ns = np.array(numbers, np.int64) * (_NS_PER_SECOND // per_second)
    return Stamps(ns, True, f"stamps are epoch numbers, {per_second} a second")


def _split(
    text: NDArray[np.object_], rows: NDArray[np.int64], file: str
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return fields int64[n, 7] in the order of the text and offsets in minutes (NaN where none is written).

    Fields are three of the date, hour, minute, second, nanosecond; a named month makes the date year-first.
    """
    fields = np.zeros((len(text), 7), np.int64)
    offset_minutes = np.full(len(text), np.nan)
    for index, cell in enumerate(text):
        match = _STAMP.fullmatch(cell) or _COMPACT.fullmatch(cell)
        if match is None or (len(match[1]) == 4) == (len(match[3]) == 4):
            raise DataError(f"{file} row {rows[index]}", "the stamp must be a date and time", cell, _EXAMPLE)
        first, second, third, hour, minute, seconds, fraction, half, offset = match.groups()
        if not second.isdigit():
            if second.lower() not in _MONTHS:
                raise DataError(f"{file} row {rows[index]}", "the stamp must name a month", cell, _EXAMPLE)
            year, day = (first, third) if len(first) == 4 else (third, first)
            first, second, third = year, str(_MONTHS.index(second.lower()) + 1), day
        clock = (_hour(hour, half), int(minute or 0), int(seconds or 0), int((fraction or "").ljust(9, "0")))
        fields[index] = (int(first), int(second), int(third), *clock)
        if offset:
            offset_minutes[index] = _offset_minutes(offset)
    return fields, offset_minutes


def _hour(hour: str | None, half: str | None) -> int:
    """Return the hour of the day; one that a 12-hour clock lacks becomes 24, which no day has."""
    number = int(hour or 0)
    if not half:
        return number
    if not 1 <= number <= 12:
        return 24
    return number % 12 + (12 if half.lower() == "pm" else 0)


def _offset_minutes(text: str) -> int:
    if text in ("Z", "UTC"):
        return 0
    digits = text[1:].replace(":", "")
    return (-1 if text[0] == "-" else 1) * (60 * int(digits[:2]) + int(digits[2:] or 0))


def _settle_order(
    fields: NDArray[np.int64],
    rows: NDArray[np.int64],
    text: NDArray[np.object_],
    file: str,
    date_order: DateOrder,
    now_ns: int | None,
) -> tuple[NDArray[np.int64], str, str]:
    """Return fields as year, month, day and the rest, the order they had, and why."""
    year_first = fields[:, 0] > 31
    day_first = fields.copy()
    day_first[~year_first, 0], day_first[~year_first, 2] = fields[~year_first, 2], fields[~year_first, 0]
    if year_first.all():
        return day_first, "year-first", "dates are written year-first"
    month_first = day_first.copy()
    month_first[~year_first, 1], month_first[~year_first, 2] = fields[~year_first, 0], fields[~year_first, 1]
    orders = {"day-first": day_first, "month-first": month_first}
    if date_order != "auto":
        _refuse_wrong_order(orders, date_order, rows, file, now_ns)
        return orders[date_order], date_order, f"dates are read {date_order} as told"
    suspicious = {name: _suspicious(_compose(candidate), now_ns) for name, candidate in orders.items()}
    wrong = {name: int(found.sum()) for name, found in suspicious.items()}
    better, other = ("day-first", "month-first") if wrong["day-first"] <= wrong["month-first"] else _MONTH_FIRST
    evident = wrong[better] < wrong[other] and (better == "day-first" or wrong[better] == 0)
    if evident or np.array_equal(day_first, month_first):
        text_of_evidence = (
            f"dates are read {better}: so read {wrong[better]} stamps are impossible, backwards, in the future or "
            f"after a long hole, {other} {wrong[other]}"
        )
        return orders[better], better, text_of_evidence
    index = int(np.argmax(suspicious["day-first"] | suspicious["month-first"]))
    if better == "month-first":
        rule = "dates must be year-first or day-first; this file reads better month-first, but not cleanly"
        do = 'If that is meant, give date_order="month-first" (--date-order month-first)'
    else:
        rule = "the order of day and month must be evident; both readings are equally likely"
        do = f'{_EXAMPLE}, or give date_order="day-first" or "month-first"'
    raise DataError(f"{file} row {rows[index]}", rule, text[index], do)


def _refuse_wrong_order(
    orders: dict[str, NDArray[np.int64]], date_order: str, rows: NDArray[np.int64], file: str, now_ns: int | None
) -> None:
    """Raise DataError where the order that was stated makes stamps impossible and the other makes all of them fit."""
    suspicious = {name: _suspicious(_compose(fields), now_ns) for name, fields in orders.items()}
    wrong = {name: int(found.sum()) for name, found in suspicious.items()}
    other = next(name for name in orders if name != date_order)
    if wrong[date_order] and not wrong[other]:
        rule = (
            f"dates cannot be {date_order}, as the option --date-order says: {wrong[date_order]} stamps would be "
            f"impossible, backwards, in the future or after a long hole, against 0 read {other}"
        )
        subject = f"{file} row {rows[int(np.argmax(suspicious[date_order]))]}"
        raise DataError(subject, rule, do=f"Give --date-order {other}, or leave the option out")


def _compose(fields: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return nanoseconds for rows of year to nanosecond, int64[n, 7]; the least int64 where impossible."""
    year, month, day, hour, minute, second, nanosecond = fields.T
    valid = (month >= 1) & (month <= 12) & (day >= 1) & (hour < 24) & (minute < 60) & (second < 60)
    valid &= (year >= 1900) & (year < 2200)
    months = np.where(valid, (year - 1970) * 12 + month - 1, 0).astype("datetime64[M]")
    days = months.astype("datetime64[D]") + (np.where(valid, day, 1) - 1)
    valid &= days.astype("datetime64[M]") == months
    seconds = days.astype("datetime64[s]").astype(np.int64) + hour * 3600 + minute * 60 + second
    return np.asarray(np.where(valid, seconds * _NS_PER_SECOND + nanosecond, _INVALID), np.int64)


def _suspicious(ns: NDArray[np.int64], now_ns: int | None) -> NDArray[np.bool_]:
    wrong: NDArray[np.bool_] = ns == _INVALID
    known = np.flatnonzero(~wrong)
    steps = np.diff(ns[known])
    wrong[known[1:][(steps < 0) | (steps > _LONG_GAP_NS)]] = True
    if now_ns is not None:
        wrong |= ns > now_ns + _DAY_NS
    return wrong


def _refuse_lone_edges(ns: NDArray[np.int64], rows: NDArray[np.int64], file: str) -> None:
    """Raise DataError where the first or last rows stand months away from all others: their year is mistyped.

    In a file of rare rows, one a quarter say, months are nothing unusual.
    """
    if len(ns) <= 2 * _ALONE_ROWS_MAX:
        return
    steps = np.abs(np.diff(ns))
    far = steps > max(_ALONE_NS, _ALONE_STEPS * float(np.median(steps)))
    edges = [index for index in range(_ALONE_ROWS_MAX) if far[index]]
    edges += [index + 1 for index in range(len(far) - _ALONE_ROWS_MAX, len(far)) if far[index]]
    if edges:
        index = edges[0]
        found = f"{_text(ns[index])} beside {_text(ns[index + 1 if index < _ALONE_ROWS_MAX else index - 1])}"
        rule = "no first or last row may stand months away from all others"
        raise DataError(f"{file} row {rows[index]}", rule, found, "Correct the year, or remove the row")


def _text(ns: np.int64) -> str:
    return str(np.datetime64(int(ns), "ns").astype("datetime64[s]"))
