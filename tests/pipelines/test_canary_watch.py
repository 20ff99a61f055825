"""The canary that stands: its plan from the trial ledger, and the days that its shadow adds to the record."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from grandmodel.core.errors import LedgerError
from grandmodel.gates.canary import CanaryDay, follow
from grandmodel.gates.canary_record import read_days, read_plan
from grandmodel.registry.ledger import Ledger
from grandmodel.registry.trials import open_trials
from pipelines import canary as stage
from pipelines.canary_watch import Canary, begin_record, rows_of, sentence_of, shadow_part, take_in_shadow
from pipelines.trials import record_evidence
from pipelines.workspace import Workspace
from tests.grandmodel.gates.test_canary_ledger import PLAN, days_of
from tests.grandmodel.registry.releases import ticking_clock


@pytest.fixture
def standing(workspace: Workspace, tmp_path: Path) -> Canary:
    return Canary(
        "challenger01", "champion0001", workspace.package, workspace.package, "2024-01-01", tmp_path / "record"
    )


@pytest.fixture
def trials(workspace: Workspace, tmp_path: Path) -> Ledger:
    ledger = open_trials(tmp_path, ticking_clock())
    record_evidence(workspace, ledger)
    return ledger


def test_the_envelope_is_that_of_the_days_in_the_trial_ledger(standing: Canary, trials: Ledger) -> None:
    plan = begin_record(standing, trials)
    assert 0.0 < plan.drawdown_max_frac < 1.0
    assert plan == read_plan(standing.record) == begin_record(standing, trials)


def test_a_training_that_nobody_recorded_has_no_canary(standing: Canary, tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match="must hold the training"):
        begin_record(standing, open_trials(tmp_path / "empty", ticking_clock()))
    assert not standing.record.exists()


def test_the_stage_replays_both_and_its_days_are_taken_in_while_the_challenger_walks_alone(
    standing: Canary, trials: Ledger, market_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "replayed"
    both = ["--champion", str(standing.champion), "--challenger", str(standing.challenger)]
    monkeypatch.setattr(sys, "argv", ["canary", "--data", str(market_folder), *both, "--out", str(out)])
    stage.main()
    made = json.loads((out / "days.json").read_text())
    assert made["simulated"]
    plan = begin_record(standing, trials)
    added = take_in_shadow(standing, plan, out / "days.json")
    held = read_days(standing.record)
    assert 0 < added == len(held) <= len(made["days"])
    assert [day.to_dict() for day in held] == made["days"][:added]
    assert take_in_shadow(standing, plan, out / "days.json") == 0
    course = follow(plan, held)
    assert f"after {added} days, {added} of them new" in sentence_of(standing, course, added)
    assert {row["sequence"]: row["at most"] for row in rows_of(course)}["slippage"] == 0.0


def test_the_shadow_walks_until_a_share_is_allowed() -> None:
    alone = [replace(day, share_frac=0.0, compared=0) for day in days_of(20)]
    taken = shadow_part(PLAN, [], alone)
    assert len(taken) == PLAN.days_per_step
    assert shadow_part(PLAN, taken, alone[len(taken) :]) == []
    assert shadow_part(PLAN, taken[:2], alone[2:]) == taken[2:]
    live: list[CanaryDay] = days_of(8)
    assert follow(PLAN, live).share_frac == 0.01
