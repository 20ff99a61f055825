"""Intervals for annual returns that respect dependence between days and between training seeds.

Days are resampled in blocks of random length (Politis & Romano 1994, the stationary bootstrap) whose mean length
follows Politis & White (2004) with the correction of Patton, Politis & White (2009); both come from ``arch``. Seeds
are resampled beside the days, each draw with its own seeds and its own days (Owen 2007, the pigeonhole bootstrap),
because all seeds walk through the same market: treating seed-days as independent would make the interval too narrow.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import DataError
from grandmodel.core.random import random_stream
from grandmodel.stats.iqm import interquartile_mean
from grandmodel.stats.performance import SESSIONS_PER_YEAR

DAYS_MIN = 20  # below this neither the block length nor the percentiles mean anything


@dataclass(frozen=True)
class Interval:
    """A bootstrap estimate of an annual log return with its two-sided percentile interval."""

    estimate: float
    lower: float
    upper: float
    standard_error: float
    confidence: float

    def detection_power(self, effect: float, margin: float = 0.0) -> float:
        """Return the probability that the lower bound exceeds ``margin`` when the truth is ``effect``.

        Normal approximation with this interval's standard error.
        """
        if self.standard_error == 0.0:
            return 1.0 if effect > margin else 0.0
        return NormalDist().cdf((effect - margin) / self.standard_error - self._bound_quantile())

    def smallest_effect(self, power: float = 0.8, margin: float = 0.0) -> float:
        """Return the smallest true value that ``detection_power`` gives at least ``power``; same unit as estimate."""
        return margin + (self._bound_quantile() + NormalDist().inv_cdf(power)) * self.standard_error

    def days_needed(self, days: int, power: float = 0.8, margin: float = 0.0) -> int | None:
        """Return how many days like these ``days`` show a truth equal to the estimate with ``power``; None if none."""
        gap = self.estimate - margin
        if gap <= 0.0:
            return None
        needed = days * ((self.smallest_effect(power, margin) - margin) / gap) ** 2
        return int(min(np.ceil(needed), 10**9))

    def _bound_quantile(self) -> float:
        return NormalDist().inv_cdf((1.0 + self.confidence) / 2.0)


def optimal_block_days(series: NDArray[np.float64]) -> float:
    """Return the optimal mean block length of ``series`` float64[days], in days, within [1, days / 4].

    A series that never varies has length 1. Source: Patton, Politis & White (2009), by ``arch``.
    """
    from arch.bootstrap import optimal_block_length  # loads pandas and statsmodels: two seconds, needed only here

    values = np.asarray(series, dtype=np.float64)
    if np.ptp(values) == 0.0:
        return 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # zero-variance stretches inside arch give NaN, handled below
        length = float(optimal_block_length(values)["stationary"].iloc[0])
    return float(np.clip(length, 1.0, len(values) / 4.0)) if np.isfinite(length) else 1.0


def day_weights(days: int, block_days: float, *, draws: int, seed: int) -> NDArray[np.float64]:
    """Return float64[draws, days]: the share of each day in each stationary bootstrap sample; rows sum to 1."""
    from arch.bootstrap import StationaryBootstrap

    stream = random_stream(seed, "days")
    sampler = StationaryBootstrap(block_days, np.zeros(days), seed=stream)  # type: ignore[arg-type]  # mean length
    weights = np.empty((draws, days))
    for row in range(draws):
        weights[row] = np.bincount(sampler.update_indices(), minlength=days)
    return weights / days


def bootstrap_difference(
    returns: NDArray[np.float64],
    baselines: dict[str, NDArray[np.float64]],
    *,
    draws: int,
    confidence: float,
    seed: int,
    sessions_per_year: float = SESSIONS_PER_YEAR,
) -> dict[str, Interval]:
    """Return, per baseline, the interval of the annual excess log return of ``returns`` over it.

    The statistic is the interquartile mean over seeds of the mean over days of ``returns`` float64[seeds, days], minus
    the same of the baseline (float64[days] or float64[runs, days]), times ``sessions_per_year``. One draw uses the same
    days on both sides (paired) and its own seeds on each. The block length is the longest optimal one of the mean
    difference series, so that one set of day samples serves all baselines.
    Raises: DataError when a table is empty, not finite, shorter than 20 days or of another length than the rest.
    """
    table = _table(returns, "daily returns of the release")
    others = {name: _table(values, f"daily returns of {name}") for name, values in baselines.items()}
    days = table.shape[1]
    for name, other in others.items():
        if other.shape[1] != days:
            raise DataError(f"daily returns of {name}", f"it must span the release's {days} days", other.shape[1])
    block_days = max((optimal_block_days(table.mean(0) - o.mean(0)) for o in others.values()), default=1.0)
    weights = day_weights(days, block_days, draws=draws, seed=seed)
    resampled = _resampled_iqm(table, weights, seed, "release")
    point = float(interquartile_mean(table.mean(axis=1)))
    intervals = {}
    for name, other in others.items():
        samples = (resampled - _resampled_iqm(other, weights, seed, name)) * sessions_per_year
        estimate = (point - float(interquartile_mean(other.mean(axis=1)))) * sessions_per_year
        intervals[name] = _interval(estimate, samples, confidence)
    return intervals


def bootstrap_mean(
    returns: NDArray[np.float64],
    *,
    draws: int,
    confidence: float,
    seed: int,
    sessions_per_year: float = SESSIONS_PER_YEAR,
) -> Interval:
    """Return the interval of the annual log return: the interquartile mean over seeds of the mean over days.

    ``returns`` is float64[days] or float64[seeds, days]. Raises: as ``bootstrap_difference``.
    """
    flat = np.zeros(np.asarray(returns).shape[-1])
    difference = bootstrap_difference(
        returns, {"flat": flat}, draws=draws, confidence=confidence, seed=seed, sessions_per_year=sessions_per_year
    )
    return difference["flat"]


def _resampled_iqm(
    table: NDArray[np.float64], weights: NDArray[np.float64], seed: int, name: str
) -> NDArray[np.float64]:
    # einsum without BLAS: the same bits whatever the number of threads.
    means: NDArray[np.float64] = np.einsum("bd,sd->bs", weights, table)
    rows = len(table)
    if rows == 1:
        return np.asarray(means[:, 0])
    picks = random_stream(seed, "rows", name).integers(0, rows, size=means.shape)
    return interquartile_mean(np.take_along_axis(means, picks, axis=1), axis=1)


def _interval(estimate: float, samples: NDArray[np.float64], confidence: float) -> Interval:
    tail = (1.0 - confidence) / 2.0
    lower, upper = np.quantile(samples, [tail, 1.0 - tail])
    return Interval(estimate, float(lower), float(upper), float(samples.std(ddof=1)), confidence)


def _table(values: NDArray[np.float64], subject: str) -> NDArray[np.float64]:
    table = np.atleast_2d(np.asarray(values, dtype=np.float64))
    if table.ndim != 2 or table.shape[0] == 0 or table.shape[1] < DAYS_MIN:
        raise DataError(subject, f"it must hold at least one row of at least {DAYS_MIN} days", table.shape)
    if not np.isfinite(table).all():
        row, day = (int(i) for i in np.argwhere(~np.isfinite(table))[0])
        raise DataError(subject, "every value must be finite", f"{table[row, day]} in row {row}, day {day}")
    return table
