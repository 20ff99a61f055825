"""The canary that stands: its plan from the trial ledger, and the days that its shadow adds to the record."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from grandmodel.core.errors import DataError, LedgerError
from grandmodel.gates.canary import follow
from grandmodel.gates.canary_days import CanaryDay
from grandmodel.gates.canary_ledger import Pair, plan_of
from grandmodel.gates.canary_record import read_days, sessions_of
from grandmodel.registry.ledger import Ledger
from grandmodel.registry.store import Registry
from grandmodel.registry.trials import open_trials
from pipelines import canary as stage
from pipelines.canary_watch import (
    Canary,
    begin_record,
    rows_of,
    sentence_of,
    shadow_part,
    standing_canary,
    take_in_shadow,
)
from pipelines.trials import record_evidence
from pipelines.workspace import Workspace
from tests.grandmodel.gates.canaries import MONDAY, PLAN, at, days_of, pair, shelf
from tests.grandmodel.registry.releases import ticking_clock

__all__ = ["pair", "shelf"]  # fixtures


@pytest.fixture
def canary(pair: tuple[Registry, str, str]) -> tuple[Registry, Pair]:
    return pair[0], Pair(pair[1], pair[2])


@pytest.fixture
def few_days_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The release of the tests has 30 days of evidence."""
    monkeypatch.setattr("grandmodel.stats.drawdown.EVIDENCE_DAYS_MIN", 20)


@pytest.fixture
def trials(workspace: Workspace, tmp_path: Path) -> Ledger:
    ledger = open_trials(tmp_path, ticking_clock())
    record_evidence(workspace, ledger)
    return ledger


def test_what_stands_is_told_without_loading_a_bundle(canary: tuple[Registry, Pair], tmp_path: Path) -> None:
    registry, pair = canary
    for file in (tmp_path / "artifacts").rglob("strategic.safetensors"):
        file.unlink()
    standing = standing_canary(registry)
    assert standing is not None
    assert standing.pair == pair


@pytest.mark.usefixtures("few_days_will_do")
def test_the_envelope_is_that_of_the_days_in_the_trial_ledger(
    canary: tuple[Registry, Pair], workspace: Workspace, trials: Ledger, tmp_path: Path
) -> None:
    registry, pair = canary
    plan = begin_record(registry, pair, workspace.package, trials)
    assert 0.0 < plan.drawdown_max_frac < 1.0
    assert plan.markets == ()  # of a simulated market every weekday
    nobody = open_trials(tmp_path / "empty", ticking_clock())
    assert plan == plan_of(registry.ledger, pair) == begin_record(registry, pair, workspace.package, nobody)


def test_a_release_with_few_days_of_evidence_has_no_canary(
    canary: tuple[Registry, Pair], workspace: Workspace, trials: Ledger
) -> None:
    registry, pair = canary
    with pytest.raises(DataError, match="at least 60"):
        begin_record(registry, pair, workspace.package, trials)
    assert plan_of(registry.ledger, pair) is None


def test_a_training_that_nobody_recorded_has_no_canary(
    canary: tuple[Registry, Pair], workspace: Workspace, tmp_path: Path
) -> None:
    registry, pair = canary
    with pytest.raises(LedgerError, match="must hold the training"):
        begin_record(registry, pair, workspace.package, open_trials(tmp_path / "empty", ticking_clock()))
    assert plan_of(registry.ledger, pair) is None


@pytest.mark.usefixtures("few_days_will_do")
def test_the_stage_replays_both_and_its_days_are_taken_in_while_the_challenger_walks_alone(
    canary: tuple[Registry, Pair],
    workspace: Workspace,
    trials: Ledger,
    market_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry, pair = canary
    out = tmp_path / "replayed"
    both = ["--champion", str(workspace.package), "--challenger", str(workspace.package)]
    monkeypatch.setattr(sys, "argv", ["canary", "--data", str(market_folder), *both, "--out", str(out)])
    stage.main()
    made = json.loads((out / "days.json").read_text())
    assert made["simulated"]
    shift = ((MONDAY - made["days"][0]["session"]) // 7 + 1) * 7  # to days after the challenger entered
    for day in made["days"]:
        day["session"] += shift
    (out / "days.json").write_text(json.dumps(made))
    plan = begin_record(registry, pair, workspace.package, trials)

    def take(*, simulated: bool = True, session: int = MONDAY + 9000) -> int:
        found = out / "days.json"
        return take_in_shadow(registry, tmp_path, pair, plan, found, simulated=simulated, now=at(session))

    with pytest.raises(DataError, match="must be real, as those of the release"):
        take(simulated=False)
    assert take(session=made["days"][0]["session"] - 1) == 0  # days that are not over are left for later
    added = take()
    held = read_days(pair.days_file(tmp_path))
    assert 0 < added == len(held) <= len(made["days"])
    assert [day.to_dict() for day in held] == made["days"][:added]
    assert take() == 0
    course = follow(*sessions_of(registry.ledger, tmp_path, pair, None))
    told = sentence_of(Canary(pair, "2024-01-01"), course, added)
    assert f"after {len(course.faults)} sessions, {added} of them new" in told
    assert {row["sequence"]: row["at most"] for row in rows_of(course)}["slippage"] == 0.0


def test_the_shadow_walks_until_a_share_is_allowed() -> None:
    alone = [replace(day, share_frac=0.0, compared=0) for day in days_of(20)]
    taken = shadow_part(PLAN, [], alone)
    assert len(taken) == PLAN.days_per_step
    assert shadow_part(PLAN, taken, alone[len(taken) :]) == []
    assert shadow_part(PLAN, taken[:2], alone[2:]) == taken[2:]
    live: list[CanaryDay] = days_of(8)
    assert follow(PLAN, live).share_frac == 0.01


def test_the_shadow_stops_where_its_bars_left_too_many_sessions_out() -> None:
    alone = [replace(day, share_frac=0.0, compared=0) for day in days_of(12)]
    assert shadow_part(PLAN, [], [*alone[:2], *alone[5:]]) == alone[:2]
    assert len(shadow_part(PLAN, [], [*alone[:2], *alone[4:]])) == PLAN.days_per_step
