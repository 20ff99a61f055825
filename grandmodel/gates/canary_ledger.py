"""The canary in the promotion ledger: one line that begins it and holds its plan, one for each change of the share.

There is one canary for a challenger beside a champion, ever, and its lines are known by these two alone. Its steps are
what ``follow`` makes of its days: a process that was killed judges the same days again, and writes what is missing.
Each step holds the hash of the days that it rests on, so days that were changed afterwards are noticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

from grandmodel.core.errors import LedgerError
from grandmodel.core.hashing import hash_json
from grandmodel.gates.canary import Course, ShareStep
from grandmodel.gates.canary_days import CanaryDay, CanaryPlan
from grandmodel.registry.ledger import Entry, Ledger
from grandmodel.registry.moves import Outcome, made_moves
from grandmodel.registry.store import Registry

BEGIN, STEP, ACTOR = "canary", "share", "canary"


class Pair(NamedTuple):
    """A challenger beside a champion, by their release ids."""

    release_id: str
    champion_id: str

    def days_file(self, state: Path) -> Path:
        """Return where the days of this canary lie: one a line, rising."""
        return state / "canary" / f"{self.release_id}-{self.champion_id}" / "days.jsonl"


def begin(ledger: Ledger, plan: CanaryPlan, pair: Pair) -> CanaryPlan:
    """Fix the plan of a canary in the ledger; one that has begun keeps its own, which is returned.

    Raises LedgerError where the ledger does not verify.
    """
    with ledger.locked():
        held = plan_of(ledger, pair)
        if held is None:
            reason = f"{pair.release_id} walks beside champion {pair.champion_id}"
            ledger.append(BEGIN, actor=ACTOR, reason=reason, subject={**pair._asdict(), "plan": asdict(plan)})
        return held or plan


def plan_of(ledger: Ledger, pair: Pair) -> CanaryPlan | None:
    """Return the plan with which the canary of ``pair`` began; None where it has not. Raises LedgerError."""
    lines = _lines(ledger, BEGIN, pair)
    return CanaryPlan.from_dict(lines[0].subject["plan"]) if lines else None


def steps_held(ledger: Ledger, pair: Pair) -> list[Entry]:
    """Return the lines of the steps of ``pair``, oldest first. Raises LedgerError where the ledger does not verify."""
    return _lines(ledger, STEP, pair)


def is_rollback(line: Entry) -> bool:
    """Return whether a step took the challenger's share away."""
    return bool(line.subject["share_after_frac"] == 0.0)


def steps_missing(ledger: Ledger, pair: Pair, course: Course, days: Sequence[CanaryDay]) -> list[ShareStep]:
    """Return the steps of ``course`` that the ledger does not hold yet, after comparing those that it does.

    Raises:
        LedgerError: the ledger does not verify, or its lines of this canary are not those that its days give.
    """
    held = [(dict(line.subject), line.evidence_sha256) for line in steps_held(ledger, pair)]
    wanted = [_line_of(pair, step, days) for step in course.steps]
    if held != wanted[: len(held)]:
        raise LedgerError(
            f"{ledger.path} canary of {pair.release_id}",
            "its lines must be those that its days give; the days were changed since",
            [subject for subject, _ in held],
            "Restore the record of days",
        )
    return list(course.steps[len(held) :])


def write_steps(ledger: Ledger, pair: Pair, steps: Sequence[ShareStep], days: Sequence[CanaryDay]) -> None:
    """Write ``steps`` that rest on ``days``. Raises LedgerError."""
    for step in steps:
        subject, sha256 = _line_of(pair, step, days)
        ledger.append(STEP, actor=ACTOR, reason=step.reason, subject=subject, evidence_sha256=sha256)


def take_out(registry: Registry, pair: Pair, reason: str) -> Outcome | None:
    """Roll the canary registry back if the challenger still stands there; else None. Call it under the ledger's lock.

    It goes back to the newest champion of another release, for the challenger may have been sealed twice.

    Raises:
        RegistryError: there is no earlier champion to return to, or it does not verify.
    """
    made = made_moves(registry.ledger.read(), "canary")
    if not made or made[-1].release_id != pair.release_id:
        return None
    others = [move.version for move in made if move.release_id != pair.release_id]
    return registry.rollback("canary", others[-1] if others else None, actor=ACTOR, reason=reason)


def days_sha256(days: Sequence[CanaryDay]) -> str:
    """Return the hash that a step which rests on ``days`` names."""
    return hash_json([day.to_dict() for day in days])


def _line_of(pair: Pair, step: ShareStep, days: Sequence[CanaryDay]) -> tuple[dict[str, Any], str]:
    told = {name: value for name, value in asdict(step).items() if name != "reason"}
    return {**pair._asdict(), **told}, days_sha256([day for day in days if day.session <= step.session])


def _lines(ledger: Ledger, kind: str, pair: Pair) -> list[Entry]:
    about = pair._asdict().items()
    return [entry for entry in ledger.read() if entry.kind == kind and about <= entry.subject.items()]
