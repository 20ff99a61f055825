"""Six 5-minute bars make a 30-minute bar, counted within the session."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.bars import Bars

BARS_PER_GROUP = 6


def resample_to_30(bars: Bars) -> tuple[Bars, NDArray[np.int64]]:
    """Return the 30-minute bars and, for each 5-minute bar, the index int64[n] of the 30-minute bar it belongs to.

    Groups are six consecutive bars by count within one session; the last of a session may be shorter. A group is
    tradable when any of its bars is. The slow twin is ``reference.resample_to_30``.
    """
    count = len(bars)
    position = np.arange(count)
    opens_session = np.r_[True, np.diff(bars.session) != 0][:count]
    session_start = np.maximum.accumulate(np.where(opens_session, position, 0))
    opens_group = (position - session_start) % BARS_PER_GROUP == 0
    first = np.flatnonzero(opens_group)
    last = np.r_[first[1:], count][: len(first)] - 1
    joined = Bars(
        bars.symbol,
        30,
        start_ns=bars.start_ns[first],
        close_ns=bars.close_ns[last],
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
