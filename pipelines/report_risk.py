"""What the report shows of risk, from the evidence of a run: backtests of VaR, a shock, what the guard saved."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.bars import Bars
from grandmodel.gates.report_risk import (
    CorrelationShock,
    Coverage,
    CoverageTest,
    LossRow,
    Matrix,
    MethodCoverage,
    ShockPair,
)
from grandmodel.risk.shock import REASONS, Severity, ShockHistory, ShockParams, new_memory, shock_history
from grandmodel.stats.backtest import MethodForecasts, MethodVerdict, usable, voting
from grandmodel.stats.coverage import Light, doubled, exceptions, forecasts_min, traffic_light_power
from pipelines.risk_backtest import DAYS_MIN, LEVEL, WINDOW_DAYS, daily_returns, judge_days, returns_path
from pipelines.workspace import Workspace

Floats = NDArray[np.float64]
NOT_JUDGED = "not judged"


def coverage_of(workspace: Workspace) -> Coverage | str:
    """Return the backtest of the value at risk of the released training; a sentence where its days are too few.

    Raises:
        DataError: the out-of-sample returns are missing or not finite.
    """
    path = returns_path(workspace)
    days = len(daily_returns(path)[0])
    if days < DAYS_MIN:
        return (
            f"There are {days} out-of-sample days. A forecast looks back on {WINDOW_DAYS} of them, so value at risk "
            f"cannot be held against what was earned before there are {DAYS_MIN}."
        )
    judged = judge_days(path, workspace.params.seed)
    n, voters = len(judged.returns_frac), voting(judged.verdicts)
    enough = n >= forecasts_min(LEVEL)
    return Coverage(
        level=LEVEL,
        window_days=WINDOW_DAYS,
        days=_dates(judged.sessions),
        returns_frac=tuple(judged.returns_frac.tolist()),
        methods=tuple(
            _method(forecast, verdict, judged.returns_frac, verdict.method in voters)
            for forecast, verdict in zip(judged.forecasts, judged.verdicts, strict=True)
        ),
        yellow_power=traffic_light_power(n, LEVEL, doubled(LEVEL), Light.YELLOW) if enough else None,
    )


def _method(forecast: MethodForecasts, verdict: MethodVerdict, returns: Floats, may_vote: bool) -> MethodCoverage:
    var = np.where(usable(forecast), forecast.var_frac, math.nan)
    return MethodCoverage(
        method=verdict.method,
        var_frac=_numbers(var),
        exceptions=tuple(np.flatnonzero(exceptions(returns, var)).tolist()),
        may_vote=may_vote,
        light=NOT_JUDGED if verdict.light is None else verdict.light.name.lower(),
        mean_var_frac=_number(verdict.mean_var_frac),
        tests=tuple(
            CoverageTest(one.test, one.verdict.value, _number(one.p), _number(one.power)) for one in verdict.results
        ),
    )


def correlation_of(
    bars: Mapping[str, Bars], sessions: NDArray[np.int32], params: ShockParams | None = None
) -> CorrelationShock | str:
    """Return what the shock detector saw of daily returns from the first to the last of ``sessions``, oldest first.

    It is fed every day from the first bar on, so it is warm where the out-of-sample days begin. Days are what its
    thresholds are made for (``benchmarks/shock_study.py``); intraday every morning would be an alarm. A sentence stands
    where one instrument alone is traded, or no session, or the detector has no number.
    """
    if len(bars) < 2:
        return f"The release trades {next(iter(bars), 'nothing')} alone, and one instrument has no correlations."
    if len(sessions) == 0:
        return "There is no out-of-sample day on which correlations could have been watched."
    detector = ShockParams() if params is None else params
    days, returns = session_returns(bars)
    history = shock_history(new_memory(len(bars), detector), returns)
    span = slice(int(np.searchsorted(days, sessions[0])), int(np.searchsorted(days, sessions[-1], side="right")))
    if not np.isfinite(history.score[span]).any():
        why = REASONS[history.reason[span][-1]]
        return f"The shock detector had no number on any of {span.stop - span.start} out-of-sample days: {why}."
    alarms = np.flatnonzero(history.onset[span])
    worst = span.start + int(alarms[np.argmax(history.score[span][alarms])]) if len(alarms) else None
    return CorrelationShock(
        symbols=tuple(bars),
        days=_dates(days[span]),
        mean_correlation=_numbers(history.mean_correlation[span]),
        score=_numbers(history.score[span]),
        alarms=tuple(alarms.tolist()),
        score_high=detector.score_high,
        score_critical=detector.score_critical,
        worst=None if worst is None else _pair(days, returns, history, worst, detector),
    )


def _pair(
    days: NDArray[np.int32], returns: Floats, history: ShockHistory, row: int, detector: ShockParams
) -> ShockPair:
    day_before, day = _dates(days[row - 1 : row + 1])
    severity, score = Severity(int(history.severity[row])).name, float(history.score[row])
    before, after = correlations(returns[:row], detector), correlations(returns[: row + 1], detector)
    return ShockPair(day_before, day, severity, score, before, after)


def session_returns(bars: Mapping[str, Bars]) -> tuple[NDArray[np.int32], Floats]:
    """Return all sessions, int32[T], and log returns from close to close, float64[T, N]; NaN without an earlier one."""
    days = np.unique(np.concatenate([one.session for one in bars.values()]))
    returns = np.full((len(days), len(bars)), math.nan)
    for place, one in enumerate(bars.values()):
        last = np.flatnonzero(np.append(np.diff(one.session) != 0, True))
        returns[np.searchsorted(days, one.session[last[1:]]), place] = np.diff(np.log(one.close[last]))
    return days, returns


def correlations(returns: Floats, detector: ShockParams) -> Matrix:
    """Return the EWMA correlations that the detector holds after ``returns`` (float64[T, N]), as it sees them.

    None in row and column of an asset that has never moved.
    """
    memory = new_memory(returns.shape[1], detector)
    shock_history(memory, returns)
    deviation = np.sqrt(np.diag(memory.moments))
    deviation[deviation == 0.0] = math.nan
    return tuple(_numbers(row) for row in memory.moments / np.outer(deviation, deviation))


def losses_of(stress: Mapping[str, Any]) -> tuple[LossRow, ...]:
    """Return every scenario of a stress table that has a loss, in its order."""
    told = [(row, "drill" if row["drill"] else "scenario") for row in stress["scenarios"]]
    told += [(row, "dated") for row in stress.get("dated", ()) if "loss_frac" in row]
    return tuple(
        LossRow(row["scenario"], kind, row["loss_frac"], row.get("loss_without_breaker_frac")) for row, kind in told
    )


def _dates(sessions: NDArray[np.int32]) -> tuple[str, ...]:
    return tuple(sessions.astype("datetime64[D]").astype(str).tolist())


def _numbers(values: Sequence[float] | Floats) -> tuple[float | None, ...]:
    return tuple(_number(float(value)) for value in values)


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
