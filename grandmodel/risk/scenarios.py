"""Synthetic stress scenarios: pure functions that change bars of one clock from one row on.

Every scenario takes bars apart into gap (log of open over the close before), body (log of close over open) and the two
wicks, changes these from the shock row on, and puts the bars together again. So rows before the shock stay byte for
byte, stamps, sessions and price factors stay everywhere, prices stay positive and high and low hold open and close.
Prices leave the tick grid. Durations are minutes of bars, whatever their length, and one bar at least: what is shorter
cannot be told on that clock. Sizes are stated assumptions, not estimates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.bars import Bars
from grandmodel.core.errors import DataError
from grandmodel.core.random import random_stream

FREEZE_MINUTES = 60
REBOUND_MINUTES = 30
GRIND_MINUTES_MAX = 1200  # of bars: 20 hours

Apply = Callable[[Mapping[str, Bars], int, int], dict[str, Bars]]


@dataclass(frozen=True)
class Scenario:
    """A named change of the market from one row on.

    ``apply(bars, shock_row, seed)`` returns changed bars for every symbol; row ``shock_row`` is the first changed one.
    ``description`` has a place for the length of a bar, ``{bar_minutes}``, where that is all a duration can be.
    ``spread_multiple`` is what trading costs in half-spreads from the shock on, beside the change of the bars.
    """

    name: str
    description: str
    spread_multiple: float
    apply: Apply


@dataclass
class _Anatomy:
    """Bars from the shock row on as log moves; float64[n] each. Written in place by the scenarios."""

    gap: NDArray[np.float64]
    body: NDArray[np.float64]
    upper_wick: NDArray[np.float64]  # log of high over the larger of open and close, not negative
    lower_wick: NDArray[np.float64]  # log of the smaller of open and close over low, not negative
    volume: NDArray[np.float64]
    tradable: NDArray[np.bool_]


def flash_crash(bars: Mapping[str, Bars], shock_row: int, seed: int, *, move_frac: float = -0.10) -> dict[str, Bars]:
    """Move all prices by ``move_frac`` within one bar; half of it (in logs) comes back in the 30 minutes after it."""
    rebound = _bars_in(REBOUND_MINUTES, bars)

    def change(part: _Anatomy, symbol: str) -> None:
        move = math.log1p(move_frac)
        part.body[0] = move
        part.body[1 : 1 + rebound] -= 0.5 * move / rebound

    return _each(bars, shock_row, change, rows_min=1 + rebound)


def liquidity_drought(bars: Mapping[str, Bars], shock_row: int, seed: int) -> dict[str, Bars]:
    """Divide volume by ten (one contract at least where any traded) and leave prices; the spread widens beside it."""

    def change(part: _Anatomy, symbol: str) -> None:
        traded = part.volume > 0
        part.volume[traded] = np.maximum(part.volume[traded] / 10.0, 1.0)

    return _each(bars, shock_row, change)


def volatility_burst(bars: Mapping[str, Bars], shock_row: int, seed: int, *, multiple: float = 5.0) -> dict[str, Bars]:
    """Multiply every log move and wick by ``multiple``, keeping the mean log return of the span as it was."""

    def change(part: _Anatomy, symbol: str) -> None:
        drift = float(np.mean(part.gap + part.body))
        part.gap *= multiple
        part.body *= multiple
        part.body -= (multiple - 1.0) * drift
        part.upper_wick *= multiple
        part.lower_wick *= multiple

    return _each(bars, shock_row, change)


def correlation_shock(
    bars: Mapping[str, Bars], shock_row: int, seed: int, *, correlation: float = 0.95
) -> dict[str, Bars]:
    """Replace returns by one common factor, shared by bar start, so that any two symbols correlate by ``correlation``.

    Each symbol keeps its own volatility (deviation of its log returns before the shock) and its wicks. A return is
    sigma (sqrt(rho) f + sqrt(1 - rho) e) with standard normal f and e; gaps between bars go into the body.
    """
    starts = np.unique(np.concatenate([one.start_ns[shock_row:] for one in bars.values()]))
    factor = random_stream(seed, "scenario", "correlation", "common").standard_normal(len(starts))

    def change(part: _Anatomy, symbol: str) -> None:
        own = random_stream(seed, "scenario", "correlation", symbol).standard_normal(len(part.body))
        shared = factor[np.searchsorted(starts, bars[symbol].start_ns[shock_row:])]
        part.gap[:] = 0.0
        part.body[:] = _volatility(bars[symbol], shock_row) * (
            math.sqrt(correlation) * shared + math.sqrt(1.0 - correlation) * own
        )

    return _each(bars, shock_row, change)


def session_gap(bars: Mapping[str, Bars], shock_row: int, seed: int, *, move_frac: float = -0.08) -> dict[str, Bars]:
    """Open the next session (the shock row, if that is its first bar) ``move_frac`` away, through any stop between."""

    def change(part: _Anatomy, symbol: str) -> None:
        session = bars[symbol].session
        opens = np.flatnonzero(np.diff(session[shock_row - 1 :]))
        if len(opens) == 0:
            raise DataError(
                f"{symbol} from row {shock_row}",
                "a session must open after the shock",
                len(part.gap),
                "Give more bars after the shock",
            )
        part.gap[opens[0]] = math.log1p(move_frac)

    return _each(bars, shock_row, change)


def feed_freeze(
    bars: Mapping[str, Bars], shock_row: int, seed: int, *, frozen_minutes: int = FREEZE_MINUTES
) -> dict[str, Bars]:
    """Repeat the last close with no volume for ``frozen_minutes``; then the feed jumps to where the market went."""
    frozen_bars = _bars_in(frozen_minutes, bars)

    def change(part: _Anatomy, symbol: str) -> None:
        missed = float(np.sum(part.gap[:frozen_bars] + part.body[:frozen_bars]))
        for column in (part.gap, part.body, part.upper_wick, part.lower_wick, part.volume):
            column[:frozen_bars] = 0.0
        part.tradable[:frozen_bars] = False
        part.gap[frozen_bars] += missed

    return _each(bars, shock_row, change, rows_min=frozen_bars + 1)


def adverse_drift(
    bars: Mapping[str, Bars], shock_row: int, side: Mapping[str, float], *, move_frac: float = 0.25
) -> dict[str, Bars]:
    """Grind each price by ``move_frac`` against the ``side`` held there (its sign; 0 leaves the symbol alone)."""
    slow = {symbol: one for symbol, one in bars.items() if side.get(symbol, 0.0) != 0.0}
    kept = _each(
        {symbol: one for symbol, one in bars.items() if symbol not in slow}, shock_row, lambda part, symbol: None
    )
    moved = {
        symbol: _grind({symbol: one}, shock_row, [-math.copysign(move_frac, side[symbol])])[symbol]
        for symbol, one in slow.items()
    }
    return {symbol: {**kept, **moved}[symbol] for symbol in bars}


def grind(bars: Mapping[str, Bars], shock_row: int, seed: int, *, move_frac: float = -0.25) -> dict[str, Bars]:
    """Add an even log drift that moves prices by ``move_frac`` within 20 hours, or by the end if that comes first."""
    return _grind(bars, shock_row, [move_frac])


def trend_reversal(bars: Mapping[str, Bars], shock_row: int, seed: int, *, move_frac: float = 0.15) -> dict[str, Bars]:
    """Grind by ``move_frac`` over the first half of the span, so that followers join, then back and as far beyond."""
    back = (1.0 - move_frac) / (1.0 + move_frac) - 1.0
    return _grind(bars, shock_row, [move_frac, back])


def _grind(bars: Mapping[str, Bars], shock_row: int, moves_frac: list[float]) -> dict[str, Bars]:
    grind_bars = _bars_in(GRIND_MINUTES_MAX, bars)

    def change(part: _Anatomy, symbol: str) -> None:
        length = min(len(part.body), grind_bars)
        for piece, move_frac in zip(np.array_split(np.arange(length), len(moves_frac)), moves_frac, strict=True):
            part.body[piece] += math.log1p(move_frac) / len(piece)

    return _each(bars, shock_row, change, rows_min=len(moves_frac))


def dated_move(
    bars: Mapping[str, Bars], shock_row: int, shares: NDArray[np.float64], moves_frac: Mapping[str, float]
) -> dict[str, Bars]:
    """Take each price through the whole of its move within 20 hours, or by the end if that comes first.

    However long it took, the move is pressed into these bars; its steps keep their order and their part of it.

    Args:
        bars: as in every scenario.
        shock_row: the first changed row.
        shares: float64[steps], the part of the move that each step brings, summing to 1.
        moves_frac: symbol to whole move. Raises DataError where one is missing or takes its price to zero.
    """
    way, grind_bars = np.append(0.0, np.cumsum(shares)), _bars_in(GRIND_MINUTES_MAX, bars)

    def change(part: _Anatomy, symbol: str) -> None:
        length = min(len(part.body), grind_bars)
        passed = np.interp(np.linspace(0.0, len(shares), length + 1), np.arange(len(way)), way)
        price = 1.0 + moves_frac.get(symbol, math.nan) * passed
        if not bool((price > 0).all()):
            raise DataError(f"{symbol} dated move", "must be known and keep its price positive", moves_frac.get(symbol))
        part.body[:length] += np.diff(np.log(price))

    return _each(bars, shock_row, change)


def _bars_in(minutes: int, bars: Mapping[str, Bars]) -> int:
    """Return how many bars of their clock last ``minutes``, one at least."""
    return max(1, minutes // max((one.bar_minutes for one in bars.values()), default=1))


def _each(
    bars: Mapping[str, Bars], shock_row: int, change: Callable[[_Anatomy, str], None], *, rows_min: int = 1
) -> dict[str, Bars]:
    """Apply ``change`` to every symbol from ``shock_row`` on. Raises DataError when rows are too few or not finite."""
    changed = {}
    for symbol, one in bars.items():
        if not 1 <= shock_row <= len(one) - rows_min:
            raise DataError(
                f"{symbol} shock row {shock_row}", f"needs a bar before it and {rows_min} from it on", len(one)
            )
        part = _take_apart(one, shock_row)
        change(part, symbol)
        changed[symbol] = _put_together(one, part, shock_row)
    return changed


def _take_apart(bars: Bars, row: int) -> _Anatomy:
    for name in ("open", "high", "low", "close"):
        positive = np.isfinite(getattr(bars, name)[row - 1 :]) & (getattr(bars, name)[row - 1 :] > 0)
        if not bool(positive.all()):
            bad = row - 1 + int(np.argmin(positive))
            raise DataError(f"{bars.symbol} row {bad} {name}", "a price must be a positive number to be stressed")
    part = slice(row, None)
    body_high = np.maximum(bars.open[part], bars.close[part])
    body_low = np.minimum(bars.open[part], bars.close[part])
    return _Anatomy(
        gap=np.log(bars.open[part] / bars.close[row - 1 : -1]),
        body=np.log(bars.close[part] / bars.open[part]),
        upper_wick=np.maximum(np.log(bars.high[part] / body_high), 0.0),
        lower_wick=np.maximum(np.log(body_low / bars.low[part]), 0.0),
        volume=bars.volume[part].copy(),
        tradable=bars.tradable[part].copy(),
    )


def _put_together(bars: Bars, part: _Anatomy, row: int) -> Bars:
    close_log = np.cumsum(part.gap + part.body)
    close_after = bars.close[row - 1] * np.exp(close_log)
    open_after = bars.close[row - 1] * np.exp(close_log - part.body)
    high_after = np.maximum(open_after, close_after) * np.exp(part.upper_wick)
    low_after = np.minimum(open_after, close_after) * np.exp(-part.lower_wick)
    return replace(
        bars,
        open=np.concatenate([bars.open[:row], open_after]),
        high=np.concatenate([bars.high[:row], high_after]),
        low=np.concatenate([bars.low[:row], low_after]),
        close=np.concatenate([bars.close[:row], close_after]),
        volume=np.concatenate([bars.volume[:row], part.volume]),
        tradable=np.concatenate([bars.tradable[:row], part.tradable]),
    )


def _volatility(bars: Bars, row: int) -> float:
    """Return the deviation of log returns before ``row``; of those from it on where fewer than two came before."""
    close = bars.close[:row] if row > 2 else bars.close[row - 1 :]
    return float(np.std(np.diff(np.log(close))))


def _variant(function: Callable[..., dict[str, Bars]], move_frac: float) -> Apply:
    def apply(bars: Mapping[str, Bars], shock_row: int, seed: int) -> dict[str, Bars]:
        return function(bars, shock_row, seed, move_frac=move_frac)

    return apply


SCENARIOS: tuple[Scenario, ...] = (
    Scenario(
        "flash_crash",
        "all prices fall 10 % within one bar of {bar_minutes} minutes; half comes back in the 30 minutes after it",
        5.0,
        _variant(flash_crash, -0.10),
    ),
    Scenario(
        "flash_spike",
        "all prices rise 10 % within one bar of {bar_minutes} minutes; half goes again in the 30 minutes after it",
        5.0,
        _variant(flash_crash, 0.10),
    ),
    Scenario("liquidity_drought", "volume falls to a tenth and the spread widens tenfold", 10.0, liquidity_drought),
    Scenario("volatility_x5", "every move is five times as large, the drift as before", 3.0, volatility_burst),
    Scenario("correlation_95", "any two instruments correlate by 0.95 at their own volatility", 2.0, correlation_shock),
    Scenario("gap_down", "the next session opens 8 % lower, through any stop", 3.0, _variant(session_gap, -0.08)),
    Scenario("gap_up", "the next session opens 8 % higher, through any stop", 3.0, _variant(session_gap, 0.08)),
    Scenario("feed_freeze", "no trade for an hour, then the feed catches up in one jump", 2.0, feed_freeze),
    Scenario("grind_down", "prices lose 25 % in an even drift over 20 hours", 1.0, _variant(grind, -0.25)),
    Scenario("grind_up", "prices gain a third in an even drift over 20 hours", 1.0, _variant(grind, 1.0 / 3.0)),
    Scenario(
        "reversal_down",
        "prices gain 15 % in 10 hours, then fall back and 15 % below where they began in 10 more",
        1.0,
        _variant(trend_reversal, 0.15),
    ),
    Scenario(
        "reversal_up",
        "prices lose 15 % in 10 hours, then rise back and 15 % above where they began in 10 more",
        1.0,
        _variant(trend_reversal, -0.15),
    ),
)
