"""Is the expected shortfall as large as it should be? Acerbi and Szekely's Z1 and Z2, p by simulation.

Both are 0 on average under a right model and fall below 0 where the forecasts are too small; the tests look at that
side only. Z1 asks for the size of the losses beyond VaR, given how many there are; Z2 for number and size in one.

A forecast is VaR and ES, no distribution, so the simulation needs to be told how losses lie beyond VaR: with
probability 1 - level a bar loses ``VaR + (ES - VaR) e``, e a draw of ``excess`` with mean 1. ``normal_excess`` is the
tail of a normal, ``pareto_excess`` that of a generalised Pareto (shape 0 is the exponential, the default). The order of
bars does not enter, and what a bar gains or loses above -VaR neither. A fatter tail scatters the statistics more and
rejects less.

Source: Acerbi and Szekely (2014), Backtesting Expected Shortfall, equations 4 to 6.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.stats.coverage import (
    SIZE,
    CoverageResult,
    Floats,
    Verdict,
    doubled,
    exceptions,
    forecasts_min,
    verdict_of,
)

DRAWS = 10_000
LARGER = 1.25  # of the alternatives: losses beyond VaR have a mean a quarter above the forecast ES

Excess = Callable[[np.random.Generator, int], Floats]


class Forecasts(NamedTuple):
    """VaR and ES of each bar, as fractions of equity, and what lies beyond VaR."""

    level: float
    var_frac: Floats  # [n], finite, positive
    es_frac: Floats  # [n], finite, not below VaR
    excess: Excess


class Truth(NamedTuple):
    """The world that is simulated; the default for a forecast is that it is right."""

    level: float  # what the forecasts truly cover
    es_multiple: float = 1.0  # mean loss beyond VaR over the forecast ES


class Scores(NamedTuple):
    """Both statistics, of one series (arrays of one entry) or of many simulated ones."""

    z1: Floats  # NaN where there is no exception
    z2: Floats


def pareto_excess(shape: float = 0.0) -> Excess:
    """Return draws of a generalised Pareto scaled to mean 1; ``shape`` in [0, 1), 0 is the exponential.

    Raises: ConfigError on another shape.
    """
    if not 0.0 <= shape < 1.0:
        raise ConfigError("shape of a generalised Pareto", "must lie in [0, 1), beyond which it has no mean", shape)

    def draw(stream: np.random.Generator, count: int) -> Floats:
        steps = stream.standard_exponential(count)
        return steps if shape == 0.0 else (1.0 - shape) / shape * np.expm1(shape * steps)

    return draw


def normal_excess(level: float) -> Excess:
    """Return draws of a normal beyond its VaR at ``level``, in units of ES - VaR above VaR; their mean is 1."""
    tail = 1.0 - level
    threshold = -float(ndtri(tail))
    shortfall = math.exp(-0.5 * threshold**2) / math.sqrt(2.0 * math.pi) / tail

    def draw(stream: np.random.Generator, count: int) -> Floats:
        worse = -ndtri(ndtr(-threshold) * (1.0 - stream.random(count)))  # 1 - u is never 0
        return np.asarray((worse - threshold) / (shortfall - threshold))

    return draw


def z_scores(returns: Floats, forecasts: Forecasts) -> Scores:
    """Return Z1 and Z2 of float64[n] realised returns, as arrays of one entry.

    With X the return and I the exception of bar t, T bars and N exceptions: Z1 = sum(X I / ES) / N + 1 and
    Z2 = sum(X I / ES) / (T a) + 1, a = 1 - level.
    """
    hits = exceptions(returns, forecasts.var_frac)
    total = float(np.sum(returns[hits] / forecasts.es_frac[hits]))
    return _scores(np.array([total]), np.array([hits.sum()], np.int64), len(returns), forecasts.level)


def simulate_scores(forecasts: Forecasts, truth: Truth, stream: np.random.Generator, draws: int = DRAWS) -> Scores:
    """Return float64[draws] statistics of simulated returns of a world in which ``truth`` holds.

    Exceptions of all draws stand in one long sequence of ``draws x n`` bars whose gaps are geometric, so the cost is
    that of the exceptions alone.
    """
    n = len(forecasts.var_frac)
    at = _hit_places(draws * n, 1.0 - truth.level, stream)
    bar, draw = at % n, at // n
    var, es = forecasts.var_frac[bar], forecasts.es_frac[bar]
    losses = var + (truth.es_multiple * es - var) * forecasts.excess(stream, len(at))
    totals = np.bincount(draw, weights=-losses / es, minlength=draws)
    return _scores(
        np.asarray(totals, np.float64), np.bincount(draw, minlength=draws).astype(np.int64), n, forecasts.level
    )


def acerbi_szekely(
    returns: Floats, forecasts: Forecasts, stream: np.random.Generator, *, draws: int = DRAWS
) -> tuple[CoverageResult, CoverageResult]:
    """Test whether the expected shortfall is large enough, by Z1 and by Z2.

    p is the share of simulated statistics that are as low, (1 + count) / (1 + draws). The alternative of both is a
    mean loss beyond VaR ``LARGER`` times the forecast ES; in that of Z2 exceptions are twice as frequent besides.

    Args:
        returns: float64[n], realised.
        forecasts: VaR and ES of the same bars.
        stream: of random numbers.
        draws: simulated series, under the model and under each alternative.

    Returns:
        Z1, UNKNOWN with NaN without an exception, and Z2. Both UNKNOWN below ``forecasts_min`` bars.

    Raises:
        DataError: lengths differ, a return or a forecast is not finite, VaR is not positive, or ES is below it.
        ConfigError: fewer than one draw in a hundred.
    """
    _check(returns, forecasts, draws)
    n, count = len(returns), int(exceptions(returns, forecasts.var_frac).sum())
    found = z_scores(returns, forecasts)
    right = simulate_scores(forecasts, Truth(forecasts.level), stream, draws)
    larger = simulate_scores(forecasts, Truth(forecasts.level, LARGER), stream, draws)
    other = doubled(forecasts.level)
    both = simulate_scores(forecasts, Truth(other, LARGER), stream, draws)
    sized = f"losses beyond VaR {LARGER:g} x ES"
    enough = n >= forecasts_min(forecasts.level)
    return (
        _result("Z1", float(found.z1[0]), right.z1, larger.z1, (n, count), enough, sized),
        _result("Z2", float(found.z2[0]), right.z2, both.z2, (n, count), enough, f"coverage {other:g}, {sized}"),
    )


def critical_score(simulated: Floats, size: float = SIZE) -> float:
    """Return the statistic below which a share ``size`` of the simulated ones lies; draws without one are left out."""
    known = np.sort(simulated[np.isfinite(simulated)])
    return float(known[max(0, math.ceil(len(known) * size) - 1)]) if len(known) else math.nan


def _result(
    test: str, statistic: float, right: Floats, wrong: Floats, size: tuple[int, int], enough: bool, alternative: str
) -> CoverageResult:
    n, count = size
    known = right[np.isfinite(right)]
    p = math.nan if math.isnan(statistic) else (1 + int((known <= statistic).sum())) / (1 + len(known))
    power = float(np.mean(wrong <= critical_score(right)))  # a draw without the statistic does not reject
    verdict = verdict_of(p) if enough else Verdict.UNKNOWN
    return CoverageResult(test, statistic, p, n, count, verdict, power, alternative)


def _scores(totals: Floats, counts: NDArray[np.int64], n: int, level: float) -> Scores:
    with np.errstate(invalid="ignore"):  # 0 / 0 where there is no exception
        return Scores(totals / counts + 1.0, totals / (n * (1.0 - level)) + 1.0)


def _hit_places(length: int, tail: float, stream: np.random.Generator) -> NDArray[np.int64]:
    """Return the rising places of exceptions at rate ``tail`` among ``length`` independent bars."""
    places, last = [np.empty(0, np.int64)], -1
    while last < length:
        missing = length - 1 - last
        count = math.ceil(missing * tail + 5.0 * math.sqrt(missing * tail) + 10)
        places.append(last + np.cumsum(stream.geometric(tail, count)))
        last = int(places[-1][-1])
    found = np.concatenate(places)
    return found[found < length]


def _check(returns: Floats, forecasts: Forecasts, draws: int) -> None:
    var, es = forecasts.var_frac, forecasts.es_frac
    if not returns.shape == var.shape == es.shape:
        raise DataError("expected shortfall", "needs one VaR and one ES a return", (returns.shape, var.shape, es.shape))
    fine = np.isfinite(var) & np.isfinite(es) & (var > 0) & (es >= var)
    if not fine.all():
        row = int(np.argmin(fine))
        found = (float(var[row]), float(es[row]))
        raise DataError(f"expected shortfall, forecast {row}", "needs 0 < VaR <= ES, both finite", found)
    if draws < 100:
        raise ConfigError("expected shortfall, draws", "must be a hundred at least", draws)
