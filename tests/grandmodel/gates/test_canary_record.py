"""The record of a canary: a plan that is fixed once, days that are written once, and what follows from both."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from grandmodel.core.clock import system_clock
from grandmodel.core.errors import DataError, LedgerError
from grandmodel.gates.canary_record import (
    DAYS,
    add_days,
    begin,
    folder_of,
    production_evidence,
    read_days,
    read_plan,
    verdict_of,
    walk_on,
)
from grandmodel.gates.canary_record import (
    PLAN as PLAN_FILE,
)
from grandmodel.registry.conditions import load_environments
from grandmodel.registry.store import Registry
from tests.grandmodel.gates.test_canary_ledger import PLAN, days_of
from tests.grandmodel.registry.releases import CONFIGS, SELECTED, make_bundle, open_registry, register


@pytest.fixture
def record(tmp_path: Path) -> Path:
    begin(tmp_path / "record", PLAN)
    return tmp_path / "record"


def test_the_plan_of_the_first_day_stays(record: Path) -> None:
    assert begin(record, replace(PLAN, alpha=0.2)) == PLAN == read_plan(record)


def test_days_are_read_as_they_were_added_and_adding_them_again_changes_nothing(record: Path) -> None:
    days = days_of(8)
    assert add_days(record, days[:5]) == 5
    before = (record / DAYS).read_bytes()
    assert add_days(record, days[:5]) == 0
    assert (record / DAYS).read_bytes() == before
    assert add_days(record, days) == 3
    assert read_days(record) == days


def test_a_day_with_other_content_and_one_before_the_newest_are_refused(record: Path) -> None:
    days = days_of(6)
    add_days(record, [days[0], *days[2:]])
    other = replace(days[3], challenger=replace(days[3].challenger, slippage_frac=9e-4))
    for day in (other, days[1]):
        with pytest.raises(DataError, match=f"session {day.session}.*written once"):
            add_days(record, [day])


@pytest.mark.parametrize(("name", "content"), [(PLAN_FILE, "{"), (PLAN_FILE, '{"alpha": 1}'), (DAYS, "no day\n")])
def test_a_broken_record_is_named(record: Path, name: str, content: str) -> None:
    (record / name).write_text(content)
    with pytest.raises(DataError, match=name):
        (read_plan if name == PLAN_FILE else read_days)(record)


# --- beside a champion in production


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Registry, str, str]:
    """Return a registry with one release in production and another in canary, which had the first before it."""
    registry = open_registry(tmp_path, load_environments(CONFIGS), system_clock)  # as commands do: releases expire
    moves = {"staging": SELECTED, "canary": {}, "production": {}}
    ids = []
    for weight in (1.0, 2.0):
        version = register(registry, make_bundle(tmp_path / f"bundle-{weight}", tmp_path, weight=weight))
        for name in moves if weight == 1.0 else ("staging", "canary"):
            shown = moves[name] | ({"decision_hash": f"decisions-{weight}"} if name == "canary" else {})
            approver = "Ada" if name == "production" else None
            about = {"actor": "flow", "reason": "passed", "approver": approver}
            done = registry.promote_to(name, version, evidence=shown, **about)
            assert done.accepted, done.reasons
            version = str(done.version)
        ids.append(done.release_id)
    return registry, ids[1], ids[0]


def standing(registry: Registry) -> str:
    return str(next(row for row in registry.status() if row["environment"] == "canary")["release_id"])


def test_no_record_no_verdict(pair: tuple[Registry, str, str], tmp_path: Path) -> None:
    registry, release_id, champion_id = pair
    result = verdict_of(registry, tmp_path, release_id)
    assert (result.name, result.passed) == ("g8_canary", False)
    assert f"no canary of it has begun beside champion {champion_id}" in result.reason


def test_a_canary_that_walked_through_passes_and_its_steps_are_in_the_ledger(
    pair: tuple[Registry, str, str], tmp_path: Path
) -> None:
    registry, release_id, champion_id = pair
    folder = folder_of(tmp_path, release_id, champion_id)
    begin(folder, PLAN)
    add_days(folder, days_of(29))
    assert not verdict_of(registry, tmp_path, release_id).passed
    add_days(folder, days_of(30))
    course, back = walk_on(registry, folder, release_id=release_id, champion_id=champion_id)
    assert (course.status, back) == ("completed", None)
    shown = production_evidence(registry, tmp_path, release_id)["canary"]
    assert shown["passed"]
    assert shown["power"] == 1.0
    assert [entry.kind for entry in registry.ledger.read()].count("share") == 5


def test_a_breach_takes_it_out_of_canary_once(pair: tuple[Registry, str, str], tmp_path: Path) -> None:
    registry, release_id, champion_id = pair
    folder = folder_of(tmp_path, release_id, champion_id)
    begin(folder, PLAN)
    worse = days_of(30, worse=4.0)
    for count in range(1, 31):
        add_days(folder, worse[:count])
        course, back = walk_on(registry, folder, release_id=release_id, champion_id=champion_id)
        if back is not None:
            break
    assert course.status == "rolled_back"
    assert standing(registry) == champion_id
    lines = len(registry.ledger.read())
    assert walk_on(registry, folder, release_id=release_id, champion_id=champion_id)[1] is None
    assert len(registry.ledger.read()) == lines


def test_a_record_changed_after_its_step_gives_no_verdict(pair: tuple[Registry, str, str], tmp_path: Path) -> None:
    registry, release_id, champion_id = pair
    folder = folder_of(tmp_path, release_id, champion_id)
    begin(folder, PLAN)
    add_days(folder, days_of(30))
    assert verdict_of(registry, tmp_path, release_id).passed
    lines = [json.loads(line) for line in (folder / DAYS).read_text().splitlines()]
    lines[3]["challenger"]["slippage_frac"] = 1e-9
    (folder / DAYS).write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(LedgerError, match="changed since"):
        verdict_of(registry, tmp_path, release_id)
