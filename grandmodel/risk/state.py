"""What the system may do: trade, only reduce, or stand flat. Down by rule, up only by a named person."""

from __future__ import annotations

import math
from enum import IntEnum


class TradingState(IntEnum):
    """Ordered by severity, so that ``max`` gives the stricter of two."""

    ACTIVE = 0
    REDUCING = 1  # only decisions that reduce risk
    HALTED = 2  # flat


def fail_closed(state: TradingState, *risk_numbers: float) -> TradingState:
    """Return ``state``, or REDUCING where that is stricter and any of ``risk_numbers`` is not finite."""
    if all(math.isfinite(number) for number in risk_numbers):
        return state
    return max(state, TradingState.REDUCING)


def permitted_position(state: TradingState, gross_cap: float, position: float, target: float) -> float:
    """Return the position that may be held next, given the present one and the one asked for.

    A move that reduces risk always passes; a position above ``gross_cap`` is cut to it whatever is asked for.

    Args:
        state: HALTED gives 0.0; REDUCING gives nothing beyond the present position and never the other side.
        gross_cap: largest absolute position, not negative.
        position: held now; not finite gives 0.0, for nothing else is known to reduce it.
        target: asked for; not finite stands for "keep".
    """
    if state is TradingState.HALTED or not math.isfinite(position) or not math.isfinite(gross_cap):
        return 0.0
    if not math.isfinite(target):
        target = position
    if state is TradingState.REDUCING:
        target = min(max(target, min(position, 0.0)), max(position, 0.0))
    return min(max(target, -gross_cap), gross_cap)
