"""Interquartile mean over training runs, the aggregate that neither one lucky nor one broken run can move."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import DataError
from grandmodel.core.random import random_stream


def interquartile_mean(values: NDArray[np.float64], axis: int = 0) -> NDArray[np.float64]:
    """Return the mean of what is left after dropping ``floor(n / 4)`` values at each end along ``axis``.

    Whole values are dropped, as rliable and ``scipy.stats.trim_mean(x, 0.25)`` do: of 5 runs the middle 3 count, of
    fewer than 4 all. NaN goes through to the result.
    Source: Agarwal et al. (2021), Deep RL at the Edge of the Statistical Precipice. Raises: DataError when empty.
    """
    array = np.asarray(values, dtype=np.float64)
    count = array.shape[axis]
    if count == 0:
        raise DataError("interquartile mean", "it needs at least one value", array.shape)
    ordered = np.sort(array, axis=axis)
    kept = np.take(ordered, range(count // 4, count - count // 4), axis=axis)
    return np.asarray(kept.mean(axis=axis), dtype=np.float64)


def stratified_bootstrap_iqm(scores: NDArray[np.float64], *, draws: int, seed: int) -> NDArray[np.float64]:
    """Return the interquartile mean of ``draws`` resampled score tables, float64[draws].

    ``scores`` is float64[runs, tasks]; runs are resampled with replacement within each task, and the interquartile mean
    is taken over all runs and tasks together.
    Source: Agarwal et al. (2021), section 4. Raises: DataError when empty or not finite.
    """
    table = np.asarray(scores, dtype=np.float64)
    if table.ndim != 2 or table.size == 0 or not np.isfinite(table).all():
        raise DataError("scores", "they must be a finite non-empty table [runs, tasks]", table.shape)
    runs, tasks = table.shape
    picks = random_stream(seed, "stratified").integers(0, runs, size=(draws, runs, tasks))
    resampled = table[picks, np.arange(tasks)]
    return interquartile_mean(resampled.reshape(draws, runs * tasks), axis=1)


def seed_band(
    curves: NDArray[np.float64], *, confidence: float, draws: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return centre, lower and upper float64[days] of ``curves`` float64[seeds, days].

    The centre is the interquartile mean over seeds at each day. The band resamples whole curves, so it shows how the
    result depends on the training seed, not how it depends on the market.
    Raises: DataError when empty or not finite.
    """
    table = np.asarray(curves, dtype=np.float64)
    if table.ndim != 2 or table.size == 0 or not np.isfinite(table).all():
        raise DataError("curves", "they must be a finite non-empty table [seeds, days]", table.shape)
    picks = random_stream(seed, "band").integers(0, len(table), size=(draws, len(table)))
    resampled = np.stack([interquartile_mean(table[rows]) for rows in picks])
    tail = (1.0 - confidence) / 2.0
    lower, upper = np.quantile(resampled, [tail, 1.0 - tail], axis=0)
    return interquartile_mean(table), lower, upper
