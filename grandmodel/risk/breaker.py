"""The drawdown breaker: at each level the gross cap falls and stays down until a named person resets it.

======== ==================== ============================ =========
level    drawdown from peak   gross cap                    state
======== ==================== ============================ =========
0        below 10 %           base cap                     ACTIVE
1        10 %, or an alarm    half of the base cap         ACTIVE
2        15 %                 a quarter                    ACTIVE
3        20 %                 0, all positions closed      HALTED
======== ==================== ============================ =========

The levels are limits in ``configs/``. A cut is a cut of what is held: told the gross held, the cap that stays is at
most that fraction of it, so that a book that used a third of its cap does not grow back to half of it. A flat book
takes the fraction of the cap, for half of nothing would be a halt; so does one that holds a residue of fills or of
rounding (``DUST_FRAC`` of the cap). Equity that is not a number leaves the cap where it
is and goes to REDUCING. State and level only ever get stricter between resets, so an alarm that comes twice cuts once.
Pure functions over a frozen state that survives a restart as JSON.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from grandmodel.core.config import BreakerLimits
from grandmodel.core.errors import ConfigError
from grandmodel.risk.state import TradingState, permitted_position

CAP_FRACTIONS = (1.0, 0.5, 0.25, 0.0)
HALT_LEVEL = 3
DUST_FRAC = 1e-6  # of the gross cap; less than one contract of any book


@dataclass(frozen=True)
class BreakerState:
    """All that the breaker remembers."""

    limits: BreakerLimits
    base_cap: float  # gross cap at level 0, as a multiple of the risk budget
    peak_equity: float  # highest equity since the start or the last reset
    level: int = 0
    trading: TradingState = TradingState.ACTIVE
    kept_cap: float = math.inf  # what the cuts left of the gross that was held; infinite where nothing was cut

    @property
    def gross_cap(self) -> float:
        """Return the largest absolute position allowed now."""
        return min(self.base_cap * CAP_FRACTIONS[self.level], self.kept_cap)

    def permits(self, position: float, target: float) -> float:
        """Return the position that may be held next; see ``permitted_position``."""
        return permitted_position(self.trading, self.gross_cap, position, target)

    def to_dict(self) -> dict[str, Any]:
        """Return the state as plain data for JSON."""
        return {
            "limits": self.limits.model_dump(),
            "base_cap": self.base_cap,
            "peak_equity": self.peak_equity,
            "level": self.level,
            "trading": self.trading.name,
            "kept_cap": self.kept_cap if math.isfinite(self.kept_cap) else None,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> BreakerState:
        """Read the state back; equal to the one that was written. Raises KeyError on an unknown trading state."""
        return cls(
            BreakerLimits.model_validate(record["limits"]),
            float(record["base_cap"]),
            float(record["peak_equity"]),
            int(record["level"]),
            TradingState[record["trading"]],
            math.inf if record.get("kept_cap") is None else float(record["kept_cap"]),
        )


@dataclass(frozen=True)
class BreakerEvent:
    """Something a person may be asked about later."""

    kind: str  # "cut", "halt", "alarm_while_latched", "equity_unknown" or "reset"
    level: int  # after the event
    drawdown_frac: float | None  # None where it could not be computed or did not matter
    gross_before: float  # cap before the event, or the gross held where that was given
    gross_after: float  # what may be held right after; a cut leaves at most half
    gross_cap: float  # the cap that stays
    trading: TradingState
    reason: str
    actor: str = "breaker"


Step = tuple[BreakerState, tuple[BreakerEvent, ...]]


def armed(equity: float, limits: BreakerLimits, *, base_cap: float = 1.0) -> BreakerState:
    """Return an armed breaker whose peak is ``equity``.

    Raises:
        ConfigError: equity or cap is not positive and finite, or the limits do not rise from half to quarter to halt.
    """
    for name, value in (("equity", equity), ("base cap", base_cap)):
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"breaker {name}", "must be positive and finite", value)
    levels = (limits.half_drawdown_frac, limits.quarter_drawdown_frac, limits.halt_drawdown_frac)
    if not levels[0] < levels[1] < levels[2]:
        raise ConfigError("breaker limits", "must rise from half to quarter to halt", levels)
    return BreakerState(limits, base_cap, equity)


def update(state: BreakerState, equity: float, *, gross: float | None = None) -> Step:
    """Take in the newest equity and return the new state and what happened.

    Args:
        state: the breaker before.
        equity: in any unit, the same throughout. Not finite: REDUCING, with the cap held. Zero or less: HALTED.
        gross: absolute position held now; given it, a cut's ``gross_after`` is at most half of it.
    """
    if not math.isfinite(equity):
        return _equity_unknown(state, equity)
    peak = max(state.peak_equity, equity)
    drawdown = 1.0 - equity / peak
    limits = state.limits
    # A drawdown of exactly a limit trips it, also where 1 - 0.9 falls short of 0.1 by rounding.
    reached = sum(
        drawdown >= limit - 1e-12
        for limit in (limits.half_drawdown_frac, limits.quarter_drawdown_frac, limits.halt_drawdown_frac)
    )
    if peak > state.peak_equity:
        state = replace(state, peak_equity=peak)
    if reached <= state.level:
        return state, ()
    return _cut(state, reached, drawdown, gross, f"drawdown {drawdown:.4f}")


def alarm(state: BreakerState, reason: str, *, gross: float | None = None) -> Step:
    """Cut to half on an alarm from elsewhere, such as a correlation shock; while latched it does not halve again."""
    if state.level == 0:
        return _cut(state, 1, None, gross, reason)
    held = state.gross_cap if gross is None or not math.isfinite(gross) else min(gross, state.gross_cap)
    event = BreakerEvent("alarm_while_latched", state.level, None, held, held, state.gross_cap, state.trading, reason)
    return state, (event,)


def reset(state: BreakerState, equity: float, *, actor: str, reason: str) -> Step:
    """Arm the breaker anew at ``equity``; the only way up, and only for a named person with a reason.

    Raises:
        ConfigError: actor or reason is empty, or equity is not positive and finite.
    """
    if not actor.strip() or not reason.strip():
        raise ConfigError("breaker reset", "actor and reason must be named", (actor, reason))
    fresh = armed(equity, state.limits, base_cap=state.base_cap)
    event = BreakerEvent(
        "reset", 0, 0.0, state.gross_cap, fresh.gross_cap, fresh.gross_cap, fresh.trading, reason, actor
    )
    return fresh, (event,)


def _cut(state: BreakerState, level: int, drawdown_frac: float | None, gross: float | None, reason: str) -> Step:
    trading = TradingState.HALTED if level == HALT_LEVEL else state.trading
    before = state.gross_cap if gross is None or not math.isfinite(gross) else gross
    share = CAP_FRACTIONS[level] / CAP_FRACTIONS[state.level]
    kept = before * share
    # A number, not a share of the base cap: a later change of that limit must not loosen what a cut has left.
    kept_cap = min(state.gross_cap * share, kept if before > DUST_FRAC * state.gross_cap else math.inf)
    after = replace(state, level=level, trading=max(state.trading, trading), kept_cap=kept_cap)
    event = BreakerEvent(
        "halt" if level == HALT_LEVEL else "cut",
        level,
        drawdown_frac,
        before,
        min(kept, after.gross_cap),
        after.gross_cap,
        after.trading,
        reason,
    )
    return after, (event,)


def _equity_unknown(state: BreakerState, equity: float) -> Step:
    if state.trading is not TradingState.ACTIVE:
        return state, ()
    after = replace(state, trading=TradingState.REDUCING)
    cap = after.gross_cap
    return after, (
        BreakerEvent("equity_unknown", state.level, None, cap, cap, cap, after.trading, f"equity is {equity}"),
    )
