"""Drift is measured as the formulas say, found where it is, and not where it is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from grandmodel.core.bars import Bars
from grandmodel.core.errors import DataError
from grandmodel.data.reading.readers import read_dataset
from grandmodel.data.validation.drift import (
    PSI_BLOCKING,
    PSI_WARNING,
    DriftReference,
    fit_reference,
    ks_distance,
    measure_drift,
    population_stability,
    stream_measures,
)
from grandmodel.data.validation.validate import run_suites

PROJECT = Path(__file__).parents[4]


@pytest.fixture(scope="module")
def bars(tracked_market: Path) -> dict[str, Bars]:
    return read_dataset(tracked_market).tactical


def _sessions(bars: dict[str, Bars], first: int, last: int) -> dict[str, Bars]:
    """Return sessions ``first`` to ``last`` (exclusive) of every instrument."""
    part = {}
    for symbol, item in bars.items():
        edges = np.r_[np.flatnonzero(np.diff(item.session, prepend=item.session[0] - 1)), len(item)]
        part[symbol] = item.rows(int(edges[first]), int(edges[last]))
    return part


@pytest.fixture(scope="module")
def reference(bars: dict[str, Bars]) -> DriftReference:
    return fit_reference("first 300", "hash", _sessions(bars, 0, 300))


def _wilder(bars: dict[str, Bars], times: float) -> dict[str, Bars]:
    """Return bars whose prices move ``times`` as far."""
    wild = {}
    for symbol, item in bars.items():
        start = item.open[0]
        prices = {name: start * (getattr(item, name) / start) ** times for name in ("open", "high", "low", "close")}
        wild[symbol] = replace(item, **prices)
    return wild


def test_the_kolmogorov_smirnov_distance_is_that_of_scipy():
    generator = np.random.default_rng(4)
    for _ in range(50):
        places = int(generator.integers(0, 4))
        one = np.sort(np.round(generator.normal(size=int(generator.integers(2, 60))), places))
        other = np.round(generator.normal(0.3, 1, int(generator.integers(1, 80))), 1)
        assert ks_distance(one, other) == pytest.approx(stats.ks_2samp(one, other).statistic, abs=1e-12)


def test_the_population_stability_index_is_the_sum_of_its_formula():
    shares, counts = np.array([0.5, 0.3, 0.2]), np.array([300_000, 300_000, 400_000])
    expected = sum((a - e) * np.log(a / e) for a, e in ((0.3, 0.5), (0.3, 0.3), (0.4, 0.2)))
    assert population_stability(shares, counts) == pytest.approx(expected, rel=1e-4)
    assert population_stability(shares, np.array([5, 3, 2])) == pytest.approx(0, abs=1e-12)
    assert np.isfinite(population_stability(shares, np.array([10, 0, 0])))


def test_bounds_grow_with_shorter_batches(reference: DriftReference):
    for item in reference.measures:
        if item.measure != "session_bars":
            assert item.bound_sessions == [20, 40, 60, 120]
            assert item.bounds == sorted(item.bounds, reverse=True)


def test_a_batch_of_the_same_market_passes(bars: dict[str, Bars], reference: DriftReference):
    measures = measure_drift(reference, _sessions(bars, 300, 360))
    assert len(measures) == 4 * 4
    assert (measures["psi"] < PSI_WARNING).all()
    assert (measures["ks_excess"] < 2).all()


def test_a_market_that_moves_twice_as_far_has_drifted(bars: dict[str, Bars], reference: DriftReference):
    measures = measure_drift(reference, _wilder(_sessions(bars, 300, 360), 2.0)).set_index(["symbol", "measure"])
    assert (measures["psi"].xs("log_range", level="measure") > PSI_BLOCKING).all()
    assert (measures["ks_excess"].xs("log_range", level="measure") > 2).all()
    assert (measures["psi"].xs("log_volume", level="measure") < PSI_WARNING).all()


def test_sessions_of_another_length_have_drifted(bars: dict[str, Bars], reference: DriftReference):
    half = _sessions(bars, 300, 360)
    for symbol, item in half.items():
        keep = np.arange(len(item)) % 2 == 0
        columns = ("start_ns", "close_ns", "open", "high", "low", "close", "volume", "session", "price_factor")
        cut = {name: getattr(item, name)[keep] for name in (*columns, "tradable")}
        half[symbol] = replace(item, **cut)
    measures = measure_drift(reference, half).set_index(["symbol", "measure"])
    assert (measures["psi"].xs("session_bars", level="measure") > PSI_BLOCKING).all()


def test_the_grain_of_prices_is_no_drift():
    """A market of few ticks at two price levels is the same market."""
    generator = np.random.default_rng(6)
    count = 300 * 48
    session = np.repeat(np.arange(300), 48).astype(np.int32)

    def market(price: float) -> Bars:
        close = np.round(price * np.exp(np.cumsum(generator.normal(0, 2e-4, count)) * 0.05), 1)
        start = np.arange(count, dtype=np.int64) * 300_000_000_000
        columns = {"open": close, "high": close + 0.1, "low": close - 0.1, "close": close}
        ones = np.ones(count)
        volume = generator.integers(500, 1500, count).astype(np.float64)
        return Bars(
            "X",
            5,
            start,
            start + 300_000_000_000,
            **columns,
            volume=volume,
            session=session,
            price_factor=ones,
            tradable=ones > 0,
        )

    reference = fit_reference("made", "hash", {"X": market(800.0)})
    measures = measure_drift(reference, {"X": market(800.0 * 1.03)}).set_index("measure")
    assert measures.loc["log_return", "psi"] < PSI_WARNING


def test_a_saved_reference_judges_alike(bars: dict[str, Bars], reference: DriftReference, tmp_path: Path):
    reference.save(tmp_path / "reference.json")
    again = DriftReference.load(tmp_path / "reference.json")
    assert again == reference
    batch = _sessions(bars, 300, 360)
    assert measure_drift(again, batch).equals(measure_drift(reference, batch))


def test_unknown_volume_is_no_measure(bars: dict[str, Bars]):
    (symbol, item), *_ = bars.items()
    assert set(stream_measures(item)) == {"log_return", "log_range", "log_volume", "session_bars"}
    blind = replace(item, volume=np.ones(len(item)))
    assert "log_volume" not in stream_measures(blind)
    reference = fit_reference("known", "hash", _sessions({symbol: item}, 0, 200))
    with pytest.raises(DataError, match="every measure of its reference"):
        measure_drift(reference, _sessions({symbol: blind}, 200, 260))


def test_what_cannot_be_compared_is_refused(bars: dict[str, Bars], reference: DriftReference, tmp_path: Path):
    with pytest.raises(DataError, match="at least 20 sessions"):
        measure_drift(reference, _sessions(bars, 300, 310))
    with pytest.raises(DataError, match="share an instrument"):
        measure_drift(reference, {"OTHER": bars["NQ"]})
    with pytest.raises(DataError, match="bars of one length"):
        measure_drift(reference, {"NQ": replace(bars["NQ"], bar_minutes=30)})
    with pytest.raises(DataError, match="at least 40 sessions"):
        fit_reference("short", "hash", _sessions(bars, 0, 30))
    (tmp_path / "other.json").write_text('{"name": "x"}')
    with pytest.raises(DataError, match="must hold a drift reference"):
        DriftReference.load(tmp_path / "other.json")


def test_the_suite_warns_and_blocks_at_its_levels(
    bars: dict[str, Bars], reference: DriftReference, context_root: Path, tmp_path: Path
):
    same = run_suites({"drift": measure_drift(reference, _sessions(bars, 300, 360))}, context_root, tmp_path / "same")
    assert same.passed
    same.raise_if_blocked("the batch")
    assert same.docs_index.is_file()
    wild = measure_drift(reference, _wilder(_sessions(bars, 300, 360), 2.0))
    report = run_suites({"drift": wild}, context_root, tmp_path / "wild")
    assert {check["level"] for check in report.checks if not check["passed"]} == {"critical", "warning"}
    with pytest.raises(DataError, match="the batch CL and 7 more: the population stability index must be at most"):
        report.raise_if_blocked("the batch")
