"""Evaluate: every training replayed out of sample after costs, against baselines and the oracle; gates G0 to G5."""

from __future__ import annotations

import csv
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from grandmodel.core.config import Params
from grandmodel.core.files import write_json_atomic
from grandmodel.data.dataset import Dataset
from grandmodel.gates import g0_data, g1_leakage, g2_sanity, g3_seeds, g4_selection, g5_costs
from grandmodel.gates.report_data import StrategyRow, strategy_of
from grandmodel.gates.result import GateResult
from grandmodel.market.replay import Replay, decision_hash, replay, simulate_targets
from grandmodel.market.tape import MarketTape
from grandmodel.stats.bootstrap import bootstrap_difference
from grandmodel.stats.iqm import interquartile_mean
from grandmodel.stats.performance import (
    annual_return_frac,
    annual_sharpe,
    max_drawdown_frac,
    portfolio_daily_log_returns,
    turnover_per_year,
)
from models.release import Release, Tapes
from pipelines import baselines, sanity
from pipelines.leakage import fold_cases, truncation_cases
from pipelines.tapes import FoldMarket, fold_folders, load_fold
from pipelines.workspace import Workspace, cores, empty_folder, run_stage

Daily = NDArray[np.float64]  # [days] or [runs, days], daily net log returns of the portfolio


@dataclass(frozen=True)
class OutOfSample:
    """All test folds side by side. The order of days is that of ``sessions``."""

    sessions: NDArray[np.int32]
    release: Daily  # [seeds, days]
    at_cost_multiple: Daily  # [seeds, days]
    with_delay: Daily  # [seeds, days]
    baselines: dict[str, Daily]
    oracle: Daily | None  # [days]; only where the market is simulated
    strategic_alone: Daily | None  # [seeds, days]: intents traded directly on their own clock; None without two teams
    turnover: dict[str, float]  # position changes a year, per instrument, one-sided
    decision_hashes: dict[str, str]  # fold/seed -> hash of actions and positions


def evaluate(workspace: Workspace) -> None:
    """Write evidence, metrics and the verdicts of gates G0 to G5."""
    params = workspace.params
    dataset = Dataset.load(workspace.features / "bars")
    folds = [load_fold(folder, dataset, params.market) for folder in fold_folders(workspace.features)]
    truth = workspace.ingest / "truth"
    out = join([replay_fold(workspace, fold, dataset, truth if truth.exists() else None) for fold in folds])
    gates = judge(workspace, dataset, folds, out)
    folder = empty_folder(workspace.evaluate)
    _write_evidence(folder / "evidence", out, gates, params)
    write_json_atomic(folder / "metrics.json", _metrics(out, gates))
    _write_equity(folder / "equity.csv", out)


def replay_fold(workspace: Workspace, fold: FoldMarket, dataset: Dataset, truth: Path | None) -> OutOfSample:
    """Replay all seeds and all baselines over one test span."""
    params, test = workspace.params, fold.test
    releases = [
        Release.load(workspace.train / "weights" / f"fold_{fold.number}" / f"seed_{seed}", params.training)
        for seed in range(params.training.seeds)
    ]
    tape = test.traded
    plain = _decide_all(releases, test, params)
    costly = _decide_all(releases, test.with_cost_multiple(params.gates.cost_multiple), params)
    delayed = _decide_all(releases, test, params, delay_bars=params.gates.delay_bars)

    def simulated(targets: NDArray[np.float64]) -> Replay:
        return simulate_targets(tape, targets, params.market)

    rules = {
        "flat": simulated(np.zeros(len(tape))),
        "buy_and_hold": simulated(baselines.buy_and_hold(tape)),
        "moving_average": simulated(baselines.moving_average_rule(tape, dataset.strategic, params.evaluation)),
    }
    shuffled = [
        simulated(baselines.random_of_equal_turnover(tape, plain[draw % len(plain)].position, params.seed, draw))
        for draw in range(params.evaluation.random_baseline_draws)
    ]
    oracle = simulated(baselines.simulator_oracle(tape, truth)) if truth else None
    alone = [replay(test.strategic, release.strategic, params.market) for release in releases] if test.tactical else []
    sessions = np.unique(tape.session)
    turnover = {name: _turnover(tape, run) for name, run in rules.items()}
    turnover |= {"release": _turnover(tape, *plain), "random": _turnover(tape, *shuffled)}
    turnover |= {"oracle": _turnover(tape, oracle)} if oracle else {}
    turnover |= {"strategic_alone": _turnover(test.strategic, *alone)} if alone else {}
    return OutOfSample(
        sessions=sessions,
        release=np.stack([daily(tape, run.log_return) for run in plain]),
        at_cost_multiple=np.stack([daily(tape, run.log_return) for run in costly]),
        with_delay=np.stack([daily(tape, run.log_return) for run in delayed]),
        baselines={name: daily(tape, run.log_return) for name, run in rules.items()}
        | {"random": np.stack([daily(tape, run.log_return) for run in shuffled])},
        oracle=daily(tape, oracle.log_return) if oracle else None,
        strategic_alone=np.stack([daily(test.strategic, run.log_return) for run in alone]) if alone else None,
        turnover=turnover,
        decision_hashes={f"fold_{fold.number}/seed_{seed}": decision_hash(run) for seed, run in enumerate(plain)},
    )


def _decide_all(releases: list[Release], tapes: Tapes, params: Params, *, delay_bars: int = 0) -> list[Replay]:
    """Replay every training over the same tapes, on all cores: the kernel runs without the interpreter's lock."""
    with ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(lambda one: one.decide(tapes, params.market, delay_bars=delay_bars), releases))


def daily(tape: MarketTape, log_returns: NDArray[np.float64]) -> Daily:
    """Return the daily net log returns float64[days] of equal capital in every instrument of the tape."""
    instrument = np.repeat(np.arange(len(tape.symbols)), np.diff(tape.offsets))
    return portfolio_daily_log_returns(log_returns, tape.session, instrument)[1]


def join(parts: list[OutOfSample]) -> OutOfSample:
    """Return the folds' results one after the other in time."""

    def along_days(values: list[Daily]) -> Daily:
        return np.concatenate(values, axis=-1)

    oracles = [part.oracle for part in parts if part.oracle is not None]
    alone = [part.strategic_alone for part in parts if part.strategic_alone is not None]
    return OutOfSample(
        sessions=np.concatenate([part.sessions for part in parts]),
        release=along_days([part.release for part in parts]),
        at_cost_multiple=along_days([part.at_cost_multiple for part in parts]),
        with_delay=along_days([part.with_delay for part in parts]),
        baselines={name: along_days([part.baselines[name] for part in parts]) for name in parts[0].baselines},
        oracle=along_days(oracles) if oracles else None,
        strategic_alone=along_days(alone) if alone else None,
        turnover={name: float(np.mean([part.turnover[name] for part in parts])) for name in parts[0].turnover},
        decision_hashes={key: value for part in parts for key, value in part.decision_hashes.items()},
    )


def judge(workspace: Workspace, dataset: Dataset, folds: list[FoldMarket], out: OutOfSample) -> list[GateResult]:
    """Return the verdicts of gates G0 to G5."""
    params = workspace.params
    report = json.loads((workspace.validate / "report.json").read_text())
    # Warnings are shown and do not block: what blocks is the suite's to say.
    checks = {check["name"]: bool(check["passed"]) for check in report["checks"] if check["level"] == "critical"}
    draws, confidence, seed = params.evaluation.bootstrap_draws, params.evaluation.confidence, params.seed
    train, test = folds[-1].train.strategic, folds[-1].test.strategic
    placebo = sanity.placebo_log_returns(train, test, params)
    sharpes = [annual_sharpe(row, 1.0) for row in out.release]
    bars = dataset.tactical or dataset.strategic
    return [
        g0_data.judge(
            checks=checks,
            data_hash=dataset.raw_hash,
            licence=dataset.licence,
            rows=sum(map(len, bars.values())),
            simulated=dataset.simulated,
            source=dataset.source,
        ),
        g1_leakage.judge(
            truncation_cases(workspace, dataset, folds[-1]),
            fold_cases(dataset, folds, params),
            points_per_case=params.gates.truncation_points,
            seed=seed,
        ),
        g2_sanity.judge(
            foresight_share=sanity.foresight_share(train, test, params),
            placebo_daily_returns=daily(test, placebo),
            draws=draws,
            confidence=confidence,
            seed=seed,
        ),
        g3_seeds.judge(
            out.release,
            out.baselines,
            margin=params.gates.excess_lower_bound_min,
            draws=draws,
            confidence=confidence,
            seed=seed,
        ),
        g4_selection.judge(
            out.release[0],
            trials=params.training.seeds,
            counted=f"{params.training.seeds} seeds of one configuration; the first is released, none is picked",
            minimum=params.gates.deflated_sharpe_min,
            trial_sharpes=np.array([sharpe for sharpe in sharpes if sharpe is not None]),
        ),
        g5_costs.judge(
            returns_at_cost=out.at_cost_multiple,
            cost_multiple=params.gates.cost_multiple,
            returns_with_delay=out.with_delay,
            delay_bars=params.gates.delay_bars,
            draws=draws,
            confidence=confidence,
            seed=seed,
        ),
    ]


def strategy_rows(out: OutOfSample, params: Params) -> list[StrategyRow]:
    """Return one row per strategy: annual net return, Sharpe, drawdown, turnover, advantage of the release over it."""
    others = dict(out.baselines)
    others |= {"strategic_alone": out.strategic_alone} if out.strategic_alone is not None else {}
    others |= {"oracle": out.oracle} if out.oracle is not None else {}
    intervals = bootstrap_difference(
        out.release,
        others,
        draws=params.evaluation.bootstrap_draws,
        confidence=params.evaluation.confidence,
        seed=params.seed,
    )
    rows = [strategy_of("release", "release", out.release, turnover_per_year=out.turnover["release"])]
    return rows + [
        strategy_of(
            name,
            "oracle" if name == "oracle" else "baseline",
            table,
            turnover_per_year=out.turnover[name],
            excess=intervals[name],
        )
        for name, table in others.items()
    ]


def captured_share(out: OutOfSample, daily_returns: Daily) -> float | None:
    """Return the mean net log return (interquartile over rows) over the oracle's; None without an earning oracle."""
    if out.oracle is None or out.oracle.mean() <= 0:
        return None
    return float(interquartile_mean(np.atleast_2d(daily_returns).mean(axis=1)) / out.oracle.mean())


def _turnover(tape: MarketTape, *runs: Replay) -> float:
    """Return position changes a year per instrument; of several runs the interquartile mean, as for other figures."""
    days = len(np.unique(tape.session)) * len(tape.symbols)
    return float(interquartile_mean(np.array([turnover_per_year(run.turnover, days) for run in runs])))


def _metrics(out: OutOfSample, gates: list[GateResult]) -> dict[str, object]:
    released = out.release[0]
    return {
        "annual_return_frac": annual_return_frac(released),
        "annual_sharpe": annual_sharpe(released),
        "max_drawdown_frac": max_drawdown_frac(released),
        "oracle_share_captured": captured_share(out, released),
        "oracle_share_captured_all_seeds": captured_share(out, out.release),
        "days": len(out.sessions),
        "gates_g0_to_g5_passed": sum(gate.passed for gate in gates),
    }


def _write_evidence(folder: Path, out: OutOfSample, gates: list[GateResult], params: Params) -> None:
    folder.mkdir()
    tables = {"sessions": out.sessions, "release": out.release, "at_cost_multiple": out.at_cost_multiple}
    tables |= {"with_delay": out.with_delay}
    tables |= {f"baseline/{name}": table for name, table in out.baselines.items()}
    tables |= {"oracle": out.oracle} if out.oracle is not None else {}
    save_file({name: np.ascontiguousarray(table) for name, table in tables.items()}, folder / "daily.safetensors")
    write_json_atomic(folder / "gates.json", [gate.to_dict() for gate in gates])
    write_json_atomic(folder / "strategies.json", [asdict(row) for row in strategy_rows(out, params)])
    write_json_atomic(folder / "decisions.json", out.decision_hashes)


def _write_equity(path: Path, out: OutOfSample) -> None:
    columns = {"release": out.release.mean(axis=0)}
    columns |= {name: np.atleast_2d(table).mean(axis=0) for name, table in out.baselines.items()}
    columns |= {"oracle": out.oracle} if out.oracle is not None else {}
    equity = {name: np.exp(np.cumsum(values)) for name, values in columns.items()}
    days = out.sessions.astype("datetime64[D]").astype(str)
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["day", *equity])
        writer.writerows([day, *(f"{equity[name][row]:.8f}" for name in equity)] for row, day in enumerate(days))


if __name__ == "__main__":
    run_stage(evaluate)
