"""Slow, obvious twin of ``admission.py``: one instrument after another, and the share of additions by bisection."""

from __future__ import annotations

from collections.abc import Sequence

from grandmodel.core.config import RiskLimits

BISECTIONS = 60


def kept_part(quantity: float, target: float) -> float:
    """Return what a target leaves of one position."""
    if quantity > 0:
        return min(quantity, max(target, 0.0))
    return max(quantity, min(target, 0.0))


def orders_let_through(
    limits: RiskLimits,
    quantity: Sequence[float],
    kept: Sequence[float],
    target: Sequence[float],
    correlation: Sequence[Sequence[float]],
    messages: int,
) -> list[bool]:
    """Say which additions may be sent, first come first served."""
    n = len(quantity)
    next_held = list(kept)
    for i in range(n):
        if kept[i] != quantity[i]:
            messages += 1
    through = [False] * n
    for i in range(n):
        if target[i] == kept[i]:
            continue
        partners = [j for j in range(n) if j != i and next_held[j] != 0]
        twice = [j for j in partners if correlation[i][j] * target[i] * next_held[j] > 0]
        if any(abs(correlation[i][j]) > limits.correlation_max for j in twice):
            continue
        if next_held[i] == 0 and len(partners) >= limits.positions_max:
            continue
        now = messages + 1 if kept[i] == quantity[i] else messages
        if now > limits.messages_per_minute_max:
            continue
        messages = now
        through[i] = True
        next_held[i] = target[i]
    return through


def within(
    unit: Sequence[float],
    unit_added: Sequence[float],
    gross_max: float,
    net_max: float,
    instrument_max: Sequence[float],
    kept: Sequence[float],
    target: Sequence[float],
) -> list[float]:
    """Return the quantities that fit, the share of the additions found by bisection."""

    def gross(quantities: Sequence[float]) -> float:
        return sum(abs(q) * u for q, u in zip(quantities, unit_added, strict=True))

    def net(quantities: Sequence[float]) -> float:
        return abs(sum(q * u for q, u in zip(quantities, unit_added, strict=True)))

    gross_kept = sum(abs(q) * u for q, u in zip(kept, unit, strict=True))
    if gross_kept > gross_max:
        return [q * gross_max / gross_kept for q in kept]
    clipped = []
    for k, t, u, most in zip(kept, target, unit_added, instrument_max, strict=True):
        allowed = max(abs(k), most / u)
        clipped.append(min(max(t, -allowed), allowed))

    def at(share: float) -> list[float]:
        return [k + share * (c - k) for k, c in zip(kept, clipped, strict=True)]

    def fits(quantities: Sequence[float]) -> bool:
        return gross(quantities) <= gross_max and net(quantities) <= max(net_max, net(kept))

    low, high = 0.0, 1.0
    if gross(kept) > gross_max:  # only by the prices in doubt
        return list(kept)
    if fits(at(high)):
        return at(high)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(at(middle)) else (low, middle)
    return at(low)
