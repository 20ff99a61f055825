"""The canary in the ledger: begun once, each step once, in order, and only those that its days give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from grandmodel.core.errors import LedgerError
from grandmodel.gates.canary import Course, follow
from grandmodel.gates.canary_days import CanaryDay
from grandmodel.gates.canary_ledger import (
    Pair,
    begin,
    days_sha256,
    is_rollback,
    plan_of,
    steps_held,
    steps_missing,
    write_steps,
)
from grandmodel.registry.ledger import Ledger
from tests.grandmodel.gates.canaries import PLAN, breached, days_of

PAIR = Pair("challenger01", "champion0001")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.jsonl", lambda: datetime(2026, 3, 3, 14, 30, tzinfo=UTC))


def judge(ledger: Ledger, days: Sequence[CanaryDay], pair: Pair = PAIR) -> Course:
    course = follow(PLAN, days)
    write_steps(ledger, pair, steps_missing(ledger, pair, course, days), days)
    return course


def test_one_line_begins_a_canary_and_holds_its_plan(ledger: Ledger) -> None:
    plan = replace(PLAN, markets=(("globex", "ES"),))
    assert plan_of(ledger, PAIR) is None
    assert begin(ledger, plan, PAIR) == plan_of(ledger, PAIR) == plan
    assert begin(ledger, replace(plan, alpha=0.2), PAIR) == plan
    (line,) = ledger.read()
    told = {**asdict(plan), "markets": [["globex", "ES"]]}
    assert line.subject == {"release_id": PAIR.release_id, "champion_id": PAIR.champion_id, "plan": told}


def test_a_canary_judged_every_day_writes_each_step_once(ledger: Ledger) -> None:
    days = days_of(30)
    for count in range(1, len(days) + 1):
        judge(ledger, days[:count])
        judge(ledger, days[:count])
    lines = ledger.read()
    assert [line.subject["share_after_frac"] for line in lines] == [0.01, 0.05, 0.25, 1.0, 1.0]
    assert {line.kind for line in lines} == {"share"}
    assert lines[1].evidence_sha256 == days_sha256(days[:12])


def test_what_a_kill_left_unwritten_is_written_by_the_next_call(ledger: Ledger) -> None:
    days = days_of(30)
    judge(ledger, days[:13])
    course = judge(ledger, days)
    assert course.status == "completed"
    assert len(ledger.read()) == len(course.steps) == 5


def test_days_changed_after_their_step_are_refused(ledger: Ledger) -> None:
    days = days_of(12)
    judge(ledger, days)
    changed = [replace(days[0], challenger=replace(days[0].challenger, slippage_frac=2e-4)), *days[1:]]
    later = [replace(day, session=day.session + 1) for day in days]
    for others in (changed, later, days[:8], []):
        with pytest.raises(LedgerError, match="changed since"):
            judge(ledger, others)


def test_another_canary_has_lines_of_its_own(ledger: Ledger) -> None:
    judge(ledger, days_of(6))
    judge(ledger, days_of(6), Pair("challenger02", PAIR.champion_id))
    assert len(ledger.read()) == 2
    assert len(steps_held(ledger, PAIR)) == 1


def test_a_rollback_is_a_line_with_its_reason(ledger: Ledger) -> None:
    judge(ledger, breached())
    last = ledger.read()[-1]
    assert is_rollback(last)
    assert not any(is_rollback(line) for line in ledger.read()[:-1])
    assert last.reason.startswith("slippage is outside its bound")
