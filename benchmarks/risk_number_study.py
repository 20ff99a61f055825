"""How often does gate G6 refuse the risk number of a release on which nothing is wrong, and one on which much is?

    python -m benchmarks.risk_number_study

Simulated records as long as those of the tracked data, drawn apart: 9,200 half hours of a book that always holds one
instrument, and 200 days of a release. A world is refused when the gate names any fault of the risk number, as it would
in a release.

- **normal**, **fat tails** (Student, 5 degrees) and **clusters** (GARCH(1, 1), Student innovations of 6 degrees): what
  the six methods are made for. A refusal is a false alarm; the gate states at most ``risk_false_alarm_max`` of them.
- **sold insurance**: small gains, and in one return of 50 a loss that is exponential with a mean of eight deviations.
- **crises**: the same losses, each followed by two more.

Writes ``benchmarks/results/risk_number.json``.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from benchmarks import record
from grandmodel.core.config import GateParams
from grandmodel.core.random import random_stream
from grandmodel.gates.risk_number import RiskNumber, follow, follow_book, number_faults
from grandmodel.risk.held_book import HALF_HOURS_A_DAY, HeldBook

Floats = NDArray[np.float64]
World = Callable[[np.random.Generator, int], Floats]
HALF_HOUR, DAY = "30 minutes", "1 day"
HORIZONS = {HALF_HOUR: 9_200, DAY: 200}
TRADED_HALF_HOURS = 46  # of a day
TRIALS, SEED, SHORTFALL_DRAWS = 200, 1, 1_000
DEVIATION = 0.01


def normal(stream: np.random.Generator, n: int) -> Floats:
    """Return returns float64[n] of one deviation throughout."""
    return DEVIATION * stream.normal(size=n)


def fat_tails(stream: np.random.Generator, n: int) -> Floats:
    """Return independent Student returns float64[n]."""
    return DEVIATION * stream.standard_t(5, n)


def clusters(stream: np.random.Generator, n: int) -> Floats:
    """Return float64[n] of a GARCH(1, 1) with usual daily coefficients."""
    steps = stream.standard_t(6, n) / np.sqrt(1.5)
    out, variance = np.empty(n), 1.0
    for t in range(n):
        out[t] = np.sqrt(variance) * steps[t]
        variance = 0.02 + 0.05 * out[t] ** 2 + 0.93 * variance
    return DEVIATION * out


def sold_insurance(stream: np.random.Generator, n: int) -> Floats:
    """Return float64[n]: small gains and rare large losses."""
    return np.where(stream.random(n) < 0.02, -8.0 * stream.exponential(size=n), 0.2 * stream.normal(size=n)) * DEVIATION


def crises(stream: np.random.Generator, n: int) -> Floats:
    """Return float64[n] like ``sold_insurance``, but three losses in a row whenever one comes."""
    starts = stream.random(n) < 0.02 / 3.0
    lost = starts | np.roll(starts, 1) | np.roll(starts, 2)
    return np.where(lost, -8.0 * stream.exponential(size=n), 0.2 * stream.normal(size=n)) * DEVIATION


WORLDS: dict[str, World] = {
    "normal": normal,
    "fat tails": fat_tails,
    "clusters": clusters,
    "sold insurance": sold_insurance,
    "crises": crises,
}


def refusals(world: str, trials: int) -> int:
    """Return how many of ``trials`` releases of ``world`` the gate refuses for their risk number."""
    params = GateParams()
    refused = 0
    for trial in range(trials):
        numbers = []
        for horizon, n in HORIZONS.items():
            stream = random_stream(SEED, world, horizon, trial)
            returns = WORLDS[world](stream, n)
            numbers.append(judged(returns, horizon, params.risk_level, stream))
        refused += bool(number_faults(numbers, params.risk_false_alarm_max))
    return refused


def judged(returns: Floats, horizon: str, level: float, stream: np.random.Generator) -> RiskNumber:
    """Return the risk number over ``returns``: of a release by days, of what one instrument did by half hours."""
    if horizon == DAY:
        return follow(returns, horizon, level=level, stream=stream, draws=SHORTFALL_DRAWS)
    day, place = np.divmod(np.arange(len(returns)), TRADED_HALF_HOURS)
    book = HeldBook(day * HALF_HOURS_A_DAY + place, np.ones((len(returns), 1)), returns[:, None])
    return follow_book(book, horizon, level=level, stream=stream, draws=SHORTFALL_DRAWS)


def main() -> None:
    """Run every world and write the counts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=TRIALS)
    trials = parser.parse_args().trials
    found = {world: {"trials": trials, "refused": refusals(world, trials)} for world in WORLDS}
    for world, row in found.items():
        print(f"{world}: {row['refused']} of {row['trials']} refused")
    record.write("risk_number", {"simulated": True, "seed": SEED, "horizons": HORIZONS, "worlds": found})


if __name__ == "__main__":
    main()
