"""Markets with known answers: one that shows the next return, and placebos that hold nothing to find (gate G2)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.bars import Bars
from grandmodel.core.config import Params
from grandmodel.core.random import derive_seed, random_stream
from grandmodel.data.dataset import Dataset
from grandmodel.market.core import VectorMarket
from grandmodel.market.policy import TeamPolicy
from grandmodel.market.replay import replay, simulate_targets
from grandmodel.market.tape import MarketTape, build_tape
from models.strategic.agents import strategic_team
from pipelines.tapes import FoldMarket

PLACEBOS = ("shuffled", "mirrored")
FRAMES_MAX = 50_000  # a shown answer, or a leak, is learnt by then; on a placebo there is nothing else to learn


def foresight_share(train: MarketTape, test: MarketTape, params: Params) -> float:
    """Return the net log return of a team that is shown the next return, over that of perfect foresight."""
    shown = [_show_next_return(tape, params) for tape in (train, test)]
    earned = replay(shown[1], _train(shown[0], params, "foresight"), params.market).log_return.sum()
    best = simulate_targets(test, np.sign(_next_body(test)), params.market).log_return.sum()
    return float(earned / best) if best > 0 else float("nan")


def placebo_daily_returns(dataset: Dataset, fold: FoldMarket, params: Params) -> dict[str, NDArray[np.float64]]:
    """Return, by kind of placebo, the daily net log returns float64[draws, days] of teams trained where nothing is.

    Each draw makes one instrument anew, the next in turn, computes its features from the bars so made, and trains and
    tests a team on it over the spans of ``fold``. A day on which that instrument does not trade is 0.
    """
    days = np.unique(fold.test.strategic.session)
    symbols = sorted(dataset.strategic)
    tables = {}
    for kind in PLACEBOS:
        table = np.zeros((params.gates.placebo_draws, len(days)))
        for draw, row in enumerate(table):
            bars = dataset.strategic[symbols[draw % len(symbols)]]
            stream = random_stream(params.seed, "placebo", kind, draw)
            tape = _tape(placebo_bars(bars, stream, shuffled=kind == "shuffled"), fold, params)
            train, test = tape.window(*fold.train_ns), tape.window(*fold.test_ns)
            team = _train(train, params, f"{kind} {draw}")
            earned = replay(test, team, params.market).log_return
            row[:] = np.bincount(np.searchsorted(days, test.session), weights=earned, minlength=len(days))
        tables[kind] = table
    return tables


def placebo_bars(bars: Bars, stream: np.random.Generator, *, shuffled: bool) -> Bars:
    """Return bars in which nothing can be predicted: each is turned upside down with chance one half.

    A bar turned upside down has its gap and its moves with the other sign, in logarithms, so no drift is left to hold
    on to, and volatility stays where it was. ``shuffled`` also puts the bars, whole, into random order.
    """
    opened = np.log(bars.open)
    gap = np.append(0.0, opened[1:] - np.log(bars.close[:-1]))
    moves = np.stack([gap, np.log(bars.close) - opened, np.log(bars.high) - opened, np.log(bars.low) - opened])
    order = stream.permutation(len(bars)) if shuffled else np.arange(len(bars))
    side = stream.choice([-1.0, 1.0], len(bars))
    gap, body, high, low = moves[:, order] * side
    opens = opened[0] + np.cumsum(gap + np.append(0.0, body[:-1]))
    return replace(
        bars,
        open=np.exp(opens),
        high=np.exp(opens + np.maximum(high, low)),
        low=np.exp(opens + np.minimum(high, low)),
        close=np.exp(opens + body),
        volume=bars.volume[order],
        tradable=bars.tradable[order],
    )


def _tape(bars: Bars, fold: FoldMarket, params: Params) -> MarketTape:
    seen = bars.rows(0, int(np.searchsorted(bars.start_ns, fold.test_ns[1])))
    features = {bars.symbol: fold.spec.strategic(seen)}
    return build_tape({bars.symbol: seen}, features, fold.spec.instruments, params.market, fold.spec.leverage)


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
