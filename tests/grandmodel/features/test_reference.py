"""The compiled columns equal their slow twins, on random bars and on recorded ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose

from grandmodel.core.bars import NS_PER_MINUTE, Bars
from grandmodel.core.config import FeatureParams
from grandmodel.features.mmd import MmdReference, fit_mmd_reference
from grandmodel.features.reference import strategic_reference, tactical_reference
from grandmodel.features.strategic import strategic_features
from grandmodel.features.tactical import tactical_features
from tests.grandmodel.features.feature_samples import OTHER_WINDOWS

TICKS = {"CFFEX.IF": 0.2, "SHFE.cu": 10.0, "INE.sc": 0.1}


@pytest.mark.parametrize("windows", [FeatureParams(), FeatureParams(mlmi_neighbours=5), OTHER_WINDOWS])
@pytest.mark.parametrize("seed", [11, 12])
def test_strategic_columns_equal_their_twins(
    seed: int, windows: FeatureParams, make_random_bars: Callable[..., Bars], tick: float
) -> None:
    bars = make_random_bars(seed, 360)
    fitted = fit_mmd_reference(bars, 200, windows, seed)
    fast, slow = strategic_features(bars, windows, fitted, tick), strategic_reference(bars, windows, fitted, tick)
    assert (bars.volume == 0).sum() > 15
    assert (np.nanstd(slow, axis=0) > 0).all()
    assert_allclose(fast, slow, rtol=1e-9, atol=1e-9)


def test_strategic_columns_equal_their_twins_on_a_fine_tick(
    bars30: Bars, params: FeatureParams, reference: MmdReference
) -> None:
    fast = strategic_features(bars30, params, reference, 0.01)
    assert_allclose(fast, strategic_reference(bars30, params, reference, 0.01), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("windows", [FeatureParams(), OTHER_WINDOWS])
@pytest.mark.parametrize("seed", [21, 22, 23])
def test_tactical_columns_equal_their_twins(
    seed: int, windows: FeatureParams, make_random_bars: Callable[..., Bars]
) -> None:
    bars = make_random_bars(seed, 900, bar_minutes=5)
    fast, slow = tactical_features(bars, windows), tactical_reference(bars, windows)
    assert (np.nanstd(slow, axis=0) > 0).all()
    assert {-1.0, 0.0, 1.0} <= set(slow[30:, 4])
    assert_allclose(fast, slow, rtol=1e-9, atol=1e-9)


def test_both_clocks_agree_on_no_bars(bars30: Bars, params: FeatureParams, reference: MmdReference) -> None:
    none = bars30.rows(0, 0)
    assert strategic_reference(none, params, reference, 0.2).shape == (0, 13)
    assert tactical_reference(none, params).shape == (0, 7)


@pytest.mark.shared
@pytest.mark.parametrize("symbol", sorted(TICKS))
def test_columns_equal_their_twins_on_recorded_bars(symbol: str, params: FeatureParams, shared_data: Path) -> None:
    path = shared_data / "cn_futures_5m" / f"{symbol}.parquet"
    tactical, strategic = _recorded(path, 5), _recorded(path, 30)
    assert len(tactical) == 2400
    assert len(strategic) >= 400
    fast, slow = tactical_features(tactical, params), tactical_reference(tactical, params)
    assert (np.nanstd(slow, axis=0) > 0).all()
    assert_allclose(fast, slow, rtol=1e-9, atol=1e-9)

    fitted = fit_mmd_reference(strategic, 250, params, seed=1)
    fast = strategic_features(strategic, params, fitted, TICKS[symbol])
    slow = strategic_reference(strategic, params, fitted, TICKS[symbol])
    assert (np.nanstd(slow, axis=0) > 0).all()
    assert_allclose(fast, slow, rtol=1e-9, atol=1e-9)


def _recorded(path: Path, bar_minutes: int) -> Bars:
    """Return 2400 recorded five-minute bars, or the half-hour bars made of them, without rolls."""
    frame = pd.read_parquet(path).iloc[30_000:32_400]
    session = (pd.to_datetime(frame["trading_day"].astype(str)) - pd.Timestamp(0)).dt.days
    close_ns = (frame["ts"] - pd.Timedelta(hours=8)).astype("datetime64[ns]").astype("int64")
    frame = frame.assign(session=session, close_ns=close_ns, start_ns=close_ns - 5 * NS_PER_MINUTE)
    if bar_minutes == 30:
        sixth = frame.groupby("session").cumcount() // 6
        frame = frame.groupby([frame["session"], sixth]).agg(
            {
                "open": "first",
                "high": "max",
                "low": "min",
                "close": "last",
                "volume": "sum",
                "start_ns": "first",
                "close_ns": "last",
                "session": "first",
            }
        )
    prices = {name: frame[name].to_numpy(np.float64) for name in ("open", "high", "low", "close", "volume")}
    return Bars(
        symbol=path.stem,
        bar_minutes=bar_minutes,
        start_ns=frame["start_ns"].to_numpy(np.int64),
        close_ns=frame["close_ns"].to_numpy(np.int64),
        session=frame["session"].to_numpy(np.int32),
        price_factor=np.ones(len(frame)),
        tradable=prices["volume"] > 0,
        **prices,
    )
