"""Slow, obvious twins of this room's fast paths, for tests."""

from __future__ import annotations

import numpy as np

from grandmodel.core.bars import Bars
from grandmodel.data.resample import BARS_PER_GROUP


def resample_to_30(bars: Bars) -> tuple[Bars, list[int]]:
    """Return what ``resample.resample_to_30`` returns, bar by bar."""
    groups: list[list[int]] = []
    for row in range(len(bars)):
        same_session = row > 0 and bars.session[row] == bars.session[row - 1]
        if not same_session or len(groups[-1]) == BARS_PER_GROUP:
            groups.append([])
        groups[-1].append(row)
    joined = Bars(
        bars.symbol,
        30,
        start_ns=np.array([bars.start_ns[g[0]] for g in groups], np.int64),
        close_ns=np.array([bars.close_ns[g[-1]] for g in groups], np.int64),
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
