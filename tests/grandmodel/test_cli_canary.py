"""The canary on the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from grandmodel.gates.canary import CanaryDay, follow
from grandmodel.gates.canary_record import begin, folder_of
from tests.grandmodel.command_line import call, parsed, refuse
from tests.grandmodel.gates.test_canary_ledger import PLAN, days_of
from tests.grandmodel.gates.test_canary_record import pair

__all__ = ["pair"]  # a fixture


@pytest.fixture
def state(pair: tuple[object, str, str], tmp_path: Path) -> Path:
    _, release_id, champion_id = pair
    begin(folder_of(tmp_path, release_id, champion_id), PLAN)
    return tmp_path


def written(path: Path, days: list[CanaryDay]) -> Path:
    path.write_text("".join(json.dumps(day.to_dict()) + "\n" for day in days))
    return path


def test_days_are_taken_in_and_shown(state: Path) -> None:
    days = days_of(13)
    said = call("canary", "add", written(state / "days.jsonl", days), "--state", state).stdout
    assert "running: 5% of the capital after 13 days." in said
    shown = parsed("canary", "--state", state)
    assert (shown["status"], shown["share_frac"], len(shown["steps"])) == ("running", 0.05, 2)


def test_a_breach_ends_with_three_and_the_release_before_stands_again(
    state: Path, pair: tuple[object, str, str]
) -> None:
    days = days_of(30, worse=8.0)
    ended = next(n for n in range(1, 31) if follow(PLAN, days[:n]).status == "rolled_back")
    result = call("canary", "add", written(state / "days.jsonl", days[:ended]), "--state", state)
    assert result.exit_code == 3, result.output
    assert "rolled back: 0% of the capital" in result.stdout
    assert f"Release {pair[2]} is again the champion of canary" in result.stdout
    assert "must stand in canary beside another one" in refuse(1, "canary", "--state", state)


def test_a_line_that_is_no_day_is_named(state: Path) -> None:
    (state / "days.jsonl").write_text("{}\n")
    assert "days.jsonl line 1" in refuse(1, "canary", "add", state / "days.jsonl", "--state", state)
