"""What a bar costs in each way of computing the columns: ``python -m benchmarks.features``.

Simulated bars from the repository. Batch, stream in one call (extend) and stream bar by bar (push) take turns; best and
median over the turns are recorded, in microseconds per bar. ``push_late`` pushes the last bars of the file, when the
vote of mlmi has all its crosses to look through. The groups of columns are those of the batch; a stream runs the same
step for each, so its own share is what push costs more than extend.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from benchmarks.record import write
from grandmodel.core.bars import Bars
from grandmodel.core.config import FeatureParams
from grandmodel.data.readers import read_dataset
from grandmodel.features import columns as c
from grandmodel.features import kernels
from grandmodel.features import strategic as batch30
from grandmodel.features.kernels_gaps import gap_columns, relative_volume
from grandmodel.features.mmd import fit_mmd_reference, mmd_column
from grandmodel.features.reference import strategic_reference, tactical_reference
from grandmodel.features.strategic import strategic_features
from grandmodel.features.streaming import StrategicStream, TacticalStream, bar_at
from grandmodel.features.synergy import SynergyStream, find_synergy, gap_signals
from grandmodel.features.tactical import tactical_features
from pipelines.workspace import PROJECT

SYMBOL = "NQ"
PUSHED_BARS = 4000
REFERENCE_BARS = 300
Way = Callable[[], tuple[Callable[[], object], int]]


def microseconds(work: Callable[[], object], bars: int) -> float:
    """Return what ``work`` takes per bar."""
    began = time.perf_counter_ns()
    work()
    return (time.perf_counter_ns() - began) / 1000 / bars


def push_all(stream: StrategicStream | TacticalStream, bars: Bars) -> Callable[[], object]:
    """Return work that pushes ``bars`` one by one; making the bars is not part of it."""
    made = [bar_at(bars, t) for t in range(len(bars))]
    return lambda: [stream.push(bar) for bar in made]


def ways(strategic: Bars, tactical: Bars, tick_size: float) -> dict[str, Way]:
    """Return each way as a maker of (work, bars), so that every turn begins with a fresh stream."""
    params = FeatureParams()
    reference = fit_mmd_reference(strategic, 4000, params, seed=1)
    few, fast_few = strategic.rows(0, REFERENCE_BARS), tactical.rows(0, REFERENCE_BARS)
    columns = strategic_features(strategic, params, reference, tick_size)
    gap = gap_signals(tactical, params)

    def stream30() -> StrategicStream:
        return StrategicStream(SYMBOL, params, reference, tick_size)

    def late30() -> StrategicStream:
        stream = stream30()
        stream.extend(strategic.rows(0, len(strategic) - PUSHED_BARS))
        return stream

    first, last = strategic.rows(0, PUSHED_BARS), strategic.rows(len(strategic) - PUSHED_BARS, len(strategic))
    pushed5 = tactical.rows(0, PUSHED_BARS)
    return {
        "strategic_batch": lambda: (
            lambda: strategic_features(strategic, params, reference, tick_size),
            len(strategic),
        ),
        "strategic_stream_extend": lambda: ((s := stream30()) and (lambda: s.extend(strategic)), len(strategic)),
        "strategic_stream_push": lambda: (push_all(stream30(), first), PUSHED_BARS),
        "strategic_stream_push_late": lambda: (push_all(late30(), last), PUSHED_BARS),
        "strategic_reference": lambda: (
            lambda: strategic_reference(few, params, reference, tick_size),
            REFERENCE_BARS,
        ),
        "tactical_batch": lambda: (lambda: tactical_features(tactical, params), len(tactical)),
        "tactical_stream_extend": lambda: (
            lambda: TacticalStream(SYMBOL, params).extend(tactical),
            len(tactical),
        ),
        "tactical_stream_push": lambda: (push_all(TacticalStream(SYMBOL, params), pushed5), PUSHED_BARS),
        "tactical_reference": lambda: (lambda: tactical_reference(fast_few, params), REFERENCE_BARS),
        "synergy_batch": lambda: (
            lambda: find_synergy(tactical, strategic.close_ns, columns, params),
            len(tactical),
        ),
        "synergy_stream_push": lambda: (lambda: push_synergy(tactical, strategic, columns, gap), len(tactical)),
    }


def groups(strategic: Bars, tactical: Bars, tick_size: float) -> dict[str, Way]:
    """Return the batch of each group of columns."""
    params = FeatureParams()
    reference = fit_mmd_reference(strategic, 4000, params, seed=1)
    slow = kernels.average_true_range(strategic.high, strategic.low, strategic.close, c.TRUE_RANGE_BARS)
    fast = kernels.average_true_range(tactical.high, tactical.low, tactical.close, c.TRUE_RANGE_BARS)
    prices = (tactical.open, tactical.high, tactical.low, tactical.close)
    gap_windows = (params.gap_lookback_bars, params.gap_body_multiple, params.gap_age_bars_max, c.TIE_FRAC)
    returns = kernels.log_change(strategic.close, 1)
    count = len(strategic)
    work: dict[str, Way] = {
        "columns_mlmi": lambda: (lambda: batch30._mlmi(strategic, params.mlmi_neighbours), count),
        "columns_nwrqk": lambda: (lambda: batch30._nwrqk(strategic.close, slow, params), count),
        "columns_profile": lambda: (lambda: batch30._profile(strategic, slow, params, tick_size), count),
        "columns_hour": lambda: (lambda: kernels.day_cycle(strategic.close_ns), count),
        "columns_momentum_20": lambda: (lambda: kernels.log_change(strategic.close, 20), count),
        "columns_mmd": lambda: (lambda: mmd_column(strategic, params, reference), count),
        "columns_volatility": lambda: (lambda: kernels.root_mean_square(returns, 1, 30), count),
        "columns_fvg": lambda: (lambda: gap_columns(*prices, fast, *gap_windows), len(tactical)),
        "columns_momentum_5": lambda: (lambda: kernels.log_change(tactical.close, 5), len(tactical)),
        "columns_volume_ratio": lambda: (lambda: relative_volume(tactical.volume, 20), len(tactical)),
    }
    return work


def push_synergy(tactical: Bars, strategic: Bars, columns: np.ndarray, gap: np.ndarray) -> None:
    """Feed the rule bar by bar."""
    stream, s = SynergyStream(SYMBOL), 0
    closes, gaps, slow = tactical.close_ns.tolist(), gap.tolist(), strategic.close_ns.tolist()
    for now_ns, born in zip(closes, gaps, strict=True):
        while s < len(slow) and slow[s] <= now_ns:
            stream.push_strategic(slow[s], columns[s])
            s += 1
        stream.push_tactical(now_ns, born)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=5)
    turns = parser.parse_args().turns
    dataset = read_dataset(PROJECT / "data", symbols=[SYMBOL])
    strategic, tactical = dataset.strategic[SYMBOL], dataset.tactical[SYMBOL]
    tick_size = dataset.instruments[SYMBOL].tick_size
    made = ways(strategic, tactical, tick_size) | groups(strategic, tactical, tick_size)
    for make in made.values():  # compiles
        make()[0]()
    taken: dict[str, list[float]] = {name: [] for name in made}
    for _ in range(turns):
        for name, make in made.items():
            taken[name].append(microseconds(*make()))
    best = {name: min(values) for name, values in taken.items()}
    median = {name: statistics.median(values) for name, values in taken.items()}
    for name in made:
        print(f"{name:28s} best {best[name]:9.3f}  median {median[name]:9.3f} us a bar")
    bars = {"strategic": len(strategic), "tactical": len(tactical), "pushed": PUSHED_BARS}
    print(write("features", {"turns": turns, "bars": bars, "best_us_a_bar": best, "median_us_a_bar": median}))


if __name__ == "__main__":
    main()
