"""Nothing knows the future: cut it off or shuffle it, and all that was computed before stays, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from grandmodel.core.bars import Bars
from grandmodel.core.config import FeatureParams
from grandmodel.features.columns import STRATEGIC_COLUMNS, TACTICAL_COLUMNS
from grandmodel.features.mmd import MmdReference, fit_mmd_reference
from grandmodel.features.scaler import fit_scaler
from grandmodel.features.strategic import strategic_features
from grandmodel.features.synergy import find_synergy
from grandmodel.features.tactical import tactical_features

Compute = Callable[[Bars], np.ndarray]

GROUP = 6
TRAIN_STOP = 250
STRATEGIC_CUTS = [1, 2, 20, 26, 40, 51, 129, 130, 131, *range(135, 420, 4)]
TACTICAL_CUTS = [1, 2, 6, 14, 20, 21, 22, *range(23, 700, 2)]
SYNERGY_CUTS = [1, 100, *range(600, 6000, 111)]


@pytest.fixture
def strategic(params: FeatureParams, reference: MmdReference, tick: float) -> Compute:
    return lambda bars: strategic_features(bars, params, reference, tick)


@pytest.fixture
def tactical(params: FeatureParams) -> Compute:
    return lambda bars: tactical_features(bars, params)


def half_hours(bars: Bars, now_ns: int) -> Bars:
    """Return the 30-minute bars, six 5-minute bars each, that have closed by ``now_ns``."""
    first = np.arange(0, len(bars) - GROUP + 1, GROUP)
    last = first + GROUP - 1
    joined = replace(
        bars.rows(0, len(first)),
        bar_minutes=30,
        start_ns=bars.start_ns[first],
        close_ns=bars.close_ns[last],
        open=bars.open[first],
        high=np.array([bars.high[i : i + GROUP].max() for i in first]),
        low=np.array([bars.low[i : i + GROUP].min() for i in first]),
        close=bars.close[last],
        volume=np.array([bars.volume[i : i + GROUP].sum() for i in first]),
        session=bars.session[first],
        price_factor=bars.price_factor[first],
        tradable=bars.tradable[first],
    )
    return joined.rows(0, int(np.searchsorted(joined.close_ns, now_ns, side="right")))


@pytest.fixture
def synergy(reference: MmdReference, tick: float) -> Compute:
    """Return the whole chain from 5-minute bars: 30-minute bars, columns, patterns; int8[T, 2]."""
    windows = FeatureParams(mlmi_neighbours=1, gap_lookback_bars=3, gap_body_multiple=0.1)

    def inner(bars: Bars) -> np.ndarray:
        slow = half_hours(bars, int(bars.close_ns[-1]))
        columns = strategic_features(slow, windows, reference, tick)
        found = find_synergy(bars, slow.close_ns, columns, windows)
        return np.column_stack([found.kind, found.direction])

    return inner


@pytest.fixture
def unbroken(make_random_bars: Callable[..., Bars]) -> Bars:
    """Return 6000 five-minute bars on a clock without breaks."""
    bars = make_random_bars(61, 6000, bar_minutes=5)
    length_ns = int(bars.close_ns[0] - bars.start_ns[0])
    start_ns = np.arange(6000) * length_ns
    return replace(bars, start_ns=start_ns, close_ns=start_ns + length_ns)


def test_both_clocks_and_all_columns_are_looked_at(
    bars30: Bars, bars5: Bars, unbroken: Bars, strategic: Compute, tactical: Compute, synergy: Compute
) -> None:
    assert (np.nanstd(strategic(bars30), axis=0) > 0).all()
    assert (np.nanstd(tactical(bars5), axis=0) > 0).all()
    assert strategic(bars30).shape[1] + tactical(bars5).shape[1] == len(STRATEGIC_COLUMNS) + len(TACTICAL_COLUMNS) == 20
    patterns = synergy(unbroken)
    assert np.count_nonzero(patterns[:, 0]) > 20


def test_strategic_columns_when_the_future_is_cut(bars30: Bars, strategic: Compute) -> None:
    whole = strategic(bars30)
    for t in STRATEGIC_CUTS:
        assert strategic(bars30.rows(0, t)).tobytes() == whole[:t].tobytes(), t


def test_tactical_columns_when_the_future_is_cut(bars5: Bars, tactical: Compute) -> None:
    whole = tactical(bars5)
    for t in TACTICAL_CUTS:
        assert tactical(bars5.rows(0, t)).tobytes() == whole[:t].tobytes(), t


def test_synergy_when_the_future_is_cut(unbroken: Bars, synergy: Compute) -> None:
    whole = synergy(unbroken)
    for t in SYNERGY_CUTS:
        assert synergy(unbroken.rows(0, t)).tobytes() == whole[:t].tobytes(), t


@pytest.mark.parametrize("t", [0, 13, 45, 140, 155, 200, 251, 300, 350, 400, 418])
def test_strategic_columns_when_the_future_is_shuffled(
    t: int, bars30: Bars, strategic: Compute, shuffle_future: Callable[..., Bars]
) -> None:
    assert strategic(shuffle_future(bars30, t))[: t + 1].tobytes() == strategic(bars30)[: t + 1].tobytes()


@pytest.mark.parametrize("t", [0, 21, 30, 90, 155, 300, 421, 600, 698])
def test_tactical_columns_when_the_future_is_shuffled(
    t: int, bars5: Bars, tactical: Compute, shuffle_future: Callable[..., Bars]
) -> None:
    assert tactical(shuffle_future(bars5, t))[: t + 1].tobytes() == tactical(bars5)[: t + 1].tobytes()


@pytest.mark.parametrize("t", [100, 501, 1700, 2845, 4000, 5200, 5990])
def test_synergy_when_the_future_is_shuffled(
    t: int, unbroken: Bars, synergy: Compute, shuffle_future: Callable[..., Bars]
) -> None:
    whole, shuffled = synergy(unbroken), synergy(shuffle_future(unbroken, t))
    assert shuffled[: t + 1].tobytes() == whole[: t + 1].tobytes()


def test_a_shuffled_future_is_another(
    bars30: Bars, bars5: Bars, strategic: Compute, tactical: Compute, shuffle_future: Callable[..., Bars]
) -> None:
    for compute, bars in ((strategic, bars30), (tactical, bars5)):
        whole, shuffled = compute(bars)[301:], compute(shuffle_future(bars, 300))[301:]
        moved = {k for k in range(whole.shape[1]) if not np.array_equal(whole[:, k], shuffled[:, k])}
        cyclic = {STRATEGIC_COLUMNS.index("hour_sin"), STRATEGIC_COLUMNS.index("hour_cos")}
        assert moved == set(range(whole.shape[1])) - (cyclic if whole.shape[1] == 13 else set())


@pytest.mark.parametrize("t", [TRAIN_STOP, 251, 260, 300, 333, 380, 419])
def test_the_reference_and_the_scaler_when_the_future_is_cut_or_shuffled(
    t: int, bars30: Bars, strategic: Compute, params: FeatureParams, shuffle_future: Callable[..., Bars]
) -> None:
    fitted = fit_mmd_reference(bars30, TRAIN_STOP, params, seed=7).to_dict()
    values = strategic(bars30)
    scaler = fit_scaler(values, bars30.start_ns, TRAIN_STOP, STRATEGIC_COLUMNS, 5.0)
    scaled = scaler.transform(values, bars30.start_ns, unseen=False)
    for other in (bars30.rows(0, t), shuffle_future(bars30, t - 1)):
        assert fit_mmd_reference(other, TRAIN_STOP, params, seed=7).to_dict() == fitted
        others = strategic(other)
        again = fit_scaler(others, other.start_ns, TRAIN_STOP, STRATEGIC_COLUMNS, 5.0)
        assert again == scaler
        rescaled = again.transform(others, other.start_ns, unseen=False)
        assert rescaled[:t].tobytes() == scaled[:t].tobytes()


def test_what_is_fitted_does_hear_its_training_bars(bars30: Bars, strategic: Compute, params: FeatureParams) -> None:
    values = strategic(bars30)
    fits = [fit_scaler(values, bars30.start_ns, stop, STRATEGIC_COLUMNS, 5.0).center for stop in (240, TRAIN_STOP)]
    assert fits[0] != fits[1]
    references = [fit_mmd_reference(bars30, stop, params, seed=7).to_dict() for stop in (240, TRAIN_STOP)]
    assert references[0] != references[1]
