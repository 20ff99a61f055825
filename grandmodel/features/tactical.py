"""The 7 columns of the 5-minute clock."""

from __future__ import annotations

import numpy as np

from grandmodel.core.bars import Bars
from grandmodel.core.config import FeatureParams
from grandmodel.features import columns as c
from grandmodel.features import kernels
from grandmodel.features.kernels import Floats
from grandmodel.features.kernels_gaps import gap_columns, relative_volume


def tactical_features(bars: Bars, params: FeatureParams) -> Floats:
    """Compute the tactical columns of one instrument, in the order of ``TACTICAL_COLUMNS``.

    Row t depends on bars 0..t alone, bit for bit. A bullish gap spans high[t-2]..low[t], a bearish one
    high[t]..low[t-2]; it lives from bar t to at most bar t + ``gap_age_bars_max`` and is filled on the first later bar
    that trades through all of it (low <= bottom, or high >= top), which is the bar of the mitigation signal.

    Args:
        bars: 5-minute bars.
        params: windows, in bars.

    Returns:
        float64[T, 7]; NaN where a column's window is not yet full.

    Raises:
        DataError: the bars break a rule of ``columns.check_bars``.
    """
    c.check_bars(bars)
    true_range = kernels.average_true_range(bars.high, bars.low, bars.close, c.TRUE_RANGE_BARS)
    gaps = gap_columns(
        bars.open,
        bars.high,
        bars.low,
        bars.close,
        true_range,
        params.gap_lookback_bars,
        params.gap_body_multiple,
        params.gap_age_bars_max,
        c.TIE_FRAC,
    )
    momentum = kernels.log_change(bars.close, c.TACTICAL_MOMENTUM_BARS)
    volume = relative_volume(bars.volume, c.VOLUME_AVERAGE_BARS)
    return np.column_stack([gaps, momentum, volume])
