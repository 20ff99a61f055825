"""One greedy pass of a policy, or of given targets, over every instrument of a tape.

Row t holds what belongs to bar t: the position held at its close, the return earned and the turnover filled during it,
and the actions, target and order decided at its close, which work on bar t + 1 (+ ``delay_bars``). Nothing ends at ruin
here.
"""

from __future__ import annotations

import math
from copy import copy, deepcopy
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from grandmodel.core.config import MarketParams
from grandmodel.core.errors import ConfigError, DataError
from grandmodel.core.hashing import hash_arrays
from grandmodel.market.accounting import (
    ACCOUNT_SIZE,
    LOG_EQUITY,
    LOG_PEAK,
    ORDER_MARKET,
    ORDER_NONE,
    POSITION,
    advance_account,
)
from grandmodel.market.core import check_fit
from grandmodel.market.decision import decode_actions
from grandmodel.market.observation import (
    Standing,
    TapeArrays,
    Windows,
    empty_standing,
    lay_windows,
    look_at_accounts,
    write_observations,
    write_triples,
)
from grandmodel.market.policy import TeamPolicy, Weights, greedy_action, policy_logits
from grandmodel.market.tape import MarketTape
from grandmodel.market.team import TRIPLE_SIZE, Layout, TeamSpec


@dataclass(frozen=True)
class Replay:
    """What a pass over a tape decided and earned, row by row of the tape."""

    symbols: tuple[str, ...]
    offsets: NDArray[np.int64]  # [I + 1] first row of each instrument
    spec: TeamSpec | None  # None when targets were given
    actions: NDArray[np.int8]  # [T, A], decided at the close of the row; A = 0 when targets were given
    target: NDArray[np.float64]  # [T] decided at the close of the row
    order: NDArray[np.int8]  # [T] decided at the close: 0 none, 1 limit at the last close, 2 market
    position: NDArray[np.float64]  # [T] held at the close of the row
    log_return: NDArray[np.float64]  # [T] of equity, after costs, earned during the row
    turnover: NDArray[np.float64]  # [T] |change of position| during the row
    cost_frac: NDArray[np.float64]  # [T] of equity, paid during the row

    def __len__(self) -> int:
        return len(self.position)

    def rows(self, symbol: str) -> slice:
        """Return the rows of one instrument. Raises DataError when the replay does not hold it."""
        if symbol not in self.symbols:
            raise DataError(f"instrument {symbol}", "must be in the replay", self.symbols)
        index = self.symbols.index(symbol)
        return slice(int(self.offsets[index]), int(self.offsets[index + 1]))


class Records(NamedTuple):
    """The arrays of a Replay, filled by compiled code."""

    actions: NDArray[np.int64]
    target: NDArray[np.float64]
    order: NDArray[np.int64]
    position: NDArray[np.float64]
    log_return: NDArray[np.float64]
    turnover: NDArray[np.float64]
    cost_frac: NDArray[np.float64]


class Scratch(NamedTuple):
    """Buffers of one decision."""

    observations: NDArray[np.float32]  # [1, A, D]
    hidden: NDArray[np.float32]  # [2, H]
    logits: NDArray[np.float32]  # [actions_max]


class Seat(NamedTuple):
    """A team before a tape: all that deciding needs."""

    tape: TapeArrays
    windows: Windows
    layout: Layout
    weights: Weights
    standing: Standing  # of one environment
    alone: NDArray[np.bool_]  # [1] true
    scratch: Scratch


@njit(cache=True)
def decide_row(seat: Seat, row: int, actions: NDArray[np.int64]) -> tuple[float, int]:
    """Let the team act greedily at the close of ``row``: fill ``actions[row]`` [A], return target and order."""
    tape, windows, layout, standing, scratch = seat.tape, seat.windows, seat.layout, seat.standing, seat.scratch
    standing.row[0] = row
    look_at_accounts(standing, seat.alone, tape)
    write_observations(scratch.observations, standing, tape, windows, layout)
    taken = actions[row : row + 1]
    for agent in range(len(layout.action_counts)):
        write_triples(scratch.observations, agent, layout, taken)
        size = int(layout.triples_at[agent]) + TRIPLE_SIZE * agent
        policy_logits(scratch.observations[0, agent], size, agent, seat.weights, scratch.hidden, scratch.logits)
        taken[0, agent] = greedy_action(scratch.logits, layout.action_counts[agent])
    return decode_actions(taken, 0, layout.targets, layout.uses_intent, tape.intent, row)


@njit(cache=True)
def _fill_row(
    market: NDArray[np.float64],
    records: Records,
    row: int,
    first: int,
    delay_bars: int,
    accounts: NDArray[np.float64],
    gross_cap: float,
) -> None:
    """Carry ``accounts`` [4, 1] over bar ``row`` with the order decided ``delay_bars`` + 1 rows earlier, if any."""
    if row > first:
        decided = row - 1 - delay_bars
        target, order = 0.0, ORDER_NONE
        if decided >= first:
            target, order = records.target[decided], records.order[decided]
        log_return, turnover, cost_frac = advance_account(accounts, 0, market, row, target, order, gross_cap)
        records.log_return[row], records.turnover[row] = log_return, turnover
        records.cost_frac[row] = cost_frac
    records.position[row] = accounts[POSITION, 0]


@njit(cache=True, nogil=True)  # replays of several seeds run beside each other in threads
def _replay_kernel(
    seat: Seat,
    records: Records,
    first: int,
    start: int,
    stop: int,
    delay_bars: int,
    gross_cap: float,
) -> None:
    """Fill and decide rows [start, stop) of the instrument that begins at ``first``."""
    for row in range(start, stop):
        _fill_row(seat.tape.market, records, row, first, delay_bars, seat.standing.accounts, gross_cap)
        target, order = decide_row(seat, row, records.actions)
        records.target[row], records.order[row] = target, order


@njit(cache=True, nogil=True)
def _simulate_kernel(
    market: NDArray[np.float64],
    records: Records,
    first: int,
    stop: int,
    delay_bars: int,
    accounts: NDArray[np.float64],
    gross_cap: float,
) -> None:
    """Fill rows [first, stop) with the targets and orders that ``records`` already holds."""
    for row in range(first, stop):
        _fill_row(market, records, row, first, delay_bars, accounts, gross_cap)


class Order(NamedTuple):
    """What is decided at the close of a bar and works on the next one."""

    target: float  # position to hold
    style: int  # ORDER_NONE, which leaves the position as it is, ORDER_LIMIT at the last close, or ORDER_MARKET


class Walk:
    """A replay of one instrument that stops between bars, so that risk can look at the account and overrule.

    ``advance`` fills the order of the bar before and lets the team decide at the close of the new one; ``asked`` shows
    that order before it is filled, and ``send`` puts another one in its place.
    """

    def __init__(self, tape: MarketTape, policy: TeamPolicy, symbol: str, delay_bars: int = 0) -> None:
        """Stand before the first bar of ``symbol``. Raises ConfigError when tape and team do not fit."""
        check_fit(tape, policy.spec)
        _check_delay(delay_bars)
        part = tape.rows(symbol)
        self.first, self.stop, self.next_row = part.start, part.stop, part.start
        self._tape, self._policy, self._delay_bars = tape, policy, delay_bars
        self._records = _empty_records(len(tape), len(policy.spec.agents))
        self._seat = _seat(tape, policy)
        _sit_down(self._seat, tape.symbols.index(symbol))
        self.account = self._seat.standing.accounts[:, 0]

    def advance(self, bars: int = 1, gross_cap: float = 1.0) -> bool:
        """Live through up to ``bars`` more bars under ``gross_cap``; return whether any bar is left."""
        stop = min(self.next_row + bars, self.stop)
        _replay_kernel(
            self._seat,
            self._records,
            self.first,
            self.next_row,
            stop,
            self._delay_bars,
            gross_cap,
        )
        self.next_row = stop
        return bool(stop < self.stop)

    def fork(self) -> Walk:
        """Return a second walk that stands where this one stands, and from here on goes its own way."""
        other = copy(self)
        other._records = deepcopy(self._records)
        standing, scratch = deepcopy(self._seat.standing), deepcopy(self._seat.scratch)
        other._seat = self._seat._replace(standing=standing, scratch=scratch)
        other.account = standing.accounts[:, 0]
        return other

    @property
    def asked(self) -> Order:
        """Return the order that stands at the close of the last bar; none before the first."""
        if self.next_row == self.first:
            return Order(0.0, ORDER_NONE)
        row = self.next_row - 1
        return Order(float(self._records.target[row]), int(self._records.order[row]))

    def send(self, order: Order) -> None:
        """Let ``order`` stand instead of what the team asked for at the close of the last bar; its actions stay.

        Raises:
            DataError: no bar was lived through yet, or the target is not finite.
        """
        if self.next_row == self.first or not math.isfinite(order.target):
            raise DataError("order", "needs a finite target, and a bar at whose close it is sent", order)
        row = self.next_row - 1
        self._records.target[row], self._records.order[row] = order

    @property
    def position(self) -> float:
        """Return the position held at the close of the last bar."""
        return float(self.account[POSITION])

    @property
    def drawdown_frac(self) -> float:
        """Return the loss from the highest equity so far, as a fraction of it."""
        return float(-np.expm1(self.account[LOG_EQUITY] - self.account[LOG_PEAK]))

    def replay(self) -> Replay:
        """Return what happened so far; rows not reached are zero."""
        return _as_replay(self._tape, self._policy.spec, self._records)


def replay(
    tape: MarketTape, policy: TeamPolicy, params: MarketParams, *, delay_bars: int = 0, gross_cap: float = 1.0
) -> Replay:
    """Let ``policy`` trade greedily over each instrument of ``tape``, from flat, in one pass.

    Args:
        tape: rows of all instruments.
        policy: exported team.
        params: kept for one signature with ``simulate_targets``; all costs stand on the tape.
        delay_bars: bars by which orders reach the market later; a limit order is then priced when it arrives.
        gross_cap: largest |position|.

    Raises:
        ConfigError: tape and team do not fit, or the delay is negative.
    """
    check_fit(tape, policy.spec)
    _check_delay(delay_bars)
    records = _empty_records(len(tape), len(policy.spec.agents))
    seat = _seat(tape, policy)
    for instrument, (first, stop) in enumerate(_spans(tape)):
        _sit_down(seat, instrument)
        _replay_kernel(seat, records, first, first, stop, delay_bars, gross_cap)
    return _as_replay(tape, policy.spec, records)


def simulate_targets(
    tape: MarketTape, targets: NDArray[np.float64], params: MarketParams, *, delay_bars: int = 0, gross_cap: float = 1.0
) -> Replay:
    """Trade towards ``targets`` [T] (decided at each row's close) by market orders, from flat on each instrument.

    Raises ConfigError when the delay is negative, DataError when targets are not finite or not as long as the tape.
    """
    _check_delay(delay_bars)
    if targets.shape != (len(tape),) or not bool(np.isfinite(targets).all()):
        raise DataError("targets", f"must be finite with shape ({len(tape)},)", targets.shape)
    records = _empty_records(len(tape), 0)
    records.target[:] = targets
    records.order[:] = ORDER_MARKET
    for first, stop in _spans(tape):
        _simulate_kernel(tape.arrays.market, records, first, stop, delay_bars, np.zeros((ACCOUNT_SIZE, 1)), gross_cap)
    return _as_replay(tape, None, records)


def decision_hash(replay: Replay) -> str:
    """Return the hex SHA-256 of all actions and positions: equal decisions, equal hash."""
    return hash_arrays({"actions": replay.actions, "position": replay.position})


def _spans(tape: MarketTape) -> list[tuple[int, int]]:
    return [(int(a), int(b)) for a, b in zip(tape.offsets[:-1], tape.offsets[1:], strict=True)]


def _check_delay(delay_bars: int) -> None:
    if delay_bars < 0:
        raise ConfigError("delay_bars", "must be 0 or more", delay_bars)


def _empty_records(rows: int, agents: int) -> Records:
    return Records(
        actions=np.zeros((rows, agents), np.int64),
        target=np.zeros(rows, np.float64),
        order=np.zeros(rows, np.int64),
        position=np.zeros(rows, np.float64),
        log_return=np.zeros(rows, np.float64),
        turnover=np.zeros(rows, np.float64),
        cost_frac=np.zeros(rows, np.float64),
    )


def _seat(tape: MarketTape, policy: TeamPolicy) -> Seat:
    spec = policy.spec
    scratch = Scratch(
        observations=np.zeros((1, len(spec.agents), spec.observation_size), np.float32),
        hidden=np.zeros((2, policy.hidden), np.float32),
        logits=np.zeros(spec.actions_max, np.float32),
    )
    windows = lay_windows(tape.features, tape.offsets, spec)
    return Seat(tape.arrays, windows, spec.layout, policy.arrays, empty_standing(1), np.ones(1, np.bool_), scratch)


def _sit_down(seat: Seat, instrument: int) -> None:
    """Begin flat before instrument number ``instrument``."""
    seat.standing.mirror[0] = seat.windows.mirror[instrument]
    seat.standing.accounts[:] = 0.0


def _as_replay(tape: MarketTape, spec: TeamSpec | None, records: Records) -> Replay:
    return Replay(
        symbols=tape.symbols,
        offsets=tape.offsets,
        spec=spec,
        actions=records.actions.astype(np.int8),
        target=records.target.copy(),
        order=records.order.astype(np.int8),
        position=records.position.copy(),
        log_return=records.log_return.copy(),
        turnover=records.turnover.copy(),
        cost_frac=records.cost_frac.copy(),
    )
