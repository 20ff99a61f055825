"""Made-up rows of a market, to be spoilt."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from grandmodel.core.instrument import Instrument
from grandmodel.data.cleaning.report import Rows

SESSION_BARS = 48
MINUTE_NS = 60_000_000_000
DAY_NS = 1440 * MINUTE_NS


def market_rows(
    sessions: int = 80,
    *,
    bars: int = SESSION_BARS,
    minutes: int = 5,
    symbol: str = "MADE.up",
    seed: int = 1,
    price: float = 4000.0,
) -> Rows:
    """Return quiet rows on a grid of 0.2: a range of about 0.05 % a bar, volume around 1000, weekdays only."""
    generator = np.random.default_rng(seed)
    count = sessions * bars
    day = np.busday_offset("2019-01-07", np.arange(sessions)).astype("datetime64[D]").astype(np.int64)
    session = np.repeat(day, bars).astype(np.int32)
    start_ns = session * np.int64(DAY_NS) + np.tile(np.arange(bars) * minutes, sessions) * MINUTE_NS
    ticks = price / 0.2 + np.cumsum(generator.integers(-5, 6, count))
    close = np.round(ticks * 0.2, 1)
    open_ = np.r_[close[0], close[:-1]]
    high = np.round(np.maximum(open_, close) + 0.2 * generator.integers(1, 6, count), 1)
    low = np.round(np.minimum(open_, close) - 0.2 * generator.integers(1, 6, count), 1)
    values = {"open": open_, "high": high, "low": low, "close": close}
    values["volume"] = generator.integers(800, 1200, count).astype(np.float64)
    instrument = Instrument(symbol=symbol, multiplier=1, tick_size=0.2, session_bars_5m=max(1, bars * minutes // 5))
    number = np.arange(count, dtype=np.int64) + 2
    return Rows(instrument, minutes, "made.csv", number, start_ns, session, values, (), simulated=True)


def spoilt(rows: Rows, start: int, stop: int, *, times: float = 1.0, volume: float | None = None) -> Rows:
    """Return ``rows`` with the prices of rows start to stop multiplied, and their volume set."""
    values = {name: column.copy() for name, column in rows.values.items()}
    for name in ("open", "high", "low", "close"):
        values[name][start:stop] *= times
    if volume is not None:
        values["volume"][start:stop] = volume
    return replace(rows, values=values)
