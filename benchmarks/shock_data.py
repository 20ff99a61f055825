"""The bars of the shock study: aligned returns from the data beside the checkout."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from grandmodel.stats.seasonality import time_of_day_scale

Floats = NDArray[np.float64]
LOGARITHMS = ("SPX", "VIX_close", "DTWEXBGS", "DEXJPUS", "DEXUSEU")
DIFFERENCES = ("DGS2", "DGS10", "DGS30", "WTI_spot", "BRENT_spot", "HY_OAS")
FUTURES_HOURS = ((930, 1130), (1330, 1500))  # in which all of them trade


class Bars(NamedTuple):
    """Aligned returns; NaN where an asset did not trade."""

    when: NDArray[np.datetime64]  # [T]
    names: tuple[str, ...]  # [N]
    returns: Floats  # [T, N]

    def years(self, chosen: NDArray[np.bool_] | slice = slice(None)) -> float:
        """Return the span of the chosen bars in years."""
        days = (self.when[chosen][-1] - self.when[chosen][0]) / np.timedelta64(1, "D")
        return float(days) / 365.25


def macro_bars(data: Path) -> Bars:
    """Return the daily cross-asset history."""
    table = pd.read_parquet(data / "stress" / "macro_daily_1986_2026.parquet").set_index("date")
    bars = table.index[table["SPX"].notna()]
    columns = {}
    for name in (*LOGARITHMS, *DIFFERENCES):
        series = table[name].reindex(bars).dropna()
        columns[name] = (np.log(series) if name in LOGARITHMS else series).diff().reindex(bars)
    return Bars(bars.to_numpy("datetime64[ns]"), tuple(columns), pd.DataFrame(columns).to_numpy(np.float64))


def futures_bars(data: Path, minutes: int) -> Bars:
    """Return the Chinese futures at closes that are a multiple of ``minutes`` in the hours that all of them trade."""
    folder = data / "cn_futures_5m"
    rolls = pd.read_csv(folder / "rolls.csv")
    columns = {path.stem: _futures_returns(path, rolls, minutes) for path in sorted(folder.glob("*.parquet"))}
    table = pd.DataFrame(columns)
    table = table[table.notna().sum(axis=1) >= len(columns) / 2]
    return Bars(table.index.to_numpy("datetime64[ns]"), tuple(columns), table.to_numpy(np.float64))


def _futures_returns(path: Path, rolls: pd.DataFrame, minutes: int) -> pd.Series:
    table = pd.read_parquet(path)
    own = rolls[(rolls["symbol"] == path.stem) & (rolls["old_close"] > 0)]  # the first contract follows none
    prices, days = np.log(table["close"].to_numpy(np.float64)), table["trading_day"].to_numpy()
    for day, old, new in zip(own["date"], own["old_close"], own["new_close"], strict=True):
        prices[days < day] += np.log(new / old)
    stamps = pd.DatetimeIndex(table["ts"])
    clock = stamps.hour * 100 + stamps.minute
    inside = np.zeros(len(stamps), bool)
    for start, end in FUTURES_HOURS:
        inside |= (clock > start) & (clock <= end)
    kept = inside & (stamps.minute % minutes == 0)
    return pd.Series(prices[kept], stamps[kept]).diff()


def by_time_of_day(bars: Bars) -> Bars:
    """Return the same bars with each return over what its asset usually moves at that time of day, known before."""
    of_day = bars.when.astype("datetime64[m]").astype(np.int64) % (24 * 60)
    scaled = np.full(bars.returns.shape, np.nan)
    for i in range(len(bars.names)):
        traded = np.isfinite(bars.returns[:, i])
        moved = bars.returns[traded, i]
        scaled[traded, i] = moved / time_of_day_scale(moved, of_day[traded])
    return bars._replace(returns=scaled)
