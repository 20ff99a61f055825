"""The canary's steps in the ledger: once each, in order, and only those that its days give."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pytest

from grandmodel.core.errors import LedgerError
from grandmodel.gates.canary import SHARES_FRAC, CanaryDay, CanaryPlan, Course, Traded, follow
from grandmodel.gates.canary_ledger import evidence_sha256, record_steps, roll_back_if_breached
from grandmodel.registry.ledger import Ledger
from grandmodel.registry.moves import Outcome
from grandmodel.registry.store import Registry

PLAN = CanaryPlan(drawdown_max_frac=0.1)
WHO = {"release_id": "challenger01", "champion_id": "champion0001"}


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "ledger.jsonl", lambda: datetime(2026, 3, 3, 14, 30, tzinfo=UTC))


def days_of(count: int, *, worse: float = 1.0) -> list[CanaryDay]:
    shares = [SHARES_FRAC[min(t // PLAN.days_per_step, len(SHARES_FRAC) - 1)] for t in range(count)]
    usual = Traded(100, 20, 0, 0, 15, 1e-4, 0.001)
    other = replace(usual, slippage_frac=1e-4 * worse)
    return [CanaryDay(20_000 + t, share, usual, other, 100 if share else 0) for t, share in enumerate(shares)]


def test_a_canary_judged_every_day_writes_each_step_once(ledger: Ledger) -> None:
    days = days_of(30)
    for count in range(1, len(days) + 1):
        record_steps(ledger, PLAN, days[:count], **WHO)
        record_steps(ledger, PLAN, days[:count], **WHO)
    lines = ledger.read()
    assert [line.subject["share_after_frac"] for line in lines] == [0.01, 0.05, 0.25, 1.0, 1.0]
    assert {line.kind for line in lines} == {"share"}
    assert lines[1].evidence_sha256 == evidence_sha256(PLAN, days[:12])


def test_what_a_kill_left_unwritten_is_written_by_the_next_call(ledger: Ledger) -> None:
    days = days_of(30)
    record_steps(ledger, PLAN, days[:13], **WHO)
    course = record_steps(ledger, PLAN, days, **WHO)
    assert course.status == "completed"
    assert len(ledger.read()) == len(course.steps) == 5


def test_days_changed_after_their_step_are_refused(ledger: Ledger) -> None:
    days = days_of(12)
    record_steps(ledger, PLAN, days, **WHO)
    changed = [replace(days[0], challenger=replace(days[0].challenger, slippage_frac=2e-4)), *days[1:]]
    with pytest.raises(LedgerError, match="changed since"):
        record_steps(ledger, PLAN, changed, **WHO)


def test_another_plan_or_fewer_days_than_the_ledger_knows_are_refused(ledger: Ledger) -> None:
    days = days_of(12)
    record_steps(ledger, PLAN, days, **WHO)
    with pytest.raises(LedgerError, match="changed since"):
        record_steps(ledger, replace(PLAN, alpha=0.01), days, **WHO)
    with pytest.raises(LedgerError, match="changed since"):
        record_steps(ledger, PLAN, days[:8], **WHO)


def test_another_canary_has_lines_of_its_own(ledger: Ledger) -> None:
    record_steps(ledger, PLAN, days_of(6), **WHO)
    record_steps(ledger, PLAN, days_of(6), release_id="challenger02", champion_id=WHO["champion_id"])
    assert len(ledger.read()) == 2


def test_a_rollback_is_a_line_with_its_reason(ledger: Ledger) -> None:
    days = days_of(30, worse=3.0)
    count = next(count for count in range(1, 31) if follow(PLAN, days[:count]).status == "rolled_back")
    record_steps(ledger, PLAN, days[:count], **WHO)
    last = ledger.read()[-1]
    assert last.subject["share_after_frac"] == 0.0
    assert last.reason.startswith("slippage is outside its bound")


class _Registry:
    """Stands in for the registries: what the canary holds, and what was rolled back."""

    def __init__(self, holds: str) -> None:
        self.holds, self.calls = holds, cast("list[tuple[str, str, str]]", [])

    def status(self) -> list[dict[str, Any]]:
        return [{"environment": "canary", "release_id": self.holds}]

    def rollback(self, environment: str, *, actor: str, reason: str) -> Outcome:
        self.calls.append((environment, actor, reason))
        self.holds = "earlier00000"
        return Outcome(True, environment, "1", self.holds, changed=True)


def _breached() -> Course:
    days = days_of(30, worse=3.0)
    return next(c for n in range(1, 31) if (c := follow(PLAN, days[:n])).status == "rolled_back")


def test_a_breach_rolls_the_registry_back_once() -> None:
    registry = _Registry(WHO["release_id"])
    for _ in range(2):
        roll_back_if_breached(cast("Registry", registry), _breached(), release_id=WHO["release_id"])
    assert [call[:2] for call in registry.calls] == [("canary", "canary")]
    assert "slippage" in registry.calls[0][2]


def test_without_a_breach_nothing_is_rolled_back() -> None:
    registry = _Registry(WHO["release_id"])
    course = follow(PLAN, days_of(30))
    assert roll_back_if_breached(cast("Registry", registry), course, release_id=WHO["release_id"]) is None
    assert registry.calls == []
