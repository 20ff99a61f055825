"""What the report computes of risk agrees with the nightly backtest, with a slow twin and with the stress table."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import save_file

from grandmodel.core.bars import NS_PER_MINUTE, Bars
from grandmodel.core.random import random_stream
from grandmodel.gates.report_risk import CorrelationShock, Coverage
from grandmodel.risk.shock import ShockParams
from grandmodel.risk.tail import METHODS
from pipelines.report_risk import correlation_of, correlations, coverage_of, losses_of, session_returns
from pipelines.risk_backtest import DAYS_MIN, WINDOW_DAYS, risk_backtest
from pipelines.workspace import Workspace

FIRST_SESSION = 20_000  # 2024-10-04
DETECTOR = ShockParams(warmup_bars=20)


def workspace_of(folder: Path, returns: NDArray[np.float64]) -> Workspace:
    evidence = folder / "evaluate" / "evidence"
    evidence.mkdir(parents=True)
    sessions = np.arange(FIRST_SESSION, FIRST_SESSION + len(returns), dtype=np.int32)
    save_file({"release": np.log1p(returns)[None, :], "sessions": sessions}, evidence / "daily.safetensors")
    return Workspace(folder)


def calm(days: int) -> NDArray[np.float64]:
    return 0.01 * random_stream(4, "returns of a calm release").standard_normal(days)


def bars_of(symbol: str, closes: NDArray[np.float64], sessions: NDArray[np.int32]) -> Bars:
    """Return two 30-minute bars a session, of which the second closes at the given price."""
    session = np.repeat(sessions, 2)
    start = session.astype(np.int64) * 1440 * NS_PER_MINUTE + np.tile([0, 30], len(sessions)) * NS_PER_MINUTE
    close = np.repeat(closes, 2)
    close[::2] *= 1.5  # never the last of its session
    ones = np.ones(len(close))
    columns = (start, start + 30 * NS_PER_MINUTE, close, close, close, close, ones, session, ones, ones > 0)
    return Bars(symbol, 30, *columns)


def market(days: int = 120, shock_day: int | None = None) -> dict[str, Bars]:
    """Return three unrelated instruments which on one day fall together."""
    moves = 0.01 * random_stream(9, "three markets").standard_normal((days, 3))
    if shock_day is not None:
        moves[shock_day] = -0.08
    sessions = np.arange(FIRST_SESSION, FIRST_SESSION + days, dtype=np.int32)
    closes = 100.0 * np.exp(np.cumsum(moves, axis=0))
    return {symbol: bars_of(symbol, closes[:, i], sessions) for i, symbol in enumerate(("CL", "ES", "GC"))}


def test_the_days_of_the_report_are_those_that_the_nightly_backtest_judges(tmp_path: Path) -> None:
    returns = calm(260)
    returns[-1] = -0.2  # beyond every forecast
    workspace = workspace_of(tmp_path, returns)
    shown, judged = coverage_of(workspace), risk_backtest(workspace)
    assert isinstance(shown, Coverage)
    assert (shown.days[0], shown.days[-1], len(shown.days)) == (judged.first_day, judged.last_day, judged.days)
    assert shown.returns_frac == pytest.approx(returns[WINDOW_DAYS:], rel=1e-12)
    assert tuple(one.method for one in shown.methods) == tuple(METHODS)
    assert tuple(one.method for one in shown.voters) == judged.voters
    for one, row in zip(shown.methods, judged.methods, strict=True):
        assert len(one.exceptions) == row["exceptions"]
        assert len(shown.days) - 1 in one.exceptions
        assert one.light == row["light"]
        assert {test.test: test.p for test in one.tests} == {name: test["p"] for name, test in row["tests"].items()}
        for day in range(len(shown.days)):
            var = one.var_frac[day]
            assert (day in one.exceptions) == (var is None or -shown.returns_frac[day] > var)


def test_too_few_days_are_a_sentence(tmp_path: Path) -> None:
    shown = coverage_of(workspace_of(tmp_path, calm(DAYS_MIN - 1)))
    assert isinstance(shown, str)
    assert f"There are {DAYS_MIN - 1} out-of-sample days" in shown


def test_days_that_are_enough_to_forecast_but_not_to_judge_get_no_light(tmp_path: Path) -> None:
    shown = coverage_of(workspace_of(tmp_path, calm(DAYS_MIN)))
    assert isinstance(shown, Coverage)
    assert len(shown.days) == 2
    assert {one.light for one in shown.methods} == {"not judged"}
    assert shown.yellow_power is None
    assert shown.voters == ()


def test_a_joint_fall_out_of_sample_is_the_worst_alarm_and_its_matrices_stand_before_and_after() -> None:
    bars = market(shock_day=100)
    days, returns = session_returns(bars)
    found = correlation_of(bars, days[60:], DETECTOR)
    assert isinstance(found, CorrelationShock)
    assert (found.symbols, len(found.days)) == (("CL", "ES", "GC"), 60)
    assert found.worst is not None
    assert 40 in found.alarms
    assert (found.worst.day_before, found.worst.day) == (found.days[39], found.days[40])
    assert found.worst.before == correlations(returns[:100], DETECTOR)
    before, after = (np.array(one)[np.triu_indices(3, 1)] for one in (found.worst.before, found.worst.after))
    assert (after > 0.5).all()
    assert (before < 0.5).all()


def test_an_alarm_before_the_out_of_sample_days_is_not_shown() -> None:
    bars = market(shock_day=50)
    days, _ = session_returns(bars)
    found = correlation_of(bars, days[60:], DETECTOR)
    assert isinstance(found, CorrelationShock)
    assert found.alarms == ()
    assert found.worst is None


def test_the_last_day_changes_no_earlier_one() -> None:
    bars = market()
    days, _ = session_returns(bars)
    whole, part = (correlation_of(bars, days[60:stop], DETECTOR) for stop in (120, 110))
    assert isinstance(whole, CorrelationShock)
    assert isinstance(part, CorrelationShock)
    assert whole.score[:50] == part.score
    assert whole.mean_correlation[:50] == part.mean_correlation


def test_correlations_agree_with_sums_over_all_pairs() -> None:
    returns = random_stream(2, "returns with gaps").standard_normal((90, 3))
    returns[::7, 1] = np.nan  # did not trade
    found = correlations(returns, DETECTOR)
    weights = (1.0 - DETECTOR.decay) * DETECTOR.decay ** np.arange(len(returns))[::-1]
    filled = np.nan_to_num(returns)
    for i in range(3):
        for j in range(3):
            own = [sum(w * r[a] * r[b] for w, r in zip(weights, filled, strict=True)) for a, b in ((i, i), (j, j))]
            both = sum(w * r[i] * r[j] for w, r in zip(weights, filled, strict=True))
            assert found[i][j] == pytest.approx(both / np.sqrt(own[0] * own[1]), rel=1e-9)


def test_an_instrument_that_never_moves_has_no_correlations() -> None:
    returns = random_stream(2, "one rests").standard_normal((90, 3))
    returns[:, 2] = 0.0
    found = correlations(returns, DETECTOR)
    assert [found[2], [row[2] for row in found]] == [(None,) * 3, [None] * 3]
    assert found[0][1] is not None


def test_returns_run_from_close_to_close_and_a_missing_session_is_not_zero() -> None:
    bars = market(days=6)
    ten = bars["GC"]
    kept = np.flatnonzero(ten.session != FIRST_SESSION + 3)
    bars["GC"] = bars_of("GC", ten.close[kept][1::2], np.unique(ten.session[kept]))
    days, returns = session_returns(bars)
    assert days.tolist() == list(range(FIRST_SESSION, FIRST_SESSION + 6))
    assert np.isnan(returns[0]).all()
    assert np.isnan(returns[3, 2])
    assert returns[4, 2] == pytest.approx(np.log(ten.close[9] / ten.close[5]))
    assert returns[2, 0] == pytest.approx(np.log(bars["CL"].close[5] / bars["CL"].close[3]))


def test_one_instrument_and_no_days_are_sentences() -> None:
    bars = market(days=30)
    alone = correlation_of({"CL": bars["CL"]}, np.array([FIRST_SESSION], np.int32), DETECTOR)
    assert alone == "The release trades CL alone, and one instrument has no correlations."
    assert "no out-of-sample day" in str(correlation_of(bars, np.array([], np.int32), DETECTOR))


def test_a_record_too_short_for_the_detector_is_a_sentence() -> None:
    bars = market(days=30)
    days, _ = session_returns(bars)
    found = correlation_of(bars, days[10:])
    assert found == "The shock detector had no number on any of 20 out-of-sample days: still warming up."


def test_losses_are_those_of_the_stress_table_and_a_row_without_one_is_left_out() -> None:
    row = {"state": "ACTIVE", "drill": False}
    stress = {
        "scenarios": [
            {"scenario": "gap_down", "loss_frac": 0.05, **row},
            {"scenario": "breaker_drill", "loss_frac": 0.2, "loss_without_breaker_frac": 0.6, **row, "drill": True},
        ],
        "dated": [
            {"scenario": "gfc_2008", "loss_frac": 0.1, "loss_without_breaker_frac": 0.2, **row},
            {"scenario": "svb_2023", "direct_shocks_frac": {}},
        ],
    }
    rows = losses_of(json.loads(json.dumps(stress)))
    assert [(one.scenario, one.kind, one.loss_without_breaker_frac) for one in rows] == [
        ("gap_down", "scenario", None),
        ("breaker_drill", "drill", 0.6),
        ("gfc_2008", "dated", 0.2),
    ]
    assert losses_of({"scenarios": stress["scenarios"]}) == rows[:2]
