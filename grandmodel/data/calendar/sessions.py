"""Trading days: which session a bar belongs to, and how many bars a session has."""

from __future__ import annotations

import ast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from grandmodel.core.instrument import Instrument
from grandmodel.data.calendar.schedules import Market, judge, schedule, sessions_of, zone_of
from grandmodel.data.dataset import Finding

NS_PER_HOUR = 3_600_000_000_000
NS_PER_DAY = 24 * NS_PER_HOUR
# Local time plus this many hours carries the trading day's date: the evening session belongs to the next day.
SESSION_SHIFT_HOURS = {"America/Chicago": 7, "America/New_York": 6, "Asia/Shanghai": 5}
_CURRENCY_SHIFT_HOURS = 7
_LISTED_MAX = 6


def session_days(
    start_ns: NDArray[np.int64], zone: str, *, join_weekend: bool = True, shift_hours: int | None = None
) -> NDArray[np.int32]:
    """Return the trading day of each bar start as int32 days since 1970-01-01.

    The day changes ``shift_hours`` before midnight in ``zone``, by default at the zone's usual hour. A Saturday or
    Sunday that remains (a Friday evening elsewhere than on Globex) joins the Monday after it.
    """
    local = pd.DatetimeIndex(start_ns.astype("datetime64[ns]")).tz_localize("UTC").tz_convert(zone).tz_localize(None)
    shift = SESSION_SHIFT_HOURS.get(zone, 0) if shift_hours is None else shift_hours
    shifted = local.as_unit("ns").asi8 + shift * NS_PER_HOUR
    day = shifted // NS_PER_DAY
    weekday = (day + 3) % 7  # day 0 was a Thursday; Monday is 0
    if join_weekend:
        day = day + np.where(weekday >= 5, 7 - weekday, 0)
    return np.asarray(day, np.int32)


def market_sessions(start_ns: NDArray[np.int64], market: Market | None, zone: str) -> NDArray[np.int32]:
    """Return the trading day of each bar start (UTC, ascending) in ``market``; by its zone alone where it is None.

    Round the clock the day is the UTC date and a weekend counts like any day; a currency day begins at 17:00 New York
    time; the Chinese night belongs to the next trading day, over weekends too.
    """
    if market is None or len(start_ns) == 0:
        return session_days(start_ns, zone)
    if market.calendar == "24/7":
        return np.asarray(start_ns // NS_PER_DAY, np.int32)
    if market.calendar == "chinese":
        first, last = int(start_ns[0] // NS_PER_DAY), int(start_ns[-1] // NS_PER_DAY)
        return sessions_of(schedule(market, first - 7, last + 21), start_ns)
    if market.calendar == "fx":
        return session_days(start_ns, zone_of(market), shift_hours=_CURRENCY_SHIFT_HOURS)
    return session_days(start_ns, zone_of(market) if market.calendar == "globex" else zone)


def local_days(start_ns: NDArray[np.int64], zone: str) -> NDArray[np.int32]:
    """Return the date, as int32 days since 1970-01-01, that the clock in ``zone`` shows at each UTC start."""
    local = pd.DatetimeIndex(start_ns.astype("datetime64[ns]")).tz_localize("UTC").tz_convert(zone).tz_localize(None)
    return np.asarray(local.as_unit("ns").asi8 // NS_PER_DAY, np.int32)


def describe_days(
    instrument: Instrument,
    bar_minutes: int,
    start_ns: NDArray[np.int64],
    session: NDArray[np.int32],
    rows: NDArray[np.int64],
    file: str,
) -> list[Finding]:
    """Return a finding about bars whose stated trading day is not the one that the calendar gives them.

    Args:
        instrument: of the bars.
        bar_minutes: length of a bar.
        start_ns: int64[n], UTC starts, ascending.
        session: int32[n], trading day of each bar as the file states it.
        rows: int64[n], row of each bar in the file.
        file: for the report.
    """
    judgement = judge(instrument, bar_minutes, start_ns, session)
    if judgement is None or not judgement.astray.any():
        return []
    where = rows[judgement.astray]
    days = _dates(np.unique(session[judgement.astray]))
    bars = "1 bar carries" if len(where) == 1 else f"{len(where)} bars carry"
    text = f"{bars} another trading day than the calendar gives: {days}"
    return [Finding("warning", file, text, file, tuple(where), len(where))]


def _dates(days: NDArray[np.int32]) -> str:
    listed = [str(np.datetime64(int(day), "D")) for day in days[:_LISTED_MAX]]
    more = f" and {len(days) - _LISTED_MAX} more days" if len(days) > _LISTED_MAX else ""
    return ", ".join(listed) + more


def days_of_dates(yyyymmdd: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return days since 1970-01-01 of dates written as integers such as 20200131."""
    months = ((yyyymmdd // 10000 - 1970) * 12 + yyyymmdd // 100 % 100 - 1).astype("datetime64[M]")
    return np.asarray((months.astype("datetime64[D]") + (yyyymmdd % 100 - 1)).astype(np.int64), np.int32)


def session_bars_5m(session: str) -> int:
    """Return the 5-minute bars of a full day from spans such as ``[{'from': 2100, 'to': 100}, ...]`` (hhmm)."""
    minutes = 0
    for span in ast.literal_eval(session):
        start, stop = (60 * (span[key] // 100) + span[key] % 100 for key in ("from", "to"))
        minutes += (stop - start) % (24 * 60)
    return minutes // 5
