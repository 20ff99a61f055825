"""How much of what is asked for may be held: arithmetic over a book of N instruments, without any memory.

A target falls into two parts. *Kept* is what of the present position it leaves: between zero and the position, so that
it is never more risk than there is. *Added* is the rest: more of the same side, or the other side. Kept is cut only by
the gross cap; added is what all limits bite on. ``reference_guard.py`` holds the slow, obvious twins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.config import RiskLimits
from grandmodel.risk.limits import TOLERANCE, Breach, where_true

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Room:
    """What the limits leave. Exposures are money over equity."""

    unit: Vector  # [N] exposure of one unit of quantity, positive; what is kept is cut by it
    unit_added: Vector  # [N] the same, or more where the price is in doubt; what is added is limited by it
    gross_max: float
    net_max: float
    instrument_max: Vector  # [N]


def gross_of(quantity: Vector, unit: Vector) -> float:
    """Return the gross exposure of quantities float64[N]. A flat position weighs nothing, even at an infinite unit."""
    return float(np.where(quantity == 0, 0.0, np.abs(quantity) * unit).sum())


def kept_part(quantity: Vector, target: Vector) -> Vector:
    """Return what a finite target leaves of the position, float64[N]; what is asked beyond it adds risk."""
    same_side = np.sign(quantity) == np.sign(target)
    return np.where(same_side, np.copysign(np.minimum(np.abs(quantity), np.abs(target)), quantity), 0.0)


def orders_let_through(
    limits: RiskLimits,
    quantity: Vector,
    kept: Vector,
    target: Vector,
    correlation: Vector,
    *,
    messages: int,
    symbols: Sequence[str],
) -> tuple[NDArray[np.bool_], tuple[Breach, ...]]:
    """Say which additions may be sent at all, in the caller's order, and which found the minute's messages spent.

    An addition waits while another position of the same bet stands (``correlation_max``), while there are
    ``positions_max`` already, or while the messages of the last minute are spent. Orders towards zero go first and are
    never held back; where one would go on to the other side it is one message, and without room for that it ends at
    zero. What comes first in the book has the first claim.

    Args:
        limits: what holds.
        quantity: float64[N] held.
        kept: float64[N], see ``kept_part``.
        target: float64[N]; equal to ``kept`` where nothing is to be added.
        correlation: float64[N, N], finite.
        messages: sent in the last minute before this decision.
        symbols: N names.
    """
    through = np.zeros(len(quantity), np.bool_)
    related = np.abs(correlation) > limits.correlation_max
    side = np.sign(kept).tolist()
    held = len(side) - side.count(0.0)
    reduces = (kept != quantity).tolist()
    messages += sum(reduces)
    spent = []
    for i in where_true(target != kept):
        own = 1.0 if target[i] > 0 else -1.0  # also the side of what is kept, if anything is
        partners = where_true(related[i])
        twice = any(j != i and own * side[j] * correlation[i, j] > limits.correlation_max for j in partners)
        if twice or (side[i] == 0 and held >= limits.positions_max):
            continue
        with_this = messages + (not reduces[i])  # an order that changes sides is counted already
        if with_this > limits.messages_per_minute_max:
            bound = float(limits.messages_per_minute_max)
            spent.append(Breach("messages_per_minute_max", float(with_this), bound, symbols[i]))
            continue
        through[i] = True
        held += side[i] == 0
        messages = with_this
        side[i] = own
    return through, tuple(spent)


def within(room: Room, kept: Vector, target: Vector) -> Vector:
    """Return the quantities that fit into ``room``, float64[N].

    Kept shrinks in proportion, where it is more than the gross cap by itself; then nothing is added. Otherwise each
    addition is clipped to its instrument's limit, and all additions shrink alike until gross and net fit. Where what is
    kept already breaks the limit of an instrument or of the net, an addition may not make that worse.
    """
    size = np.abs(kept)
    gross_kept = gross_of(kept, room.unit)
    if not gross_kept <= room.gross_max * (1 + TOLERANCE):
        return kept * (room.gross_max / gross_kept)
    fits = np.fmax(size, room.instrument_max / room.unit_added)  # an unknown limit lets nothing be added
    clipped = np.clip(target, -fits, fits)
    more = clipped - kept
    if not more.any():
        return kept
    share = _share(room, kept, more)
    return clipped if share == 1.0 else kept + share * more


def _share(room: Room, kept: Vector, more: Vector) -> float:
    """Return the largest share in [0, 1] of ``more`` that leaves gross and net within the room."""
    gross_kept, net_kept = gross_of(kept, room.unit_added), float((kept * room.unit_added).sum())
    gross_more, net_more = gross_of(more, room.unit_added), float((more * room.unit_added).sum())
    share = 1.0
    if gross_more > 0:
        share = min(share, max(room.gross_max - gross_kept, 0.0) / gross_more)
    if net_more != 0:
        ahead = net_kept if net_more > 0 else -net_kept  # how far the net already lies in the way it would move
        share = min(share, (max(room.net_max, abs(net_kept)) - ahead) / abs(net_more))
    return share if share >= 0 else 0.0  # an overflow to NaN adds nothing
