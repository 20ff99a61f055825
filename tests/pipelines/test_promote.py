from __future__ import annotations

import json
from pathlib import Path

import pytest

from grandmodel.registry.trials import open_trials, read_trials
from grandmodel.registry.waivers import waive
from pipelines.promote import CANARY, PERSON, open_registry, promote
from pipelines.workspace import Workspace
from tests.grandmodel.registry.releases import ticking_clock


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


def test_without_a_name_a_release_waits_in_canary_and_nothing_is_refused(passing: Workspace, tmp_path: Path) -> None:
    outcome = promote(passing, tmp_path / "state", approver=None, clock=ticking_clock())
    assert (outcome.reached, outcome.waits_for, outcome.promoted) == ("canary", PERSON, False)
    assert outcome.sentence.endswith("It waits for a person to approve production.")
    assert "refusal" not in ledger_kinds(tmp_path / "state")


def test_beside_a_champion_and_on_real_data_the_canary_comes_first(passing: Workspace, tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert promote(passing, state, approver="Ada", clock=ticking_clock()).promoted
    evidence = json.loads((passing.package / "evidence.json").read_text())
    evidence["data"] |= {"simulated": False, "trained_until": "2026-03-01"}
    (passing.package / "evidence.json").write_text(json.dumps(evidence))
    outcome = promote(passing, state, approver=None, clock=ticking_clock())
    assert (outcome.reached, outcome.waits_for) == ("canary", CANARY)
    assert outcome.sentence.endswith("It waits for its canary to be walked through; then a person is asked.")


def test_a_name_given_beforehand_is_shown_as_automatic(passing: Workspace, tmp_path: Path) -> None:
    promote(passing, tmp_path / "state", approver="Ada", clock=ticking_clock())
    last = open_registry(tmp_path / "state", ticking_clock()).ledger.read()[-1]
    assert (last.subject["environment"], last.subject["approver"]) == ("production", "Ada")
    assert last.reason.endswith("approved automatically, by --auto-approve")


@pytest.mark.parametrize(
    ("approver", "says"),
    [("grace hopper", "another person than the author"), ("release-flow", "not a part of the house")],
)
def test_neither_who_wrote_the_commit_nor_the_house_can_approve(
    passing: Workspace, tmp_path: Path, approver: str, says: str
) -> None:
    outcome = promote(passing, tmp_path / "state", approver=approver, clock=ticking_clock())
    assert outcome.reached == "canary"
    assert says in outcome.sentence
    registered = open_registry(tmp_path / "state", ticking_clock()).ledger.read()[1]
    assert (registered.kind, registered.actor, registered.subject["author"]) == (
        "registration",
        "release-flow",
        "Grace Hopper",
    )


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


def test_the_trainings_of_the_run_stand_in_the_trial_ledger_and_in_mlflow(workspace: Workspace, tmp_path: Path) -> None:
    state = tmp_path / "state"
    promote(workspace, state, approver="Ada", clock=ticking_clock())
    trials = open_trials(state, ticking_clock())
    kinds = [entry.kind for entry in trials.read()]
    assert kinds == ["trial"] * 3 + ["tracked"] * 3
    client = open_registry(state, ticking_clock()).tracking.client
    runs = [client.get_run(entry.subject["run_id"]) for entry in trials.read() if entry.kind == "tracked"]
    assert [run.data.tags["trial_id"] for run in runs] == [trial.id for trial in read_trials(trials)]
    assert [run.data.tags["simulated"] for run in runs] == ["true"] * 3
    promote(workspace, state, approver="Ada", clock=ticking_clock())
    assert [entry.kind for entry in trials.read()] == kinds


def test_a_release_is_judged_over_all_trials_before_staging(
    passing: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    outcome = promote(passing, tmp_path / "state", approver="Ada", clock=ticking_clock())
    assert outcome.reached == "dev"
    assert "Refused by G4 selection" in outcome.sentence
    last = outcome.gates[-1]
    assert (last["name"], last["passed"]) == ("g4_selection_all_trials", False)
    # Among the verdicts, and among what each could have shown.
    assert outcome.report.read_text().count("G4 selection all trials") == 2
    refusal = open_registry(tmp_path / "state", ticking_clock()).ledger.read()[-1]
    assert (refusal.kind, refusal.subject["environment"]) == ("refusal", "staging")
    assert "g4_selection over all trials did not pass" in refusal.reason


def test_a_release_sealed_anew_with_another_key_goes_all_the_way_again(
    passing: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    first = promote(passing, state, approver="Ada", clock=ticking_clock())
    (state / "development_key.pem").unlink()
    second = promote(passing, state, approver="Ada", clock=ticking_clock())
    assert (first.release_id, first.promoted) == (second.release_id, second.promoted)
    assert [row["version"] for row in second.registries] == ["2"] * 4


def test_a_waived_refusal_goes_on_and_is_shown_in_red(passing: Workspace, tmp_path: Path) -> None:
    state, gates = tmp_path / "state", json.loads((passing.package / "gates.json").read_text())
    gates[3] |= {"passed": False, "reason": "No edge was seen."}
    (passing.package / "gates.json").write_text(json.dumps(gates))
    refused = promote(passing, state, approver="Ada", clock=ticking_clock())
    assert (refused.reached, refused.warnings) == ("dev", ())
    registry = open_registry(state, ticking_clock())
    now = ticking_clock()()
    waive(registry, "g3_seeds", refused.release_id, by="Ada", reason="seen <live>", until="2026-12-31", now=now)
    outcome = promote(passing, state, approver="Ada", clock=ticking_clock())
    assert outcome.reached == "production"
    assert "G3 seeds and let pass by waiver" in outcome.sentence
    sentence = f"g3_seeds of release {outcome.release_id} waived by Ada until 2026-12-31: seen <live>"
    assert outcome.warnings == (f"WAIVED: {sentence}",)
    page = outcome.report.read_text()
    assert '<h1 class="refuse">Waived: a named person answers' in page
    assert page.count(f'<p class="bad">Waiver: {sentence.replace("<", "&lt;").replace(">", "&gt;")}</p>') == 1
    assert {row["environment"]: row["waivers"] for row in registry.status()}["production"] == [sentence]
