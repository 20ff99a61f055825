"""All scenarios on a book in one call: what it loses, with and without the breaker, and when the breaker acts.

Quantities are held: the book of the first close goes through the steps of a scenario, and only the breaker sells.
It sees the equity after each step and what it cuts is gone before the next one, so a shock of one step hits in full.
Prices of all instruments move in the steps of the scenario, which are those of the S&P 500. Selling costs nothing here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.config import BreakerLimits
from grandmodel.core.errors import DataError
from grandmodel.risk import breaker as breakers
from grandmodel.risk.mapping import ShockTable
from grandmodel.risk.state import TradingState, fail_closed

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class StressOutcome:
    """One scenario on one book. Losses are positive fractions of the equity before it, negative ones are gains."""

    scenario: str
    steps: int
    loss_frac: float  # at the end, without the breaker; NaN where it cannot be computed
    loss_error_frac: float  # of it, from the errors of the betas, as if they all erred together: an upper bound
    drawdown_frac: float  # deepest, without the breaker
    loss_with_breaker_frac: float
    drawdown_with_breaker_frac: float
    steps_to_breaker: int | None  # to the first cut, from 1; None if there was none
    level: int  # of the breaker at the end
    state: TradingState  # at the end; REDUCING where nothing could be computed
    gross_after: float  # exposure over equity at the end, under the breaker
    reason: str = ""  # why there is no number


def run_scenarios(
    table: ShockTable, exposure: Mapping[str, float], limits: BreakerLimits, *, gross_exposure_max: float
) -> tuple[StressOutcome, ...]:
    """Run every scenario of ``table`` on one book.

    Args:
        table: moves of the instruments, see ``map_shocks``.
        exposure: symbol to signed exposure, money over equity, of every instrument held; absent: none is held.
        limits: of the breaker, which is armed at the first close.
        gross_exposure_max: its cap at level 0, as in ``configs/``.

    Raises:
        DataError: an exposure that is not finite, a symbol that is not in the table, an empty book, a gross above
            ``gross_exposure_max``.
        ConfigError: limits that do not rise, or a cap that is not positive.
    """
    held = book_of(table, exposure)
    gross = float(np.abs(held).sum())
    breakers.armed(1.0, limits, base_cap=gross_exposure_max)  # refuses bad limits before any number is made
    if gross > gross_exposure_max * (1 + 1e-12):
        raise DataError("stress book", f"gross must be within {gross_exposure_max}", gross, "Shrink the book first")
    return tuple(_run(table, index, held, limits, gross_exposure_max) for index in range(len(table.scenarios)))


def book_of(table: ShockTable, exposure: Mapping[str, float]) -> Floats:
    """Return float64[N], exposures in the order of the table. Raises DataError; see ``run_scenarios``."""
    unknown = [symbol for symbol in exposure if symbol not in table.symbols]
    if unknown:
        raise DataError("stress book", "no moves are mapped for", unknown, "Map their moves first")
    broken = {symbol: value for symbol, value in exposure.items() if not math.isfinite(value)}
    if broken or not any(exposure.values()):
        raise DataError("stress book", "exposures must be finite and not all zero", broken or dict(exposure))
    return np.array([exposure.get(symbol, 0.0) for symbol in table.symbols])


def value_paths(table: ShockTable, index: int, held: Floats) -> Floats:
    """Return float64[steps + 1, N]: value of each position over the equity before.

    A price does not fall below zero, unless the scenario moves it in points. NaN where a position has no move.
    """
    scenario = table.scenarios[index]
    way = np.append(0.0, np.cumsum(scenario.shares()))
    way[-1] = 1.0
    moves = np.where(held == 0.0, 0.0, table.move_frac[index])  # what is not held needs no move
    floor = np.where(table.crosses_zero[index], -np.inf, -1.0)
    return np.asarray(held * (1.0 + np.maximum(np.outer(way, moves), floor)))


def drawdowns(equity: Floats) -> Floats:
    """Return float64[steps + 1]: fall from the highest equity so far, as a fraction of it."""
    return np.asarray(1.0 - equity / np.maximum.accumulate(equity))


def _run(
    table: ShockTable, index: int, held: Floats, limits: BreakerLimits, gross_exposure_max: float
) -> StressOutcome:
    scenario = table.scenarios[index]
    lacking = [symbol for symbol in table.holes(index) if held[table.symbols.index(symbol)] != 0.0]
    if lacking:
        return _unknown(table, index, lacking)
    values = value_paths(table, index, held)
    gains = np.diff(values.sum(axis=1))
    gross = np.abs(values).sum(axis=1)
    equity = 1.0 + np.append(0.0, np.cumsum(gains))
    state, left, cut_equity, first = _under_breaker(gains, gross, limits, gross_exposure_max)
    errors = np.where(held == 0.0, 0.0, table.error_frac[index])
    return StressOutcome(
        scenario=scenario.name,
        steps=scenario.steps,
        loss_frac=float(1.0 - equity[-1]),
        loss_error_frac=float(np.abs(held) @ errors),
        drawdown_frac=float(drawdowns(equity).max()),
        loss_with_breaker_frac=float(1.0 - cut_equity[-1]),
        drawdown_with_breaker_frac=float(drawdowns(cut_equity).max()),
        steps_to_breaker=first,
        level=state.level,
        state=state.trading,
        gross_after=float(left * gross[-1] / cut_equity[-1]) if left else 0.0,
    )


def _under_breaker(
    gains: Floats, gross: Floats, limits: BreakerLimits, gross_exposure_max: float
) -> tuple[breakers.BreakerState, float, Floats, int | None]:
    """Return breaker, share of the first quantities that is left, equity float64[steps + 1], step of the first cut.

    Gains and gross are those of the whole book, over the equity before; the breaker sells the same share of all.
    """
    state = breakers.armed(1.0, limits, base_cap=gross_exposure_max)
    equity, left, first = 1.0, 1.0, None
    path = [equity]
    for step, (gain, whole) in enumerate(zip(gains.tolist(), gross[1:].tolist(), strict=True), start=1):
        equity += left * gain
        path.append(equity)
        over = left * whole / equity if equity > 0 else None  # a halt follows; no gross over what is gone
        state, events = breakers.update(state, equity, gross=over)
        if events and first is None:
            first = step
        allowed = min([state.gross_cap, *(event.gross_after for event in events)])
        if over is None or state.trading is TradingState.HALTED:
            left = 0.0
        elif over > allowed:
            left *= allowed / over
    return state, left, np.array(path), first


def _unknown(table: ShockTable, index: int, lacking: list[str]) -> StressOutcome:
    nan = math.nan
    how = {symbol: table.how[index][table.symbols.index(symbol)] for symbol in lacking}
    reason = "; ".join(f"{symbol}: {why}" for symbol, why in how.items())
    scenario = table.scenarios[index]
    state = fail_closed(TradingState.ACTIVE, nan)
    return StressOutcome(scenario.name, scenario.steps, nan, nan, nan, nan, nan, None, 0, state, nan, reason)
