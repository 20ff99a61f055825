from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from grandmodel.data.ticks_files import CFFEX_HOURS, read_ticks
from grandmodel.data.ticks_reference import reference_bars
from grandmodel.data.ticks_spans import continuous_spans
from grandmodel.features.kernels import average_true_range, relative_strength
from tests.grandmodel.data.tick_samples import RULES, SPANS, Columns, make_ticks, whole

EXACT = ("open", "high", "low", "close", "volume", "ticks")
NEAR = ("vwap", "realised_variance", "squared_moves", "ema", "rsi", "atr")


def assert_agree(rules, columns: Columns, spans) -> int:
    ticks = list(zip(*(column.tolist() for column in columns), strict=True))
    expected, rejected = reference_bars(rules, spans.tolist(), ticks)
    bars, stream = whole(rules, columns, spans)

    assert bars.start_ns.tolist() == [bar.start_ns for bar in expected]
    assert bars.end_ns.tolist() == [bar.end_ns for bar in expected]
    assert bars.day.tolist() == [bar.day for bar in expected]
    for name in EXACT:
        assert getattr(bars, name).tolist() == [bar.values[name] for bar in expected], name
    for name in NEAR:
        values = [bar.values[name] for bar in expected]
        np.testing.assert_allclose(getattr(bars, name), values, rtol=1e-9, atol=1e-12, err_msg=name)
    assert {reason: count for reason, count in stream.rejected.items() if count} == rejected
    return len(bars)


@pytest.mark.parametrize("seed", range(6))
def test_dirty_ticks_of_three_days(seed: int) -> None:
    assert assert_agree(RULES, make_ticks(seed), SPANS) > 20


@pytest.mark.parametrize("seed", range(3))
def test_prices_through_zero(seed: int) -> None:
    rules = replace(RULES, negative_prices=True)

    assert assert_agree(rules, make_ticks(seed, price=1.0), SPANS) > 20


def test_decimal_ticks_and_long_jumps() -> None:
    stamps, prices, lots = make_ticks(7)
    jumps = np.where(np.arange(len(prices)) % 50 == 0, 3.0, 1.0)  # log returns far beyond the series
    rules = replace(RULES, tick_size=0.01)

    assert assert_agree(rules, (stamps, np.round(prices * jumps, 2), lots), continuous_spans()) > 20


def test_averages_are_those_of_the_feature_columns() -> None:
    bars, _ = whole(RULES, make_ticks(1))

    np.testing.assert_allclose(bars.rsi, relative_strength(bars.close, RULES.rsi_bars), rtol=1e-12)
    np.testing.assert_allclose(
        bars.atr, average_true_range(bars.high, bars.low, bars.close, RULES.atr_bars), rtol=1e-12
    )


@pytest.mark.shared
def test_real_snapshots(shared_data) -> None:
    ticks = read_ticks(shared_data / "ticks" / "cffex_IF_2021-01-04_06_l1_500ms.parquet", hours=CFFEX_HOURS)
    part = (ticks.stamps_ns[:8000], ticks.price[:8000], ticks.volume[:8000].astype(np.int64))

    assert assert_agree(replace(RULES, tick_size=0.2), part, continuous_spans()) > 10
