"""Rows onto time: UTC starts and trading days of the rows of one file, and what the calendar says of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from grandmodel.core.bars import NS_PER_MINUTE
from grandmodel.core.errors import DataError
from grandmodel.core.instrument import Instrument
from grandmodel.data.calendar.schedules import GLOBEX, NS_PER_DAY, market_of
from grandmodel.data.calendar.sessions import days_of_dates, describe_days, local_days, market_sessions
from grandmodel.data.dataset import Finding
from grandmodel.data.reading.headers import SYNONYMS, normalise
from grandmodel.data.reading.stamps import Stamps
from grandmodel.data.reading.timezones import Clock, StampKind, find_clock, localise, zone_hint

DAY_MINUTES = 1440
STOCKS = "XNYS"
_STOCK_DAYS_MIN = 10
_STOCK_HOURS_MIN = (9 * 60 + 30, 16 * 60)  # in New York


@dataclass(frozen=True, slots=True)
class Source:
    """One file with its columns parsed, before its rows stand on UTC."""

    kind: Literal["project", "chinese", "generic"]
    file: str
    columns: pd.DataFrame  # as in the file
    rows: NDArray[np.int64]  # row of each bar in the file
    stamps: Stamps
    values: dict[str, NDArray[np.float64]]
    bar_minutes: int
    instrument: Instrument
    stated_zone: tuple[str, str] | None = None  # zone and origin, where a column of the file names one


def place(
    source: Source, *, timezone: str, stamp: StampKind, now_ns: int | None
) -> tuple[NDArray[np.int64], list[Finding]]:
    """Return UTC bar starts int64[n], and how they were found.

    Args:
        source: the file.
        timezone: IANA zone of naive stamps, or ``auto``.
        stamp: whether stamps mark starts or closes, or ``auto``.
        now_ns: UTC nanoseconds of the clock, or None.

    Raises:
        DataError: the clock of the file is not evident, or contradicts what was stated.
    """
    stamps, file = source.stamps, source.file
    if source.kind == "project" and stamps.is_utc:
        return stamps.ns, []  # the project's own files hold UTC bar starts
    if source.bar_minutes == DAY_MINUTES:
        return _place_days(source)
    zone, origin = None, ""
    if stamps.is_utc:
        zone, origin = "UTC", "the offset of the stamps"
    elif source.kind == "chinese":
        zone, origin, stamp = "Asia/Shanghai", "the layout of the folder", "close"
    elif timezone != "auto":
        zone, origin = timezone, "the option timezone"
    elif source.stated_zone is not None:
        zone, origin = source.stated_zone
    market = market_of(source.instrument) or GLOBEX
    clock = Clock(stamps.ns, source.bar_minutes, file, market, _activity(source.values), now_ns, stamps.is_utc)
    hint = None if zone else zone_hint(_stamp_header(source.columns), file.rsplit(".", 1)[0])
    evidence = find_clock(clock, stated_zone=zone, stated_by=origin, stamp=stamp, hint=hint)
    utc = stamps.ns if evidence.zone == "UTC" else localise(stamps.ns, evidence.zone, source.rows, file)
    findings = [Finding("info", file, stamps.evidence), Finding("info", file, evidence.text)]
    if evidence.warning:
        findings.append(Finding("warning", file, evidence.warning))
    if source.kind == "generic":
        findings += _off_grid(stamps.ns, source.bar_minutes, file)
    return utc - (source.bar_minutes * NS_PER_MINUTE if evidence.stamp == "close" else 0), findings


def keeps_stock_hours(stamps: Stamps, bar_minutes: int) -> bool:
    """Return whether bars of less than a day lie on weekdays between 09:30 and 16:00 in New York, and fill that span.

    Stamps without offset are asked as they are: in another zone the answer is no, and the clock is found as ever.
    """
    if bar_minutes >= DAY_MINUTES:
        return False
    index = pd.DatetimeIndex(stamps.ns.astype("datetime64[ns]"))
    if stamps.is_utc:
        index = index.tz_localize("UTC").tz_convert("America/New_York").tz_localize(None)
    minute = np.asarray(index.hour * 60 + index.minute)
    opens, closes = _STOCK_HOURS_MIN
    if len(np.unique(index.normalize())) < _STOCK_DAYS_MIN or (index.day_of_week >= 5).any():
        return False
    starts = minute.min() == opens and minute.max() == closes - bar_minutes
    return bool(starts or (minute.min() == opens + bar_minutes and minute.max() == closes))


def _off_grid(local_ns: NDArray[np.int64], bar_minutes: int, file: str) -> list[Finding]:
    """Return a warning where most stamps are no multiples of the bar length, as 10:10 and 10:40 of half-hour bars."""
    past = local_ns % (bar_minutes * NS_PER_MINUTE)
    if not np.mean(past != 0) > 0.5:
        return []
    offsets, counts = np.unique(past[past != 0] / NS_PER_MINUTE, return_counts=True)
    text = (
        f"most stamps stand {offsets[np.argmax(counts)]:g} minutes past a multiple of the bar length, {bar_minutes} "
        "minutes: they are kept so, and bars of the other clock are cut where the clock is full"
    )
    return [Finding("warning", file, text)]


def trading_days(
    source: Source, start_ns: NDArray[np.int64], *, simulated: bool
) -> tuple[NDArray[np.int32], list[Finding]]:
    """Return the trading day int32[n] of each bar, from the file where it says so, and where the calendar differs.

    Args:
        source: the file.
        start_ns: int64[n], UTC bar starts.
        simulated: whether the market is made up, so that no calendar holds.

    Raises:
        DataError: a trading day is no date, or a Chinese folder does not state it.
    """
    instrument, file = source.instrument, source.file
    market = market_of(instrument)
    if "trading_day" in source.columns:
        session = _stated_days(source)
    elif source.kind == "chinese":
        do = "Chinese futures need it: the night session belongs to the next day"
        raise DataError(f"{file} row 1", "the file must have a column 'trading_day'", list(source.columns), do)
    elif source.bar_minutes == DAY_MINUTES:
        session = local_days(start_ns, instrument.timezone)
    else:
        session = market_sessions(start_ns, market, instrument.timezone)
    if "trading_day" not in source.columns or simulated:
        return session, []
    return session, describe_days(instrument, source.bar_minutes, start_ns, session, source.rows, file)


def _activity(values: dict[str, NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return what tells busy minutes from quiet ones: volume or, where it is unknown, the range."""
    volume = values["volume"]
    if len(volume) and np.nanmin(volume, initial=np.inf) != np.nanmax(volume, initial=-np.inf):
        return volume
    return values["high"] - values["low"]


def _stamp_header(columns: pd.DataFrame) -> str:
    """Return the header of the stamps as the file has it."""
    names = [str(column) for column in columns if normalise(column) in SYNONYMS["ts"]]
    return names[0] if names else ""


def _place_days(source: Source) -> tuple[NDArray[np.int64], list[Finding]]:
    """Return the midnights, in the zone of the exchange, at which the dated days begin."""
    stamp_ns, zone = source.stamps.ns, source.instrument.timezone
    odd = stamp_ns % NS_PER_DAY != stamp_ns[0] % NS_PER_DAY
    if odd.any():
        index = int(np.argmax(odd))
        found = str(np.datetime64(int(stamp_ns[index]), "s"))
        rule = "daily stamps must all be at one time of day"
        raise DataError(f"{source.file} row {source.rows[index]}", rule, found, "Write plain dates")
    text = f"bars are daily: each stamp is the date of a trading day in {zone}"
    midnight = stamp_ns // NS_PER_DAY * NS_PER_DAY
    return localise(midnight, zone, source.rows, source.file), [Finding("info", source.file, text)]


def _stated_days(source: Source) -> NDArray[np.int32]:
    cells = source.columns["trading_day"]
    dates = pd.to_numeric(cells, errors="coerce").to_numpy(np.float64)
    wrong = ~((dates > 19000000) & (dates < 22000000))
    if wrong.any():
        index = int(np.argmax(wrong))
        rule = "trading_day must be a date such as 20200131"
        subject = f"{source.file} row {source.rows[index]}"
        raise DataError(subject, rule, str(cells.iloc[index]), "Correct or remove the row")
    return days_of_dates(dates.astype(np.int64))
