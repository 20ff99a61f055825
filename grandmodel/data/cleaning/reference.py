"""Slow, obvious twins of this room's fast paths, for tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from grandmodel.core.bars import NS_PER_MINUTE, Bars
from grandmodel.data.cleaning.resample import Grouping


def session_places(start_ns: Sequence[int], session: Sequence[int], outside: Sequence[bool]) -> list[int]:
    """Return what ``resample.session_places`` returns, row by row."""
    places = []
    for row in range(len(start_ns)):
        before = [other for other in range(row) if session[other] == session[row] and not outside[other]]
        seen = {start_ns[other] // (5 * NS_PER_MINUTE) for other in before}
        goes_on = not outside[row] and start_ns[row] // (5 * NS_PER_MINUTE) in seen
        places.append(len(seen) - goes_on)
    return places


def resample(
    bars: Bars, minutes: int, grouping: Grouping, place: Sequence[int] | None = None
) -> tuple[Bars, list[int]]:
    """Return what ``resample.resample`` returns, bar by bar."""
    length_ns = minutes * NS_PER_MINUTE
    groups: list[list[int]] = []
    for row in range(len(bars)):
        same_session = row > 0 and bars.session[row] == bars.session[row - 1]
        if grouping == "count" and place is not None:
            per_group = minutes // bars.bar_minutes
            is_full = bool(groups) and place[row] // per_group != place[groups[-1][-1]] // per_group
        elif grouping == "count":
            is_full = bool(groups) and len(groups[-1]) == minutes // bars.bar_minutes
        else:
            is_full = bool(groups) and bars.start_ns[row] // length_ns != bars.start_ns[groups[-1][0]] // length_ns
        if not same_session or is_full:
            groups.append([])
        groups[-1].append(row)
    start_ns = [int(bars.start_ns[g[0]]) for g in groups]
    close_ns = [int(bars.close_ns[g[-1]]) for g in groups]
    if grouping == "clock":
        closes = list(close_ns)
        for index, first in enumerate(list(start_ns)):
            interval_ns = first // length_ns * length_ns
            start_ns[index] = max(interval_ns, closes[index - 1]) if index else interval_ns
            close_ns[index] = interval_ns + length_ns
        for index in range(len(groups) - 1):
            close_ns[index] = min(close_ns[index], start_ns[index + 1])
    joined = Bars(
        bars.symbol,
        minutes,
        start_ns=np.array(start_ns, np.int64),
        close_ns=np.array(close_ns, np.int64),
        open=np.array([bars.open[g[0]] for g in groups], np.float64),
        high=np.array([max(bars.high[row] for row in g) for g in groups], np.float64),
        low=np.array([min(bars.low[row] for row in g) for g in groups], np.float64),
        close=np.array([bars.close[g[-1]] for g in groups], np.float64),
        volume=np.array([sum(bars.volume[row] for row in g) for g in groups], np.float64),
        session=np.array([bars.session[g[0]] for g in groups], np.int32),
        price_factor=np.array([bars.price_factor[g[0]] for g in groups], np.float64),
        tradable=np.array([any(bars.tradable[row] for row in g) for g in groups], np.bool_),
    )
    return joined, [index for index, g in enumerate(groups) for _ in g]
