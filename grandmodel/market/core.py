"""Many market environments stepped at once in compiled code, written into buffers that are reused at every step.

Time: at row t the bar has closed; the team sees it and acts; the order works on bar t + 1, whose return is the reward.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from grandmodel.core.config import MarketParams
from grandmodel.core.errors import ConfigError, TrainingError
from grandmodel.core.random import derive_seed
from grandmodel.market.accounting import (
    ACCOUNT_SIZE,
    LOG_EQUITY,
    REWARD_SCALE,
    advance_account,
    bar_reward,
    drawdown_frac,
)
from grandmodel.market.decision import decode_actions
from grandmodel.market.observation import TapeArrays, write_observation, write_state, write_triples
from grandmodel.market.tape import MarketTape
from grandmodel.market.team import Layout, TeamSpec

# Episodes start in a drawdown of up to this share of ruin, so that deep drawdowns are no news in a long replay.
INITIAL_DRAWDOWN_OF_RUIN = 0.5
DRAWS_PER_EPISODE = 4  # instrument, window start, initial drawdown, and one to spare


class MarketStep(NamedTuple):
    """What one step gave; the arrays are the environment's own buffers and change at the next step."""

    reward: NDArray[np.float32]  # [N], the same for every agent of the team
    terminated: NDArray[np.bool_]  # [N] ruin, or end of the instrument's data
    truncated: NDArray[np.bool_]  # [N] end of the window; never together with terminated
    final_states: NDArray[np.float32]  # [N, S] the critic state before any reset


class Rules(NamedTuple):
    """What holds for all environments."""

    offsets: NDArray[np.int64]  # [I + 1] rows of the instruments
    window_bars: int
    ruin_drawdown_frac: float
    downside_penalty: float
    simultaneous: bool
    auto_reset: bool


class Worlds(NamedTuple):
    """Where each environment stands."""

    seed: NDArray[np.uint64]  # [N]
    episode: NDArray[np.int64]
    row: NDArray[np.int64]
    first: NDArray[np.int64]  # first row of the instrument
    last: NDArray[np.int64]  # last row of the instrument
    window_last: NDArray[np.int64]  # last row of the window
    account: NDArray[np.float64]  # [N, 4], see accounting.py
    gross_cap: NDArray[np.float64]


class Outputs(NamedTuple):
    """What a step writes."""

    observations: NDArray[np.float32]  # [N, A, D]
    states: NDArray[np.float32]  # [N, S]
    final_states: NDArray[np.float32]
    reward: NDArray[np.float32]
    terminated: NDArray[np.bool_]
    truncated: NDArray[np.bool_]
    log_return: NDArray[np.float64]
    turnover: NDArray[np.float64]


@njit(cache=True)
def uniform_draw(seed: np.uint64, index: int) -> float:
    """Return number ``index`` of the stream of ``seed``, in [0, 1): SplitMix64 (Steele, Lea, Flood 2014)."""
    z = seed + np.uint64(index + 1) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return np.float64(z >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@njit(cache=True)
def _begin_kernel(rules: Rules, worlds: Worlds, outputs: Outputs, only_ended: bool) -> None:
    """Draw instrument, window start and initial drawdown of every environment, or of those that have just ended."""
    for e in range(len(worlds.row)):
        if only_ended and not (outputs.terminated[e] or outputs.truncated[e]):
            continue
        draw = worlds.episode[e] * DRAWS_PER_EPISODE
        instrument = int(uniform_draw(worlds.seed[e], draw) * (len(rules.offsets) - 1))
        first, last = rules.offsets[instrument], rules.offsets[instrument + 1] - 1
        starts = max(last - first - rules.window_bars + 1, 1)
        row = first + int(uniform_draw(worlds.seed[e], draw + 1) * starts)
        depth = uniform_draw(worlds.seed[e], draw + 2) * INITIAL_DRAWDOWN_OF_RUIN * rules.ruin_drawdown_frac
        worlds.row[e], worlds.first[e], worlds.last[e] = row, first, last
        worlds.window_last[e] = row + rules.window_bars
        worlds.account[e, :] = 0.0
        worlds.account[e, LOG_EQUITY] = math.log1p(-depth)
        worlds.episode[e] += 1


@njit(cache=True)
def _write_kernel(
    tape: TapeArrays,
    layout: Layout,
    worlds: Worlds,
    outputs: Outputs,
    actions: NDArray[np.int64],
    with_triples: bool,
    only_ended: bool,
) -> None:
    """Write states and observations of every environment, or of those that have just ended.

    The triples are those of ``actions``, or zeros.
    """
    for e in range(len(worlds.row)):
        if only_ended and not (outputs.terminated[e] or outputs.truncated[e]):
            continue
        state = outputs.states[e]
        write_state(state, tape, layout, worlds.row[e], worlds.first[e], worlds.account[e])
        for agent in range(len(layout.action_counts)):
            out = outputs.observations[e, agent]
            at = write_observation(out, state, layout.gather, layout.offsets[agent], layout.offsets[agent + 1])
            if with_triples:
                write_triples(out, at, actions[e], agent)


@njit(cache=True)
def _observe_kernel(
    observations: NDArray[np.float32], offsets: NDArray[np.int64], agent: int, actions: NDArray[np.int64]
) -> None:
    """Write the triples of the actions before ``agent`` into its observations."""
    at = offsets[agent + 1] - offsets[agent]
    for e in range(len(actions)):
        write_triples(observations[e, agent], at, actions[e], agent)


@njit(cache=True)
def _first_bad_environment(action_counts: NDArray[np.int64], actions: NDArray[np.int64], worlds: Worlds) -> int:
    """Return the first environment with an action that does not exist or no bar left, or -1."""
    for e in range(actions.shape[0]):
        if worlds.row[e] >= worlds.last[e]:
            return e
        for agent in range(actions.shape[1]):
            if actions[e, agent] < 0 or actions[e, agent] >= action_counts[agent]:
                return e
    return -1


@njit(cache=True)
def _advance_kernel(
    tape: TapeArrays, layout: Layout, rules: Rules, worlds: Worlds, outputs: Outputs, actions: NDArray[np.int64]
) -> int:
    """Carry every account over the next bar and write rewards and ends.

    Returns -1, or the first environment with an impossible action or no bar left; nothing has moved then.
    """
    bad = _first_bad_environment(layout.action_counts, actions, worlds)
    if bad >= 0:
        return bad
    for e in range(len(worlds.row)):
        account = worlds.account[e]
        target, order = decode_actions(actions[e], layout, tape.intent[worlds.row[e]])
        row = worlds.row[e] + 1
        worlds.row[e] = row
        log_return, turnover, _ = advance_account(account, tape.market[row], target, order, worlds.gross_cap[e])
        reward = bar_reward(log_return, tape.market[row, REWARD_SCALE], rules.downside_penalty)
        terminated = drawdown_frac(account) >= rules.ruin_drawdown_frac or row >= worlds.last[e]
        outputs.reward[e] = np.float32(reward)
        outputs.log_return[e], outputs.turnover[e] = log_return, turnover
        outputs.terminated[e] = terminated
        outputs.truncated[e] = row >= worlds.window_last[e] and not terminated
    return -1


class VectorMarket:
    """``environments`` copies of one team's market, each on its own instrument and window.

    Sequential mode: a later agent sees the earlier agents' triples of the same bar, written by ``observe``.
    Simultaneous mode: it sees those of the previous bar, zeros on the first. ``gross_cap`` [N] may be lowered at any
    time. All public arrays are written in place.
    """

    def __init__(
        self,
        tape: MarketTape,
        spec: TeamSpec,
        params: MarketParams,
        environments: int,
        window_bars: int,
        seed: int,
        simultaneous: bool = False,
        auto_reset: bool = True,
    ) -> None:
        """Build and reset. Raises ConfigError when tape and team do not fit, or an instrument has one row only."""
        check_fit(tape, spec)
        if int(np.diff(tape.offsets).min()) < 2:
            raise ConfigError("market tape", "every instrument needs two rows or more", np.diff(tape.offsets).tolist())
        if environments < 1 or window_bars < 1:
            raise ConfigError("market", "environments and window_bars must be 1 or more", (environments, window_bars))
        self.spec, self.tape = spec, tape
        self.agents, self.action_counts = spec.agents, spec.action_counts
        self.n_environments, self.simultaneous = environments, simultaneous
        self.observation_size, self.state_size = spec.observation_size, spec.state_size
        self._rules = Rules(
            offsets=np.array(tape.offsets, np.int64),
            window_bars=window_bars,
            ruin_drawdown_frac=params.ruin_drawdown_frac,
            downside_penalty=params.downside_penalty,
            simultaneous=simultaneous,
            auto_reset=auto_reset,
        )
        self._worlds, self._outputs = _empty_worlds(environments), _empty_outputs(environments, spec)
        self.observations, self.states = self._outputs.observations, self._outputs.states
        self.accounts, self.rows = self._worlds.account, self._worlds.row
        self.gross_cap = self._worlds.gross_cap
        self.log_return, self.turnover = self._outputs.log_return, self._outputs.turnover
        self.reset(seed)

    def reset(self, seed: int) -> None:
        """Start all random streams anew from ``seed`` and begin the first episode of each."""
        for e in range(self.n_environments):
            self._worlds.seed[e] = derive_seed(seed, "market", e)
        self._worlds.episode[:] = 0
        self.begin_episodes()

    def begin_episodes(self) -> None:
        """Begin the next episode of every environment, random streams going on."""
        self._begin(only_ended=False)

    def observe(self, agent_index: int, actions: NDArray[np.int64]) -> None:
        """Write the triples of ``actions[:, :agent_index]`` (int64 [N, A]) into ``observations[:, agent_index]``.

        Nothing to do in simultaneous mode.
        """
        if not self._rules.simultaneous:
            _observe_kernel(self.observations, self.spec.layout.offsets, agent_index, actions)

    def step(self, actions: NDArray[np.int64]) -> MarketStep:
        """Trade on the next bar with ``actions`` int64 [N, A]; ended episodes begin anew if ``auto_reset``.

        Raises TrainingError when an action does not exist or an episode is over; nothing has moved then.
        """
        if actions.shape != (self.n_environments, len(self.agents)) or actions.dtype != np.int64:
            raise TrainingError("actions", f"must be int64 [{self.n_environments}, {len(self.agents)}]", actions.shape)
        actions = np.ascontiguousarray(actions)
        worlds, outputs = self._worlds, self._outputs
        bad = _advance_kernel(self.tape.arrays, self.spec.layout, self._rules, worlds, outputs, actions)
        if bad >= 0:
            rule = f"actions must lie below {self.action_counts}, and the data must not have ended"
            raise TrainingError(f"environment {bad}", rule, actions[bad].tolist())
        self._write(actions, with_triples=self._rules.simultaneous, only_ended=False)
        outputs.final_states[:] = outputs.states
        if self._rules.auto_reset and bool((outputs.terminated | outputs.truncated).any()):
            self._begin(only_ended=True)
        return MarketStep(outputs.reward, outputs.terminated, outputs.truncated, outputs.final_states)

    def _begin(self, only_ended: bool) -> None:
        none_yet = np.zeros((self.n_environments, len(self.agents)), np.int64)
        _begin_kernel(self._rules, self._worlds, self._outputs, only_ended)
        self._write(none_yet, with_triples=False, only_ended=only_ended)

    def _write(self, actions: NDArray[np.int64], with_triples: bool, only_ended: bool) -> None:
        layout, worlds, outputs = self.spec.layout, self._worlds, self._outputs
        _write_kernel(self.tape.arrays, layout, worlds, outputs, actions, with_triples, only_ended)


def check_fit(tape: MarketTape, spec: TeamSpec) -> None:
    """Raise ConfigError unless the tape has the feature columns that the team was made for."""
    if tape.features.shape[1] != spec.n_columns:
        raise ConfigError(f"team {spec.name}", f"needs a tape of {spec.n_columns} columns", tape.features.shape[1])


def _empty_worlds(n: int) -> Worlds:
    return Worlds(
        seed=np.zeros(n, np.uint64),
        episode=np.zeros(n, np.int64),
        row=np.zeros(n, np.int64),
        first=np.zeros(n, np.int64),
        last=np.zeros(n, np.int64),
        window_last=np.zeros(n, np.int64),
        account=np.zeros((n, ACCOUNT_SIZE), np.float64),
        gross_cap=np.ones(n, np.float64),
    )


def _empty_outputs(n: int, spec: TeamSpec) -> Outputs:
    return Outputs(
        observations=np.zeros((n, len(spec.agents), spec.observation_size), np.float32),
        states=np.zeros((n, spec.state_size), np.float32),
        final_states=np.zeros((n, spec.state_size), np.float32),
        reward=np.zeros(n, np.float32),
        terminated=np.zeros(n, np.bool_),
        truncated=np.zeros(n, np.bool_),
        log_return=np.zeros(n, np.float64),
        turnover=np.zeros(n, np.float64),
    )
