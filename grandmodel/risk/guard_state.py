"""All that the guard remembers between two decisions, and the few ways to change it other than by deciding.

Plain numbers in tuples, so that two states compare and a state survives a restart as JSON. A state begins by
``opened``, gets looser by ``reset`` and other limits by ``adopt_limits``; all else only ever makes it stricter.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from grandmodel.core.config import BreakerLimits, RiskLimits
from grandmodel.core.errors import ConfigError
from grandmodel.risk import breaker as breakers
from grandmodel.risk.breaker import HALT_LEVEL, BreakerEvent, BreakerState
from grandmodel.risk.limits import LIMIT_CHANGE, Breach, LimitLedger, limits_of_line, line_of_ledger
from grandmodel.risk.state import TradingState

NS_PER_HOUR = 3_600_000_000_000


@dataclass(frozen=True)
class Sent:
    """An order that added risk: in what, what was held, what was asked for, and when."""

    symbol: str
    quantity: float
    target: float
    clock_ns: int


@dataclass(frozen=True)
class GuardState:
    """What the guard remembers of a book of N instruments."""

    symbols: tuple[str, ...]
    multipliers: tuple[float, ...]  # money, in the currency of the equity, per point of price and unit of quantity
    limits: RiskLimits
    breaker: BreakerState
    clock_ns: int  # of the last decision
    day: int  # days since 1970-01-01, by ``day_start_utc_hour``
    day_equity: float  # what the daily loss counts from: the equity at the end of the day before
    equity: float  # last one that was known
    prices: tuple[float, ...]  # last ones that were known
    sent: tuple[Sent, ...] = ()  # within the window in which none of them may be sent again, oldest first
    message_ns: tuple[int, ...] = ()  # when the orders of the last minute were sent, oldest first
    limits_sequence: int = -1  # of the ledger line that set the limits; -1 where the configuration did
    limits_line_sha256: str = ""  # its hash, by which its ledger is known again
    revision: int = 0  # decisions and changes so far

    @property
    def trading(self) -> TradingState:
        """Return what the system may do."""
        return self.breaker.trading

    @property
    def gross_cap(self) -> float:
        """Return the largest gross exposure allowed now, money over equity."""
        return min(self.breaker.gross_cap, self.limits.gross_exposure_max)

    def to_dict(self) -> dict[str, Any]:
        """Return the state as plain data for JSON."""
        return {
            **{name: getattr(self, name) for name in _PLAIN},
            "limits": self.limits.model_dump(),
            "breaker": self.breaker.to_dict(),
            "sent": [asdict(one) for one in self.sent],
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> GuardState:
        """Read the state back; equal to the one that was written. Raises KeyError, TypeError or ValueError."""
        plain: dict[str, Any] = {
            name: tuple(record[name]) if isinstance(record[name], list) else record[name] for name in _PLAIN
        }
        state = cls(
            **plain,
            limits=RiskLimits.model_validate(record["limits"]),
            breaker=BreakerState.from_dict(record["breaker"]),
            sent=tuple(Sent(**one) for one in record["sent"]),
        )
        _check(state)
        return state


_PLAIN = (
    "symbols", "multipliers", "clock_ns", "day", "day_equity", "equity", "prices", "message_ns", "limits_sequence",
    "limits_line_sha256", "revision",
)  # fmt: skip


@dataclass(frozen=True)
class RiskEvent:
    """Something a person may be asked about later; one line of the journal."""

    # begin, decided, cut, halt, alarm_while_latched, input_unknown, limit, overruled, reset, limit_change ...
    kind: str
    clock_ns: int
    reason: str
    trading: str  # after the event
    gross_cap: float  # after it
    limit: str = ""  # name, value and bound of the limit, where one was broken
    symbol: str = ""
    value: float | None = None
    bound: float | None = None
    gross_before: float | None = None
    gross_after: float | None = None
    actor: str = "guard"

    def to_dict(self) -> dict[str, Any]:
        """Return the event as plain data for JSON; a number that is not finite becomes None."""
        return {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in asdict(self).items()
        }


Change = tuple[GuardState, tuple[RiskEvent, ...]]


def opened(
    symbols: Sequence[str],
    multipliers: Sequence[float],
    prices: Sequence[float],
    equity: float,
    limits: RiskLimits,
    breaker: BreakerLimits,
    clock_ns: int,
) -> GuardState:
    """Return the state of a book that has not decided yet; ``prices`` are what the first ones are compared with.

    Raises:
        ConfigError: no instrument, columns of unequal length, a number that is not positive and finite, or a clock
            that does not say whole nanoseconds.
    """
    clock_ns = _whole(clock_ns)
    state = GuardState(
        symbols=tuple(symbols),
        multipliers=tuple(map(float, multipliers)),
        limits=limits,
        breaker=breakers.armed(equity, breaker, base_cap=limits.gross_exposure_max),
        clock_ns=clock_ns,
        day=day_of(limits, clock_ns),
        day_equity=equity,
        equity=equity,
        prices=tuple(map(float, prices)),
    )
    _check(state)
    return state


def reset(state: GuardState, equity: float, clock_ns: int, *, actor: str, reason: str) -> Change:
    """Arm everything anew at ``equity``; the only way up, and only for a named person with a reason.

    The daily loss counts from ``equity`` too: a reset that the same loss undoes at once would be none. The clock may go
    back, for one that once ran ahead is mended by this alone.

    Raises:
        ConfigError: actor or reason is empty, equity is not positive and finite, or the clock does not say whole
            nanoseconds.
    """
    clock_ns = _whole(clock_ns)
    breaker, events = breakers.reset(state.breaker, equity, actor=actor, reason=reason)
    after = replace(
        state,
        breaker=breaker,
        equity=equity,
        clock_ns=clock_ns,
        day=day_of(state.limits, clock_ns),
        day_equity=equity,
        sent=(),
        message_ns=tuple(moment for moment in state.message_ns if moment <= clock_ns),
        revision=state.revision + 1,
    )
    return after, tuple(event_of_breaker(after, one) for one in events)


def adopt_limits(state: GuardState, ledger: LimitLedger | None, sequence: int, clock_ns: int) -> Change:
    """Put the limits of a ledger line in force. A breaker that has cut stays where it is, whatever the new base cap.

    Args:
        state: before.
        ledger: in which the line stands, and the line adopted last. None is refused.
        sequence: of the line; later than that of the line adopted last, so that an old change is not made again.
        clock_ns: UTC, not before the last decision.

    Raises:
        LedgerError, ConfigError: see ``line_of_ledger`` and ``limits_of_line``, or the clock is impossible; the state
            then stays as it is.
    """
    clock_ns = _whole(clock_ns)
    if clock_ns < state.clock_ns:
        raise ConfigError("limit change clock", f"must not run backwards, behind {state.clock_ns}", clock_ns)
    line = line_of_ledger(ledger, sequence, adopted=(state.limits_sequence, state.limits_line_sha256))
    limits, breaker_limits = limits_of_line(state.limits, state.breaker.limits, line)
    breakers.armed(state.equity, breaker_limits)  # refuses levels that do not rise
    breaker = replace(state.breaker, limits=breaker_limits, base_cap=limits.gross_exposure_max)
    after = replace(
        state,
        limits=limits,
        limits_sequence=sequence,
        limits_line_sha256=line["hash"],
        breaker=breaker,
        clock_ns=clock_ns,
        revision=state.revision + 1,
    )
    moves = ", ".join(f"{name} {one['from']} -> {one['to']}" for name, one in line["subject"]["changed"].items())
    said = f"{line['reason']}: {moves} (ledger line {sequence}, {line['hash'][:12]})"
    return after, (event(after, LIMIT_CHANGE, said, actor=str(line["actor"])),)


def begun(state: GuardState, *, actor: str, reason: str) -> RiskEvent:
    """Return the first event of a book. Raises ConfigError where actor or reason is empty."""
    if not actor.strip() or not reason.strip():
        raise ConfigError("begin of a book", "actor and reason must be named", (actor, reason))
    return event(state, "begin", reason, actor=actor)


def decided(state: GuardState) -> RiskEvent:
    """Return what stands in the journal for a decision without an event."""
    return event(state, "decided", "permitted as asked")


def halted(state: GuardState, kind: str, reason: str) -> Change:
    """Return the state halted, as after the last level of the breaker."""
    breaker = replace(state.breaker, level=HALT_LEVEL, trading=TradingState.HALTED, kept_cap=0.0)
    after = replace(state, breaker=breaker, revision=state.revision + 1)
    return after, (event(after, kind, reason),)


def reduced(state: GuardState, kind: str, reason: str) -> Change:
    """Return the state at REDUCING, or HALTED where it was."""
    trading = max(state.trading, TradingState.REDUCING)
    after = replace(state, breaker=replace(state.breaker, trading=trading), revision=state.revision + 1)
    return after, (event(after, kind, reason),)


def event_of_breach(state: GuardState, breach: Breach) -> RiskEvent:
    """Return what a broken limit is called in the journal."""
    name = f"{breach.symbol} {breach.limit}".strip()
    said = f"{name} is {breach.value:.6g}, the limit {breach.bound:.6g}"
    return event(state, "limit", said, **vars(breach))


def event_of_breaker(state: GuardState, done: BreakerEvent) -> RiskEvent:
    """Return what the breaker did, as the journal has it; ``value`` is the drawdown, where that was the cause."""
    gross = {"gross_before": done.gross_before, "gross_after": done.gross_after}
    return event(state, done.kind, done.reason, actor=done.actor, value=done.drawdown_frac, **gross)


def overruled(state: GuardState, reason: str, asked_gross: float, permitted_gross: float) -> RiskEvent:
    """Return the event of a decision that was not permitted as asked."""
    return event(state, "overruled", reason, gross_before=asked_gross, gross_after=permitted_gross)


def day_of(limits: RiskLimits, clock_ns: int) -> int:
    """Return the day of a moment, as days since 1970-01-01; it begins at ``day_start_utc_hour``."""
    return (clock_ns - limits.day_start_utc_hour * NS_PER_HOUR) // (24 * NS_PER_HOUR)


def event(state: GuardState, kind: str, reason: str, **more: Any) -> RiskEvent:
    """Return an event of ``state``, at its clock; ``more`` are fields of ``RiskEvent``."""
    return RiskEvent(kind, state.clock_ns, reason, state.trading.name, state.gross_cap, **more)


def _check(state: GuardState) -> None:
    lengths = {len(state.symbols), len(state.multipliers), len(state.prices)}
    if len(lengths) != 1 or not state.symbols or len(set(state.symbols)) != len(state.symbols):
        rule = "needs instruments with different names, and one multiplier and price for each"
        raise ConfigError("guard state", rule, (state.symbols, state.multipliers, state.prices))
    for name in ("multipliers", "prices", "equity", "day_equity"):
        value = getattr(state, name)
        if not all(math.isfinite(one) and one > 0 for one in (value if isinstance(value, tuple) else (value,))):
            raise ConfigError(f"guard state {name}", "must be positive and finite", value)


def _whole(clock_ns: int) -> int:
    try:
        return operator.index(clock_ns)
    except TypeError as error:
        raise ConfigError("clock", "must say whole nanoseconds, UTC", clock_ns) from error
