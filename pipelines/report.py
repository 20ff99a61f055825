"""The report of one release as its evidence and its moves stand now."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from grandmodel.core.bars import Bars
from grandmodel.core.config import Environment, Params
from grandmodel.data.dataset import Dataset
from grandmodel.gates.g6_risk import StressRow
from grandmodel.gates.gate_report import gate_rows
from grandmodel.gates.ladder import Verdict
from grandmodel.gates.report import (
    BreakerRow,
    CheckRow,
    Curve,
    DataSummary,
    DatedRow,
    FindingRow,
    InstrumentRow,
    MoveRow,
    ReportInput,
    StrategyRow,
    TrainingRow,
    curve_of,
    render_report,
)
from grandmodel.gates.result import GateResult
from grandmodel.stats.bootstrap import Interval
from pipelines.package import RELEASED_SEED
from pipelines.paths import in_words
from pipelines.report_risk import correlation_of, coverage_of, losses_of
from pipelines.workspace import Workspace

CURVE_POINTS = 60


def write_report(
    path: Path,
    workspace: Workspace,
    *,
    release_id: str,
    stage: str,
    verdict: Verdict,
    gates: Sequence[GateResult],
    waivers: Sequence[tuple[str, str]],
    moves: Sequence[Mapping[str, Any]],
    environments: Mapping[str, Environment],
    created: str,
    lineage: Mapping[str, str],
    reproduce: Sequence[str],
) -> None:
    """Render the page of a release that reached ``stage`` and write it to ``path``.

    ``waivers`` are names of gates and sentences.
    """
    evidence = json.loads((workspace.package / "evidence.json").read_text())
    tables = load_file(workspace.evaluate / "evidence" / "daily.safetensors")
    stress = json.loads((workspace.package / "stress.json").read_text())
    dataset = Dataset.load(workspace.features / "bars")
    params = workspace.params
    page = ReportInput(
        release_id=release_id,
        stage=stage,
        created=created,
        verdict=verdict,
        gates=tuple(gates),
        gate_rows=gate_rows(gates, params.gates),
        waivers=tuple(waivers),
        data=_data(workspace, dataset),
        strategic_only=evidence["strategic_only"],
        confidence=params.evaluation.confidence,
        days=tuple(tables["sessions"].astype("datetime64[D]").astype(str).tolist()),
        fold_starts=_fold_starts(workspace),
        curves=_curves(tables, params.evaluation.confidence, params.seed),
        strategies=tuple(_strategy(row) for row in evidence["strategies"]),
        oracle_share=evidence["metrics"]["oracle_share_captured_all_seeds"],
        stress=tuple(_stress(row) for row in stress["scenarios"]),
        stress_loss_max_frac=params.gates.stress_loss_max_frac,
        dated=tuple(_dated(row) for row in stress.get("dated", ())),
        losses=losses_of(stress),
        coverage=coverage_of(workspace),
        correlation=correlation_of(dataset.strategic, tables["sessions"]),
        breakers=tuple(_breaker(environment) for environment in environments.values()),
        training=_training(workspace, evidence["fold"]),
        moves=tuple(_move(move) for move in moves),
        lineage=tuple(lineage.items()),
        reproduce=tuple(reproduce),
        notes=(*_profile(params), _released(evidence["metrics"], params.training.seeds), *_paths(evidence["paths"])),
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render_report(page))


def _profile(params: Params) -> tuple[str, ...]:
    """Return what a reader must know of the profile; nothing in the full one."""
    if params.profile == "full":
        return ()
    frames = params.training.strategic.frames + params.training.tactical.frames
    about = f"{params.training.seeds} trainings of {frames:,} frames a fold"
    return (f"Made with the {params.profile} profile ({about}): a look at the market. No registry but dev takes it.",)


def _paths(distribution: dict[str, Any] | None) -> tuple[str, ...]:
    return (in_words(distribution),) if distribution else ()


def _released(metrics: Mapping[str, Any], seeds: int) -> str:
    """Return what the one released training did, beside the page's figures over all of them."""
    sharpe, share = metrics["annual_sharpe"], metrics["oracle_share_captured"]
    return (
        f"Figures on this page are interquartile means over {seeds} trainings, because the gates judge the procedure. "
        f"The released training (the first seed) made {metrics['annual_return_frac']:+.1%} a year, "
        f"Sharpe ratio {'undefined' if sharpe is None else f'{sharpe:.2f}'}"
        + ("." if share is None else f", {share:.0%} of the oracle's log return.")
        + " Returns a year are compounded; intervals and gates compare log returns."
    )


def _data(workspace: Workspace, dataset: Dataset) -> DataSummary:
    checks = json.loads((workspace.validate / "report.json").read_text())["checks"]
    bars = [*dataset.strategic.values(), *dataset.tactical.values()]
    return DataSummary(
        name=dataset.name,
        simulated=dataset.simulated,
        licence=dataset.licence,
        source=dataset.source,
        instruments=tuple(_instrument(one) for one in bars),
        findings=tuple(FindingRow(item.level, item.subject, item.text) for item in dataset.report),
        checks=tuple(CheckRow(item["name"], item["passed"], _observed(item)) for item in checks),
    )


def _instrument(bars: Bars) -> InstrumentRow:
    first, last = (_moment(int(ns)) for ns in (bars.start_ns[0], bars.start_ns[-1]))
    return InstrumentRow(bars.symbol, bars.bar_minutes, len(bars), first, last)


def _moment(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M")


def _observed(check: Mapping[str, Any]) -> str:
    rows = f"{check['failing_count']:,} rows fail" if check["failing_count"] else "every row holds"
    return f"{check['level']}: {check['rule']}; {rows}"


def _fold_starts(workspace: Workspace) -> tuple[str, ...]:
    abouts = [json.loads(path.read_text()) for path in sorted(workspace.features.glob("fold_*/fold.json"))]
    starts = {first for about in abouts for first, _ in about["test_sessions"]}
    return tuple(str(np.datetime64(start, "D")) for start in sorted(starts))


def _curves(tables: Mapping[str, Any], confidence: float, seed: int) -> tuple[Curve, ...]:
    curves = [curve_of("release", "release", tables["release"], confidence=confidence, seed=seed)]
    named = {name.removeprefix("baseline/"): table for name, table in tables.items() if name.startswith("baseline/")}
    curves += [curve_of(name, "baseline", table) for name, table in sorted(named.items())]
    if "oracle" in tables:
        curves.append(curve_of("oracle", "oracle", tables["oracle"]))
    return tuple(curves)


def _strategy(row: Mapping[str, Any]) -> StrategyRow:
    return StrategyRow(**{**row, "excess": Interval(**row["excess"]) if row["excess"] else None})


def _stress(row: Mapping[str, Any]) -> StressRow:
    return StressRow(**{one.name: row[one.name] for one in fields(StressRow)})


def _dated(row: Mapping[str, Any]) -> DatedRow:
    figures = ("loss_frac", "loss_without_breaker_frac", "bars_to_breaker", "state")
    return DatedRow(
        row["scenario"],
        tuple(row["direct_shocks_frac"].items()),
        tuple(row["left_out"]),
        stand_ins=tuple(symbol for symbol, how in row.get("how", {}).items() if how == "stand-in"),
        revalued=bool(row.get("revalued")),
        **{key: row[key] for key in figures if key in row},
    )


def _breaker(environment: Environment) -> BreakerRow:
    limits = environment.breaker
    levels = (limits.half_drawdown_frac, limits.quarter_drawdown_frac, limits.halt_drawdown_frac)
    return BreakerRow(environment.name, levels)


def _training(workspace: Workspace, released_fold: str) -> tuple[TrainingRow, ...]:
    summary = json.loads((workspace.train / "summary.json").read_text())
    rewards: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    with (workspace.train / "curves.csv").open() as stream:
        for row in csv.DictReader(stream):
            rewards[row["fold"], row["seed"], row["team"]].append(float(row["return_per_step"]))
    return tuple(
        TrainingRow(
            team=team,
            fold=int(fold.removeprefix("fold_")),
            seed=int(seed),
            frames=summary["frames"][team],
            weights_hash=summary["weights"][f"{fold}/seed_{seed}"],
            released=(fold, f"seed_{seed}") == (released_fold, RELEASED_SEED),
            curve=tuple(curve[:: max(1, len(curve) // CURVE_POINTS)]),
        )
        for (fold, seed, team), curve in sorted(rewards.items(), key=lambda item: (item[0][2], *item[0][:2]))
    )


def _move(move: Mapping[str, Any]) -> MoveRow:
    return MoveRow(move["environment"], str(move["version"]), move["actor"], move["time"], move["hash"])
