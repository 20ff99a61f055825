"""The 13 columns of the 30-minute clock."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from grandmodel.core.bars import Bars
from grandmodel.core.config import FeatureParams
from grandmodel.core.errors import ConfigError
from grandmodel.features import columns as c
from grandmodel.features import kernels
from grandmodel.features.kernels import Floats
from grandmodel.features.kernels_profile import volume_profile
from grandmodel.features.mmd import MmdReference, mmd_column

TICKS_MAX: Final = 1e12


def strategic_features(bars: Bars, params: FeatureParams, reference: MmdReference, tick_size: float) -> Floats:
    """Compute the strategic columns of one instrument, in the order of ``STRATEGIC_COLUMNS``.

    Row t depends on bars 0..t alone, bit for bit. Definitions: ``grandmodel.features.columns``.

    Args:
        bars: 30-minute bars.
        params: windows, in bars.
        reference: what ``mmd_score`` compares with; fitted on training bars only.
        tick_size: smallest price step of the instrument, in points of the unadjusted price.

    Returns:
        float64[T, 13]; NaN where a column's window is not yet full.

    Raises:
        DataError: the bars break a rule of ``columns.check_bars``.
        ConfigError: ``tick_size`` is not finite, not positive or out of proportion to the price; or the kernel lag is
            not below its bandwidth.
    """
    c.check_bars(bars)
    check_tick(bars.symbol, tick_size, bars)
    true_range = kernels.average_true_range(bars.high, bars.low, bars.close, c.TRUE_RANGE_BARS)
    profile = _profile(bars, true_range, params, tick_size)
    momentum = [kernels.log_change(bars.close, lag) for lag in c.MOMENTUM_BARS]
    returns = kernels.log_change(bars.close, 1)
    volatility = kernels.root_mean_square(returns, 1, params.volatility_window_bars)
    return np.column_stack(
        [
            _mlmi(bars, params.mlmi_neighbours),
            *_nwrqk(bars.close, true_range, params),
            profile[:, :2],
            kernels.day_cycle(bars.close_ns),
            *momentum,
            mmd_column(bars, params, reference),
            volatility,
            profile[:, 2],
        ]
    )


def kernel_weights(window_bars: int, bandwidth: float, relative_weight: float) -> Floats:
    """Return float64[window]: rational quadratic weights (1 + i^2 / (2 r h^2))^-r, newest close first."""
    ages = range(window_bars)
    return np.array([(1 + i * i / (2 * relative_weight * bandwidth**2)) ** -relative_weight for i in ages])


def line_weights(params: FeatureParams) -> tuple[Floats, Floats]:
    """Return the weights of the smooth line and of the quicker second line.

    Raises:
        ConfigError: the kernel lag is not below the bandwidth.
    """
    second_bandwidth = params.kernel_bandwidth - params.kernel_lag_bars
    if second_bandwidth <= 0:
        raise ConfigError("features.kernel_lag_bars", "must be below kernel_bandwidth", params.kernel_lag_bars)
    window_bars, relative_weight = params.kernel_window_bars, params.kernel_relative_weight
    smooth, quick = (
        kernel_weights(window_bars, bandwidth, relative_weight)
        for bandwidth in (params.kernel_bandwidth, second_bandwidth)
    )
    return smooth, quick


def check_tick(symbol: str, tick_size: float, bars: Bars | None = None) -> None:
    """Refuse a tick that is no tick, or one so fine that whole ticks of a price would not fit integers.

    Raises:
        ConfigError: ``tick_size`` is not finite and positive, or a price of ``bars`` is more than 1e12 ticks.
    """
    if not (math.isfinite(tick_size) and tick_size > 0):
        raise ConfigError(f"{symbol} tick_size", "must be finite and positive", tick_size)
    ticks = 0.0 if bars is None else float((bars.high / bars.price_factor).max(initial=0.0)) / tick_size
    if ticks > TICKS_MAX:
        raise ConfigError(f"{symbol} tick_size", f"a price must be at most {TICKS_MAX:.0e} ticks", tick_size)


def _mlmi(bars: Bars, neighbours: int) -> Floats:
    heikin_ashi = (bars.open + bars.high + bars.low + bars.close) / 4
    slow, fast = (
        kernels.weighted_average(kernels.relative_strength(heikin_ashi, window), window, c.RSI_AVERAGE_BARS)
        for window in (c.RSI_SLOW_BARS, c.RSI_FAST_BARS)
    )
    side = kernels.average_side(heikin_ashi, c.CROSS_FAST_BARS, c.CROSS_SLOW_BARS, c.TIE_FRAC)
    return kernels.cross_votes(slow, fast, side, bars.close, neighbours)


def _nwrqk(close: Floats, true_range: Floats, params: FeatureParams) -> tuple[Floats, Floats]:
    """Return deviation (from the smooth line, in ATR; 0 where ATR is 0) and slope (of the quicker second line)."""
    smooth, quick = (kernels.kernel_offset(close, weights) for weights in line_weights(params))
    warm = np.where(np.isnan(smooth + true_range), np.nan, 0.0)
    deviation = np.divide(-smooth, true_range, out=warm, where=true_range > 0)
    line = close + quick
    slope = np.full(len(close), np.nan)
    slope[1:] = line[1:] / line[:-1] - 1
    return deviation, slope


def _profile(bars: Bars, true_range: Floats, params: FeatureParams, tick_size: float) -> Floats:
    # Seen from bar t, the tick of its own contract is tick x factor[t] in adjusted prices; so a roll that comes
    # later, and rescales all prices before it, leaves the bins where they were.
    return volume_profile(
        bars.high,
        bars.low,
        bars.close,
        bars.volume,
        tick_size * bars.price_factor,
        true_range,
        params.profile_window_bars,
        params.profile_low_node_frac,
        c.PROFILE_BINS_MAX,
    )
