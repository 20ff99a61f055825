"""A walk of all instruments through one guard: features and policies ask, the guard permits, the market fills.

At the close of every bar the orders of all instruments become one joint decision, as they do in serving: the book, its
prices and its risk numbers go into ``grandmodel.risk.guard.guard``, and what it permits is what is filled on the next
bar.

An instrument that rests keeps its last price. One that delivers bars without a trade has no price any more after
``UNTRADED_BARS_MAX`` of them; then its value at risk and correlations are unknown too, and the guard reduces.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.bars import Bars
from grandmodel.core.config import Environment
from grandmodel.market.accounting import LOG_EQUITY, ORDER_MARKET, ORDER_NONE
from grandmodel.market.policy import TeamPolicy
from grandmodel.market.replay import Order, Walk
from grandmodel.market.tape import MarketTape
from grandmodel.risk import shock as shocks
from grandmodel.risk.guard import guard
from grandmodel.risk.guard_inputs import Book, RiskNumbers
from grandmodel.risk.guard_state import GuardState, RiskEvent, opened
from grandmodel.risk.shock import Severity, ShockMemory, ShockParams
from grandmodel.risk.sleeves import Sleeves, sleeves_of
from grandmodel.risk.tail_book import BookRisk

Vector = NDArray[np.float64]

UNTRADED_BARS_MAX = 2  # a third bar in a row without a trade is a feed that stands still
VAR_METHOD, VAR_LEVEL, VAR_WINDOW_BARS = "filtered_historical", 0.99, 1000
WATCH_BARS = 2 * VAR_WINDOW_BARS  # that the detector sees; older ones weigh nothing
DECAY = 0.99  # lambda of a number for a day, on 5-minute bars: half of its weight lies on the last six hours
STOP_DEVIATIONS = 2.0  # adverse move of a trade in daily deviations; the "2 N" stop that goes with 2 % of risk a trade
ALARMS_PER_YEAR = 3.0  # the stated cost of the detector, as in benchmarks/shock_study.py


@dataclass(frozen=True)
class Feed:
    """What is known at each of T moments at which a bar of any of N instruments closes."""

    symbols: tuple[str, ...]
    moment_ns: NDArray[np.int64]  # [T]
    row: NDArray[np.int64]  # [T, N] newest bar of each instrument
    price: Vector  # [T, N] last one traded at; NaN where the feed stands still
    move_frac: Vector  # [T, N] from the moment before; NaN where the feed stands still


@dataclass(frozen=True)
class Desk:
    """What stands between the policies and their fills."""

    environment: Environment  # limits of the guard and its breaker
    history: Feed  # what the risk numbers have seen before the guard opens, in the order of the tape's symbols
    shock: ShockParams
    multipliers: Mapping[str, float]
    capital_per_sleeve: float
    bars_per_day: int


@dataclass
class RiskWatch:
    """The risk numbers of a book, kept up to date from moment to moment."""

    tail: BookRisk
    detector: ShockMemory | None  # a single instrument has no correlations to be shocked
    bars_per_day: int


class Passage(NamedTuple):
    """A walk under the guard from the close before a shock to the end, decision by decision (D of them)."""

    equity: Vector  # [D] as a multiple of the capital at the start
    held: Vector  # [D, N] positions before the decision
    asked: Vector  # [D, N] positions that the team asks for
    permitted: Vector  # [D, N] positions that the guard permits, to be filled on the next bar
    exposure_per_position: Vector  # [D, N] money over equity
    states: tuple[GuardState, ...]  # [1 + D] the first is the one that was opened
    events: tuple[tuple[RiskEvent, ...], ...]  # [D]

    def gross(self, positions: Vector) -> Vector:
        """Return the gross exposure of positions float64[D, N] at each decision, float64[D], money over equity."""
        return np.asarray((np.abs(positions) * self.exposure_per_position).sum(axis=1))


def feed_of(bars: Mapping[str, Bars]) -> Feed:
    """Return the feed of ``bars``, from the first moment at which every instrument has a bar."""
    symbols = tuple(bars)
    moments = np.unique(np.concatenate([one.close_ns for one in bars.values()]))
    moments = moments[moments >= max(int(one.close_ns[0]) for one in bars.values())]
    rows, prices, still = [], [], []
    for one in bars.values():
        row = np.searchsorted(one.close_ns, moments, side="right") - 1
        last_traded = np.maximum.accumulate(np.where(one.tradable & (one.volume > 0), np.arange(len(one)), -1))
        rows.append(row)
        prices.append(one.close[np.maximum(last_traded, 0)][row])
        still.append(((np.arange(len(one)) - last_traded > UNTRADED_BARS_MAX) | (last_traded < 0))[row])
    price, unknown = np.stack(prices, axis=1), np.stack(still, axis=1)
    moves = np.zeros_like(price)
    moves[1:] = price[1:] / price[:-1] - 1.0
    price[unknown] = moves[unknown] = np.nan
    return Feed(symbols, moments, np.stack(rows, axis=1), price, moves)


def shock_params_for(history: Feed, years: float) -> ShockParams:
    """Return the detector's settings whose threshold rings at most ``ALARMS_PER_YEAR`` in ``history``.

    The thresholds of ``ShockParams`` belong to daily bars; this is the rule they were found by. CRITICAL begins at
    twice HIGH, as there. A history too short for one alarm gives a threshold above all of its scores. One without any
    score (fewer than two instruments, or all of it warm-up) takes the settings as they are.
    """
    plain = ShockParams()
    if len(history.symbols) < 2:
        return plain
    scores = shocks.shock_history(shocks.new_memory(len(history.symbols), plain), history.move_frac).score
    falling = np.unique(scores[np.isfinite(scores) & (scores > 0)])[::-1]
    if not len(falling):
        return plain
    found = _threshold(float(np.nextafter(falling[0], np.inf)))
    for score in falling.tolist():
        if int(shocks.onsets_of(scores, _threshold(score)).sum()) > ALARMS_PER_YEAR * years:
            break
        found = _threshold(score)
    return found


def _threshold(score: float) -> ShockParams:
    return ShockParams(score_high=score, score_critical=2.0 * score)


def watch(history: Vector, desk: Desk) -> RiskWatch:
    """Return a watch that has seen ``history``, float64[T, N] of moves.

    Unknown rows are left out of the value at risk, however far back its window then reaches; the detector sees the
    newest rows as they were.

    Raises:
        DataError: fewer known rows than the window of the value at risk.
    """
    assets = history.shape[1]
    known = history[np.isfinite(history).all(axis=1)]
    tail = BookRisk(assets, VAR_WINDOW_BARS, bars_per_day=desk.bars_per_day, levels=(VAR_LEVEL,), decay=DECAY)
    tail.load(known)
    detector = shocks.new_memory(assets, desk.shock) if assets > 1 else None
    if detector is not None:
        shocks.shock_history(detector, history[-WATCH_BARS:])
    return RiskWatch(tail, detector, desk.bars_per_day)


def numbers_of(risk: RiskWatch, move_frac: Vector, exposure: Vector) -> RiskNumbers:
    """Take in the moves of one moment and return the risk numbers of the book; NaN where they cannot be computed.

    Args:
        risk: written in place.
        move_frac: float64[N], see ``Feed``.
        exposure: float64[N], money over equity, signed.
    """
    tails = risk.tail.update(move_frac, exposure)
    covariance = risk.tail.state.covariance
    deviation = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(deviation, deviation)
    severity = Severity.NONE if risk.detector is None else shocks.update(risk.detector, move_frac)
    return RiskNumbers(
        value_at_risk_frac=tails.of(VAR_METHOD, VAR_LEVEL, "day").var_frac,
        adverse_move_frac=STOP_DEVIATIONS * np.sqrt(risk.bars_per_day) * deviation,
        correlation=correlation if np.isfinite(move_frac).all() else np.full_like(correlation, np.nan),
        alarm=severity.name,
    )


def walk_guarded(tape: MarketTape, policy: TeamPolicy, bars: Mapping[str, Bars], row: int, desk: Desk) -> Passage:
    """Walk freely to the close before bar ``row``, open the guard there, and go on with every decision through it.

    Args:
        tape: the traded clock, with intents.
        policy: the team that trades it.
        bars: those of the tape.
        row: of the shock; one moment in all instruments.
        desk: limits and settings.
    """
    return go_on_guarded(walks_to(tape, policy, row), tape, bars, row, desk)


def walks_to(tape: MarketTape, policy: TeamPolicy, row: int) -> list[Walk]:
    """Walk freely to the close before bar ``row`` of every instrument, in the order of the tape."""
    walks = [Walk(tape, policy, symbol) for symbol in tape.symbols]
    for walk in walks:
        walk.advance(row)
    return walks


def go_on_guarded(walks: list[Walk], tape: MarketTape, bars: Mapping[str, Bars], row: int, desk: Desk) -> Passage:
    """Open the guard where ``walks``, those of ``walks_to``, stand, and walk them to the end; see ``walk_guarded``."""
    feed = feed_of({symbol: bars[symbol] for symbol in tape.symbols})
    first = int(np.searchsorted(feed.moment_ns, bars[tape.symbols[0]].start_ns[row], side="right")) - 1
    leverage = tape.leverage[tape.offsets[:-1]]
    multiplier = np.array([desk.multipliers[symbol] for symbol in tape.symbols])
    risk = watch(desk.history.move_frac[desk.history.moment_ns < feed.moment_ns[first]], desk)
    state = _opened(desk, walks, feed, first, multiplier)
    states, events, equity, positions = [state], [], [], []
    for t in range(first, len(feed.moment_ns)):
        for i in np.flatnonzero(feed.row[t] > feed.row[t - 1]) if t > first else ():
            walks[i].advance(1)
        # Where the price is unknown its last known one still counts what is held; the guard learns that it is unknown.
        known_price = np.where(np.isfinite(feed.price[t]), feed.price[t], np.array(state.prices))
        sleeves = sleeves_of(
            _log_equity(walks), leverage, known_price, multiplier, capital_per_sleeve=desk.capital_per_sleeve
        )
        held = np.array([walk.position for walk in walks])
        asked = np.array([_wanted(walk) for walk in walks])
        decision = guard(
            state,
            Book(sleeves.equity, held * sleeves.quantity_per_position),
            feed.price[t],
            asked * sleeves.quantity_per_position,
            numbers_of(risk, feed.move_frac[t], held * sleeves.exposure_per_position),
            int(feed.moment_ns[t]),
        )
        state = decision.state
        permitted = send_permitted(walks, sleeves, held, asked, decision.permitted, gross_cap=state.gross_cap)
        equity.append(sleeves.equity / (len(walks) * desk.capital_per_sleeve))
        positions.append((held, asked, permitted, sleeves.exposure_per_position))
        states.append(state)
        events.append(decision.events)
    was, wanted, left, unit = np.array(positions).transpose(1, 0, 2)
    return Passage(np.array(equity), was, wanted, left, unit, tuple(states), tuple(events))


def send_permitted(
    walks: list[Walk], sleeves: Sleeves, held: Vector, asked: Vector, quantity: Vector, *, gross_cap: float
) -> Vector:
    """Send what the guard permits and return it as positions, float64[N].

    What is permitted as asked goes as the team sends it, to the bit. A reduction that was not asked for goes to the
    market, and so does every one while the book holds more than ``gross_cap``: a limit order may not fill.
    """
    as_asked = quantity == asked * sleeves.quantity_per_position
    permitted = np.where(as_asked, asked, quantity / sleeves.quantity_per_position)
    over = float(np.abs(held) @ sleeves.exposure_per_position) > gross_cap
    reduces = np.abs(permitted) < np.abs(held)
    for i, walk in enumerate(walks):
        if reduces[i] and (over or not as_asked[i]):
            walk.send(Order(float(permitted[i]), ORDER_MARKET))
        elif not as_asked[i]:
            walk.send(Order(float(permitted[i]), walk.asked.style))
    return permitted


def events_by_kind(events: tuple[tuple[RiskEvent, ...], ...]) -> dict[str, int]:
    """Return how often each kind of event came; broken limits count under their own names."""
    return dict(sorted(Counter(event.limit or event.kind for each in events for event in each).items()))


def _wanted(walk: Walk) -> float:
    order = walk.asked
    return walk.position if order.style == ORDER_NONE else order.target


def _log_equity(walks: list[Walk]) -> Vector:
    return np.array([walk.account[LOG_EQUITY] for walk in walks])


def _opened(desk: Desk, walks: list[Walk], feed: Feed, first: int, multiplier: Vector) -> GuardState:
    equity = desk.capital_per_sleeve * float(np.exp(_log_equity(walks)).sum())
    rules, moment_ns = desk.environment, int(feed.moment_ns[first])
    prices = feed.price[first].tolist()
    return opened(feed.symbols, multiplier.tolist(), prices, equity, rules.limits, rules.breaker, moment_ns)
