"""What the dated scenarios cost a plain book, and how long all of them take on a book of 100 instruments.

    python -m benchmarks.stress_scenarios

The book of the table is 60 % shares, 40 % ten-year bonds and 10 % oil by direct shocks; the one that is timed has
random returns and betas on five factors. Writes ``benchmarks/results/stress_scenarios.json`` and prints the table.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import asdict
from typing import Any

import numpy as np

from benchmarks import record
from grandmodel.core.config import load_environment
from grandmodel.core.random import random_stream
from grandmodel.risk.betas import training_moves
from grandmodel.risk.historical import library
from grandmodel.risk.mapping import map_shocks
from grandmodel.risk.reverse import LimitName, reverse_scenarios
from grandmodel.risk.stress import StressOutcome, run_scenarios
from grandmodel.stats.folds import Fold
from pipelines.workspace import PROJECT

BOOK = {"ES": 0.6, "ZN": 0.4, "CL": 0.1}
OIL_PRICE = 18.27  # of the future that expired below zero, at the close before
CAPS = ("", ", half", ", a quarter", "")  # what the breaker leaves at each level
ASSETS, ROWS, REPEATS = 100, 1500, 15
FACTORS = {"equity_frac": 0.01, "rate_2y_bp": 5.0, "rate_10y_bp": 6.0, "oil_frac": 0.02, "eurusd_frac": 0.005}
BOUNDS: dict[LimitName, float] = {"half_drawdown_frac": 0.10, "halt_drawdown_frac": 0.20, "daily_loss_max_frac": 0.05}


def main() -> None:
    environment = load_environment(PROJECT / "configs" / "production.yaml")
    table = map_shocks(library(), list(BOOK), prices={"CL": OIL_PRICE})
    outcomes = run_scenarios(table, BOOK, environment.breaker, gross_exposure_max=environment.limits.gross_exposure_max)
    multiples = {breach.subject: breach.size for breach in reverse_scenarios(table, BOOK, {"half_drawdown_frac": 0.10})}
    for line in lines_of(outcomes, multiples):
        print(line)
    timing = timed()
    print(timing)
    rows = [asdict(one) | {"state": one.state.name, "to_cut": multiples[one.scenario]} for one in outcomes]
    record.write("stress_scenarios", {"book": BOOK, "rows": [_plain(row) for row in rows], "timing": timing})


def lines_of(outcomes: tuple[StressOutcome, ...], multiples: dict[str, float | None]) -> list[str]:
    lines = [
        "| scenario | steps | loss | with the breaker | steps to breaker | state | multiple that cuts |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in outcomes:
        if one.reason:
            lines.append(f"| {one.scenario} | {one.steps} | unknown: {one.reason} | | | {one.state.name} | |")
            continue
        size = multiples[one.scenario]
        multiple = "-" if size is None else f"{size:.2f}"
        lines.append(
            f"| {one.scenario} | {one.steps} | {one.loss_frac:.1%} | {one.loss_with_breaker_frac:.1%} "
            f"| {one.steps_to_breaker or '-'} | {one.state.name}{CAPS[one.level]} | {multiple} |"
        )
    return lines


def timed() -> dict[str, float]:
    """Return median milliseconds of mapping by betas, of all scenarios, and of reverse stress for three limits."""
    stream = random_stream(1, "stress benchmark")
    moves = {name: stream.normal(0, deviation, ROWS) for name, deviation in FACTORS.items()}
    loads = stream.normal(1.0, 0.5, (ASSETS, len(FACTORS))) * 0.01 / np.array(list(FACTORS.values()))
    returns = {
        f"S{i}": sum(load * move for load, move in zip(loads[i], moves.values(), strict=True))
        + stream.normal(0, 0.01, ROWS)
        for i in range(ASSETS)
    }
    environment = load_environment(PROJECT / "configs" / "production.yaml")
    fold = Fold(0, 0, 1200, 1201, ROWS, (0, 1), (1, 2), 1)
    book = {symbol: float(weight) for symbol, weight in zip(returns, stream.normal(0, 0.02, ASSETS), strict=True)}
    times: dict[str, list[float]] = {"map_ms": [], "run_ms": [], "reverse_ms": []}
    for _ in range(REPEATS):
        start = time.perf_counter()
        table = map_shocks(library(), list(returns), training=training_moves(returns, moves, fold))
        mapped = time.perf_counter()
        run_scenarios(table, book, environment.breaker, gross_exposure_max=5.0)
        run = time.perf_counter()
        reverse_scenarios(table, book, BOUNDS)
        stop = time.perf_counter()
        for name, seconds in zip(times, (mapped - start, run - mapped, stop - run), strict=True):
            times[name].append(seconds * 1e3)
    medians = {name: round(statistics.median(values), 2) for name, values in times.items()}
    return {"assets": ASSETS, "scenarios": len(library().scenarios), **medians}


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    """Return the row with None for NaN, which JSON does not know."""
    return {key: None if isinstance(value, float) and np.isnan(value) else value for key, value in row.items()}


if __name__ == "__main__":
    main()
