"""Names, order and definitions of the feature columns; the fingerprint binds a release to them.

A column that is ``bounded`` has a natural range of at most [-1, 1] and is never rescaled. Distances, ages and signs
are written down here because a reader of a trained model needs them, and because changing one must change the
fingerprint.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Final

import numpy as np

from grandmodel.core.bars import Bars
from grandmodel.core.errors import DataError
from grandmodel.core.hashing import hash_json

DEFINITIONS_VERSION: Final = 1

# Windows that belong to a column's name or to the indicator's own definition; all others are in FeatureParams.
CROSS_FAST_BARS: Final = 5
CROSS_SLOW_BARS: Final = 20
RSI_FAST_BARS: Final = 5
RSI_SLOW_BARS: Final = 20
RSI_AVERAGE_BARS: Final = 20
TRUE_RANGE_BARS: Final = 14
VOLUME_AVERAGE_BARS: Final = 20
MOMENTUM_BARS: Final = (20, 50)
TACTICAL_MOMENTUM_BARS: Final = 5

PROFILE_BINS_MAX: Final = 512
"""A profile that needs more bins takes 2, 4, .. ticks to a bin until it fits."""

NORMAL_IQR: Final = 1.349
"""Interquartile range of the standard normal: divided by it, a normal column gets unit variance."""

TIE_FRAC: Final = 1e-12
"""Price differences below this fraction of the close are rounding left by ratio adjustment: they count as equal."""


@dataclass(frozen=True, slots=True)
class FeatureColumn:
    """One feature: its name, its definition in words, and whether it is left unscaled."""

    name: str
    definition: str
    bounded: bool = False


STRATEGIC: Final = (
    FeatureColumn(
        "mlmi_value",
        "sum of the labels (sign of close at the next cross less close at the cross) of the k nearest labelled "
        "WMA5/WMA20 crosses, divided by k; point = (WMA20 of RSI20, WMA20 of RSI5); all on Heikin-Ashi closes",
        bounded=True,
    ),
    FeatureColumn("mlmi_signal", "direction of a cross on this bar when mlmi_value has its sign, else 0", bounded=True),
    FeatureColumn("nwrqk_deviation", "(close - line) / ATR14, line = rational quadratic kernel mean, bandwidth h"),
    FeatureColumn("nwrqk_slope", "one-bar relative change of the second line, bandwidth h - lag; rising is positive"),
    FeatureColumn("lvn_distance", "(nearest low-volume node - close) / ATR14; above is positive; 0 without a node"),
    FeatureColumn("lvn_strength", "1 - node volume / (low-node fraction x point of control)", bounded=True),
    FeatureColumn("hour_sin", "sine of the UTC day fraction of the bar's close", bounded=True),
    FeatureColumn("hour_cos", "cosine of the UTC day fraction of the bar's close", bounded=True),
    FeatureColumn("momentum_20", "log return of 20 bars"),
    FeatureColumn("momentum_50", "log return of 50 bars"),
    FeatureColumn("mmd_score", "unbiased squared MMD of (return, range, volatility) against the training reference"),
    FeatureColumn("volatility_30", "root mean square of one-bar log returns"),
    FeatureColumn("volume_profile_skew", "third standardised moment of price, weighted by the profile's volume"),
)

TACTICAL: Final = (
    FeatureColumn("fvg_bullish_active", "1 while a bullish gap lives, else 0", bounded=True),
    FeatureColumn("fvg_bearish_active", "1 while a bearish gap lives, else 0", bounded=True),
    FeatureColumn("fvg_nearest_level", "(nearest edge of a living gap - close) / ATR14; above is positive; 0 without"),
    FeatureColumn("fvg_age", "age of the gap of that edge / greatest age; 0 without", bounded=True),
    FeatureColumn(
        "fvg_mitigation_signal", "1 a bullish gap filled on this bar, -1 bearish, 0 both or none", bounded=True
    ),
    FeatureColumn("momentum_5", "log return of 5 bars"),
    FeatureColumn("volume_ratio", "tanh(log1p(max(0, volume / EMA20 of volume - 1)))", bounded=True),
)

STRATEGIC_COLUMNS: Final = tuple(column.name for column in STRATEGIC)
TACTICAL_COLUMNS: Final = tuple(column.name for column in TACTICAL)
BOUNDED_COLUMNS: Final = frozenset(column.name for column in STRATEGIC + TACTICAL if column.bounded)


def feature_fingerprint() -> str:
    """Return the hex SHA-256 over the version, names, order and definitions of all columns."""
    tables = {"strategic": STRATEGIC, "tactical": TACTICAL}
    return hash_json(
        {
            "version": DEFINITIONS_VERSION,
            "tie_frac": TIE_FRAC,
            "profile_bins_max": PROFILE_BINS_MAX,
            **{clock: [asdict(column) for column in table] for clock, table in tables.items()},
        }
    )


def check_bars(bars: Bars) -> None:
    """Refuse bars on which a column is undefined.

    Raises:
        DataError: a price or factor is not positive and finite, a volume is negative, or a high lies below its low.
    """
    for name in ("open", "high", "low", "close", "price_factor"):
        values = getattr(bars, name)
        _refuse(bars, name, "must be finite and positive", np.isfinite(values) & (values > 0))
    _refuse(bars, "volume", "must be finite and not negative", np.isfinite(bars.volume) & (bars.volume >= 0))
    _refuse(bars, "high", "must not lie below the low", bars.high >= bars.low)


def _refuse(bars: Bars, name: str, rule: str, good: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> None:
    if not bool(good.all()):
        row = int(np.argmin(good))
        found = float(getattr(bars, name)[row])
        raise DataError(f"{bars.symbol} {name} row {row}", rule, found, "Cut the bar out when reading the data")
