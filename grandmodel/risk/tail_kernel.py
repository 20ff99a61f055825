"""All six methods of ``tail`` in compiled code, over one window and rolling along a series.

``six_tails`` computes what the functions of ``tail.METHODS`` compute, in their order, for several levels at once: the
moments and the EWMA recursion are shared, and the order statistics of a lower level contain those of a higher one. The
readable methods are its slow twins.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from grandmodel.core.errors import ConfigError
from grandmodel.risk.tail import (
    DEGREES,
    EWMA_LAMBDA,
    METHODS,
    VARIANCE_RANGE,
    cornish_fisher_is_monotone,
    normal_tail,
    returns_min,
    student_draws,
    tail_count,
)

Floats = NDArray[np.float64]
HISTORICAL, PARAMETRIC, CORNISH_FISHER, MONTE_CARLO, FILTERED_HISTORICAL, EWMA_NORMAL = range(6)
_DEGREES = np.array(DEGREES)
_LOWEST, _HIGHEST = VARIANCE_RANGE
# Sums in any order and fused multiply-adds: four to eight times as fast, another last digit, NaN and infinity as ever.
_ANY_ORDER = {"reassoc", "nsz", "contract"}
_is_monotone = njit(cache=True)(cornish_fisher_is_monotone)


class Constants(NamedTuple):
    """What a window length and levels fix once, read by the kernel. L levels, ascending."""

    counts: NDArray[np.int64]  # [L] size of the tail of the window
    normal: Floats  # [L, 3] quantile, VaR and ES of the standard normal
    draws: Floats  # [L, len(DEGREES), 2] VaR and ES of the Monte Carlo draws
    decay: float


@lru_cache(maxsize=32)
def tail_constants(window: int, levels: tuple[float, ...], decay: float = EWMA_LAMBDA, seed: int = 0) -> Constants:
    """Return the constants of ``window`` returns at ``levels``.

    Raises:
        ConfigError: the levels are not ascending in (0.5, 1), the window is too short for the highest, or the decay
            is outside (0, 1).
    """
    if not levels or list(levels) != sorted(set(levels)):
        raise ConfigError("VaR levels", "must be ascending and at least one", levels)
    if not 0 < decay < 1:
        raise ConfigError("EWMA decay", "must lie strictly between 0 and 1", decay)
    counts = np.array([tail_count(window, level) for level in levels])
    if window < returns_min(levels[-1]):
        rule = f"needs {returns_min(levels[-1])} returns for level {levels[-1]}"
        raise ConfigError("VaR window", rule, window, "Lengthen the window or lower the level")
    normal = np.array([(-normal_tail(level)[0], *normal_tail(level)) for level in levels])
    draws = np.stack([student_draws(level, seed) for level in levels])
    return Constants(counts, normal, draws, decay)


def rolling_var(
    returns: Floats, level: float, method: str, window: int, decay: float = EWMA_LAMBDA
) -> tuple[Floats, Floats]:
    """Return the VaR and ES of one method before each return, from the ``window`` returns ahead of it.

    Args:
        returns: float64[n], oldest first.
        level: confidence, in (0.5, 1).
        method: a name of ``tail.METHODS``.
        window: returns per forecast.
        decay: lambda of the EWMA.

    Returns:
        VaR and ES, float64[n] each, positive fractions. Entry t uses ``returns[t - window : t]`` alone; it is NaN
        where those are too few, hold a value that is not finite, or do not vary.

    Raises:
        ConfigError: unknown method, or what ``tail_constants`` refuses.
    """
    if method not in METHODS:
        raise ConfigError("VaR method", f"must be one of {', '.join(METHODS)}", method)
    constants = tail_constants(window, (level,), decay)
    out, _ = _rolling(np.ascontiguousarray(returns, np.float64), window, constants, list(METHODS).index(method))
    return out[:, 0, 0, 0].copy(), out[:, 0, 0, 1].copy()


def rolling_tails(
    returns: Floats, levels: tuple[float, ...], window: int, decay: float = EWMA_LAMBDA
) -> tuple[Floats, NDArray[np.bool_]]:
    """Return all six methods before each return, and whether Cornish-Fisher was inside its domain.

    Args and NaN rule as ``rolling_var``.

    Returns:
        float64[n, 6, L, 2] in the order of ``tail.METHODS``, ``levels``, (VaR, ES); bool[n].
    """
    constants = tail_constants(window, levels, decay)
    tails, in_domain = _rolling(np.ascontiguousarray(returns, np.float64), window, constants, -1)
    return tails, in_domain


@njit(cache=True)
def _rolling(returns: Floats, window: int, constants: Constants, method: int) -> tuple[Floats, NDArray[np.bool_]]:
    """Roll one method along, or all where ``method`` is -1."""
    n, levels = len(returns), len(constants.counts)
    out = np.full((n, 6 if method < 0 else 1, levels, 2), np.nan)
    in_domain = np.zeros(n, np.bool_)
    scratch = np.empty((2, window))
    six = np.empty((6, levels, 2))
    bad, changed = -1, 0
    for t in range(n):
        # The newest return is t - 1: `bad` and `changed` are the last places that spoil or save a window.
        if t > 0:
            if not math.isfinite(returns[t - 1]):
                bad = t - 1
            if t > 1 and returns[t - 1] != returns[t - 2]:
                changed = t - 1
        if t < window or bad >= t - window or changed <= t - window:
            continue
        past = returns[t - window : t]
        in_domain[t] = _tails(past, constants, method, scratch, six)
        for place in range(out.shape[1]):
            for row in range(levels):
                for number in range(2):
                    out[t, place, row, number] = six[max(method, place), row, number]
    return out, in_domain


@njit(cache=True)
def six_tails(window: Floats, constants: Constants, scratch: Floats, out: Floats) -> bool:
    """Write VaR and ES of all methods for a finite ``window`` that varies; return whether Cornish-Fisher is monotone.

    What ``tail`` refuses is NaN here too: a window out of range, an EWMA volatility that has run out, fewer moves than
    the tail has places, a VaR that is not positive.

    Args:
        window: float64[T], oldest first, contiguous.
        constants: of T and the levels.
        scratch: float64[2, T].
        out: float64[6, L, 2], written.
    """
    return _tails(window, constants, -1, scratch, out)


@njit(cache=True)
def _tails(window: Floats, constants: Constants, method: int, scratch: Floats, out: Floats) -> bool:
    """Do what ``six_tails`` does, or as little of it as one method needs."""
    mean = _sum(window) / len(window)
    second, third, fourth = _power_sums(window, mean)
    variance = second / len(window)
    if not _LOWEST <= variance <= _HIGHEST:
        _refuse(out, 0)
        return False
    in_domain = _moment_methods(len(window), mean, second, third, fourth, constants, out)
    if method in (-1, HISTORICAL):
        _tail_of(window, mean, math.sqrt(variance), constants.counts, 1.0, scratch[1], out[HISTORICAL])
    if method < 0 or method >= MONTE_CARLO:
        _filtered_methods(window, constants, method in (-1, FILTERED_HISTORICAL), scratch, out)
    _refuse_no_loss(window, constants.counts, out)
    return in_domain


@njit(cache=True)
def _refuse(out: Floats, first: int) -> None:
    """Write NaN for the methods from ``first`` on."""
    for method in range(first, out.shape[0]):
        for row in range(out.shape[1]):
            out[method, row, 0] = out[method, row, 1] = math.nan


@njit(cache=True)
def _refuse_no_loss(window: Floats, counts: NDArray[np.int64], out: Floats) -> None:
    """Write NaN where the tail has more places than the window has moves, and where a VaR is not positive."""
    moves = 0
    for t in range(len(window)):
        moves += window[t] != 0.0
    for method in range(out.shape[0]):
        for row in range(out.shape[1]):
            if moves < counts[row] or not out[method, row, 0] > 0.0:
                out[method, row, 0] = out[method, row, 1] = math.nan


@njit(cache=True)
def _moment_methods(
    n: int, mean: float, second: float, third: float, fourth: float, constants: Constants, out: Floats
) -> bool:
    """Write parametric and Cornish-Fisher from the sums of powers; return whether the latter is monotone."""
    second /= n
    deviation = math.sqrt(second)
    sample_deviation = math.sqrt(second * n / (n - 1))
    skew = third / n / (second * deviation)
    kurtosis = fourth / n / (second * second) - 3.0
    for row in range(len(constants.normal)):
        z, var, es = constants.normal[row]
        out[PARAMETRIC, row, 0] = var * sample_deviation - mean
        out[PARAMETRIC, row, 1] = es * sample_deviation - mean
        bend = (z * z * z - 3 * z) * kurtosis / 24 - (2 * z * z * z - 5 * z) * skew * skew / 36
        quantile = z + (z * z - 1) * skew / 6 + bend
        bend = (z * z - 1) * kurtosis / 24 - (2 * z * z - 1) * skew * skew / 36
        out[CORNISH_FISHER, row, 0] = -mean - deviation * quantile
        out[CORNISH_FISHER, row, 1] = -mean + deviation * es * (1 + z * skew / 6 + bend)
    return bool(_is_monotone(skew, kurtosis))


@njit(cache=True)
def _filtered_methods(window: Floats, constants: Constants, with_tail: bool, scratch: Floats, out: Floats) -> None:
    """Write EWMA-normal, Monte Carlo and, where asked for, filtered historical."""
    n, shapes = len(window), scratch[0]
    variance, lowest = _recursion(window, constants.decay, shapes)
    if not lowest >= _LOWEST:
        _refuse(out, MONTE_CARLO)
        return
    _standardise(window, shapes)
    second, _, fourth = _power_sums(shapes, 0.0)
    second /= n
    excess = fourth / n / (second * second) - 3.0
    degrees = 4.0 + 6.0 / excess if excess > 0 else math.inf
    rung = 0
    while rung + 1 < len(_DEGREES) and _DEGREES[rung + 1] <= degrees:
        rung += 1
    volatility, spread = math.sqrt(variance), math.sqrt(second)
    for row in range(len(constants.normal)):
        for number in range(2):
            out[MONTE_CARLO, row, number] = constants.draws[row, rung, number] * spread * volatility
            out[EWMA_NORMAL, row, number] = constants.normal[row, 1 + number] * volatility
    if with_tail:
        _tail_of(shapes, 0.0, spread, constants.counts, volatility, scratch[1], out[FILTERED_HISTORICAL])


@njit(cache=True, fastmath=_ANY_ORDER)
def _sum(values: Floats) -> float:
    total = 0.0
    for i in range(len(values)):
        total += values[i]
    return total


@njit(cache=True, fastmath=_ANY_ORDER)
def _power_sums(values: Floats, centre: float) -> tuple[float, float, float]:
    """Return the sums of the second, third and fourth powers of ``values`` about ``centre``."""
    second, third, fourth = 0.0, 0.0, 0.0
    for i in range(len(values)):  # by index: over an iterator it would not become vectors
        centred = values[i] - centre
        squared = centred * centred
        second += squared
        third += squared * centred
        fourth += squared * squared
    return second, third, fourth


@njit(cache=True, fastmath=_ANY_ORDER)
def _recursion(window: Floats, decay: float, before: Floats) -> tuple[float, float]:
    """Write the EWMA variance before each bar, from the mean square on; return the one after the last and the least."""
    variance = _power_sums(window, 0.0)[0] / len(window)
    gain = 1.0 - decay
    for t in range(len(window)):
        before[t] = gain * (window[t] * window[t])
    for t in range(len(window)):  # what waits for the step before is one fused multiply-add
        gained = before[t]
        before[t] = variance
        variance = decay * variance + gained
    lowest = variance
    for t in range(len(before)):
        lowest = before[t] if before[t] < lowest else lowest
    return variance, lowest


@njit(cache=True, error_model="numpy")
def _standardise(window: Floats, variances: Floats) -> None:
    """Turn variances into the window in units of their roots; no check for zero breaks the vectors up."""
    for t in range(len(window)):
        variances[t] = window[t] / math.sqrt(variances[t])


@njit(cache=True)
def _tail_of(
    values: Floats,
    centre: float,
    deviation: float,
    counts: NDArray[np.int64],
    scale: float,
    scratch: Floats,
    out: Floats,
) -> None:
    """Write ``scale`` times VaR and ES of the order statistics of ``values``, per count (descending)."""
    found, reach = 0, 1.2
    while found < counts[0]:
        # The tail lies among the values beyond a bound; the bound is moved in until it holds enough of them.
        if reach < -1.0:
            found = len(values)
            for i in range(found):
                scratch[i] = values[i]
            break
        bound, found = centre - reach * deviation, 0
        for value in values:
            scratch[found] = value
            found += value <= bound
        reach -= 0.4
    for row in range(len(counts)):
        _part(scratch, found, counts[row] - 1)
        found = counts[row]
        total = 0.0
        for place in range(found):
            total += scratch[place]
        out[row, 0] = -scale * scratch[found - 1]
        out[row, 1] = -scale * total / found


@njit(cache=True)
def _part(values: Floats, found: int, place: int) -> None:
    """Move the ``place`` smallest of the first ``found`` values before ``place`` (Hoare 1961)."""
    left, right = 0, found - 1
    while left < right:
        pivot, i, j = values[place], left, right
        while i <= j:
            while values[i] < pivot:
                i += 1
            while pivot < values[j]:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if j < place:
            left = i
        if place < i:
            right = j
