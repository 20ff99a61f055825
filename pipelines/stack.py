"""What every stage of the stack knows of one instrument at a bar, under its true future, a cut and a shuffled one.

The true stack stands on what the features stage left; the others are computed from the bars up to that one, through the
same code: features and scaler, market columns, observations and environment, the decisions and intents of both teams.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.bars import Bars
from grandmodel.core.config import Params
from grandmodel.core.random import random_stream
from grandmodel.features.columns import STRATEGIC_COLUMNS, TACTICAL_COLUMNS
from grandmodel.gates.g1_leakage import Future, Known
from grandmodel.market.core import VectorMarket
from grandmodel.market.intent import VALID_BARS
from grandmodel.market.policy import TeamPolicy
from grandmodel.market.replay import replay
from grandmodel.market.tape import MarketTape, build_tape
from models.feature_spec import FeatureSpec
from models.release import Release, Tapes, strategic_intents

WINDOW_BARS = 48  # 30-minute bars before and after the one that is looked at, over which the release decides
WALK_BARS = 12  # steps of the environment, so that the account is not flat when it is looked at
MARKET_NAMES = (
    *("gap", "body", "high", "low", "half spread", "commission", "impact"),
    *("leverage", "reward scale", "tradable", "rolled", "session left"),
)
INTENT_NAMES = ("short", "flat", "long", "size", "confidence", "age")
ACCOUNT_NAMES = ("reward", "log return", "turnover", "position", "log equity", "log peak", "open return")
DECISION_NAMES = ("target", "order", "position", "log return", "cost")
SHUFFLED = ("open", "high", "low", "close", "volume", "price_factor", "tradable")  # times stay: the calendar is known


@dataclass(frozen=True)
class Stack:
    """One instrument of one fold, and the release that decides on it; ``tactical`` is None on a strategic-only one."""

    symbol: str
    strategic: Bars
    tactical: Bars | None
    tapes: Tapes  # of these bars, as the features stage left them
    spec: FeatureSpec
    release: Release
    params: Params

    @property
    def traded(self) -> Bars:
        """The bars of the clock on which positions are held."""
        return self.strategic if self.tactical is None else self.tactical


def rows_with_future(stack: Stack) -> NDArray[np.int64]:
    """Return the rows of the traded clock before which a whole window lies, and after which at least one bar."""
    if len(stack.strategic) <= WINDOW_BARS:
        return np.arange(0)
    first = int(np.searchsorted(stack.traded.close_ns, stack.strategic.close_ns[WINDOW_BARS]))
    return np.arange(first, len(stack.traded) - 1)


def known(stack: Stack, row: int, future: Future) -> list[Known]:
    """Return what every stage knows at the close of ``row`` of the traded clock, in the order of the stack."""
    now_ns = int(stack.traded.close_ns[row])
    tapes = stack.tapes if future is Future.TRUE else _recomputed(stack, now_ns, future)
    return [one for clock in _clocks(stack, tapes, now_ns) for one in _stages(clock, now_ns, stack.params)]


class _Clock(NamedTuple):
    """One team before its bars: all of them, and the window over which it is let decide."""

    name: str  # such as "strategic IF"
    columns: tuple[str, ...]
    whole: MarketTape
    window: MarketTape
    policy: TeamPolicy


def _clocks(stack: Stack, tapes: Tapes, now_ns: int) -> Iterator[_Clock]:
    release, name = stack.release, stack.symbol
    window, times = (_window(stack.strategic, of, now_ns) for of in (tapes, stack.tapes))
    yield _Clock(f"strategic {name}", STRATEGIC_COLUMNS, tapes.strategic, window.strategic, release.strategic)
    if tapes.tactical is not None and window.tactical is not None and release.tactical is not None:
        on_timetable = replace(window, strategic=_on_timetable(window.strategic, times.strategic))
        intents = strategic_intents(release.strategic, on_timetable, stack.params.market)
        informed = window.tactical.with_intents(intents)
        yield _Clock(f"tactical {name}", TACTICAL_COLUMNS, tapes.tactical, informed, release.tactical)


def _stages(clock: _Clock, now_ns: int, params: Params) -> Iterator[Known]:
    rows, (whole, window) = _rows_until(clock.whole, now_ns), (clock.whole, clock.window)
    yield Known("features", clock.name, 0, whole.features[:rows], clock.columns)
    yield Known("market columns", clock.name, 0, whole.arrays.market[:rows], MARKET_NAMES)
    rows, first_row = _rows_until(window, now_ns), int(np.searchsorted(whole.start_ns, window.start_ns[0]))
    if clock.policy.spec.uses_intent:
        yield Known("intents", clock.name, first_row, window.intent[:rows], INTENT_NAMES)
    seen, account = _walk(window, clock.policy, rows, params)
    yield Known("observations", clock.name, first_row + rows - len(seen), seen)
    yield Known("environment", clock.name, first_row + rows - len(account), account, ACCOUNT_NAMES)
    yield Known("decisions", clock.name, first_row, *_decided(window, clock.policy, rows, params))


def _walk(
    tape: MarketTape, policy: TeamPolicy, rows: int, params: Params
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Step an environment by seeded actions up to row ``rows`` - 1; return what was seen and booked at each step."""
    steps = min(WALK_BARS, rows - 1)
    market = VectorMarket(
        tape, policy.spec, params.market, environments=1, window_bars=len(tape), seed=params.seed, auto_reset=False
    )
    market.begin_at(np.array([rows - 1 - steps]))
    stream, size = random_stream(params.seed, "leakage", policy.spec.name), (steps, 1, len(policy.spec.agents))
    drawn = stream.integers(0, policy.spec.action_counts, size)
    seen, booked = [], []
    for actions in drawn:
        step = market.step(actions)
        for agent in range(len(policy.spec.agents)):
            market.observe(agent, actions)
        seen.append(np.concatenate([market.observations.ravel(), step.states.ravel()]))
        booked.append([float(step.reward[0]), market.log_return[0], market.turnover[0], *market.accounts[0]])
    return np.array(seen), np.array(booked)


def _decided(
    tape: MarketTape, policy: TeamPolicy, rows: int, params: Params
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return what the team decided at the first ``rows`` rows and what became of it, and the names of the columns."""
    run = replay(tape, policy, params.market)
    table = np.column_stack([run.actions, run.target, run.order, run.position, run.log_return, run.cost_frac])
    return table[:rows].astype(np.float64), (*policy.spec.agents, *DECISION_NAMES)


def _rows_until(tape: MarketTape, now_ns: int) -> int:
    return int(np.searchsorted(tape.close_ns, now_ns, side="right"))


def _window(strategic: Bars, tapes: Tapes, now_ns: int) -> Tapes:
    last = int(np.searchsorted(strategic.close_ns, now_ns, side="right")) - 1
    first, stop = max(last - WINDOW_BARS, 0), min(last + WINDOW_BARS, len(strategic) - 1)
    return tapes.window(int(strategic.start_ns[first]), int(strategic.start_ns[stop]) + 1)


def _on_timetable(tape: MarketTape, true: MarketTape) -> MarketTape:
    """Return ``tape`` with the times of the next bars of ``true``, on which its last bar stands still.

    An intent stays valid until the second next bar has closed: when that is, is known ahead, what happens is not.
    """
    length = min(len(tape) + VALID_BARS, len(true))
    rows = np.minimum(np.arange(length), len(tape) - 1)
    names = [f.name for f in fields(tape) if f.name not in ("symbols", "bar_minutes", "offsets")]
    per_row = {name: getattr(tape, name)[rows] for name in names}
    times = {"start_ns": true.start_ns[:length], "close_ns": true.close_ns[:length]}
    return replace(tape, offsets=np.array([0, length], np.int64), **(per_row | times))


def _recomputed(stack: Stack, now_ns: int, future: Future) -> Tapes:
    def tape(bars: Bars, compute: Callable[[Bars], NDArray[np.float32]]) -> MarketTape:
        seen = _with_future(bars, now_ns, future, stack.params.seed)
        features = {stack.symbol: compute(seen)}
        spec = stack.spec
        return build_tape({stack.symbol: seen}, features, spec.instruments, stack.params.market, spec.leverage)

    tactical = None if stack.tactical is None else tape(stack.tactical, stack.spec.tactical)
    return Tapes(tape(stack.strategic, stack.spec.strategic), tactical)


def _with_future(bars: Bars, now_ns: int, future: Future, seed: int) -> Bars:
    """Return ``bars`` up to those closed at ``now_ns``, and behind them nothing, or what followed in another order."""
    rows = int(np.searchsorted(bars.close_ns, now_ns, side="right"))
    if future is Future.CUT:
        return bars.rows(0, rows)
    later = random_stream(seed, "shuffled future", bars.symbol, rows).permutation(np.arange(rows, len(bars)))
    order = np.concatenate([np.arange(rows), later])
    return replace(bars, **{name: getattr(bars, name)[order] for name in SHUFFLED})
