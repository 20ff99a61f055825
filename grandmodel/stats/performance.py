"""Performance of a daily return series. Each function: one formula, one unit, one hand-computed test.

Daily log returns add up over time and simple returns add up over instruments; the argument names say which is meant.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import DataError

SESSIONS_PER_YEAR = 252.0


def annual_return_frac(daily_log_returns: NDArray[np.float64], sessions_per_year: float = SESSIONS_PER_YEAR) -> float:
    """Return the compound return of an average year: ``exp(mean x sessions_per_year) - 1``, a fraction of equity.

    Raises: DataError when empty or not finite.
    """
    values = _finite(daily_log_returns, "daily log returns")
    return float(np.expm1(values.mean() * sessions_per_year))


def annual_volatility_frac(daily_returns: NDArray[np.float64], sessions_per_year: float = SESSIONS_PER_YEAR) -> float:
    """Return ``std(ddof=1) x sqrt(sessions_per_year)``, a fraction of equity; 0.0 for fewer than two days.

    Raises: DataError when empty or not finite.
    """
    values = _finite(daily_returns, "daily returns")
    return float(values.std(ddof=1) * np.sqrt(sessions_per_year)) if len(values) > 1 else 0.0


def annual_sharpe(daily_returns: NDArray[np.float64], sessions_per_year: float = SESSIONS_PER_YEAR) -> float | None:
    """Return ``mean / std(ddof=1) x sqrt(sessions_per_year)``, no risk-free rate (futures are self-financing).

    None where it is undefined: fewer than two days, or returns that never vary.
    Source: Sharpe (1994), The Sharpe Ratio. Raises: DataError when empty or not finite.
    """
    values = _finite(daily_returns, "daily returns")
    if len(values) < 2 or np.ptp(values) == 0.0:
        return None
    return float(values.mean() / values.std(ddof=1) * np.sqrt(sessions_per_year))


def max_drawdown_frac(daily_log_returns: NDArray[np.float64]) -> float:
    """Return the deepest fall of equity from its running peak, as a positive fraction of that peak.

    ``max over t of 1 - equity[t] / max(equity[0..t])`` with equity 1 before the first day.
    Raises: DataError when empty or not finite.
    """
    log_equity = np.concatenate(([0.0], np.cumsum(_finite(daily_log_returns, "daily log returns"))))
    return float(-np.expm1(np.min(log_equity - np.maximum.accumulate(log_equity))))


def turnover_per_year(
    position_changes: NDArray[np.float64], days: int, sessions_per_year: float = SESSIONS_PER_YEAR
) -> float:
    """Return ``sum(|change|) / days x sessions_per_year``: full positions traded in an average year, one-sided.

    Going from flat to fully long is 1.0; a reversal from fully short is 2.0.
    Raises: DataError when empty, not finite, or days < 1.
    """
    if days < 1:
        raise DataError("turnover", "it needs at least one day", days)
    return float(np.abs(_finite(position_changes, "position changes")).sum() / days * sessions_per_year)


def portfolio_daily_log_returns(
    log_returns: NDArray[np.float64], session: NDArray[np.int32], instrument: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Return sessions [days] and daily log returns [days] of equal capital in each instrument, rebalanced daily.

    ``log1p(mean over instruments of expm1(sum of that instrument's bars in the session))``. Shapes: all inputs [bars],
    ``instrument`` numbered from 0. An instrument without bars in a session earns nothing on it.
    Raises: DataError when empty, not finite, or lengths differ.
    """
    values = _finite(log_returns, "log returns of bars")
    if not len(values) == len(session) == len(instrument):
        found = (len(values), len(session), len(instrument))
        raise DataError("portfolio returns", "bars, sessions and instruments must have one length", found)
    days, day_index = np.unique(session, return_inverse=True)
    instruments, instrument_index = np.unique(instrument, return_inverse=True)
    cells = day_index * len(instruments) + instrument_index
    sums = np.bincount(cells, weights=values, minlength=len(days) * len(instruments))
    simple = np.expm1(sums.reshape(len(days), len(instruments))).mean(axis=1)
    return days.astype(np.int32), np.log1p(simple)


def _finite(values: NDArray[np.float64], subject: str) -> NDArray[np.float64]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise DataError(subject, "it must be one non-empty column", array.shape)
    if not np.isfinite(array).all():
        row = int(np.argmin(np.isfinite(array)))
        raise DataError(subject, "every value must be finite", f"{array[row]} at row {row}")
    return array
