"""Batch, stream and slow twin are equal on every file of recorded bars.

The whole file goes through batch and stream, a window of it at a seeded place through the slow twin. The files are read
as the house reads them, with rolls adjusted; but for the daily ones, which no team trades: they are taken as they lie.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from grandmodel.core.bars import NS_PER_MINUTE, Bars
from grandmodel.core.config import FeatureParams
from grandmodel.core.random import random_stream
from grandmodel.data.cleaning.adjust import to_bars
from grandmodel.data.dataset import Dataset
from grandmodel.data.reading.readers import read_raw
from grandmodel.features.mmd import MmdReference, fit_mmd_reference
from grandmodel.features.reference import strategic_reference, tactical_reference
from grandmodel.features.reference_synergy import synergy_reference
from grandmodel.features.strategic import strategic_features
from grandmodel.features.streaming import StrategicStream, TacticalStream
from grandmodel.features.synergy import SynergyStream, find_synergy, gap_signals
from grandmodel.features.tactical import tactical_features
from tests.grandmodel.features.feature_samples import PRICES, pushed_unadjusted

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
FUTURES = sorted(path.name for path in (SHARED / "cn_futures_5m").glob("*.parquet"))
DAILY = sorted(path.name for path in (SHARED / "stress" / "us_equity_1d").glob("*.parquet"))
OTHERS = [
    "crypto_1m/BTC-PERP_2022-01_UTC.parquet",
    "futures_30m/NQ_30min_2020_2025.csv",
    "fx_1m/6EH4_2024-01_UTC.parquet",
    "fx_1m/EURUSD_2017H1_bid_EST.parquet",
    "fx_1m/GBPUSD_2012-02_bidask_UTC.parquet",
    "fx_1m/USDJPY_2013-02_bidask_UTC.parquet",
    "ticks/cffex_IF_2021-01-04_06_vendor_5m_bars.parquet",
]
STRATEGIC_ROWS, TACTICAL_ROWS = 150, 250
WINDOWS = FeatureParams(mlmi_neighbours=20)
# For a file too short to fit one on.
PLAIN_REFERENCE = MmdReference(
    points=random_stream(3, "points").normal(size=(30, 3)),
    center=np.array([0.0, 0.002, 0.002]),
    scale=np.array([0.002, 0.001, 0.001]),
    bandwidth=1.5,
    fit_start_ns=0,
    fit_stop_ns=1,
)

pytestmark = pytest.mark.shared


def recorded(path: Path) -> Dataset:
    """Read a file as the house does; a row with an impossible price, which validation would list, is left out."""
    raw = read_raw(path)
    possible = (raw.frame[list(PRICES)] > 0).all(axis=1)
    return to_bars(replace(raw, frame=raw.frame[possible]))


def daily_bars(path: Path) -> Bars:
    """Return the rows of a daily file as they lie; no team trades them, the columns do not mind."""
    frame = pd.read_parquet(path)
    start_ns = pd.DatetimeIndex(frame["ts"]).as_unit("ns").asi8
    values = {name: frame[name].to_numpy(np.float64) for name in (*PRICES, "volume")}
    return Bars(
        path.stem,
        1440,
        start_ns=start_ns,
        close_ns=start_ns + 1440 * NS_PER_MINUTE,
        **values,
        session=(start_ns // (1440 * NS_PER_MINUTE)).astype(np.int32),
        price_factor=np.ones(len(frame)),
        tradable=values["volume"] > 0,
    )


def window(bars: Bars, rows: int) -> Bars:
    """Return ``rows`` bars at a seeded place."""
    begin = int(random_stream(3, "window", bars.symbol).integers(0, max(len(bars) - rows, 1)))
    return bars.rows(begin, min(begin + rows, len(bars)))


def assert_strategic_agree(bars: Bars, tick_size: float) -> np.ndarray:
    """Compare all three ways; return the columns of the whole file."""
    fitted = fit_mmd_reference(bars, 1000, WINDOWS, seed=1) if len(bars) > 1000 else PLAIN_REFERENCE
    batch = strategic_features(bars, WINDOWS, fitted, tick_size)
    streamed = StrategicStream(bars.symbol, WINDOWS, fitted, tick_size).extend(bars)
    assert np.array_equal(streamed, batch, equal_nan=True)
    part = window(bars, STRATEGIC_ROWS)
    fast = strategic_features(part, WINDOWS, fitted, tick_size)
    assert np.isfinite(fast[-1]).all() or len(part) < STRATEGIC_ROWS
    assert_allclose(fast, strategic_reference(part, WINDOWS, fitted, tick_size), rtol=1e-9, atol=1e-9)
    return batch


def assert_tactical_agree(bars: Bars) -> None:
    batch = tactical_features(bars, WINDOWS)
    assert np.array_equal(TacticalStream(bars.symbol, WINDOWS).extend(bars), batch, equal_nan=True)
    part = window(bars, TACTICAL_ROWS)
    fast = tactical_features(part, WINDOWS)
    assert np.isfinite(fast[-1]).all()
    assert_allclose(fast, tactical_reference(part, WINDOWS), rtol=1e-9, atol=1e-9)


def assert_synergy_agrees(tactical: Bars, strategic: Bars, columns: np.ndarray) -> int:
    """Compare batch and stream on the whole file, the slow twin around the first pattern; return the patterns."""
    found = find_synergy(tactical, strategic.close_ns, columns, WINDOWS)
    gap = gap_signals(tactical, WINDOWS)
    stream, rows, s = SynergyStream(tactical.symbol), [], 0
    for t, now_ns in enumerate(tactical.close_ns.tolist()):
        while s < len(strategic) and strategic.close_ns[s] <= now_ns:
            stream.push_strategic(int(strategic.close_ns[s]), columns[s])
            s += 1
        rows.append(stream.push_tactical(now_ns, int(gap[t])))
    assert np.array_equal(rows, np.column_stack([found.kind, found.direction]))
    fired = np.flatnonzero(found.kind)
    middle = int(fired[len(fired) // 2])
    part = tactical.rows(max(middle - 400, 0), middle + 200)
    seen = (strategic.close_ns > part.start_ns[0]) & (strategic.close_ns <= part.close_ns[-1])
    some = find_synergy(part, strategic.close_ns[seen], columns[seen], WINDOWS)
    assert some.kind.any()
    slow = synergy_reference(part, strategic.close_ns[seen], columns[seen], WINDOWS)
    assert slow == (some.kind.tolist(), some.direction.tolist())
    return len(fired)


def test_every_file_of_bars_is_named() -> None:
    folders = ("fx_1m", "crypto_1m", "futures_30m", "stress/us_equity_1d", "cn_futures_5m")
    files = {path.relative_to(SHARED).as_posix() for folder in folders for path in (SHARED / folder).iterdir()}
    files -= {"cn_futures_5m/rolls.csv", "cn_futures_5m/instruments.csv"}
    files |= {path.relative_to(SHARED).as_posix() for path in (SHARED / "ticks").glob("*_bars.parquet")}
    named = {*OTHERS, *(f"cn_futures_5m/{name}" for name in FUTURES)}
    named |= {f"stress/us_equity_1d/{name}" for name in DAILY}
    assert len(FUTURES) == 24
    assert named == files


@pytest.mark.parametrize("name", FUTURES)
def test_all_three_ways_agree_on_futures(name: str) -> None:
    dataset = recorded(SHARED / "cn_futures_5m" / name)
    (symbol,) = dataset.tactical
    tactical, strategic = dataset.tactical[symbol], dataset.strategic[symbol]
    assert len(tactical) > 50_000
    assert_tactical_agree(tactical)
    columns = assert_strategic_agree(strategic, dataset.instruments[symbol].tick_size)
    assert assert_synergy_agrees(tactical, strategic, columns) > 20


@pytest.mark.parametrize("name", OTHERS)
def test_all_three_ways_agree_on_other_bars(name: str) -> None:
    dataset = recorded(SHARED / name)
    (symbol,) = dataset.strategic
    strategic = dataset.strategic[symbol]
    assert_tactical_agree(dataset.tactical.get(symbol, strategic))
    columns = assert_strategic_agree(strategic, dataset.instruments[symbol].tick_size)
    assert len(columns) >= 24


@pytest.mark.parametrize("name", DAILY)
def test_all_three_ways_agree_on_daily_bars(name: str) -> None:
    bars = daily_bars(SHARED / "stress" / "us_equity_1d" / name)
    assert len(bars) > 1000
    assert_tactical_agree(bars)
    assert_strategic_agree(bars, 0.01)


@pytest.mark.parametrize("symbol", ["CFFEX.IF", "SHFE.rb"])
def test_a_stream_that_meets_real_rolls_equals_the_adjusted_file(symbol: str) -> None:
    dataset = recorded(SHARED / "cn_futures_5m" / f"{symbol}.parquet")
    tick_size = dataset.instruments[symbol].tick_size
    bars, fast = dataset.strategic[symbol], dataset.tactical[symbol]
    fitted = fit_mmd_reference(bars, 1000, WINDOWS, seed=1)
    live = pushed_unadjusted(StrategicStream(symbol, WINDOWS, fitted, tick_size), bars.rows(0, 4000), rolls_min=3)
    whole = strategic_features(bars.rows(0, 4000), WINDOWS, fitted, tick_size)
    assert_allclose(live, whole, rtol=1e-9, atol=1e-9)
    live = pushed_unadjusted(TacticalStream(symbol, WINDOWS), fast.rows(0, 20_000), rolls_min=3)
    assert_allclose(live, tactical_features(fast.rows(0, 20_000), WINDOWS), rtol=1e-9, atol=1e-9)
