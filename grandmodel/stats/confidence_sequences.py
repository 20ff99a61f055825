"""Evidence that may be looked at after every observation, as often as one likes, and acted on at once.

A fixed-sample test that is looked at daily rejects a true hypothesis far more often than it says. What stands here is
built on non-negative supermartingales that begin at 1: by Ville's inequality (1939) such a process ever reaches 1 / a
with probability at most a, whenever one stops. Evidence is told as its natural logarithm; it rejects from
``log(1 / alpha)`` on.

Three assumptions, one for each kind of number:

- **sub-Gaussian** with a known scale: ``sub_gaussian_sequence`` (Robbins 1970; Howard et al. 2021, equation 14).
- **symmetric** around the hypothesis, of any scale and tail: ``log_evidence_symmetric``. The difference of two
  exchangeable quantities is symmetric, so this is the test of paired differences (de la Pena 1999; Howard et al. 2020,
  lemma 3).
- **bounded**: ``log_evidence_bounded`` and ``betting_sequence`` (Waudby-Smith and Ramdas 2023, theorem 3).

All values must be independent of, or at least unpredictable from, those before them in the sense named above; days, and
not the fills within a day, are the observations to give.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import lambertw, log_ndtr, logsumexp

from grandmodel.core.errors import ConfigError, DataError

Floats = NDArray[np.float64]

BET_MAX = 0.5  # largest share of the capital that one observation may take, in ``betting_sequence``
BET_STEPS = 20  # of the grid of constant bets in ``log_evidence_bounded``


def mixture_precision(variance_time: float, alpha: float) -> float:
    """Return the precision rho of the mixing normal that makes the boundary narrowest at ``variance_time``.

    It chooses where the evidence is strongest; validity does not depend on it. Source: Howard et al. (2021),
    proposition 3: variance_time / rho = -W(-alpha^2 / e) - 1 on the lower branch of Lambert's function.

    Raises:
        ConfigError: ``variance_time`` is not positive, or ``alpha`` lies outside (0, 1).
    """
    _check_alpha(alpha)
    if not (math.isfinite(variance_time) and variance_time > 0.0):
        raise ConfigError("variance_time", "must be positive and finite", variance_time)
    return variance_time / (-float(lambertw(-(alpha**2) / math.e, -1).real) - 1.0)


def normal_mixture_radius(variance_time: Floats, alpha: float, precision: float) -> Floats:
    """Return the bound u(v), float64[T], that ``|sum of deviations|`` ever crosses with probability at most ``alpha``.

    u(v) = sqrt((v + rho) log((v + rho) / (rho alpha^2))). Source: Howard et al. (2021), equation 14.

    Args:
        variance_time: float64[T], sum of the variances of the observations so far.
        alpha: probability of an error at any time, in (0, 1).
        precision: rho > 0, see ``mixture_precision``.
    """
    _check_alpha(alpha)
    _check_precision(precision)
    widened = np.asarray(variance_time, dtype=np.float64) + precision
    return np.asarray(np.sqrt(widened * np.log(widened / (precision * alpha**2))))


def sub_gaussian_sequence(values: Floats, sigma: float, alpha: float, precision: float) -> tuple[Floats, Floats]:
    """Return the lower and upper bounds, float64[T] each, of the mean after every observation.

    Both hold at all times together with probability ``1 - alpha``. Not intersected: a later interval may be wider.

    Args:
        values: float64[T], sub-Gaussian around their mean with scale ``sigma``.
        sigma: their standard deviation or more; half the width of the range is always enough.
        alpha: probability of an error at any time.
        precision: rho, see ``mixture_precision``.

    Raises:
        DataError: nothing given, or a value is not finite.
        ConfigError: ``sigma`` or ``precision`` is not positive, or ``alpha`` lies outside (0, 1).
    """
    found = _finite(values)
    if not sigma > 0.0:
        raise ConfigError("sigma", "must be positive", sigma)
    count = np.arange(1, len(found) + 1, dtype=np.float64)
    mean = np.cumsum(found) / count
    radius = normal_mixture_radius(np.asarray(sigma**2 * count), alpha, precision) / count
    return mean - radius, mean + radius


def log_evidence_symmetric(values: Floats, precision: float) -> Floats:
    """Return the log evidence, float64[T], that values are larger than symmetric around zero or below would be.

    With S the sum and V the sum of squares, ``exp(lambda S - lambda^2 V / 2)`` is a supermartingale for every
    lambda >= 0 when each value is symmetric around a point at or below zero given those before it; mixed over a half
    normal of precision rho this is ``2 sqrt(rho / (V + rho)) exp(S^2 / (2 (V + rho))) Phi(S / sqrt(V + rho))``. Neither
    scale nor variance need exist. Source: de la Pena (1999), theorem 6.2; Howard et al. (2020), lemma 3;
    half-normal mixture of Howard et al. (2021), proposition 6.

    Args:
        values: float64[T]; subtract a margin first to ask whether they exceed it.
        precision: rho, in squared units of the values.

    Raises:
        DataError: nothing given, or a value is not finite.
        ConfigError: ``precision`` is not positive.
    """
    found = _finite(values)
    _check_precision(precision)
    total, widened = np.cumsum(found), np.cumsum(found**2) + precision
    score = total / np.sqrt(widened)
    return np.asarray(math.log(2.0) + 0.5 * np.log(precision / widened) + score**2 / 2.0 + log_ndtr(score))


def log_evidence_bounded(values: Floats, mean_max: float) -> Floats:
    """Return the log evidence, float64[T], that the mean of values in [0, 1] exceeds ``mean_max``.

    Nineteen gamblers bet on every value being above ``mean_max``, each with a constant share, 1/20 to 19/20, of the bet
    that a value of zero would ruin; the odds are even if the mean is ``mean_max``. Their mean capital is a
    supermartingale, and grows nearly as that of the best of them. Source: grid Kelly bets, Waudby-Smith and Ramdas
    (2023), appendix B.

    Args:
        values: float64[T] in [0, 1], with a conditional mean that the hypothesis holds at or below ``mean_max``.
        mean_max: in (0, 1).

    Raises:
        DataError: nothing given, or a value outside [0, 1] or not finite.
        ConfigError: ``mean_max`` outside (0, 1).
    """
    found = _unit(values)
    if not 0.0 < mean_max < 1.0:
        raise ConfigError("mean_max", "must lie in (0, 1)", mean_max)
    bets = np.arange(1, BET_STEPS) / BET_STEPS / mean_max
    capital = np.cumsum(np.log1p(bets * (found[:, None] - mean_max)), axis=0)
    return np.asarray(logsumexp(capital, axis=1) - math.log(len(bets)))


def betting_sequence(values: Floats, alpha: float, *, grid: int = 1001) -> tuple[Floats, Floats]:
    """Return the lower and upper bounds, float64[T] each, of the mean of values in [0, 1] after every observation.

    A candidate mean is excluded for good once the capital of a gambler against it reached ``1 / alpha``; half of it is
    bet upwards, half downwards, and the larger part counts. Candidates form a grid, and a bound is the candidate beside
    the last one kept, so that the grid only widens. Source: Waudby-Smith and Ramdas (2023), theorem 3, with the
    predictable plug-in of equation 26 for bets.

    Raises:
        DataError: nothing given, or a value outside [0, 1] or not finite.
        ConfigError: ``alpha`` outside (0, 1), or fewer than 3 candidates.
    """
    found = _unit(values)
    _check_alpha(alpha)
    if grid < 3:
        raise ConfigError("grid", "must hold 3 candidates or more", grid)
    means = np.linspace(0.0, 1.0, grid)
    with np.errstate(divide="ignore"):
        up_max, down_max = BET_MAX / means, BET_MAX / (1.0 - means)
    up, down, kept = np.zeros(grid), np.zeros(grid), np.ones(grid, dtype=np.bool_)
    lower, upper = np.empty(len(found)), np.empty(len(found))
    for t, (value, bet) in enumerate(zip(found, _plug_in_bets(found, alpha), strict=True)):
        up += np.log1p(np.minimum(bet, up_max) * (value - means))
        down += np.log1p(-np.minimum(bet, down_max) * (value - means))
        capital = np.maximum(up, down) - math.log(2.0)
        still = kept & (capital < -math.log(alpha))
        kept = still if still.any() else kept & (capital == capital[kept].min())
        inside = np.flatnonzero(kept)
        lower[t], upper[t] = means[max(inside[0] - 1, 0)], means[min(inside[-1] + 1, grid - 1)]
    return np.maximum.accumulate(lower), np.minimum.accumulate(upper)


def _plug_in_bets(values: Floats, alpha: float) -> Floats:
    """Return float64[T]: each from the values before it, sqrt(2 log(2 / alpha) / (variance t log(1 + t)))."""
    count = np.arange(1, len(values) + 1)
    mean = (0.5 + np.cumsum(values)) / (count + 1)
    variance = (0.25 + np.cumsum((values - mean) ** 2)) / (count + 1)
    before = np.concatenate([[0.25], variance[:-1]])
    return np.asarray(np.sqrt(2.0 * math.log(2.0 / alpha) / (before * count * np.log1p(count))))


def _finite(values: Floats) -> Floats:
    found = np.asarray(values, dtype=np.float64)
    if found.ndim != 1 or len(found) == 0 or not np.isfinite(found).all():
        raise DataError("observations", "must be one row of finite numbers, one at least", found)
    return found


def _unit(values: Floats) -> Floats:
    found = _finite(values)
    if found.min() < 0.0 or found.max() > 1.0:
        raise DataError("observations", "must lie in [0, 1]", (float(found.min()), float(found.max())))
    return found


def _check_alpha(alpha: float) -> None:
    if not 0.0 < alpha < 1.0:
        raise ConfigError("alpha", "must lie in (0, 1)", alpha)


def _check_precision(precision: float) -> None:
    if not (math.isfinite(precision) and precision > 0.0):
        raise ConfigError("precision", "must be positive and finite", precision)
