"""The strategic team trained on one fold of simulated or real bars, for studies of its network."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.config import Params, TeamParams, load_params
from grandmodel.core.random import derive_seed
from grandmodel.data.dataset import Dataset
from grandmodel.data.simulator.generate import simulate
from grandmodel.market.core import VectorMarket
from grandmodel.market.policy import TeamPolicy
from grandmodel.market.replay import replay
from grandmodel.market.tape import MarketTape
from grandmodel.marl.mappo import train_vectorised
from grandmodel.stats.performance import SESSIONS_PER_YEAR, portfolio_daily_log_returns
from models.strategic.agents import strategic_team
from pipelines.features import features
from pipelines.ingest import ingest
from pipelines.tapes import FoldMarket, fold_folders, load_fold
from pipelines.workspace import PROJECT, Workspace

SIMULATED_SEED, SIMULATED_SESSIONS = 7, 400


def market_of(data: Path | None) -> tuple[FoldMarket, Params]:
    """Return the last walk-forward fold of the bars at ``data``; None: of a market with the planted edge."""
    params = load_params(PROJECT / "params.yaml")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if data is None:
            data = folder / "data"
            simulate(data, edge=1.0, seed=SIMULATED_SEED, sessions=SIMULATED_SESSIONS)
        workspace = Workspace(folder / "work")
        ingest(workspace, data)
        features(workspace)
        dataset = Dataset.load(workspace.features / "bars")
        return load_fold(fold_folders(workspace.features)[-1], dataset, params.market), params


def team_params(params: Params, frames: int, **changes: Any) -> TeamParams:
    """Return the strategic team's parameters on the torch path with ``changes``."""
    content = params.training.strategic.model_dump() | {"path": "torch", "frames": frames} | changes
    return TeamParams.model_validate(content)


def trained(tape: MarketTape, team: TeamParams, params: Params, seed: int) -> tuple[TeamPolicy, dict[str, float]]:
    """Return the strategic team trained on ``tape`` and its last row of curves."""
    spec = strategic_team(team)
    market = VectorMarket(
        tape,
        spec,
        params.market,
        environments=team.environments,
        window_bars=team.window_bars,
        seed=derive_seed(seed, "market"),
    )
    result = train_vectorised(market, team, seed=derive_seed(seed, "learner"))
    return TeamPolicy(spec, result.actor), result.curves[-1]


def daily_log_returns(tape: MarketTape, policy: TeamPolicy, params: Params) -> NDArray[np.float64]:
    """Return the net daily log returns of ``policy`` trading ``tape`` by itself, equal capital in each instrument."""
    played = replay(tape, policy, params.market)
    instrument = np.repeat(np.arange(len(tape.symbols)), np.diff(tape.offsets))
    return portfolio_daily_log_returns(played.log_return, tape.session, instrument)[1]


def annual_log_return(daily: NDArray[np.float64]) -> float:
    """Return the mean daily log return times the sessions of a year."""
    return float(daily.mean() * SESSIONS_PER_YEAR)
