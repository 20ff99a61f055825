"""G5: the edge outlives dearer trading and slower trading, and both were truly paid for.

A backtest without costs passes every other gate. So the terms of each instrument must name a half-spread and a
commission, and what the replay took from equity must be at least what these terms make of what it traded: impact and
rolls come on top and are never below zero. At the cost multiple it must be at least as many times that. And the dearer
and the later run must be other runs of the same release: over the same seeds, days and instruments, and not the plain
one again.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import DataError
from grandmodel.gates.result import GateResult, days_words, interval_dict, interval_text, plain, power_evidence, refused
from grandmodel.gates.text import count, listing, percent
from grandmodel.stats.bootstrap import Interval, bootstrap_mean
from grandmodel.stats.performance import SESSIONS_PER_YEAR, annual_volatility_frac

NAME = "g5_costs"
STATED_SHARPE = 1.0  # annual, net in the scenario; what the power is stated for
ROUNDING = 1e-9  # of what was traded; sums of many small fractions


class CostRow(NamedTuple):
    """What was traded in one instrument and what was taken for it; sums over runs, all but the terms over equity."""

    symbol: str
    half_spread_ticks: float  # terms of the instrument
    commission: float  # terms: money per contract, fraction of notional, or both added; only whether it is zero counts
    traded: float  # notional traded
    paid: float  # taken from equity besides the moves of the price
    stated: float  # what half-spread and commission of the terms make of what was traded


def judge(
    *,
    returns: NDArray[np.float64],
    returns_at_cost: NDArray[np.float64],
    cost_multiple: float,
    returns_with_delay: NDArray[np.float64],
    delay_bars: int,
    costs: Sequence[CostRow],
    costs_at_multiple: Sequence[CostRow],
    draws: int,
    confidence: float,
    seed: int,
    sessions_per_year: float = SESSIONS_PER_YEAR,
) -> GateResult:
    """Refuse unless costs were paid and the net return stays above zero at the cost multiple and with every fill late.

    All tables are daily net log returns float64[seeds, days], out of sample. ``returns`` are those of the plain run;
    each of the other two must show a lower bound of the interquartile mean over seeds (bootstrap over days and seeds)
    above zero. Statistic: the smaller lower bound. ``costs`` and ``costs_at_multiple`` hold one row per instrument, of
    the plain run and of the dearer one.
    """
    tables = (returns, returns_at_cost, returns_with_delay)
    usual, dear, late = (np.atleast_2d(np.asarray(table, dtype=np.float64)) for table in tables)
    scenarios = {f"{cost_multiple:g} x cost": dear, f"{count(delay_bars, 'bar')} of delay": late}
    unpaid = cost_faults(costs, 1.0) + cost_faults(costs_at_multiple, cost_multiple)
    unpaid += trade_faults(costs, usual) + trade_faults(costs_at_multiple, dear)
    dear_name, late_name = scenarios
    strange = symbol_faults(costs, costs_at_multiple) + run_faults(usual, dear, dear_name, other=cost_multiple > 1.0)
    strange += run_faults(usual, late, late_name, other=True)
    if unpaid or strange:
        return _faulty(unpaid, strange, costs, costs_at_multiple)
    try:
        intervals = {
            name: bootstrap_mean(
                table, draws=draws, confidence=confidence, seed=seed, sessions_per_year=sessions_per_year
            )
            for name, table in scenarios.items()
        }
    except DataError as error:
        return refused(NAME, 0.0, str(error))
    hardest = min(intervals, key=lambda name: intervals[name].lower)
    table = scenarios[hardest]
    stated = STATED_SHARPE * annual_volatility_frac(table.mean(axis=0), sessions_per_year)
    return _result(intervals, hardest, stated, table.shape[1], costs)


def cost_faults(rows: Sequence[CostRow], multiple: float) -> list[str]:
    """Return which instrument trades for nothing, or for less than ``multiple`` times its terms, in words."""
    faults = ["no instrument says what it costs"] if not rows else []
    for row in rows:
        terms = (("half-spread", row.half_spread_ticks), ("commission", row.commission))
        faults += [f"the {term} of {row.symbol} is {value:g}" for term, value in terms if not 0.0 < value < inf]
        if not 0.0 <= row.traded < inf:
            faults.append(f"what {row.symbol} traded is {row.traded:g}")
        if row.traded > 0.0 and not row.stated > 0.0:
            faults.append(f"the terms of {row.symbol} make {row.stated:g} of what it traded")
        due = multiple * row.stated
        if not due - ROUNDING * row.traded <= row.paid < inf:
            faults.append(f"{row.symbol} paid {_basis_points(row.paid, row)} of what it traded, not {_due(due, row)}")
    return faults


def trade_faults(rows: Sequence[CostRow], table: NDArray[np.float64]) -> list[str]:
    """Return in words that float64[seeds, days] of returns are not all 0 although ``rows`` name nothing traded."""
    idle = bool(rows) and not any(row.traded > 0.0 for row in rows)
    return ["nothing was traded, and yet there are returns"] if idle and table.any() else []


def symbol_faults(rows: Sequence[CostRow], dearer: Sequence[CostRow]) -> list[str]:
    """Return in words that the rows of two runs are not of the same instruments."""
    plain_symbols, dear_symbols = (sorted(row.symbol for row in one) for one in (rows, dearer))
    if plain_symbols == dear_symbols:
        return []
    return [f"the dearer run paid for {listing(dear_symbols)}, the plain one for {listing(plain_symbols)}"]


def run_faults(usual: NDArray[np.float64], table: NDArray[np.float64], name: str, *, other: bool) -> list[str]:
    """Return in words how a table of returns is no run of the same release at ``name``.

    Both tables are float64[seeds, days]; NaN is a fault. Where ``other`` is asked for, no seed that earned or lost
    anything in ``usual`` may show the very same returns again.
    """
    if table.shape != usual.shape:
        return [f"seeds and days at {name} are {table.shape}, of the plain run {usual.shape}"]
    if not (np.isfinite(usual).all() and np.isfinite(table).all()):
        return [f"at {name} or in the plain run a return is not finite"]
    again = int(((table == usual).all(axis=1) & usual.any(axis=1)).sum())
    return [f"{name} changed nothing in {count(again, 'seed')} of {len(usual)}"] if other and again else []


def _faulty(unpaid: list[str], strange: list[str], costs: Sequence[CostRow], dearer: Sequence[CostRow]) -> GateResult:
    told = [f"costs were not paid in full: {listing(unpaid)}"] if unpaid else []
    told += [f"these are no runs of the release at dearer and later fills: {listing(strange)}"] if strange else []
    exact = "Exact: costs and delays that were not taken are found; terms that are positive and too small are not."
    about = power_evidence(exact, smallest="a cost below the terms of the instrument", data="none: it is exact")
    rows = [row._asdict() for row in (*costs, *dearer)]
    evidence = {"cost_faults": unpaid, "run_faults": strange, "costs": rows} | about
    return GateResult(NAME, False, None, 0.0, None, len(costs), f"Refused because {'; '.join(told)}.", plain(evidence))


def _due(due: float, row: CostRow) -> str:
    return f"the {_basis_points(due, row)} of its terms"


def _basis_points(cost: float, row: CostRow) -> str:
    return f"{1e4 * cost / row.traded:.2f} bp" if row.traded > 0.0 else f"{cost:g}"


def _result(
    intervals: dict[str, Interval], hardest: str, stated: float, days: int, costs: Sequence[CostRow]
) -> GateResult:
    worst = intervals[hardest]
    power, smallest, needed = worst.detection_power(stated), worst.smallest_effect(), worst.days_needed(days)
    evidence = {
        "scenarios": {name: interval_dict(interval) for name, interval in intervals.items()},
        "hardest_scenario": hardest,
        "costs": [row._asdict() for row in costs],
        "statistic_name": "lower bound of the annual net return in the harder scenario",
    } | power_evidence(
        f"An edge that keeps an annual Sharpe ratio of {STATED_SHARPE:g} at {hardest} passes with probability "
        f"{percent(power, 0)}; with 80 % one that keeps {percent(smallest)} a year passes. Costs that were not taken "
        "are found exactly; a wrong shape of the cost model is not.",
        smallest=f"{percent(smallest)} a year kept at {hardest}",
        data=days_words(needed, days),
        smallest_effect_80=smallest,
        days_needed_80=needed,
    )
    passed = worst.lower > 0.0
    told = " and ".join(f"{interval_text(interval)} at {name}" for name, interval in intervals.items())
    reason = f"Net of everything the release keeps {told}" + (
        "." if passed else f"; at {hardest} zero is not excluded."
    )
    return GateResult(NAME, passed, worst.lower, 0.0, power, days, reason, plain(evidence))
