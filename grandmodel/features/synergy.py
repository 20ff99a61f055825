"""Synergy: a rule over the signals of both clocks, pure and replayable; optional, no column of the teams.

Three kinds of signals, each with a direction:

- mlmi: a bar on which ``mlmi_signal`` is not 0, known at the close of the 30-minute bar;
- nwrqk: a turn of ``nwrqk_slope`` from falling to rising or back, known at the close of the 30-minute bar;
- fvg: a fair value gap is born, known at the close of the 5-minute bar that completes it.

Of each kind the latest signal counts, whatever its direction. At a 5-minute close at which a signal arrives, the three
make a pattern when they have one direction, the first closed at most nine 5-minute bars ago (ten bars, fifty minutes,
by the clock: a break counts), and no pattern fired on the five bars before, by the clock as well. Signals of one time
stand in the order in which the agents act: mlmi, nwrqk, fvg. A pattern uses its signals up; during the cooldown
signals are remembered. The order gives the type; fvg first is none::

    1  mlmi, nwrqk, fvg        3  nwrqk, fvg, mlmi
    2  mlmi, fvg, nwrqk        4  nwrqk, mlmi, fvg
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.bars import NS_PER_MINUTE, Bars
from grandmodel.core.config import FeatureParams
from grandmodel.core.errors import DataError
from grandmodel.features import kernels_synergy as k
from grandmodel.features.columns import STRATEGIC_COLUMNS, TIE_FRAC, check_bars
from grandmodel.features.kernels import Floats
from grandmodel.features.kernels_gaps import gap_births

SPAN_BARS: Final = 10
COOLDOWN_BARS: Final = 5
BAR_NS: Final = 5 * NS_PER_MINUTE
SPAN_NS: Final = (SPAN_BARS - 1) * BAR_NS
"""From the close of the first bar to that of the last."""
COOLDOWN_NS: Final = COOLDOWN_BARS * BAR_NS
SYNERGY_COLUMNS: Final = ("synergy_type_1", "synergy_type_2", "synergy_type_3", "synergy_type_4")

_SIGNAL, _SLOPE = STRATEGIC_COLUMNS.index("mlmi_signal"), STRATEGIC_COLUMNS.index("nwrqk_slope")


@dataclass(frozen=True, eq=False, slots=True)
class Synergy:
    """The patterns of one instrument, per 5-minute bar."""

    kind: NDArray[np.int8]  # [T], 1..4, 0 without a pattern
    direction: NDArray[np.int8]  # [T], 1 long, -1 short, 0 without a pattern


def strategic_signals(columns: Floats) -> NDArray[np.int8]:
    """Return int8[S, 2], the signals of mlmi and nwrqk, from the strategic columns float64[S, 13]; 0 where NaN."""
    mlmi = np.nan_to_num(np.sign(columns[:, _SIGNAL])).astype(np.int8)
    slope = np.ascontiguousarray(columns[:, _SLOPE], dtype=np.float64)
    return np.column_stack([mlmi, k.turns(slope, TIE_FRAC)])


def gap_signals(bars: Bars, params: FeatureParams) -> NDArray[np.int8]:
    """Return int8[T]: 1 where a 5-minute bar completes a bullish gap, -1 a bearish one, else 0; 0 until warm.

    Raises:
        DataError: the bars break a rule of ``columns.check_bars``.
    """
    check_bars(bars)
    prices = (bars.open, bars.high, bars.low, bars.close)
    return gap_births(*prices, params.gap_lookback_bars, params.gap_body_multiple, TIE_FRAC)


def find_synergy(
    tactical: Bars, strategic_close_ns: NDArray[np.int64], strategic_columns: Floats, params: FeatureParams
) -> Synergy:
    """Find the patterns of one instrument.

    Row t depends on the 5-minute bars 0..t and on those 30-minute bars alone that have closed by ``close_ns[t]``.

    Args:
        tactical: 5-minute bars.
        strategic_close_ns: int64[S], closes of the 30-minute bars.
        strategic_columns: float64[S, 13], as ``strategic_features`` gives them.
        params: windows, in bars.

    Raises:
        DataError: closes do not increase, lengths disagree, or bars break a rule of ``columns.check_bars``.
    """
    _check_closes(f"{tactical.symbol} 5-minute close_ns", tactical.close_ns)
    _check_closes(f"{tactical.symbol} 30-minute close_ns", strategic_close_ns)
    if strategic_columns.shape != (len(strategic_close_ns), len(STRATEGIC_COLUMNS)):
        shape = (len(strategic_close_ns), len(STRATEGIC_COLUMNS))
        raise DataError(f"{tactical.symbol} strategic columns", f"must have shape {shape}", strategic_columns.shape)
    gap, signals = gap_signals(tactical, params), strategic_signals(strategic_columns)
    rows = k.synergy_rows(tactical.close_ns, gap, strategic_close_ns, signals, SPAN_NS, COOLDOWN_NS)
    return Synergy(np.ascontiguousarray(rows[:, 0]), np.ascontiguousarray(rows[:, 1]))


def synergy_columns(synergy: Synergy) -> Floats:
    """Return float64[T, 4], the direction in the column of its type, as optional features; never NaN."""
    kinds = np.arange(1, len(SYNERGY_COLUMNS) + 1)
    return np.where(synergy.kind[:, None] == kinds, synergy.direction[:, None], 0).astype(np.float64)


def synergy_mask(synergy: Synergy, hold_bars: int) -> NDArray[np.bool_]:
    """Return bool[T, 3], which of (short, flat, long) is allowed: flat always, a side while a pattern of it is fresh.

    Args:
        synergy: the patterns.
        hold_bars: for how many bars, its own included, a pattern allows its side, unless one of the other side follows.

    Raises:
        DataError: ``hold_bars`` is below 1.
    """
    if hold_bars < 1:
        raise DataError("synergy hold_bars", "must be at least 1", hold_bars)
    row = np.arange(len(synergy.kind))
    last = np.maximum.accumulate(np.where(synergy.kind > 0, row, -1))
    fresh = (last >= 0) & (row - last < hold_bars)
    side = np.where(fresh, synergy.direction[np.maximum(last, 0)], 0)
    return np.column_stack([side < 0, np.ones(len(row), np.bool_), side > 0])


class SynergyStream:
    """The same rule, one closed bar at a time; O(1) per bar."""

    def __init__(self, symbol: str) -> None:
        """Start before the first bar; ``symbol`` is for messages."""
        self.symbol = symbol
        self._memory = k.new_memory()
        # Last 5-minute close, last 30-minute close, last side of the slope.
        self._clocks = np.array([-(2**63), -(2**63), 0], dtype=np.int64)
        self._waiting: list[tuple[int, int, int]] = []  # close and signals of 30-minute bars not yet due

    def push_strategic(self, close_ns: int, row: Floats) -> None:
        """Take the row float64[13] of a 30-minute bar; give it before the 5-minute bar that closes with it.

        Raises:
            DataError: the row is misshapen, or the bar closes no later than a bar given before; nothing is changed.
        """
        if row.shape != (len(STRATEGIC_COLUMNS),):
            raise DataError(f"{self.symbol} strategic row", f"must have shape {(len(STRATEGIC_COLUMNS),)}", row.shape)
        if close_ns <= max(int(self._clocks[0]), int(self._clocks[1])):
            do = "Give 30-minute bars in order, each before the 5-minute bar that closes with it"
            raise DataError(f"{self.symbol} 30-minute close_ns", "must be later than all bars before", close_ns, do)
        side, before = k.slope_side(float(row[_SLOPE]), TIE_FRAC), int(self._clocks[2])
        turn = side if before != 0 and side != before else 0
        self._clocks[1], self._clocks[2] = close_ns, side or before
        self._waiting.append((close_ns, k.slope_side(float(row[_SIGNAL]), 0.0), turn))

    def push_tactical(self, close_ns: int, gap: int) -> tuple[int, int]:
        """Take the gap signal (1, -1 or 0) of a 5-minute bar; return (type 0..4, direction -1, 0, 1) at its close.

        Raises:
            DataError: the bar closes no later than the one before, or ``gap`` is no direction; nothing is changed.
        """
        if close_ns <= self._clocks[0]:
            raise DataError(f"{self.symbol} 5-minute close_ns", "must be later than the bar before", close_ns)
        if gap not in (-1, 0, 1):
            raise DataError(f"{self.symbol} gap signal", "must be -1, 0 or 1", gap)
        self._clocks[0] = close_ns
        arrived = False
        while self._waiting and self._waiting[0][0] <= close_ns:
            time_ns, mlmi, nwrqk = self._waiting.pop(0)
            arrived |= k.remember(self._memory, k.MLMI, mlmi, time_ns)
            arrived |= k.remember(self._memory, k.NWRQK, nwrqk, time_ns)
        arrived |= k.remember(self._memory, k.GAP, gap, close_ns)
        if not arrived:
            return 0, 0
        kind, direction = k.judge(self._memory, close_ns, SPAN_NS, COOLDOWN_NS)
        return int(kind), int(direction)

    def to_arrays(self) -> dict[str, NDArray[np.int64]]:
        """Return copies of all that is remembered; ``from_arrays`` goes on from them."""
        waiting = np.array(self._waiting, dtype=np.int64).reshape(-1, 3)
        return {"memory": self._memory.copy(), "clocks": self._clocks.copy(), "waiting": waiting}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], symbol: str) -> SynergyStream:
        """Rebuild a stream from ``to_arrays``. Raises DataError when the arrays are damaged."""
        shapes = {name: (array.dtype.name, array.ndim, array.shape[-1:]) for name, array in arrays.items()}
        wanted = {"memory": ("int64", 1, (7,)), "clocks": ("int64", 1, (3,)), "waiting": ("int64", 2, (3,))}
        if shapes != wanted:
            raise DataError(f"{symbol} synergy stream", "must hold memory [7], clocks [3], waiting [n, 3]", shapes)
        stream = cls(symbol)
        stream._memory, stream._clocks = arrays["memory"].copy(), arrays["clocks"].copy()
        stream._waiting = [(close, mlmi, nwrqk) for close, mlmi, nwrqk in arrays["waiting"].tolist()]
        return stream


def _check_closes(subject: str, close_ns: NDArray[np.int64]) -> None:
    late = np.diff(close_ns) <= 0
    if bool(late.any()):
        raise DataError(f"{subject} row {int(np.argmax(late)) + 1}", "must be later than the bar before")
