"""G6: shocks cost no more than allowed, guard and breaker do what their limits say, and the risk number holds.

The risk number is the value at risk that limits are held against; ``risk_number`` says how it is judged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from math import inf, isfinite
from typing import Any

from grandmodel.core.config import BreakerLimits, RiskLimits
from grandmodel.gates.result import GateResult, plain, power_evidence, refused
from grandmodel.gates.risk_number import RiskNumber, doubled_power, number_faults
from grandmodel.gates.text import count, listing, percent, plain_name

NAME = "g6_risk"
LIMITS_REQUIRED = frozenset(  # those of an environment (configs/); the hour at which a day begins bounds nothing
    [f"breaker_{name}" for name in BreakerLimits.model_fields]
    + [f"guard_{name}" for name in RiskLimits.model_fields if name != "day_start_utc_hour"]
)
TOLERANCE = 1e-8  # the guard lets a billionth of a cap of a few times the equity pass as rounding


@dataclass(frozen=True)
class StressRow:
    """One scenario replayed through features, policies and the guard. Losses are positive, of equity.

    Caps and gross are money over equity.
    """

    scenario: str
    loss_frac: float  # equity lost from just before the shock to the end of the replay; negative is a gain
    drawdown_frac: float  # deepest fall from the peak during the replay
    gross_cap_before: float  # what the guard allowed before the shock
    gross_cap_after: float  # what it allowed at the end
    gross_after: float  # what the last decision leaves
    state: str  # ACTIVE, REDUCING or HALTED at the end
    bars_to_breaker: int | None  # bars from the shock to the first cut or halt; None if there was none
    drill: bool = False  # forced full exposure: shows that the breaker works, not held against the loss limit
    loss_without_breaker_frac: float | None = None  # the same with no guard at all; None where it was not replayed
    first_reason: str = ""  # why state or cap first became stricter; empty if they never did
    permitted_share: float | None = None  # gross permitted over gross asked, all decisions; None if nothing was asked
    events: Mapping[str, int] = field(default_factory=dict)  # how often each came; broken limits by their names
    gross_before: float | None = None  # held at the shock; None where it was not told, which shows nothing


def judge(
    rows: Sequence[StressRow],
    limits: Mapping[str, float],
    *,
    loss_max_frac: float,
    breaker: BreakerLimits,
    numbers: Sequence[RiskNumber | str],
    false_alarm_max: float,
) -> GateResult:
    """Refuse a loss over the limit, a breaker that did not cut or halt, missing limits, or a risk number that fails.

    The rows, drills included, must take the drawdown past the half level and past the halt level at least once; a
    breaker that nothing reached is not shown to work. One scenario at least must have struck something that was held.
    ``limits`` must hold LIMITS_REQUIRED. Statistic: the worst loss. n is the number of rows.
    ``numbers`` holds one risk number a horizon, or the words why it could not be judged, which refuse;
    ``false_alarm_max`` is the chance that right numbers are refused, over all of them together.
    """
    told = [row for row in rows if not row.drill]
    if not told:
        return refused(NAME, loss_max_frac, "no scenario was replayed")
    broken = [row.scenario for row in rows if not _finite(row)]
    if broken:
        return refused(NAME, loss_max_frac, f"{listing(broken)} gave a figure that is not finite", n=len(rows))
    if not any(row.gross_before is not None and row.gross_before > 0.0 for row in told):
        why = "nothing was held at any shock, and what is not held is not shown to be safe"
        return refused(NAME, loss_max_frac, why, n=len(rows))
    faults = [fault for row in rows for fault in breaker_faults(row, breaker)]
    for level, name in ((breaker.half_drawdown_frac, "cut"), (breaker.halt_drawdown_frac, "halt")):
        if all(row.drawdown_frac < level for row in rows):
            faults.append(f"no scenario reached {percent(level, 0)} of drawdown, so the {name} was never shown")
    worst = max(told, key=lambda row: row.loss_frac)
    faults += limit_faults(limits)
    faults += [fault for row in told for fault in loss_faults(row, loss_max_frac)]
    faults += number_faults(numbers, false_alarm_max)
    result = _result(rows, limits, worst, faults, loss_max_frac, breaker)
    return _with_numbers(result, [one for one in numbers if isinstance(one, RiskNumber)], false_alarm_max)


def passes(row: StressRow, *, loss_max_frac: float, breaker: BreakerLimits) -> bool:
    """Return whether one row, judged alone, has finite figures and no fault."""
    return _finite(row) and not breaker_faults(row, breaker) and not loss_faults(row, loss_max_frac)


def limit_faults(limits: Mapping[str, float]) -> list[str]:
    """Return which of LIMITS_REQUIRED are missing and which limits are not positive finite numbers, in words."""
    missing = sorted(LIMITS_REQUIRED - set(limits))
    wrong = sorted(name for name, value in limits.items() if not _is_limit(value))
    faults = [f"the limits block lacks {listing(missing)}"] if missing else []
    return faults + ([f"of the limits {listing(wrong)} must be positive and finite"] if wrong else [])


def loss_faults(row: StressRow, loss_max_frac: float) -> list[str]:
    """Return in words that the row loses too much; a drill is not held against that limit."""
    too_much = row.loss_frac > loss_max_frac and not row.drill
    return [f"{plain_name(row.scenario)} loses {percent(row.loss_frac)}"] if too_much else []


def breaker_faults(row: StressRow, breaker: BreakerLimits) -> list[str]:
    """Return where the breaker of one row did not do what ``breaker`` says, in words."""
    name, fallen = plain_name(row.scenario), percent(row.drawdown_frac)
    faults = []
    for level, fraction in ((breaker.half_drawdown_frac, 0.5), (breaker.quarter_drawdown_frac, 0.25)):
        if row.drawdown_frac >= level and row.gross_cap_after > fraction * row.gross_cap_before + TOLERANCE:
            faults.append(f"{name}: cap {row.gross_cap_after:g} after {fallen} of drawdown")
    if row.gross_after > row.gross_cap_after + TOLERANCE:
        faults.append(f"{name}: gross {row.gross_after:g} stayed above its cap {row.gross_cap_after:g}")
    if row.drawdown_frac >= breaker.halt_drawdown_frac and row.state != "HALTED":
        faults.append(f"{name}: {row.state} after {fallen} of drawdown, not HALTED")
    return faults


def _finite(row: StressRow) -> bool:
    figures = (row.loss_frac, row.drawdown_frac, row.gross_cap_before, row.gross_cap_after, row.gross_after)
    return all(isfinite(figure) for figure in figures) and (row.gross_before is None or isfinite(row.gross_before))


def _is_limit(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0.0 < value < inf


def _result(
    rows: Sequence[StressRow],
    limits: Mapping[str, float],
    worst: StressRow,
    faults: list[str],
    loss_max_frac: float,
    breaker: BreakerLimits,
) -> GateResult:
    cuts = sum(row.drawdown_frac >= breaker.half_drawdown_frac for row in rows)
    halts = sum(row.drawdown_frac >= breaker.halt_drawdown_frac for row in rows)
    exact = (
        f"Exact on the {count(len(rows), 'replayed scenario')}: a breaker that fails in a required cut or halt is "
        "caught; a shock that is not listed is not."
    )
    evidence = {
        "rows": [asdict(row) for row in rows],
        "limits": dict(limits),
        "breaker": breaker.model_dump(),
        "faults": faults,
        "cuts_required": cuts,
        "halts_required": halts,
        "statistic_name": "worst loss, fraction of equity",
    } | power_evidence(exact, smallest="one cut, cap or halt that fails", data="none: it is exact")
    told = count(len({row.scenario for row in rows if not row.drill}), "scenario")
    losses = f"the worst of {told} is {plain_name(worst.scenario)} with {percent(worst.loss_frac)}"
    if faults:
        reason = f"Risk is refused: {listing(faults, 3)} ({losses}, limit {percent(loss_max_frac)})."
    else:
        reason = (
            f"{losses[0].upper()}{losses[1:]} of equity lost (limit {percent(loss_max_frac)}); the breaker made all "
            f"{count(cuts, 'required cut')} and {count(halts, 'required halt')}; limits set: {len(limits)}."
        )
    return GateResult(NAME, not faults, worst.loss_frac, loss_max_frac, 1.0, len(rows), reason, plain(evidence))


def _with_numbers(result: GateResult, numbers: Sequence[RiskNumber], false_alarm_max: float) -> GateResult:
    """Return the verdict with the risk numbers in its evidence, its power and, where it passed, its reason."""
    power, about_number = doubled_power(numbers, false_alarm_max)
    about = power_evidence(f"{result.evidence['power_statement']} {about_number.pop('statement')}", **about_number)
    evidence = result.evidence | plain({"risk_numbers": [asdict(one) for one in numbers]} | about)
    reason = result.reason
    if result.passed:
        told = " and ".join(f"{one.exceptions} of {one.judged:,} in {one.horizon}" for one in numbers)
        reason = f"{reason[:-1]}; losses beyond the {percent(numbers[0].level, 0)} value at risk: {told}."
    return replace(result, power=power, reason=reason, evidence=evidence)
