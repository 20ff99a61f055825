"""Series for the statistics of the simulator: from simulated bars, and from real files where they are at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from grandmodel.core.bars import Bars
from grandmodel.data import simulator_model as model
from grandmodel.data.dataset import Dataset
from grandmodel.data.layouts import CHINESE_CORE
from grandmodel.data.readers import read_dataset
from grandmodel.data.return_facts import Series
from grandmodel.data.simulator_model import FloatArray, MarketModel

FERROUS = ("SHFE.rb", "SHFE.hc", "DCE.i", "SHFE.bu")  # the preset "cn": one clock, one common factor
SHOWN = tuple(dict.fromkeys((*CHINESE_CORE, *FERROUS)))
ES_TICKS = "ticks/es_2013-09-01_03_ticks.parquet"


def read_real(real: Path, like: str) -> tuple[dict[str, Bars], str]:
    """Return the real bars by symbol that a preset is fitted to, and in words what they are."""
    if like == "nq":
        path = real / "futures_30m" / "NQ_30min_2020_2025.csv"
        return read_dataset(path, instruments_max=1).strategic, "NQ 30-min bars, wrong contract cut out"
    return read_chinese(real, FERROUS).tactical, "Chinese futures, 5-min bars of the dominant contract"


def read_chinese(real: Path, symbols: tuple[str, ...]) -> Dataset:
    """Return the data set of some Chinese futures."""
    return read_dataset(real / "cn_futures_5m", symbols=symbols, instruments_max=len(symbols))


def local_minutes(start_ns: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    """Return the local minute of the day of each moment, int64[T]."""
    local = pd.DatetimeIndex(start_ns.astype("datetime64[ns]")).tz_localize("UTC").tz_convert(zone)
    return np.asarray(local.hour * 60 + local.minute, np.int64)


def series_of(bars: Bars, zone: str, session_bars: int | None) -> Series:
    """Return the series of those real bars that traded; a bar without trades repeats an old price."""
    traded = bars.volume > 0
    return Series(
        bar_minutes=bars.bar_minutes,
        session_bars=session_bars,
        start_ns=bars.start_ns[traded],
        close=bars.close[traded],
        volume=bars.volume[traded],
        minute_of_day=local_minutes(bars.start_ns[traded], zone),
    )


def simulated_series(
    start_ns: NDArray[np.int64],
    close: FloatArray,
    volume: NDArray[np.int64],
    market: MarketModel,
    bar_minutes: int,
    limit: int | None = None,
) -> dict[str, Series]:
    """Return the series of the first ``limit`` simulated instruments on 5- or 30-min bars, by count in the session.

    Takes 5-min bars: starts int64[N], closes and volumes [I, N].
    """
    sessions = len(start_ns) // market.bars_5m
    step = model.BARS_5M_PER_30M if bar_minutes == 30 else 1
    opens = np.arange(0, market.bars_5m, step)
    last = np.minimum(opens + step, market.bars_5m) - 1
    day = np.arange(sessions)[:, None] * market.bars_5m
    at_open, at_close = (day + opens).ravel(), (day + last).ravel()
    minutes = local_minutes(start_ns[at_open], market.timezone)
    return {
        instrument.symbol: Series(
            bar_minutes=bar_minutes,
            session_bars=len(opens),
            start_ns=start_ns[at_open],
            close=close[row, at_close],
            volume=np.add.reduceat(volume[row], at_open).astype(np.float64),
            minute_of_day=minutes,
        )
        for row, instrument in enumerate(market.instruments[:limit])
    }


def es_ticks_series(real: Path) -> Series:
    """Return 5-min bars of two days of E-mini S&P 500 trades of 2013."""
    ticks = pd.read_parquet(real / ES_TICKS).set_index("ts")
    close = ticks["price"].resample("5min").last().dropna()
    start_ns = pd.DatetimeIndex(close.index).tz_localize("America/Chicago").tz_convert("UTC").as_unit("ns").asi8
    volume = ticks["volume"].resample("5min").sum().reindex(close.index)
    return Series(
        bar_minutes=5,
        session_bars=None,
        start_ns=start_ns,
        close=close.to_numpy(np.float64),
        volume=volume.to_numpy(np.float64),
        minute_of_day=local_minutes(start_ns, "America/Chicago"),
    )
