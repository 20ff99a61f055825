"""Reverse stress: the smallest multiple of a scenario, or move of one factor, at which a book breaches a limit.

Without the breaker, for the question is what it takes to trip it. Held quantities, and moves that grow in proportion:
then every measure below rises with the multiple until the first price reaches zero. There the search stops, and says
that nothing was breached. Between, it is bisection, exact to the tolerance.

Why it rises: equity after step t is 1 + k c(t). Loss at the end is -k c. A drawdown from s to t is k (c(s) - c(t)) /
(1 + k c(s)), whose derivative in k has the sign of c(s) - c(t); so has a loss of one step. A maximum of rising
functions rises.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.risk.betas import FactorBetas
from grandmodel.risk.mapping import ShockTable
from grandmodel.risk.stress import book_of, drawdowns

Floats = NDArray[np.float64]
LimitName = Literal[
    "half_drawdown_frac",
    "quarter_drawdown_frac",
    "halt_drawdown_frac",
    "daily_loss_max_frac",
    "stress_loss_max_frac",
]

MULTIPLE_MAX = 100.0
TOLERANCE = 1e-9


def _end_loss(equity: Floats) -> float:
    return float(1.0 - equity[-1])


def _step_loss(equity: Floats) -> float:
    before = np.where(equity[:-1] > 0, equity[:-1], np.nan)  # once equity is gone, an earlier step has lost it all
    return float(np.nanmax(1.0 - equity[1:] / before))


def _drawdown(equity: Floats) -> float:
    return float(drawdowns(equity).max())


# A step of a dated scenario is a session, so its loss is that of a day.
MEASURES: dict[str, Callable[[Floats], float]] = {
    "half_drawdown_frac": _drawdown,
    "quarter_drawdown_frac": _drawdown,
    "halt_drawdown_frac": _drawdown,
    "daily_loss_max_frac": _step_loss,
    "stress_loss_max_frac": _end_loss,
}


@dataclass(frozen=True)
class Breach:
    """The smallest shock that breaches one limit."""

    subject: str  # scenario or factor
    limit: str
    bound_frac: float
    size: float | None  # multiple of the scenario, or signed move of the factor in its unit; None: not breached
    searched: float  # up to here, in the same unit, with its sign
    reason: str = ""  # why there is no size


def reverse_scenarios(
    table: ShockTable,
    exposure: Mapping[str, float],
    bounds: Mapping[LimitName, float],
    *,
    multiple_max: float = MULTIPLE_MAX,
) -> tuple[Breach, ...]:
    """Return the smallest multiple of each scenario that breaches each limit, scenario by scenario.

    Args:
        table: moves of the instruments.
        exposure: as in ``run_scenarios``.
        bounds: name of a limit to its value, a positive fraction of equity.
        multiple_max: where the search ends, unless a price reaches zero before.

    Raises:
        DataError: a bad book, as in ``run_scenarios``.
        ConfigError: no limit, a name without a measure, a bound that is not in (0, 1], a bad ``multiple_max``.
    """
    held = book_of(table, exposure)
    _check(bounds, multiple_max)
    breaches = []
    for index, scenario in enumerate(table.scenarios):
        lacking = [symbol for symbol in table.holes(index) if held[table.symbols.index(symbol)] != 0.0]
        if lacking:
            reason = f"no move for {', '.join(lacking)}"
            breaches += [Breach(scenario.name, name, bound, None, math.nan, reason) for name, bound in bounds.items()]
            continue
        way = np.append(0.0, np.cumsum(scenario.shares()))
        moves = np.where(held == 0.0, 0.0, table.move_frac[index])  # what is not held needs no move
        stop = min(multiple_max, _zero_multiple(np.outer(way, moves[~table.crosses_zero[index]])))
        change = way * float(held @ moves)
        breaches += _search(scenario.name, change, bounds, stop, unit=1.0)
    return tuple(breaches)


def reverse_factors(
    betas: FactorBetas,
    exposure: Mapping[str, float],
    bounds: Mapping[LimitName, float],
    moves_max: Mapping[str, float],
) -> tuple[Breach, ...]:
    """Return the smallest move of each factor alone, up and down, at one stroke, that breaches each limit.

    The other factors stand still. Up comes before down.

    Args:
        betas: of every instrument held.
        exposure: as in ``run_scenarios``.
        bounds: as in ``reverse_scenarios``.
        moves_max: factor to the largest absolute move asked about, in its unit; the factors left out are not asked.

    Raises:
        DataError: an instrument or a factor without betas, or a bad book.
        ConfigError: as in ``reverse_scenarios``, and a move that is not positive and finite.
    """
    unknown = [symbol for symbol in exposure if symbol not in betas.symbols]
    strange = [name for name in moves_max if name not in betas.factors]
    if unknown or strange:
        raise DataError("reverse stress", "no betas for", unknown + strange, "Estimate them first")
    held = np.array([exposure.get(symbol, 0.0) for symbol in betas.symbols])
    if not np.isfinite(held).all() or not held.any():
        raise DataError("stress book", "exposures must be finite and not all zero", dict(exposure))
    breaches: list[Breach] = []
    for name, largest in moves_max.items():
        _check(bounds, largest)
        beta = betas.beta[:, betas.factors.index(name)]
        for sign in (1.0, -1.0):
            falls = -sign * np.where(held == 0.0, 0.0, beta)
            stop = min(largest, 1.0 / float(falls.max()) if falls.max() > 0 else math.inf)
            change = np.array([0.0, sign * float(held @ beta)])
            breaches += _search(name, change, bounds, stop, unit=sign)
    return tuple(breaches)


def smallest_breach(measure: Callable[[float], float], bound: float, stop: float) -> float | None:
    """Return the smallest k in (0, stop] with ``measure(k) >= bound``, or None; the measure must rise with k."""
    if not measure(stop) >= bound:
        return None
    below, above = 0.0, stop
    while above - below > TOLERANCE * above:
        middle = 0.5 * (below + above)
        if measure(middle) >= bound:
            above = middle
        else:
            below = middle
    return above


def _search(
    subject: str, change: Floats, bounds: Mapping[LimitName, float], stop: float, *, unit: float
) -> list[Breach]:
    """Search along the equity 1 + k ``change`` (float64[steps + 1], from 0)."""
    breaches = []
    for name, bound in bounds.items():
        size = smallest_breach(partial(_at, MEASURES[name], change), bound, stop)
        reason = "" if size is not None else f"not breached up to {unit * stop:.6g}"
        breaches.append(Breach(subject, name, bound, None if size is None else unit * size, unit * stop, reason))
    return breaches


def _zero_multiple(moves: Floats) -> float:
    """Return the multiple of the paths ``moves`` at which the first price reaches zero; infinite where none does."""
    deepest = float(-moves.min()) if moves.size else 0.0
    return 1.0 / deepest if deepest > 0 else math.inf


def _at(measure: Callable[[Floats], float], change: Floats, multiple: float) -> float:
    return measure(1.0 + multiple * change)


def _check(bounds: Mapping[LimitName, float], largest: float) -> None:
    if not bounds:
        raise ConfigError("reverse stress", "needs a limit")
    for name, bound in bounds.items():
        if name not in MEASURES:
            raise ConfigError(f"reverse stress limit {name}", f"must be one of {sorted(MEASURES)}")
        if not 0 < bound <= 1:
            raise ConfigError(f"reverse stress limit {name}", "must be in (0, 1]", bound)
    if not (math.isfinite(largest) and largest > 0):
        raise ConfigError("reverse stress", "the largest shock must be positive and finite", largest)
