from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grandmodel.cli.show import show_rows
from grandmodel.core.clock import system_clock
from grandmodel.core.config import load_params
from grandmodel.market.policy import TeamPolicy
from grandmodel.market.team import TeamSpec
from grandmodel.registry.bundle import seal
from grandmodel.registry.conditions import load_environments
from grandmodel.registry.signing import development_key
from grandmodel.registry.store import Registry
from tests.grandmodel.command_line import call, parsed, refuse

PROJECT = Path(__file__).parents[2]
HEAVY = ("mlflow", "great_expectations", "torch", "pandas", "numba", "pyarrow", "prefect")
SCENARIO = {
    "scenario": "flash_crash",
    "loss_frac": 0.0625,
    "state": "REDUCING",
    "drill": False,
    "description": "Falls.",
}
DATED = [
    {
        "scenario": "gfc_2008",
        "direct_shocks_frac": {"ES": -0.3989},
        "left_out": ["GC"],
        "loss_frac": 0.1466,
        "loss_without_breaker_frac": 0.2319,
        "bars_to_breaker": 54,
        "state": "ACTIVE",
    },
    {"scenario": "svb_2023", "direct_shocks_frac": {}, "left_out": ["GC"]},
]


# --- help and usage


def test_help_names_every_command_and_no_other() -> None:
    listed = call("--help").stdout
    for name in ("run", "up", "stress", "status", "history", "promote", "rollback", "data", "ledger", "compliance"):
        assert f" {name} " in listed
    for name in ("readiness", "serve", "replay"):
        assert f" {name} " not in listed


def test_help_loads_no_heavy_library() -> None:
    code = f"import sys; import grandmodel.cli; print([name for name in {HEAVY} if name in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "[]"


def test_no_command_shows_the_help() -> None:
    result = call()
    assert result.exit_code == 2
    assert "Usage" in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("frobnicate",),
        ("status", "--frobnicate"),
        ("promote",),
        ("promote", "1", "--to", "prod"),
        ("rollback", "prod"),
        ("history", "--at", "yesterday"),
        ("run", "--date-order", "year-of-the-cat"),
        ("up", "--mlflow-port", "99999"),
        ("up", "--mlflow-port", "4200"),
        ("data", "simulate", "--edge", "4", "--out", "x"),
        ("data", "import", "x.csv", "--date-order", "backwards"),
    ],
)
def test_wrong_usage_exits_with_2(arguments: tuple[str, ...]) -> None:
    refuse(2, *arguments)


# --- run and up


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the command that replaces this process."""
    command: list[str] = []
    monkeypatch.setattr(os, "execv", lambda _, arguments: command.extend(arguments))
    monkeypatch.chdir(PROJECT / "docs")  # put back afterwards: the command line changes into the checkout
    return command


def test_run_becomes_the_flow_in_the_checkout(became: list[str], tmp_path: Path) -> None:
    call(
        "run",
        "--data",
        tmp_path,
        "--symbol",
        "NQ",
        "--symbol",
        "ES",
        "--state",
        tmp_path / "s",
        "--auto-approve",
        "Ada",
    )
    assert became[:3] == [sys.executable, "-m", "flows.release"]
    assert Path.cwd() == PROJECT
    options = dict(zip(became[3::2], became[4::2], strict=True))
    assert options["--data"] == str(tmp_path)
    assert options["--state"] == str(tmp_path / "s")
    assert options["--auto-approve"] == "Ada"
    assert became.count("--symbol") == 2


def test_the_flow_understands_what_run_gives_it(became: list[str], tmp_path: Path) -> None:
    call("run", "--data", tmp_path / "absent", "--symbol", "NQ")
    command = [*became, "--help"]
    assert subprocess.run(command, cwd=PROJECT, capture_output=True, check=False).returncode == 0


def test_up_gives_its_ports(became: list[str]) -> None:
    call("up", "--prefect-port", 4300)
    assert became[1:] == ["-m", "flows.up", "--prefect-port", "4300", "--mlflow-port", "5000"]


def test_a_command_that_needs_the_checkout_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("grandmodel.cli.checkout.__file__", str(tmp_path / "a" / "b" / "c.py"))
    assert "must run inside a GrandModel checkout" in refuse(1, "run")


def test_sweep_becomes_the_stage_in_the_checkout(became: list[str], tmp_path: Path) -> None:
    call("sweep", "--trials", 3, "--team", "tactical", "--workspace", tmp_path)
    assert became[1:] == [
        "-m",
        "pipelines.sweep",
        "--trials",
        "3",
        "--team",
        "tactical",
        "--workspace",
        str(tmp_path),
    ]


# --- registries


def ticking_clock() -> Callable[[], datetime]:
    now = system_clock() - timedelta(days=1)  # a release of long ago would be past its last day

    def look() -> datetime:
        nonlocal now
        now += timedelta(minutes=1)
        return now

    return look


def tiny_policy(weight: float) -> TeamPolicy:
    spec = TeamSpec("strategic", ("vote", "size"), ((0,), (1,)), (3, 4), n_columns=2, lags=1, uses_intent=False)
    weights = {}
    for layer, (inputs, outputs) in enumerate([(spec.observation_size, 4), (4, 4), (4, spec.actions_max)]):
        weights[f"actor.{layer}.weight"] = np.full((2, inputs, outputs), weight, np.float32)
        weights[f"actor.{layer}.bias"] = np.zeros((2, outputs), np.float32)
    return TeamPolicy(spec, weights)


def make_bundle(folder: Path, state: Path, *, weight: float, failed: Sequence[str] = ()) -> Path:
    folder.mkdir(parents=True)
    tiny_policy(weight).save(folder / "strategic.safetensors")
    gates = load_environments(PROJECT / "configs")["staging"].gates_required
    assert gates
    contents: dict[str, Any] = {
        "feature_spec.json": {"columns": ["mlmi_value"]},
        "limits.json": {"gross_cap": 1.0},
        "sbom.json": {"bomFormat": "CycloneDX", "components": []},
        "evidence.json": {"decision_hash": f"decisions-{weight}", "profile": "full", "data": {"simulated": True}},
        "gates.json": [{"name": name, "passed": name not in failed, "reason": f"reason of {name}"} for name in gates],
        "params.json": load_params(PROJECT / "params.yaml").model_dump(),
        "stress.json": {"scenarios": [SCENARIO], "dated": DATED},
    }
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content))
    seal(folder, development_key(state))
    return folder


def registry_in(folder: Path) -> Registry:
    environments = load_environments(PROJECT / "configs")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    return Registry(uri, folder / "artifacts", folder / "ledger.jsonl", ticking_clock(), environments)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a state folder with one release in production and a later one, refused by a gate, in dev."""
    folder = tmp_path_factory.mktemp("state")
    registry = registry_in(folder)
    first = make_bundle(folder / "first", folder, weight=1.0)
    registry.register(first, author="flow", tags={}, metrics={}, params={})
    for target in ("staging", "canary", "production"):
        evidence = {"decision_hash": "decisions-1.0", "selection": {"name": "g4_selection", "passed": True}}
        outcome = registry.promote(target, "1", actor="flow", reason="green", evidence=evidence, approver="Ada")
        assert outcome.accepted
    failed = load_environments(PROJECT / "configs")["staging"].gates_required[-1]
    second = make_bundle(folder / "second", folder, weight=2.0, failed=(failed,))
    registry.register(second, author="flow", tags={}, metrics={}, params={})
    return folder


def test_status_shows_the_four_registries(state: Path) -> None:
    rows = {row["environment"]: row for row in parsed("status", "--state", state)}
    assert list(rows) == ["dev", "staging", "canary", "production"]
    assert rows["production"]["version"] == "1"
    assert rows["production"]["approver"] == "Ada"
    assert {row["state"] for row in rows.values()} == {"ok"}
    table = call("status", "--state", state).stdout
    assert rows["production"]["release_id"] in table


def test_abandon_says_that_no_move_is_open(state: Path) -> None:
    answer = call("abandon", "production", "--reason", "a look", "--state", state).stdout
    assert answer.strip() == "No move into production is open."
    assert parsed("abandon", "production", "--reason", "a look", "--state", state) == []


@pytest.mark.parametrize("last", ["x" * 15, "one word after another " * 9])
def test_a_table_that_is_too_wide_cuts_no_cell(capsys: pytest.CaptureFixture[str], last: str) -> None:
    row = {f"column_{n}": f"release-{n:06d}" for n in range(9)} | {"last": last}
    show_rows("Wide", [row], as_json=False)
    said = capsys.readouterr().out
    assert all(row[key] in said for key in row if key != "last")
    assert last.split()[0] in said


def test_status_and_history_of_a_fresh_checkout_are_empty_and_write_nothing(tmp_path: Path) -> None:
    assert parsed("status", "--state", tmp_path) == parsed("history", "--state", tmp_path) == []
    assert "nothing" in call("status", "--state", tmp_path).stdout
    assert not list(tmp_path.iterdir())


def test_history_tells_moves_and_what_stood_when(state: Path) -> None:
    rows = parsed("history", "--state", state)
    assert [row["kind"] for row in rows[:5]] == ["registration", "promotion", "promotion", "promotion", "registration"]
    at_staging = parsed("history", "--at", rows[1]["time"], "--state", state)
    before = {row["environment"]: row["version"] for row in at_staging}
    assert before == {"dev": "1", "staging": "1", "canary": None, "production": None}


def test_stress_shows_the_table_of_the_champion(state: Path) -> None:
    rows = [{**SCENARIO, "kind": "scenario"}, *({**row, "kind": "dated"} for row in DATED)]
    assert parsed("stress", "--state", state) == rows
    assert parsed("stress", "--model", "models:/canary.grandmodel@champion", "--state", state) == rows
    table = call("stress", "--state", state).stdout
    assert "flash_crash" in table
    assert "6.2%" in table


def test_stress_lists_dated_scenarios_with_and_without_the_breaker(state: Path) -> None:
    lines = call("stress", "--state", state).stdout.splitlines()
    header = next(line for line in lines if "scenario" in line)
    for column in ("kind", "without breaker", "loss", "bars to breaker", "state"):
        assert column in header
    told, silent = (next(line for line in lines if name in line).split() for name in ("gfc_2008", "svb_2023"))
    assert told == ["gfc_2008", "dated", "23.2%", "14.7%", "-", "54", "-", "ACTIVE"]
    assert silent == ["svb_2023", "dated", *["-"] * 6]


def test_stress_of_an_unknown_registry_is_refused(state: Path) -> None:
    assert "must be one of" in refuse(1, "stress", "--model", "prod", "--state", state)


def test_promotion_without_its_gates_is_a_decision_with_an_exit_code_of_its_own(state: Path) -> None:
    result = call("promote", "2", "--to", "staging", "--state", state)
    assert result.exit_code == 3
    assert "did not pass" in result.stdout
    assert parsed("history", "--state", state)[-1]["kind"] == "refusal"


def test_promotion_of_what_stands_there_changes_nothing(state: Path) -> None:
    outcome = parsed("promote", "1", "--to", "staging", "--state", state)
    assert outcome["accepted"]
    assert not outcome["changed"]


def test_promotion_of_an_unknown_version_is_an_error(state: Path) -> None:
    assert "the ledger must have let it in" in refuse(1, "promote", "9", "--to", "staging", "--state", state)


def test_promotion_with_evidence_that_is_no_json_is_an_error(state: Path, tmp_path: Path) -> None:
    (tmp_path / "evidence.json").write_text("parity was fine")
    arguments = ("promote", "1", "--to", "canary", "--evidence", tmp_path / "evidence.json", "--state", state)
    assert "must be JSON" in refuse(1, *arguments)


@pytest.mark.parametrize("key", ["decision_hash", "against_champion", "selection"])
def test_what_is_measured_cannot_be_stated(state: Path, tmp_path: Path, key: str) -> None:
    (tmp_path / "evidence.json").write_text(json.dumps({key: "decisions-1.0"}))
    arguments = ("promote", "1", "--to", "canary", "--evidence", tmp_path / "evidence.json", "--state", state)
    assert "these keys are measured and cannot be given" in refuse(1, *arguments)


def test_a_promotion_by_hand_rests_on_what_a_run_measured(tmp_path: Path) -> None:
    registry = registry_in(tmp_path)
    passed = {"selection": {"name": "g4_selection", "passed": True}}
    for number in (1, 2):
        made = make_bundle(tmp_path / str(number), tmp_path, weight=float(number))
        registry.register(made, author="flow", tags={}, metrics={}, params={})
        assert registry.promote("staging", str(number), actor="flow", reason="green", evidence=passed).accepted
    by_hand = ("promote", "2", "--to", "canary", "--state", tmp_path)
    assert "parity was not measured" in call(*by_hand).stdout
    for number in (1, 2):
        measured = {"decision_hash": f"decisions-{number}.0"}
        assert registry.promote("canary", str(number), actor="flow", reason="green", evidence=measured).accepted
    registry.rollback("canary", actor="ann", reason="a look")
    assert parsed(*by_hand)["accepted"]


def test_rollback_without_an_earlier_champion_is_an_error(state: Path) -> None:
    assert "a previous champion must exist" in refuse(1, "rollback", "production", "--state", state)


def test_rollback_puts_the_earlier_champion_back(state: Path) -> None:
    assert "version 1; version 2 was left" in call("rollback", "dev", "--actor", "Ada", "--state", state).stdout
    assert parsed("status", "--state", state)[0]["version"] == "1"
    last = parsed("history", "--state", state)[-1]
    assert (last["kind"], last["actor"]) == ("rollback", "Ada")
    assert (
        "already was the champion of dev, version 1."
        in call("rollback", "dev", "--expect", "2", "--state", state).stdout
    )
    assert "its champion must be 7" in refuse(1, "rollback", "dev", "--expect", "7", "--state", state)
    assert parsed("history", "--state", state)[-1] == last


@pytest.mark.parametrize("arguments", [("stress",), ("promote", "1", "--to", "staging"), ("rollback", "dev")])
def test_moves_need_a_first_release(arguments: tuple[str, ...], tmp_path: Path) -> None:
    assert "grandmodel run" in refuse(1, *arguments, "--state", tmp_path)
    assert not list(tmp_path.iterdir())


def test_an_intact_ledger_verifies(state: Path) -> None:
    report = parsed("ledger", "verify", "--state", state)
    assert report["entries"] >= 8
    assert report["head"] in call("ledger", "verify", "--state", state).stdout


def test_a_changed_ledger_names_the_first_broken_line(state: Path, tmp_path: Path) -> None:
    lines = (state / "ledger.jsonl").read_text().splitlines()
    lines[2] = lines[2].replace("green", "amber")
    (tmp_path / "ledger.jsonl").write_text("\n".join(lines) + "\n")
    shutil.copy(state / "ledger.jsonl.head", tmp_path)
    assert "ledger.jsonl line 3: its hash must match its content" in refuse(1, "ledger", "verify", "--state", tmp_path)


@pytest.mark.parametrize("arguments", [("status",), ("history",), ("rollback", "dev"), ("ledger", "verify")])
def test_a_deleted_ledger_is_no_fresh_checkout(arguments: tuple[str, ...], state: Path, tmp_path: Path) -> None:
    shutil.copy(state / "ledger.jsonl.head", tmp_path)
    assert "the ledger is gone" in refuse(1, *arguments, "--state", tmp_path)


def test_verification_always_says_how_many_checkpoints_held(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "0 checkpoints elsewhere hold" in call("ledger", "verify", "--state", state).stdout
    monkeypatch.setenv("GRANDMODEL_ANCHOR", str(tmp_path / "anchor.jsonl"))
    assert "must hold checkpoints of" in refuse(1, "ledger", "verify", "--state", state)
    call("ledger", "anchor", "--state", state)
    assert "1 checkpoints elsewhere hold" in call("ledger", "verify", "--state", state).stdout


def test_history_names_the_evidence_of_a_move_and_a_command_prints_it(state: Path) -> None:
    row = next(row for row in parsed("history", "--state", state) if row["environment"] == "canary")
    at = parsed("history", "--at", row["time"], "--state", state)
    assert {one["environment"]: one["evidence"] for one in at}["canary"] == row["evidence"]
    shown = json.loads(call("ledger", "evidence", row["evidence"][:8], "--state", state).stdout)
    assert shown["decision_hash"] == "decisions-1.0"
    assert row["evidence"][:8] in call("history", "--state", state).stdout
    assert "must be named by one hash" in refuse(1, "ledger", "evidence", "0" * 64, "--state", state)


@pytest.mark.parametrize("spoil", [lambda path: path.write_text("{}"), lambda path: path.unlink()])
def test_evidence_that_was_changed_or_is_gone_does_not_verify(
    state: Path, tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    shutil.copytree(state, tmp_path / "state")
    row = next(row for row in parsed("history", "--state", state) if row["environment"] == "canary")
    spoil(tmp_path / "state" / "artifacts" / "evidence" / f"{row['evidence']}.json")
    said = refuse(1, "ledger", "verify", "--state", tmp_path / "state")
    assert "its evidence must be there" in said
    assert row["evidence"] in said


def test_evidence_that_is_not_finite_is_one_sentence(state: Path, tmp_path: Path) -> None:
    shutil.copytree(state, tmp_path / "state")
    row = next(row for row in parsed("history", "--state", state) if row["environment"] == "canary")
    (tmp_path / "stated.json").write_text('{"a": NaN}')
    options = ("--evidence", tmp_path / "stated.json", "--state", tmp_path / "state")
    assert "must be finite" in refuse(1, "promote", "2", "--to", "staging", *options)
    (tmp_path / "state" / "artifacts" / "evidence" / f"{row['evidence']}.json").write_text('{"a": NaN}')
    assert "must be readable JSON" in refuse(1, "ledger", "verify", "--state", tmp_path / "state")


def test_an_absent_ledger_does_not_verify(tmp_path: Path) -> None:
    assert "the ledger must exist" in refuse(1, "ledger", "verify", "--state", tmp_path)


def test_export_writes_the_serving_form_and_onnx(state: Path, tmp_path: Path) -> None:
    rows = parsed("export", tmp_path / "out", "--state", state)
    names = ["strategic.safetensors", "strategic.vote.onnx", "strategic.size.onnx"]
    assert [row["file"] for row in rows] == [str(tmp_path / "out" / name) for name in names]
    policy = TeamPolicy.load(tmp_path / "out" / names[0])
    assert policy.spec.agents == ("vote", "size")
    np.testing.assert_array_equal(policy.weights["actor.0.weight"], tiny_policy(1.0).weights["actor.0.weight"])
    assert all((tmp_path / "out" / name).stat().st_size > 100 for name in names[1:])
