"""Tail risk of a book and its covariance, beside library compositions in the same process.

All six methods, VaR and ES at three levels, once a bar: ``BookRisk.update`` against

- ``libraries``: skfolio's measures (historical), quantstats (parametric), pandas (Cornish-Fisher moments, EWMA) and
  numpy's Generator over 10,000 draws of N assets (Monte Carlo), the way one composes them from their pages. The
  triangular factor is handed to them, and they need not slide their window;
- ``lean``: numpy and scipy alone, every shared number computed once, Monte Carlo drawn along the book's own direction:
  the tightest composition without a loop of one's own;
- both again without their Monte Carlo, because ours keeps its draws while theirs are fresh.

The contenders are compared before anything is timed. One thread each, turn by turn; a call's processor time, which a
busy neighbour disturbs least, decides the ratios (medians over turns); wall time is recorded beside it. Calls of about
a microsecond are timed fifty at once, for reading the clock costs half as much. The tail of the times is also given
over the calls that no other process broke into, as the scheduler counts.
"""

from __future__ import annotations

import os

os.environ.update(OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")  # read on import

import argparse
import math
import resource
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.signal import lfilter

from benchmarks.record import write
from grandmodel.core.errors import ConfigError
from grandmodel.core.random import random_stream
from grandmodel.risk import shock
from grandmodel.risk.covariance import EwmaCovariance, MeanCorrelation
from grandmodel.risk.tail import EWMA_LAMBDA, LEVELS, METHODS, normal_tail
from grandmodel.risk.tail_book import BookRisk

try:
    import quantstats
    import skfolio
    from quantstats import stats
    from skfolio import measures
    from skfolio.moments import EWCovariance
except ImportError as error:
    rule = f"{error.name} is needed"
    raise ConfigError("benchmarks", rule, do="pip install -r benchmarks/requirements.txt") from error

Floats = NDArray[np.float64]
Call = Callable[[], object]
SIZES = ((10, 500), (100, 2500))
DRAWS = 10_000
BATCH = 50
HALF_LIFE = float(np.log(0.5) / np.log(EWMA_LAMBDA))
NORMAL = np.array([normal_tail(level) for level in LEVELS])


def market(assets: int, bars: int) -> Floats:
    """Return float64[bars, assets]: a common factor and own moves with fat tails."""
    stream = random_stream(1, "tail benchmark", assets)
    rows: Floats = 0.005 * stream.standard_t(6, (bars, 1)) + 0.008 * stream.standard_t(6, (bars, assets))
    return rows


def tail(values: Floats) -> Floats:
    """Return float64[L, 2] of the order statistics of ``values`` by numpy."""
    counts = [int(np.ceil(len(values) * (1 - level) - 1e-9)) for level in LEVELS]
    lowest = np.partition(values, [count - 1 for count in counts])[: counts[0]]
    return np.array([(-lowest[count - 1], -lowest[:count].mean()) for count in counts])


def expansion(skew: float, kurtosis: float) -> Floats:
    z, es = -NORMAL[:, 0], NORMAL[:, 1]
    var = z + (z**2 - 1) * skew / 6 + (z**3 - 3 * z) * kurtosis / 24 - (2 * z**3 - 5 * z) * skew**2 / 36
    shortfall = es * (1 + z * skew / 6 + (z**2 - 1) * kurtosis / 24 - (2 * z**2 - 1) * skew**2 / 36)
    return np.stack([-var, shortfall], axis=1)


def by_libraries(
    window: Floats, weights: Floats, factor: Floats, generator: np.random.Generator | None
) -> dict[str, Floats]:
    pnl = window @ weights
    series = pd.Series(pnl)
    one = {"historical": [(measures.value_at_risk(pnl, beta=c), measures.cvar(pnl, beta=c)) for c in LEVELS]}
    one["parametric"] = [
        (
            -stats.value_at_risk(series, confidence=c, prepare_returns=False),
            -stats.conditional_value_at_risk(series, confidence=c, prepare_returns=False),
        )
        for c in LEVELS
    ]
    shape = expansion(series.skew(), series.kurt())
    result = {name: np.array(pairs, np.float64) for name, pairs in one.items()}
    result["cornish_fisher"] = series.std() * shape - series.mean()
    if generator is not None:
        result["monte_carlo"] = tail(generator.standard_normal((DRAWS, len(weights))) @ (factor.T @ weights))
    volatility = np.sqrt((series**2).ewm(alpha=1 - EWMA_LAMBDA, adjust=False).mean())
    shapes = (series / volatility.shift()).to_numpy()[1:]
    now = float(volatility.iloc[-1])
    by_measure = [(measures.value_at_risk(shapes, beta=c), measures.cvar(shapes, beta=c)) for c in LEVELS]
    result["filtered_historical"] = now * np.array(by_measure)
    result["ewma_normal"] = now * NORMAL
    return result


def lean(window: Floats, weights: Floats, generator: np.random.Generator | None) -> dict[str, Floats]:
    pnl = window @ weights
    mean, count = pnl.mean(), len(pnl)
    centred = pnl - mean
    squared = centred * centred
    variance = squared.mean()
    deviation = np.sqrt(variance)
    skew = (squared @ centred) / count / (variance * deviation)
    kurtosis = (squared @ squared) / count / variance**2 - 3.0
    squares = pnl * pnl
    variances, _ = lfilter([1 - EWMA_LAMBDA], [1.0, -EWMA_LAMBDA], squares, zi=[EWMA_LAMBDA * squares.mean()])
    now = np.sqrt(variances[-1])
    before = np.empty(count)
    before[0], before[1:] = squares.mean(), variances[:-1]
    result = {
        "historical": tail(pnl),
        "parametric": np.sqrt(count / (count - 1)) * deviation * NORMAL - mean,
        "cornish_fisher": deviation * expansion(float(skew), float(kurtosis)) - mean,
        "filtered_historical": now * tail(pnl / np.sqrt(before)),
        "ewma_normal": now * NORMAL,
    }
    if generator is not None:
        result["monte_carlo"] = tail(now * generator.standard_normal(DRAWS))
    return result


def compare(ours: Floats, theirs: dict[str, Floats], who: str) -> None:
    """Refuse to time contenders that compute something else. Conventions and laws differ by as much as stated."""
    tolerance = {"parametric": 1e-9, "cornish_fisher": 0.02, "ewma_normal": 2e-3}
    assert set(theirs) == set(METHODS)
    for row, name in zip(ours, METHODS, strict=True):
        # Quantile conventions and, for Monte Carlo, a normal law in the place of Student's.
        np.testing.assert_allclose(theirs[name], row, rtol=tolerance.get(name, 0.3), err_msg=f"{who} {name}")
    historical = list(METHODS).index("historical")
    np.testing.assert_allclose(theirs["historical"][[0, 2], 1], ours[historical][[0, 2], 1], rtol=1e-9)


class Clocked:
    """Processor and wall nanoseconds of a call, turn by turn; a batch of calls at once where one is too short."""

    def __init__(self) -> None:
        self.turns: list[float] = []
        self.calls: list[float] = []
        self.wall: list[float] = []
        self.undisturbed: list[float] = []  # processor time of calls that no other process broke into

    def turn(self, call: Call, calls: int, batch: int) -> None:
        call()  # what the neighbour in the turn left in the caches is not this one's fault
        spent, switches = [], _switches()
        for _ in range(calls):
            wall, began = time.perf_counter_ns(), time.thread_time_ns()
            call()
            spent.append((time.thread_time_ns() - began) / batch)
            self.wall.append((time.perf_counter_ns() - wall) / batch)
            before, switches = switches, _switches()
            if switches == before:
                self.undisturbed.append(spent[-1])
        self.turns.append(float(np.median(spent)))
        self.calls += spent

    def figures(self) -> dict[str, float]:
        figures: dict[str, float] = {}
        for clock, values in (("", self.calls), ("undisturbed_", self.undisturbed), ("wall_", self.wall)):
            if not values:  # long calls are always broken into on a busy machine
                continue
            p50, p99 = (float(value) / 1e3 for value in np.percentile(values, [50, 99]))
            figures |= {f"{clock}p50_us": p50, f"{clock}p99_us": p99, f"{clock}p99_over_p50": p99 / p50}
        return figures | {"disturbed_frac": 1 - len(self.undisturbed) / len(self.calls)}


def _switches() -> int:
    """Return how often this thread was sent off its core for another."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


def measure(contenders: dict[str, tuple[Call, int, int]], turns: int) -> dict[str, Clocked]:
    clocked = {name: Clocked() for name in contenders}
    for _ in range(turns):
        for name, (call, calls, batch) in contenders.items():
            clocked[name].turn(call, calls, batch)
    return clocked


def each(update: Callable[[Floats], object], rows: list[Floats]) -> Call:
    """Return a call that hands all ``rows`` to ``update``, one by one."""

    def run() -> None:
        for row in rows:
            update(row)

    return run


def endless(rows: Floats) -> Iterator[Floats]:
    while True:
        yield from rows


def contenders_of(assets: int, bars: int) -> dict[str, tuple[Call, int, int]]:
    """Return the calls of one size, compared with each other; with how often each runs in a turn, and its batch."""
    history = market(assets, 2 * bars)
    window, rows = history[:bars], endless(np.ascontiguousarray(history[bars:]))
    weights = random_stream(2, "tail benchmark", assets).normal(0.0, 0.3 / np.sqrt(assets), assets)
    book, other = BookRisk(assets, bars, bars_per_day=78), BookRisk(assets, bars, bars_per_day=78)
    book.load(window)
    other.load(window)
    factor, generator = np.linalg.cholesky(book.state.covariance), random_stream(3, "tail benchmark")
    ours = book.measure(weights).tails[0]
    compare(ours, by_libraries(window, weights, factor, generator), "libraries")
    compare(ours, lean(window, weights, generator), "lean")

    turning = endless(np.stack([weights, -weights]))
    covariance, mean = EwmaCovariance(assets), MeanCorrelation(assets)
    detector = shock.new_memory(assets, shock.ShockParams())
    for row in window:
        covariance.update(row)
        mean.update(row)
        shock.update(detector, row)
    estimator, fitted = EWCovariance(half_life=HALF_LIFE), EWCovariance(half_life=HALF_LIFE).fit(window)
    one_row, batch = window[:1], list(np.ascontiguousarray(history[bars : bars + BATCH]))

    def with_eigenvalue(row: Floats) -> float:
        covariance.update(row)
        return covariance.eigenvalue_share()

    return {
        "book": (lambda: book.update(next(rows), weights), 100, 1),
        "book_other_weights": (lambda: other.update(next(rows), next(turning)), 100, 1),
        "libraries": (lambda: by_libraries(window, weights, factor, generator), 3, 1),
        "libraries_without_monte_carlo": (lambda: by_libraries(window, weights, factor, None), 3, 1),
        "lean": (lambda: lean(window, weights, generator), 20, 1),
        "lean_without_monte_carlo": (lambda: lean(window, weights, None), 20, 1),
        "allocation_of_all_six": (lambda: [book.allocate(weights, 0.99, name) for name in METHODS], 1, 1),
        "covariance": (each(covariance.update, batch), 10, BATCH),
        "skfolio_refit": (lambda: estimator.fit(window), 5, 1),
        "skfolio_partial_fit": (lambda: fitted.partial_fit(one_row), 5, 1),
        "mean_correlation": (each(mean.update, batch), 10, BATCH),
        "eigenvalue": (each(with_eigenvalue, batch), 10, BATCH),
        "shock_detector": (each(partial(shock.update, detector), batch), 10, BATCH),
        "corrcoef": (lambda: np.corrcoef(window, rowvar=False), 20, 1),
        "corrcoef_eigenvalue": (lambda: np.linalg.eigvalsh(np.corrcoef(window, rowvar=False))[-1], 5, 1),
    }


PAIRS = {
    "all six / libraries": ("book", "libraries"),
    "all six / lean numpy": ("book", "lean"),
    "all six / libraries without Monte Carlo": ("book", "libraries_without_monte_carlo"),
    "all six / lean numpy without Monte Carlo": ("book", "lean_without_monte_carlo"),
    "all six at other weights / libraries": ("book_other_weights", "libraries"),
    "EWMA covariance / skfolio refit": ("covariance", "skfolio_refit"),
    "EWMA covariance / skfolio partial_fit of a row": ("covariance", "skfolio_partial_fit"),
    "mean correlation / np.corrcoef": ("mean_correlation", "corrcoef"),
    "shock detector / np.corrcoef": ("shock_detector", "corrcoef"),
    "eigenvalue / np.corrcoef and LAPACK": ("eigenvalue", "corrcoef_eigenvalue"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/tail_risk.json")
    arguments = parser.parse_args()
    sizes: dict[str, Any] = {}
    for assets, bars in SIZES:
        clocked = measure(contenders_of(assets, bars), arguments.turns)
        figures = {name: one.figures() for name, one in clocked.items()}
        ratios = {
            text: float(np.median(np.array(clocked[one].turns) / np.array(clocked[other].turns)))
            for text, (one, other) in PAIRS.items()
        }
        print(f"N = {assets}, T = {bars}")
        for name, row in figures.items():
            times = f"{row['p50_us']:10.2f} us p50 {row['p99_us']:10.2f} p99 {row['p99_over_p50']:6.2f}x"
            quiet = row.get("undisturbed_p99_over_p50", math.nan)
            print(f"{name:>32} {times}; {quiet:6.2f}x without the {row['disturbed_frac']:6.2%} broken into")
        for text, ratio in ratios.items():
            print(f"{text:>48} {ratio:.5f}")
        sizes[f"N{assets}_T{bars}"] = {"figures": figures, "ratios": ratios}
    content = {
        "turns": arguments.turns,
        "clock": "processor time of single calls, one thread; ratios are medians over turns of the medians in a turn",
        "levels": list(LEVELS),
        "sizes": sizes,
        "peers": {
            "skfolio": skfolio.__version__,
            "quantstats": quantstats.__version__,
            "pandas": pd.__version__,
            "numpy": np.__version__,
        },
    }
    if arguments.write:
        print(write("tail_risk", content))


if __name__ == "__main__":
    main()
