"""G4: the Sharpe ratio of the release survives the number of trials it was picked from (deflated Sharpe ratio).

Passing at probability p is the same as a track record longer than the minimum one (MinTRL) at confidence p. The formula
takes days as independent. Not in this gate: the probability of backtest overfitting (PBO by CSCV), the superior
predictive ability test (SPA), and an effective number of trials by clustering. N is the nominal number of trials, which
is stricter than an effective one.
"""

from __future__ import annotations

from math import ceil, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import DataError
from grandmodel.gates.result import GateResult, plain, refused
from grandmodel.gates.text import count, number, percent
from grandmodel.stats.bootstrap import DAYS_MIN
from grandmodel.stats.performance import SESSIONS_PER_YEAR
from grandmodel.stats.sharpe import (
    SharpeMoments,
    deflated_sharpe,
    expected_maximum_sharpe,
    minimum_track_record,
    sharpe_moments,
)

NAME = "g4_selection"
STATED_SHARPE = 2.0  # annual; the release that the power is stated for


def judge(
    daily_returns: NDArray[np.float64],
    *,
    trials: int,
    counted: str,
    minimum: float,
    trial_sharpes: NDArray[np.float64] | None = None,
    sessions_per_year: float = SESSIONS_PER_YEAR,
) -> GateResult:
    """Refuse when the deflated Sharpe ratio is below ``minimum``.

    Args:
        daily_returns: daily net log returns float64[days] of the released training, out of sample.
        trials: N, how many trainings the release was or could have been picked from.
        counted: how N was counted, in words; shown in the report.
        minimum: smallest deflated Sharpe ratio, a probability.
        trial_sharpes: Sharpe ratios per day of the trials, float64[any]. Their variance is used when it exceeds that of
            a worthless trial, 1 / (days - 1); seeds that resemble each other thus never soften the gate.
        sessions_per_year: trading days in a year.
    """
    evidence = {"trials": trials, "trials_counted": counted}
    if trials < 1 or not counted.strip():
        return refused(NAME, minimum, "the number of trials, or how it was counted, is unknown", evidence=evidence)
    sharpes = np.asarray([] if trial_sharpes is None else trial_sharpes, dtype=np.float64)
    if not np.isfinite(sharpes).all():
        return refused(NAME, minimum, "a trial has no finite Sharpe ratio", evidence=evidence)
    try:
        moments = sharpe_moments(daily_returns)
    except DataError as error:
        return refused(NAME, minimum, str(error), evidence=evidence)
    if moments is None or moments.n < DAYS_MIN:
        why = f"the returns never vary or span fewer than {DAYS_MIN} days"
        return refused(NAME, minimum, why, n=len(daily_returns), evidence=evidence)
    variance = max(float(sharpes.var(ddof=1)) if len(sharpes) > 1 else 0.0, 1.0 / (moments.n - 1))
    value = deflated_sharpe(moments, trials, variance)
    if value is None:
        return refused(NAME, minimum, "the spread of the Sharpe ratio is zero", n=moments.n, evidence=evidence)
    return _result(value, moments, trials, counted, variance, minimum, sqrt(sessions_per_year))


def _result(
    value: float, moments: SharpeMoments, trials: int, counted: str, variance: float, minimum: float, annual: float
) -> GateResult:
    hurdle = expected_maximum_sharpe(trials, variance)
    quantile, error = NormalDist().inv_cdf(minimum), moments.error_scale() / sqrt(moments.n - 1)
    smallest = annual * (hurdle + (quantile + NormalDist().inv_cdf(0.8)) * error)
    power = NormalDist().cdf((STATED_SHARPE / annual - hurdle) / error - quantile)
    needed = _days_needed(moments, trials, variance, minimum)
    evidence = {
        "trials": trials,
        "trials_counted": counted,
        "annual_sharpe": moments.sharpe * annual,
        "annual_sharpe_of_best_worthless_trial": hurdle * annual,
        "trial_sharpe_variance_per_day": variance,
        "skew": moments.skew,
        "kurtosis": moments.kurtosis,
        "minimum_track_record_days": needed,
        "smallest_effect_80": smallest,
        "statistic_name": "deflated Sharpe ratio",
        "power_statement": f"A release with a true annual Sharpe ratio of {STATED_SHARPE:g} passes with probability "
        f"{percent(power, 0)}; with 80 % one of {number(smallest)} passes.",
    }
    passed = value >= minimum
    reason = (
        f"The annual Sharpe ratio of {number(moments.sharpe * annual)} over {count(moments.n, 'day')} exceeds the "
        f"{number(hurdle * annual)} expected of the best of {count(trials, 'worthless trial')} with confidence "
        f"{number(value, 3)} ({number(minimum)} needed; N: {counted.strip()})"
    )
    if not passed:
        reason += f"; {needed:,} such days would do" if needed else "; more such days would not help"
    return GateResult(NAME, passed, value, minimum, power, moments.n, reason + ".", plain(evidence))


def _days_needed(moments: SharpeMoments, trials: int, variance: float, confidence: float) -> int | None:
    """Return the minimum track record in days at this Sharpe ratio; None where no record is long enough.

    Where the hurdle is that of worthless trials, it falls with the record too: the Sharpe ratio needed is
    ``(z_max + error_scale z) / sqrt(n - 1)`` with ``z_max`` the expected best of N standard normals.
    """
    if variance > 1.0 / (moments.n - 1):
        record = minimum_track_record(moments, expected_maximum_sharpe(trials, variance), confidence)
    elif moments.sharpe <= 0.0:
        record = None
    else:
        z = expected_maximum_sharpe(trials, 1.0) + moments.error_scale() * NormalDist().inv_cdf(confidence)
        record = 1.0 + (z / moments.sharpe) ** 2
    return None if record is None else ceil(min(record, 1e9))
