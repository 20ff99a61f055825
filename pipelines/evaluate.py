"""Evaluate: every training replayed out of sample after costs, against baselines and the oracle; gates G0 to G5."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from grandmodel.core.clock import system_clock
from grandmodel.core.config import Params
from grandmodel.core.files import write_json_atomic
from grandmodel.core.hashing import hash_json
from grandmodel.data.calendar.absent import absent_sessions
from grandmodel.data.dataset import Dataset
from grandmodel.gates import g0_data, g2_sanity, g3_seeds, g4_selection, g5_costs
from grandmodel.gates.g5_costs import CostRow
from grandmodel.gates.report_data import StrategyRow, strategy_of
from grandmodel.gates.result import GateResult
from grandmodel.market.replay import Replay, decision_hash, replay, simulate_targets
from grandmodel.market.tape import MarketTape
from grandmodel.registry.trials import open_trials
from grandmodel.risk.held_book import HeldBook, join_books
from grandmodel.stats.bootstrap import bootstrap_difference
from grandmodel.stats.iqm import interquartile_mean
from grandmodel.stats.performance import (
    annual_return_frac,
    annual_sharpe,
    max_drawdown_frac,
    portfolio_daily_log_returns,
    turnover_per_year,
)
from grandmodel.stats.trials import Trials
from models.release import Release, Tapes
from pipelines import baselines, sanity
from pipelines.books import held_book
from pipelines.costs import cost_rows, joined
from pipelines.features import plan_folds
from pipelines.leakage import judge_leakage
from pipelines.paths import histories, sharpe_distribution
from pipelines.tapes import FoldMarket, fold_folders, load_fold
from pipelines.trials import record_run
from pipelines.workspace import Workspace, cores, empty_folder, run_stage, state_folder

RELEASED = 0  # seed whose weights are packaged
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
    released_book: HeldBook  # what the released training held, half hour by half hour
    costs: tuple[CostRow, ...]  # by instrument, over seeds
    costs_at_multiple: tuple[CostRow, ...]
    turnover: dict[str, float]  # position changes a year, per instrument, one-sided
    decision_hashes: dict[str, str]  # fold/seed -> hash of actions and positions


def evaluate(workspace: Workspace) -> None:
    """Write evidence, metrics and the verdicts of gates G0 to G5; enter the trainings into the trial ledger.

    The ledger lies outside the workspace and is no out of DVC: what was tried stays tried when files are made anew.
    """
    params = workspace.params
    dataset = Dataset.load(workspace.features / "bars")
    folds = [load_fold(folder, dataset, params.market) for folder in fold_folders(workspace.features)]
    truth = workspace.ingest / "truth"
    tests = [replay_fold(workspace, fold, dataset, truth if truth.exists() else None) for fold in folds]
    ways = [join(way) for way in histories(plan_folds(dataset, params), tests)]
    out = replace(ways[0], decision_hashes=_decisions(tests))
    record_run(workspace, open_trials(state_folder(), system_clock), out.sessions, out.release)
    gates = judge(workspace, dataset, folds, out)
    folder = empty_folder(workspace.evaluate)
    _write_evidence(folder / "evidence", out, gates, params)
    if params.folds.scheme == "combinatorial":
        _write_paths(folder / "evidence", ways)
    write_json_atomic(folder / "metrics.json", _metrics(out, gates))
    _write_equity(folder / "equity.csv", out)


def replay_fold(workspace: Workspace, fold: FoldMarket, dataset: Dataset, truth: Path | None) -> list[OutOfSample]:
    """Replay all seeds and all baselines over each test span of the fold, from flat."""
    return [replay_span(workspace, fold, test, dataset, truth) for test in fold.tests]


def replay_span(
    workspace: Workspace, fold: FoldMarket, test: Tapes, dataset: Dataset, truth: Path | None
) -> OutOfSample:
    """Replay all seeds and all baselines over one test span."""
    params = workspace.params
    releases = [
        Release.load(workspace.train / "weights" / f"fold_{fold.number}" / f"seed_{seed}", params.training)
        for seed in range(params.training.seeds)
    ]
    tape = test.traded
    plain = _decide_all(releases, test, params)
    dearer = test.with_cost_multiple(params.gates.cost_multiple)
    costly = _decide_all(releases, dearer, params)
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
    traded_bars = dataset.tactical or dataset.strategic
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
        released_book=held_book(tape, plain[RELEASED].position, sorted(dataset.strategic)),
        costs=cost_rows(tape, plain, dataset.instruments, traded_bars),
        costs_at_multiple=cost_rows(dearer.traded, costly, dataset.instruments, traded_bars),
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
        released_book=join_books([part.released_book for part in parts]),
        costs=joined([part.costs for part in parts]),
        costs_at_multiple=joined([part.costs_at_multiple for part in parts]),
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
    bars = dataset.tactical or dataset.strategic
    return [
        g0_data.judge(
            checks=checks,
            data_hash=dataset.raw_hash,
            licence=dataset.licence,
            rows=sum(map(len, bars.values())),
            simulated=dataset.simulated,
            universe=dataset.universe,
            first_test_session=int(out.sessions[0]),
            sessions={
                symbol: absent_sessions(dataset.instruments[symbol], one.session, simulated=dataset.simulated)
                for symbol, one in dataset.strategic.items()
            },
            universe_grace_days=params.gates.universe_grace_days,
            absent_sessions_max_frac=params.gates.absent_sessions_max_frac,
            source=dataset.source,
        ),
        judge_leakage(workspace, dataset, folds),
        g2_sanity.judge(
            foresight_share=sanity.foresight_share(train, test, params),
            foresight_share_min=params.gates.foresight_share_min,
            placebo_daily_returns=sanity.placebo_daily_returns(dataset, folds[-1], params),
            draws=draws,
            confidence=confidence,
            seed=seed,
        ),
        g3_seeds.judge(
            out.release,
            out.baselines,
            margin=params.gates.excess_lower_bound_min,
            seeds_min=params.gates.seeds_min,
            draws=draws,
            confidence=confidence,
            seed=seed,
        ),
        g4_selection.judge(out.release[0], trials=trials_of_run(out), thresholds=params.gates, draws=draws, seed=seed),
        g5_costs.judge(
            returns=out.release,
            returns_at_cost=out.at_cost_multiple,
            cost_multiple=params.gates.cost_multiple,
            returns_with_delay=out.with_delay,
            delay_bars=params.gates.delay_bars,
            costs=out.costs,
            costs_at_multiple=out.costs_at_multiple,
            draws=draws,
            confidence=confidence,
            seed=seed,
        ),
    ]


def trials_of_run(out: OutOfSample) -> Trials:
    """Return the trainings of this run as trials: the first was named before any was trained, so none is picked."""
    seeds = len(out.release)
    return Trials(
        names=tuple(f"seed_{seed}" for seed in range(seeds)),
        sessions=out.sessions,
        daily_returns=out.release,
        unseen=0,
        picked=False,
        counted=f"{seeds} seeds of one configuration, the first is released",
    )


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
    save_file(dict(vars(out.released_book)), folder / "book_30m.safetensors")
    write_json_atomic(folder / "gates.json", [gate.to_dict() for gate in gates])
    write_json_atomic(folder / "strategies.json", [asdict(row) for row in strategy_rows(out, params)])
    write_json_atomic(folder / "decisions.json", out.decision_hashes)


def _decisions(tests: list[list[OutOfSample]]) -> dict[str, str]:
    """Return the hash of the decisions of each training over all its test spans."""
    return {
        name: decisions_of([span.decision_hashes[name] for span in spans])
        for spans in tests
        for name in spans[0].decision_hashes
    }


def decisions_of(hashes: Sequence[str]) -> str:
    """Return one hash of the decisions over several spans: that of the span where it is alone."""
    return hashes[0] if len(hashes) == 1 else hash_json(list(hashes))


def _write_paths(folder: Path, ways: list[OutOfSample]) -> None:
    returns = np.stack([way.release for way in ways], axis=1)
    save_file({"sessions": ways[0].sessions, "release": returns}, folder / "paths.safetensors")
    write_json_atomic(folder / "paths.json", sharpe_distribution(returns))


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
