"""Trading days: which session a bar belongs to, and how many bars a session has."""

from __future__ import annotations

import ast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

NS_PER_HOUR = 3_600_000_000_000
NS_PER_DAY = 24 * NS_PER_HOUR
# Local time plus this many hours carries the trading day's date: the evening session belongs to the next day.
SESSION_SHIFT_HOURS = {"America/Chicago": 7, "America/New_York": 6, "Asia/Shanghai": 5}


def session_days(start_ns: NDArray[np.int64], zone: str, *, join_weekend: bool = True) -> NDArray[np.int32]:
    """Return the trading day of each bar start as int32 days since 1970-01-01.

    A Saturday or Sunday that remains (a Friday evening elsewhere than on Globex) joins the Monday after it.
    """
    local = pd.DatetimeIndex(start_ns.astype("datetime64[ns]")).tz_localize("UTC").tz_convert(zone).tz_localize(None)
    shifted = local.as_unit("ns").asi8 + SESSION_SHIFT_HOURS.get(zone, 0) * NS_PER_HOUR
    day = shifted // NS_PER_DAY
    weekday = (day + 3) % 7  # day 0 was a Thursday; Monday is 0
    if join_weekend:
        day = day + np.where(weekday >= 5, 7 - weekday, 0)
    return np.asarray(day, np.int32)


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
