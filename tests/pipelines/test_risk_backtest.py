"""The backtest of the release's risk numbers: it looks only back, a red method loses its vote, and no voter reduces."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from grandmodel.core.errors import DataError
from grandmodel.core.hashing import canonical_json
from grandmodel.core.random import random_stream
from grandmodel.risk.tail import METHODS
from grandmodel.risk.tail_kernel import rolling_var
from pipelines import risk_backtest as house
from pipelines.risk_backtest import DECAY, LEVEL, WINDOW_DAYS, RiskBacktest, daily_returns, risk_backtest, write
from pipelines.workspace import PROJECT, Workspace

FIRST_SESSION = 20_000  # 2024-10-04


def normal(days: int, scale_frac: float = 0.01) -> NDArray[np.float64]:
    return scale_frac * random_stream(4, "returns of a calm release").standard_normal(days)


def judged(folder: Path, returns: NDArray[np.float64]) -> RiskBacktest:
    """Return the backtest of a release whose first seed earned ``returns``, and whose second lost all of it."""
    return risk_backtest(workspace_of(folder, returns))


def workspace_of(folder: Path, returns: NDArray[np.float64]) -> Workspace:
    evidence = folder / "evaluate" / "evidence"
    evidence.mkdir(parents=True, exist_ok=True)
    with np.errstate(invalid="ignore"):
        logs = np.stack([np.log1p(returns), np.full(len(returns), -1.0)])
    sessions = np.arange(FIRST_SESSION, FIRST_SESSION + len(returns), dtype=np.int32)
    save_file({"release": logs, "sessions": sessions}, evidence / "daily.safetensors")
    return Workspace(folder)


def test_forecasts_of_calm_returns_keep_their_votes_and_give_a_number(tmp_path: Path) -> None:
    result = judged(tmp_path, normal(600))
    assert set(result.voters) >= {"parametric", "filtered_historical", "ewma_normal"}
    assert (result.days, result.trading) == (500, "ACTIVE")
    assert (result.first_day, result.last_day) == ("2025-01-12", "2026-05-26")
    assert result.value_at_risk_frac is not None
    assert 0.02 < result.value_at_risk_frac < 0.04
    assert f"{result.value_at_risk_frac:.2%}" in result.sentence


def test_each_day_is_judged_by_a_forecast_from_the_days_before_it(tmp_path: Path) -> None:
    returns = normal(300)
    rows = {row["method"]: row for row in judged(tmp_path, returns).methods}
    assert list(rows) == list(METHODS)
    for method, row in rows.items():
        var, _ = rolling_var(returns, LEVEL, method, WINDOW_DAYS, DECAY)
        assert row["exceptions"] == int(np.sum(-returns[WINDOW_DAYS:] > var[WINDOW_DAYS:]))
        ahead, _ = rolling_var(np.append(returns, 0.0), LEVEL, method, WINDOW_DAYS, DECAY)
        assert row["next_day_var_frac"] == pytest.approx(float(ahead[-1]), rel=1e-12)
        assert row["expected"] == 2.0


def test_the_last_return_changes_no_forecast_but_that_of_the_next_day(tmp_path: Path) -> None:
    returns = normal(300)
    before = judged(tmp_path / "a", returns)
    returns[-1] = -0.2
    after = judged(tmp_path / "b", returns)
    for one, other in zip(before.methods, after.methods, strict=True):
        assert one["mean_var_frac"] == other["mean_var_frac"]
        assert one["exceptions"] + 1 >= other["exceptions"] >= one["exceptions"]
        assert other["next_day_var_frac"] > one["next_day_var_frac"]


def test_a_method_that_goes_red_loses_its_vote_and_the_others_decide(tmp_path: Path) -> None:
    """Every thirtieth day loses much: what looks for normal tails is red, what looks at its own tail is not."""
    returns = normal(1100)
    returns[::30] -= 0.05
    result = judged(tmp_path, returns)
    lights = {row["method"]: row["light"] for row in result.methods}
    assert lights["parametric"] == "red"
    assert "parametric" not in result.voters
    assert result.voters
    numbers = [row["next_day_var_frac"] for row in result.methods if row["may_vote"]]
    assert result.value_at_risk_frac == max(numbers)
    assert "may not" in result.sentence
    assert result.trading == "ACTIVE"


def test_where_no_method_may_vote_it_says_reducing(tmp_path: Path) -> None:
    """A series that stands still leaves every method without a number, and such a day counts as an exception."""
    result = judged(tmp_path, np.concatenate([normal(150), np.zeros(200)]))
    assert {row["light"] for row in result.methods} == {"red"}
    assert result.voters == ()
    assert (result.trading, result.value_at_risk_frac) == ("REDUCING", None)
    assert result.sentence.startswith("REDUCING: no method may vote")


def test_too_few_days_to_judge_leave_no_vote(tmp_path: Path) -> None:
    result = judged(tmp_path, normal(WINDOW_DAYS + 99))
    assert {row["light"] for row in result.methods} == {"not judged"}
    assert (result.voters, result.trading) == ((), "REDUCING")
    assert "99 forecasts, and level 0.99 needs 100" in result.methods[0]["reason"]


def test_a_release_that_no_longer_trades_has_no_number_for_the_next_day(tmp_path: Path) -> None:
    returns = np.concatenate([normal(2000), np.zeros(WINDOW_DAYS)])
    result = judged(tmp_path, returns)
    assert result.value_at_risk_frac is None
    assert result.trading == "REDUCING"


def test_the_released_seed_is_judged_and_no_other(tmp_path: Path) -> None:
    returns, sessions = daily_returns(workspace_of(tmp_path, normal(150)).evaluate / "evidence" / "daily.safetensors")
    np.testing.assert_allclose(returns, normal(150), rtol=1e-12)
    assert sessions[0] == FIRST_SESSION


def test_the_same_returns_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write(judged(tmp_path / name, normal(250)), tmp_path / f"{name}.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert canonical_json(json.loads((tmp_path / "a.json").read_text()))


@pytest.mark.parametrize("content", [None, b"", b"not tensors"])
def test_evidence_that_is_absent_or_unreadable_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "evaluate" / "evidence" / "daily.safetensors"
    path.parent.mkdir(parents=True)
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=r"must hold the out-of-sample returns of a release.*evaluate stage, again"):
        risk_backtest(Workspace(tmp_path))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_return_that_is_not_finite_is_refused(tmp_path: Path, bad: float) -> None:
    returns = normal(250)
    returns[17] = bad
    with pytest.raises(DataError, match="one finite return for each session"):
        judged(tmp_path, returns)


def test_too_few_days_to_forecast_from_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must hold 102 days; found 101"):
        judged(tmp_path, normal(101))


def test_the_command_writes_its_result_and_says_it(tmp_path: Path) -> None:
    workspace_of(tmp_path, normal(250))
    command = [sys.executable, "-m", house.__name__, "--workspace", str(tmp_path)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True)
    told = json.loads((tmp_path / "risk_backtest.json").read_text())
    assert done.stdout == f"{told['sentence']}\n"
    shutil.rmtree(tmp_path / "evaluate")
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
