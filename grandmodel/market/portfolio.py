"""All instruments of a tape at once under one account: one equity, one drawdown, one reward.

The clock of a portfolio is the union of its instruments' closes, from the first at which all have a bar to the last
at which all have one. The team acts once per instrument and moment with the same weights: an environment of I
instruments is I rows of the learner's arrays. An instrument without a bar at the next moment keeps its position, its
order lapses, and its last bar is what the team goes on seeing.

Each instrument has an equal share of the equity, so that its costs and returns are those of trading it alone with that
share: net growth of the portfolio = mean over instruments of (growth - cost), log return = log1p of it. The unrealised
return that a row sees is that of its instrument's share; equity, drawdown, ruin and reward are the portfolio's. The
reward is the log return in units of the mean volatility target of one bar, less its squared loss weighted.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from grandmodel.core.config import MarketParams
from grandmodel.core.errors import ConfigError
from grandmodel.core.random import derive_seed
from grandmodel.market.accounting import (
    LOG_EQUITY,
    POSITION,
    RETURN_FRAC_MIN,
    REWARD_SCALE,
    bar_reward,
    book_position,
    book_return,
    log_return_of,
    trade_bar,
)
from grandmodel.market.core import MarketStep, check_actions, check_fit, refusal
from grandmodel.market.decision import decode_actions
from grandmodel.market.episodes import Sessions, draw_beginning
from grandmodel.market.kernels import Outputs, empty_outputs, impossible
from grandmodel.market.observation import (
    Standing,
    TapeArrays,
    Windows,
    empty_standing,
    lay_windows,
    look_at_accounts,
    write_observations,
    write_states,
    write_triples,
)
from grandmodel.market.tape import MarketTape
from grandmodel.market.team import Layout, TeamSpec


class Clock(NamedTuple):
    """The moments of a portfolio and where each instrument stands at them."""

    close_ns: NDArray[np.int64]  # [K] UTC
    row: NDArray[np.int64]  # [K, I] the latest bar that has closed
    trades: NDArray[np.bool_]  # [K, I] whether it closed at this very moment


class Book(NamedTuple):
    """Where N portfolios stand."""

    seed: NDArray[np.uint64]  # [N]
    episode: NDArray[np.int64]  # how many episodes were drawn
    moment: NDArray[np.int64]  # of the clock
    window_last: NDArray[np.int64]  # last moment of the window
    gross_cap: NDArray[np.float64]  # [N * I]
    standing: Standing  # of N * I rows
    ended: NDArray[np.bool_]  # [N]


class PortfolioRules(NamedTuple):
    """What holds for all portfolios."""

    moments: NDArray[np.int64]  # [2] 0 and K
    no_sessions: Sessions
    window_bars: int
    ruin_drawdown_frac: float
    downside_penalty: float


class Floor(NamedTuple):
    """What stays the same while portfolios are stepped."""

    tape: TapeArrays
    windows: Windows
    layout: Layout
    clock: Clock
    rules: PortfolioRules
    counts: NDArray[np.uint64]  # [N * I * A] number of actions of each agent, over and over
    last: NDArray[np.int64]  # [N] last moment of the clock
    everyone: NDArray[np.bool_]  # [N * I] true


def common_clock(tape: MarketTape) -> Clock:
    """Return the clock of all instruments of ``tape``.

    Raises ConfigError when there are not two moments at which all instruments have a bar behind them.
    """
    parts = [tape.rows(symbol) for symbol in tape.symbols]
    closes = [tape.close_ns[part] for part in parts]
    begin, end = max(int(close[0]) for close in closes), min(int(close[-1]) for close in closes)
    moments = np.unique(np.concatenate(closes))
    moments = moments[(moments >= begin) & (moments <= end)]
    if len(moments) < 2:
        rule = "the instruments of a portfolio must have two closes or more in a span that all of them cover"
        raise ConfigError("market tape", rule, dict(zip(tape.symbols, map(len, closes), strict=True)))
    latest = [np.searchsorted(close, moments, side="right") - 1 for close in closes]
    row = np.stack([part.start + at for part, at in zip(parts, latest, strict=True)], axis=1)
    trades = np.stack([close[at] == moments for close, at in zip(closes, latest, strict=True)], axis=1)
    return Clock(moments, row.astype(np.int64), trades)


@njit(cache=True)
def _begin(floor: Floor, book: Book, chosen: NDArray[np.bool_]) -> None:
    """Draw the next episode of the portfolios that are ``chosen`` [N]."""
    rules, clock, standing, instruments = floor.rules, floor.clock, book.standing, floor.clock.row.shape[1]
    for n in range(len(chosen)):
        if not chosen[n]:
            continue
        drawn = draw_beginning(
            book.seed[n],
            book.episode[n],
            rules.moments,
            rules.no_sessions,
            False,
            rules.window_bars,
            rules.ruin_drawdown_frac,
        )
        book.moment[n], book.window_last[n] = drawn.row, drawn.last
        book.episode[n] += 1
        for i in range(instruments):
            e = n * instruments + i
            standing.row[e], standing.mirror[e] = clock.row[drawn.row, i], floor.windows.mirror[i]
            standing.accounts[:, e] = 0.0
            standing.accounts[LOG_EQUITY, e] = drawn.log_equity


@njit(cache=True)
def _write(floor: Floor, book: Book, outputs: Outputs) -> None:
    """Write states and observations of all rows."""
    look_at_accounts(book.standing, floor.everyone, floor.tape)
    write_states(outputs.states, floor.everyone, book.standing, floor.tape, floor.windows, floor.layout)
    write_observations(outputs.observations, book.standing, floor.tape, floor.windows, floor.layout)


@njit(cache=True)
def _begin_kernel(floor: Floor, book: Book, outputs: Outputs) -> None:
    """Begin an episode of every portfolio."""
    book.ended[:] = True
    _begin(floor, book, book.ended)
    _write(floor, book, outputs)


@njit(cache=True)
def _trade(floor: Floor, book: Book, outputs: Outputs, actions: NDArray[np.int64]) -> None:
    """Carry every portfolio to its next moment: fills, costs, returns and rewards."""
    market, intent, clock = floor.tape.market, floor.tape.intent, floor.clock
    targets, uses_intent, standing = floor.layout.targets, floor.layout.uses_intent, book.standing
    rows, accounts, instruments = standing.row, standing.accounts, floor.clock.row.shape[1]
    for n in range(len(book.moment)):
        moment = book.moment[n] + 1
        book.moment[n] = moment
        net_growth, reward_scale = 0.0, 0.0
        for i in range(instruments):
            e = n * instruments + i
            target, order = decode_actions(actions, e, targets, uses_intent, intent, rows[e])
            outputs.turnover[e] = 0.0
            if clock.trades[moment, i]:
                row, before = clock.row[moment, i], accounts[POSITION, e]
                after, turnover, growth, cost = trade_bar(before, market, row, target, order, book.gross_cap[e])
                share_growth = max(growth - cost, RETURN_FRAC_MIN)
                book_position(accounts, e, log_return_of(share_growth), after)
                rows[e], outputs.turnover[e] = row, turnover
                net_growth += share_growth / instruments
            reward_scale += market[rows[e], REWARD_SCALE] / instruments
        log_return = log_return_of(net_growth)
        reward = bar_reward(log_return, reward_scale, floor.rules.downside_penalty)
        for e in range(n * instruments, (n + 1) * instruments):
            book_return(accounts, e, log_return)
            outputs.log_return[e], outputs.reward[e] = log_return, np.float32(reward)


@njit(cache=True)
def _judge(floor: Floor, book: Book, outputs: Outputs) -> None:
    """Write which portfolios have ended and how."""
    instruments = floor.clock.row.shape[1]
    for n in range(len(book.moment)):
        ruined = book.standing.drawdown_frac[n * instruments] >= floor.rules.ruin_drawdown_frac
        final = ruined or book.moment[n] >= floor.last[n]
        cut = book.moment[n] >= book.window_last[n] and not final
        book.ended[n] = final or cut
        for e in range(n * instruments, (n + 1) * instruments):
            outputs.terminated[e], outputs.truncated[e], outputs.ended[e] = final, cut, final or cut


@njit(cache=True)
def _step_kernel(floor: Floor, book: Book, outputs: Outputs, actions: NDArray[np.int64]) -> bool:
    """Step all portfolios; return False, nothing having moved, where an action is impossible."""
    if impossible(floor.counts, actions.ravel(), book.moment, floor.last):
        return False
    _trade(floor, book, outputs, actions)
    look_at_accounts(book.standing, floor.everyone, floor.tape)
    _judge(floor, book, outputs)
    write_states(outputs.ended_states, outputs.ended, book.standing, floor.tape, floor.windows, floor.layout)
    _begin(floor, book, book.ended)
    _write(floor, book, outputs)
    return True


class PortfolioMarket:
    """``environments`` portfolios of all instruments of a tape; the learner sees environments x instruments rows.

    Row n * I + i is instrument i (in the tape's order) of portfolio n; the rows of a portfolio share rewards and ends.
    Ended portfolios begin their next episode inside ``step``. Episodes begin where they are drawn: there is no
    ``begin_at``, for a row of the tape is no moment of the common clock. All public arrays are written in place.
    """

    def __init__(
        self,
        tape: MarketTape,
        spec: TeamSpec,
        params: MarketParams,
        environments: int,
        window_bars: int,
        seed: int,
    ) -> None:
        """Build and reset; an episode is truncated after ``window_bars`` moments of the common clock.

        Raises ConfigError when tape and team do not fit, or the instruments have no span in common.
        """
        check_fit(tape, spec)
        if environments < 1 or window_bars < 1:
            raise ConfigError(
                "portfolio", "environments and window_bars must be 1 or more", (environments, window_bars)
            )
        self.clock, self.spec, self.tape = common_clock(tape), spec, tape
        self.agents, self.action_counts = spec.agents, spec.action_counts
        self.default_actions = spec.default_actions
        self.instruments = len(tape.symbols)
        self.n_environments = environments * self.instruments
        self.observation_size, self.state_size = spec.observation_size, spec.state_size
        moments = len(self.clock.close_ns)
        self._floor = Floor(
            tape=tape.arrays,
            windows=lay_windows(tape.features, tape.offsets, spec),
            layout=spec.layout,
            clock=self.clock,
            rules=PortfolioRules(
                moments=np.array([0, moments], np.int64),
                no_sessions=Sessions(*np.zeros((3, 0), np.int64)),
                window_bars=window_bars,
                ruin_drawdown_frac=params.ruin_drawdown_frac,
                downside_penalty=params.downside_penalty,
            ),
            counts=np.tile(np.array(spec.action_counts, np.uint64), self.n_environments),
            last=np.full(environments, moments - 1, np.int64),
            everyone=np.ones(self.n_environments, np.bool_),
        )
        self._book, self._outputs = (
            _empty_book(environments, self.n_environments),
            empty_outputs(self.n_environments, spec),
        )
        self.observations, self.states = self._outputs.observations, self._outputs.states
        self.accounts, self.rows = self._book.standing.accounts.T, self._book.standing.row
        self.moments, self.gross_cap = self._book.moment, self._book.gross_cap
        self.log_return, self.turnover = self._outputs.log_return, self._outputs.turnover
        self.reset(seed)

    def reset(self, seed: int) -> None:
        """Start all random streams anew from ``seed`` and begin the first episode of each."""
        for n in range(len(self._book.seed)):
            self._book.seed[n] = derive_seed(seed, "portfolio", n)
        self._book.episode[:] = 0
        _begin_kernel(self._floor, self._book, self._outputs)

    def observe(self, agent_index: int, actions: NDArray[np.int64]) -> None:
        """Write the triples of ``actions[:, :agent_index]`` (int64 [N * I, A]) into what that agent sees.

        Raises TrainingError when the actions have another shape or type.
        """
        check_actions(actions, self.n_environments, len(self.agents))
        if agent_index > 0:
            write_triples(self.observations, agent_index, self._floor.layout, actions)

    def step(self, actions: NDArray[np.int64]) -> MarketStep:
        """Trade to the next moment with ``actions`` int64 [N * I, A].

        Raises TrainingError when an action does not exist; nothing has moved then.
        """
        check_actions(actions, self.n_environments, len(self.agents))
        outputs = self._outputs
        if not _step_kernel(self._floor, self._book, outputs, np.ascontiguousarray(actions)):
            raise refusal(self.action_counts, actions, np.zeros(self.n_environments, np.bool_))
        return MarketStep(outputs.reward, outputs.terminated, outputs.truncated, outputs.states, outputs.ended_states)


def _empty_book(environments: int, rows: int) -> Book:
    return Book(
        seed=np.zeros(environments, np.uint64),
        episode=np.zeros(environments, np.int64),
        moment=np.zeros(environments, np.int64),
        window_last=np.zeros(environments, np.int64),
        gross_cap=np.ones(rows, np.float64),
        standing=empty_standing(rows),
        ended=np.zeros(environments, np.bool_),
    )
