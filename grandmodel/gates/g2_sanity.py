"""G2: the learner can learn, and finds nothing where there is nothing.

Known answer: a team trained on a market that shows the next return among its features must capture a share of what
perfect foresight earns. Placebos: the same team, trained and tested on markets made so that nothing can be predicted,
must not earn anything after costs. There are several kinds of placebo and several draws of each, on one instrument
each. They are looked at twice, and each look has half of the error level: the draws of a kind pooled, which shows a
small leak that all share, and every draw by itself, which shows one that a single instrument has (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import nctdtr, nctdtrinc, stdtrit

from grandmodel.core.errors import DataError
from grandmodel.gates.result import GateResult, days_words, interval_dict, interval_text, plain, power_evidence, refused
from grandmodel.gates.text import count, listing, number, percent
from grandmodel.stats.bootstrap import Interval, bootstrap_mean
from grandmodel.stats.performance import SESSIONS_PER_YEAR, annual_volatility_frac

NAME = "g2_sanity"
VOLATILITY_MIN = 0.001  # annual; below it a placebo team stood flat, and says nothing about leaks
STATED_SHARPE = 2.0  # the leak that the power is stated for: worth this annual Sharpe ratio on the placebo

Tables = Mapping[str, NDArray[np.float64]]


def judge(
    *,
    foresight_share: float,
    foresight_share_min: float,
    placebo_daily_returns: Tables,
    draws: int,
    confidence: float,
    seed: int,
    sessions_per_year: float = SESSIONS_PER_YEAR,
) -> GateResult:
    """Refuse a learner that misses a shown answer, or that profits where nothing can be predicted.

    Args:
        foresight_share: net return of the team on the known-answer market over that of perfect foresight there.
        foresight_share_min: smallest such share.
        placebo_daily_returns: by kind, daily net log returns float64[draws, days] of teams trained and tested on a
            placebo. The lower bound of no kind and of no draw may exceed zero.
        draws: bootstrap draws.
        confidence: what is left of it is the rate of false refusals: half for the kinds, half for the single draws.
        seed: of the bootstrap.
        sessions_per_year: trading days in a year.
    """
    share = float(foresight_share)
    if not isfinite(share):
        return refused(NAME, foresight_share_min, f"the share of perfect foresight is {share}")
    tables = {kind: np.atleast_2d(table) for kind, table in placebo_daily_returns.items()}
    if not tables or any(table.size == 0 for table in tables.values()):
        return refused(NAME, foresight_share_min, "no team was trained on a placebo")
    each = 1.0 - (1.0 - confidence) / len(tables)  # two-sided, and one tail of it refuses
    try:
        intervals = {
            kind: bootstrap_mean(
                table.mean(axis=0), draws=draws, confidence=each, seed=seed, sessions_per_year=sessions_per_year
            )
            for kind, table in tables.items()
        }
    except DataError as error:
        return refused(NAME, foresight_share_min, str(error))
    tail = (1.0 - confidence) / 2.0 / sum(map(len, tables.values()))
    bounds = {kind: draw_lower_bounds(table, tail, sessions_per_year) for kind, table in tables.items()}
    # Percentiles of a bootstrap are too narrow where few days carry the mean: Student's bound must agree.
    pooled = {
        kind: float(draw_lower_bounds(table.mean(axis=0, keepdims=True), (1.0 - each) / 2.0, sessions_per_year)[0])
        for kind, table in tables.items()
    }
    won = [kind for kind, interval in intervals.items() if min(interval.lower, pooled[kind]) > 0.0]
    draws_won = [f"draw {row + 1} on {kind} bars" for kind in tables for row in np.flatnonzero(bounds[kind] > 0.0)]
    idle = sum(_is_idle(row, sessions_per_year) for table in tables.values() for row in table)
    evidence = {
        "foresight_share": share,
        "placebos": {kind: interval_dict(interval) for kind, interval in intervals.items()},
        "placebos_lower_student": pooled,
        "placebo_annual": {kind: table.mean(axis=1) * sessions_per_year for kind, table in tables.items()},
        "placebo_annual_lower": bounds,
        "placebos_won": won,
        "draws_won": draws_won,
        "draws_idle": idle,
        "statistic_name": "share of perfect foresight",
    }
    power, about_power = _power(tables, intervals, tail, confidence, sessions_per_year)
    reason = _reason(share, foresight_share_min, intervals, [*won, *draws_won], idle, sum(map(len, tables.values())))
    passed = share >= foresight_share_min and not won and not draws_won
    n = sum(table.size for table in tables.values())
    return GateResult(NAME, passed, share, foresight_share_min, power, n, reason, plain(evidence | about_power))


def draw_lower_bounds(
    table: NDArray[np.float64], tail: float, sessions_per_year: float = SESSIONS_PER_YEAR
) -> NDArray[np.float64]:
    """Return float64[draws], the lower bound of the annual log return of each draw alone, missed with chance ``tail``.

    Student's bound on the mean of ``table`` float64[draws, days], which must be finite and hold two days or more; a
    draw that never varies is bounded by its own mean. A bootstrap does not reach so far into the tail. On a placebo
    the side of every bar is a fair coin: days are uncorrelated, and symmetric but for costs, and where they are
    symmetric fat tails and changing volatility only make this bound safer (Efron 1969, "Student's t-test under
    symmetry conditions").
    """
    days = table.shape[1]
    error = table.std(axis=1, ddof=1) / sqrt(days)
    return np.asarray((table.mean(axis=1) - stdtrit(days - 1, 1.0 - tail) * error) * sessions_per_year, np.float64)


def _is_idle(daily_returns: NDArray[np.float64], sessions_per_year: float) -> bool:
    return bool(annual_volatility_frac(daily_returns, sessions_per_year) < VOLATILITY_MIN)


def _reason(
    share: float, share_min: float, intervals: Mapping[str, Interval], won: list[str], idle: int, draws: int
) -> str:
    told = " and ".join(f"{interval_text(interval)} where bars are {kind}" for kind, interval in intervals.items())
    if won:
        found = f"which is a profit where there is nothing to find: {listing(won)}"
    elif idle == draws:
        found = "because its teams hardly traded, which shows nothing of leaks"
    else:
        found = f"as it should, and no profit in any of {count(draws, 'draw')} alone"
    return (
        f"Shown the answer, the team captures {percent(share, 0)} of perfect foresight ({percent(share_min, 0)} "
        f"needed); on markets without anything to find it earns {told}, {found}."
    )


def _power(
    tables: Tables, intervals: Mapping[str, Interval], tail: float, confidence: float, sessions_per_year: float
) -> tuple[float, dict[str, object]]:
    """Return power and its evidence for the kind that would show a leak worst, of those whose teams traded."""
    unseen = "Not seen: a learner that misses small effects, and the tactical team, which takes no part."
    idle = {kind: sum(_is_idle(row, sessions_per_year) for row in table) for kind, table in tables.items()}
    traded = [kind for kind, table in tables.items() if idle[kind] < len(table)]
    if not traded:
        return 0.0, power_evidence(
            f"The placebo teams hardly traded and show nothing: no leak is caught by teams that stand flat. {unseen}",
            smallest="not known: the placebo teams hardly traded",
            data="placebo teams that trade",
        )
    weakest = max(traded, key=lambda kind: intervals[kind].smallest_effect())
    table, interval = tables[weakest], intervals[weakest]
    smallest, days = interval.smallest_effect(), table.shape[1]
    stated = STATED_SHARPE * annual_volatility_frac(table.mean(axis=0), sessions_per_year)
    power, (alone, sharpe_alone) = interval.detection_power(stated), _power_alone(days, tail, sessions_per_year)
    statement = (
        f"A leak worth an annual Sharpe ratio of {STATED_SHARPE:g} over all draws where bars are {weakest} is caught "
        f"with probability {percent(power, 0)}; with 80 % it is caught when worth {percent(smallest)} a year. One of "
        f"that Sharpe ratio on a single draw is caught by that draw with probability {percent(alone, 0)}, and with "
        f"80 % at a Sharpe ratio of {number(sharpe_alone)}. A clean team is refused in at most "
        f"{percent(1.0 - confidence)} of cases. "
    )
    if any(idle.values()):
        statement += f"{sum(idle.values())} of {sum(map(len, tables.values()))} teams hardly traded and show nothing. "
    needed = int(np.ceil(min(days * (smallest / stated) ** 2, 1e9)))
    return power, power_evidence(
        statement + unseen,
        smallest=f"a leak worth {percent(smallest)} a year over all draws of a placebo, or a Sharpe ratio of "
        f"{number(sharpe_alone)} on one",
        data=f"{days_words(needed, days)} for a leak worth a Sharpe ratio of {STATED_SHARPE:g}",
        smallest_effect_80=smallest,
        days_needed_80=needed,
    )


def _power_alone(days: int, tail: float, sessions_per_year: float) -> tuple[float, float]:
    """Return the power of one draw against ``STATED_SHARPE``, and the annual Sharpe ratio that it shows with 80 %."""
    bound, years = stdtrit(days - 1, 1.0 - tail), days / sessions_per_year
    power = 1.0 - nctdtr(days - 1, STATED_SHARPE * sqrt(years), bound)
    return float(power), float(nctdtrinc(days - 1, 0.2, bound) / sqrt(years))
