"""The canary: how much of the capital a challenger may trade, day by day, as a function of the record of its days.

The share grows along ``SHARES_FRAC`` while five sequences stay inside their bounds, and falls to nothing on the first
day on which one does not. All five hold at all days together, so the record may be judged daily, or hourly:

- **slippage**, **rejects**, **limit_hits**: challenger less champion over the sum of both, on the same day:
  ``log_evidence_symmetric``. It has no unit, and a dear day for both says no more than a cheap one. Assumed is that
  the number of a day is symmetric given the days before, as it is where either could have been the other. That needs
  alike exposure, so days compare only while both did about as much (``EXPOSURE_RATIO_MAX``), and it takes a dear
  spell of one release alone for a difference.
- **divergence**: share of the challenger's decisions that differ from those of its shadow on the same bars, against a
  bound: ``log_evidence_bounded``.
- **drawdown**: against an envelope simulated from the release's own evidence (``grandmodel.stats.drawdown``).

Each may err with a fifth of ``alpha``. There is no sixth for profit: see ``years_to_tell``.

Nothing is remembered: what happened follows from plan and days, so a process may be killed anywhere and judge again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.core.random import derive_seed
from grandmodel.gates.canary_days import (
    DRAWDOWN_MAX_FRAC,
    SEQUENCES,
    SHARES_FRAC,
    CanaryDay,
    CanaryPlan,
    Traded,
    fault_of,
    is_absent,
)
from grandmodel.stats.confidence_sequences import log_evidence_bounded, log_evidence_symmetric, mixture_precision
from grandmodel.stats.drawdown import drawdown_envelope_frac

Floats = NDArray[np.float64]
Status = Literal["running", "completed", "rolled_back"]

RELATIVE_SCALE = 0.3  # relative difference at which evidence is strongest: what twice as much gives; see `_symmetric`
# Of two alike, the one that trades oftener has its rare rejects on more days. Measured over 45 days on rates of 0.1 to
# 30 %: within 0.6 % at 1.5 times the orders, 2.4 % at twice, 13 % at three times.
EXPOSURE_RATIO_MAX = 1.5
ENVELOPE_PRECAUTION = (
    0.5  # of what drawdown may err: 60 days of evidence do not know their own tail; see docs/canary.md
)
CLAIM_SIZE, CLAIM_POWER = 0.05, 0.8  # one-sided, of a claim about Sharpe that is not made here


@dataclass(frozen=True)
class ShareStep:
    """One change of the share, at the close of a day; one line of the ledger."""

    session: int
    days: int  # of the record that it rests on; sessions without a day are none
    share_before_frac: float
    share_after_frac: float
    reason: str


@dataclass(frozen=True)
class Course:
    """What D sessions led to."""

    status: Status
    share_frac: float  # that the challenger trades with next
    days_counted: int  # towards the next step
    steps: tuple[ShareStep, ...]
    alarms: dict[str, tuple[float, ...]]  # by sequence, [D]: 0 nothing, 1 breached
    faults: tuple[str, ...]  # [D] what was not known on a day; "" where all was

    @property
    def largest_alarm(self) -> float:
        """Return the largest alarm of any sequence on any day; 0 on an empty record."""
        return max((alarm for path in self.alarms.values() for alarm in path), default=0.0)


def plan_for(daily_log_returns: Floats, seed: int, markets: tuple[tuple[str, str], ...] = ()) -> CanaryPlan:
    """Return the plan of the house for a release whose days out of sample are ``daily_log_returns``, float64[days].

    Its drawdown envelope comes from these days, and is never wider than ``DRAWDOWN_MAX_FRAC``.

    Raises:
        DataError: fewer than ``EVIDENCE_DAYS_MIN`` days, or one that is not finite.
    """
    house = CanaryPlan(DRAWDOWN_MAX_FRAC, markets=markets)
    exceeded = ENVELOPE_PRECAUTION * house.alpha / len(SEQUENCES)
    envelope = drawdown_envelope_frac(daily_log_returns, house.days_max, exceeded, seed=derive_seed(seed, "canary"))
    return replace(house, drawdown_max_frac=min(envelope, DRAWDOWN_MAX_FRAC))


def follow(plan: CanaryPlan, days: Sequence[CanaryDay]) -> Course:
    """Return what ``days`` lead to under ``plan``; what more days add never changes a step that was taken.

    Sessions of which nothing is on record stand among ``days`` as empty ones (``with_absent``). What comes after the
    end is left out.

    Raises:
        DataError: counts that cannot be, sessions that do not rise, or a day on which the challenger traded another
            share than it was allowed.
    """
    for before, day in zip([None, *days], days, strict=False):
        _check(day, before)
    alarms = sequences(plan, days)
    compares = _days_alike(days)
    steps: list[ShareStep] = []
    faults: list[str] = []
    status: Status = "running"
    level = counted = unknown = recorded = 0
    for t, day in enumerate(days):
        if status != "running":
            break
        _check_share(day, SHARES_FRAC[level])
        faults.append(fault_of(day))
        recorded += not is_absent(day)
        unknown = unknown + 1 if faults[t] else 0
        counted += not faults[t] and bool(compares[t])
        through, last = counted == plan.days_per_step, level == len(SHARES_FRAC) - 1
        ends = _breach_of(plan, {name: path[t] for name, path in alarms.items()}, faults, unknown)
        if not ends and t + 1 >= plan.days_max and not (through and last):
            ends = f"not through after days_max = {plan.days_max} sessions"
        if ends:
            status = "rolled_back"
            steps.append(ShareStep(day.session, recorded, SHARES_FRAC[level], 0.0, ends))
        elif through:
            status = "completed" if last else "running"
            reason = f"all sequences inside on {counted} days at {SHARES_FRAC[level]:.0%}"
            before_frac, level, counted = SHARES_FRAC[level], level if last else level + 1, 0
            steps.append(ShareStep(day.session, recorded, before_frac, SHARES_FRAC[level], reason))
    share_frac = 0.0 if status == "rolled_back" else SHARES_FRAC[level]
    paths = {name: tuple(path[: len(faults)].tolist()) for name, path in alarms.items()}
    return Course(status, share_frac, counted, tuple(steps), paths, tuple(faults))


def years_to_tell(information_ratio: float) -> float:
    """Return the years after which a challenger that is truly better by ``information_ratio`` a year is found to be.

    One-sided at 5 %, found with 80 %: ((z_0.95 + z_0.80) / ratio)^2, normal approximation, independent days. A canary
    of 30 days is a twelfth of a year, so it makes no claim about Sharpe.

    Raises:
        ConfigError: a ratio that is not positive.
    """
    if not information_ratio > 0.0:
        raise ConfigError("information ratio", "must be positive", information_ratio)
    quantile = NormalDist().inv_cdf
    return ((quantile(1.0 - CLAIM_SIZE) + quantile(CLAIM_POWER)) / information_ratio) ** 2


def slippage_of_days(days: Sequence[CanaryDay]) -> tuple[Floats, Floats]:
    """Return slippage of champion and challenger, float64[D] each, of money traded; NaN where the two do not compare.

    They do where both filled something at a known cost, and about as many fills so far.
    """
    return _pairs(days, lambda one: one.slippage_frac if one.fills else None, lambda one: one.fills)


def relative_alarms(plan: CanaryPlan, champion: Floats, challenger: Floats) -> Floats:
    """Return the alarm, float64[D], that ``challenger`` has more of something bad than ``champion``, float64[D] each.

    NaN is a day that says nothing. Where both are zero, so is the difference.
    """
    total = np.abs(champion) + np.abs(challenger)
    relative = np.divide(challenger - champion, total, out=np.where(np.isnan(total), np.nan, 0.0), where=total > 0.0)
    return _path(relative, lambda values: _symmetric(plan, values))


def sequences(plan: CanaryPlan, days: Sequence[CanaryDay]) -> dict[str, Floats]:
    """Return the alarms of ``days`` by sequence, float64[D] each: 0 nothing, 1 breached."""
    champion, challenger = slippage_of_days(days)
    rejects = _pairs(days, lambda one: _rate(one.rejects, one.orders), lambda one: one.orders)
    hits = _pairs(days, lambda one: _rate(one.limit_hits, one.decisions), lambda one: one.decisions)
    known = [day.share_frac > 0.0 and not fault_of(day) for day in days]
    divergent = [_rate(day.divergent, day.compared) if one else None for day, one in zip(days, known, strict=True)]
    returns = [day.challenger.log_return for day in days]
    bound = plan.divergence_max_frac
    alarms = {
        "slippage": relative_alarms(plan, champion, challenger - plan.slippage_margin_frac),
        "rejects": relative_alarms(plan, *rejects),
        "limit_hits": relative_alarms(plan, *hits),
        "divergence": _path(_floats(divergent), lambda one: log_evidence_bounded(one, bound) / plan.log_evidence_max),
        "drawdown": _path(_floats(returns), lambda one: _drawdown_frac(one) / plan.drawdown_max_frac),
    }
    assert tuple(alarms) == SEQUENCES
    return alarms


def _symmetric(plan: CanaryPlan, values: Floats) -> Floats:
    """Return the alarm of relative differences; the scale only chooses where it is strongest, not what it promises."""
    days_expected = plan.days_per_step * len(SHARES_FRAC)
    precision = mixture_precision(days_expected * RELATIVE_SCALE**2, plan.alpha / len(SEQUENCES))
    return log_evidence_symmetric(values, precision) / plan.log_evidence_max


def _path(values: Floats, alarm: Callable[[Floats], Floats]) -> Floats:
    """Return ``alarm`` of the known values, never below zero, laid on all days; unknown ones repeat the day before."""
    known = np.isfinite(values)
    if not known.any():
        return np.zeros(len(values))
    found = np.concatenate([[0.0], np.maximum(alarm(values[known]), 0.0)])
    return np.asarray(found[np.cumsum(known)])


def _drawdown_frac(log_returns: Floats) -> Floats:
    equity = np.concatenate([[0.0], np.cumsum(log_returns)])
    return np.asarray(-np.expm1(equity - np.maximum.accumulate(equity)))[1:]


def _pairs(
    days: Sequence[CanaryDay], number: Callable[[Traded], float | None], exposure: Callable[[Traded], int]
) -> tuple[Floats, Floats]:
    """Return ``number`` of champion and challenger, float64[D] each; NaN on days that do not compare."""
    both = [_floats([number(one) for one in side]) for side in _sides(days)]
    compares = _is_alike(days, exposure) & np.isfinite(both[0]) & np.isfinite(both[1])
    champion, challenger = (np.where(compares, one, math.nan) for one in both)
    return champion, challenger


def _days_alike(days: Sequence[CanaryDay]) -> NDArray[np.bool_]:
    """Return bool[D]: whether a day compares in all that is compared, and so counts towards a step."""
    filled = np.isfinite(slippage_of_days(days)[0])
    return filled & _is_alike(days, lambda one: one.orders) & _is_alike(days, lambda one: one.decisions)


def _is_alike(days: Sequence[CanaryDay], exposure: Callable[[Traded], int]) -> NDArray[np.bool_]:
    """Return bool[D]: whether what both did so far, on days on which both did, is within ``EXPOSURE_RATIO_MAX``.

    Sums, and not the day: where both are alike, which of them does more on a day is chance, and favours neither.
    """
    both = np.array([[exposure(one) for one in side] for side in _sides(days)], dtype=np.float64)
    sums = np.cumsum(np.where(both.min(axis=0) > 0.0, both, 0.0), axis=1)
    return np.asarray(sums.max(axis=0) <= EXPOSURE_RATIO_MAX * sums.min(axis=0))


def _sides(days: Sequence[CanaryDay]) -> tuple[list[Traded], list[Traded]]:
    return [day.champion for day in days], [day.challenger for day in days]


def _floats(values: Sequence[float | None]) -> Floats:
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)


def _rate(count: int, of: int) -> float | None:
    return count / of if of else None


def _breach_of(plan: CanaryPlan, alarms: dict[str, float], faults: Sequence[str], unknown: int) -> str:
    """Return which bound was left after these days, or that too little is known; "" where neither."""
    worst = max(alarms, key=lambda name: alarms[name])
    if alarms[worst] >= 1.0:
        return f"{worst} is outside its bound: {alarms[worst]:.2f} of what is allowed after {len(faults)} sessions"
    if unknown > plan.unknown_days_max:
        return f"{faults[-1]}, on the last of {unknown} sessions in a row of which not all is known"
    in_all = sum(bool(fault) for fault in faults)
    if in_all > plan.unknown_days_total_max:
        return f"{faults[-1]}, on the last of {in_all} sessions of which not all is known"
    return ""


def _check(day: CanaryDay, before: CanaryDay | None) -> None:
    subject = f"canary day {day.session}"
    if before is not None and day.session <= before.session:
        raise DataError(subject, "sessions must rise", before.session)
    pairs = [(day.divergent, day.compared), (day.compared, day.challenger.decisions)]
    for traded in (day.champion, day.challenger):
        pairs += [
            (traded.orders, traded.decisions), (traded.rejects, traded.orders), (traded.limit_hits, traded.decisions),
            (0, traded.fills),
        ]  # fmt: skip
    if not all(0 <= part <= whole for part, whole in pairs):
        raise DataError(subject, "no count may be negative or above what it is counted in", pairs)


def _check_share(day: CanaryDay, allowed_frac: float) -> None:
    if not is_absent(day) and day.share_frac != allowed_frac:
        rule = f"the challenger was allowed {allowed_frac:.0%} of the capital"
        raise DataError(f"canary day {day.session}", rule, day.share_frac)
