"""Drift of a new batch of bars against the span a release was trained on: PSI and Kolmogorov-Smirnov by measure.

What describes a stream of bars is measured per instrument: log return, log range, log volume, bars per session. For
each, with ten bins between the deciles of the reference (a decile that many values share is a bin of its own),

    PSI = sum_i (a_i - e_i) ln(a_i / e_i)

where e_i and a_i are the shares of reference and batch in bin i (Siddiqi, *Credit Risk Scorecards*, 2006, ch. 8, with
its usual bounds .10 and .25); half an observation is added to every bin so that none is empty. D is the two-sample
Kolmogorov-Smirnov statistic. Its textbook p-value is useless here: volatility clusters, so 40,000 bars are worth a few
hundred independent ones. D is judged against a bound from the reference itself instead:
the 99 % quantile of D between the whole reference and its own runs of consecutive sessions as long as the batch
(moving blocks, Künsch 1989), which keeps the dependence within a run.

PSI has a floor too: with n effective observations its expectation without any drift is about (bins - 1) / n. A
batch of fewer than ``SESSIONS_MIN`` sessions is refused.

False alarms, each quarter of 60 sessions against all before it (``benchmarks/drift_false_alarms.py``; its figures are
in ``benchmarks/results/drift_false_alarms.json``). On the tracked data (four quarters from session 160 on, four
instruments, 64 measures) the largest PSI is .08 and no bound of PSI is touched; D passes its own bound 17 times of 64,
because 160 sessions hold less than three quarters from which to learn it, and never twice the bound, which blocks. On
two markets of 800 sessions (from session 400 on, 192 measures) the largest PSI is .03, D passes its bound 14 times
(7 %, against 1 % if quarters were exchangeable) and never by more than a quarter. Real quarters do drift, for
volatility comes in regimes: in ten quarters of the six core Chinese futures, mid-2018 to 2020, the range passes PSI
.25 in 35 of 60 measures and the volume in 37. The suite says that the market has changed, not that the data are wrong.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from grandmodel.core.bars import Bars
from grandmodel.core.errors import DataError
from grandmodel.core.files import write_json_atomic

PSI_WARNING, PSI_BLOCKING = 0.10, 0.25
KS_EXCESS_BLOCKING = 2.0
BINS = 10
SESSIONS_MIN = 20
_SKETCH_POINTS = 1001  # quantiles kept of the reference: D is exact to a thousandth
_BLOCK_LENGTHS = (20, 40, 60, 120)
_BOUND_QUANTILE = 0.99
_BLOCKS_MAX = 200
_GRAIN_QUANTILE = 0.001
_GOLDEN = 0.6180339887498949
_SIDES: tuple[tuple[Literal["left", "right"], Literal["left", "right"]], ...] = (("left", "right"), ("right", "left"))
_KOLMOGOROV_99 = 1.628  # least bound of D: what independent values would need, Smirnov 1948


@dataclass(frozen=True, slots=True)
class MeasureReference:
    """One measure of one instrument over the reference span; all lists are of plain floats."""

    symbol: str
    measure: str
    values: int
    edges: list[float]  # inner edges of the bins, ascending
    shares: list[float]  # of the reference in each bin, len(edges) + 1
    sketch: list[float]  # 1001 evenly spaced quantiles
    bound_sessions: list[int]  # lengths of batch for which a bound of D is known, ascending
    bounds: list[float]


@dataclass(frozen=True, slots=True)
class DriftReference:
    """What is needed to judge a later batch without the data it is compared with."""

    name: str
    raw_hash: str
    bar_minutes: int
    measures: list[MeasureReference]

    def save(self, path: Path) -> None:
        """Write the reference as JSON; equal references give equal bytes."""
        write_json_atomic(path, asdict(self))

    @classmethod
    def load(cls, path: Path) -> DriftReference:
        """Read what ``save`` wrote. Raises DataError where the file holds no reference."""
        try:
            about = json.loads(path.read_text())
            measures = [MeasureReference(**item) for item in about.pop("measures")]
            return cls(measures=measures, **about)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            do = "Make one with `grandmodel data drift --save`"
            raise DataError(str(path), "the file must hold a drift reference", str(error), do) from error


def fit_reference(name: str, raw_hash: str, bars: dict[str, Bars]) -> DriftReference:
    """Return the reference of ``bars``, by symbol, all of one length.

    Raises:
        DataError: an instrument has fewer than 40 sessions, of which no run of 20 could be a batch.
    """
    minutes = next(iter(bars.values())).bar_minutes
    measures = [
        _fit(symbol, measure, values, session)
        for symbol, item in bars.items()
        for measure, (values, session) in stream_measures(item).items()
    ]
    return DriftReference(name, raw_hash, minutes, measures)


def stream_measures(bars: Bars) -> dict[str, tuple[NDArray[np.float64], NDArray[np.int32]]]:
    """Return, by measure, float64[k] and the trading day of each value.

    ``log_return`` (close to close, the first bar has none), ``log_range`` (log of the range as a fraction of the close,
    bars without range left out), both spread over the price step they were rounded to; ``log_volume`` (bars without
    volume left out; absent where volume is unknown) and ``session_bars``.
    """
    log_return, log_range = _without_grain(bars)
    ranged, traded = np.isfinite(log_range), bars.volume > 0
    days, counts = np.unique(bars.session, return_counts=True)
    measures = {
        "log_return": (log_return, bars.session[1:]),
        "log_range": (log_range[ranged], bars.session[ranged]),
        "log_volume": (np.log(bars.volume[traded]), bars.session[traded]),
        "session_bars": (counts.astype(np.float64), days),
    }
    if not traded.any() or np.ptp(bars.volume) == 0:
        del measures["log_volume"]
    return measures


def _without_grain(bars: Bars) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return log returns, float64[n - 1], and log ranges, float64[n] (NaN without a range), without their grain.

    Where a bar moves by a few ticks, both sit on few values, and these move with the price: a bin edge between them
    sees a drift that is none. Each value is shifted within one price step by a fixed, evenly spread sequence.
    """
    raw, span = bars.close / bars.price_factor, (bars.high - bars.low) / bars.price_factor
    steps = np.abs(np.diff(raw))
    steps = steps[steps > 0]
    grain = float(np.quantile(steps, _GRAIN_QUANTILE)) if len(steps) else 0.0
    shift = ((np.arange(len(raw)) * _GOLDEN) % 1.0 - 0.5) * grain
    ranged = np.where(span > grain / 2, span + shift, np.nan)
    return np.diff(np.log(bars.close)) + shift[1:] / raw[1:], np.log(ranged / raw)


def population_stability(shares: NDArray[np.float64], counts: NDArray[np.int64]) -> float:
    """Return the PSI of float64[k] reference shares and int64[k] counts of the batch, half added to every count."""
    expected = (shares + 0.5 / max(1, counts.sum())) / (1 + 0.5 * len(shares) / max(1, counts.sum()))
    actual = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))
    return float(np.sum((actual - expected) * np.log(actual / expected)))


def ks_distance(sketch: NDArray[np.float64], values: NDArray[np.float64]) -> float:
    """Return the two-sample Kolmogorov-Smirnov statistic of ascending ``sketch`` and ``values``.

    Equal to ``scipy.stats.ks_2samp``, which the test holds it against.
    """
    return float(_run_distances(sketch, values, np.array([0, len(values)]), np.array([0]), 1)[0])


def _run_distances(
    sketch: NDArray[np.float64],
    values: NDArray[np.float64],
    starts: NDArray[np.int64],
    picks: NDArray[np.int64],
    length: int,
) -> NDArray[np.float64]:
    """Return float64[len(picks)], the statistic of the run of ``length`` sessions from each pick on.

    ``starts`` is where each session begins in ``values``, the end included. Both distribution functions are steps, so
    their distance is greatest at a point of the sketch, taken from the left or from the right: counting the values
    between its points, once per session, is all the work.
    """
    sessions, width = len(starts) - 1, len(sketch) + 1
    owner = np.repeat(np.arange(sessions), np.diff(starts))
    stop = picks + length
    sizes = (starts[stop] - starts[picks])[:, None]
    distance = np.zeros(len(picks))
    for side, other in _SIDES:
        cells = owner * width + np.searchsorted(sketch, values, side=side)
        counts = np.bincount(cells, minlength=sessions * width).reshape(sessions, width)
        before = np.vstack([np.zeros((1, width), np.int64), np.cumsum(counts, axis=0)])
        reached = np.cumsum(before[stop] - before[picks], axis=1)[:, :-1] / sizes
        own = np.searchsorted(sketch, sketch, side=other) / len(sketch)
        distance = np.maximum(distance, np.abs(reached - own).max(axis=1))
    return distance


def measure_drift(reference: DriftReference, bars: dict[str, Bars]) -> pd.DataFrame:
    """Return one row per instrument and measure: symbol, measure, values, sessions, psi, ks, ks_bound, ks_excess.

    ``ks_excess`` is D over its bound, so that 1 is as far as a run of the reference strays in one of a hundred.

    Raises:
        DataError: the batch is too short, of another bar length, or holds no instrument of the reference.
    """
    rows = []
    for item in reference.measures:
        if item.symbol not in bars:
            continue
        batch = bars[item.symbol]
        sessions = _judged_sessions(reference, batch)
        values = stream_measures(batch).get(item.measure, (np.empty(0), np.empty(0)))[0]
        if len(values) == 0:
            found = f"no {item.measure} in the batch"
            raise DataError(item.symbol, "a batch must hold every measure of its reference", found, "Check its columns")
        counts = np.bincount(np.searchsorted(item.edges, values, side="left"), minlength=len(item.shares))
        distance = ks_distance(np.array(item.sketch), values)
        independent = _KOLMOGOROV_99 * np.sqrt(1 / item.values + 1 / len(values))
        bound = max(float(np.interp(sessions, item.bound_sessions, item.bounds)), independent)
        rows.append(
            {
                "symbol": item.symbol,
                "measure": item.measure,
                "values": len(values),
                "sessions": sessions,
                "psi": population_stability(np.array(item.shares), counts),
                "ks": distance,
                "ks_bound": bound,
                "ks_excess": distance / bound,
            }
        )
    if not rows:
        do = "Name it by --instrument"
        raise DataError(reference.name, "batch and reference must share an instrument", sorted(bars), do)
    return pd.DataFrame(rows)


def _judged_sessions(reference: DriftReference, batch: Bars) -> int:
    sessions = len(np.unique(batch.session))
    if batch.bar_minutes != reference.bar_minutes:
        found = f"{batch.bar_minutes} against {reference.bar_minutes} minutes"
        raise DataError(batch.symbol, "batch and reference must hold bars of one length", found, "Resample one of them")
    if sessions < SESSIONS_MIN:
        raise DataError(batch.symbol, f"a batch must hold at least {SESSIONS_MIN} sessions", sessions, "Wait for more")
    return sessions


def _fit(symbol: str, measure: str, values: NDArray[np.float64], session: NDArray[np.int32]) -> MeasureReference:
    days, first = np.unique(session, return_index=True)
    if len(days) < 2 * SESSIONS_MIN:
        do = "Give a longer reference"
        raise DataError(symbol, f"a reference must hold at least {2 * SESSIONS_MIN} sessions", len(days), do)
    edges = _edges(values)
    counts = np.bincount(np.searchsorted(edges, values, side="left"), minlength=len(edges) + 1)
    sketch = np.quantile(values, np.linspace(0, 1, _SKETCH_POINTS))
    lengths = [length for length in _BLOCK_LENGTHS if 2 * length <= len(days)]
    bounds = [_bound(values, np.r_[first, len(values)], sketch, length) for length in lengths]
    return MeasureReference(
        symbol, measure, len(values), edges.tolist(), (counts / counts.sum()).tolist(), sketch.tolist(), lengths, bounds
    )


def _edges(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the inner deciles; one that many values share gets an edge just below it too, and so a bin of its own."""
    deciles = np.unique(np.quantile(values, np.arange(1, BINS) / BINS))
    shared = [decile for decile in deciles if np.mean(values == decile) > 0.5 / BINS]
    return np.unique(np.r_[deciles, np.nextafter(shared, -np.inf)])


def _bound(values: NDArray[np.float64], starts: NDArray[np.int64], sketch: NDArray[np.float64], length: int) -> float:
    """Return the 99 % quantile of D between ``sketch`` and runs of ``length`` sessions, evenly spread."""
    last = len(starts) - 1 - length
    picks = np.unique(np.linspace(0, last, min(_BLOCKS_MAX, last + 1)).astype(np.int64))
    return float(np.quantile(_run_distances(sketch, values, starts, picks, length), _BOUND_QUANTILE))
