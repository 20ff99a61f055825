"""What the report of one release shows, as plain data, and how the evaluation becomes such data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from grandmodel.gates.g6_risk import StressRow
from grandmodel.gates.gate_report import GateRow
from grandmodel.gates.ladder import Verdict
from grandmodel.gates.report_risk import CorrelationShock, Coverage, LossRow
from grandmodel.gates.result import GateResult
from grandmodel.stats.bootstrap import Interval
from grandmodel.stats.iqm import interquartile_mean, seed_band
from grandmodel.stats.performance import SESSIONS_PER_YEAR, annual_return_frac, annual_sharpe, max_drawdown_frac

Kind = Literal["release", "baseline", "oracle"]


@dataclass(frozen=True)
class Curve:
    """Equity at the end of each day, 1.0 before the first; the band is empty or as long as the equity."""

    name: str
    kind: Kind
    equity: tuple[float, ...]
    lower: tuple[float, ...] = ()
    upper: tuple[float, ...] = ()


@dataclass(frozen=True)
class StrategyRow:
    """One line of the table of strategies; interquartile means where there are several seeds or draws."""

    name: str
    kind: Kind
    net_return_annual_frac: float
    sharpe_annual: float | None  # None where returns never vary
    max_drawdown_frac: float
    turnover_per_year: float | None
    excess: Interval | None = None  # release minus this strategy, annual log return; None for the release itself


@dataclass(frozen=True)
class InstrumentRow:
    """Bars of one instrument on one clock."""

    symbol: str
    bar_minutes: int
    bars: int
    first: str
    last: str


@dataclass(frozen=True)
class FindingRow:
    """One thing that reading the data brought up."""

    level: Literal["info", "warning"]
    subject: str
    text: str


@dataclass(frozen=True)
class CheckRow:
    """One expectation of the validation suite."""

    name: str
    passed: bool
    observed: str = ""


@dataclass(frozen=True)
class DataSummary:
    """Which data went in, and what was found in it."""

    name: str
    simulated: bool
    licence: str
    source: str
    instruments: tuple[InstrumentRow, ...] = ()
    findings: tuple[FindingRow, ...] = ()
    checks: tuple[CheckRow, ...] = ()


@dataclass(frozen=True)
class BreakerRow:
    """The drawdown limits of one registry."""

    environment: str
    levels: tuple[float, ...]  # drawdown fractions at which it halves, quarters and halts


@dataclass(frozen=True)
class TrainingRow:
    """One training of one team."""

    team: str
    fold: int
    seed: int
    frames: int
    weights_hash: str
    released: bool = False
    curve: tuple[float, ...] = ()  # mean reward per rollout


@dataclass(frozen=True)
class MoveRow:
    """One move of the release between registries."""

    stage: str
    version: str
    actor: str
    moment: str
    ledger_hash: str


@dataclass(frozen=True)
class DatedRow:
    """A dated scenario replayed by direct shocks. Losses are positive; None where it says nothing of any instrument."""

    scenario: str
    shocks_frac: tuple[tuple[str, float], ...]  # symbol and move of its price
    left_out: tuple[str, ...]  # symbols that the scenario says nothing about
    loss_frac: float | None = None
    loss_without_breaker_frac: float | None = None
    bars_to_breaker: int | None = None
    state: str = ""
    stand_ins: tuple[str, ...] = ()  # symbols that are given the move of their class
    revalued: bool = False  # what was held is valued at the shock; not replayed


@dataclass(frozen=True)
class ReportInput:
    """All that the page shows. What was not reached stays empty and is said to be missing."""

    release_id: str
    stage: str  # registry the release reached
    created: str  # ISO 8601, UTC
    verdict: Verdict
    gates: tuple[GateResult, ...]
    data: DataSummary
    waivers: tuple[tuple[str, str], ...] = ()  # name of the gate, and who let its refusal pass and why
    gate_rows: tuple[GateRow, ...] = ()  # of the same verdicts, in the same order
    strategic_only: bool = False
    confidence: float = 0.95
    days: tuple[str, ...] = ()  # ISO dates of the out-of-sample days
    fold_starts: tuple[str, ...] = ()  # ISO dates, the first of each test fold
    curves: tuple[Curve, ...] = ()
    strategies: tuple[StrategyRow, ...] = ()
    oracle_share: float | None = None  # net return of the release over that of the simulator's oracle
    stress: tuple[StressRow, ...] = ()
    stress_loss_max_frac: float | None = None
    dated: tuple[DatedRow, ...] = ()
    losses: tuple[LossRow, ...] = ()  # of all scenarios, dated ones among them
    coverage: Coverage | str = ""  # a sentence where value at risk could not be judged
    correlation: CorrelationShock | str = ""  # a sentence where there are no correlations
    breakers: tuple[BreakerRow, ...] = ()
    training: tuple[TrainingRow, ...] = ()
    moves: tuple[MoveRow, ...] = ()
    lineage: tuple[tuple[str, str], ...] = ()  # label and hash: data, params, code commit, weights, decisions, features
    reproduce: tuple[str, ...] = ()  # shell commands
    notes: tuple[str, ...] = ()


def curve_of(
    name: str, kind: Kind, daily: NDArray[np.float64], *, confidence: float = 0.95, draws: int = 1000, seed: int = 0
) -> Curve:
    """Return the equity of daily log returns float64[days] or float64[rows, days].

    With several rows: interquartile mean over rows of the log equity, and for the release a bootstrap band over rows.
    Raises: DataError when empty or not finite.
    """
    log_equity = np.cumsum(np.atleast_2d(daily), axis=1)
    if kind != "release" or len(log_equity) == 1:
        centre = interquartile_mean(log_equity)
        return Curve(name, kind, tuple(np.exp(centre).tolist()))
    bands = seed_band(log_equity, confidence=confidence, draws=draws, seed=seed)
    equity, lower, upper = (tuple(np.exp(band).tolist()) for band in bands)
    return Curve(name, kind, equity, lower, upper)


def strategy_of(
    name: str,
    kind: Kind,
    daily: NDArray[np.float64],
    *,
    turnover_per_year: float | None,
    excess: Interval | None = None,
    sessions_per_year: float = SESSIONS_PER_YEAR,
) -> StrategyRow:
    """Return the table line of daily log returns float64[days] or float64[rows, days].

    Each figure is computed per row and then aggregated by the interquartile mean; a Sharpe ratio that one row does not
    have, because it never traded, is None for all. Raises: DataError when empty or not finite.
    """
    table = np.atleast_2d(daily)
    sharpes = [value for row in table if (value := annual_sharpe(row, sessions_per_year)) is not None]
    return StrategyRow(
        name,
        kind,
        _aggregate(table, lambda row: annual_return_frac(row, sessions_per_year)),
        float(interquartile_mean(np.array(sharpes))) if len(sharpes) == len(table) else None,
        _aggregate(table, max_drawdown_frac),
        turnover_per_year,
        excess,
    )


def _aggregate(table: NDArray[np.float64], measure: Callable[[NDArray[np.float64]], float]) -> float:
    return float(interquartile_mean(np.array([measure(row) for row in table])))
