"""Value at risk and expected shortfall of one return series, one bar of that series ahead.

Losses are positive fractions of equity. With tail probability a = 1 - level and n returns, the historical VaR is the
negative of the k-th smallest return, k = ceil(n a), and ES the negative mean of the k smallest: no interpolation, and
under exchangeable returns a new one falls below with probability k / (n + 1). Interpolating conventions give a smaller
VaR. Any return that is not finite, or fewer than ``returns_min(level)`` of them, gives NaN, and whoever acts on a
risk number that is NaN must only reduce (``state.fail_closed``).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numba import njit
from numpy.typing import NDArray

from grandmodel.core.errors import ConfigError

EWMA_LAMBDA = 0.94  # RiskMetrics, daily


@dataclass(frozen=True)
class TailRisk:
    """VaR and ES as positive fractions of equity, over one bar of the returns they came from; NaN if unknown."""

    var_frac: float
    es_frac: float
    level: float
    n: int  # returns used


def historical(returns: NDArray[np.float64], level: float) -> TailRisk:
    """Return VaR and ES from the order statistics of ``returns`` (float64[n], oldest first)."""
    k = tail_count(len(returns), level)
    if not _usable(returns, level):
        return TailRisk(math.nan, math.nan, level, len(returns))
    tail = np.partition(returns, k - 1)[:k]
    return TailRisk(-float(tail.max()), -float(tail.mean()), level, len(returns))


def parametric(returns: NDArray[np.float64], level: float) -> TailRisk:
    """Return VaR and ES of the normal with the mean and the sample deviation (n - 1) of ``returns`` (float64[n])."""
    if not _usable(returns, level):
        return TailRisk(math.nan, math.nan, level, len(returns))
    return _normal(float(returns.mean()), float(returns.std(ddof=1)), level, len(returns))


def ewma_normal(returns: NDArray[np.float64], level: float, decay: float = EWMA_LAMBDA) -> TailRisk:
    """Return VaR and ES of a zero-mean normal with the EWMA volatility forecast after ``returns`` (float64[n])."""
    if not _usable(returns, level):
        return TailRisk(math.nan, math.nan, level, len(returns))
    return _normal(0.0, float(ewma_volatility(returns, decay)[-1]), level, len(returns))


def filtered_historical(
    returns: NDArray[np.float64], level: float, decay: float = EWMA_LAMBDA, window: int = 500
) -> TailRisk:
    """Return VaR and ES from standardised returns, scaled to the volatility forecast (Barone-Adesi et al. 1999).

    Args:
        returns: float64[n], oldest first. All of them drive the EWMA recursion.
        level: confidence, in (0.5, 1).
        decay: lambda of the recursion, in (0, 1).
        window: the newest this many standardised returns make the tail.
    """
    used = returns[-window:]
    unknown = TailRisk(math.nan, math.nan, level, len(used))
    if not (_usable(used, level) and _usable(returns, level)):
        return unknown
    volatility = ewma_volatility(returns, decay)
    before = volatility[:-1][-window:]
    if not bool(np.all(before > 0)):
        return unknown
    shape = historical(used / before, level)
    return TailRisk(shape.var_frac * float(volatility[-1]), shape.es_frac * float(volatility[-1]), level, len(used))


def ewma_volatility(returns: NDArray[np.float64], decay: float = EWMA_LAMBDA) -> NDArray[np.float64]:
    """Return the volatility forecast before each return and after the last one.

    Entry t is known before return t: s[0] = |r[0]| as the seed, s[t + 1]^2 = decay s[t]^2 + (1 - decay) r[t]^2.

    Args:
        returns: float64[n], oldest first; NaN spreads to all later entries.
        decay: in (0, 1).

    Returns:
        float64[n + 1]; its last entry is the forecast for the next bar.

    Raises:
        ConfigError: decay is outside (0, 1) or there is no return.
    """
    if not 0 < decay < 1:
        raise ConfigError("EWMA decay", "must lie strictly between 0 and 1", decay)
    if len(returns) == 0:
        raise ConfigError("EWMA volatility", "needs at least one return", 0)
    return np.sqrt(_ewma_variance(np.ascontiguousarray(returns, dtype=np.float64), decay))


def tail_count(n: int, level: float) -> int:
    """Return k = ceil(n (1 - level)), the size of the tail. Raises ConfigError on a level outside (0.5, 1)."""
    if not 0.5 < level < 1:
        raise ConfigError("VaR level", "must lie strictly between 0.5 and 1", level)
    # 1 - 0.99 is a little more than 0.01: without the allowance, 100 returns would have a tail of two.
    return math.ceil(n * (1.0 - level) - 1e-9)


def returns_min(level: float) -> int:
    """Return the fewest returns that give a number: as many as expect one of them in the tail."""
    return math.ceil(1.0 / (1.0 - level) - 1e-9)


def _usable(returns: NDArray[np.float64], level: float) -> bool:
    tail_count(len(returns), level)  # refuses a wrong level whatever the returns
    return len(returns) >= returns_min(level) and bool(np.isfinite(returns).all())


def _normal(mean: float, deviation: float, level: float, n: int) -> TailRisk:
    z = NormalDist().inv_cdf(level)
    density = NormalDist().pdf(z)
    return TailRisk(z * deviation - mean, density / (1.0 - level) * deviation - mean, level, n)


@njit(cache=True)
def _ewma_variance(returns: NDArray[np.float64], decay: float) -> NDArray[np.float64]:
    variance = np.empty(len(returns) + 1)
    variance[0] = returns[0] * returns[0]
    for t in range(len(returns)):
        variance[t + 1] = decay * variance[t] + (1.0 - decay) * returns[t] * returns[t]
    return variance
