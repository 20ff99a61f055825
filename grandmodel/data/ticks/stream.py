"""Ticks to bars and their features, equal to the bit whether they come as a file, in handfuls or one by one.

What a tick must be, checked in this order; one that breaks a rule is counted under its reason and changes nothing
else, neither a price nor the clock:

- ``out_of_order``: not earlier than the last accepted tick, nor inside a bar that is finished. Ticks with one stamp are
  traded in the order in which they come.
- ``no_trade``: volume above zero. A snapshot without volume repeats the last price and opens no bar.
- ``bad_volume``: neither negative nor missing, a whole number of lots, at most 2^40.
- ``not_a_number``: a finite price below 2^30 ticks.
- ``off_grid``: a price within a twentieth of a tick of the instrument's grid; it is then taken as the nearest tick.
- ``not_positive``: a price above zero, unless the instrument may trade at or below it (oil, 20 April 2020). Log returns
  do not exist there: ``realised_variance`` of such a bar is NaN, ``squared_moves`` holds the absolute moves.
- ``outside_session``: a stamp inside a trading span, see ``spans``.

Where the feed has sequence numbers they are looked at before all this: a number at or below that of the last accepted
tick is a ``duplicate``, whether it repeats a tick or comes late. The number of a rejected tick counts for nothing.
Without numbers two equal rows are two trades: a third of a real tape repeats the row before it.

A bar without ticks does not exist. A bar ends when a later tick is accepted, when the clock says so (``advance``) or
when the stream ends (``flush``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from grandmodel.core.bars import NS_PER_MINUTE
from grandmodel.core.errors import DataError
from grandmodel.data.ticks import kernels as k
from grandmodel.data.ticks.bars import TickBars, bars_of_rows
from grandmodel.data.ticks.single import Loop, single_ticks
from grandmodel.data.ticks.spans import check_spans, continuous_spans

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]

REASONS: Final = (
    "out_of_order",
    "no_trade",
    "bad_volume",
    "not_a_number",
    "off_grid",
    "not_positive",
    "outside_session",
    "duplicate",
)
"""Why a tick is rejected, in the order of the counters in the state."""

_NEVER_NS: Final = -(2**62)


@dataclass(frozen=True, slots=True)
class TickRules:
    """What the ticks of one instrument must be, and which bars are made of them."""

    symbol: str
    tick_size: float  # read as the decimal it prints as: 0.2 is one fifth
    bar_minutes: int = 5
    lot_size: float = 1.0  # least step of volume
    snapshots: bool = False  # ticks without volume are to be expected
    negative_prices: bool = False
    ema_bars: int = 20
    rsi_bars: int = 14
    atr_bars: int = 14

    def __post_init__(self) -> None:
        counts = (self.bar_minutes, self.ema_bars, self.rsi_bars, self.atr_bars)
        if not (0 < self.tick_size < np.inf and 0 < self.lot_size < np.inf and min(counts) > 0):
            raise DataError(f"tick rules of {self.symbol}", "sizes and counts must be positive", self)
        step = Fraction(str(self.tick_size))
        if step.numerator > 2**20 or step.denominator > 10**9:
            rule = "tick_size must be a short decimal such as 0.25"
            raise DataError(f"tick rules of {self.symbol}", rule, self.tick_size)


def whole_lots(volume: ArrayLike, lot_size: float = 1.0) -> Integers:
    """Return volume as int64 lots; -1, which every stream rejects, where it is missing or not a whole number of lots.

    A volume within a millionth of a lot of a whole number is that number: decimal lots have no exact float.
    """
    steps = np.asarray(volume, np.float64) / lot_size
    with np.errstate(invalid="ignore"):
        whole = np.rint(steps)
        usable = np.isfinite(steps) & (np.abs(steps - whole) < 1e-6) & (np.abs(whole) <= k.MOST_LOTS)
    return np.asarray(np.where(usable, whole, -1.0), np.int64)


class TickStream:
    """The one way from ticks to bars: state in a small array, advanced by one compiled loop.

    ``push`` takes one tick, ``update`` any number; they may be mixed. ``take`` hands over the finished bars.
    """

    __slots__ = ("_pushed", "_rows", "_single", "_spans", "_state", "push", "rules")

    push: Callable[[int, float, int], bool]
    """Take one tick (UTC nanoseconds, price, whole lots); return whether it finished a bar.

    Raises DataError when an argument is no number, or stamp or volume is not whole.
    """

    def __init__(self, rules: TickRules, spans: Integers | None = None) -> None:
        """Begin a stream; ``spans`` as ``spans.trading_spans`` makes them, always open when None.

        Raises:
            DataError: spans are not in order.
        """
        self.rules = rules
        self._spans = np.array(continuous_spans() if spans is None else spans, order="C")  # a copy, as the loop wants
        check_spans(self._spans)
        self._state = _fresh_state(rules)
        self._rows = np.zeros((64, k.ROW_SIZE), np.int64)
        self._pushed = False  # single ticks may be gathered
        self._single = single_ticks(rules.symbol, self._feed_single, self._look)
        self.push = self._single.push  # a function of its own: half the cost of a method that reaches for attributes

    def push_numbered(self, sequence: int, stamp_ns: int, price: float, lots: int) -> bool:
        """Take one tick of a feed with sequence numbers: ``push``, unless the number is not above the last accepted.

        Raises DataError as ``push`` does, and when the number is not a whole one of 64 bits.
        """
        if not isinstance(sequence, int | np.integer) or not -(2**63) <= sequence < 2**63:
            raise DataError(f"ticks of {self.rules.symbol}", "a sequence number must be whole, of 64 bits", sequence)
        if sequence <= self._state[k.LAST_SEQUENCE]:
            self._state[k.DUPLICATE] += 1
            return False
        rejected = self._state[k.REJECTED : k.DUPLICATE].tobytes()
        finished = self.push(stamp_ns, price, lots)
        if self._state[k.REJECTED : k.DUPLICATE].tobytes() == rejected:  # what is only gathered is certain to be taken
            self._state[k.LAST_SEQUENCE] = sequence
        return finished

    def update(self, stamps_ns: Integers, prices: Floats, lots: Integers, sequence: Integers | None = None) -> None:
        """Take any number of ticks, in the order of trade.

        Args:
            stamps_ns: int64[n] UTC nanoseconds, or datetime64.
            prices: float64[n].
            lots: int64[n], see ``whole_lots``.
            sequence: int64[n], the feed's numbers, where it has them.

        Raises:
            DataError: columns differ in length, or one has a type that would lose digits.
        """
        if self._pushed:
            self._settle()
        if sequence is not None:
            self._update_numbered(sequence, stamps_ns, prices, lots)
            return
        try:
            used = k.run_ticks(self._state, self._rows, self._spans, stamps_ns, prices, lots)
        except TypeError:  # columns of other types
            stamps_ns, prices, lots = _columns(self.rules.symbol, stamps_ns, prices, lots)
            used = k.run_ticks(self._state, self._rows, self._spans, stamps_ns, prices, lots)
        if used != len(stamps_ns):
            self._feed_rest(stamps_ns, prices, lots, used)

    def advance(self, clock_ns: int) -> None:
        """Finish the open bar when the clock has passed its end: how the last bar of a session gets out in time."""
        self._single.drain()
        if self._state[k.TICKS] > 0 and clock_ns >= self._state[k.BAR_STOP_NS]:
            self._close(complete=1)

    def flush(self) -> None:
        """Finish the open bar at the end of the ticks; it counts as incomplete, and later ticks inside it as late."""
        self._single.drain()
        if self._state[k.TICKS] > 0:
            self._close(complete=0)

    def take(self) -> TickBars:
        """Return the bars finished since the last call and forget them."""
        self._single.drain()
        count = int(self._state[k.BARS])
        self._state[k.BARS] = 0
        return bars_of_rows(self._rows[:count].copy(), self.rules.symbol, self.rules.bar_minutes, self.rules.lot_size)

    def open_bar(self) -> TickBars:
        """Return the open bar as it would be if it ended now, as zero or one bar; the stream goes on unchanged."""
        self._single.drain()
        state, rows = self._state.copy(), np.zeros((1, k.ROW_SIZE), np.int64)
        state[k.BARS] = 0
        if state[k.TICKS] > 0:
            k.close_bar(state, state.view(np.float64), rows, 0)
        rows = rows[: state[k.BARS]]
        return bars_of_rows(rows, self.rules.symbol, self.rules.bar_minutes, self.rules.lot_size)

    @property
    def rejected(self) -> Mapping[str, int]:
        """How many ticks were rejected so far, by reason."""
        self._single.drain()
        counts = self._state[k.REJECTED : k.REJECTED + len(REASONS)].tolist()
        return dict(zip(REASONS, counts, strict=True))

    def _update_numbered(self, sequence: Integers, stamps_ns: Integers, prices: Floats, lots: Integers) -> None:
        numbers = np.asarray(sequence)
        whole = numbers.dtype.kind in "iu" and numbers.shape == (len(stamps_ns),)
        if not whole or (len(numbers) and int(numbers.max()) >= 2**63):
            rule = "sequence numbers must be whole, of 64 bits with their sign, one for each tick"
            raise DataError(f"ticks of {self.rules.symbol}", rule, (str(numbers.dtype), numbers.shape, len(stamps_ns)))
        columns = _columns(self.rules.symbol, stamps_ns, prices, lots)
        self._refuse_lengths(*columns)
        numbers, used = np.ascontiguousarray(numbers, np.int64), 0
        while used < len(numbers):
            rest = (columns[0][used:], columns[1][used:], columns[2][used:])
            used += k.run_numbered(self._state, self._rows, self._spans, numbers[used:], *rest)
            if used < len(numbers):  # the rows are full
                self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])

    def _refuse_lengths(self, stamps_ns: Integers, prices: Floats, lots: Integers) -> None:
        lengths = (len(stamps_ns), len(prices), len(lots))
        if len(set(lengths)) != 1:
            raise DataError(f"ticks of {self.rules.symbol}", "columns must have one length", lengths)

    def _feed_single(self, stamps_ns: Integers, prices: Floats, lots: Integers, more_ticks: int) -> None:
        self._state[k.TICKS] += more_ticks
        used = k.run_ticks(self._state, self._rows, self._spans, stamps_ns, prices, lots)
        if used != len(stamps_ns):
            self._feed_rest(stamps_ns, prices, lots, used)

    def _settle(self) -> None:
        """Feed what is gathered; the next single tick asks the loop anew."""
        self._single.drain()
        self._single.forget()
        self._pushed = False

    def _look(self) -> Loop:
        self._pushed = True
        price = float(self._state.view(np.float64)[k.F_LAST_PRICE])
        state = self._state
        return Loop(price, int(state[k.LAST_NS]), int(state[k.BAR_STOP_NS]), int(state[k.BARS_DONE]))

    def _feed_rest(self, stamps_ns: Integers, prices: Floats, lots: Integers, used: int) -> None:
        """Go on where the loop stopped because its rows were full."""
        self._refuse_lengths(stamps_ns, prices, lots)
        while used < len(stamps_ns):
            self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
            rest = (stamps_ns[used:], prices[used:], lots[used:])
            used += k.run_ticks(self._state, self._rows, self._spans, *rest)

    def _close(self, complete: int) -> None:
        self._settle()
        if self._state[k.BARS] == len(self._rows):
            self._rows = np.concatenate([self._rows, np.zeros_like(self._rows)])
        k.close_bar(self._state, self._state.view(np.float64), self._rows, complete)


def _fresh_state(rules: TickRules) -> Integers:
    state = np.zeros(k.STATE_SIZE, np.int64)
    step = Fraction(str(rules.tick_size))
    state[k.TICK_TOP], state[k.TICK_BOTTOM] = step.numerator, step.denominator
    state[k.BAR_NS] = rules.bar_minutes * NS_PER_MINUTE
    state[k.SIGNED] = rules.negative_prices
    state[k.EMA_BARS], state[k.RSI_BARS], state[k.ATR_BARS] = rules.ema_bars, rules.rsi_bars, rules.atr_bars
    state[k.LAST_NS] = state[k.BAR_STOP_NS] = _NEVER_NS
    state[k.LAST_SEQUENCE] = np.iinfo(np.int64).min
    state.view(np.float64)[k.F_LAST_PRICE] = np.nan
    return state


def _columns(
    symbol: str, stamps_ns: ArrayLike, prices: ArrayLike, lots: ArrayLike
) -> tuple[Integers, Floats, Integers]:
    """Return columns of other types as the loop wants them, where no digit is lost."""
    stamps, values, sizes = np.asarray(stamps_ns), np.asarray(prices), np.asarray(lots)
    if stamps.dtype.kind == "M":
        stamps = stamps.astype("datetime64[ns]").astype(np.int64)
    lossy = stamps.dtype.kind not in "iu" or values.dtype.kind not in "fiu" or sizes.dtype.kind not in "iu"
    if lossy or not stamps.ndim == values.ndim == sizes.ndim == 1:
        rule = "columns must be one-dimensional: whole nanoseconds, prices and whole lots"
        found = tuple(str(column.dtype) for column in (stamps, values, sizes))
        raise DataError(f"ticks of {symbol}", rule, found, "Convert volume with whole_lots")
    return (
        np.ascontiguousarray(stamps, np.int64),
        np.ascontiguousarray(values, np.float64),
        np.ascontiguousarray(sizes, np.int64),
    )
