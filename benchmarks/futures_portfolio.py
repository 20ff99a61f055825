"""Returns of a fixed portfolio of recorded futures, on any clock.

All instruments stand on the union of their 5-minute closes, each held at its last close while it rests, so the gap over
a night, a weekend or a halt belongs to its first bar after it. A portfolio return is the weighted sum of simple
returns. Prices are read as the project reads all data: rolls adjusted by ratio, what is evidently wrong cut.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from grandmodel.core.bars import NS_PER_MINUTE, Bars
from grandmodel.data.reading.readers import read_dataset

Floats = NDArray[np.float64]


class Series(NamedTuple):
    """Returns of a portfolio on one clock."""

    horizon: str
    returns: Floats  # [n]
    close_ns: NDArray[np.int64]  # [n]
    slot: NDArray[np.int64]  # [n] minute of the day at which the bar closes, on the exchange's clock

    def only(self, rows: slice | NDArray[np.bool_]) -> Series:
        """Return some of the bars."""
        return Series(self.horizon, self.returns[rows], self.close_ns[rows], self.slot[rows])


def read_bars(folder: Path, symbols: Iterable[str]) -> dict[str, Bars]:
    """Read the 5-minute bars of some instruments of a folder of Chinese futures."""
    with tempfile.TemporaryDirectory() as place:
        for name in [*(f"{symbol}.parquet" for symbol in symbols), "rolls.csv", "instruments.csv"]:
            (Path(place) / name).symlink_to(folder.resolve() / name)
        return dict(read_dataset(Path(place)).tactical)


def read_half_hours(folder: Path) -> dict[str, Bars]:
    """Read the 30-minute bars of all instruments of a folder."""
    return dict(read_dataset(folder).strategic)


def series_of(bars: Mapping[str, Bars], horizons: Iterable[str], zone: str, weighted_before_ns: int) -> list[Series]:
    """Return the portfolio's returns on each clock: "5 minutes" (or what the bars are), "30 minutes", "1 day".

    Half hours are those of the wall clock; a day ends with the last bar of its session. Weights are those of
    ``inverse_deviation``.
    """
    columns = {symbol: pd.Series(one.close, index=one.close_ns) for symbol, one in bars.items()}
    closes = pd.DataFrame(columns).sort_index().ffill().dropna()
    days = pd.concat([pd.Series(one.session, index=one.close_ns) for one in bars.values()])
    session = days[~days.index.duplicated()].sort_index().loc[closes.index].to_numpy()
    close_ns = closes.index.to_numpy(np.int64)
    keys = {"5 minutes": close_ns, "30 minutes": (close_ns - 1) // (30 * NS_PER_MINUTE), "1 day": session}
    tables = {horizon: closes[np.append(np.diff(key) != 0, True)] for horizon, key in keys.items()}
    weights = inverse_deviation(tables["1 day"], weighted_before_ns)
    return [_series(horizon, tables[horizon], weights, zone) for horizon in horizons]


def inverse_deviation(closes: pd.DataFrame, before_ns: int) -> Floats:
    """Return weights of gross 1, each inverse to the deviation of returns before ``before_ns``; 1.0 for one alone."""
    if closes.shape[1] == 1:
        return np.ones(1)
    deviation = closes[closes.index < before_ns].pct_change().std().to_numpy(np.float64)
    return np.asarray((1.0 / deviation) / np.sum(1.0 / deviation))


def _series(horizon: str, closes: pd.DataFrame, weights: Floats, zone: str) -> Series:
    close_ns = closes.index.to_numpy(np.int64)[1:]
    local = pd.DatetimeIndex(close_ns, tz="UTC").tz_convert(zone)
    minute = (local.hour * 60 + local.minute).to_numpy(np.int64)
    slot = -(-minute // 30) * 30 if horizon == "30 minutes" else minute
    return Series(horizon, closes.pct_change().to_numpy(np.float64)[1:] @ weights, close_ns, slot)
