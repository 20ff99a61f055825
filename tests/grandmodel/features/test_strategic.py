"""The strategic columns: each against a hand-worked case; the past is deaf to the future."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from grandmodel.core.bars import Bars
from grandmodel.core.config import FeatureParams
from grandmodel.core.errors import ConfigError, DataError
from grandmodel.core.random import random_stream
from grandmodel.features.columns import STRATEGIC_COLUMNS
from grandmodel.features.mmd import MmdReference
from grandmodel.features.strategic import kernel_weights, strategic_features

WARM = dict(
    zip(STRATEGIC_COLUMNS, (39, 39, 24, 25, 19, 19, 0, 0, 20, 50, 129, 30, 19), strict=True)
)  # first row that is not NaN


@pytest.fixture
def compute(params: FeatureParams, reference: MmdReference, tick: float) -> Callable[..., np.ndarray]:
    def inner(bars: Bars, tick_size: float = tick, **changes: float) -> np.ndarray:
        return strategic_features(bars, params.model_copy(update=changes), reference, tick_size)

    return inner


def column(values: np.ndarray, name: str) -> np.ndarray:
    return values[:, STRATEGIC_COLUMNS.index(name)]


def test_a_column_is_nan_until_warm_and_never_after(bars30: Bars, compute: Callable[..., np.ndarray]) -> None:
    values = compute(bars30)
    assert values.shape == (420, 13)
    for name, first in WARM.items():
        assert np.isnan(column(values, name)[:first]).all(), name
        assert np.isfinite(column(values, name)[first:]).all(), name


@pytest.mark.parametrize("count", [0, 1, 2, 13, 19, 40])
def test_few_bars_give_few_rows(count: int, bars30: Bars, compute: Callable[..., np.ndarray]) -> None:
    assert compute(bars30.rows(0, count)).shape == (count, 13)


def test_cutting_the_future_moves_no_bit(bars30: Bars, compute: Callable[..., np.ndarray]) -> None:
    whole = compute(bars30)
    points = [1, 2, 20, 26, 40, 51, 129, 130, 131, *range(150, 420, 9)]
    for t in points:
        assert compute(bars30.rows(0, t)).tobytes() == whole[:t].tobytes(), t
    assert len(points) > 30


@pytest.mark.parametrize("t", [45, 140, 155, 251, 300, 400])
def test_shuffling_the_future_moves_no_bit_of_the_past(
    t: int, bars30: Bars, compute: Callable[..., np.ndarray], shuffle_future: Callable[..., Bars]
) -> None:
    whole, shuffled = compute(bars30), compute(shuffle_future(bars30, t))
    assert shuffled[: t + 1].tobytes() == whole[: t + 1].tobytes()
    assert not np.array_equal(shuffled[t + 1 :, 2:], whole[t + 1 :, 2:], equal_nan=True)


def test_a_later_roll_leaves_the_columns_where_they_were(bars30: Bars, compute: Callable[..., np.ndarray]) -> None:
    ratio = 1.0137
    names = ("open", "high", "low", "close", "price_factor")
    rolled = replace(bars30, **{name: getattr(bars30, name) * ratio for name in names})
    assert_allclose(compute(rolled), compute(bars30), rtol=1e-7, atol=1e-9)


def test_mlmi_value_is_a_sum_of_labels_over_k(bars30: Bars, compute: Callable[..., np.ndarray]) -> None:
    labels = column(compute(bars30), "mlmi_value")[39:] * 5
    assert np.count_nonzero(np.diff(labels)) > 20
    assert_allclose(labels, np.round(labels), atol=1e-12)
    assert labels[0] == 0


def test_mlmi_signal_agrees_with_its_value(bars30: Bars, compute: Callable[..., np.ndarray]) -> None:
    values = compute(bars30)[39:]
    value, signal = column(values, "mlmi_value"), column(values, "mlmi_signal")
    fired = signal != 0
    assert fired.sum() > 5
    assert (np.sign(value[fired]) == signal[fired]).all()


def test_kernel_weights_are_rational_quadratic() -> None:
    weights = kernel_weights(3, 8.0, 8.0)
    assert_allclose(weights, [1, (1 + 1 / 1024) ** -8, (1 + 4 / 1024) ** -8])


def test_nwrqk_of_a_step_up(make_bars: Callable[..., Bars], compute: Callable[..., np.ndarray]) -> None:
    values = compute(make_bars([100.0] * 20 + [101.0]), kernel_window_bars=2)
    smooth, quick = (1 + 1 / 1024) ** -8, (1 + 1 / (16 * 36)) ** -8
    line = (101 + 100 * smooth) / (1 + smooth)
    assert column(values, "nwrqk_deviation")[-1] == pytest.approx((101 - line) / (1 / 14), rel=1e-12)
    assert column(values, "nwrqk_slope")[-1] == pytest.approx((101 + 100 * quick) / (1 + quick) / 100 - 1, rel=1e-9)
    assert column(values, "nwrqk_slope")[-1] > 0
    assert column(values, "nwrqk_deviation")[-2] == column(values, "nwrqk_slope")[-2] == 0.0


def test_profile_by_hand(make_bars: Callable[..., Bars], compute: Callable[..., np.ndarray]) -> None:
    bars = make_bars([10.0] * 18 + [11.0, 13.0], volume=[10.0] * 18 + [5.0, 10.0])
    values = compute(bars, tick_size=1.0, profile_window_bars=5)[-1:]
    # Volume 30, 5, 0, 10 at 10, 11, 12, 13: nodes below 9 are 11 and 12; nearest to 13 is 12, empty.
    true_range = (1 / 14 * 13 + 2) / 14
    assert column(values, "lvn_distance")[0] == pytest.approx(-1 / true_range)
    assert column(values, "lvn_strength")[0] == 1.0
    assert column(values, "volume_profile_skew")[0] == pytest.approx((69750 / 32805) / (5490 / 3645) ** 1.5)


def test_a_node_above_is_positive_and_a_filled_node_is_weaker(
    make_bars: Callable[..., Bars], compute: Callable[..., np.ndarray]
) -> None:
    bars = make_bars([13.0] * 15 + [12.0, 10.0, 10, 10, 10], volume=[3.0] * 15 + [6.0, 10, 10, 10, 10])
    values = compute(bars, tick_size=1.0, profile_window_bars=5)[-1:]
    # Volume 40, 0, 6 at 10, 11, 12: nearest to 10 is 11.
    assert column(values, "lvn_distance")[0] > 0
    bars = make_bars([11.0] * 15 + [11.0, 10.0, 10, 10, 10], volume=[3.0] * 15 + [6.0, 10, 10, 10, 10])
    values = compute(bars, tick_size=1.0, profile_window_bars=5)[-1:]
    assert column(values, "lvn_strength")[0] == pytest.approx(1 - 6 / 12)


def test_a_bar_spreads_its_volume_over_its_range(
    make_bars: Callable[..., Bars], compute: Callable[..., np.ndarray]
) -> None:
    high = [10.0] * 19 + [13.0]
    bars = make_bars([10.0] * 20, high=high, volume=[0.0] * 15 + [1.0] * 4 + [4.0])
    values = compute(bars, tick_size=1.0, profile_window_bars=5)[-1:]
    # 1 each at 10..13 and 4 more at 10: nodes below 1.5 are 11, 12, 13; the nearest is one above.
    assert column(values, "lvn_distance")[0] == pytest.approx(1 / (3 / 14))
    assert column(values, "lvn_strength")[0] == pytest.approx(1 - 1 / 1.5)


def test_a_tick_too_fine_for_the_profile_is_doubled(bars30: Bars, compute: Callable[..., np.ndarray]) -> None:
    span = np.array([bars30.high[t - 19 : t + 1].max() - bars30.low[t - 19 : t + 1].min() for t in range(19, 420)])
    assert (span / 0.05 > 512).any()
    fine = column(compute(bars30, tick_size=0.05), "volume_profile_skew")[19:]
    coarse = column(compute(bars30, tick_size=0.2), "volume_profile_skew")[19:]
    assert np.isfinite(fine).all()
    assert np.corrcoef(fine, coarse)[0, 1] > 0.99


def test_a_profile_without_volume_has_no_node_and_no_skew(
    make_bars: Callable[..., Bars], compute: Callable[..., np.ndarray]
) -> None:
    values = compute(make_bars(list(np.linspace(10, 12, 30)), volume=[0.0] * 30), tick_size=0.1)[-1:]
    for name in ("lvn_distance", "lvn_strength", "volume_profile_skew"):
        assert column(values, name)[0] == 0.0


def test_hours_are_those_of_the_close_in_utc(bars30: Bars, compute: Callable[..., np.ndarray]) -> None:
    values = compute(bars30)
    # The first bar starts at 01:30 and closes at 02:00 UTC.
    assert column(values, "hour_sin")[0] == pytest.approx(0.5)
    assert column(values, "hour_cos")[0] == pytest.approx(math.sqrt(3) / 2)


def test_momentum_and_volatility_of_steady_growth(
    make_bars: Callable[..., Bars], compute: Callable[..., np.ndarray]
) -> None:
    values = compute(make_bars([100 * 1.001**t for t in range(60)]))[-1:]
    step = math.log(1.001)
    assert column(values, "momentum_20")[0] == pytest.approx(20 * step)
    assert column(values, "momentum_50")[0] == pytest.approx(50 * step)
    assert column(values, "volatility_30")[0] == pytest.approx(step)


def test_mmd_score_sees_another_regime(
    bars30: Bars, make_bars: Callable[..., Bars], compute: Callable[..., np.ndarray]
) -> None:
    usual = np.nanmean(column(compute(bars30), "mmd_score")[:250])
    wild = 4000 * np.exp(np.cumsum(random_stream(0, "wild").normal(0, 0.02, 200)))
    scores = column(compute(make_bars(list(wild))), "mmd_score")
    assert scores[-1] > 0.3 > abs(usual)


def test_an_endless_flat_run_stays_finite(make_bars: Callable[..., Bars], compute: Callable[..., np.ndarray]) -> None:
    values = compute(make_bars([100.0, 101.0, 100.3] * 50 + [100.3] * 3000 + [100.5]))
    assert np.isfinite(values[129:]).all()
    assert (column(values, "nwrqk_deviation")[-1000:-1] == 0).all()
    assert np.abs(values[-1]).max() < 100


@pytest.mark.parametrize("tick_size", [0.0, -0.1, math.nan, math.inf, 1e-300])
def test_a_tick_that_is_no_tick_is_refused(tick_size: float, bars30: Bars, compute: Callable[..., np.ndarray]) -> None:
    with pytest.raises(ConfigError, match="tick_size"):
        compute(bars30, tick_size=tick_size)


def test_a_kernel_lag_above_the_bandwidth_is_refused(bars30: Bars, compute: Callable[..., np.ndarray]) -> None:
    with pytest.raises(ConfigError, match="kernel_lag_bars"):
        compute(bars30, kernel_lag_bars=8)


def test_a_price_of_zero_is_refused(make_bars: Callable[..., Bars], compute: Callable[..., np.ndarray]) -> None:
    with pytest.raises(DataError, match="row 1"):
        compute(make_bars([1.0, 0.0]))
