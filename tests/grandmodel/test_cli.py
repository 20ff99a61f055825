from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from typer.testing import CliRunner, Result

from grandmodel.cli import app
from grandmodel.core.random import random_stream
from grandmodel.data.adjust import to_bars
from grandmodel.data.readers import read_raw
from grandmodel.market.policy import TeamPolicy
from grandmodel.market.team import TeamSpec
from grandmodel.registry.bundle import seal
from grandmodel.registry.conditions import load_environments
from grandmodel.registry.signing import development_key
from grandmodel.registry.store import Registry

PROJECT = Path(__file__).parents[2]
HEAVY = ("mlflow", "great_expectations", "torch", "pandas", "numba", "pyarrow", "prefect")
SCENARIO = {
    "scenario": "flash_crash",
    "loss_frac": 0.0625,
    "state": "REDUCING",
    "drill": False,
    "description": "Falls.",
}


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def parsed(*arguments: object) -> Any:
    result = call(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def refuse(code: int, *arguments: object) -> str:
    """Return the one sentence with which the command line refuses."""
    result = call(*arguments)
    assert result.exit_code == code, result.output
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
    return result.stderr


# --- help and usage


def test_help_names_every_command_and_no_other() -> None:
    listed = call("--help").stdout
    for name in ("run", "up", "stress", "status", "history", "promote", "rollback", "data", "ledger"):
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
    now = datetime(2026, 3, 3, 14, 0, tzinfo=UTC)

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
        "evidence.json": {"decision_hash": f"decisions-{weight}"},
        "gates.json": [{"name": name, "passed": name not in failed, "reason": f"reason of {name}"} for name in gates],
        "stress.json": {"scenarios": [SCENARIO]},
    }
    for name, content in contents.items():
        (folder / name).write_text(json.dumps(content))
    seal(folder, development_key(state))
    return folder


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a state folder with one release in production and a later one, refused by a gate, in dev."""
    folder = tmp_path_factory.mktemp("state")
    environments = load_environments(PROJECT / "configs")
    registry = Registry(
        f"sqlite:///{folder / 'mlflow.db'}",
        folder / "artifacts",
        folder / "ledger.jsonl",
        ticking_clock(),
        environments,
    )
    first = make_bundle(folder / "first", folder, weight=1.0)
    registry.register(first, author="flow", tags={}, metrics={}, params={})
    for target in ("staging", "canary", "production"):
        evidence = {"decision_hash": "decisions-1.0"}
        outcome = registry.promote_to(target, "1", actor="flow", reason="green", evidence=evidence, approver="Ada")
        assert outcome.accepted
    failed = environments["staging"].gates_required[-1]
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


def test_status_and_history_of_a_fresh_checkout_are_empty_and_write_nothing(tmp_path: Path) -> None:
    assert parsed("status", "--state", tmp_path) == parsed("history", "--state", tmp_path) == []
    assert "nothing" in call("status", "--state", tmp_path).stdout
    assert not list(tmp_path.iterdir())


def test_history_tells_moves_and_what_stood_when(state: Path) -> None:
    kinds = [row["kind"] for row in parsed("history", "--state", state)]
    assert kinds[:5] == ["registration", "promotion", "promotion", "promotion", "registration"]
    before = {
        row["environment"]: row["version"] for row in parsed("history", "--at", "2026-03-03T14:05", "--state", state)
    }
    assert before == {"dev": "1", "staging": "1", "canary": None, "production": None}


def test_stress_shows_the_table_of_the_champion(state: Path) -> None:
    assert parsed("stress", "--state", state) == [SCENARIO]
    assert parsed("stress", "--model", "models:/canary.grandmodel@champion", "--state", state) == [SCENARIO]
    table = call("stress", "--state", state).stdout
    assert "flash_crash" in table
    assert "6.2%" in table


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


def test_rollback_without_an_earlier_champion_is_an_error(state: Path) -> None:
    assert "a previous champion must exist" in refuse(1, "rollback", "production", "--state", state)


def test_rollback_puts_the_earlier_champion_back(state: Path) -> None:
    assert "version 1" in call("rollback", "dev", "--actor", "Ada", "--state", state).stdout
    assert parsed("status", "--state", state)[0]["version"] == "1"
    last = parsed("history", "--state", state)[-1]
    assert (last["kind"], last["actor"]) == ("rollback", "Ada")


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


def test_an_absent_ledger_does_not_verify(tmp_path: Path) -> None:
    assert "the ledger must exist" in refuse(1, "ledger", "verify", "--state", tmp_path)


def test_export_writes_the_serving_form_and_onnx(state: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx", reason="the onnx package is not installed")
    rows = parsed("export", tmp_path / "out", "--state", state)
    names = ["strategic.safetensors", "strategic.vote.onnx", "strategic.size.onnx"]
    assert [row["file"] for row in rows] == [str(tmp_path / "out" / name) for name in names]
    policy = TeamPolicy.load(tmp_path / "out" / names[0])
    assert policy.spec.agents == ("vote", "size")
    np.testing.assert_array_equal(policy.weights["actor.0.weight"], tiny_policy(1.0).weights["actor.0.weight"])
    assert all((tmp_path / "out" / name).stat().st_size > 100 for name in names[1:])


# --- data


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("market") / "simulated"
    about = parsed("data", "simulate", "--edge", 0.5, "--seed", 3, "--sessions", 12, "--out", folder)
    assert about == {"path": str(folder), "simulated": True, "edge": 0.5, "seed": 3, "sessions": 12}
    return folder


def test_a_simulated_market_is_not_written_over_other_files(market: Path) -> None:
    assert "must be new or empty" in refuse(1, "data", "simulate", "--out", market)


def test_check_passes_good_bars_and_builds_pages(market: Path, tmp_path: Path) -> None:
    report = parsed("data", "check", market, "--docs", tmp_path / "docs")
    assert report["passed"]
    assert report["simulated"]
    assert len(report["checks"]) > 10
    assert Path(report["docs"]).is_file()


def quarter_of_bars() -> pd.DataFrame:
    """Return 80 sessions of 30-minute bars in Chicago time around the roll of March 2025, day first, with one roll."""
    days = pd.bdate_range("2025-01-06", periods=80)
    starts = [day - pd.Timedelta(hours=7) + pd.Timedelta(minutes=30 * slot) for day in days for slot in range(46)]
    stamps = pd.DatetimeIndex(starts)
    steps = random_stream(1, "test", "quarter").integers(-4, 5, len(stamps))
    steps[::46] = 1  # a small gap at the open of each session
    steps[list(days).index(pd.Timestamp("2025-03-18")) * 46] = 800  # 200 points, one per cent
    close = 20_000 + 0.25 * np.cumsum(steps)
    opening = np.r_[close[0], close[:-1]]
    gap = np.arange(len(stamps)) % 46 == 0
    opening[gap] = close[gap]
    return pd.DataFrame(
        {
            "Timestamp": stamps.strftime("%d/%m/%Y %H:%M:%S"),
            "Open": opening,
            "High": np.maximum(opening, close),
            "Low": np.minimum(opening, close),
            "Close": close,
            "Volume": random_stream(1, "test", "volume").integers(500, 1500, len(stamps)),
        }
    )


@pytest.fixture
def csv(tmp_path: Path) -> Path:
    path = tmp_path / "NQ_2025.csv"
    quarter_of_bars().to_csv(path, index=False)
    return path


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty checkout with a DVC repository, as the working folder."""
    folder = tmp_path / "checkout"
    (folder / ".dvc").mkdir(parents=True)
    (folder / "flows").mkdir()
    (folder / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    shutil.copy(PROJECT / "params.yaml", folder)
    (folder / "dvc.yaml").write_text("stages: {}\n")
    monkeypatch.chdir(folder)
    return folder


def test_import_says_how_it_read_the_file_and_why(csv: Path) -> None:
    report = parsed("data", "import", csv, "--instrument", "NQ", "--tz", "America/Chicago")
    texts = " ".join(finding["text"] for finding in report["findings"])
    assert "dates are read day-first" in texts
    assert "2025-03-18" in texts
    assert report["instruments"][0] | {"bars": 3680, "sessions": 80, "minutes": 30} == report["instruments"][0]
    assert report["tracked"] is None
    assert "day-first" in call("data", "import", csv, "--tz", "America/Chicago").stdout


def test_import_tracks_bars_that_read_back_alike(csv: Path, checkout: Path) -> None:
    options = ("--tz", "America/Chicago", "--track", "--name", "nq", "--licence", "private", "--source", "a vendor")
    folder = Path(parsed("data", "import", csv, *options)["tracked"])
    assert folder == checkout / "imported" / "nq"
    pointer = yaml.safe_load((checkout / "imported" / "nq.dvc").read_text())
    assert pointer["meta"] == {"simulated": False, "licence": "private", "source": "a vendor"}
    raw = read_raw(folder)
    assert (raw.licence, raw.source, raw.simulated) == ("private", "a vendor", False)
    source, copy = (to_bars(item).strategic["NQ"] for item in (read_raw(csv, timezone="America/Chicago"), raw))
    assert source.price_factor[0] != 1.0
    assert np.array_equal(source.close, copy.close)
    assert np.array_equal(source.start_ns, copy.start_ns)


def test_import_again_changes_nothing_and_other_bars_need_another_name(csv: Path, checkout: Path) -> None:
    options = ("--tz", "America/Chicago", "--track", "--name", "nq")
    parsed("data", "import", csv, *options)
    before = (checkout / "imported" / "nq.dvc").read_text()
    parsed("data", "import", csv, *options)
    assert (checkout / "imported" / "nq.dvc").read_text() == before
    quarter_of_bars().iloc[:-46].to_csv(csv, index=False)
    assert "must not hold other data already" in refuse(1, "data", "import", csv, *options)
    assert sorted(path.name for path in (checkout / "imported").iterdir()) == ["nq", "nq.dvc"]


def test_import_refuses_a_name_that_leads_elsewhere(csv: Path, checkout: Path) -> None:
    message = refuse(1, "data", "import", csv, "--tz", "America/Chicago", "--track", "--name", "../nq")
    assert "must be letters" in message
    assert not (checkout / "imported").exists()


def _cell(table: pd.DataFrame, column: str, value: object) -> pd.DataFrame:
    table[column] = table[column].astype(object)
    table.loc[48, column] = value
    return table


BAD = {
    "missing column": (lambda table: table.drop(columns="High"), "row 1: the header must have a column 'high'"),
    "duplicate row": (lambda table: pd.concat([table, table.tail(1)]), "row 3682: bar starts of one instrument must"),
    "high below low": (lambda table: _cell(table, "High", 1.0), "row 50: high must be at least"),
    "no price": (lambda table: _cell(table, "Close", "NaN"), "row 50: close must be a number"),
    "no number": (
        lambda table: _cell(table, "Close", "a lot"),
        "row 50 column close: the cell must be a finite number",
    ),
    "month first": (
        lambda table: table.assign(Timestamp=table["Timestamp"].str.replace(r"^(\d+)/(\d+)", r"\2/\1", regex=True)),
        "reads only month-first",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_check_blocks_bad_bars_with_one_sentence(name: str, csv: Path, tmp_path: Path) -> None:
    spoil, sentence = BAD[name]
    spoil(quarter_of_bars()).to_csv(csv, index=False)
    message = refuse(1, "data", "check", csv, "--tz", "America/Chicago", "--docs", tmp_path / "docs")
    assert "NQ_2025.csv" in message
    assert sentence in message


@pytest.mark.parametrize("content", [b"", b"\x00\x01\x02" * 100])
def test_check_blocks_files_that_hold_no_table(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "NQ.csv").write_bytes(content)
    assert "NQ.csv: the file must" in refuse(1, "data", "check", tmp_path / "NQ.csv")


def test_check_of_an_absent_path_is_an_error(tmp_path: Path) -> None:
    assert "must exist" in refuse(1, "data", "check", tmp_path / "absent.csv")


@pytest.mark.shared
def test_the_real_file_of_two_spellings_is_read_with_its_evidence(shared_data: Path) -> None:
    report = parsed("data", "import", shared_data / "futures_30m" / "NQ_30min_2020_2025.csv", "--instrument", "NQ")
    texts = " ".join(finding["text"] for finding in report["findings"])
    assert "dates are read day-first" in texts
    assert "stamps are bar starts in Asia/Jerusalem" in texts
    assert "strategic-only" in texts
