"""Short bars to longer ones: by count within the session, or by the clock.

By count, six consecutive 5-minute bars make a 30-minute bar. That suits exchanges with breaks, whose vendors count so,
and sources without holes. By the clock, a bar belongs to the half-hour it starts in. That suits sources of 1-minute
bars and markets round the clock, where a minute without a quote leaves a hole that would shift every later bin.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.bars import NS_PER_MINUTE, Bars
from grandmodel.core.errors import DataError
from grandmodel.core.instrument import Instrument

Grouping = Literal["count", "clock"]
TACTICAL_MINUTES = 5
STRATEGIC_MINUTES = 30


def grouping_of(instrument: Instrument) -> Grouping:
    """Return how bars of ``instrument`` are joined: by the clock where its named calendar has no breaks, else by count.

    An instrument that names no calendar is joined by count; so are the Chinese exchanges and any with a lunch break.
    """
    return "clock" if instrument.calendar in ("globex", "fx", "24/7", "XNYS") else "count"


def session_places(
    start_ns: NDArray[np.int64], session: NDArray[np.int32], outside: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Return int64[n], the place of each row among the 5-minute intervals of its session that have a row, from 0.

    Rows ``outside`` the hours of the market hold no place: they share that of the next row within. Taken of the rows as
    read, a place does not change when rows are cut. The slow twin is ``reference.session_places``.

    Args:
        start_ns: int64[n], UTC starts, strictly increasing.
        session: int32[n], trading days, ascending.
        outside: bool[n].
    """
    count = len(start_ns)
    interval = start_ns // (TACTICAL_MINUTES * NS_PER_MINUTE)
    within = np.flatnonzero(~outside)
    opens = np.zeros(count, np.bool_)
    changes = (np.diff(interval[within]) != 0) | (np.diff(session[within]) != 0)
    opens[within] = np.r_[True, changes][: len(within)]
    opened = np.r_[0, np.cumsum(opens)]
    first = np.searchsorted(session, session, side="left")
    return np.asarray(opened[:-1] - opened[first] - (~outside & ~opens), np.int64)


def both_clocks(bars: Bars, grouping: Grouping, place: NDArray[np.int64] | None = None) -> tuple[Bars | None, Bars]:
    """Return the 5- and the 30-minute bars of a source of 1-, 5- or 30-minute bars; no 5-minute ones of the last.

    Minute bars are joined by the clock whatever ``grouping`` says; it decides how 5-minute bars are joined. ``place``
    is that of each bar in its session as read, see ``session_places``; by default nothing was cut.

    Raises:
        DataError: the bars are of another length; no team trades daily bars.
    """
    if bars.bar_minutes == STRATEGIC_MINUTES:
        return None, bars
    if bars.bar_minutes == TACTICAL_MINUTES:
        return bars, resample_to_30(bars, grouping, place)[0]
    if bars.bar_minutes == 1:
        tactical, owner = resample(bars, TACTICAL_MINUTES, "clock")
        first = np.searchsorted(owner, np.arange(len(tactical)))
        return tactical, resample_to_30(tactical, grouping, None if place is None else place[first])[0]
    do = "Bring bars of 1, 5 or 30 minutes; longer ones are read, judged and reported only"
    raise DataError(bars.symbol, "the teams trade 30- and 5-minute bars", f"{bars.bar_minutes} minutes", do)


def resample_to_30(
    bars: Bars, grouping: Grouping = "count", place: NDArray[np.int64] | None = None
) -> tuple[Bars, NDArray[np.int64]]:
    """Return the 30-minute bars and, for each bar of ``bars``, the index int64[n] of the one it belongs to."""
    return resample(bars, STRATEGIC_MINUTES, grouping, place)


def resample(
    bars: Bars, minutes: int, grouping: Grouping, place: NDArray[np.int64] | None = None
) -> tuple[Bars, NDArray[np.int64]]:
    """Return bars of ``minutes`` and, for each bar of ``bars``, the index int64[n] of the one it belongs to.

    By count, groups are ``minutes / bars.bar_minutes`` consecutive bars within one session. The last of a session may
    be shorter, and so is one of which a bar was cut: ``place`` says where each stood before. Such a bar starts with its
    first bar and is visible when its last one closes. By the clock, groups are the bars that start in one UTC interval
    of ``minutes`` within one session; intervals without a bar give none. Such a bar starts and becomes visible with its
    interval, for nobody knows before its end that no other quote will come. Nothing is filled in. A bar is tradable
    when any of its parts is. The slow twin is ``reference.resample``.

    Args:
        bars: of a length that divides ``minutes``.
        minutes: length of the bars to make.
        grouping: ``count`` or ``clock``.
        place: int64[n], ascending within each session; by default the position among the bars given. By count only.

    Raises:
        DataError: ``minutes`` is no multiple of the length of ``bars``.
    """
    if minutes % bars.bar_minutes:
        raise DataError(bars.symbol, f"bars must divide {minutes} minutes", f"{bars.bar_minutes} minutes")
    count = len(bars)
    opens_session = np.r_[True, np.diff(bars.session) != 0][:count]
    length_ns = minutes * NS_PER_MINUTE
    if grouping == "count":
        if place is None:
            position = np.arange(count)
            place = position - np.maximum.accumulate(np.where(opens_session, position, 0))
        opens_group = opens_session | np.r_[True, np.diff(place // (minutes // bars.bar_minutes)) != 0][:count]
    else:
        opens_group = opens_session | np.r_[True, np.diff(bars.start_ns // length_ns) != 0][:count]
    first = np.flatnonzero(opens_group)
    last = np.r_[first[1:], count][: len(first)] - 1
    start_ns, close_ns = bars.start_ns[first], bars.close_ns[last]
    if grouping == "clock" and count:
        interval_ns = start_ns // length_ns * length_ns
        start_ns = np.maximum(interval_ns, np.r_[interval_ns[:1], close_ns[:-1]])
        close_ns = np.minimum(interval_ns + length_ns, np.r_[start_ns[1:], interval_ns[-1] + length_ns])
    joined = Bars(
        bars.symbol,
        minutes,
        start_ns=start_ns,
        close_ns=close_ns,
        open=bars.open[first],
        high=_reduced(np.maximum, bars.high, first),
        low=_reduced(np.minimum, bars.low, first),
        close=bars.close[last],
        volume=_reduced(np.add, bars.volume, first),
        session=bars.session[first],
        price_factor=bars.price_factor[first],
        tradable=_reduced(np.add, bars.tradable.astype(np.float64), first) > 0,
    )
    return joined, np.cumsum(opens_group) - 1


def _reduced(combine: np.ufunc, values: NDArray[np.float64], first: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(combine.reduceat(values, first) if len(first) else values[:0])
