"""The tactical columns: fair value gaps bar by bar; the past is deaf to the future."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from grandmodel.core.bars import Bars
from grandmodel.core.config import FeatureParams
from grandmodel.features.columns import TACTICAL_COLUMNS
from grandmodel.features.tactical import tactical_features

WARM = (21, 21, 21, 21, 21, 5, 19)
BULLISH, BEARISH, LEVEL, AGE, MITIGATION, MOMENTUM, VOLUME = range(7)

Rows = list[tuple[float, float, float, float]]
QUIET: Rows = [(100.0, 101.0, 99.0, 100.5)] * 22  # open, high, low, close: every body is 0.5
JUMP: Rows = [(100.5, 103.0, 100.5, 103.0), (103.0, 104.0, 102.0, 103.5)]  # body 2.5, then low 102 above high 101


@pytest.fixture
def compute(make_bars: Callable[..., Bars], params: FeatureParams) -> Callable[..., np.ndarray]:
    def inner(rows: Rows, **changes: float) -> np.ndarray:
        open_, high, low, close = (list(values) for values in zip(*rows, strict=True))
        return tactical_features(make_bars(close, open=open_, high=high, low=low), params.model_copy(update=changes))

    return inner


def mirrored(rows: Rows) -> Rows:
    return [(200 - o, 200 - low, 200 - high, 200 - c) for o, high, low, c in rows]


def test_a_column_is_nan_until_warm_and_never_after(bars5: Bars, params: FeatureParams) -> None:
    values = tactical_features(bars5, params)
    assert values.shape == (700, 7)
    for k, first in enumerate(WARM):
        assert np.isnan(values[:first, k]).all(), TACTICAL_COLUMNS[k]
        assert np.isfinite(values[first:, k]).all(), TACTICAL_COLUMNS[k]


@pytest.mark.parametrize("count", [0, 1, 2, 5, 14, 22])
def test_few_bars_give_few_rows(count: int, bars5: Bars, params: FeatureParams) -> None:
    assert tactical_features(bars5.rows(0, count), params).shape == (count, 7)


def test_cutting_the_future_moves_no_bit(bars5: Bars, params: FeatureParams) -> None:
    whole = tactical_features(bars5, params)
    points = [1, 2, 6, 19, 20, 21, 22, 23, *range(30, 700, 7)]
    for t in points:
        assert tactical_features(bars5.rows(0, t), params).tobytes() == whole[:t].tobytes(), t
    assert len(points) > 90


@pytest.mark.parametrize("t", [25, 90, 155, 300, 421, 600])
def test_shuffling_the_future_moves_no_bit_of_the_past(
    t: int, bars5: Bars, params: FeatureParams, shuffle_future: Callable[..., Bars]
) -> None:
    whole, shuffled = tactical_features(bars5, params), tactical_features(shuffle_future(bars5, t), params)
    assert shuffled[: t + 1].tobytes() == whole[: t + 1].tobytes()
    assert not np.array_equal(shuffled[t + 1 :], whole[t + 1 :])


def test_a_later_roll_leaves_the_columns_where_they_were(bars5: Bars, params: FeatureParams) -> None:
    names = ("open", "high", "low", "close", "price_factor")
    rolled = replace(bars5, **{name: getattr(bars5, name) * 1.0137 for name in names})
    assert_allclose(tactical_features(rolled, params), tactical_features(bars5, params), rtol=1e-7, atol=1e-9)


def test_a_bullish_gap_opens_with_its_level_below(compute: Callable[..., np.ndarray]) -> None:
    values = compute(QUIET + JUMP)
    assert values[-2, :5].tolist() == [0, 0, 0, 0, 0]
    true_range = 2.0  # 22 quiet bars of range 2, then 3.0 - 0.5 = 2.5 and 2
    true_range = ((true_range * 13 + 2.5) / 14 * 13 + 2) / 14
    assert_allclose(values[-1, :5], [1, 0, (102 - 103.5) / true_range, 0, 0])


def test_a_bearish_gap_is_the_mirror_image(compute: Callable[..., np.ndarray]) -> None:
    rows = QUIET + JUMP + [(103.5, 103.6, 101.4, 101.5), (101.5, 101.6, 100.9, 101.0)]
    up, down = compute(rows), compute(mirrored(rows))
    assert up[-3:, BULLISH].tolist() == [1, 1, 0]
    assert_allclose(down[21:, BEARISH], up[21:, BULLISH])
    assert_allclose(down[21:, LEVEL], -up[21:, LEVEL], atol=1e-12)
    assert_allclose(down[21:, MITIGATION], -up[21:, MITIGATION])
    assert_allclose(down[21:, AGE], up[21:, AGE])


def test_a_small_body_opens_no_gap(compute: Callable[..., np.ndarray]) -> None:
    # The middle body must exceed 1.5 x 0.5: at 0.75 it does not, a little above it does.
    for top, opens in ((101.25, 0.0), (101.3, 1.0)):
        rows = [*QUIET, (100.5, 103.0, 100.5, top), (103.0, 104.0, 102.0, 103.5)]
        assert compute(rows)[-1, BULLISH] == opens


def test_touching_bars_open_no_gap(compute: Callable[..., np.ndarray]) -> None:
    assert compute([*QUIET, JUMP[0], (103.0, 104.0, 101.0, 103.5)])[-1, BULLISH] == 0


def test_a_gap_is_filled_only_by_trading_through_all_of_it(compute: Callable[..., np.ndarray]) -> None:
    inside, through = (103.5, 103.6, 101.1, 101.2), (101.2, 102.5, 101.0, 101.1)
    values = compute(QUIET + JUMP + [inside, through, through])
    assert values[-3:, BULLISH].tolist() == [1, 0, 0]
    assert values[-3:, MITIGATION].tolist() == [0, 1, 0]
    assert values[-3, LEVEL] < 0  # the close at 101.2 is nearer to the bottom edge at 101 than to the top at 102
    assert values[-2, LEVEL] == values[-2, AGE] == 0


def test_a_gap_ages_and_dies(compute: Callable[..., np.ndarray]) -> None:
    rest = [(103.5, 104.0, 103.0, 103.5)] * 6
    values = compute(QUIET + JUMP + rest, gap_age_bars_max=4)
    assert values[-7:, BULLISH].tolist() == [1, 1, 1, 1, 1, 0, 0]
    assert values[-7:, AGE].tolist() == [0, 0.25, 0.5, 0.75, 1, 0, 0]
    assert values[-7:, MITIGATION].tolist() == [0] * 7


def test_the_nearest_of_several_gaps_gives_level_and_age(compute: Callable[..., np.ndarray]) -> None:
    second = [(103.5, 108.0, 103.5, 108.0), (108.0, 109.0, 106.0, 108.5)]  # gap 104..106 above the gap 101..102
    back = [(108.5, 108.6, 104.1, 104.2), (104.2, 104.3, 103.0, 103.1), (103.1, 103.1, 102.0, 102.2)]
    values = compute(QUIET + JUMP + second + back)
    assert values[-5:, BULLISH].tolist() == [1, 1, 1, 1, 1]
    assert values[-5:, MITIGATION].tolist() == [0, 0, 0, 1, 0]
    ages = values[-5:, AGE] * 50
    assert_allclose(ages, [1, 0, 1, 4, 5])
    assert values[-1, LEVEL] < 0


def test_momentum_spans_five_bars(compute: Callable[..., np.ndarray]) -> None:
    values = compute([(c, c, c, c) for c in (100.0, 101, 102, 103, 104, 110)])
    assert values[-1, MOMENTUM] == pytest.approx(math.log(1.1))


def test_volume_ratio_compares_with_the_average_that_holds_the_bar(
    make_bars: Callable[..., Bars], params: FeatureParams
) -> None:
    values = tactical_features(make_bars([100.0] * 22, volume=[1.0] * 20 + [3.0, 0.0]), params)
    average = 1 + 2 * 2 / 21
    assert values[19:, VOLUME].tolist() == pytest.approx([0, math.tanh(math.log1p(3 / average - 1)), 0])


def test_no_volume_at_all_is_no_ratio(make_bars: Callable[..., Bars], params: FeatureParams) -> None:
    assert tactical_features(make_bars([100.0] * 22, volume=[0.0] * 22), params)[-1, VOLUME] == 0


def test_flat_bars_have_no_gap(make_bars: Callable[..., Bars], params: FeatureParams) -> None:
    assert not tactical_features(make_bars([100.0] * 60), params)[21:].any()
