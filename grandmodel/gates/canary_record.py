"""The record of one canary: its plan, fixed before the first day, and its days, from which every verdict follows.

::

    state/canary/<release>-<champion>/
    ├── plan.json   written once
    └── days.jsonl  one day a line, rising; days of the shadow are made here, later ones come from whoever trades

Nothing else is remembered. What a step of the ledger rested on cannot be changed unnoticed (``canary_ledger``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from grandmodel.core.errors import DataError
from grandmodel.core.files import write_json_atomic, write_text_atomic
from grandmodel.gates import g8_canary
from grandmodel.gates.canary import CanaryDay, CanaryPlan, Course
from grandmodel.gates.canary_ledger import record_steps, roll_back_if_breached
from grandmodel.gates.result import GateResult, refused
from grandmodel.registry.moves import Outcome
from grandmodel.registry.store import Registry

PLAN, DAYS = "plan.json", "days.jsonl"
VERDICT_KEY = "canary"  # in the evidence of a move into production


def folder_of(state: Path, release_id: str, champion_id: str) -> Path:
    """Return where the record of this canary lies."""
    return state / "canary" / f"{release_id}-{champion_id}"


def begin(folder: Path, plan: CanaryPlan) -> CanaryPlan:
    """Fix the plan of a canary; one that has begun keeps its own, which is returned."""
    if not (folder / PLAN).exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_json_atomic(folder / PLAN, asdict(plan))
    return read_plan(folder)


def read_plan(folder: Path) -> CanaryPlan:
    """Return the plan of a canary. Raises DataError where it has not begun, or the file is no plan."""
    try:
        return CanaryPlan(**json.loads((folder / PLAN).read_text()))
    except (OSError, ValueError, TypeError) as error:
        do = "Begin it with the flow `canary`, or restore the file"
        raise DataError(str(folder / PLAN), "must hold the plan of a canary", str(error), do) from error


def read_days(folder: Path) -> list[CanaryDay]:
    """Return the days of a canary, oldest first; none where there are none. Raises DataError naming a broken line."""
    path = folder / DAYS
    lines = path.read_text().splitlines() if path.exists() else []
    return [day_of(line, f"{path} line {number}") for number, line in enumerate(lines, start=1)]


def day_of(text: str, subject: str) -> CanaryDay:
    """Return the day that a line of JSON holds. Raises DataError."""
    try:
        return CanaryDay.from_dict(json.loads(text))
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(subject, "must hold one day of a canary", repr(error), "See docs/canary.md") from error


def add_days(folder: Path, days: Sequence[CanaryDay]) -> int:
    """Add the days that the record does not hold yet; return how many those were.

    Raises:
        DataError: a day is held with other content, or lies before the newest one that is held.
    """
    held = read_days(folder)
    known = {day.session: day for day in held}
    fresh = [day for day in days if known.get(day.session) != day]
    for day in fresh:
        if day.session in known or (held and day.session < held[-1].session):
            rule = "a day is written once, and after the days before it"
            raise DataError(f"{folder / DAYS} session {day.session}", rule, day.to_dict(), "Begin another canary")
    lines = [json.dumps(day.to_dict(), sort_keys=True) for day in (*held, *fresh)]
    if fresh:
        write_text_atomic(folder / DAYS, "".join(f"{line}\n" for line in lines))
    return len(fresh)


def walk_on(registry: Registry, folder: Path, *, release_id: str, champion_id: str) -> tuple[Course, Outcome | None]:
    """Judge the record, write the steps that are missing in the ledger, and roll back on a breach.

    Repeated, it changes nothing.

    Raises:
        DataError: the record is broken or impossible.
        LedgerError: the ledger does not verify, or record and ledger differ.
        RegistryError: a breach asks for a rollback that cannot be made.
    """
    plan, days = read_plan(folder), read_days(folder)
    course = record_steps(registry.ledger, plan, days, release_id=release_id, champion_id=champion_id)
    return course, roll_back_if_breached(registry, course, release_id=release_id)


def verdict_of(registry: Registry, state: Path, release_id: str) -> GateResult:
    """Return G8 on the canary of ``release_id`` beside the present champion of production; refused where there is none.

    Raises:
        DataError: the record is broken or impossible.
        LedgerError: the ledger does not verify, or record and ledger differ.
    """
    champion_id = next(row for row in registry.status() if row["environment"] == "production")["release_id"]
    if champion_id is None:
        return _none("production has no champion beside which it could walk")
    folder = folder_of(state, release_id, champion_id)
    if not (folder / PLAN).exists():
        return _none(f"no canary of it has begun beside champion {champion_id}")
    plan, days = read_plan(folder), read_days(folder)
    record_steps(registry.ledger, plan, days, release_id=release_id, champion_id=champion_id)
    return g8_canary.judge(plan, days)


def production_evidence(registry: Registry, state: Path, release_id: str) -> dict[str, Any]:
    """Return what a release must show of its canary before production. Errors as ``verdict_of``."""
    return {VERDICT_KEY: verdict_of(registry, state, release_id).to_dict()}


def _none(why: str) -> GateResult:
    return refused(g8_canary.NAME, g8_canary.ALARM_MAX, why)
