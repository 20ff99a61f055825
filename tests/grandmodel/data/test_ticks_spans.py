from __future__ import annotations

import numpy as np
import pytest

from grandmodel.core.errors import DataError
from grandmodel.data.ticks_spans import check_spans, continuous_spans, daily_spans, trading_spans

HOUR = 3_600_000_000_000


def test_daily_spans_carry_auction_closing_and_day() -> None:
    hours = [("09:30", "11:30"), ("13:00", "15:00")]

    spans = daily_spans(["2021-01-04"], hours, "Asia/Shanghai", auction_minutes=5, closing_ms=500)

    opening = np.datetime64("2021-01-04T01:30", "ns").astype(np.int64)
    assert (spans[:, 1] - opening).tolist() == [0, 3.5 * HOUR]
    assert (spans[:, 1] - spans[:, 0]).tolist() == [5 * 60_000_000_000, 0]
    assert (spans[:, 2] - spans[:, 1]).tolist() == [2 * HOUR, 2 * HOUR]
    assert (spans[:, 3] - spans[:, 2]).tolist() == [500_000_000, 500_000_000]
    assert spans[:, 4].tolist() == [18631, 18631]


def test_daily_spans_follow_daylight_saving() -> None:
    spans = daily_spans(["2021-03-12", "2021-03-15"], [("08:30", "15:00")], "America/Chicago")

    assert spans[1, 1] - spans[0, 1] == 3 * 24 * HOUR - HOUR


def test_hours_over_midnight_are_refused() -> None:
    with pytest.raises(DataError, match="cross midnight"):
        daily_spans(["2021-01-04"], [("21:00", "02:30")], "Asia/Shanghai")


def test_overlapping_and_empty_spans_are_refused_by_number() -> None:
    with pytest.raises(DataError, match="trading span 1"):
        trading_spans(np.array([0, 5]), np.array([10, 20]), [0, 0])
    with pytest.raises(DataError, match="trading span 0"):
        trading_spans(np.array([5]), np.array([5]), [0])
    with pytest.raises(DataError, match="trading span 1"):
        trading_spans(np.array([0, 10]), np.array([10, 20]), [0, 0], closing_ns=1)


def test_spans_of_another_shape_are_refused() -> None:
    with pytest.raises(DataError, match="trading spans"):
        check_spans(np.zeros((0, 5), np.int64))
    with pytest.raises(DataError, match="trading spans"):
        check_spans(continuous_spans()[:, :4])
