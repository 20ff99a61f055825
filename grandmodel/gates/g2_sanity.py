"""G2: the learner can learn, and finds nothing where there is nothing.

Known answer: a team trained on a market that shows the next return among its features must capture a share of what
perfect foresight earns. Placebos: the same team, trained and tested on markets made so that nothing can be predicted,
must not earn anything after costs. There are several kinds of placebo and several draws of each, so that what such a
team earns has a distribution; the kinds share one rate of false refusals (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import DataError
from grandmodel.gates.result import GateResult, days_words, interval_dict, interval_text, plain, power_evidence, refused
from grandmodel.gates.text import listing, percent
from grandmodel.stats.bootstrap import Interval, bootstrap_mean
from grandmodel.stats.performance import SESSIONS_PER_YEAR, annual_volatility_frac

NAME = "g2_sanity"
EFFECT_MIN = 0.001  # annual; below it the placebo team stood flat, and says nothing about leaks
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
            placebo. The lower bound of no kind may exceed zero.
        draws: bootstrap draws.
        confidence: of two-sided intervals; half of what is left is the rate of false refusals over all kinds.
        seed: of the bootstrap.
        sessions_per_year: trading days in a year.
    """
    share = float(foresight_share)
    if not isfinite(share):
        return refused(NAME, foresight_share_min, f"the share of perfect foresight is {share}")
    if not placebo_daily_returns:
        return refused(NAME, foresight_share_min, "no team was trained on a placebo")
    each = 1.0 - (1.0 - confidence) / len(placebo_daily_returns)
    try:
        intervals = {
            kind: bootstrap_mean(table, draws=draws, confidence=each, seed=seed, sessions_per_year=sessions_per_year)
            for kind, table in placebo_daily_returns.items()
        }
    except DataError as error:
        return refused(NAME, foresight_share_min, str(error))
    learns = share >= foresight_share_min
    won = [kind for kind, interval in intervals.items() if interval.lower > 0.0]
    evidence = {
        "foresight_share": share,
        "placebos": {kind: interval_dict(interval) for kind, interval in intervals.items()},
        "placebo_annual": {
            kind: (np.atleast_2d(table).mean(axis=1) * sessions_per_year).tolist()
            for kind, table in placebo_daily_returns.items()
        },
        "placebos_won": won,
        "statistic_name": "share of perfect foresight",
    }
    power, about_power = _power(placebo_daily_returns, intervals, confidence, sessions_per_year)
    told = " and ".join(f"{interval_text(interval)} where bars are {kind}" for kind, interval in intervals.items())
    reason = (
        f"Shown the answer, the team captures {percent(share, 0)} of perfect foresight "
        f"({percent(foresight_share_min, 0)} needed); on markets without anything to find it earns {told}, "
        + ("as it should." if not won else f"which is a profit where there is nothing to find: {listing(won)}.")
    )
    n = sum(int(np.size(table)) for table in placebo_daily_returns.values())
    passed = learns and not won
    return GateResult(NAME, passed, share, foresight_share_min, power, n, reason, plain(evidence | about_power))


def _power(
    tables: Tables, intervals: Mapping[str, Interval], confidence: float, sessions_per_year: float
) -> tuple[float | None, dict[str, object]]:
    """Return power and its evidence for the kind of placebo that would show a leak worst."""
    weakest = max(intervals, key=lambda kind: intervals[kind].smallest_effect())
    table, interval = np.atleast_2d(tables[weakest]), intervals[weakest]
    smallest, days = interval.smallest_effect(), table.shape[1]
    unseen = "Not seen: a learner that misses small effects, and the tactical team, which takes no part."
    if smallest < EFFECT_MIN:  # a placebo team that hardly trades leaves no spread to measure a power with
        statement = "The placebo teams hardly traded, so what leak they would have shown cannot be measured here. "
        return None, power_evidence(
            statement + unseen, smallest="not known: the placebo teams hardly traded", data="none"
        )
    stated = STATED_SHARPE * annual_volatility_frac(table.mean(axis=0), sessions_per_year)
    power = interval.detection_power(stated)
    statement = (
        f"A leak worth an annual Sharpe ratio of {STATED_SHARPE:g} where bars are {weakest} is caught with probability "
        f"{percent(power, 0)}; with 80 % it is caught when worth {percent(smallest)} a year. "
        f"A clean team is refused in {percent((1.0 - confidence) / 2.0)} of cases. "
    )
    needed = int(np.ceil(min(days * (smallest / stated) ** 2, 1e9)))
    return power, power_evidence(
        statement + unseen,
        smallest=f"a leak worth {percent(smallest)} a year on a placebo",
        data=f"{days_words(needed, days)} for a leak worth a Sharpe ratio of {STATED_SHARPE:g}",
        smallest_effect_80=smallest,
        days_needed_80=needed,
    )
