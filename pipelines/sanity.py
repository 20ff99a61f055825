"""Two markets with known answers: one that shows the next return, one in which time is shuffled (gate G2)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.config import Params
from grandmodel.core.random import derive_seed, random_stream
from grandmodel.market.core import VectorMarket
from grandmodel.market.policy import TeamPolicy
from grandmodel.market.replay import replay, simulate_targets
from grandmodel.market.tape import MarketTape
from models.strategic.agents import strategic_team

FRAMES_MAX = 150_000  # a shown answer is learnt long before; a placebo has nothing to learn


def foresight_share(train: MarketTape, test: MarketTape, params: Params) -> float:
    """Return the net log return of a team that is shown the next return, over that of perfect foresight."""
    shown = [_show_next_return(tape, params) for tape in (train, test)]
    earned = replay(shown[1], _train(shown[0], params, "foresight"), params.market).log_return.sum()
    best = simulate_targets(test, np.sign(_next_body(test)), params.market).log_return.sum()
    return float(earned / best) if best > 0 else float("nan")


def placebo_log_returns(train: MarketTape, test: MarketTape, params: Params) -> NDArray[np.float64]:
    """Return the net log returns float64[T] of a team trained and tested on returns shuffled in time."""
    shuffled = [_shuffle(tape, params.seed, part) for tape, part in ((train, "train"), (test, "test"))]
    return replay(shuffled[1], _train(shuffled[0], params, "placebo"), params.market).log_return


def _train(tape: MarketTape, params: Params, name: str) -> TeamPolicy:
    from grandmodel.marl.mappo import train_vectorised  # torch loads only where a team is trained

    team_params = params.training.strategic
    team_params = team_params.model_copy(update={"frames": min(team_params.frames, FRAMES_MAX)})
    seed = derive_seed(params.seed, "sanity", name)
    market = VectorMarket(
        tape,
        strategic_team(team_params),
        params.market,
        environments=team_params.environments,
        window_bars=team_params.window_bars,
        seed=seed,
    )
    return TeamPolicy(strategic_team(team_params), train_vectorised(market, team_params, seed=seed).actor)


def _next_body(tape: MarketTape) -> NDArray[np.float64]:
    """Return the open-to-close return of the bar on which a decision fills; 0 on the last row of an instrument."""
    following = np.roll(tape.body_frac, -1)
    following[tape.offsets[1:] - 1] = 0.0
    return following


def _show_next_return(tape: MarketTape, params: Params) -> MarketTape:
    limit = params.features.scaled_abs_max
    answer = np.clip(_next_body(tape) * tape.leverage * tape.reward_scale, -limit, limit)
    features = np.zeros_like(tape.features)
    for columns in strategic_team(params.training.strategic).columns[:-1]:
        features[:, columns[0]] = answer
    return replace(tape, features=features)


def _shuffle(tape: MarketTape, seed: int, part: str) -> MarketTape:
    order = np.arange(len(tape))
    for symbol in tape.symbols:
        rows = tape.rows(symbol)
        order[rows] = random_stream(seed, "placebo", part, symbol).permutation(order[rows])
    moved = ("gap_frac", "body_frac", "high_frac", "low_frac")
    return replace(tape, **{name: getattr(tape, name)[order] for name in moved})
