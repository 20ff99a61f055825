"""EWMA covariance and correlation of N assets, updated in place by one observation a call.

Covariance is about zero: C <- decay C + (1 - decay) r r' (RiskMetrics 1996, section 5.2), started from r r' of the
first observation. The co-movement of the book is watched through two numbers: the mean of the correlations off the
diagonal, which needs no matrix, and the share of the largest eigenvalue, which one or two warm power iterations keep
up to date.

**Refusal.** A row with a value that is not finite is not taken in and answers NaN. So do the first ``warm_bars`` rows,
which weigh too little, and an asset that has never moved, because it has no correlation.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.risk.tail import EWMA_LAMBDA, effective_bars

Floats = NDArray[np.float64]
WARM_TOLERANCE = 0.01  # warm once the first observation weighs less than this
SINGULAR_SHARE = 1e-10  # an asset whose own part of its variance is below this is a combination of the others
LARGEST_RETURN = 1e100  # its square still has room in a float64
_EIGEN_TOLERANCE, _EIGEN_STEPS_MAX, _EIGEN_KICK = 1e-9, 1000, 0.01
_SUM_SQUARED, _SQUARES, _SEEN, _VARIANCES = 0, 1, 2, 3  # places in the state of ``MeanCorrelation``


class MeanCorrelation:
    """Mean off-diagonal correlation of N assets without a matrix, O(N) an observation.

    With z the returns over their EWMA volatility (this observation included, so that no z^2 exceeds 1 / (1 - decay)),
    and E the EWMA: rho = (N E[(sum z)^2] / E[sum z^2] - N) / (N (N - 1)), which lies in [-1 / (N - 1), 1].
    """

    def __init__(self, assets: int, decay: float = EWMA_LAMBDA, warm_bars: int | None = None) -> None:
        self.decay, self.warm_bars = _checked(assets, decay, warm_bars)
        self.assets = assets
        self.state = np.zeros(_VARIANCES + assets)

    def update(self, returns: Floats) -> float:
        """Take in ``returns`` (float64[N]) and return the mean correlation, or NaN by the rules of this module."""
        return float(mean_correlation_step(self.state, returns, self.decay, self.warm_bars))


class EwmaCovariance:
    """EWMA covariance matrix of N assets with the largest eigenvalue of its correlations, O(N^2) an observation."""

    def __init__(self, assets: int, decay: float = EWMA_LAMBDA, warm_bars: int | None = None) -> None:
        self.decay, self.warm_bars = _checked(assets, decay, warm_bars)
        self.assets, self.seen = assets, 0
        self.covariance = np.zeros((assets, assets))
        self._vector = np.full(assets, 1.0 / math.sqrt(assets))

    def update(self, returns: Floats) -> bool:
        """Take in ``returns`` (float64[N]); return False where one of them is not finite and nothing was changed."""
        # The first observation stands for all the weight that a past would have.
        taken = bool(update_covariance(self.covariance, returns, self.decay if self.seen else 0.0))
        self.seen += taken
        return taken

    def correlation(self) -> Floats:
        """Return the correlations, float64[N, N]; NaN in row and column of an asset that has never moved."""
        deviation = np.sqrt(np.diag(self.covariance))
        deviation[deviation == 0] = np.nan
        correlation: Floats = self.covariance / np.outer(deviation, deviation)
        return correlation

    def mean_correlation(self) -> float:
        """Return the mean of the correlations off the diagonal, or NaN by the rules of this module."""
        if self.seen < self.warm_bars:
            return math.nan
        return mean_off_diagonal(self.correlation())

    def eigenvalue_share(self) -> float:
        """Return the largest eigenvalue of the correlations over N, in [1/N, 1], or NaN by the rules of this module.

        Power iteration from the vector of the last call. An error of 1e-9 of the eigenvalue ends it; a small fixed
        kick keeps it from resting on a vector that has ceased to be the first.
        """
        if self.seen < self.warm_bars:
            return math.nan
        return float(largest_eigenvalue(self.covariance, self._vector)) / self.assets


def correlation_path(
    returns: Floats, decay: float = EWMA_LAMBDA, warm_bars: int | None = None
) -> tuple[Floats, Floats]:
    """Return mean correlation (without a matrix) and eigenvalue share after each row of ``returns``.

    Args:
        returns: float64[T, N], oldest first, aligned.
        decay: lambda of the EWMA.
        warm_bars: rows before the first answer; by default as many as leave 1 % of the weight to what came before.

    Returns:
        float64[T] and float64[T]. NaN by the rules of this module; a row that is not finite is skipped.

    Raises:
        ConfigError: fewer than two assets, a decay outside (0, 1), or ``warm_bars`` below 2.
    """
    decay, warm_bars = _checked(returns.shape[1], decay, warm_bars)
    return _path(np.ascontiguousarray(returns, np.float64), decay, warm_bars)


def mean_off_diagonal(correlation: Floats) -> float:
    """Return the mean of ``correlation`` (float64[N, N], N >= 2) off its diagonal."""
    n = len(correlation)
    return float(correlation.sum() - np.trace(correlation)) / (n * (n - 1))


def marchenko_pastur_edge(assets: int, observations: float) -> float:
    """Return the largest eigenvalue that ``assets`` unrelated series show over ``observations`` (1967): (1 + sqrt q)^2.

    For an EWMA the observations are those it weighs, (1 + decay) / (1 - decay).
    """
    return (1.0 + math.sqrt(assets / observations)) ** 2


def _checked(assets: int, decay: float, warm_bars: int | None) -> tuple[float, int]:
    if assets < 2:
        raise ConfigError("correlation", "needs at least two assets", assets)
    if not 0 < decay < 1:
        raise ConfigError("EWMA decay", "must lie strictly between 0 and 1", decay)
    warm = effective_bars(WARM_TOLERANCE, decay) if warm_bars is None else warm_bars
    if warm < 2:
        raise ConfigError("correlation warm-up", "needs at least two bars", warm)
    return decay, warm


def checked_row(returns: Floats, assets: int) -> Floats:
    """Return ``returns`` as float64[N], contiguous. Raises DataError where the shape is another."""
    row = np.ascontiguousarray(returns, np.float64)
    if row.shape != (assets,):
        raise DataError("returns", f"must be one for each of {assets} assets", row.shape)
    return row


@njit(cache=True)
def mean_correlation_step(state: Floats, returns: Floats, decay: float, warm_bars: int) -> float:
    """Take one row into the state of ``MeanCorrelation``; return its answer."""
    n = len(returns)
    if len(state) != _VARIANCES + n:
        raise ValueError("one return for each asset is needed")
    for value in returns:
        if not abs(value) <= LARGEST_RETURN:
            return math.nan
    kept = decay if state[_SEEN] > 0 else 0.0
    total, squares = 0.0, 0.0
    for i in range(n):
        square = returns[i] * returns[i]
        variance = kept * state[_VARIANCES + i] + (1.0 - kept) * square
        state[_VARIANCES + i] = variance
        z = returns[i] / math.sqrt(variance) if variance > 0 else math.nan
        total += z
        squares += z * z
    state[_SEEN] += 1
    if math.isnan(total):
        return math.nan
    kept = decay if state[_SQUARES] > 0 else 0.0
    state[_SUM_SQUARED] = kept * state[_SUM_SQUARED] + (1.0 - kept) * total * total
    state[_SQUARES] = kept * state[_SQUARES] + (1.0 - kept) * squares
    if state[_SEEN] < warm_bars or state[_SQUARES] == 0:
        return math.nan
    ratio: float = state[_SUM_SQUARED] / state[_SQUARES]
    return (ratio - 1.0) / (n - 1)


@njit(cache=True)
def update_covariance(covariance: Floats, returns: Floats, decay: float) -> bool:
    """Set C <- decay C + (1 - decay) r r' in place; return False and leave it where a return is not finite."""
    n = len(returns)
    if covariance.shape != (n, n):
        raise ValueError("one return for each asset is needed")
    for value in returns:
        if not abs(value) <= LARGEST_RETURN:
            return False
    gain = 1.0 - decay
    for i in range(n):
        for j in range(n):
            # r_i r_j first: the product commutes, so that the matrix stays symmetric to the last bit.
            covariance[i, j] = decay * covariance[i, j] + gain * (returns[i] * returns[j])
    return True


@njit(cache=True)
def largest_eigenvalue(covariance: Floats, vector: Floats) -> float:
    """Return the largest eigenvalue of the correlations of ``covariance``; NaN where a variance is not positive.

    Args:
        covariance: float64[N, N].
        vector: float64[N] of unit length, where to start; overwritten by the eigenvector.
    """
    n = len(vector)
    inverse = np.empty(n)
    for i in range(n):
        if not covariance[i, i] > 0:
            return math.nan
        inverse[i] = 1.0 / math.sqrt(covariance[i, i])
    sign = _EIGEN_KICK / math.sqrt(n)
    for i in range(n):
        vector[i] += sign if (i * (i + 3)) % 4 < 2 else -sign
    _to_unit_length(vector)
    image, before = np.empty(n), 0.0
    for _ in range(_EIGEN_STEPS_MAX):
        for j in range(n):
            image[j] = 0.0
        for i in range(n):
            weight = inverse[i] * vector[i]
            for j in range(n):
                image[j] += weight * covariance[i, j]
        value = 0.0
        for i in range(n):
            image[i] *= inverse[i]
            value += image[i] * vector[i]
        for i in range(n):
            vector[i] = image[i]
        _to_unit_length(vector)
        if abs(value - before) <= _EIGEN_TOLERANCE * value:
            return value
        before = value
    return before


@njit(cache=True)
def _to_unit_length(vector: Floats) -> None:
    length = 0.0
    for value in vector:
        length += value * value
    length = math.sqrt(length)
    for i in range(len(vector)):
        vector[i] /= length


@njit(cache=True)
def _path(returns: Floats, decay: float, warm_bars: int) -> tuple[Floats, Floats]:
    rows, n = returns.shape
    means, shares = np.full(rows, np.nan), np.full(rows, np.nan)
    state, covariance = np.zeros(_VARIANCES + n), np.zeros((n, n))
    vector, seen = np.full(n, 1.0 / math.sqrt(n)), 0
    for t in range(rows):
        means[t] = mean_correlation_step(state, returns[t], decay, warm_bars)
        if update_covariance(covariance, returns[t], decay if seen else 0.0):
            seen += 1
            if seen >= warm_bars:
                shares[t] = largest_eigenvalue(covariance, vector) / n
    return means, shares
