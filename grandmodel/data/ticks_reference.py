"""Slow, obvious twin of the tick loop: every tick is judged, sorted into its bar, and each bar computed from scratch.

Nothing is shared with the compiled path but the rules and the table of trading spans. Prices are fractions, sums are
exact or made by ``math.fsum``.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise

from grandmodel.data.ticks import TickRules

NAN = math.nan
NS_PER_MINUTE = 60_000_000_000


@dataclass
class Bar:
    """One bar with its accepted ticks as (price, lots), and what is computed from them."""

    start_ns: int
    end_ns: int
    day: int
    ticks: list[tuple[Fraction, int]] = field(default_factory=list)
    values: dict[str, float] = field(default_factory=dict)


def reference_bars(
    rules: TickRules, spans: Sequence[Sequence[int]], ticks: Sequence[tuple[int, float, int]]
) -> tuple[list[Bar], Counter[str]]:
    """Return all bars of ``ticks`` (UTC nanoseconds, price, lots), the last one flushed, and the rejected by reason."""
    bars: list[Bar] = []
    rejected: Counter[str] = Counter()
    last_ns = -math.inf
    for stamp, price, lots in ticks:
        reason = _reason(rules, spans, last_ns, stamp, price, lots)
        if reason:
            rejected[reason] += 1
            continue
        last_ns = stamp
        bar = _bar_of(rules, spans, stamp)
        if not bars or bars[-1].start_ns != bar.start_ns:
            bars.append(bar)
        bars[-1].ticks.append((_on_grid(rules, price), lots))
    for bar in bars:
        _fill(bar, rules)
    _fill_averages(bars, rules)
    return bars, rejected


def _reason(
    rules: TickRules, spans: Sequence[Sequence[int]], last_ns: float, stamp: int, price: float, lots: int
) -> str:
    if stamp < last_ns:
        return "out_of_order"
    if lots == 0:
        return "no_trade"
    if not 0 < lots <= 2**40:
        return "bad_volume"
    tick = Fraction(str(rules.tick_size))
    if not math.isfinite(price) or abs(Fraction(price) / tick) > 2**30:
        return "not_a_number"
    if abs(Fraction(price) - _on_grid(rules, price)) / tick > Fraction(1, 20):
        return "off_grid"
    if _on_grid(rules, price) <= 0 and not rules.negative_prices:
        return "not_positive"
    if not any(accept <= stamp < stop for accept, _, _, stop, _ in spans):
        return "outside_session"
    return ""


def _on_grid(rules: TickRules, price: float) -> Fraction:
    tick = Fraction(str(rules.tick_size))
    return math.floor(Fraction(price) / tick + Fraction(1, 2)) * tick


def _bar_of(rules: TickRules, spans: Sequence[Sequence[int]], stamp: int) -> Bar:
    length = rules.bar_minutes * NS_PER_MINUTE
    open_ns, close_ns, day = next((o, c, d) for accept, o, c, stop, d in spans if accept <= stamp < stop)
    starts = max(0, min(stamp, close_ns - 1) - open_ns) // length
    start = open_ns + starts * length
    return Bar(start, min(start + length, close_ns), day)


def _fill(bar: Bar, rules: TickRules) -> None:
    prices = [price for price, _ in bar.ticks]
    lots = sum(size for _, size in bar.ticks)
    traded = sum((price * size for price, size in bar.ticks), Fraction(0))
    moves = [(a, b) for a, b in pairwise(prices) if a != b]
    returns = [math.log(b / a) if min(a, b) > 0 else NAN for a, b in moves]
    bar.values = {
        "open": float(prices[0]),
        "high": float(max(prices)),
        "low": float(min(prices)),
        "close": float(prices[-1]),
        "volume": lots * rules.lot_size,
        "ticks": len(prices),
        "vwap": float(traded / lots) if lots else NAN,
        "realised_variance": math.fsum(r * r for r in returns),
        "squared_moves": float(sum(((b - a) ** 2 for a, b in moves), Fraction(0))),
    }


def _fill_averages(bars: list[Bar], rules: TickRules) -> None:
    close = [bar.values["close"] for bar in bars]
    changes = [b - a for a, b in pairwise(close)]
    ranges = []
    for i, bar in enumerate(bars):
        high, low = bar.values["high"], bar.values["low"]
        before = close[i - 1] if i else None
        ranges.append(high - low if before is None else max(high, before) - min(low, before))
    for i, bar in enumerate(bars):
        bar.values["ema"] = _ema(close[: i + 1], rules.ema_bars)
        bar.values["atr"] = _wilder(ranges[: i + 1], rules.atr_bars)
        gain = _wilder([max(change, 0.0) for change in changes[:i]], rules.rsi_bars)
        loss = _wilder([max(-change, 0.0) for change in changes[:i]], rules.rsi_bars)
        bar.values["rsi"] = 100.0 * gain / (gain + loss) if gain + loss != 0 else 50.0


def _ema(values: Sequence[float], window: int) -> float:
    """Return the average with weight 2 / (window + 1), seeded with the first value; NaN before ``window`` values."""
    if len(values) < window:
        return NAN
    average = values[0]
    for value in values[1:]:
        average = (2 * value + (window - 1) * average) / (window + 1)
    return average


def _wilder(values: Sequence[float], window: int) -> float:
    """Return Wilder's average: the mean of the first ``window`` values, then (n - 1 parts old, 1 new) / n."""
    if len(values) < window:
        return NAN
    average = math.fsum(values[:window]) / window
    for value in values[window:]:
        average = ((window - 1) * average + value) / window
    return average
