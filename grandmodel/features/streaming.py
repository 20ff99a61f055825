"""Streams: the same columns, one closed bar at a time, as an engine needs them.

``push`` gives for each bar the bits that ``strategic_features`` and ``tactical_features`` give on all bars so far. What
a bar costs does not grow with the history, but for the vote of mlmi, which looks at every stored cross
(about one in thirteen bars). At a roll, call ``rescale`` with new close / old close before the first bar of the new
contract: the stream then goes on as if it had been fed the ratio-adjusted series, to rounding.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.bars import Bars
from grandmodel.core.config import FeatureParams
from grandmodel.core.errors import DataError
from grandmodel.features import columns as c
from grandmodel.features import kernels_streaming as k
from grandmodel.features import kernels_streaming_tactical as tactical
from grandmodel.features import streaming_state as memory
from grandmodel.features.kernels import Floats
from grandmodel.features.kernels_gaps import BIRTH
from grandmodel.features.mmd import MmdReference
from grandmodel.features.strategic import check_tick

CHUNK_BARS = 4096


class Bar(NamedTuple):
    """One closed bar; fields as in ``Bars``."""

    start_ns: int
    close_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    price_factor: float = 1.0


def bar_at(bars: Bars, row: int) -> Bar:
    """Return row ``row`` of ``bars``."""
    return Bar(*(getattr(bars, name)[row].item() for name in Bar._fields))


class StrategicStream:
    """The 13 strategic columns of one instrument, bar by bar."""

    def __init__(self, symbol: str, params: FeatureParams, reference: MmdReference, tick_size: float) -> None:
        """Start before the first bar.

        Args:
            symbol: of the bars to come.
            params: windows, in bars.
            reference: what ``mmd_score`` compares with.
            tick_size: smallest price step, in points of the unadjusted price.

        Raises:
            ConfigError: ``tick_size`` is not finite and positive, or the kernel lag is not below its bandwidth.
        """
        check_tick(symbol, tick_size)
        self.symbol = symbol
        self._bar_minutes: int | None = None  # of the bars extended by
        self._setup = memory.strategic_setup(params, reference, tick_size)
        self._state = memory.strategic_state(self._setup, params.mmd_window_bars)
        fitted = {"reference": reference.to_dict(), "tick_size": tick_size}
        self._fingerprint = memory.fingerprint(symbol, "strategic", params, fitted)

    @property
    def bars_seen(self) -> int:
        """Number of bars taken in."""
        return int(self._state.marks[k.SEEN])

    def push(self, bar: Bar) -> Floats:
        """Take the bar that has just closed; return its row float64[13], NaN where a window is not yet full.

        Raises:
            DataError: the bar is impossible or not later than the one before; the stream is as it was.
        """
        self._reserve(1)
        row = np.empty(len(c.STRATEGIC_COLUMNS))
        _refuse(self.symbol, bar, k.strategic_push(self._setup, self._state, *_plain(bar), row))
        return row

    def extend(self, bars: Bars) -> Floats:
        """Take many closed bars at once, as ``push`` would one by one; return float64[T, 13].

        Raises:
            DataError: a bar is impossible, not later than the one before, or of another symbol or length; the stream
                is as it was.
            ConfigError: a price is out of proportion to the tick.
        """
        memory.check_bars(bars, self._state.marks, self.symbol, self._bar_minutes)
        check_tick(self.symbol, self._setup.tick_size, bars)
        out = np.empty((len(bars), len(c.STRATEGIC_COLUMNS)))
        for start in range(0, len(bars), CHUNK_BARS):
            part = bars.rows(start, min(start + CHUNK_BARS, len(bars)))
            self._reserve(len(part))
            prices = (part.open, part.high, part.low, part.close, part.volume, part.price_factor)
            k.strategic_run(self._setup, self._state, part.close_ns, *prices, out[start : start + len(part)])
        memory.remember_last(bars, self._state.marks)
        self._bar_minutes = bars.bar_minutes
        return out

    def rescale(self, ratio: float) -> None:
        """Multiply all remembered prices by ``ratio`` = new close / old close, at a roll.

        Raises:
            DataError: ``ratio`` is not finite and positive.
        """
        memory.check_ratio(self.symbol, ratio)
        for prices in (self._state.levels, self._state.prices, self._state.waiting[k.WAITING_CLOSE :]):
            prices *= ratio

    def to_arrays(self) -> memory.Arrays:
        """Return copies of all that is remembered; ``from_arrays`` goes on from them with the same bits."""
        return memory.to_arrays(self._state, self._fingerprint, int(self._state.cross_marks[0]))

    @classmethod
    def from_arrays(
        cls,
        arrays: Mapping[str, NDArray[Any]],
        symbol: str,
        params: FeatureParams,
        reference: MmdReference,
        tick_size: float,
    ) -> StrategicStream:
        """Rebuild a stream from ``to_arrays`` and the arguments it was made with.

        Raises:
            DataError: the arrays are damaged, or belong to other arguments or other column definitions.
        """
        stream = cls(symbol, params, reference, tick_size)
        checked = memory.checked_arrays(arrays, stream._state, symbol, stream._fingerprint)
        state = stream._state._replace(**checked)
        crosses = int(state.cross_marks[0])
        sound = len(state.stored) == len(state.labels) == crosses and abs(int(state.cross_marks[2])) <= 1
        memory.check_marks(
            symbol, sound and state.cross_marks[1] in (0, 1), state.marks, state.prices, stream._setup.keep
        )
        stream._state = memory.with_room(state, crosses + memory.ROOM)
        return stream

    def _reserve(self, bars: int) -> None:
        """Make room for as many crosses as ``bars`` bars can bring."""
        crosses, room = int(self._state.cross_marks[0]), len(self._state.distances)
        if crosses + bars > room:
            self._state = memory.with_room(self._state, max(2 * room, crosses + bars))


class TacticalStream:
    """The 7 tactical columns of one instrument, bar by bar."""

    def __init__(self, symbol: str, params: FeatureParams) -> None:
        """Start before the first bar; ``symbol`` is that of the bars to come."""
        self.symbol = symbol
        self._bar_minutes: int | None = None  # of the bars extended by
        self._setup = memory.tactical_setup(params)
        self._state = memory.tactical_state(self._setup)
        self._fingerprint = memory.fingerprint(symbol, "tactical", params, {})

    @property
    def bars_seen(self) -> int:
        """Number of bars taken in."""
        return int(self._state.marks[k.SEEN])

    @property
    def gap_signal(self) -> int:
        """1 when the last bar completed a bullish gap, -1 a bearish one, else 0; as ``synergy.gap_signals``."""
        return int(self._state.marks[tactical.BORN])

    def push(self, bar: Bar) -> Floats:
        """Take the bar that has just closed; return its row float64[7], NaN where a window is not yet full.

        Raises:
            DataError: the bar is impossible or not later than the one before; the stream is as it was.
        """
        row = np.empty(len(c.TACTICAL_COLUMNS))
        _refuse(self.symbol, bar, tactical.tactical_push(self._setup, self._state, *_plain(bar), row))
        return row

    def extend(self, bars: Bars) -> Floats:
        """Take many closed bars at once, as ``push`` would one by one; return float64[T, 7].

        Raises:
            DataError: a bar is impossible, not later than the one before, or of another symbol or length; the stream
                is as it was.
        """
        memory.check_bars(bars, self._state.marks, self.symbol, self._bar_minutes)
        out = np.empty((len(bars), len(c.TACTICAL_COLUMNS)))
        tactical.tactical_run(self._setup, self._state, bars.open, bars.high, bars.low, bars.close, bars.volume, out)
        memory.remember_last(bars, self._state.marks)
        self._bar_minutes = bars.bar_minutes
        return out

    def rescale(self, ratio: float) -> None:
        """Multiply all remembered prices by ``ratio`` = new close / old close, at a roll.

        Raises:
            DataError: ``ratio`` is not finite and positive.
        """
        memory.check_ratio(self.symbol, ratio)
        for prices in (self._state.levels, self._state.prices, self._state.gaps[:, :BIRTH]):
            prices *= ratio

    def to_arrays(self) -> memory.Arrays:
        """Return copies of all that is remembered; ``from_arrays`` goes on from them with the same bits."""
        return memory.to_arrays(self._state, self._fingerprint, 0)

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]], symbol: str, params: FeatureParams) -> TacticalStream:
        """Rebuild a stream from ``to_arrays`` and the arguments it was made with.

        Raises:
            DataError: the arrays are damaged, or belong to other arguments or other column definitions.
        """
        stream = cls(symbol, params)
        checked = memory.checked_arrays(arrays, stream._state, symbol, stream._fingerprint)
        state = stream._state._replace(**checked)
        sound = 0 <= state.marks[tactical.COUNT] < len(state.gaps) and abs(int(state.marks[tactical.BORN])) <= 1
        memory.check_marks(symbol, sound, state.marks, state.prices, stream._setup.keep)
        stream._state = state
        return stream


def _plain(bar: Bar) -> tuple[int, int, float, float, float, float, float, float]:
    """Return the fields as the numbers that the compiled step knows: another type would compile it anew."""
    start_ns, close_ns, open_, high, low, close, volume, factor = bar
    return (
        int(start_ns),
        int(close_ns),
        float(open_),
        float(high),
        float(low),
        float(close),
        float(volume),
        float(factor),
    )


def _refuse(symbol: str, bar: Bar, verdict: int) -> None:
    if verdict != k.ACCEPTED:
        name, rule = k.REFUSALS[verdict]
        raise DataError(f"{symbol} bar at {bar.start_ns} ns, {name}", rule, getattr(bar, name), "Leave the bar out")
