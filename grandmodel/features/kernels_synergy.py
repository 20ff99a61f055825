"""Compiled loop of the synergy rule: three signals of one direction, their order, a cooldown.

The memory is int64[7]: time and direction of the latest signal of mlmi, nwrqk and the gaps, and the time up to which
nothing fires. Times are closes in UTC nanoseconds.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

MLMI, NWRQK, GAP = range(3)
_DIRECTION = 3
_QUIET_UNTIL = 6
_NEVER = -(2**63)


@njit(cache=True)
def new_memory() -> NDArray[np.int64]:
    """Return the memory before the first signal."""
    memory = np.zeros(7, np.int64)
    memory[_QUIET_UNTIL] = _NEVER
    return memory


@njit(cache=True)
def remember(memory: NDArray[np.int64], kind: int, direction: int, time_ns: int) -> bool:
    """Put a signal in the place of the one of its kind; return whether there was one (direction 0 is none)."""
    if direction == 0:
        return False
    memory[kind] = time_ns
    memory[_DIRECTION + kind] = direction
    return True


@njit(cache=True)
def judge(memory: NDArray[np.int64], now_ns: int, span_ns: int, cooldown_ns: int) -> tuple[int, int]:
    """Return (type 1..4, direction) when the signals in memory make a pattern now, else (0, 0); it uses them up."""
    direction = memory[_DIRECTION + MLMI]
    if direction == 0 or memory[_DIRECTION + NWRQK] != direction or memory[_DIRECTION + GAP] != direction:
        return 0, 0
    mlmi, nwrqk, gap = memory[MLMI], memory[NWRQK], memory[GAP]
    kind = _order(mlmi, nwrqk, gap)
    if kind == 0 or now_ns - min(mlmi, nwrqk) > span_ns or now_ns <= memory[_QUIET_UNTIL]:
        return 0, 0
    for field in range(_DIRECTION, _QUIET_UNTIL):
        memory[field] = 0
    memory[_QUIET_UNTIL] = now_ns + cooldown_ns
    return kind, direction


@njit(cache=True)
def _order(mlmi: int, nwrqk: int, gap: int) -> int:
    """Return the type of three times; at one time mlmi comes before nwrqk and nwrqk before the gap; 0 gap first."""
    if gap < mlmi and gap < nwrqk:
        return 0
    if mlmi <= nwrqk:
        return 1 if gap >= nwrqk else 2
    return 4 if gap >= mlmi else 3


@njit(cache=True)
def synergy_rows(
    tactical_close_ns: NDArray[np.int64],
    gap: NDArray[np.int8],
    strategic_close_ns: NDArray[np.int64],
    strategic: NDArray[np.int8],
    span_ns: int,
    cooldown_ns: int,
) -> NDArray[np.int8]:
    """Return int8[T, 2]: type and direction per five-minute bar.

    ``gap`` int8[T]; ``strategic`` int8[S, 2] with the signals of mlmi and nwrqk, seen from the first five-minute close
    on that is not before their own.
    """
    out = np.zeros((len(gap), 2), np.int8)
    memory = new_memory()
    s = 0
    for t in range(len(gap)):
        now = tactical_close_ns[t]
        arrived = False
        while s < len(strategic) and strategic_close_ns[s] <= now:
            arrived |= remember(memory, MLMI, strategic[s, 0], strategic_close_ns[s])
            arrived |= remember(memory, NWRQK, strategic[s, 1], strategic_close_ns[s])
            s += 1
        arrived |= remember(memory, GAP, gap[t], now)
        if arrived:
            out[t, 0], out[t, 1] = judge(memory, now, span_ns, cooldown_ns)
    return out


@njit(cache=True)
def slope_side(slope: float, tie: float) -> int:
    """Return the sign of ``slope``; 0 when it is NaN or within ``tie`` of 0."""
    if slope > tie:
        return 1
    return -1 if slope < -tie else 0


@njit(cache=True)
def turns(slope: NDArray[np.float64], tie: float) -> NDArray[np.int8]:
    """Return int8[T]: the new side where the slope changes between its nonzero sides, else 0."""
    out = np.zeros(len(slope), np.int8)
    last = 0
    for t in range(len(slope)):
        side = slope_side(slope[t], tie)
        if side != 0 and side != last:
            out[t] = side if last != 0 else 0
            last = side
    return out
