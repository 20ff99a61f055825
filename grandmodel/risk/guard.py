"""The one function through which every decision passes, and that overrules all others.

    guard(state, book, prices, targets, risk numbers, clock) -> permitted targets, new state, events

What it holds, whatever it is given:

- a move towards zero is never held back or shrunk, by no limit and in no state;
- in the decision that sees a cut the gross exposure falls to half of what was held, or less, and stays below the cap;
- HALTED permits zero and nothing else; REDUCING permits what lies between zero and the position;
- an input that is missing, not finite or impossible leads to REDUCING with the reason, and never to more risk;
- between two resets by a named person, state and gross cap only get stricter.

Pure: the caller keeps the state. ``journal.py`` makes it survive. Quantities are what the market counts, contracts or
units, and are not rounded; whoever rounds must round towards zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from grandmodel.risk import breaker as breakers
from grandmodel.risk.admission import Room, gross_of, kept_part, orders_let_through, within
from grandmodel.risk.breaker import CAP_FRACTIONS
from grandmodel.risk.guard_inputs import Book, Inputs, RiskNumbers, read_inputs
from grandmodel.risk.guard_state import (
    GuardState,
    RiskEvent,
    Sent,
    day_of,
    event,
    event_of_breach,
    event_of_breaker,
    overruled,
)
from grandmodel.risk.limits import (
    Breach,
    book_breaches,
    collar_breaches,
    daily_loss_breach,
    instrument_cap,
    value_at_risk_breach,
    where_true,
)
from grandmodel.risk.state import TradingState

Vector = NDArray[np.float64]
NS_PER_MINUTE = 60_000_000_000
NS_PER_MS = 1_000_000


class Decision(NamedTuple):
    """What comes out of the guard."""

    permitted: Vector  # float64[N], quantities to hold next; always finite
    state: GuardState
    events: tuple[RiskEvent, ...]


@dataclass(frozen=True)
class _Valued:
    """The book at the prices of this decision."""

    unit: Vector  # [N] exposure of one unit of quantity
    unit_added: Vector  # [N] the same for the limits of what is added
    gross: float  # held; NaN where a position is not known
    off_collar: NDArray[np.bool_]  # [N]
    breaches: tuple[Breach, ...]  # of the collar


def guard(
    state: GuardState,
    book: Book | None,
    prices: Sequence[float] | Vector | None,
    targets: Sequence[float] | Vector | None,
    risk: RiskNumbers | None,
    clock_ns: int,
) -> Decision:
    """Return what may be held next, the new state and what happened.

    Args:
        state: as the last decision, reset or change of limits left it. Its N symbols give the order of all columns.
        book: equity and quantities held now.
        prices: N prices in the currency of the equity.
        targets: N quantities asked for. One that is not finite stands for "keep".
        risk: risk numbers of the book as it is held, and the alarm of the shock detector.
        clock_ns: UTC. A clock that runs backwards is an impossible input.

    Missing columns, columns of another length, NaN, infinities and prices that are not positive are no errors here:
    they are what REDUCING is for. A quantity that is not known is brought to zero, for nothing else is known to reduce
    it.
    """
    with np.errstate(all="ignore"):
        seen = read_inputs(state, book, prices, targets, risk, clock_ns)
        valued = _value(state, seen)
        after, changes, share = _state_after(state, seen, valued)
        permitted, overrulings = _permit(after, seen, valued, share)
        return Decision(permitted, _remember(after, seen, permitted), changes + overrulings)


def _value(state: GuardState, seen: Inputs) -> _Valued:
    reference = np.array(state.prices)
    off_collar = np.abs(seen.price / reference - 1.0) > state.limits.price_collar_frac
    breaches = collar_breaches(state.limits, seen.price, reference, state.symbols) if off_collar.any() else ()
    per_price = np.array(state.multipliers) / seen.equity_for_exposure
    unit = seen.price * per_price
    # A fall through the collar makes no room: beside what is added, the position counts at the price before.
    unit_added = np.where(off_collar, np.maximum(seen.price, reference) * per_price, unit)
    return _Valued(unit, unit_added, gross_of(seen.quantity, unit), off_collar, breaches)


def _state_after(state: GuardState, seen: Inputs, valued: _Valued) -> tuple[GuardState, tuple[RiskEvent, ...], float]:
    """Return the stricter state, its events, and the share of what is held that a cut in this decision leaves."""
    breaker, tripped = breakers.update(state.breaker, seen.equity, gross=valued.gross)
    if seen.alarm:
        breaker, alarmed = breakers.alarm(breaker, seen.alarm, gross=valued.gross)
        tripped += alarmed
    # A day begins where the clock has passed into one: its loss counts from the last equity of the day before.
    day = day_of(state.limits, seen.clock_ns)
    day_equity = state.equity if day > state.day else state.day_equity
    loss = daily_loss_breach(state.limits, day_equity, seen.equity)
    loses_now = loss is not None and breaker.trading is TradingState.ACTIVE
    if seen.faults or loses_now:
        breaker = replace(breaker, trading=max(breaker.trading, TradingState.REDUCING))
    after = replace(state, breaker=breaker, clock_ns=seen.clock_ns, day=max(day, state.day), day_equity=day_equity)
    events = [event_of_breaker(after, one) for one in tripped]
    if seen.faults:
        events.append(event(after, "input_unknown", "; ".join(seen.faults)))
    if loss is not None and loses_now:
        events.append(event_of_breach(after, loss))
    share = (
        1.0
        if breaker.level == state.breaker.level
        else CAP_FRACTIONS[breaker.level] / CAP_FRACTIONS[state.breaker.level]
    )
    return after, tuple(events), share


def _permit(state: GuardState, seen: Inputs, valued: _Valued, share: float) -> tuple[Vector, tuple[RiskEvent, ...]]:
    """Return the quantities that may be held next, and why they are not those asked for."""
    known = np.isfinite(seen.quantity)
    quantity = np.where(known, seen.quantity, 0.0)
    kept = np.where(known, kept_part(quantity, seen.target), 0.0)
    if state.trading is TradingState.HALTED:
        flat = np.zeros(len(quantity))
        return flat, _overruled(state, seen, valued, flat, (), "HALTED")
    target, breaches = kept, tuple[Breach, ...]()
    why = "the cut" if share < 1.0 else state.trading.name
    if share == 1.0 and state.trading is TradingState.ACTIVE:
        target, breaches = _askable(state, seen, valued, quantity, kept)
    gross_max = state.gross_cap
    if share < 1.0:
        gross_max = min(gross_max, share * valued.gross) if np.isfinite(valued.gross) else gross_max
        if seen.faults:  # half of every quantity is half of the book, whatever the prices are
            kept = target = np.where(np.abs(kept) > share * np.abs(quantity), share * quantity, kept)
    room = Room(
        valued.unit,
        valued.unit_added,
        gross_max,
        state.limits.net_exposure_max,
        instrument_cap(state.limits, seen.adverse_move),
    )
    permitted = within(room, kept, target)
    return permitted, _overruled(state, seen, valued, permitted, breaches, why)


def _askable(
    state: GuardState, seen: Inputs, valued: _Valued, quantity: Vector, kept: Vector
) -> tuple[Vector, tuple[Breach, ...]]:
    """Return the targets less the additions that may not be sent at all, and the limits of orders that they break."""
    target = seen.target
    breaches = list(valued.breaches)
    repeated, duplicates = _duplicates(state, seen, kept)
    breaches.extend(duplicates)
    too_risky = value_at_risk_breach(state.limits, seen.value_at_risk)
    if too_risky is not None:
        breaches.append(too_risky)
        return kept, tuple(breaches)
    target = np.where(valued.off_collar | repeated, kept, target)
    messages = sum(moment > seen.clock_ns - NS_PER_MINUTE for moment in state.message_ns)
    through, spent = orders_let_through(
        state.limits, quantity, kept, target, seen.correlation, messages=messages, symbols=state.symbols
    )
    return np.where(through, target, kept), (*breaches, *spent)


def _duplicates(state: GuardState, seen: Inputs, kept: Vector) -> tuple[NDArray[np.bool_], list[Breach]]:
    """Find the additions that were sent already: the same target from the same position, within the window."""
    window_ms = float(state.limits.duplicate_window_ms)
    repeated, breaches = np.zeros(len(kept), np.bool_), []
    sent_ns = {(one.symbol, one.quantity, one.target): one.clock_ns for one in state.sent}
    for i in where_true(seen.target != kept):
        moment = sent_ns.get((state.symbols[i], float(seen.quantity[i]), float(seen.target[i])))
        if moment is None:
            continue
        age_ms = (seen.clock_ns - moment) / NS_PER_MS
        if age_ms <= window_ms:
            repeated[i] = True
            breaches.append(Breach("duplicate_window_ms", age_ms, window_ms, state.symbols[i]))
    return repeated, breaches


def _overruled(
    state: GuardState, seen: Inputs, valued: _Valued, permitted: Vector, breaches: tuple[Breach, ...], why: str
) -> tuple[RiskEvent, ...]:
    """Say which limits the asked book breaks, beside those of its orders, and that it was not permitted as asked."""
    if not seen.faults:  # a book that cannot be valued breaks no limit that could be named
        exposure, cap = seen.target * valued.unit, state.gross_cap
        breaches += book_breaches(
            state.limits, exposure, seen.adverse_move, seen.correlation, state.symbols, gross_cap=cap
        )
    events = tuple(event_of_breach(state, breach) for breach in breaches)
    if np.array_equal(permitted, seen.target):
        return events
    reason = why if why != "ACTIVE" else ", ".join(sorted({breach.limit for breach in breaches}))
    asked, allowed = gross_of(seen.target, valued.unit), gross_of(permitted, valued.unit)
    return (*events, overruled(state, reason, asked, allowed))


def _remember(state: GuardState, seen: Inputs, permitted: Vector) -> GuardState:
    """Return the state with what the next decision is compared with."""
    window_ns = state.limits.duplicate_window_ms * NS_PER_MS
    sent = [one for one in state.sent if one.clock_ns >= seen.clock_ns - window_ns]
    for i in where_true(permitted != kept_part(seen.quantity, permitted)):
        sent.append(Sent(state.symbols[i], float(seen.quantity[i]), float(seen.target[i]), seen.clock_ns))
    messages = [moment for moment in state.message_ns if moment > seen.clock_ns - NS_PER_MINUTE]
    messages += [seen.clock_ns] * int(np.count_nonzero(permitted != seen.quantity))
    return replace(
        state,
        equity=seen.equity if seen.equity_is_usable else state.equity,
        prices=tuple(seen.price.tolist()),
        sent=tuple(sent),
        message_ns=tuple(messages[-state.limits.messages_per_minute_max :]),
        revision=state.revision + 1,
    )
