"""The canary: how much of the capital a challenger may trade, day by day, as a function of the record of its days.

The share grows along ``SHARES_FRAC`` while five sequences stay inside their bounds, and falls to nothing on the first
day on which one does not. All five hold at all days together, so the record may be judged daily, or hourly:

- **slippage**, **rejects**, **limit_hits**: challenger less champion over the sum of both, on the same day. While the
  two are alike, either could have been the other, so this is symmetric: ``log_evidence_symmetric``. It has no unit, and
  a dear day for both says no more than a cheap one.
- **divergence**: share of the challenger's decisions that differ from those of its shadow on the same bars, against a
  bound: ``log_evidence_bounded``.
- **drawdown**: against an envelope simulated from the release's own evidence (``grandmodel.stats.drawdown``).

Each may err with a fifth of ``alpha``. There is no sixth for profit: see ``years_to_tell``.

Nothing is remembered: what happened follows from plan and days, so a process may be killed anywhere and judge again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import NormalDist
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.stats.confidence_sequences import log_evidence_bounded, log_evidence_symmetric, mixture_precision

Floats = NDArray[np.float64]
Status = Literal["running", "completed", "rolled_back"]

SHARES_FRAC = (0.0, 0.01, 0.05, 0.25, 1.0)  # of the capital; the first is the shadow
SEQUENCES = ("slippage", "rejects", "limit_hits", "divergence", "drawdown")
RELATIVE_SCALE = 0.3  # relative difference at which evidence is strongest: what twice as much gives; see `_symmetric`
CLAIM_SIZE, CLAIM_POWER = 0.05, 0.8  # one-sided, of a claim about Sharpe that is not made here


@dataclass(frozen=True)
class CanaryPlan:
    """The rules of one canary, fixed before its first day."""

    drawdown_max_frac: float  # envelope over ``days_max`` days, exceeded with probability ``alpha / 5``
    divergence_max_frac: float = 0.005  # of decisions
    slippage_margin_frac: float = 0.0  # by which the challenger may be worse and still be called alike
    alpha: float = 0.05  # probability that a challenger like its champion is rolled back, however often one looks
    days_per_step: int = 6  # on which both traded and all was known
    days_max: int = 45  # after which a canary that is not through ends
    unknown_days_max: int = 2  # in a row; one more ends it

    def __post_init__(self) -> None:
        bounds = (self.drawdown_max_frac, self.divergence_max_frac, self.alpha)
        if not (all(0.0 < one < 1.0 for one in bounds) and 0.0 <= self.slippage_margin_frac < 1.0):
            raise ConfigError("canary plan", "bounds must lie in (0, 1), the margin at zero or above", asdict(self))
        if not (0 < self.days_per_step * len(SHARES_FRAC) <= self.days_max and self.unknown_days_max >= 0):
            raise ConfigError("canary plan days_max", "must leave room for every step", self.days_max)

    @property
    def log_evidence_max(self) -> float:
        """Return the log evidence from which on a sequence is breached."""
        return math.log(len(SEQUENCES) / self.alpha)


@dataclass(frozen=True)
class Traded:
    """What one release did on one day."""

    decisions: int
    orders: int  # decisions that asked for another position than the one held
    rejects: int  # orders that were not sent as asked
    limit_hits: int  # decisions at which a limit of the guard was broken
    fills: int
    slippage_frac: float | None  # cost over money traded; None where nothing was filled, or it is not known
    log_return: float | None  # of the capital it was given; None where it is not known


@dataclass(frozen=True)
class CanaryDay:
    """One day of champion and challenger on the same bars."""

    session: int  # days since 1970-01-01
    share_frac: float  # of the capital, that the challenger traded with
    champion: Traded
    challenger: Traded
    compared: int = 0  # decisions of the challenger held against those of its shadow; none while it is the shadow
    divergent: int = 0  # of these

    def to_dict(self) -> dict[str, Any]:
        """Return the day as plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> CanaryDay:
        """Return the day that ``to_dict`` wrote."""
        both = {name: Traded(**content[name]) for name in ("champion", "challenger")}
        return cls(**{**content, **both})


@dataclass(frozen=True)
class ShareStep:
    """One change of the share, at the close of a day; one line of the ledger."""

    session: int
    days: int  # of the record that it rests on
    share_before_frac: float
    share_after_frac: float
    reason: str


@dataclass(frozen=True)
class Course:
    """What a record of D days led to."""

    status: Status
    share_frac: float  # that the challenger trades with next
    steps: tuple[ShareStep, ...]
    alarms: dict[str, tuple[float, ...]]  # by sequence, [D]: 0 nothing, 1 breached
    faults: tuple[str, ...]  # [D] what was not known on a day; "" where all was

    @property
    def largest_alarm(self) -> float:
        """Return the largest alarm of any sequence on any day; 0 on an empty record."""
        return max((alarm for path in self.alarms.values() for alarm in path), default=0.0)


def follow(plan: CanaryPlan, days: Sequence[CanaryDay]) -> Course:
    """Return what ``days`` lead to under ``plan``; what more days add never changes a step that was taken.

    Raises:
        DataError: counts that cannot be, sessions that do not rise, a day after the end, or one on which the challenger
            traded another share than it was allowed.
    """
    alarms = {name: tuple(path.tolist()) for name, path in _alarms(plan, days).items()}
    faults = tuple(fault_of(day) for day in days)
    steps: list[ShareStep] = []
    status: Status = "running"
    level = counted = unknown = 0
    for t, day in enumerate(days):
        _check(day, days[t - 1].session if t else None, SHARES_FRAC[level], status)
        unknown = unknown + 1 if faults[t] else 0
        counted += not faults[t] and _compares_slippage(day)
        through, last = counted == plan.days_per_step, level == len(SHARES_FRAC) - 1
        ends = _breach_of(plan, {name: path[t] for name, path in alarms.items()}, faults[t], unknown, t + 1)
        if not ends and t + 1 >= plan.days_max and not (through and last):
            ends = f"not through after days_max = {plan.days_max} days"
        if ends:
            status = "rolled_back"
            steps.append(ShareStep(day.session, t + 1, SHARES_FRAC[level], 0.0, ends))
        elif through:
            status = "completed" if last else "running"
            reason = f"all sequences inside on {counted} days at {SHARES_FRAC[level]:.0%}"
            before, level, counted = SHARES_FRAC[level], level if last else level + 1, 0
            steps.append(ShareStep(day.session, t + 1, before, SHARES_FRAC[level], reason))
    share_frac = 0.0 if status == "rolled_back" else SHARES_FRAC[level]
    return Course(status, share_frac, tuple(steps), alarms, faults)


def fault_of(day: CanaryDay) -> str:
    """Return what is not known of a day, in words; "" where all is. Such a day never lets the share grow."""
    for who, traded in (("champion", day.champion), ("challenger", day.challenger)):
        if traded.log_return is None or not math.isfinite(traded.log_return):
            return f"the return of the {who} is not known"
        if traded.fills and (traded.slippage_frac is None or not math.isfinite(traded.slippage_frac)):
            return f"the slippage of the {who} is not known"
        if not traded.decisions:
            return f"the {who} decided nothing"
    if day.share_frac > 0.0 and not day.compared:
        return "no decision of the challenger was held against its shadow"
    return ""


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
    """Return slippage of champion and challenger, float64[D] each, of money traded; NaN where either filled nothing."""
    both = [
        (day.champion.slippage_frac, day.challenger.slippage_frac) if _compares_slippage(day) else (math.nan, math.nan)
        for day in days
    ]
    champion, challenger = np.array(both, dtype=np.float64).reshape(-1, 2).T
    return champion, challenger


def relative_alarms(plan: CanaryPlan, champion: Floats, challenger: Floats) -> Floats:
    """Return the alarm, float64[D], that ``challenger`` has more of something bad than ``champion``, float64[D] each.

    NaN is a day that says nothing. Where both are zero, so is the difference.
    """
    total = np.abs(champion) + np.abs(challenger)
    relative = np.divide(challenger - champion, total, out=np.where(np.isnan(total), np.nan, 0.0), where=total > 0.0)
    return _path(relative, lambda values: _symmetric(plan, values))


def _alarms(plan: CanaryPlan, days: Sequence[CanaryDay]) -> dict[str, Floats]:
    champion, challenger = slippage_of_days(days)
    rejects = _rates(
        [((d.champion.rejects, d.champion.orders), (d.challenger.rejects, d.challenger.orders)) for d in days]
    )
    hits = _rates(
        [
            ((d.champion.limit_hits, d.champion.decisions), (d.challenger.limit_hits, d.challenger.decisions))
            for d in days
        ]
    )
    divergent = np.array([_rate(day.divergent, day.compared) for day in days], dtype=np.float64)
    returns = np.array(
        [math.nan if day.challenger.log_return is None else day.challenger.log_return for day in days], dtype=np.float64
    )
    return {
        "slippage": relative_alarms(plan, champion, challenger - plan.slippage_margin_frac),
        "rejects": relative_alarms(plan, *rejects),
        "limit_hits": relative_alarms(plan, *hits),
        "divergence": _path(
            divergent, lambda values: log_evidence_bounded(values, plan.divergence_max_frac) / plan.log_evidence_max
        ),
        "drawdown": _path(returns, lambda values: _drawdown_frac(values) / plan.drawdown_max_frac),
    }


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


def _rates(pairs: Sequence[tuple[tuple[int, int], tuple[int, int]]]) -> tuple[Floats, Floats]:
    """Return the rates of champion and challenger, float64[D] each; NaN where there is nothing to count in."""
    both = np.array([[_rate(*one) for one in pair] for pair in pairs], dtype=np.float64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def _rate(count: int, of: int) -> float:
    return count / of if of else math.nan


def _compares_slippage(day: CanaryDay) -> bool:
    both = (day.champion, day.challenger)
    return all(one.fills and one.slippage_frac is not None and math.isfinite(one.slippage_frac) for one in both)


def _breach_of(plan: CanaryPlan, alarms: dict[str, float], fault: str, unknown: int, days: int) -> str:
    """Return which bound was left, or that too little is known; "" where neither."""
    worst = max(alarms, key=lambda name: alarms[name])
    if alarms[worst] >= 1.0:
        return f"{worst} is outside its bound: {alarms[worst]:.2f} of what is allowed after {days} days"
    if unknown > plan.unknown_days_max:
        return f"{fault}, on the last of {unknown} days in a row of which not all is known"
    return ""


def _check(day: CanaryDay, before: int | None, allowed_frac: float, status: Status) -> None:
    subject = f"canary day {day.session}"
    if status != "running":
        raise DataError(subject, f"the canary had ended ({status}) before it", do="Begin another one")
    if before is not None and day.session <= before:
        raise DataError(subject, "sessions must rise", before)
    if day.share_frac != allowed_frac:
        raise DataError(subject, f"the challenger was allowed {allowed_frac:.0%} of the capital", day.share_frac)
    pairs = [(day.divergent, day.compared)]
    for traded in (day.champion, day.challenger):
        pairs += [
            (traded.orders, traded.decisions), (traded.rejects, traded.orders), (traded.limit_hits, traded.decisions),
            (0, traded.fills),
        ]  # fmt: skip
    if not all(0 <= part <= whole for part, whole in pairs):
        raise DataError(subject, "no count may be negative or above what it is counted in", pairs)
