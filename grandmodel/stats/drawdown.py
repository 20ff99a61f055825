"""How deep a release may fall in its first days without anything being wrong with it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.core.random import random_stream
from grandmodel.stats.bootstrap import DAYS_MIN, optimal_block_days


def drawdown_paths(
    daily_log_returns: NDArray[np.float64], horizon_days: int, *, draws: int, seed: int
) -> NDArray[np.float64]:
    """Return the largest drawdown of each simulated stretch, float64[draws], positive fractions of the peak.

    A stretch is ``horizon_days`` long and begins at its own peak. Days are drawn in blocks of random length (Politis
    and Romano 1994) whose mean length is that of ``optimal_block_days``, and wrap around.

    Args:
        daily_log_returns: float64[days], out of sample and after costs; at least ``DAYS_MIN``.
        horizon_days: 1 or more.
        draws: stretches.
        seed: of the stream.

    Raises:
        DataError: too few days, or a return is not finite.
        ConfigError: horizon or draws below 1.
    """
    returns = np.asarray(daily_log_returns, dtype=np.float64)
    if returns.ndim != 1 or len(returns) < DAYS_MIN or not np.isfinite(returns).all():
        raise DataError("daily returns", f"must be one row of at least {DAYS_MIN} finite numbers", returns.shape)
    if horizon_days < 1 or draws < 1:
        raise ConfigError("drawdown envelope", "needs a day and a draw at least", (horizon_days, draws))
    stream = random_stream(seed, "drawdown")
    begins = stream.random((horizon_days, draws)) < 1.0 / optimal_block_days(returns)
    jumps = stream.integers(0, len(returns), size=(horizon_days, draws))
    at = jumps[0]
    equity, peak, deepest = np.zeros(draws), np.zeros(draws), np.zeros(draws)
    for day in range(horizon_days):
        at = np.where(begins[day], jumps[day], (at + 1) % len(returns))
        equity += returns[at]
        peak = np.maximum(peak, equity)
        deepest = np.maximum(deepest, -np.expm1(equity - peak))
    return deepest


def drawdown_envelope_frac(
    daily_log_returns: NDArray[np.float64], horizon_days: int, exceeded: float, *, draws: int = 5000, seed: int
) -> float:
    """Return the drawdown, a positive fraction, that ``horizon_days`` days exceed with probability ``exceeded``.

    It holds for all days of the stretch together, so it may be looked at daily. It knows no worse days than those
    given.

    Raises:
        ConfigError: ``exceeded`` outside (0, 1), or so small that fewer than 20 of ``draws`` lie beyond it.
        DataError, ConfigError: as ``drawdown_paths``.
    """
    if not 0.0 < exceeded < 1.0 or exceeded * draws < 20.0:
        raise ConfigError("drawdown envelope", "20 draws at least must lie beyond it", (exceeded, draws))
    deepest = drawdown_paths(daily_log_returns, horizon_days, draws=draws, seed=seed)
    return float(np.quantile(deepest, 1.0 - exceeded))
