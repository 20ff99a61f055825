"""The canary's steps as lines of the promotion ledger, and the rollback that a breach asks for.

A canary is one challenger beside one champion from one session on. Its lines are what ``follow`` makes of its days: a
process that was killed judges the same days again, and writes what is missing. Each line holds the hash of plan and
days that it rests on, so days that were changed afterwards are noticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from grandmodel.core.errors import LedgerError
from grandmodel.core.hashing import hash_json
from grandmodel.gates.canary import CanaryDay, CanaryPlan, Course, ShareStep, follow
from grandmodel.registry.ledger import Ledger
from grandmodel.registry.moves import Outcome
from grandmodel.registry.store import Registry

KIND, ACTOR = "share", "canary"


def record_steps(
    ledger: Ledger, plan: CanaryPlan, days: Sequence[CanaryDay], *, release_id: str, champion_id: str
) -> Course:
    """Write every step of the canary that the ledger does not hold yet, and return its course.

    Raises:
        LedgerError: the ledger does not verify, or its lines of this canary are not those that plan and days give.
        DataError: as ``follow``.
    """
    course = follow(plan, days)
    if not days:
        return course
    canary = {"release_id": release_id, "champion_id": champion_id, "first_session": days[0].session}
    wanted = [({**canary, **_told(step)}, evidence_sha256(plan, days[: step.days])) for step in course.steps]
    with ledger.locked():
        lines = [
            entry
            for entry in ledger.read()
            if entry.kind == KIND and canary == {name: entry.subject.get(name) for name in canary}
        ]
        held = [(dict(entry.subject), entry.evidence_sha256) for entry in lines]
        if held != wanted[: len(held)]:
            raise LedgerError(
                f"{ledger.path} canary of {release_id}",
                "its lines must be those that plan and days give; one of the two was changed since",
                [subject for subject, _ in held],
                "Restore the record of days",
            )
        for step, (subject, sha256) in list(zip(course.steps, wanted, strict=True))[len(held) :]:
            ledger.append(KIND, actor=ACTOR, reason=step.reason, subject=subject, evidence_sha256=sha256)
    return course


def roll_back_if_breached(registry: Registry, course: Course, *, release_id: str) -> Outcome | None:
    """Roll the canary registry back when ``course`` ended so and ``release_id`` still stands there; else None.

    Raises:
        RegistryError: there is no earlier champion to return to, or it does not verify.
    """
    if course.status != "rolled_back":
        return None
    standing = next(row for row in registry.status() if row["environment"] == "canary")
    if standing["release_id"] != release_id:
        return None
    return registry.rollback("canary", actor=ACTOR, reason=course.steps[-1].reason)


def evidence_sha256(plan: CanaryPlan, days: Sequence[CanaryDay]) -> str:
    """Return the hash that a step which rests on ``plan`` and ``days`` names."""
    return hash_json({"plan": asdict(plan), "days": [day.to_dict() for day in days]})


def _told(step: ShareStep) -> dict[str, Any]:
    return {name: value for name, value in asdict(step).items() if name != "reason"}
