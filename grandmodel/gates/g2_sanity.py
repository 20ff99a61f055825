"""G2: the learner can learn, and finds nothing where there is nothing.

Known answer: a team trained on a market that shows the next return among its features must capture at least half of
what perfect foresight earns. Placebo: the same team trained on returns shuffled in time must not earn anything after
costs.
"""

from __future__ import annotations

from math import isfinite

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import DataError
from grandmodel.gates.result import GateResult, interval_dict, interval_text, plain, refused
from grandmodel.gates.text import percent
from grandmodel.stats.bootstrap import Interval, bootstrap_mean
from grandmodel.stats.performance import SESSIONS_PER_YEAR, annual_volatility_frac

NAME = "g2_sanity"
FORESIGHT_SHARE_MIN = 0.5
EFFECT_MIN = 0.001  # annual; below it the placebo team stood flat, and says nothing about leaks
STATED_SHARPE = 2.0  # the leak that the power is stated for: worth this annual Sharpe ratio on the placebo


def judge(
    *,
    foresight_share: float,
    placebo_daily_returns: NDArray[np.float64],
    draws: int,
    confidence: float,
    seed: int,
    sessions_per_year: float = SESSIONS_PER_YEAR,
) -> GateResult:
    """Refuse a learner that misses a shown answer, or that profits on shuffled time.

    Args:
        foresight_share: net return of the team on the known-answer market over that of perfect foresight there.
        placebo_daily_returns: daily net log returns float64[days] or float64[seeds, days] of the team trained and
            tested on shuffled returns. Its lower bound (one tail of the two-sided ``confidence``) must not exceed zero.
        draws: bootstrap draws.
        confidence: of the two-sided interval.
        seed: of the bootstrap.
        sessions_per_year: trading days in a year.
    """
    foresight_share = float(foresight_share)
    if not isfinite(foresight_share):
        return refused(NAME, FORESIGHT_SHARE_MIN, f"the share of perfect foresight is {foresight_share}")
    try:
        placebo = bootstrap_mean(
            placebo_daily_returns, draws=draws, confidence=confidence, seed=seed, sessions_per_year=sessions_per_year
        )
    except DataError as error:
        return refused(NAME, FORESIGHT_SHARE_MIN, str(error))
    table = np.atleast_2d(placebo_daily_returns)
    stated = STATED_SHARPE * annual_volatility_frac(table.mean(axis=0), sessions_per_year)
    # A placebo team that hardly trades leaves no spread to measure a power with.
    power = placebo.detection_power(stated) if placebo.smallest_effect() >= EFFECT_MIN else None
    learns, clean = foresight_share >= FORESIGHT_SHARE_MIN, placebo.lower <= 0.0
    evidence = {
        "foresight_share": foresight_share,
        "placebo": interval_dict(placebo),
        "placebo_seeds": len(table),
        "placebo_days": table.shape[1],
        "smallest_effect_80": placebo.smallest_effect(),
        "statistic_name": "share of perfect foresight",
        "power_statement": _power_statement(power, placebo, confidence),
    }
    reason = (
        f"Shown the answer, the team captures {percent(foresight_share, 0)} of perfect foresight "
        f"({percent(FORESIGHT_SHARE_MIN, 0)} needed); on shuffled time it earns {interval_text(placebo)}, "
        + ("as it should." if clean else "which is a profit where there is nothing to find.")
    )
    passed = learns and clean
    n = int(table.size)
    return GateResult(NAME, passed, foresight_share, FORESIGHT_SHARE_MIN, power, n, reason, plain(evidence))


def _power_statement(power: float | None, placebo: Interval, confidence: float) -> str:
    if power is None:
        return "The placebo team hardly traded, so what leak it would have shown cannot be measured here."
    return (
        f"A leak worth an annual Sharpe ratio of {STATED_SHARPE:g} on shuffled returns is caught with probability "
        f"{percent(power, 0)}; with 80 % it is caught when worth {percent(placebo.smallest_effect())} a year. "
        f"A clean team is refused in {percent((1.0 - confidence) / 2.0)} of cases."
    )
