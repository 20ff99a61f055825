"""How often does G4 let the best of worthless trials pass, and how often a good release? Simulated returns.

    python -m benchmarks.selection_study [--draws 200] [--write]

About twenty minutes on one core.

A search is a table of daily returns with fat tails (Student, 5 degrees) and volatility that clusters, in which trials
share a part of what happens on a day. The worthless search has no edge; its best trial is released, once with all
trials in the ledger, once with itself alone, which is what a gate without a ledger sees. The good release has a true
annual Sharpe ratio: one of five seeds that all have it and none of which is picked, or the one good trial among fifty,
released only where the search finds it.

The part on overfitting takes seconds a release, so searches that are told as picked are a fifth of all draws. Of the
worthless ones that part can only refuse more.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from benchmarks import record
from grandmodel.core.config import GateParams
from grandmodel.core.random import random_stream
from grandmodel.gates import g4_selection
from grandmodel.gates.result import GateResult
from grandmodel.stats.performance import SESSIONS_PER_YEAR
from grandmodel.stats.trials import Trials

Table = NDArray[np.float64]  # [trials, days]

TRIALS, SEEDS, DRAWS, BOOTSTRAP_DRAWS = 50, 5, 200, 500
DAILY_VOLATILITY = 0.01
SHARED = (0.0, 0.5, 0.9)  # correlation of any two trials of a search
DAYS = (200, 400)
SHARPES = (2.0, 4.0, 6.0)
SEEDS_SHARED = 0.8  # seeds of one configuration trade much alike


def worthless(stream: np.random.Generator, trials: int, days: int, shared: float) -> Table:
    """Return daily returns of a search in which nothing earns anything."""
    log_volatility = np.zeros(days)
    for day in range(1, days):
        log_volatility[day] = 0.95 * log_volatility[day - 1] + 0.1 * stream.normal()
    common, own = stream.standard_t(5, days), stream.standard_t(5, (trials, days))
    mixed = np.sqrt(shared) * common + np.sqrt(1.0 - shared) * own
    return np.asarray(DAILY_VOLATILITY * np.exp(log_volatility - log_volatility.var() / 2) * mixed / np.sqrt(5 / 3))


def with_edge(table: Table, annual_sharpe: float) -> Table:
    """Return ``table`` with this true annual Sharpe ratio added to every trial."""
    return np.asarray(table + annual_sharpe / np.sqrt(SESSIONS_PER_YEAR) * DAILY_VOLATILITY)


def best_first(table: Table) -> Table:
    """Return the trials with that of the largest Sharpe ratio in front."""
    best = int((table.mean(axis=1) / table.std(axis=1)).argmax())
    order = [best, *(row for row in range(len(table)) if row != best)]
    return table[order]


def judged(table: Table, seed: int, *, picked: bool) -> GateResult:
    """Return the verdict on the first trial with all of ``table`` in the ledger."""
    names, sessions = tuple(f"trial_{row}" for row in range(len(table))), np.arange(table.shape[1], dtype=np.int32)
    trials = Trials(names, sessions, table, 0, picked, f"{len(table)} drawn")
    return g4_selection.judge(table[0], trials=trials, thresholds=GateParams(), draws=BOOTSTRAP_DRAWS, seed=seed)


def rates(results: list[GateResult]) -> dict[str, Any]:
    """Return passes of the gate and of each part, and the upper 95 % bound of the gate's rate (Clopper, Pearson)."""
    draws, passes = len(results), sum(result.passed for result in results)
    names = list(results[0].evidence["parts"])
    parts = {name: sum(result.evidence["parts"][name]["passed"] for result in results) for name in names}
    upper = 1.0 if passes == draws else float(beta.ppf(0.95, passes + 1, draws - passes))
    effective = float(np.median([result.evidence["effective_trials"] for result in results]))
    return {"draws": draws, "passes": passes, "upper_95": upper, "parts": parts, "median_effective_trials": effective}


def false_passes(draws: int, days: int, shared: float, trials: int = TRIALS) -> dict[str, Any]:
    """Return how often the best of ``trials`` worthless trials passes: all in the ledger, told as picked, and alone."""
    tables = []
    for draw in range(draws):
        stream = random_stream(draw, "worthless", days, str(shared))
        tables.append(best_first(worthless(stream, trials, days, shared)))
    return {
        "days": days,
        "shared": shared,
        "trials": trials,
        "ledger": rates([judged(table, draw, picked=False) for draw, table in enumerate(tables)]),
        "picked": rates([judged(table, draw, picked=True) for draw, table in enumerate(tables[: fifth(draws)])]),
        "without_ledger": rates([judged(table[:1], draw, picked=False) for draw, table in enumerate(tables)]),
    }


def fifth(draws: int) -> int:
    return max(draws // 5, 1)


def named_passes(draws: int, days: int, annual_sharpe: float) -> dict[str, Any]:
    """Return how often the first of five good seeds passes, none of which is picked."""
    results = []
    for draw in range(draws):
        table = worthless(random_stream(draw, "named", days), SEEDS, days, SEEDS_SHARED)
        results.append(judged(with_edge(table, annual_sharpe), draw, picked=False))
    return {"days": days, "annual_sharpe": annual_sharpe, "named_in_advance": rates(results)}


def picked_passes(draws: int, days: int, annual_sharpe: float, trials: int = TRIALS) -> dict[str, Any]:
    """Return how often the one good trial of a search passes after it was picked; ``found``: it was the best."""
    results, found = [], 0
    for draw in range(draws):
        table = worthless(random_stream(draw, "picked", days), trials, days, 0.0)
        table[:1] = with_edge(table[:1], annual_sharpe)
        ordered = best_first(table)
        found += bool((ordered[0] == table[0]).all())
        results.append(judged(ordered, draw, picked=True))
    return {"days": days, "annual_sharpe": annual_sharpe, "trials": trials, "found": found, "picked": rates(results)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/selection_study.json")
    asked = parser.parse_args()
    found: dict[str, Any] = {"false_passes": [], "named_passes": [], "picked_passes": []}
    for days in DAYS:
        for shared in SHARED:
            found["false_passes"].append(false_passes(asked.draws, days, shared))
            print(found["false_passes"][-1], flush=True)
        for annual_sharpe in SHARPES:
            found["named_passes"].append(named_passes(asked.draws, days, annual_sharpe))
            found["picked_passes"].append(picked_passes(fifth(asked.draws), days, annual_sharpe))
            print(found["named_passes"][-1], found["picked_passes"][-1], sep="\n", flush=True)
    if asked.write:
        print(record.write("selection_study", {"bootstrap_draws": BOOTSTRAP_DRAWS, **found}))


if __name__ == "__main__":
    main()
