"""The nightly flow without a server: what it asks of the stage, what it publishes, and when it waits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from flows import commands
from flows import risk_backtest as door
from flows.commands import StageFailed

ROW = {
    "method": "historical",
    "exceptions": 9,
    "expected": 1.0,
    "light": "red",
    "may_vote": False,
    "mean_var_frac": 0.0123,
    "next_day_var_frac": None,
    "reason": "3 bars without a number",
    "tests": {"exact binomial": {"p": 0.001, "verdict": "rejected", "power": 0.1}},
}
RESULT = {
    "sentence": "REDUCING: no method may vote, so there is no value at risk.",
    "days": 100,
    "first_day": "2025-01-27",
    "last_day": "2025-06-13",
    "level": 0.99,
    "methods": [ROW],
}


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, Any]:
    """Return what the flow publishes, by key, with the tasks called as plain functions and a stage that has run."""
    seen: dict[str, Any] = {}

    def stage(name: str, *arguments: str) -> None:
        seen["stage"] = (name, *arguments)
        Path(arguments[arguments.index("--to") + 1]).write_text(json.dumps(RESULT))

    monkeypatch.setattr(commands, "PROJECT", tmp_path)
    monkeypatch.setattr(door, "run_stage_module", stage)
    monkeypatch.setattr(door, "run_backtest", door.run_backtest.fn)
    monkeypatch.setattr(door, "publish", door.publish.fn)
    monkeypatch.setattr(door, "create_markdown_artifact", lambda text, key, **_: seen.update({key: text}))
    monkeypatch.setattr(door, "create_table_artifact", lambda rows, key, **_: seen.update({key: rows}))
    return seen


def test_the_flow_runs_the_stage_and_publishes_the_vote_and_a_row_for_each_method(
    published: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert door.risk_backtest.fn(str(tmp_path)) == RESULT
    target = str(tmp_path / "risk_backtest.json")
    assert published["stage"] == ("risk_backtest", "--workspace", str(tmp_path), "--to", target)
    assert published["risk-vote"].startswith("# REDUCING: no method may vote")
    assert "100 days, 2025-01-27 to 2025-06-13, 99%" in published["risk-vote"]
    assert published["risk-backtest"] == [
        {
            "method": "historical",
            "exceptions": "9 of 100, 1 expected",
            "light": "red",
            "vote": "no",
            "mean VaR": "1.23%",
            "next day": "-",
            "exact binomial": "rejected",
            "why": "3 bars without a number",
        }
    ]
    assert capsys.readouterr().out == f"result  {target}\n"


def test_it_waits_for_a_release_that_is_being_made(
    published: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(door, "WAIT_SECONDS", 0.2)
    with (
        FileLock(tmp_path / ".run.lock"),
        pytest.raises(StageFailed, match="another run is in progress"),
    ):
        door.risk_backtest.fn(str(tmp_path))
    assert published == {}
    door.risk_backtest.fn(str(tmp_path))
    assert "risk-vote" in published


def test_a_stage_that_fails_publishes_nothing(
    published: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: str) -> None:
        raise StageFailed("risk_backtest: daily.safetensors: must hold the out-of-sample returns of a release")

    monkeypatch.setattr(door, "run_stage_module", fail)
    with pytest.raises(StageFailed, match="out-of-sample returns"):
        door.risk_backtest.fn(str(tmp_path))
    assert published == {}
