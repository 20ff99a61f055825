"""The record of a canary: a plan that is fixed once, days that are written once, and what follows from both."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock, Timeout

from grandmodel.core.clock import system_clock
from grandmodel.core.errors import DataError, LedgerError
from grandmodel.gates.canary_days import WAY_ON, CanaryDay
from grandmodel.gates.canary_ledger import Pair, begin
from grandmodel.gates.canary_record import Walked, production_evidence, read_days, sessions_of, verdict_of, walk_on
from grandmodel.registry.bundle import seal
from grandmodel.registry.signing import development_key
from grandmodel.registry.store import Registry
from grandmodel.registry.waivers import waive
from tests.grandmodel.gates.canaries import MONDAY, PLAN, at, breached, days_of, pair, shelf, weekdays
from tests.grandmodel.registry.releases import SELECTED, register

__all__ = ["pair", "shelf"]  # fixtures


class Begun:
    """A canary that has begun, on disk."""

    def __init__(self, pair: tuple[Registry, str, str], state: Path) -> None:
        self.registry, self.state, self.pair = pair[0], state, Pair(pair[1], pair[2])
        self.path = self.pair.days_file(state)
        begin(self.registry.ledger, PLAN, self.pair)

    def add(self, days: list[CanaryDay], now: int | None = None) -> Walked:
        moment = None if now is None else at(now)
        return walk_on(self.registry, self.state, self.pair, now=moment, days=days)

    def verdict(self) -> Any:
        return verdict_of(self.registry, self.state, self.pair.release_id)

    def standing(self) -> str:
        return str(next(row for row in self.registry.status() if row["environment"] == "canary")["release_id"])

    def kinds(self) -> list[str]:
        return [entry.kind for entry in self.registry.ledger.read()]


@pytest.fixture
def begun(pair: tuple[Registry, str, str], tmp_path: Path) -> Begun:
    return Begun(pair, tmp_path)


def test_days_are_read_as_they_were_added_and_adding_them_again_changes_nothing(begun: Begun) -> None:
    days = days_of(8)
    assert begun.add(days[:5]).days_added == 5
    before = begun.path.read_bytes()
    assert begun.add([*days[:5], days[0]]).days_added == 0
    assert begun.path.read_bytes() == before
    assert begun.add([*days, days[-1]]).days_added == 3
    assert read_days(begun.path) == days
    assert begun.path.parent.name == "-".join(begun.pair)
    assert [file.name for file in begun.path.parent.iterdir()] == ["days.jsonl"]


def _other(day: CanaryDay) -> CanaryDay:
    return replace(day, challenger=replace(day.challenger, slippage_frac=9e-4))


REFUSED_BATCHES: dict[str, tuple[Callable[[list[CanaryDay]], list[CanaryDay]], str]] = {
    "held with other content": (lambda days: [_other(days[3])], "written once"),
    "twice in the batch": (lambda days: [days[8], _other(days[8])], "written once"),
    "out of order": (lambda days: [days[9], days[8]], "after the days before it"),
    "before the newest": (lambda days: [replace(days[0], session=MONDAY - 7)], "after the days before it"),
    "before it entered": (lambda days: [replace(days[8], session=MONDAY - 70)], "no day comes before"),
    "today": (lambda days: [replace(days[8], session=MONDAY + 12)], "must be over"),
    "not over": (lambda days: [*days[8:], replace(days[8], session=MONDAY + 90)], "must be over"),
    "another share": (lambda days: [days[8], replace(days[9], share_frac=0.25)], "was allowed"),
    "a negative count": (lambda days: [replace(days[8], divergent=-1)], "no count"),
    "more compared than decided": (lambda days: [replace(days[8], compared=10**6)], "no count"),
}


@pytest.mark.parametrize("name", REFUSED_BATCHES)
def test_a_batch_that_is_refused_leaves_all_as_it_was(begun: Begun, name: str) -> None:
    days = days_of(10)
    begun.add(days[:8])
    make, rule = REFUSED_BATCHES[name]
    before, lines = begun.path.read_bytes(), len(begun.kinds())
    with pytest.raises(DataError, match=rule):
        begun.add(make(days), now=MONDAY + 12)
    assert (begun.path.read_bytes(), len(begun.kinds())) == (before, lines)
    assert begun.add(days).course.status == "running"


@pytest.mark.parametrize(
    ("who", "name", "value"),
    [
        ("challenger", "log_return", "-0.5"),
        ("challenger", "log_return", float("-inf")),
        ("champion", "slippage_frac", True),
        ("champion", "fills", 15.0),
        ("challenger", "rejects", None),
        ("challenger", "orders", False),
        ("challenger", "log_return", 10**400),
        ("challenger", "unheard_of", 1),
        (None, "session", "20003"),
        (None, "share_frac", None),
        (None, "challenger", "all"),
    ],
)
def test_a_line_of_other_types_is_no_day(tmp_path: Path, who: str | None, name: str, value: object) -> None:
    content = days_of(1)[0].to_dict()
    (content[who] if who else content)[name] = value
    (tmp_path / "days.jsonl").write_text(json.dumps(days_of(1)[0].to_dict()) + "\n" + json.dumps(content) + "\n")
    with pytest.raises(DataError, match=r"days.jsonl line 2.*one day of a canary"):
        read_days(tmp_path / "days.jsonl")


@pytest.mark.parametrize("content", [b"no day\n", b"[]\n", b"{}\n", b"\xff\n"])
def test_a_broken_record_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "days.jsonl").write_bytes(content)
    with pytest.raises(DataError, match=r"days.jsonl"):
        read_days(tmp_path / "days.jsonl")


def test_no_canary_no_verdict_and_no_days(pair: tuple[Registry, str, str], tmp_path: Path) -> None:
    registry, release_id, champion_id = pair
    result = verdict_of(registry, tmp_path, release_id)
    assert (result.name, result.passed) == ("g8_canary", False)
    assert f"no canary of it has begun beside champion {champion_id}" in result.reason
    with pytest.raises(DataError, match="must have begun"):
        walk_on(registry, tmp_path, Pair(release_id, champion_id), now=None, days=days_of(1))


def test_a_canary_that_walked_through_passes_and_its_steps_are_in_the_ledger(begun: Begun) -> None:
    begun.add(days_of(29))
    assert not begun.verdict().passed
    course, added, back = begun.add(days_of(30))
    assert (course.status, added, back) == ("completed", 1, None)
    shown = production_evidence(begun.registry, begun.state, begun.pair.release_id)["canary"]
    assert shown["passed"]
    assert shown["power"] == 1.0
    assert (begun.kinds().count("canary"), begun.kinds().count("share")) == (1, 5)
    assert begun.add([], now=MONDAY + 365).course.status == "completed"


def test_a_breach_takes_it_out_of_canary_once(begun: Begun) -> None:
    walked = begun.add(breached())
    assert walked.course.status == "rolled_back"
    assert walked.back is not None
    assert begun.standing() == begun.pair.champion_id
    lines = len(begun.kinds())
    assert begun.add([]).back is None
    assert len(begun.kinds()) == lines


def test_standing_is_looked_at_and_changed_under_the_lock(begun: Begun, monkeypatch: pytest.MonkeyPatch) -> None:
    def is_locked() -> bool:
        try:
            with FileLock(begun.state / "ledger.jsonl.lock", timeout=0):
                return False
        except Timeout:
            return True

    seen: list[bool] = []
    for name in ("status", "rollback"):
        real = getattr(begun.registry, name)
        monkeypatch.setattr(
            begun.registry, name, lambda *a, _real=real, **k: (seen.append(is_locked()), _real(*a, **k))[1]
        )
    assert begun.add(breached()).back is not None
    assert seen
    assert all(seen)
    assert not is_locked()


def test_a_rollback_that_a_kill_left_undone_is_made_though_the_days_are_lost(
    begun: Begun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(begun.registry, "rollback", lambda *_, **__: None)
    begun.add(breached())
    monkeypatch.undo()
    assert begun.standing() == begun.pair.release_id
    shutil.rmtree(begun.path.parent)
    with pytest.raises(LedgerError, match="changed since"):
        begun.add([])
    assert begun.standing() == begun.pair.champion_id


def test_a_canary_that_was_rolled_back_cannot_be_walked_again(begun: Begun) -> None:
    begun.add(breached())
    shutil.rmtree(begun.path.parent)
    good = [replace(day, session=session) for day, session in zip(days_of(30), weekdays(30, MONDAY + 1), strict=True)]
    begin(begun.registry.ledger, PLAN, begun.pair)
    with pytest.raises(DataError, match=f"was rolled back: slippage.*{WAY_ON}"):
        begun.add(good)
    begun.path.parent.mkdir()
    begun.path.write_text("".join(json.dumps(day.to_dict()) + "\n" for day in good))
    verdict = begun.verdict()
    assert not verdict.passed
    assert "Rolled back: beside champion" in verdict.reason
    assert WAY_ON in verdict.reason


def test_a_person_may_answer_for_a_release_whose_canary_was_rolled_back(begun: Begun) -> None:
    registry = begun.registry
    version = next(row for row in registry.status() if row["environment"] == "canary")["version"]
    begun.add(breached())
    shown = production_evidence(registry, begun.state, begun.pair.release_id)
    asked = {"actor": "flow", "reason": "asked", "approver": "Ada"}
    # A release on simulated data is not asked for its canary; the line of the verdict is what a waiver answers for.
    registry.refuse("production", release_id=begun.pair.release_id, actor="flow", reason="canary", evidence=shown)
    now = system_clock()
    lines = waive(
        registry, "g8_canary", begun.pair.release_id, by="Ada Lovelace", reason="seen live", until=None, now=now
    )
    assert len(lines) == 1
    assert begun.verdict().to_dict() == shown["canary"]
    assert registry.promote("production", version, evidence=shown, **asked).accepted


def test_a_record_changed_after_its_step_gives_no_verdict(begun: Begun) -> None:
    begun.add(days_of(30))
    assert begun.verdict().passed
    lines = [json.loads(line) for line in begun.path.read_text().splitlines()]
    lines[3]["challenger"]["slippage_frac"] = 1e-9
    begun.path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(LedgerError, match="changed since"):
        begun.verdict()


# --- sessions of which nothing is on record


def test_a_record_that_is_no_longer_fed_is_rolled_back(begun: Begun) -> None:
    days = days_of(8)  # through a Wednesday
    begun.add(days)
    last = days[-1].session
    assert begun.add([], now=last + 6).course.status == "running"  # Tuesday: Thursday and Friday are due
    walked = begun.add([], now=last + 7)
    assert walked.course.status == "rolled_back"
    assert walked.course.steps[-1].reason.startswith("no day is on record, on the last of 3 sessions in a row")
    assert walked.course.share_frac == 0.0
    assert begun.standing() == begun.pair.champion_id
    assert not begun.verdict().passed
    with pytest.raises(DataError, match="was rolled back"):
        begun.add(days_of(9), now=last + 7)


def test_sessions_before_a_share_was_allowed_are_nobodys_fault(begun: Begun, monkeypatch: pytest.MonkeyPatch) -> None:
    days = days_of(6)  # of the shadow alone, handed in at once, weeks later
    late = days[-1].session + 21  # a Monday
    monkeypatch.setattr(begun.registry.ledger, "_clock", lambda: at(late))
    course = begun.add(days, now=late).course
    assert (course.status, course.share_frac, len(course.faults)) == ("running", 0.01, 6)
    assert begun.add([], now=late + 4).course.status == "running"
    assert begun.add([], now=late + 7).course.status == "rolled_back"


def test_a_shadow_that_is_fed_now_and_then_keeps_walking(begun: Begun) -> None:
    days = days_of(3)
    begun.add(days)
    assert begun.add([], now=days[-1].session + 30).course.status == "running"


def test_a_challenger_that_was_sealed_twice_is_left_for_another_release(begun: Begun) -> None:
    registry, state = begun.registry, begun.state
    again = registry.load_champion("dev")
    seal(again, development_key(state / "another"))
    version = register(registry, again)
    for name in ("staging", "canary"):
        shown = SELECTED | {"decision_hash": "decisions-2.0"}
        version = str(registry.promote(name, version, actor="flow", reason="passed", evidence=shown).version)
    assert begun.standing() == begun.pair.release_id
    begun.add(breached())
    assert begun.standing() == begun.pair.champion_id


def test_a_late_day_counts_where_nothing_was_decided_without_it(begun: Begun) -> None:
    days = days_of(9)
    begun.add(days[:7])
    assert begun.add([], now=days[8].session + 1).course.faults[-1] == "no day is on record"
    course = begun.add(days[:8], now=days[8].session + 1).course
    assert not any(course.faults)
    _, sessions = sessions_of(begun.registry.ledger, begun.state, begun.pair, None)
    assert sessions == days[:8]


def test_one_day_a_month_is_a_record_with_holes(begun: Begun) -> None:
    month = [replace(day, session=MONDAY + 28 * t) for t, day in enumerate(days_of(3))]
    walked = begun.add(month)
    assert (walked.course.status, walked.days_added) == ("rolled_back", 1)
    assert "no day is on record" in walked.course.steps[-1].reason


def test_a_breach_within_a_batch_is_judged_and_what_follows_it_left_out(begun: Begun) -> None:
    ended = len(breached())
    walked = begun.add(days_of(30, worse=4.0))
    assert (walked.course.status, walked.days_added) == ("rolled_back", ended)
    assert len(read_days(begun.path)) == ended


def test_a_day_after_the_end_is_refused(begun: Begun) -> None:
    begun.add(days_of(30))
    with pytest.raises(DataError, match=r"had ended \(completed\)"):
        begun.add(days_of(31))
