"""Trading days that a market held and the bars do not have."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.instrument import Instrument
from grandmodel.data.calendar.schedules import market_of, schedule

_WEEKDAYS = 5
_MONDAY_OFFSET = 3  # day 0 of 1970 was a Thursday


class AbsentSessions(NamedTuple):
    """Trading days between the first and the last bar of one instrument."""

    expected: int
    absent: NDArray[np.int32]  # days since 1970-01-01, ascending


def absent_sessions(instrument: Instrument, session: NDArray[np.int32], *, simulated: bool) -> AbsentSessions:
    """Return the trading days without a bar between the first and the last of ``session`` int32[n], any order.

    They come from the calendar of the instrument's market. A simulated market, which knows no holidays, and an
    instrument whose market is not known are held against every weekday.
    """
    days = np.unique(session)
    if not len(days):
        return AbsentSessions(0, np.empty(0, np.int32))
    market = market_of(instrument)
    if simulated or market is None:
        held = np.arange(days[0], days[-1] + 1, dtype=np.int32)
        held = held[(held + _MONDAY_OFFSET) % 7 < _WEEKDAYS]
    else:
        held = schedule(market, int(days[0]), int(days[-1])).day
    return AbsentSessions(len(held), np.setdiff1d(held, days))
