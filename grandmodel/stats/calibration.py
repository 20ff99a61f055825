"""Are stated probabilities right, and does a model know when it does not know?

Labels are class numbers [n], probabilities [n, classes]. The functions judge what they are given and fit nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import DataError

Floats = NDArray[np.float64]


class RiskCoverage(NamedTuple):
    """Risk of what is left when the least certain decisions are left out."""

    coverage: Floats  # [points], share of the decisions that are kept, rising
    risk: Floats  # [points], mean loss of the kept ones
    threshold: Floats  # [points], the largest uncertainty that is kept


def brier_score(probabilities: Floats, labels: NDArray[np.int64]) -> float:
    """Return the mean over samples of the summed squared distance to the label's unit vector, 0 (best) to 2.

    Source: Brier (1950). Raises: DataError when shapes do not fit, or rows are no probabilities.
    """
    chances, classes = _checked(probabilities, labels)
    return float(np.square(chances - np.eye(chances.shape[1])[classes]).sum(axis=1).mean())


def expected_calibration_error(probabilities: Floats, labels: NDArray[np.int64], bins: int = 15) -> float:
    """Return the mean gap between confidence and accuracy of the likeliest class, over bins of equal width.

    ``sum over bins of (share of samples) x |accuracy - mean confidence|``. Source: Guo et al. (2017), eq. 3.
    Raises: DataError when shapes do not fit, or rows are no probabilities.
    """
    chances, classes = _checked(probabilities, labels)
    confidence, right = chances.max(axis=1), chances.argmax(axis=1) == classes
    number = np.minimum((confidence * bins).astype(np.int64), bins - 1)
    gaps = np.bincount(number, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(classes))


def risk_coverage(loss: Floats, uncertainty: Floats, points: int = 10) -> RiskCoverage:
    """Return the mean ``loss`` [n] of the most certain 1 / points, 2 / points, ... of all decisions.

    Decisions of equal uncertainty are taken in their given order. Source: El-Yaniv and Wiener (2010).
    Raises: DataError when empty, not finite, of unequal lengths, or fewer than ``points``.
    """
    losses, doubts = np.asarray(loss, np.float64), np.asarray(uncertainty, np.float64)
    if losses.shape != doubts.shape or losses.ndim != 1 or len(losses) < points:
        raise DataError("risk and coverage", f"needs two columns of {points} or more", (losses.shape, doubts.shape))
    if not (np.isfinite(losses).all() and np.isfinite(doubts).all()):
        raise DataError("risk and coverage", "losses and uncertainties must be finite")
    order = np.argsort(doubts, kind="stable")
    kept = np.arange(1, points + 1) * len(losses) // points
    sums = np.cumsum(losses[order])
    return RiskCoverage(kept / len(losses), sums[kept - 1] / kept, doubts[order][kept - 1])


def area_under_risk_coverage(curve: RiskCoverage) -> float:
    """Return the mean risk over all points of the curve; below the risk at full coverage, abstaining helps."""
    return float(curve.risk.mean())


def _checked(probabilities: Floats, labels: NDArray[np.int64]) -> tuple[Floats, NDArray[np.int64]]:
    chances, classes = np.asarray(probabilities, np.float64), np.asarray(labels, np.int64)
    if chances.ndim != 2 or classes.shape != chances.shape[:1] or len(classes) == 0:
        raise DataError(
            "calibration", "needs probabilities [n, classes] and labels [n]", (chances.shape, classes.shape)
        )
    if not np.isfinite(chances).all() or chances.min() < 0 or np.abs(chances.sum(axis=1) - 1).max() > 1e-4:
        raise DataError("calibration", "each row of probabilities must sum to one, none below zero")
    if classes.min() < 0 or classes.max() >= chances.shape[1]:
        raise DataError("calibration", f"labels must lie in 0..{chances.shape[1] - 1}", int(classes.max()))
    return chances, classes
