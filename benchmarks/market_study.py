"""How much of what the simulator's oracle earns do the teams earn out of sample, and what do they earn without an edge?

    python -m benchmarks.market_study --edge 1 --markets 7 11 12 13 --seeds 5 --pair
    python -m benchmarks.market_study --edge 0 --markets 7 --seeds 5

Every market is simulated anew (``--markets`` are its seeds; 7 is the tracked set). Per training seed the strategic
team is trained on every fold as the train stage does it, and replayed on the span that follows; ``--pair`` adds the
tactical team. The capture is the mean daily net log return over that of the oracle, as in the evaluate stage: the
oracle trades at 5-minute closes, the strategic team alone at those of 30 minutes. What the pair keeps is its return
over that of the strategic team alone. Parameters are those of ``params.yaml``.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import record
from grandmodel.core.config import Params, TeamParams
from grandmodel.core.random import derive_seed
from grandmodel.data.dataset import Dataset
from grandmodel.data.simulator.generate import simulate
from grandmodel.market.policy import TeamPolicy
from grandmodel.market.replay import replay, simulate_targets
from grandmodel.market.tape import MarketTape
from grandmodel.market.team import TeamSpec
from grandmodel.marl.mappo import train_vectorised
from grandmodel.stats.bootstrap import Interval, bootstrap_mean
from grandmodel.stats.iqm import interquartile_mean, stratified_bootstrap_iqm
from models.release import Release, Tapes, strategic_intents
from models.strategic.agents import strategic_team
from models.tactical.agents import tactical_team
from pipelines.baselines import simulator_oracle
from pipelines.evaluate import Daily, daily
from pipelines.features import features
from pipelines.ingest import ingest
from pipelines.tapes import FoldMarket, fold_folders, load_fold
from pipelines.train import market_of
from pipelines.workspace import Workspace

SESSIONS = 400
SESSIONS_PER_YEAR = 252


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the study, print one line per training and write the result; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edge", type=float, required=True)
    parser.add_argument("--markets", type=int, nargs="+", default=[7], help="seeds of the simulated markets")
    parser.add_argument("--seeds", type=int, default=5, help="trainings on each")
    parser.add_argument("--sessions", type=int, default=SESSIONS)
    parser.add_argument("--frames", type=int, help="of the strategic team, instead of those of params.yaml")
    parser.add_argument("--pair", action="store_true", help="also train the tactical team and replay both")
    parser.add_argument("--no-write", action="store_true", help="leave benchmarks/results alone")
    given = parser.parse_args(arguments)
    params = Workspace(Path()).params
    if given.frames:
        shorter = params.training.strategic.model_copy(update={"frames": given.frames})
        training = params.training.model_copy(update={"strategic": shorter})
        params = params.model_copy(update={"training": training})
    result = study(params, given.edge, given.markets, given.seeds, given.sessions, pair=given.pair)
    print(summary_of(result))
    if not given.no_write:
        print(record.write(f"market_study_edge_{given.edge:g}", result))
    return 0


def study(
    params: Params, edge: float, markets: Sequence[int], seeds: int, sessions: int, *, pair: bool
) -> dict[str, Any]:
    """Return the figures of all markets and trainings."""
    rows: list[dict[str, Any]] = []
    for market_seed in markets:
        with tempfile.TemporaryDirectory() as folder:
            folds, truth = prepare(Path(folder), edge, market_seed, sessions)
            for seed in range(seeds):
                rows.append({"market": market_seed, "seed": seed, **train_and_replay(folds, truth, params, seed, pair)})
                print(line_of(rows[-1]), flush=True)
    return {
        "simulated": True,
        "edge": edge,
        "sessions": sessions,
        "training": params.training.model_dump(),
        "runs": rows,
        "strategic": captures_of(rows, "strategic", seeds),
        "pair": captures_of(rows, "pair", seeds) if pair else None,
        "pair_keeps": keeps_of(rows) if pair else None,
        "seconds_max": max(row["seconds"] for row in rows),
    }


def prepare(folder: Path, edge: float, market_seed: int, sessions: int) -> tuple[list[FoldMarket], Path]:
    """Simulate one market, run the stages up to the features; return its folds and where the truth lies."""
    simulate(folder / "data", edge=edge, seed=market_seed, sessions=sessions)
    workspace = Workspace(folder / "work")
    ingest(workspace, folder / "data")
    features(workspace)
    dataset = Dataset.load(workspace.features / "bars")
    folds = [load_fold(path, dataset, workspace.params.market) for path in fold_folders(workspace.features)]
    return folds, workspace.ingest / "truth"


def train_and_replay(folds: list[FoldMarket], truth: Path, params: Params, seed: int, pair: bool) -> dict[str, Any]:
    """Train one seed on every fold; return its seconds and what it earned on the spans that follow, fold after fold."""
    seconds, earned = {"strategic": 0.0, "tactical": 0.0}, {"oracle": [], "strategic": [], "pair": []}
    for fold in folds:
        root = derive_seed(params.seed, "train", f"fold_{fold.number}", seed)
        started = time.perf_counter()
        strategic = fit(fold.train.strategic, strategic_team(params.training.strategic), params, root)
        seconds["strategic"] += time.perf_counter() - started
        test = fold.test
        earned["strategic"].append(daily(test.strategic, replay(test.strategic, strategic, params.market).log_return))
        best = simulate_targets(test.traded, simulator_oracle(test.traded, truth), params.market)
        earned["oracle"].append(daily(test.traded, best.log_return))
        if pair:
            started = time.perf_counter()
            tape = with_intents(fold.train, strategic, params)
            tactical = fit(tape, tactical_team(params.training.tactical), params, root)
            seconds["tactical"] += time.perf_counter() - started
            both = Release(strategic, tactical).decide(test, params.market)
            earned["pair"].append(daily(test.traded, both.log_return))
    returns = {name: np.concatenate(parts) for name, parts in earned.items() if parts}
    return {
        "seconds": seconds["strategic"],
        "seconds_tactical": seconds["tactical"] if pair else None,
        "days": len(returns["oracle"]),
        **{f"{name}_annual_log": annual(values) for name, values in returns.items()},
        **{f"{name}_interval": interval_of(returns[name], params) for name in returns if name != "oracle"},
        **{f"{name}_capture": capture(returns[name], returns["oracle"]) for name in returns if name != "oracle"},
    }


def fit(tape: MarketTape, team: TeamSpec, params: Params, seed: int) -> TeamPolicy:
    """Train ``team`` on ``tape`` as the train stage does."""
    team_params: TeamParams = getattr(params.training, team.name)
    market = market_of(tape, team, params, team_params, seed)
    return TeamPolicy(team, train_vectorised(market, team_params, seed=derive_seed(seed, team.name, "learner")).actor)


def with_intents(tapes: Tapes, strategic: TeamPolicy, params: Params) -> MarketTape:
    """Return the tactical tape with the strategic team's intents."""
    assert tapes.tactical is not None
    return tapes.tactical.with_intents(strategic_intents(strategic, tapes, params.market))


def annual(values: Daily) -> float:
    """Return the annual net log return of daily ones."""
    return float(values.mean() * SESSIONS_PER_YEAR)


def capture(values: Daily, oracle: Daily) -> float | None:
    """Return the share of the oracle's return; None where the oracle earns nothing."""
    return float(values.mean() / oracle.mean()) if oracle.mean() > 0 else None


def interval_of(values: Daily, params: Params) -> list[float]:
    """Return the bootstrap interval of the annual net log return over days."""
    evaluation = params.evaluation
    found: Interval = bootstrap_mean(
        values, draws=evaluation.bootstrap_draws, confidence=evaluation.confidence, seed=params.seed
    )
    return [found.lower, found.upper]


def captures_of(rows: list[dict[str, Any]], name: str, seeds: int) -> dict[str, Any]:
    """Return what all trainings together show of one team: captures, and seeds that seem to earn.

    The interval of the capture resamples training seeds within each market.
    """
    good = sum(row[f"{name}_interval"][0] > 0 for row in rows)
    shares = [row[f"{name}_capture"] for row in rows]
    found: dict[str, Any] = {"intervals_above_zero": good, "of": len(rows)}
    if None in shares:
        return found
    table: NDArray[np.float64] = np.array(shares).reshape(-1, seeds).T
    draws = stratified_bootstrap_iqm(table, draws=2000, seed=0)
    return {
        **found,
        "capture_iqm": float(interquartile_mean(table.ravel())),
        "capture_interval": [float(bound) for bound in np.quantile(draws, [0.025, 0.975])],
        "capture_min": float(table.min()),
    }


def keeps_of(rows: list[dict[str, Any]]) -> dict[str, float] | None:
    """Return what pairs keep of their strategic teams' returns; None where one of these did not earn."""
    if min(row["strategic_annual_log"] for row in rows) <= 0:
        return None
    shares = np.array([row["pair_annual_log"] / row["strategic_annual_log"] for row in rows])
    return {"mean": float(shares.mean()), "min": float(shares.min()), "max": float(shares.max())}


def line_of(row: dict[str, Any]) -> str:
    """Return one training as a line."""
    words = f"market {row['market']} seed {row['seed']}: {row['seconds']:.0f} s, oracle {row['oracle_annual_log']:+.3f}"
    for name in ("strategic", "pair"):
        if f"{name}_annual_log" in row:
            low, high = row[f"{name}_interval"]
            share = row[f"{name}_capture"]
            words += f"; {name} {row[f'{name}_annual_log']:+.3f} [{low:+.3f}, {high:+.3f}] a year"
            words += "" if share is None else f", {share:.1%} of it"
    return words


def summary_of(result: dict[str, Any]) -> str:
    """Return the last lines."""
    lines = [f"longest training of the strategic team, all folds: {result['seconds_max']:.1f} s"]
    for name in ("strategic", "pair"):
        found = result[name]
        if found is None:
            continue
        words = f"{name}: {found['intervals_above_zero']} of {found['of']} intervals above zero"
        if "capture_iqm" in found:
            low, high = found["capture_interval"]
            words += f"; capture {found['capture_iqm']:.1%} [{low:.1%}, {high:.1%}], lowest {found['capture_min']:.1%}"
        lines.append(words)
    if result["pair_keeps"] is not None:
        kept = result["pair_keeps"]
        lines.append(f"pair keeps {kept['mean']:.1%} of what strategic alone earns, lowest {kept['min']:.1%}")
    return "\n".join(lines)


if __name__ == "__main__":
    raise SystemExit(main())
