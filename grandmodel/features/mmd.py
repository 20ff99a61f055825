"""Distance of the last bars from the training fold: maximum mean discrepancy against a fitted reference.

Gretton et al. (2012), "A Kernel Two-Sample Test", JMLR 13, eq. 3 (unbiased squared MMD), Gaussian kernel with the
median heuristic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from grandmodel.core.bars import Bars
from grandmodel.core.config import FeatureParams
from grandmodel.core.errors import DataError
from grandmodel.core.random import random_stream
from grandmodel.features import kernels
from grandmodel.features.columns import NORMAL_IQR, check_bars
from grandmodel.features.kernels import Floats
from grandmodel.features.kernels_mmd import mmd_scores

POINTS_MIN: Final = 20


@dataclass(frozen=True, eq=False, slots=True)
class MmdReference:
    """What "as in training" looks like, for one instrument.

    ``points`` float64[M, 3] are standardised (return, range, volatility) of training bars, the first and last of which
    start in [fit_start_ns, fit_stop_ns).
    """

    points: Floats
    center: Floats  # float64[3], median
    scale: Floats  # float64[3], interquartile range / 1.349
    bandwidth: float  # median distance between reference points, in standard units
    fit_start_ns: int
    fit_stop_ns: int  # exclusive

    def to_dict(self) -> dict[str, Any]:
        """Return plain data from which ``from_dict`` rebuilds the same bits."""
        return {
            "points": self.points.tolist(),
            "center": self.center.tolist(),
            "scale": self.scale.tolist(),
            "bandwidth": self.bandwidth,
            "fit_start_ns": self.fit_start_ns,
            "fit_stop_ns": self.fit_stop_ns,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> MmdReference:
        """Rebuild a reference. Raises DataError when shapes disagree or a number is not usable."""
        arrays = {name: np.array(content[name], dtype=np.float64) for name in ("points", "center", "scale")}
        points, center, scale = arrays["points"], arrays["center"], arrays["scale"]
        shapes = {name: array.shape for name, array in arrays.items()}
        if shapes != {"points": (len(points), 3), "center": (3,), "scale": (3,)} or len(points) < 2:
            raise DataError("MMD reference", "must hold points [M, 3], center [3], scale [3]", shapes)
        bandwidth = float(content["bandwidth"])
        finite = all(bool(np.isfinite(array).all()) for array in arrays.values())
        if not (finite and bool((scale > 0).all()) and 0 < bandwidth < np.inf):
            raise DataError("MMD reference", "must be finite, with scales and bandwidth above 0")
        return cls(points, center, scale, bandwidth, int(content["fit_start_ns"]), int(content["fit_stop_ns"]))


def fit_mmd_reference(bars: Bars, train_stop: int, params: FeatureParams, seed: int) -> MmdReference:
    """Fit the reference on bars [0, ``train_stop``) and on nothing else.

    Up to ``mmd_reference_points`` bars are drawn without replacement; all are taken when there are fewer. A column
    without spread has scale 1, coinciding points have bandwidth 1.

    Raises:
        DataError: ``train_stop`` lies outside the bars, or fewer than 20 bars have all three numbers.
    """
    if not 0 < train_stop <= len(bars):
        raise DataError(f"{bars.symbol} train_stop", f"must lie in 1..{len(bars)}", train_stop)
    return fit_mmd_reference_over([bars.rows(0, train_stop)], params, seed)


def fit_mmd_reference_over(stretches: Sequence[Bars], params: FeatureParams, seed: int) -> MmdReference:
    """Fit the reference on stretches of one instrument's bars, oldest first, as ``fit_mmd_reference`` does on one.

    Nothing is computed across the hole between two of them. Raises DataError when too few bars have all three numbers.
    """
    bars = stretches[0]
    for stretch in stretches:
        check_bars(stretch)
    points = np.concatenate([mmd_points(part, params)[params.volatility_window_bars :] for part in stretches])
    if len(points) < POINTS_MIN:
        need = POINTS_MIN + params.volatility_window_bars * len(stretches)
        found = sum(map(len, stretches))
        raise DataError(f"{bars.symbol} training bars", f"an MMD reference needs at least {need}", found)
    center = np.median(points, axis=0)
    spread = np.subtract(*np.percentile(points, [75, 25], axis=0)) / NORMAL_IQR
    scale = np.where(spread > 0, spread, 1.0)
    count = min(params.mmd_reference_points, len(points))
    rows = np.sort(random_stream(seed, "mmd_reference", bars.symbol).choice(len(points), count, replace=False))
    drawn = (points[rows] - center) / scale
    stop_ns = int(stretches[-1].start_ns[-1]) + 1
    return MmdReference(drawn, center, scale, _median_distance(drawn), int(bars.start_ns[0]), stop_ns)


def mmd_points(bars: Bars, params: FeatureParams) -> Floats:
    """Return float64[T, 3]: one-bar log return, log(high / low), realised volatility; NaN until warm."""
    returns = kernels.log_change(bars.close, 1)
    volatility = kernels.root_mean_square(returns, 1, params.volatility_window_bars)
    return np.column_stack([returns, kernels.log_ratio(bars.high, bars.low), volatility])


def mmd_column(bars: Bars, params: FeatureParams, reference: MmdReference) -> Floats:
    """Return float64[T]: unbiased squared MMD of the last ``mmd_window_bars`` bars; NaN until warm. May be below 0."""
    points = (mmd_points(bars, params) - reference.center) / reference.scale
    gamma = 1.0 / (2.0 * reference.bandwidth**2)
    return mmd_scores(points, params.volatility_window_bars, reference.points, gamma, params.mmd_window_bars)


def _median_distance(points: Floats) -> float:
    upper = np.triu_indices(len(points), k=1)
    squared = ((points[:, None, :] - points[None, :, :]) ** 2).sum(axis=2)
    median = float(np.median(np.sqrt(squared[upper])))
    return median if median > 0 else 1.0
