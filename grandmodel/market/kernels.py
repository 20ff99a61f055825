"""The compiled step of many environments, in passes over plain arrays.

Each pass is one function with its loops inside, takes its arrays out of their tuples before the loop, and hands whole
arrays and an index to what it calls: handing over rows or tuples costs compiled code more than all the arithmetic.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from grandmodel.market.accounting import (
    LOG_EQUITY,
    MARKET_COLUMNS,
    POSITION,
    REWARD_SCALE,
    bar_reward,
    book_position,
    book_return,
    log_return_of,
    trade_bar,
)
from grandmodel.market.decision import decode_actions
from grandmodel.market.episodes import Sessions, draw_beginning
from grandmodel.market.observation import (
    Standing,
    TapeArrays,
    Windows,
    blank_triples,
    empty_standing,
    look_at_accounts,
    write_observations,
    write_states,
    write_triples,
)
from grandmodel.market.processor import AHEAD, Index, prefetch
from grandmodel.market.team import INTENT_SIZE, Layout, TeamSpec


class Rules(NamedTuple):
    """What holds for all environments."""

    offsets: NDArray[np.int64]  # [I + 1] rows of the instruments
    sessions: Sessions
    by_session: bool
    window_bars: int
    ruin_drawdown_frac: float
    downside_penalty: float
    simultaneous: bool
    auto_reset: bool


class Worlds(NamedTuple):
    """Where each environment stands."""

    seed: NDArray[np.uint64]  # [N]
    episode: NDArray[np.int64]  # how many episodes were drawn
    last: NDArray[np.int64]  # last row of the instrument
    window_last: NDArray[np.int64]  # last row of the window or session
    gross_cap: NDArray[np.float64]
    position: NDArray[np.float64]  # [N] filled in this step, not yet booked
    standing: Standing


class Outputs(NamedTuple):
    """What a step writes."""

    observations: NDArray[np.float32]  # [N, A, D]
    states: NDArray[np.float32]  # [N, S]
    ended_states: NDArray[np.float32]
    reward: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    ended: NDArray[np.bool_]  # either
    log_return: NDArray[np.float64]
    turnover: NDArray[np.float64]


class Scene(NamedTuple):
    """What stays the same while environments are stepped."""

    tape: TapeArrays
    windows: Windows
    layout: Layout
    rules: Rules
    counts: NDArray[np.uint64]  # [N * A] number of actions of each agent, over and over
    everyone: NDArray[np.bool_]  # [N] true


@njit(cache=True)
def _begin_episodes(scene: Scene, worlds: Worlds, chosen: NDArray[np.bool_]) -> None:
    """Draw the next episode of the environments that are ``chosen`` [N]."""
    rules, standing = scene.rules, worlds.standing
    for e in range(len(chosen)):
        if not chosen[e]:
            continue
        drawn = draw_beginning(
            worlds.seed[e],
            worlds.episode[e],
            rules.offsets,
            rules.sessions,
            rules.by_session,
            rules.window_bars,
            rules.ruin_drawdown_frac,
        )
        standing.row[e], worlds.window_last[e] = drawn.row, drawn.last
        worlds.last[e] = rules.offsets[drawn.instrument + 1] - 1
        standing.mirror[e] = scene.windows.mirror[drawn.instrument]
        standing.accounts[:, e] = 0.0
        standing.accounts[LOG_EQUITY, e] = drawn.log_equity
        worlds.episode[e] += 1


@njit(cache=True)
def _write_all(scene: Scene, worlds: Worlds, outputs: Outputs) -> None:
    """Write states and observations of all environments."""
    tape, windows, layout, standing = scene.tape, scene.windows, scene.layout, worlds.standing
    write_states(outputs.states, scene.everyone, standing, tape, windows, layout)
    write_observations(outputs.observations, standing, tape, windows, layout)


@njit(cache=True)
def begin_kernel(scene: Scene, worlds: Worlds, outputs: Outputs, draw: bool) -> None:
    """Write every environment at the start of an episode, which is drawn unless it stands in ``worlds`` already."""
    if draw:
        _begin_episodes(scene, worlds, scene.everyone)
    look_at_accounts(worlds.standing, scene.everyone, scene.tape)
    _write_all(scene, worlds, outputs)


@njit(cache=True)
def impossible(
    counts: NDArray[np.uint64], actions: NDArray[np.int64], now: NDArray[np.int64], last: NDArray[np.int64]
) -> bool:
    """Return whether any of ``actions`` [M] is not below ``counts`` [M], or any ``now`` [N] has reached ``last``."""
    found = False
    for i in range(Index(len(actions))):
        found |= np.uint64(actions[i]) >= counts[i]  # without its sign, a negative number is a huge one
    for e in range(Index(len(now))):
        found |= now[e] >= last[e]
    return found


@njit(cache=True)
def _fill(tape: TapeArrays, layout: Layout, worlds: Worlds, outputs: Outputs, actions: NDArray[np.int64]) -> None:
    """Move to the next bar and fill the orders: write positions, turnover and, as log return yet, the net growth."""
    market, intent, targets, uses_intent = tape.market, tape.intent, layout.targets, layout.uses_intent
    rows, accounts, gross_cap = worlds.standing.row, worlds.standing.accounts, worlds.gross_cap
    position, turnover, net_growth = worlds.position, outputs.turnover, outputs.log_return
    final = Index(len(rows) - 1)
    for e in range(Index(len(rows))):
        ahead = Index(rows[min(e + Index(AHEAD), final)])
        prefetch(market, (ahead + Index(1)) * Index(MARKET_COLUMNS))
        prefetch(market, (ahead + Index(2)) * Index(MARKET_COLUMNS) - Index(1))
        if uses_intent:
            prefetch(intent, ahead * Index(INTENT_SIZE))
        target, order = decode_actions(actions, e, targets, uses_intent, intent, Index(rows[e]))
        traded = trade_bar(accounts[POSITION, e], market, Index(rows[e] + 1), target, order, gross_cap[e])
        position[e], turnover[e], net_growth[e] = traded[0], traded[1], traded[2] - traded[3]
    rows += 1


@njit(cache=True)
def _book(worlds: Worlds, outputs: Outputs) -> None:
    """Turn net growth into log returns and book these and the new positions."""
    accounts, position, log_return = worlds.standing.accounts, worlds.position, outputs.log_return
    for e in range(Index(len(log_return))):
        log_return[e] = log_return_of(log_return[e])
    for e in range(Index(len(log_return))):  # apart from the logarithms above, so that it runs many at a time
        book_return(accounts, e, log_return[e])
        book_position(accounts, e, log_return[e], position[e])


@njit(cache=True)
def _judge(tape: TapeArrays, rules: Rules, worlds: Worlds, outputs: Outputs) -> None:
    """Write rewards, and which episodes have ended and how."""
    market, rows, drawdown = tape.market, worlds.standing.row, worlds.standing.drawdown_frac
    last, window_last, ruin, penalty = worlds.last, worlds.window_last, rules.ruin_drawdown_frac, rules.downside_penalty
    reward, log_return = outputs.reward, outputs.log_return
    terminated, truncated, ended = outputs.terminated, outputs.truncated, outputs.ended
    # One loop for each thing written: with few arrays in play the compiler can prove that they do not overlap.
    for e in range(Index(len(rows))):
        reward[e] = np.float32(bar_reward(log_return[e], market[Index(rows[e]), REWARD_SCALE], penalty))
    for e in range(Index(len(rows))):
        terminated[e] = (drawdown[e] >= ruin) | (rows[e] >= last[e])
    for e in range(Index(len(rows))):
        truncated[e] = (rows[e] >= window_last[e]) & (not terminated[e])
    for e in range(Index(len(rows))):
        ended[e] = terminated[e] | truncated[e]


@njit(cache=True)
def step_kernel(scene: Scene, worlds: Worlds, outputs: Outputs, actions: NDArray[np.int64]) -> bool:
    """Carry every environment over the next bar and write all that there is to see.

    Returns False where an action is impossible or no bar is left; nothing has moved then.
    """
    tape, windows, layout, rules, standing = scene.tape, scene.windows, scene.layout, scene.rules, worlds.standing
    if impossible(scene.counts, actions.ravel(), standing.row, worlds.last):
        return False
    _fill(tape, layout, worlds, outputs, actions)
    _book(worlds, outputs)
    look_at_accounts(standing, scene.everyone, tape)
    _judge(tape, rules, worlds, outputs)
    if outputs.ended.any():
        write_states(outputs.ended_states, outputs.ended, standing, tape, windows, layout)
        if rules.auto_reset:
            _begin_episodes(scene, worlds, outputs.ended)
            look_at_accounts(standing, outputs.ended, tape)
    _write_all(scene, worlds, outputs)
    if rules.simultaneous:
        for agent in range(1, actions.shape[1]):
            write_triples(outputs.observations, agent, layout, actions)
        if rules.auto_reset:
            blank_triples(outputs.observations, outputs.ended, layout)
    return True


def empty_worlds(n: int) -> Worlds:
    """Return ``n`` environments that have not begun."""
    return Worlds(
        seed=np.zeros(n, np.uint64),
        episode=np.zeros(n, np.int64),
        last=np.zeros(n, np.int64),
        window_last=np.zeros(n, np.int64),
        gross_cap=np.ones(n, np.float64),
        position=np.zeros(n, np.float64),
        standing=empty_standing(n),
    )


def empty_outputs(n: int, spec: TeamSpec) -> Outputs:
    """Return zeros; the padding of observations is never written again."""
    return Outputs(
        observations=np.zeros((n, len(spec.agents), spec.observation_size), np.float32),
        states=np.zeros((n, spec.state_size), np.float32),
        ended_states=np.zeros((n, spec.state_size), np.float32),
        reward=np.zeros(n, np.float32),
        terminated=np.zeros(n, np.bool_),
        truncated=np.zeros(n, np.bool_),
        ended=np.zeros(n, np.bool_),
        log_return=np.zeros(n, np.float64),
        turnover=np.zeros(n, np.float64),
    )
