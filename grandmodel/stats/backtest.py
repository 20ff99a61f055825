"""All tests of coverage in one call, and who may vote after them.

A method that goes red loses its vote until a backtest brings it back; so does one that could not be judged. Of the
methods that may vote the largest number counts. Where none may, there is no number: it is NaN, and whoever acts on a
risk number that is NaN must only reduce.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import DataError
from grandmodel.stats.clustering import conditional_coverage, independence
from grandmodel.stats.coverage import (
    CoverageResult,
    Floats,
    Light,
    Verdict,
    exact_binomial,
    exceptions,
    forecasts_min,
    kupiec,
    traffic_light,
)
from grandmodel.stats.shortfall import DRAWS, Excess, Forecasts, acerbi_szekely, pareto_excess


class MethodForecasts(NamedTuple):
    """What one method said before each bar; NaN where it had no number."""

    method: str
    horizon: str  # such as "1 day"; only named, never computed with
    level: float
    var_frac: Floats  # [n]
    es_frac: Floats  # [n]
    excess: Excess = pareto_excess()  # how its losses lie beyond VaR, for the tests of ES


@dataclass(frozen=True)
class MethodVerdict:
    """What all tests say of one method at one horizon and level."""

    method: str
    horizon: str
    level: float
    n: int
    exceptions: int  # bars without a number among them
    missing: int  # bars without a number
    light: Light | None  # None where there are too few forecasts
    results: tuple[CoverageResult, ...]  # exact binomial, kupiec, independence, conditional coverage, Z1, Z2
    mean_var_frac: float  # of the bars with a number; NaN where there is none
    reason: str = ""  # why something could not be judged

    def of(self, test: str) -> CoverageResult:
        """Return the result of one test by its name."""
        return next(result for result in self.results if result.test == test)

    @property
    def covers(self) -> bool:
        """Return whether neither the exact binomial nor a test of clustering rejects, and each could judge."""
        asked = ("exact binomial", "independence", "conditional coverage")
        return all(self.of(test).verdict is Verdict.PASSED for test in asked)


def backtest(
    returns: Floats, forecasts: Iterable[MethodForecasts], stream: np.random.Generator, *, draws: int = DRAWS
) -> list[MethodVerdict]:
    """Judge every method by what was realised.

    A bar for which a method had no number (not finite, VaR not positive, or ES below VaR) counts as an exception:
    nothing was promised, so nothing was covered. The tests of expected shortfall look at the other bars, and are
    UNKNOWN where those are fewer than expect an exception.

    Args:
        returns: float64[n], realised, oldest first, finite.
        forecasts: of the same bars, each made before its bar.
        stream: of random numbers, for the tests of expected shortfall.
        draws: simulated series of each.

    Raises:
        DataError: a return is not finite, lengths differ, or there are fewer than two.
        ConfigError: a level outside (0.5, 1).
    """
    return [_judged(returns, one, stream, draws) for one in forecasts]


def voting(verdicts: Iterable[MethodVerdict]) -> tuple[str, ...]:
    """Return the methods that may vote, in their given order: judged at least once, and nowhere red or unjudged."""
    may: dict[str, bool] = {}
    for one in verdicts:
        may[one.method] = may.get(one.method, True) and one.light is not None and one.light < Light.RED
    return tuple(method for method, allowed in may.items() if allowed)


def voted(numbers_frac: Mapping[str, float], voters: Iterable[str]) -> float:
    """Return the largest of the voters' numbers; NaN where there is no voter, or any has none or promises no loss.

    NaN is what ``risk.state.fail_closed`` turns into REDUCING.
    """
    numbers = [numbers_frac.get(method, math.nan) for method in voters]
    return max(numbers) if numbers and all(0.0 < number < math.inf for number in numbers) else math.nan


def _judged(returns: Floats, one: MethodForecasts, stream: np.random.Generator, draws: int) -> MethodVerdict:
    known = usable(one)
    hits = exceptions(returns, np.where(known, one.var_frac, math.nan))
    n, count, missing = len(hits), int(hits.sum()), int(len(hits) - known.sum())
    results = (
        exact_binomial(count, n, one.level),
        kupiec(count, n, one.level),
        independence(hits, one.level),
        conditional_coverage(hits, one.level),
        *_shortfall(returns[known], one, known, stream, draws),
    )
    enough = n >= forecasts_min(one.level)
    reasons = [] if enough else [f"{n} forecasts, and level {one.level:g} needs {forecasts_min(one.level)}"]
    reasons += [f"{missing} bars without a number"] if missing else []
    return MethodVerdict(
        one.method,
        one.horizon,
        one.level,
        n,
        count,
        missing,
        traffic_light(count, n, one.level) if enough else None,
        results,
        float(one.var_frac[known].mean()) if known.any() else math.nan,
        "; ".join(reasons),
    )


def usable(one: MethodForecasts) -> NDArray[np.bool_]:
    """Return bool[n]: whether each bar has a number: finite, VaR positive and ES no smaller."""
    var, es = one.var_frac, one.es_frac
    if var.shape != es.shape:
        raise DataError(one.method, "needs one ES for each VaR", (var.shape, es.shape))
    return np.asarray(np.isfinite(var) & np.isfinite(es) & (var > 0) & (es >= var))


def _shortfall(
    returns: Floats, one: MethodForecasts, known: NDArray[np.bool_], stream: np.random.Generator, draws: int
) -> tuple[CoverageResult, ...]:
    if not known.any():
        none = CoverageResult("Z1", math.nan, math.nan, 0, 0, Verdict.UNKNOWN, math.nan, "no forecast")
        return none, replace(none, test="Z2")
    part = Forecasts(one.level, one.var_frac[known], one.es_frac[known], one.excess)
    return acerbi_szekely(returns, part, stream, draws=draws)
