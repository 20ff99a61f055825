"""The record of one canary: its days, from which with the plan in the ledger every verdict follows.

``state/canary/<release>-<champion>/days.jsonl`` holds one day a line, rising: days of the shadow are made here, later
ones come from whoever trades. Nothing else is remembered. What a step of the ledger rested on cannot be changed
unnoticed (``canary_ledger``). All that reads, adds, judges and rolls back does so under the lock of the ledger.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from grandmodel.core.errors import DataError
from grandmodel.core.files import write_text_atomic
from grandmodel.gates import g8_canary
from grandmodel.gates.canary import Course, follow
from grandmodel.gates.canary_calendar import is_over, session_at, sessions_due
from grandmodel.gates.canary_days import WAY_ON, CanaryDay, CanaryPlan, with_absent
from grandmodel.gates.canary_ledger import (
    Pair,
    is_rollback,
    plan_of,
    steps_held,
    steps_missing,
    take_out,
    write_steps,
)
from grandmodel.gates.result import GateResult, refused
from grandmodel.registry.ledger import Entry, Ledger
from grandmodel.registry.moves import Outcome, moves_into
from grandmodel.registry.store import Registry

VERDICT_KEY = "canary"  # in the evidence of a move into production


class Walked(NamedTuple):
    """What a look at a canary found and did."""

    course: Course
    days_added: int
    back: Outcome | None  # of the rollback, where this look made it


def read_days(path: Path) -> list[CanaryDay]:
    """Return the days of a file, one a line; none where there is no file. Raises DataError naming a broken line."""
    try:
        lines = path.read_text().splitlines() if path.exists() else []
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(str(path), "must be a text file", str(error)) from error
    return [_day_of(line, f"{path} line {number}") for number, line in enumerate(lines, start=1)]


def walk_on(
    registry: Registry, state: Path, pair: Pair, *, now: datetime | None, days: Sequence[CanaryDay] = ()
) -> Walked:
    """Take ``days`` in, judge the record, write the steps that the ledger does not hold yet, roll back on a breach.

    Repeated, it changes nothing. What is refused leaves record and ledger as they were.

    Args:
        registry: the four registries.
        state: folder of the record.
        pair: whose canary.
        now: UTC; once a share is allowed, sessions that had closed by then and have no day count as not known. None
            looks at the record alone.
        days: new ones, rising; those that are held already, and those after the end, are passed over.

    Raises:
        DataError: the canary has not begun or had ended before all ``days``, a day is held with other content, does not
            rise, lies after ``now``, or is refused by ``follow``; or the record is broken.
        LedgerError: the ledger does not verify, or record and ledger differ.
        RegistryError: a breach asks for a rollback that cannot be made.
    """
    with registry.ledger.locked():
        back = _take_out_what_fell(registry, pair)  # also where its days are lost since
        course, added = _judge(registry.ledger, state, pair, now, days)
        return Walked(course, added, back or _take_out_what_fell(registry, pair))


def sessions_of(ledger: Ledger, state: Path, pair: Pair, now: datetime | None) -> tuple[CanaryPlan, list[CanaryDay]]:
    """Return the plan of a canary and its sessions until ``now``, those without a day as empty ones. Errors as above.

    It changes nothing.
    """
    with ledger.locked():
        plan = _begun(ledger, pair)
        return plan, _sessions(ledger, pair, plan, read_days(pair.days_file(state)), now)


def timeline(
    plan: CanaryPlan,
    days: Sequence[CanaryDay],
    *,
    last_session: int,
    now: datetime | None,
    excused: Sequence[tuple[int, int]] = (),
) -> list[CanaryDay]:
    """Return ``days`` with an empty one for each session without a day, through ``last_session`` and what is due.

    ``excused`` are spans (after, through) of sessions that nobody could have traded: a share was allowed after them.
    """
    if not days:
        return []
    last_session = max(last_session, max(day.session for day in days))
    due = sessions_due(plan.markets, days[0].session, last_session, now)
    return with_absent(days, [one for one in due if not any(after < one <= through for after, through in excused)])


def _sessions(
    ledger: Ledger, pair: Pair, plan: CanaryPlan, days: Sequence[CanaryDay], now: datetime | None
) -> list[CanaryDay]:
    """Return the sessions that count: until a share is allowed nothing is at stake, and these are those on record."""
    lines = steps_held(ledger, pair)
    judged = max((line.subject["session"] for line in lines), default=0)
    excused = [(line.subject["session"], session_at(datetime.fromisoformat(line.time))) for line in lines]
    on_record = timeline(plan, days, last_session=judged, now=None, excused=excused)
    course = follow(plan, on_record)
    if now is None or course.status != "running" or course.share_frac == 0.0:
        return on_record
    return timeline(plan, days, last_session=judged, now=now, excused=excused)


def verdict_of(registry: Registry, state: Path, release_id: str) -> GateResult:
    """Return G8 on the canary of ``release_id`` beside the present champion of production; refused where there is none.

    Raises:
        DataError: the record is broken or impossible.
        LedgerError: the ledger does not verify, or record and ledger differ.
    """
    ledger = registry.ledger
    with ledger.locked():
        champion_id = next(row for row in registry.status() if row["environment"] == "production")["release_id"]
        if champion_id is None:
            return _none("production has no champion beside which it could walk")
        pair = Pair(release_id, champion_id)
        if plan_of(ledger, pair) is None:
            return _none(f"no canary of it has begun beside champion {champion_id}")
        fell = _fell(ledger, pair)
        if fell is not None:
            return g8_canary.rolled_back(f"beside champion {champion_id}, {fell.reason}")
        _judge(ledger, state, pair, None, ())
        return g8_canary.judge(*sessions_of(ledger, state, pair, None))


def production_evidence(registry: Registry, state: Path, release_id: str) -> dict[str, Any]:
    """Return what a release must show of its canary before production. Errors as ``verdict_of``."""
    return {VERDICT_KEY: verdict_of(registry, state, release_id).to_dict()}


def _judge(
    ledger: Ledger, state: Path, pair: Pair, now: datetime | None, days: Sequence[CanaryDay]
) -> tuple[Course, int]:
    """Return the course with ``days`` taken in, and how many were new; nothing is written before these are judged.

    What is not on record is judged after the steps of what is, which say from when on a day was due.
    """
    plan, path = _begun(ledger, pair), pair.days_file(state)
    held = read_days(path)
    fresh, fell = _fresh(ledger, pair, plan, held, days, now), _fell(ledger, pair)
    if fresh and fell is not None:
        raise DataError(f"canary day {fresh[0].session}", f"the canary was rolled back: {fell.reason}", do=WAY_ON)
    course = follow(plan, _sessions(ledger, pair, plan, [*held, *fresh], None))
    if course.status != "running":
        fresh = _until(fresh, course)
    whole = [*held, *fresh]
    missing = steps_missing(ledger, pair, course, whole)
    if fresh:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomic(path, "".join(f"{json.dumps(day.to_dict(), sort_keys=True)}\n" for day in whole))
    write_steps(ledger, pair, missing, whole)
    course = follow(plan, _sessions(ledger, pair, plan, whole, now))
    write_steps(ledger, pair, steps_missing(ledger, pair, course, whole), whole)
    return course, len(fresh)


def _until(fresh: Sequence[CanaryDay], course: Course) -> list[CanaryDay]:
    """Return those of ``fresh`` that came before the end of ``course``. Raises DataError where none did."""
    taken = [day for day in fresh if day.session <= course.steps[-1].session]
    if fresh and not taken:
        raise DataError(f"canary day {fresh[0].session}", f"the canary had ended ({course.status}) before it")
    return taken


def _fresh(
    ledger: Ledger,
    pair: Pair,
    plan: CanaryPlan,
    held: Sequence[CanaryDay],
    days: Sequence[CanaryDay],
    now: datetime | None,
) -> list[CanaryDay]:
    """Return those of ``days`` that ``held`` does not hold yet. Raises DataError where one may not be added."""
    known = {day.session: day for day in held}
    newest, entered = max(known, default=None), _entered(ledger, pair)
    fresh = []
    for day in days:
        if known.get(day.session) == day:
            continue
        subject = f"canary of {pair.release_id} session {day.session}"
        if day.session < entered:
            raise DataError(subject, f"it entered canary on day {entered}, and no day comes before", do="Leave it out")
        if day.session in known or (newest is not None and day.session < newest):
            rule = "a day is written once, and after the days before it"
            raise DataError(subject, rule, day.to_dict(), "Leave it out")
        if now is not None and not is_over(plan.markets, day.session, now):
            raise DataError(subject, f"a day must be over at {now.isoformat()}", do="Give it when it is")
        fresh.append(day)
        known[day.session], newest = day, day.session
    return fresh


def _entered(ledger: Ledger, pair: Pair) -> int:
    """Return the day on which the challenger last entered canary; 0 where it never did."""
    moves = [line for line in moves_into(ledger.read(), "canary") if line.subject["release_id"] == pair.release_id]
    return session_at(datetime.fromisoformat(moves[-1].time)) if moves else 0


def _begun(ledger: Ledger, pair: Pair) -> CanaryPlan:
    plan = plan_of(ledger, pair)
    if plan is None:
        rule = f"must have begun beside champion {pair.champion_id}"
        raise DataError(f"canary of {pair.release_id}", rule, do="Begin it with the flow `canary`")
    return plan


def _fell(ledger: Ledger, pair: Pair) -> Entry | None:
    return next((line for line in steps_held(ledger, pair) if is_rollback(line)), None)


def _take_out_what_fell(registry: Registry, pair: Pair) -> Outcome | None:
    fell = _fell(registry.ledger, pair)
    return None if fell is None else take_out(registry, pair, fell.reason)


def _day_of(text: str, subject: str) -> CanaryDay:
    try:
        return CanaryDay.from_dict(json.loads(text))
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise DataError(subject, "must hold one day of a canary", repr(error), "See docs/canary.md") from error


def _none(why: str) -> GateResult:
    return refused(g8_canary.NAME, g8_canary.ALARM_MAX, why)
