"""Trials and waivers on the command line."""

from __future__ import annotations

import json
import shutil
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from grandmodel.core.config import load_params
from grandmodel.registry.bundle import seal
from grandmodel.registry.conditions import load_environments
from grandmodel.registry.signing import development_key
from grandmodel.registry.store import Registry
from grandmodel.registry.trial_runs import track
from grandmodel.registry.trials import Returns, open_trials, record
from tests.grandmodel.command_line import call, parsed, refuse
from tests.grandmodel.registry.releases import make_bundle, ticking_clock
from tests.grandmodel.registry.test_trials import trial

PROJECT = Path(__file__).parents[2]
DAYS = np.arange(300, dtype=np.int32)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a state folder with a release in dev that G3 refuses, and its three tracked trials."""
    folder = tmp_path_factory.mktemp("state")
    clock = ticking_clock()
    trials = open_trials(folder, clock)
    table = np.random.default_rng(1).normal(0.004, 0.01, (3, len(DAYS)))
    made = [trial(f"seed {seed}", seed_number=seed) for seed in range(3)]
    measured = [(one, Returns(DAYS, row)) for one, row in zip(made, table, strict=True)]
    record(trials, measured, actor="evaluate", reason="measured")
    registry = Registry(
        f"sqlite:///{folder / 'mlflow.db'}",
        folder / "artifacts",
        folder / "ledger.jsonl",
        clock,
        load_environments(PROJECT / "configs"),
    )
    bundle = make_bundle(folder / "bundle", folder, failed=("g3_seeds",))
    lineage = {"data": made[0].data_hash, "weights": made[0].weights}
    (bundle / "evidence.json").write_text(json.dumps({"decision_hash": "d", "profile": "full", "lineage": lineage}))
    (bundle / "params.json").write_text(json.dumps(load_params(PROJECT / "params.yaml").model_dump()))
    seal(bundle, development_key(folder))
    registry.register(bundle, author="flow", tags={}, metrics={}, params={})
    track(trials, registry, clock)
    return folder


@pytest.fixture
def copy(state: Path, tmp_path: Path) -> Path:
    shutil.copytree(state, tmp_path / "state")
    return tmp_path / "state"


@pytest.fixture
def release_id(state: Path) -> str:
    return str(parsed("status", "--state", state)[0]["release_id"])


def test_trials_shows_each_search_and_its_champion(state: Path, release_id: str) -> None:
    (row,) = parsed("trials", "--state", state)
    assert (row["data"], row["trials"], row["champion"], row["passes"]) == ("market (simulated)", 3, release_id, True)
    assert row["deflated"] > 0.95
    shown = call("trials", "--state", state).stdout
    assert "simulated" in shown
    assert release_id in shown


def test_trials_of_a_fresh_checkout_are_none_and_write_nothing(tmp_path: Path) -> None:
    assert parsed("trials", "--state", tmp_path) == []
    assert "must exist" in refuse(1, "trials", "verify", "--state", tmp_path)
    assert not list(tmp_path.iterdir())


def test_intact_trials_verify(state: Path) -> None:
    report = parsed("trials", "verify", "--state", state)
    assert (report["trials"], report["tracked"]) == (3, 3)
    assert report["head"] in call("trials", "verify", "--state", state).stdout


def test_verify_names_the_first_fault(copy: Path) -> None:
    path = next(iter(sorted((copy / "trials").glob("*.safetensors"))))
    path.write_bytes(b"better returns")
    assert f"{path.name}: must have the SHA-256 of its line" in refuse(1, "trials", "verify", "--state", copy)


def test_verify_names_a_run_that_was_deleted(copy: Path) -> None:
    entry = open_trials(copy, ticking_clock()).read()[-1]
    environments = load_environments(PROJECT / "configs")
    uri = f"sqlite:///{copy / 'mlflow.db'}"
    registry = Registry(uri, copy / "artifacts", copy / "ledger.jsonl", ticking_clock(), environments)
    registry.tracking.client.delete_run(entry.subject["run_id"])
    said = refuse(1, "trials", "verify", "--state", copy)
    assert f"MLflow no longer shows run {entry.subject['run_id']} of trial {entry.subject['id'][:12]}" in said


def test_a_promotion_by_hand_is_judged_over_all_trials_too(copy: Path, tmp_path: Path) -> None:
    trials = open_trials(copy, ticking_clock())
    noise = np.random.default_rng(3).normal(0.0, 0.01, (20, len(DAYS)))
    tried = [(trial(f"n{n}", configuration=f"n{n}"), Returns(DAYS, row)) for n, row in enumerate(noise)]
    weak = np.random.default_rng(4).normal(0.0002, 0.01, len(DAYS))
    record(trials, [*tried, (trial("seed 0"), Returns(DAYS, weak))], actor="evaluate", reason="costs were wrong")
    result = call("promote", "1", "--to", "staging", "--state", copy)
    assert result.exit_code == 3
    assert "gate g3_seeds did not pass" in result.stdout
    assert "gate g4_selection over all trials did not pass" in result.stdout


@pytest.mark.parametrize("claim", ["selection", "trials_head", "waivers"])
def test_what_a_move_measures_cannot_be_handed_in(copy: Path, tmp_path: Path, claim: str) -> None:
    (tmp_path / "claims.json").write_text(json.dumps({claim: {"name": "g4_selection", "passed": True}}))
    said = refuse(1, "promote", "1", "--to", "staging", "--evidence", tmp_path / "claims.json", "--state", copy)
    assert "cannot be given" in said
    assert call("trials", "verify", "--state", copy).exit_code == 0


def test_a_waived_release_goes_on_and_every_look_says_so(copy: Path, release_id: str) -> None:
    assert call("promote", "1", "--to", "staging", "--state", copy).exit_code == 3
    until = datetime.now(UTC).date().replace(year=2999).isoformat()
    options = ("--release", release_id, "--by", "Ada", "--reason", "seen live", "--until", until, "--state", copy)
    said = call("waive", "g3_seeds", *options).stdout
    assert f"WAIVED: g3_seeds of release {release_id} waived by Ada until {until}: seen live" in said
    assert call("promote", "1", "--to", "staging", "--state", copy).exit_code == 0
    assert "WAIVED: g3_seeds" in call("status", "--state", copy).stdout
    assert parsed("status", "--state", copy)[1]["waivers"][0].startswith("g3_seeds")
    told = [row for row in parsed("history", "--state", copy) if row["kind"] == "waiver"]
    assert [(row["gate"], row["actor"], row["reason"]) for row in told] == [("g3_seeds", "Ada", "seen live")]
    [again] = parsed("waive", "g3_seeds", *options)
    assert (again["gate"], again["by"], again["release_id"]) == ("g3_seeds", "Ada", release_id)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"--by": "flow"}, "another person than the author"),
        ({"--by": " "}, "a named person"),
        ({"--until": "2020-01-01"}, "must not be past"),
        ({"--release": "0" * 12}, "must be registered in dev"),
    ],
)
def test_a_waiver_that_breaks_a_rule_is_an_error(
    copy: Path, release_id: str, changes: dict[str, str], sentence: str
) -> None:
    asked = {"--release": release_id, "--by": "Ada", "--reason": "seen live", "--state": str(copy), **changes}
    assert sentence in refuse(1, "waive", "g3_seeds", *(word for pair in asked.items() for word in pair))


def test_what_the_others_rest_on_cannot_be_waived(copy: Path, release_id: str) -> None:
    options = ("--release", release_id, "--by", "Ada", "--reason", "hurry", "--state", copy)
    for gate in ("g0_data", "g1_leakage"):
        assert "cannot be waived" in refuse(1, "waive", gate, *options)


@pytest.mark.parametrize("left_out", ["--by", "--reason", "--release"])
def test_a_waiver_without_name_reason_or_release_is_wrong_usage(left_out: str) -> None:
    options = {"--release": "abc", "--by": "Ada", "--reason": "hurry"}
    refuse(
        2, "waive", "g3_seeds", *(word for name, value in options.items() if name != left_out for word in (name, value))
    )
