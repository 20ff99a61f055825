"""Value at risk and expected shortfall of one series of returns, or of a book's P&L, by six methods.

Losses are positive fractions of equity, one bar of the series ahead. With tail probability a = 1 - level and n
returns, the historical VaR is the negative of the k-th smallest return, k = ceil(n a), and ES the negative mean of the
k smallest: no interpolation, and under exchangeable returns a new one falls below with probability k / (n + 1).
Interpolating conventions give a smaller VaR. Filtered historical and Monte Carlo take the same order statistic.

**EWMA.** s[t + 1]^2 = decay s[t]^2 + (1 - decay) r[t]^2. The methods start it from the mean square of all n returns,
so that one quiet or wild first bar does not decide how the bars after it are standardised; a number then depends on
the window alone and never on what was asked before.

**Refusal.** A return that is not finite, fewer than ``returns_min(level)`` of them, fewer moves than the tail has
places, returns that do not vary or are out of all range, and (for the methods with an EWMA) a volatility that has run
out give NaN and the reason. So does a VaR that is not positive: it promises that nothing will be lost. Whoever acts on
a risk number that is NaN must only reduce (``state.fail_closed``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from grandmodel.core.errors import ConfigError
from grandmodel.core.random import random_stream

EWMA_LAMBDA = 0.94  # RiskMetrics, daily
LEVELS = (0.95, 0.975, 0.99)
MONTE_CARLO_DRAWS = 10_000
# Degrees of freedom that Monte Carlo draws from: 4 + 6 / excess kurtosis, rounded down to the next of these.
DEGREES = (4.1, 4.25, 4.5, 4.75, 5.0, 5.5, 6.0, 7.0, 8.0, 10.0, 12.0, 16.0, 24.0, 48.0, 1000.0)
OUTSIDE_DOMAIN = "skewness and kurtosis lie outside the domain where the Cornish-Fisher expansion is monotone"
NO_VARIATION = "the returns do not vary"
OUT_OF_RANGE = "the returns are too large or too small for their moments"
TOO_STILL = "fewer returns than the tail has places differ from zero"
NO_LOSS = "the value at risk is not positive"
STILL = "the volatility has run out: nothing has moved for too long"
# Of a variance whose square still is a number: (1e-70)^4 and (1e70)^4 are.
VARIANCE_RANGE = (1e-140, 1e140)


@dataclass(frozen=True)
class TailRisk:
    """VaR and ES as positive fractions of equity; NaN if unknown."""

    var_frac: float
    es_frac: float
    level: float
    n: int  # returns used
    reason: str = ""  # why the numbers are NaN, or what speaks against them where they are not
    horizon_bars: int = 1  # of the bars that the returns span


def historical(returns: NDArray[np.float64], level: float) -> TailRisk:
    """Return VaR and ES from the order statistics of ``returns`` (float64[n], oldest first)."""
    if refused := _refused(returns, level):
        return refused
    return _told(*_order_statistics(returns, level), level, len(returns))


def parametric(returns: NDArray[np.float64], level: float) -> TailRisk:
    """Return VaR and ES of the normal with the mean and the sample deviation (n - 1) of ``returns`` (float64[n])."""
    if refused := _refused(returns, level):
        return refused
    mean, deviation = float(returns.mean()), float(returns.std(ddof=1))
    var, es = normal_tail(level)
    return _told(var * deviation - mean, es * deviation - mean, level, len(returns))


def cornish_fisher(returns: NDArray[np.float64], level: float) -> TailRisk:
    """Return VaR and ES of the Cornish-Fisher expansion (1938) in the moments of ``returns`` (float64[n]).

    Its quantile is x = z + (z^2 - 1) S / 6 + (z^3 - 3 z) K / 24 - (2 z^3 - 5 z) S^2 / 36 in units of the population
    deviation, with skewness S and excess kurtosis K; ES is the mean of x over the tail (Maillard 2012, in closed
    form because the terms are Hermite polynomials). Outside ``cornish_fisher_is_monotone`` a higher level can give a
    lower VaR: the number is returned with the reason, and must not be relied on alone.
    """
    if refused := _refused(returns, level):
        return refused
    centred = returns - returns.mean()
    deviation = math.sqrt(float(np.mean(centred**2)))
    skew = float(np.mean((centred / deviation) ** 3))
    kurtosis = float(np.mean((centred / deviation) ** 4)) - 3.0
    z, density = NormalDist().inv_cdf(1.0 - level), _density_ratio(level)
    quantile = z + (z * z - 1) * skew / 6 + (z**3 - 3 * z) * kurtosis / 24 - (2 * z**3 - 5 * z) * skew**2 / 36
    tail_mean = -density * (1 + z * skew / 6 + (z * z - 1) * kurtosis / 24 - (2 * z * z - 1) * skew**2 / 36)
    mean = float(returns.mean())
    reason = "" if cornish_fisher_is_monotone(skew, kurtosis) else OUTSIDE_DOMAIN
    return _told(-mean - quantile * deviation, -mean - tail_mean * deviation, level, len(returns), reason)


def monte_carlo(
    returns: NDArray[np.float64],
    level: float,
    decay: float = EWMA_LAMBDA,
    seed: int = 0,
    draws: int = MONTE_CARLO_DRAWS,
) -> TailRisk:
    """Return VaR and ES of simulated Student t shocks to the EWMA volatility forecast.

    The law is matched to the mean square and the fourth moment of the standardised ``returns``. A linear book under an
    elliptical law moves along one direction only, its own, so the draws are stratified along that direction: one in
    each of ``draws`` equally likely strata. Ten thousand keep an error of about a thousandth of VaR, where as many
    plain draws keep 1.6 %.

    Args:
        returns: float64[n], oldest first.
        level: confidence, in (0.5, 1).
        decay: lambda of the EWMA, in (0, 1).
        seed: of the random stream that places each draw within its stratum.
        draws: how many.
    """
    volatility = _window_volatility(returns, decay)
    if refused := _refused(returns, level, volatility):
        return refused
    squares = (returns / volatility[:-1]) ** 2
    excess = float(np.mean(squares**2) / np.mean(squares) ** 2) - 3.0
    scale = float(volatility[-1]) * math.sqrt(float(np.mean(squares)))
    var, es = student_draws(level, seed, draws)[degrees_rung(excess)]
    return _told(float(var) * scale, float(es) * scale, level, len(returns))


def filtered_historical(returns: NDArray[np.float64], level: float, decay: float = EWMA_LAMBDA) -> TailRisk:
    """Return VaR and ES from standardised returns, scaled to the volatility forecast (Barone-Adesi et al. 1999).

    Args:
        returns: float64[n], oldest first. All of them drive the EWMA and make the tail.
        level: confidence, in (0.5, 1).
        decay: lambda of the EWMA, in (0, 1).
    """
    volatility = _window_volatility(returns, decay)
    if refused := _refused(returns, level, volatility):
        return refused
    var, es = _order_statistics(returns / volatility[:-1], level)
    return _told(var * float(volatility[-1]), es * float(volatility[-1]), level, len(returns))


def ewma_normal(returns: NDArray[np.float64], level: float, decay: float = EWMA_LAMBDA) -> TailRisk:
    """Return VaR and ES of a zero-mean normal with the EWMA volatility forecast after ``returns`` (float64[n])."""
    volatility = _window_volatility(returns, decay)
    if refused := _refused(returns, level, volatility):
        return refused
    deviation = float(volatility[-1])
    var, es = normal_tail(level)
    return _told(var * deviation, es * deviation, level, len(returns))


METHODS: dict[str, Callable[[NDArray[np.float64], float], TailRisk]] = {
    "historical": historical,
    "parametric": parametric,
    "cornish_fisher": cornish_fisher,
    "monte_carlo": monte_carlo,
    "filtered_historical": filtered_historical,
    "ewma_normal": ewma_normal,
}


def ewma_volatility(
    returns: NDArray[np.float64], decay: float = EWMA_LAMBDA, seed_variance: float | None = None
) -> NDArray[np.float64]:
    """Return the volatility forecast before each return and after the last one.

    Entry t is known before return t: s[t + 1]^2 = decay s[t]^2 + (1 - decay) r[t]^2.

    Args:
        returns: float64[n], oldest first; NaN spreads to all later entries.
        decay: in (0, 1).
        seed_variance: s[0]^2; r[0]^2 where none is given.

    Returns:
        float64[n + 1]; its last entry is the forecast for the next bar.

    Raises:
        ConfigError: decay is outside (0, 1) or there is no return.
    """
    if not 0 < decay < 1:
        raise ConfigError("EWMA decay", "must lie strictly between 0 and 1", decay)
    if len(returns) == 0:
        raise ConfigError("EWMA volatility", "needs at least one return", 0)
    first = float(returns[0]) ** 2 if seed_variance is None else seed_variance
    return np.sqrt(_ewma_variance(np.ascontiguousarray(returns, dtype=np.float64), decay, first))


def effective_bars(tolerance: float, decay: float = EWMA_LAMBDA) -> int:
    """Return after how many bars an EWMA has ``tolerance`` of its weight left (RiskMetrics 1996, table 5.7)."""
    return round(math.log(tolerance) / math.log(decay))


def cornish_fisher_is_monotone(skew: float, excess_kurtosis: float) -> bool:
    """Return whether the Cornish-Fisher quantile rises everywhere (Maillard 2012, eq. 6); False on NaN."""
    spread = excess_kurtosis / 8 - skew**2 / 6
    return skew**2 / 9 - 4 * spread * (1 - spread - skew**2 / 36) <= 0


def normal_tail(level: float) -> tuple[float, float]:
    """Return VaR and ES of the standard normal at ``level``."""
    return NormalDist().inv_cdf(level), _density_ratio(level)


def student_tail(level: float, degrees: float) -> tuple[float, float]:
    """Return VaR and ES at ``level`` of Student's t with ``degrees`` (> 2) of freedom, scaled to unit variance."""
    quantile = float(stdtrit(degrees, level))
    log_peak = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - 0.5 * math.log(math.pi * degrees)
    density = math.exp(log_peak - (degrees + 1) / 2 * math.log1p(quantile**2 / degrees))
    upper = float(stdtr(degrees, -quantile))
    scale = math.sqrt((degrees - 2) / degrees)
    return quantile * scale, density / upper * (degrees + quantile**2) / (degrees - 1) * scale


@lru_cache(maxsize=32)
def student_draws(level: float, seed: int, draws: int = MONTE_CARLO_DRAWS) -> NDArray[np.float64]:
    """Return float64[len(DEGREES), 2]: VaR and ES of ``draws`` stratified unit-variance draws, per degrees of freedom.

    Draw i lies at a random place of stratum (i / draws, (i + 1) / draws), so the draws come sorted and only those of
    the tail are made. The same places serve all degrees of freedom.
    """
    places = (np.arange(draws) + random_stream(seed, "monte carlo strata").random(draws)) / draws
    tail = places[: tail_count(draws, level)]
    rows = np.array([stdtrit(degrees, tail) * math.sqrt((degrees - 2) / degrees) for degrees in DEGREES])
    multipliers = np.stack([-rows[:, -1], -rows.mean(axis=1)], axis=1)
    multipliers.setflags(write=False)
    return multipliers


def degrees_rung(excess_kurtosis: float) -> int:
    """Return the index in ``DEGREES`` whose t law has at least ``excess_kurtosis``, or 0 where none has."""
    degrees = 4.0 + 6.0 / excess_kurtosis if excess_kurtosis > 0 else math.inf
    return max(sum(rung <= degrees for rung in DEGREES) - 1, 0)


def tail_count(n: int, level: float) -> int:
    """Return k = ceil(n (1 - level)), the size of the tail. Raises ConfigError on a level outside (0.5, 1)."""
    if not 0.5 < level < 1:
        raise ConfigError("VaR level", "must lie strictly between 0.5 and 1", level)
    # 1 - 0.99 is a little more than 0.01: without the allowance, 100 returns would have a tail of two.
    return math.ceil(n * (1.0 - level) - 1e-9)


def returns_min(level: float) -> int:
    """Return the fewest returns that give a number: as many as expect one of them in the tail."""
    return math.ceil(1.0 / (1.0 - level) - 1e-9)


def _told(var_frac: float, es_frac: float, level: float, n: int, reason: str = "") -> TailRisk:
    """Return the two numbers, or NaN where VaR is not positive."""
    if not var_frac > 0.0:
        return TailRisk(math.nan, math.nan, level, n, reason or NO_LOSS)
    return TailRisk(var_frac, es_frac, level, n, reason)


def _refused(
    returns: NDArray[np.float64], level: float, volatility: NDArray[np.float64] | None = None
) -> TailRisk | None:
    """Return NaN with the reason where ``returns``, or their EWMA ``volatility``, carry no risk number, else None."""
    tail_count(len(returns), level)  # refuses a wrong level whatever the returns
    finite = np.isfinite(returns)
    lowest, highest = VARIANCE_RANGE
    if len(returns) < returns_min(level):
        reason = f"{len(returns)} returns, and level {level} needs {returns_min(level)}"
    elif not bool(finite.all()):
        reason = f"return {int(np.argmin(finite))} is not finite"
    elif bool(np.all(returns == returns[0])):
        reason = NO_VARIATION
    elif not (bool(np.all(np.abs(returns) <= math.sqrt(highest))) and lowest <= float(np.var(returns)) <= highest):
        reason = OUT_OF_RANGE
    elif int(np.count_nonzero(returns)) < tail_count(len(returns), level):
        reason = TOO_STILL
    elif volatility is not None and not bool(np.all(volatility**2 >= lowest)):
        reason = STILL
    else:
        return None
    return TailRisk(math.nan, math.nan, level, len(returns), reason)


def _order_statistics(values: NDArray[np.float64], level: float) -> tuple[float, float]:
    k = tail_count(len(values), level)
    tail = np.partition(values, k - 1)[:k]
    return -float(tail.max()), -float(tail.mean())


def _window_volatility(returns: NDArray[np.float64], decay: float) -> NDArray[np.float64]:
    if len(returns) == 0:
        return np.empty(0)
    with np.errstate(over="ignore"):  # what overflows is refused afterwards
        return ewma_volatility(returns, decay, seed_variance=float(np.mean(np.square(returns))))


def _density_ratio(level: float) -> float:
    """Return the normal density at the quantile over the tail probability: the ES of the standard normal."""
    return NormalDist().pdf(NormalDist().inv_cdf(level)) / (1.0 - level)


@njit(cache=True)
def _ewma_variance(returns: NDArray[np.float64], decay: float, first: float) -> NDArray[np.float64]:
    variance = np.empty(len(returns) + 1)
    variance[0] = first
    for t in range(len(returns)):
        variance[t + 1] = decay * variance[t] + (1.0 - decay) * returns[t] * returns[t]
    return variance
