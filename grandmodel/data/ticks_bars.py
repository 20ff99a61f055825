"""Bars made of ticks with the features of their ticks, and the way to the bars of the house."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.bars import Bars
from grandmodel.data import kernels_ticks as k
from grandmodel.data.sessions import session_days
from grandmodel.data.ticks_spans import NO_DAY

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TickBars:
    """Bars of one instrument with what only ticks can tell; columns of one length, in time order.

    Returns of ticks are taken inside a bar: its first tick has none. Averages run over bars, as in the strategic and
    tactical columns: RSI and ATR are Wilder's, seeded with a plain mean; the EMA (weight 2 / (n + 1)) is seeded with
    the first close. Rows that are not warm are NaN.
    """

    symbol: str
    bar_minutes: int
    start_ns: Integers  # UTC
    end_ns: Integers  # UTC; ticks of the session's end are stamped a moment later
    day: Integers  # trading day as days since 1970-01-01; NO_DAY where the market never closes
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    ticks: Integers  # accepted ticks
    complete: NDArray[np.bool_]  # False where the ticks ended before the bar did
    vwap: Floats  # NaN without volume
    realised_variance: Floats  # sum of squared log returns of ticks; NaN where one begins or ends at or below 0
    squared_moves: Floats  # sum of squared absolute moves of ticks, in squared price units
    ema: Floats
    rsi: Floats  # 0..100
    atr: Floats

    def __len__(self) -> int:
        return len(self.start_ns)

    def to_bars(self, zone: str = "UTC") -> Bars:
        """Return the bars alone; one without volume or cut off by the end of the ticks is not tradable.

        ``zone`` gives the trading day where the market never closes: see ``sessions.session_days``.
        """
        days = self.day.astype(np.int32)
        if (self.day == NO_DAY).any():
            days = session_days(self.start_ns, zone, join_weekend=zone != "UTC")
        return Bars(
            symbol=self.symbol,
            bar_minutes=self.bar_minutes,
            start_ns=self.start_ns,
            close_ns=self.end_ns,
            open=self.open,
            high=self.high,
            low=self.low,
            close=self.close,
            volume=self.volume,
            session=days,
            price_factor=np.ones(len(self)),
            tradable=self.complete & (self.volume > 0),
        )


def bars_of_rows(rows: Integers, symbol: str, bar_minutes: int, lot_size: float) -> TickBars:
    """Return finished rows of the loop as named columns."""
    floats = rows.view(np.float64)

    def whole(place: int) -> Integers:
        return np.ascontiguousarray(rows[:, place])

    def number(place: int) -> Floats:
        return np.ascontiguousarray(floats[:, place])

    return TickBars(
        symbol=symbol,
        bar_minutes=bar_minutes,
        start_ns=whole(k.R_START_NS),
        end_ns=whole(k.R_END_NS),
        day=whole(k.R_DAY),
        open=number(k.F_R_OPEN),
        high=number(k.F_R_HIGH),
        low=number(k.F_R_LOW),
        close=number(k.F_R_CLOSE),
        volume=whole(k.R_LOTS).astype(np.float64) * lot_size,
        ticks=whole(k.R_TICKS),
        complete=whole(k.R_COMPLETE) == 1,
        vwap=number(k.F_R_VWAP),
        realised_variance=number(k.F_R_VARIANCE),
        squared_moves=number(k.F_R_SQUARED_MOVES),
        ema=number(k.F_R_EMA),
        rsi=number(k.F_R_RSI),
        atr=number(k.F_R_ATR),
    )
