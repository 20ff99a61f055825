"""The canary on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grandmodel.gates.canary_days import CanaryDay
from grandmodel.gates.canary_ledger import Pair, begin
from grandmodel.gates.canary_record import walk_on
from grandmodel.registry.store import Registry
from tests.grandmodel.command_line import call, parsed, refuse
from tests.grandmodel.gates.canaries import PLAN, breached, days_of, pair, shelf, until_now

__all__ = ["pair", "shelf"]  # fixtures


@pytest.fixture
def state(pair: tuple[Registry, str, str], tmp_path: Path) -> Path:
    registry, release_id, champion_id = pair
    begin(registry.ledger, PLAN, Pair(release_id, champion_id))
    return tmp_path


def written(path: Path, days: list[CanaryDay]) -> Path:
    path.write_text("".join(json.dumps(day.to_dict()) + "\n" for day in days))
    return path


def test_days_are_taken_in_and_shown(state: Path) -> None:
    said = call("canary", "add", written(state / "days.jsonl", until_now(days_of(13))), "--state", state).stdout
    assert "running: 5% of the capital after 13 sessions, 0 of them not known; 1 days count" in said
    shown = parsed("canary", "--state", state)
    assert (shown["status"], shown["share_frac"], len(shown["steps"])) == ("running", 0.05, 2)


def test_a_breach_ends_with_three_and_the_release_before_stands_again(
    state: Path, pair: tuple[Registry, str, str]
) -> None:
    result = call("canary", "add", written(state / "days.jsonl", until_now(breached(worse=8.0))), "--state", state)
    assert result.exit_code == 3, result.output
    assert "rolled back: 0% of the capital" in result.stdout
    assert f"Release {pair[2]} is again the champion of canary" in result.stdout
    assert "must stand in canary beside another one" in refuse(1, "canary", "--state", state)


def test_days_that_stopped_coming_end_with_three(state: Path, pair: tuple[Registry, str, str]) -> None:
    registry, *ids = pair
    walk_on(registry, state, Pair(*ids), now=None, days=until_now(days_of(13), weekdays_ago=5))
    result = call("canary", "add", written(state / "days.jsonl", []), "--state", state)
    assert result.exit_code == 3, result.output
    assert "3 of them not known" in result.stdout


def test_a_line_that_is_no_day_is_named_and_nothing_is_taken_in(state: Path, pair: tuple[Registry, str, str]) -> None:
    lines = written(state / "days.jsonl", until_now(days_of(2))).read_text()
    (state / "days.jsonl").write_text(lines + "{}\n")
    assert "days.jsonl line 3" in refuse(1, "canary", "add", state / "days.jsonl", "--state", state)
    assert not Pair(pair[1], pair[2]).days_file(state).exists()
