"""G5: the edge outlives dearer trading and slower trading."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import DataError
from grandmodel.gates.result import GateResult, interval_dict, interval_text, plain, refused
from grandmodel.gates.text import count, percent
from grandmodel.stats.bootstrap import bootstrap_mean
from grandmodel.stats.performance import SESSIONS_PER_YEAR, annual_volatility_frac

NAME = "g5_costs"
STATED_SHARPE = 1.0  # annual, net in the scenario; what the power is stated for


def judge(
    *,
    returns_at_cost: NDArray[np.float64],
    cost_multiple: float,
    returns_with_delay: NDArray[np.float64],
    delay_bars: int,
    draws: int,
    confidence: float,
    seed: int,
    sessions_per_year: float = SESSIONS_PER_YEAR,
) -> GateResult:
    """Refuse unless the net return stays above zero at the cost multiple, and with every fill delayed.

    Both tables are daily net log returns float64[seeds, days], out of sample; each must show a lower bound of the
    interquartile mean over seeds (bootstrap over days and seeds) above zero. Statistic: the smaller lower bound.
    """
    scenarios = {
        f"{cost_multiple:g} x cost": np.asarray(returns_at_cost, dtype=np.float64),
        f"{count(delay_bars, 'bar')} of delay": np.asarray(returns_with_delay, dtype=np.float64),
    }
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
    worst, table = intervals[hardest], np.atleast_2d(scenarios[hardest])
    stated = STATED_SHARPE * annual_volatility_frac(table.mean(axis=0), sessions_per_year)
    power = worst.detection_power(stated)
    evidence = {
        "scenarios": {name: interval_dict(interval) for name, interval in intervals.items()},
        "hardest_scenario": hardest,
        "smallest_effect_80": worst.smallest_effect(),
        "days_needed_80": worst.days_needed(table.shape[1]),
        "statistic_name": "lower bound of the annual net return in the harder scenario",
        "power_statement": f"An edge that keeps an annual Sharpe ratio of {STATED_SHARPE:g} at {hardest} passes with "
        f"probability {percent(power, 0)}; with 80 % one that keeps {percent(worst.smallest_effect())} a year passes.",
    }
    passed = worst.lower > 0.0
    told = " and ".join(f"{interval_text(interval)} at {name}" for name, interval in intervals.items())
    reason = f"Net of everything the release keeps {told}" + (
        "." if passed else f"; at {hardest} zero is not excluded."
    )
    return GateResult(NAME, passed, worst.lower, 0.0, power, table.shape[1], reason, plain(evidence))
