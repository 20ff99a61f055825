"""Random-walk bars for the feature tests: sessions, halts, flat runs, zero volumes, a roll."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from grandmodel.core.bars import NS_PER_MINUTE, Bars
from grandmodel.core.config import FeatureParams
from grandmodel.core.random import random_stream
from grandmodel.features.mmd import MmdReference, fit_mmd_reference

TICK = 0.2
DAY_MINUTES = 24 * 60


def random_bars(seed: int, count: int, bar_minutes: int = 30, roll: bool = True) -> Bars:
    """Return ``count`` seeded bars on the tick grid, twelve a session with a halt in the middle.

    Ten bars in a row are flat at one price without volume, every 37th bar has no volume, every session opens with a
    jump, and with ``roll`` the first 60 % of the bars are ratio-adjusted.
    """
    stream = random_stream(seed, "bars", count, bar_minutes)
    row = np.arange(count)
    in_session = row % 12
    minutes = (row // 12) * DAY_MINUTES + 90 + in_session * bar_minutes + np.where(in_session >= 6, 120, 0)
    start_ns = (18_000 * DAY_MINUTES + minutes) * NS_PER_MINUTE
    step = stream.standard_t(4, count) * 0.002 * np.where(in_session == 0, 4, 1)
    flat = (row >= 150) & (row < 160)
    step[flat] = 0.0
    close = _grid(4000 * np.exp(np.cumsum(step)))
    open_ = np.concatenate([close[:1], close[:-1]])
    jump = np.where(in_session == 0, stream.normal(0, 0.004, count), 0.0)
    open_ = np.where(flat, close, _grid(open_ * np.exp(jump)))
    wick = np.where(flat, 0.0, 1.0)
    high = np.maximum(open_, close) + _grid(stream.exponential(3.0, count)) * wick
    low = np.minimum(open_, close) - _grid(stream.exponential(3.0, count)) * wick
    volume = np.floor(stream.lognormal(6, 1, count))
    volume[flat | (row % 37 == 5)] = 0.0
    factor = np.where(row < int(0.6 * count), 1.0173, 1.0) if roll else np.ones(count)
    return Bars(
        symbol="TEST",
        bar_minutes=bar_minutes,
        start_ns=start_ns.astype(np.int64),
        close_ns=(start_ns + bar_minutes * NS_PER_MINUTE).astype(np.int64),
        open=open_ * factor,
        high=high * factor,
        low=low * factor,
        close=close * factor,
        volume=volume,
        session=(18_000 + row // 12).astype(np.int32),
        price_factor=factor,
        tradable=volume > 0,
    )


def bars_of(close: list[float], **columns: list[float]) -> Bars:
    """Return hand-made bars; open, high and low equal the close and the volume is 1 unless given."""
    count = len(close)
    start_ns = np.arange(count, dtype=np.int64) * 30 * NS_PER_MINUTE
    given = {name: np.array(values, dtype=np.float64) for name, values in columns.items()}
    prices = {name: given.get(name, np.array(close, dtype=np.float64)) for name in ("open", "high", "low")}
    return Bars(
        symbol="HAND",
        bar_minutes=30,
        start_ns=start_ns,
        close_ns=start_ns + 30 * NS_PER_MINUTE,
        close=np.array(close, dtype=np.float64),
        volume=given.get("volume", np.ones(count)),
        session=np.zeros(count, dtype=np.int32),
        price_factor=np.ones(count),
        tradable=np.ones(count, dtype=np.bool_),
        **prices,
    )


def future_shuffled(bars: Bars, t: int, seed: int = 0) -> Bars:
    """Return ``bars`` with all bars after row ``t`` in another order on the same clock; rows up to ``t`` stay."""
    order = np.concatenate([np.arange(t + 1), t + 1 + random_stream(seed, "shuffle", t).permutation(len(bars) - t - 1)])
    names = ("open", "high", "low", "close", "volume", "price_factor", "tradable")
    return replace(bars, **{name: getattr(bars, name)[order] for name in names})


def _grid(price: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.round(price / TICK) * TICK


@pytest.fixture
def make_random_bars() -> Callable[..., Bars]:
    """Return the seeded random walk: (seed, count, bar_minutes=30, roll=True) -> Bars."""
    return random_bars


@pytest.fixture
def make_bars() -> Callable[..., Bars]:
    """Return the maker of bars by hand: (close, open=, high=, low=, volume=) -> Bars."""
    return bars_of


@pytest.fixture
def shuffle_future() -> Callable[..., Bars]:
    """Return the shuffler: (bars, t) -> bars whose rows after t are in another order."""
    return future_shuffled


@pytest.fixture
def tick() -> float:
    """Return the tick size of the random bars."""
    return TICK


@pytest.fixture
def params() -> FeatureParams:
    """Return the default windows, with so few neighbours that the vote has to choose."""
    return FeatureParams(mlmi_neighbours=5)


@pytest.fixture
def bars30() -> Bars:
    """Return 420 half-hour bars."""
    return random_bars(seed=1, count=420)


@pytest.fixture
def bars5() -> Bars:
    """Return 700 five-minute bars."""
    return random_bars(seed=2, count=700, bar_minutes=5)


@pytest.fixture
def reference(bars30: Bars, params: FeatureParams) -> MmdReference:
    """Return the reference fitted on the first 250 half-hour bars."""
    return fit_mmd_reference(bars30, 250, params, seed=7)
