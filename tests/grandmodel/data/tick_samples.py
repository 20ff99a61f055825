"""Made-up ticks with every fault the rules name."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from grandmodel.data.ticks import TickRules, TickStream
from grandmodel.data.ticks_bars import TickBars
from grandmodel.data.ticks_spans import daily_spans

RULES = TickRules("X", 0.25, bar_minutes=5, ema_bars=5, rsi_bars=4, atr_bars=3)
SPANS = daily_spans(
    ["2021-01-04", "2021-01-05", "2021-01-06"],
    [("09:30", "10:12"), ("13:00", "14:00")],
    "Asia/Shanghai",
    auction_minutes=5,
    closing_ms=1000,
)

Columns = tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]


def make_ticks(seed: int, count: int = 3000, price: float = 100.0, fault_frac: float = 0.05) -> Columns:
    """Return ticks over three days: bursts with one stamp, mostly unmoved prices, ``fault_frac`` of each kind mixed."""
    generator = np.random.default_rng(seed)
    span = SPANS[generator.integers(0, len(SPANS), count)]
    stamps = np.sort(generator.integers(span[:, 0], span[:, 3]))
    stamps = stamps[np.maximum.accumulate(np.where(generator.random(count) < 0.6, 0, np.arange(count)))]
    stamps[-1] = SPANS[-1, 2] - 1
    moves = generator.integers(-3, 4, count) * (generator.random(count) < 0.3)
    prices = price + 0.25 * np.cumsum(moves)
    lots = generator.integers(1, 9, count)
    return _with_faults(generator, stamps, prices, lots, fault_frac)


def _with_faults(
    generator: np.random.Generator,
    stamps: NDArray[np.int64],
    prices: NDArray[np.float64],
    lots: NDArray[np.int64],
    frac: float,
) -> Columns:
    kinds = generator.integers(0, 11, len(stamps)) * (generator.random(len(stamps)) < frac)
    stamps, prices, lots = stamps.copy(), prices.copy(), lots.astype(np.int64)
    stamps[kinds == 1] -= 60_000_000_000
    lots[kinds == 2] = 0
    lots[kinds == 3] = -3
    lots[kinds == 4] = 2**41
    prices[kinds == 5] = np.nan
    prices[kinds == 6] = np.inf
    prices[kinds == 7] += 0.1
    prices[kinds == 8] *= -1
    prices[kinds == 9] += 1e-4  # what float32 leaves: still on the grid
    stops = SPANS[:, 3]
    stamps[kinds == 10] = stops[np.searchsorted(stops, stamps[kinds == 10], side="right")]
    return stamps, prices, lots


def whole(rules: TickRules, columns: Columns, spans: NDArray[np.int64] | None = SPANS) -> tuple[TickBars, TickStream]:
    """Return the bars of all ticks at once, flushed, and the stream that made them."""
    stream = TickStream(rules, spans)
    stream.update(*columns)
    stream.flush()
    return stream.take(), stream


def assert_equal_bits(left: TickBars, right: TickBars) -> None:
    """Assert that two sets of bars are equal to the last bit, NaN included."""
    for column in dataclasses.fields(left):
        a, b = getattr(left, column.name), getattr(right, column.name)
        equal = a.tobytes() == b.tobytes() if isinstance(a, np.ndarray) else a == b
        assert equal, column.name


def joined(parts: list[TickBars]) -> TickBars:
    """Return several takes of one stream as one."""
    columns = {
        column.name: np.concatenate([getattr(part, column.name) for part in parts])
        for column in dataclasses.fields(TickBars)[2:]
    }
    return TickBars(parts[0].symbol, parts[0].bar_minutes, **columns)
