from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from pipelines.promote import open_registry, promote
from pipelines.workspace import Workspace
from tests.grandmodel.registry.releases import ticking_clock


@pytest.fixture
def passing(workspace: Workspace, tmp_path: Path) -> Workspace:
    """The small release with every verdict set to passed: what is under test is what promotion does with verdicts."""
    copy = Workspace(tmp_path / "work", workspace.params_path)
    shutil.copytree(workspace.folder, copy.folder)
    gates = json.loads((copy.package / "gates.json").read_text())
    for gate in gates:
        gate["passed"] = True
        gate["statistic"] = gate["statistic"] or 0.0
    (copy.package / "gates.json").write_text(json.dumps(gates))
    return copy


def ledger_kinds(state: Path) -> list[str]:
    return [entry.kind for entry in open_registry(state, ticking_clock()).ledger.read()]


def test_a_refused_release_stays_in_dev_and_touches_no_other_registry(workspace: Workspace, tmp_path: Path) -> None:
    outcome = promote(workspace, tmp_path / "state", approver="Ada", clock=ticking_clock())
    assert (outcome.reached, outcome.promoted) == ("dev", False)
    assert "Refused by" in outcome.sentence
    assert [row["version"] for row in outcome.registries] == ["1", "-", "-", "-"]
    assert outcome.report.read_text().count("SIMULATED DATA") == 1


def test_a_passing_release_reaches_production_and_a_second_run_writes_nothing(
    passing: Workspace, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    outcome = promote(passing, state, approver="Ada", clock=ticking_clock())
    assert outcome.promoted
    before = ledger_kinds(state)
    assert before.count("promotion") == 3
    again = promote(passing, state, approver="Ada", clock=ticking_clock())
    assert again.release_id == outcome.release_id
    assert ledger_kinds(state) == before


def test_the_author_cannot_approve(passing: Workspace, tmp_path: Path) -> None:
    outcome = promote(passing, tmp_path / "state", approver="release-flow", clock=ticking_clock())
    assert outcome.reached == "canary"
    assert "another person than the author" in outcome.sentence


def test_weights_that_decide_otherwise_than_at_training_are_kept_out_of_canary(
    passing: Workspace, tmp_path: Path
) -> None:
    evidence = json.loads((passing.package / "evidence.json").read_text())
    (passing.package / "evidence.json").write_text(json.dumps(evidence | {"decision_hash": "0" * 64}))
    outcome = promote(passing, tmp_path / "state", approver="Ada", clock=ticking_clock())
    assert outcome.reached == "staging"
    assert "decide otherwise" in outcome.sentence


def test_a_quick_release_stays_in_dev_and_says_what_it_is(passing: Workspace, tmp_path: Path) -> None:
    evidence = json.loads((passing.package / "evidence.json").read_text())
    (passing.package / "evidence.json").write_text(json.dumps(evidence | {"profile": "quick"}))
    outcome = promote(passing, tmp_path / "state", approver="Ada", clock=ticking_clock())
    assert outcome.reached == "dev"
    assert outcome.sentence.startswith("The quick-profile release")
    assert "staging takes releases of profile full, found quick" in outcome.sentence


def test_a_release_that_was_rolled_back_is_not_put_back_by_a_run(passing: Workspace, tmp_path: Path) -> None:
    state = tmp_path / "state"
    first = promote(passing, state, approver="Ada", clock=ticking_clock())
    (passing.package / "card_strategic.md").write_text("another card, hence another release")
    second = promote(passing, state, approver="Ada", clock=ticking_clock())
    assert second.release_id != first.release_id
    open_registry(state, ticking_clock()).rollback("production", actor="Ada", reason="slippage")
    held = promote(passing, state, approver="Ada", clock=ticking_clock())
    assert held.reached == "canary"
    assert "Ada rolled production back" in held.sentence
    standing = {row["registry"]: row["release_id"] for row in held.registries}
    assert standing["production.grandmodel"] == first.release_id
