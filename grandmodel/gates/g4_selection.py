"""G4: the Sharpe ratio of the release survives everything that was tried on the same data.

Four parts, and the release passes only if each that is judged passes:

* Deflated Sharpe ratio (Bailey and Lopez de Prado 2014) against the best of N worthless trials, N the effective number
  of all trials of the ledger; one whose returns are not known counts as a whole one.
* Superior predictive ability (Hansen 2005): the best of all trials beats standing flat.
* Minimum track record (Bailey and Lopez de Prado 2012). The first part implies it at equal confidence; it is here
  because the days it tells do not depend on how trials are counted.
* Probability of backtest overfitting (Bailey, Borwein, Lopez de Prado and Zhu 2017) against that of searches without
  skill. It judges the act of picking: what was picked must stay ahead on the other half of the days, or at least earn
  there, for among equally good trials nobody stays ahead. Where nothing was picked it is shown and not judged.

The statistic of the verdict is the confidence of the part that decides: of those judged, the one that lies furthest
below its threshold, or least above it. Days are taken as independent except in the second part.
"""

from __future__ import annotations

from math import sqrt

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.config import GateParams
from grandmodel.core.errors import DataError
from grandmodel.gates.result import GateResult, days_words, plain, power_evidence, refused
from grandmodel.gates.selection_parts import (
    STATED_SHARPE,
    Part,
    ability_part,
    deflated_part,
    overfitting_part,
    track_record_part,
)
from grandmodel.gates.text import count, listing, number, percent
from grandmodel.stats.bootstrap import DAYS_MIN
from grandmodel.stats.overfitting import minimum_backtest_years, overfitting
from grandmodel.stats.performance import SESSIONS_PER_YEAR, annual_sharpe
from grandmodel.stats.sharpe import SharpeMoments, sharpe_moments
from grandmodel.stats.trials import Trials, effective_trials

NAME = "g4_selection"


def judge(
    daily_returns: NDArray[np.float64],
    *,
    trials: Trials,
    thresholds: GateParams,
    draws: int,
    seed: int,
    sessions_per_year: float = SESSIONS_PER_YEAR,
) -> GateResult:
    """Refuse a release that is not shown to be better than the luck of its search.

    Args:
        daily_returns: daily net log returns float64[days] of the release, out of sample; one of the rows of ``trials``.
        trials: everything that was tried on this data, the release among it.
        thresholds: of the parts.
        draws: of the bootstrap of the second part.
        seed: of all draws.
        sessions_per_year: trading days in a year.
    """
    threshold = thresholds.deflated_sharpe_min
    evidence = {"trials": len(trials.names), "trials_unseen": trials.unseen, "trials_counted": trials.counted}
    place = _place(daily_returns, trials)
    if place is None:
        return refused(NAME, threshold, "the release is not among its trials", evidence=evidence)
    moments = sharpe_moments(daily_returns)
    if moments is None or moments.n < DAYS_MIN:
        why = f"the returns never vary or span fewer than {DAYS_MIN} days"
        return refused(NAME, threshold, why, n=len(daily_returns), evidence=evidence)
    annual, effective = sqrt(sessions_per_year), effective_trials(trials)
    variance = trial_sharpe_variance(trials)
    try:
        found = [
            deflated_part(moments, effective, variance, threshold, annual),
            track_record_part(moments, thresholds.track_record_confidence, annual),
            ability_part(trials, moments, thresholds.predictive_ability_p_max, annual, draws, seed),
        ]
        if trials.picked:
            found.append(overfitting_part(trials, place, annual, thresholds.overfitting_p_max, seed))
    except DataError as error:
        return refused(NAME, threshold, str(error), n=moments.n, evidence=evidence)
    parts = [part for part in found if part is not None]
    if len(parts) < len(found):
        return refused(NAME, threshold, "the spread of the Sharpe ratio is zero", n=moments.n, evidence=evidence)
    return _result(parts, moments, trials, effective, evidence, annual)


def trial_sharpe_variance(trials: Trials) -> float:
    """Return the variance of the trials' Sharpe ratios a day, at least that of worthless trials, 1 / (days - 1).

    So trials that resemble each other never soften the gate. Trials that never vary have no Sharpe ratio.
    """
    sharpes = [value for row in trials.daily_returns if (value := annual_sharpe(row, 1.0)) is not None]
    spread = float(np.var(sharpes, ddof=1)) if len(sharpes) > 1 else 0.0
    return max(spread, 1.0 / (len(trials.sessions) - 1))


def _place(daily_returns: NDArray[np.float64], trials: Trials) -> int | None:
    """Return which row of the trials the release is; None where it is none of them."""
    if np.shape(daily_returns) != trials.sessions.shape:
        return None
    same = (trials.daily_returns == daily_returns).all(axis=1)
    return int(same.argmax()) if same.any() else None


def _result(
    parts: list[Part],
    moments: SharpeMoments,
    trials: Trials,
    effective: int,
    evidence: dict[str, object],
    annual: float,
) -> GateResult:
    decides = min(parts, key=lambda part: part.margin)
    failed = [part for part in parts if not part.passed]
    sharpe, shown = moments.sharpe * annual, None if trials.picked else _overfitting_shown(trials)
    evidence |= {
        "effective_trials": effective,
        "picked": trials.picked,
        "annual_sharpe": sharpe,
        "skew": moments.skew,
        "kurtosis": moments.kurtosis,
        "minimum_backtest_years": minimum_backtest_years(effective, sharpe) if sharpe > 0.0 else None,
        "parts": {part.name: part.to_dict() for part in parts},
        "decides": decides.name,
        "overfitting_shown": shown,
        "statistic_name": f"confidence of the part that decides, the {decides.name}",
    }
    evidence |= _power(parts, decides, moments.n)
    reason = (
        f"The annual Sharpe ratio is {number(sharpe)} over {count(moments.n, 'day')}, {_counted(trials, effective)}: "
        + "; ".join(part.sentence for part in parts)
    )
    if not trials.picked:
        told = "" if shown is None else f" ({percent(shown, 0)})"
        reason += f"; nothing was picked, so the probability of overfitting{told} is not judged"
    if failed:
        reason += f"; refused by {listing([part.name for part in failed])}, {_still_needed(failed)}"
    passed = not failed
    return GateResult(
        NAME, passed, decides.confidence, decides.threshold, decides.power, moments.n, reason + ".", plain(evidence)
    )


def _counted(trials: Trials, effective: int) -> str:
    seen, unseen = len(trials.names), f", {trials.unseen} of them unseen" if trials.unseen else ""
    return f"{count(seen + trials.unseen, 'trial')} ({trials.counted.strip().rstrip('.')}{unseen}) count as {effective}"


def _still_needed(failed: list[Part]) -> str:
    days = [part.days_needed for part in failed if part.days_needed is not None]
    return f"{max(days):,} such days would do" if len(days) == len(failed) else "more such days would not help"


def _power(parts: list[Part], decides: Part, days: int) -> dict[str, object]:
    told = [
        f"{'none simulated' if part.smallest_sharpe_80 is None else number(part.smallest_sharpe_80)} by the {part.name}"
        for part in parts
    ]
    needed = [part.days_needed for part in parts]
    longest = None if None in needed else max(part.days_needed or 0 for part in parts)
    known = [part.smallest_sharpe_80 for part in parts if part.smallest_sharpe_80 is not None]
    whole = f"{number(max(known))}" if len(known) == len(parts) else f"more than {number(max(known, default=0.0))}"
    return power_evidence(
        f"A release with a true annual Sharpe ratio of {STATED_SHARPE:g} passes the part that decides, the "
        f"{decides.name}, with probability {percent(decides.power, 0)}; a Sharpe ratio that passes with 80 % is "
        f"{listing(told)}.",
        smallest=f"a true annual Sharpe ratio of {whole}",
        data=days_words(longest, days),
        smallest_effect_80=decides.smallest_sharpe_80,
        days_needed_80=longest,
    )


def _overfitting_shown(trials: Trials) -> float | None:
    """Return the probability of overfitting; None where it has no value, which nothing hangs on."""
    try:
        return overfitting(trials).probability
    except DataError:
        return None
