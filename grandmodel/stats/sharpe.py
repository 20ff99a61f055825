"""The Sharpe ratio under non-normal returns, short records and many trials.

All Sharpe ratios here are per observation (per day for daily returns), not annual, as in the papers.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import e, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import DataError

EULER_MASCHERONI = 0.5772156649015329


@dataclass(frozen=True)
class SharpeMoments:
    """What the distribution of an estimated Sharpe ratio depends on."""

    sharpe: float  # per observation
    skew: float  # population skewness; 0 for a normal
    kurtosis: float  # population kurtosis, not excess; 3 for a normal
    n: int  # observations

    def error_scale(self) -> float:
        """Return ``sqrt(1 - skew SR + (kurtosis - 1) / 4 SR^2)``: the standard error of SR times ``sqrt(n - 1)``.

        Source: Mertens (2002), as in Bailey & Lopez de Prado (2012) eq. 8.
        """
        return sqrt(max(1.0 - self.skew * self.sharpe + (self.kurtosis - 1.0) / 4.0 * self.sharpe**2, 0.0))


def sharpe_moments(returns: NDArray[np.float64]) -> SharpeMoments | None:
    """Return the moments of ``returns`` float64[n]; None where the Sharpe ratio is undefined (n < 3, no variation).

    Mean over ``std(ddof=1)``; skewness and kurtosis of the population. Raises: DataError when not finite.
    """
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise DataError("returns", "they must be one finite column", values.shape)
    if len(values) < 3 or np.ptp(values) == 0.0:
        return None
    deviation = (values - values.mean()) / values.std()
    sharpe = float(values.mean() / values.std(ddof=1))
    return SharpeMoments(sharpe, float(np.mean(deviation**3)), float(np.mean(deviation**4)), len(values))


def probabilistic_sharpe(moments: SharpeMoments, benchmark: float = 0.0) -> float | None:
    """Return the probability that the true Sharpe ratio exceeds ``benchmark`` (per observation).

    ``Phi((SR - benchmark) sqrt(n - 1) / error_scale)``. None where the error scale is zero.
    Source: Bailey & Lopez de Prado (2012), The Sharpe Ratio Efficient Frontier, eq. 11.
    """
    scale = moments.error_scale()
    if scale == 0.0:
        return None
    return NormalDist().cdf((moments.sharpe - benchmark) * sqrt(moments.n - 1) / scale)


def expected_maximum_sharpe(trials: int, variance: float) -> float:
    """Return the Sharpe ratio expected of the best of ``trials`` worthless trials, in the unit of sqrt(``variance``).

    ``sqrt(variance) ((1 - g) z(1 - 1/N) + g z(1 - 1/(N e)))``, g = Euler-Mascheroni; 0 for a single trial.
    Source: Bailey & Lopez de Prado (2014), The Deflated Sharpe Ratio, eq. 1. Raises: DataError when trials < 1 or
    variance < 0.
    """
    if trials < 1 or not variance >= 0.0:
        raise DataError("deflated Sharpe", "it needs trials >= 1 and variance >= 0", (trials, variance))
    if trials == 1:
        return 0.0
    z = NormalDist().inv_cdf
    weight = EULER_MASCHERONI
    return sqrt(variance) * ((1.0 - weight) * z(1.0 - 1.0 / trials) + weight * z(1.0 - 1.0 / (trials * e)))


def deflated_sharpe(moments: SharpeMoments, trials: int, variance: float) -> float | None:
    """Return the probability that the Sharpe ratio is real although it is the best of ``trials``.

    The probabilistic Sharpe ratio against ``expected_maximum_sharpe``; ``variance`` is that of the trials' Sharpe
    ratios, per observation. None where undefined. Source: Bailey & Lopez de Prado (2014), eq. 2.
    """
    return probabilistic_sharpe(moments, expected_maximum_sharpe(trials, variance))


def minimum_track_record(moments: SharpeMoments, benchmark: float = 0.0, confidence: float = 0.95) -> float | None:
    """Return the observations needed until ``probabilistic_sharpe`` reaches ``confidence``; None if never.

    ``1 + error_scale^2 (z(confidence) / (SR - benchmark))^2``. Source: Bailey & Lopez de Prado (2012), eq. 13.
    """
    gap = moments.sharpe - benchmark
    if gap <= 0.0:
        return None
    return 1.0 + (moments.error_scale() * NormalDist().inv_cdf(confidence) / gap) ** 2
