"""What several feature tests lean on: windows unlike the defaults, and bars pushed as an engine meets them."""

from __future__ import annotations

import numpy as np

from grandmodel.core.bars import Bars
from grandmodel.core.config import FeatureParams
from grandmodel.features.streaming import StrategicStream, TacticalStream, bar_at

PRICES = ("open", "high", "low", "close")
OTHER_WINDOWS = FeatureParams(
    mlmi_neighbours=3,
    kernel_window_bars=9,
    kernel_bandwidth=5.0,
    kernel_relative_weight=1.5,
    profile_window_bars=11,
    profile_low_node_frac=0.5,
    mmd_window_bars=25,
    mmd_reference_points=40,
    volatility_window_bars=12,
    gap_lookback_bars=6,
    gap_body_multiple=1.1,
    gap_age_bars_max=9,
)


def pushed_unadjusted(stream: StrategicStream | TacticalStream, bars: Bars, rolls_min: int) -> np.ndarray:
    """Push unadjusted prices, with a rescaling at each roll; there must be at least ``rolls_min`` of them."""
    rows, rolls = [], 0
    for t in range(len(bars)):
        factor = float(bars.price_factor[t])
        if t and factor != bars.price_factor[t - 1]:
            stream.rescale(float(bars.price_factor[t - 1]) / factor)
            rolls += 1
        bar = bar_at(bars, t)
        raw = {name: getattr(bar, name) / factor for name in PRICES}
        rows.append(stream.push(bar._replace(**raw, price_factor=1.0)))
    assert rolls >= rolls_min
    return np.array(rows)
