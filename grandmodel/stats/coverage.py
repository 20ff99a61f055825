"""Does a value at risk lose as often as it says? Counts of exceptions, each test with its power.

An exception is a loss above the forecast, strictly. Under a right model with tail probability a = 1 - level, exceptions
are independent and their number of n is binomial(n, a). Tests of the count stand here, those of clustering in
``clustering.py``, those of expected shortfall in ``shortfall.py``; ``backtest.py`` runs them all.

The exact binomial decides. Kupiec's likelihood ratio is printed because others print it: at 99 % and 250 observations
it rejects a right model in 9.5 % of cases instead of 5 %. Power is the probability of a rejection when the forecast
truly covers ``true_level``; at ``true_level == level`` it is the size. All of these are sums over the binomial, nothing
is simulated.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum, IntEnum

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, bdtrc, chdtrc, chdtri, gammaln, xlogy

from grandmodel.core.errors import ConfigError, DataError

Floats = NDArray[np.float64]

SIZE = 0.05  # probability to reject a right model
YELLOW_CUMULATIVE, RED_CUMULATIVE = 0.95, 0.9999  # Basel Committee (1996), section III


class Verdict(Enum):
    """What a test says of a method."""

    PASSED = "passed"
    REJECTED = "rejected"
    UNKNOWN = "unknown"  # the data cannot tell, which is no pass


class Light(IntEnum):
    """Basel's traffic light, ordered by severity so that ``max`` gives the worse of two."""

    GREEN = 0
    YELLOW = 1
    RED = 2


@dataclass(frozen=True)
class CoverageResult:
    """One test of one series of forecasts."""

    test: str
    statistic: float  # NaN where it is undefined
    p: float  # NaN where it is undefined
    n: int  # forecasts judged
    exceptions: int
    verdict: Verdict
    power: float  # probability to reject under ``alternative``; NaN where it is undefined
    alternative: str  # in words


def exceptions(returns: Floats, var_frac: Floats) -> NDArray[np.bool_]:
    """Return bool[n]: whether the loss of each bar exceeds the VaR forecast for it, strictly.

    A forecast that is not finite covered nothing, so its bar is an exception.

    Args:
        returns: float64[n], realised, losses negative.
        var_frac: float64[n], forecast before each return, losses positive.

    Raises:
        DataError: lengths differ, nothing is given, or a return is not finite.
    """
    if returns.ndim != 1 or returns.shape != var_frac.shape or len(returns) == 0:
        raise DataError("coverage", "needs as many forecasts as returns, one at least", (returns.shape, var_frac.shape))
    if not np.isfinite(returns).all():
        row = int(np.argmin(np.isfinite(returns)))
        raise DataError(f"coverage, return {row}", "a realised return must be finite", float(returns[row]))
    return np.asarray(~np.isfinite(var_frac) | (-returns > var_frac))


def forecasts_min(level: float) -> int:
    """Return the fewest forecasts that can be judged: as many as expect one exception."""
    return math.ceil(1.0 / (1.0 - level) - 1e-9)


def exact_binomial(count: int, n: int, level: float, *, true_level: float | None = None) -> CoverageResult:
    """Test the number of exceptions by the exact binomial; the statistic is the observed rate.

    p is twice the smaller tail (Clopper and Pearson 1934), so that ``p > SIZE`` exactly inside ``binomial_band``.

    Args:
        count: exceptions.
        n: forecasts; fewer than ``forecasts_min`` give UNKNOWN.
        level: confidence of the forecasts, in (0.5, 1).
        true_level: coverage at which power is given; by default twice the tail probability is lost.

    Raises:
        ConfigError: level outside (0.5, 1), or a count outside 0..n.
    """
    _check(count, n, level)
    tail = 1.0 - level
    p = min(1.0, 2.0 * min(float(bdtr(count, n, tail)), float(_at_least(count, n, tail))))
    other = doubled(level) if true_level is None else true_level
    power = binomial_power(n, level, other)
    return _result("exact binomial", count / n, p, n, count, level, power, f"coverage {other:g}")


def binomial_band(n: int, level: float, size: float = SIZE) -> tuple[int, int]:
    """Return the fewest and the most exceptions of ``n`` that the exact binomial does not reject."""
    counts = np.arange(n + 1)
    tail = 1.0 - level
    kept = counts[(bdtr(counts, n, tail) > size / 2) & (_at_least(counts, n, tail) > size / 2)]
    return int(kept[0]), int(kept[-1])


def binomial_power(n: int, level: float, true_level: float) -> float:
    """Return the probability that ``n`` forecasts fall outside ``binomial_band`` when they truly cover so much."""
    low, high = binomial_band(n, level)
    below = float(bdtr(low - 1, n, 1.0 - true_level)) if low else 0.0
    return below + float(bdtrc(high, n, 1.0 - true_level))


def kupiec_statistic(count: int, n: int, level: float) -> float:
    """Return Kupiec's likelihood ratio of the proportion of failures, with 0 ln 0 = 0.

    LR = 2 ln[(1 - x/n)^(n - x) (x/n)^x] - 2 ln[(1 - a)^(n - x) a^x]. Source: Kupiec (1995), table 3.
    """
    return float(_kupiec(np.array([count]), n, level)[0])


def kupiec(count: int, n: int, level: float, *, true_level: float | None = None) -> CoverageResult:
    """Test the proportion of failures against its asymptotic law, chi-square with one degree of freedom.

    Arguments and errors as ``exact_binomial``; power by the exact binomial.
    """
    _check(count, n, level)
    statistic = kupiec_statistic(count, n, level)
    other = doubled(level) if true_level is None else true_level
    power = kupiec_power(n, level, other)
    return _result("kupiec", statistic, chi_square_p(statistic, 1), n, count, level, power, f"coverage {other:g}")


def kupiec_power(n: int, level: float, true_level: float, size: float = SIZE) -> float:
    """Return the probability that Kupiec's test of ``n`` forecasts rejects when they truly cover ``true_level``."""
    counts = np.arange(n + 1)
    rejected = _kupiec(counts, n, level) > float(chdtri(1, size))
    return float(np.sum(_probability(counts, n, 1.0 - true_level)[rejected]))


def traffic_light(count: int, n: int, level: float) -> Light:
    """Return Basel's zone of ``count`` exceptions in ``n``, for any n and level.

    Green while P(X <= count) stays below 95 %, red from 99.99 % on. The light looks at one side only: a forecast that
    is far too large stays green. Source: Basel Committee (1996), supervisory framework for backtesting, table 2.

    Raises:
        ConfigError: level outside (0.5, 1), a count outside 0..n, or fewer than ``forecasts_min`` forecasts (where even
            no exception at all would be yellow).
    """
    _check(count, n, level)
    if n < forecasts_min(level):
        raise ConfigError("traffic light", f"needs {forecasts_min(level)} forecasts at level {level:g}", n)
    yellow, red = zones(n, level)
    return Light.RED if count >= red else Light.YELLOW if count >= yellow else Light.GREEN


def zones(n: int, level: float) -> tuple[int, int]:
    """Return the fewest exceptions of ``n`` that are yellow, and the fewest that are red."""
    cumulative = bdtr(np.arange(n + 1), n, 1.0 - level)
    return int(np.argmax(cumulative >= YELLOW_CUMULATIVE)), int(np.argmax(cumulative >= RED_CUMULATIVE))


def traffic_light_power(n: int, level: float, true_level: float, at_least: Light = Light.YELLOW) -> float:
    """Return the probability that the light is ``at_least`` so bad when the forecasts truly cover ``true_level``."""
    if at_least is Light.GREEN:
        return 1.0
    yellow, red = zones(n, level)
    return float(_at_least(yellow if at_least is Light.YELLOW else red, n, 1.0 - true_level))


def chi_square_p(statistic: float, degrees: int) -> float:
    """Return the probability that a chi-square variable is larger than ``statistic``."""
    return float(chdtrc(degrees, statistic))


def verdict_of(p: float, size: float = SIZE) -> Verdict:
    """Return REJECTED at p <= ``size``, UNKNOWN where p is not a number."""
    return Verdict.UNKNOWN if math.isnan(p) else Verdict.REJECTED if p <= size else Verdict.PASSED


def doubled(level: float) -> float:
    """Return the coverage of a forecast whose exceptions are twice as frequent as it says."""
    return 1.0 - 2.0 * (1.0 - level)


def _result(
    test: str, statistic: float, p: float, n: int, count: int, level: float, power: float, alternative: str
) -> CoverageResult:
    verdict = verdict_of(p) if n >= forecasts_min(level) else Verdict.UNKNOWN
    return CoverageResult(test, statistic, p, n, count, verdict, power, alternative)


def _kupiec(counts: NDArray[np.int64], n: int, level: float) -> Floats:
    tail, rate = 1.0 - level, counts / n
    kept = n - counts
    free = xlogy(kept, 1.0 - rate) + xlogy(counts, rate)
    bound = kept * math.log1p(-tail) + counts * math.log(tail)
    # Rounding can leave a ratio of minus 1e-15 where the observed rate is the promised one.
    return np.asarray(np.maximum(2.0 * (free - bound), 0.0))


def _probability(counts: NDArray[np.int64], n: int, tail: float) -> Floats:
    ways = gammaln(n + 1) - gammaln(counts + 1) - gammaln(n - counts + 1)
    return np.asarray(np.exp(ways + xlogy(counts, tail) + xlogy(n - counts, 1.0 - tail)))


def _at_least(counts: NDArray[np.int64] | int, n: int, tail: float) -> Floats:
    """Return P(X >= count). ``bdtrc`` counts what is strictly more and refuses minus one."""
    return np.where(np.greater(counts, 0), bdtrc(np.maximum(np.subtract(counts, 1), 0), n, tail), 1.0)


def _check(count: int, n: int, level: float) -> None:
    if not 0.5 < level < 1:
        raise ConfigError("coverage level", "must lie strictly between 0.5 and 1", level)
    if n != int(n) or count != int(count) or n < 1 or not 0 <= count <= n:
        raise ConfigError(
            "coverage", "exceptions must be whole, from 0 to the number of forecasts, one at least", (count, n)
        )
