"""Did the value at risk of a release hold? What gate G6 asks of it.

Over a half hour six methods forecast what the book of its beginning can lose (``risk/held_book.py``), as the limit on
it asks. Within a day the book changes, so there they forecast each return of the release from the ones before it. A
method in Basel's red zone loses its vote; of the others the largest number is the one in use, and that one is judged,
because it is the one that limits hold on to. Judging each method instead would refuse every release on a long record:
the normal ones are known to be wrong in the tails and are there for comparison. Asked are only the sides that can hurt:
too many losses beyond the number, losses beyond it that come together, and losses beyond it that are larger than its
expected shortfall. The three questions at all horizons share one rate of false alarms by Holm (1979), whatever their
dependence.

A book without positions cannot lose, whatever its number: forecasts made for it would only thin out the exceptions of
the others. So they are not judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_opening
from scipy.optimize import brentq
from scipy.special import bdtrc

from grandmodel.core.errors import DataError
from grandmodel.gates.result import days_words
from grandmodel.gates.text import count, percent
from grandmodel.risk.held_book import HeldBook, book_tails
from grandmodel.risk.tail import METHODS
from grandmodel.risk.tail_kernel import rolling_tails
from grandmodel.stats.clustering import independence
from grandmodel.stats.coverage import Light, exceptions, forecasts_min, traffic_light
from grandmodel.stats.shortfall import DRAWS, Forecasts, acerbi_szekely, pareto_excess

WINDOW = 100  # returns that a forecast looks back on: a multiple of 1 / (1 - 0.99), so no method is rounded up
DECAY = 0.98  # of the EWMA methods; chosen for daily returns by benchmarks/coverage_study.py on other data
QUESTIONS = ("too many", "together", "too large")

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class RiskNumber:
    """What the number in use did at one horizon."""

    horizon: str  # such as "1 day"
    level: float
    judged: int  # returns of a book that held something: with a forecast, or moved without one
    exceptions: int  # losses beyond the number; a loss without a number is one
    voters: tuple[str, ...]  # methods that are not red; the largest of their numbers is in use
    mean_var_frac: float  # of equity; 0 where nobody votes
    p: dict[str, float]  # by question of QUESTIONS; empty where nobody votes


def follow(
    returns: Floats, horizon: str, *, level: float, stream: np.random.Generator, draws: int = DRAWS
) -> RiskNumber:
    """Return what the number in use did on float64[n] simple returns, oldest first, after the first WINDOW of them.

    Returns of a book at rest are not judged (``at_rest``), nor is a return of 0 that had no number. A method with too
    few others has no vote, and where the number in use has too few, nobody votes.

    Args:
        returns: of the release, after costs, finite; losses negative.
        horizon: of one return, only named.
        level: of the value at risk, in (0.5, 1).
        stream: of random numbers, for the test of expected shortfall.
        draws: of that test.

    Raises:
        DataError: a return is not finite, or there are too few to judge one at that level.
    """
    enough = WINDOW + forecasts_min(level)
    if returns.ndim != 1 or len(returns) < enough or not np.isfinite(returns).all():
        found = (returns.shape, int(np.isfinite(returns).sum()))
        raise DataError(f"returns of {horizon}", f"at least {enough} finite ones are needed", found, "Give more bars")
    tails, _ = rolling_tails(np.ascontiguousarray(returns, np.float64), (level,), WINDOW, DECAY)
    held = ~at_rest(returns)[WINDOW:]
    return _judge(returns[WINDOW:][held], tails[WINDOW:, :, 0][held], horizon, level, stream, draws)


def follow_book(
    book: HeldBook, horizon: str, *, level: float, stream: np.random.Generator, draws: int = DRAWS
) -> RiskNumber:
    """Return what the number in use did on the hypothetical returns of ``book``, where it held something.

    Args:
        book: of the release.
        horizon: of one row, only named.
        level: as in ``follow``.
        stream: as in ``follow``.
        draws: as in ``follow``.

    Raises:
        DataError: too few half hours are judged.
    """
    rows, tails = book_tails(book, level, WINDOW, DECAY)
    if len(rows) < forecasts_min(level):
        rule = f"something must be held in at least {forecasts_min(level)} of them, after a first window"
        raise DataError(f"book over {horizon}", rule, len(rows), "Give more bars")
    return _judge(book.hypothetical[rows], tails, horizon, level, stream, draws)


def _judge(
    lived: Floats, tails: Floats, horizon: str, level: float, stream: np.random.Generator, draws: int
) -> RiskNumber:
    """Judge float64[n] returns by the forecasts before them, float64[n, methods, (VaR, ES)]."""
    voters = [place for place in range(len(METHODS)) if _may_vote(lived, tails[:, place, 0], level)]
    names = tuple(name for place, name in enumerate(METHODS) if place in voters)
    var, shortfall = np.max(tails[:, voters], axis=1, initial=-np.inf).T  # NaN where any voter has no number
    judged = _judged(lived, var)
    lived, var, shortfall = lived[judged], var[judged], shortfall[judged]
    if len(lived) < forecasts_min(level) or not np.isfinite(var).any():
        return RiskNumber(horizon, level, len(lived), int((lived < 0.0).sum()), (), 0.0, {})
    hits = beyond(lived, var)
    return RiskNumber(
        horizon,
        level,
        len(lived),
        int(hits.sum()),
        names,
        float(np.nanmean(var)),
        _p_values(lived, hits, Forecasts(level, var, shortfall, pareto_excess()), stream, draws),
    )


def at_rest(returns: Floats) -> NDArray[np.bool_]:
    """Return bool[n]: whether each of float64[n] returns is one of WINDOW or more in a row that are exactly 0.

    The first of them still have a number, from what was held before; it is no forecast of a book that holds nothing.
    """
    return np.asarray(binary_opening(returns == 0.0, np.ones(WINDOW)))


def beyond(lived: Floats, var: Floats) -> NDArray[np.bool_]:
    """Return bool[n]: whether each return is a loss larger than ``var``, or a loss for which there was no number.

    A book that stood still for a whole window has no number; as long as it stands still nothing is lost.
    """
    return exceptions(lived, var) & (np.isfinite(var) | (lived < 0.0))


def holm(p: Mapping[str, float], size: float) -> tuple[str, ...]:
    """Return the names of the hypotheses that Holm's step-down procedure rejects at family-wise ``size``.

    The smallest p is held against ``size / m``, the next against ``size / (m - 1)``, and so on until one stands.
    Source: Holm (1979), A Simple Sequentially Rejective Multiple Test Procedure.

    Raises:
        DataError: a p is NaN or outside [0, 1]: it has no place in the order, and would let others stand.
    """
    outside = {name: value for name, value in p.items() if not _is_p(value)}
    if outside:
        raise DataError("Holm's procedure", "every p must lie in [0, 1]", outside)
    rejected: list[str] = []
    for name in sorted(p, key=lambda one: (p[one], one)):
        if not p[name] <= size / (len(p) - len(rejected)):
            break
        rejected.append(name)
    return tuple(rejected)


def number_faults(numbers: Sequence[RiskNumber | str], false_alarm_max: float) -> list[str]:
    """Return where a risk number fails, in words; all tests of all horizons share ``false_alarm_max``.

    A string among ``numbers`` says why a horizon could not be judged, and is a fault; so is nothing to judge, and a
    number that does not answer each of QUESTIONS with a p in [0, 1], which then takes no part in Holm's procedure.
    """
    faults = [f"the risk number was not judged: {one}" for one in numbers if isinstance(one, str)]
    judged = [one for one in numbers if isinstance(one, RiskNumber)]
    if not numbers:
        faults.append("no risk number was judged")
    faults += [
        f"no method may vote on the value at risk over {one.horizon} ({count(one.judged, 'return')} to judge it by)"
        for one in judged
        if not one.voters
    ]
    answered = [one for one in judged if _is_answered(one)]
    faults += [
        f"the tests of the value at risk over {one.horizon} gave no p-value for each question"
        for one in judged
        if one.voters and not _is_answered(one)
    ]
    p = {f"{one.horizon}/{question}": value for one in answered for question, value in one.p.items()}
    rejected = holm(p, false_alarm_max)
    return faults + [
        f"{_complaint(one, question)} (p {one.p[question]:.2g})"
        for one in answered
        for question in QUESTIONS
        if f"{one.horizon}/{question}" in rejected
    ]


def doubled_power(numbers: Sequence[RiskNumber], false_alarm_max: float) -> tuple[float | None, dict[str, Any]]:
    """Return the chance to find a value at risk that is exceeded twice as often as it says, and what is said of it.

    Stated for the shortest record, at the strictest size that Holm may ask of it. None where nothing was judged.
    """
    known = [one for one in numbers if one.voters]
    if not known:
        silent = {
            "statement": "Nothing is said of the risk number.",
            "smallest": "not known",
            "data": "what is missing",
        }
        return None, silent
    one = min(known, key=lambda number: number.judged)
    tail, size = 1.0 - one.level, false_alarm_max / (len(QUESTIONS) * len(numbers))
    power, rate = excess_power(one.judged, one.level, 2.0 * tail, size), smallest_rate(one.judged, one.level, size)
    needed = forecasts_needed(one.level, 2.0 * tail, size)
    found = "none is found with 80 %" if rate is None else f"with 80 % it is found when exceeded in {percent(rate)}"
    statement = (
        f"A value at risk over {one.horizon} that is exceeded in {percent(2.0 * tail)} of {one.judged:,} instead of "
        f"{percent(tail)} is found with probability {percent(power, 0)}; {found}."
    )
    smallest = "none" if rate is None else f"a value at risk over {one.horizon} exceeded in {percent(rate)}"
    return power, {
        "statement": statement,
        "smallest": smallest,
        "data": f"{days_words(needed, one.judged)} to find a doubled rate over {one.horizon}",
        "smallest_effect_80": rate,
        "days_needed_80": needed,
    }


def excess_power(n: int, level: float, true_rate: float, size: float) -> float:
    """Return the chance that ``n`` forecasts show too many exceptions at ``size`` when they come at ``true_rate``."""
    counts = np.arange(n + 1)
    critical = int(np.argmax(_at_least(counts, n, 1.0 - level) <= size)) or n + 1
    return float(_at_least(np.array([critical]), n, true_rate)[0]) if critical <= n else 0.0


def smallest_rate(n: int, level: float, size: float, power: float = 0.8) -> float | None:
    """Return the rate of exceptions that ``n`` forecasts find with ``power``; None where no rate is found so often."""
    if excess_power(n, level, 1.0, size) < power:
        return None
    return float(brentq(lambda rate: excess_power(n, level, rate, size) - power, 1.0 - level, 1.0))


def forecasts_needed(level: float, true_rate: float, size: float, power: float = 0.8) -> int:
    """Return how many forecasts find exceptions at ``true_rate`` with ``power``, to the next ten; at most 100,000."""
    return next((n for n in range(10, 100_000, 10) if excess_power(n, level, true_rate, size) >= power), 100_000)


def _complaint(one: RiskNumber, question: str) -> str:
    times = f"the value at risk over {one.horizon} was exceeded {one.exceptions:,} times of {one.judged:,}"
    if question == "too many":
        return f"{times}, {one.judged * (1.0 - one.level):.0f} are expected"
    if question == "together":
        return f"{times}, and the exceptions come together"
    return f"losses beyond the value at risk over {one.horizon} are larger than its expected shortfall"


def _is_p(value: float) -> bool:
    return 0.0 <= value <= 1.0


def _is_answered(one: RiskNumber) -> bool:
    return set(one.p) == set(QUESTIONS) and all(map(_is_p, one.p.values()))


def _judged(lived: Floats, var: Floats) -> NDArray[np.bool_]:
    return np.asarray(np.isfinite(var) | (lived != 0.0))


def _may_vote(lived: Floats, var: Floats, level: float) -> bool:
    n = int(_judged(lived, var).sum())
    return n >= forecasts_min(level) and traffic_light(int(beyond(lived, var).sum()), n, level) < Light.RED


def _p_values(
    lived: Floats, hits: NDArray[np.bool_], forecasts: Forecasts, stream: np.random.Generator, draws: int
) -> dict[str, float]:
    many = float(_at_least(np.array([hits.sum()]), len(hits), 1.0 - forecasts.level)[0])
    known = np.isfinite(forecasts.var_frac) & (forecasts.var_frac > 0.0)
    if not known.any():
        return dict.fromkeys(QUESTIONS, 0.0)
    part = Forecasts(forecasts.level, forecasts.var_frac[known], forecasts.es_frac[known], forecasts.excess)
    _, sized = acerbi_szekely(lived[known], part, stream, draws=draws)
    return dict(zip(QUESTIONS, (many, independence(hits, forecasts.level).p, sized.p), strict=True))


def _at_least(counts: NDArray[np.int64], n: int, rate: float) -> Floats:
    """Return the chance of ``counts`` or more exceptions of ``n``."""
    return np.asarray(np.where(counts > 0, bdtrc(np.maximum(counts - 1, 0), n, rate), 1.0), np.float64)
