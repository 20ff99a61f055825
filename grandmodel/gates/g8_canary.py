"""G8: did the challenger walk through its canary, with every sequence inside its bound on every day?

It says nothing of profit: the days of a canary cannot tell a better Sharpe ratio from luck, and the evidence says how
many years could.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace

import numpy as np

from grandmodel.gates.canary import Course, follow, relative_alarms, slippage_of_days, years_to_tell
from grandmodel.gates.canary_days import DRAWDOWN_MAX_FRAC, SEQUENCES, SHARES_FRAC, WAY_ON, CanaryDay, CanaryPlan
from grandmodel.gates.result import GateResult, plain, power_evidence, refused

NAME, ALARM_MAX = "g8_canary", 1.0
RATIOS = (0.5, 1.0, 2.0)
HOUSE = CanaryPlan(DRAWDOWN_MAX_FRAC)  # the loosest plan that opens a door
AT_LEAST = ("alpha", "days_per_step")
AT_MOST = (
    "drawdown_max_frac",
    "divergence_max_frac",
    "slippage_margin_frac",
    "days_max",
    "unknown_days_max",
    "unknown_days_total_max",
)
MULTIPLES = np.arange(0.25, 10.25, 0.25)  # of the champion's slippage, that are tried as an excess over it


def judge(plan: CanaryPlan, days: Sequence[CanaryDay]) -> GateResult:
    """Return the verdict over ``days``: passed when the canary is completed, by a plan no looser than the house's.

    The statistic is the largest alarm of any sequence on any day, 1 where a bound is left. Without a day it refuses.

    Raises:
        DataError: as ``follow``.
    """
    if not days:
        return refused(NAME, ALARM_MAX, "the canary has no day yet")
    course, looser = follow(plan, days), looser_than_house(plan)
    return GateResult(
        name=NAME,
        passed=course.status == "completed" and not looser,
        statistic=course.largest_alarm,
        threshold=ALARM_MAX,
        power=double_slippage_power(plan, days),
        n=len(course.faults),
        reason=f"The plan asks too little: {'; '.join(looser)}." if looser else _reason(course),
        evidence=plain({**_power(plan, days), **evidence_of(plan, course)}),
    )


def looser_than_house(plan: CanaryPlan) -> list[str]:
    """Return one sentence for each number of ``plan`` with which the canary would notice less than the house asks."""
    found, house = asdict(plan), asdict(HOUSE)
    return [
        f"{name} must be at least {house[name]:g}, found {found[name]:g}"
        for name in AT_LEAST
        if not found[name] >= house[name]
    ] + [
        f"{name} must be at most {house[name]:g}, found {found[name]:g}"
        for name in AT_MOST
        if not found[name] <= house[name]
    ]


def rolled_back(reason: str) -> GateResult:
    """Return the verdict on a canary of which the ledger holds that it was rolled back, for good."""
    return replace(refused(NAME, ALARM_MAX, reason), reason=f"Rolled back: {reason}. {WAY_ON}.")


def evidence_of(plan: CanaryPlan, course: Course) -> dict[str, object]:
    """Return plan, steps, the newest alarms, and the years that a claim about Sharpe would take."""
    return {
        "plan": asdict(plan),
        "status": course.status,
        "share_frac": course.share_frac,
        "steps": [asdict(step) for step in course.steps],
        "alarms": {name: path[-1] if path else 0.0 for name, path in course.alarms.items()},
        "days_not_known": sum(bool(fault) for fault in course.faults),
        "years_to_tell": {f"{ratio:g}": round(years_to_tell(ratio), 1) for ratio in RATIOS},
        "claim": sharpe_sentence(),
    }


def sharpe_sentence() -> str:
    """Return why no claim about profit is made."""
    years = ", ".join(f"{years_to_tell(ratio):.1f} for {ratio:g}" for ratio in RATIOS)
    return f"No claim about Sharpe: years to tell an information ratio between the two are {years}."


def smallest_slippage_found_frac(plan: CanaryPlan, days: Sequence[CanaryDay]) -> float | None:
    """Return the smallest daily excess of slippage, of money traded, that these days would have rolled back.

    Tried in quarters of the champion's mean slippage, up to ten times it; None where not even that would have been
    found.
    """
    champion, challenger = slippage_of_days(days)
    known = np.isfinite(champion)
    mean = float(champion[known].mean()) if known.any() else 0.0
    excesses = [float(multiple * mean) for multiple in MULTIPLES] if mean > 0.0 else []
    less = challenger - plan.slippage_margin_frac
    found = [excess for excess in excesses if relative_alarms(plan, champion, less + excess).max() >= ALARM_MAX]
    return found[0] if found else None


def double_slippage_power(plan: CanaryPlan, days: Sequence[CanaryDay]) -> float:
    """Return the share of all rotations of these days on which one more time the champion's slippage would be found.

    Excess is the champion's mean slippage on each day; days without a comparison stay such. 0 where nothing compares.
    """
    champion, challenger = slippage_of_days(days)
    known = np.isfinite(champion)
    mean = float(champion[known].mean()) if known.any() else 0.0
    if not mean > 0.0:
        return 0.0
    worse = challenger - plan.slippage_margin_frac + mean
    turns = [relative_alarms(plan, np.roll(champion, turn), np.roll(worse, turn)) for turn in range(len(days))]
    return float(np.mean([alarms.max() >= ALARM_MAX for alarms in turns]))


def _power(plan: CanaryPlan, days: Sequence[CanaryDay]) -> dict[str, object]:
    smallest = smallest_slippage_found_frac(plan, days)
    told = "none that was tried" if smallest is None else f"{smallest * 1e4:.2f} basis points more slippage every day"
    return power_evidence(
        f"Twice the champion's slippage would be found on {double_slippage_power(plan, days):.0%} of the rotations of "
        f"these days. Looked at daily, a challenger like its champion is rolled back with at most {plan.alpha:.0%}.",
        smallest=told,
        data=sharpe_sentence(),
    )


def _reason(course: Course) -> str:
    worst = max(SEQUENCES, key=lambda name: max(course.alarms[name]))
    nearest = f"nearest to its bound was {worst} with {max(course.alarms[worst]):.2f} of it"
    if course.status == "rolled_back":
        return rolled_back(course.steps[-1].reason).reason
    if course.status == "completed":
        return f"All shares up to {SHARES_FRAC[-1]:.0%} walked through in {len(course.faults)} sessions; {nearest}."
    return (
        f"Still on its way after {len(course.faults)} sessions, at {course.share_frac:.0%} of the capital; {nearest}."
    )
