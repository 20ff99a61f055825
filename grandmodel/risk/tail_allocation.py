"""Who in the book carries its VaR and ES: marginal and component risk by all six methods, shorts included.

Every method's VaR and ES are homogeneous of degree one in the weights, so Euler's theorem splits them without a rest:
marginal_i = d risk / d w_i, component_i = w_i marginal_i, and the components sum to the total (Tasche 1999). A hedge
has a negative component. The derivatives are those of the estimators themselves, not of a normal stand-in: the
scenarios in the tail for historical, the moments for Cornish-Fisher (Boudt, Peterson and Croux 2008), and for the
filtered methods both the forecast and the volatility by which each past P&L was standardised.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.risk.tail import (
    EWMA_LAMBDA,
    METHODS,
    TailRisk,
    degrees_rung,
    ewma_normal,
    ewma_volatility,
    filtered_historical,
    monte_carlo,
    normal_tail,
    student_draws,
    tail_count,
)

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Allocation:
    """One method's risk by asset, positive fractions of equity over one bar; NaN where ``reason`` says why."""

    marginal_var: Floats  # [N] change of VaR per unit of weight
    marginal_es: Floats  # [N]
    component_var: Floats  # [N], sums to VaR
    component_es: Floats  # [N], sums to ES
    reason: str = ""


def allocate(
    returns: Floats, weights: Floats, level: float, method: str, decay: float = EWMA_LAMBDA, seed: int = 0
) -> Allocation:
    """Split VaR and ES of a book by asset.

    Args:
        returns: float64[T, N], oldest first, as ``BookRisk.returns`` gives them.
        weights: float64[N], signed fractions of equity.
        level: confidence, in (0.5, 1).
        method: a name of ``tail.METHODS``.
        decay: lambda of the EWMA.
        seed: of the Monte Carlo draws.

    Returns:
        The allocation; zeros for a book without a position; NaN and the reason where the method gives no number.

    Raises:
        ConfigError: unknown method, or a level outside (0.5, 1).
        DataError: the shapes do not fit, or a weight is not finite.
    """
    if method not in METHODS:
        raise ConfigError("VaR method", f"must be one of {', '.join(METHODS)}", method)
    if returns.ndim != 2 or weights.shape != (returns.shape[1],) or not weights.size:
        raise DataError("allocation", "needs one finite weight for each column", (returns.shape, weights.shape))
    if not bool(np.isfinite(weights).all()):
        raise DataError("allocation", "needs one finite weight for each column", weights)
    tail_count(len(returns), level)
    if not weights.any():
        return _of(np.zeros((2, len(weights))), weights, "")
    if not bool(np.isfinite(returns).all()):
        return _of(np.full((2, len(weights)), math.nan), weights, "a return is not finite")
    pnl = returns @ weights
    total = _total(pnl, level, method, decay, seed)
    if math.isnan(total.var_frac):
        return _of(np.full((2, len(weights)), math.nan), weights, total.reason)
    if method == "historical":
        marginal = -_tail_mean(pnl, returns, level)
    elif method == "parametric":
        marginal = _parametric(pnl, returns, level)
    elif method == "cornish_fisher":
        marginal = _cornish_fisher(pnl, returns, level)
    else:
        marginal = _filtered(pnl, returns, level, method, decay, seed)
    return _of(marginal, weights, total.reason)


def _of(marginal: Floats, weights: Floats, reason: str) -> Allocation:
    return Allocation(marginal[0], marginal[1], weights * marginal[0], weights * marginal[1], reason)


def _total(pnl: Floats, level: float, method: str, decay: float, seed: int) -> TailRisk:
    """Return the number that is split, with the settings by which it is split."""
    if method == "monte_carlo":
        return monte_carlo(pnl, level, decay, seed)
    if method == "filtered_historical":
        return filtered_historical(pnl, level, decay)
    return ewma_normal(pnl, level, decay) if method == "ewma_normal" else METHODS[method](pnl, level)


def _tail_mean(order: Floats, rows: Floats, level: float) -> Floats:
    """Return float64[2, N]: the row at the k-th smallest of ``order``, and the mean of the rows of the k smallest."""
    k = tail_count(len(order), level)
    places = np.argsort(order, kind="stable")[:k]
    return np.stack([rows[places[-1]], rows[places].mean(axis=0)])


def _parametric(pnl: Floats, returns: Floats, level: float) -> Floats:
    mean = returns.mean(axis=0)
    deviation = pnl.std(ddof=1)
    slope = (pnl - pnl.mean()) @ (returns - mean) / (len(pnl) - 1) / deviation
    return np.stack([multiplier * slope - mean for multiplier in normal_tail(level)])


def _cornish_fisher(pnl: Floats, returns: Floats, level: float) -> Floats:
    mean, (var, es) = returns.mean(axis=0), normal_tail(level)
    rows, z = returns - mean, -var
    deviation = float(pnl.std())
    shape = (pnl - pnl.mean()) / deviation
    skew, kurtosis = float(np.mean(shape**3)), float(np.mean(shape**4)) - 3.0
    slope = shape @ rows / len(pnl)  # of the deviation
    skew_slope = 3 * (shape**2 @ rows / len(pnl) - skew * slope) / deviation
    kurtosis_slope = 4 * (shape**3 @ rows / len(pnl) - (kurtosis + 3) * slope) / deviation
    quantile = z + (z * z - 1) * skew / 6 + (z**3 - 3 * z) * kurtosis / 24 - (2 * z**3 - 5 * z) * skew**2 / 36
    quantile_slope = ((z * z - 1) / 6 - (2 * z**3 - 5 * z) * skew / 18) * skew_slope
    quantile_slope += (z**3 - 3 * z) / 24 * kurtosis_slope
    bend = 1 + z * skew / 6 + (z * z - 1) * kurtosis / 24 - (2 * z * z - 1) * skew**2 / 36
    bend_slope = (z / 6 - (2 * z * z - 1) * skew / 18) * skew_slope + (z * z - 1) / 24 * kurtosis_slope
    marginal_var = -mean - quantile * slope - deviation * quantile_slope
    return np.stack([marginal_var, -mean + es * (bend * slope + deviation * bend_slope)])


def _filtered(pnl: Floats, returns: Floats, level: float, method: str, decay: float, seed: int) -> Floats:
    volatility = ewma_volatility(pnl, decay, seed_variance=float(np.mean(pnl**2)))
    covariances = _covariance_path(np.ascontiguousarray(returns), pnl, decay)
    before, now = volatility[:-1, None], float(volatility[-1])
    slope = covariances[-1] / now  # of the forecast
    if method == "ewma_normal":
        return np.stack([multiplier * slope for multiplier in normal_tail(level)])
    shapes = pnl / volatility[:-1]
    shape_slopes = returns / before - shapes[:, None] * covariances[:-1] / before**2
    if method == "filtered_historical":
        tail = _tail_mean(shapes, shapes[:, None], level)
        by_asset: Floats = -tail * slope - now * _tail_mean(shapes, shape_slopes, level)
        return by_asset
    square = float(np.mean(shapes**2))
    excess = float(np.mean(shapes**4)) / square**2 - 3.0
    spread, spread_slope = math.sqrt(square), shapes @ shape_slopes / len(pnl) / math.sqrt(square)
    draws = student_draws(level, seed)[degrees_rung(excess)]
    return np.stack([multiplier * (spread * slope + now * spread_slope) for multiplier in draws])


@njit(cache=True)
def _covariance_path(returns: Floats, pnl: Floats, decay: float) -> Floats:
    """Return the EWMA covariance of each asset with the P&L before each bar and after the last, float64[T + 1, N]."""
    bars, assets = returns.shape
    path = np.zeros((bars + 1, assets))
    for t in range(bars):
        for i in range(assets):
            path[0, i] += returns[t, i] * pnl[t] / bars
    for t in range(bars):
        for i in range(assets):
            path[t + 1, i] = decay * path[t, i] + (1.0 - decay) * returns[t, i] * pnl[t]
    return path
