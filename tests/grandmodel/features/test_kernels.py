"""Indicators against numbers worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from grandmodel.core.random import random_stream
from grandmodel.features import kernels

SIDE = np.array([1, 1, -1, -1, 1, 1, -1, 0, -1], dtype=np.int8)
CLOSE = np.array([10.0, 10, 10, 9, 8, 9, 11, 12, 12])


def test_log_change_spans_the_lag() -> None:
    assert_allclose(kernels.log_change(np.array([1.0, 2, 4]), 2), [np.nan, np.nan, math.log(4)])


def test_day_cycle_turns_once_a_day() -> None:
    hours = np.array([0, 6, 12, 18, 30], dtype=np.int64) * 3_600_000_000_000
    assert_allclose(kernels.day_cycle(hours), [[0, 1], [1, 0], [0, -1], [-1, 0], [1, 0]], atol=1e-15)


def test_root_mean_square_of_the_window() -> None:
    assert_allclose(kernels.root_mean_square(np.array([np.nan, 3.0, 4, 0]), 1, 2), [np.nan] * 2 + [12.5**0.5, 8**0.5])


def test_true_range_counts_the_gap_and_is_smoothed_by_wilder() -> None:
    high, low, close = np.array([[11.0, 12, 20, 20], [10, 10, 18, 20], [10.5, 11, 19, 20]])
    # Ranges 1, 2, 20 - 11 = 9, 20 - 19 = 1; seed (1 + 2) / 2, then (old + new) / 2.
    assert_allclose(kernels.average_true_range(high, low, close, 2), [np.nan, 1.5, 5.25, 3.125])


def test_rsi_by_wilder() -> None:
    # Changes 1, 1, -1, -2; seed gain 1 loss 0; then .5 and .5; then .25 and 1.25.
    assert_allclose(
        kernels.relative_strength(np.array([1.0, 2, 3, 2, 0]), 2), [np.nan, np.nan, 100, 50, 100 * 0.25 / 1.5]
    )


def test_rsi_of_a_flat_run_is_the_middle() -> None:
    assert kernels.relative_strength(np.full(5, 7.0), 2)[-1] == 50.0


def test_weighted_average_weighs_the_newest_most() -> None:
    assert_allclose(kernels.weighted_average(np.array([np.nan, 1.0, 2, 3]), 1, 3), [np.nan] * 3 + [14 / 6])


def test_averages_are_on_no_side_in_a_flat_run() -> None:
    assert not kernels.average_side(np.full(40, 0.1) * 3, 5, 20, 1e-12).any()


def test_average_side_follows_the_trend() -> None:
    side = kernels.average_side(np.r_[np.arange(30.0) + 1, 30 - np.arange(25.0)], 5, 20, 1e-12)
    assert side[:19].tolist() == [0] * 19
    assert side[19:30].tolist() == [1] * 11
    assert side[-5:].tolist() == [-1] * 5


def test_a_cross_gets_its_label_only_at_the_next_cross() -> None:
    points = np.zeros(9)
    votes = kernels.cross_votes(points, points, SIDE, CLOSE, 1)
    # Crosses at 2 (down), 4 (up), 6 (down). Labels: close 10 -> 8 is -1, known at 4; close 8 -> 11 is +1, known at 6.
    assert votes[:, 0].tolist() == [0, 0, 0, 0, -1, -1, -1, -1, -1]  # of two equally near the older one votes


def test_each_cross_is_stored_once_and_the_sum_is_divided_by_k() -> None:
    points = np.zeros(9)
    votes = kernels.cross_votes(points, points, SIDE, CLOSE, 4)
    assert votes[:, 0].tolist() == [0, 0, 0, 0, -0.25, -0.25, 0, 0, 0]


def test_the_nearest_cross_votes() -> None:
    slow = np.array([0.0, 0, 10, 10, 30, 30, 30, 12, 29])
    votes = kernels.cross_votes(slow, np.zeros(9), SIDE, CLOSE, 1)
    # Stored: point 10 with label -1, point 30 with label +1 (from bar 6 on).
    assert votes[4:, 0].tolist() == [-1, -1, 1, -1, 1]


def test_signal_speaks_only_on_a_cross_that_agrees() -> None:
    votes = kernels.cross_votes(np.zeros(9), np.zeros(9), SIDE, CLOSE, 1)
    # At bar 4 the vote is -1 and the cross up: no signal. At bar 6 both point down.
    assert votes[:, 1].tolist() == [0, 0, 0, 0, 0, 0, -1, 0, 0]


def test_a_touch_is_not_a_cross() -> None:
    side = np.array([1, 0, 1, 0, 0, 1], dtype=np.int8)
    votes = kernels.cross_votes(np.zeros(6), np.zeros(6), side, np.arange(6.0) + 1, 1)
    assert not votes.any()


def test_votes_wait_for_their_points() -> None:
    slow = np.array([np.nan, np.nan, 1.0, 1, 1, 1, 1, 1, 1])
    votes = kernels.cross_votes(slow, np.zeros(9), SIDE, CLOSE, 1)
    assert np.isnan(votes[:2]).all()
    # Bar 2 is the first that exists, so crosses are at 4 and 6.
    assert votes[2:, 0].tolist() == [0, 0, 0, 0, 1, 1, 1]


@pytest.mark.parametrize("ties", [2, 1000])
def test_selection_equals_sorting(ties: int) -> None:
    stream = random_stream(3, "select", ties)
    seen = 0
    for count in range(1, 60):
        values = stream.integers(0, ties, count).astype(np.float64)
        rank = int(stream.integers(0, count))
        assert kernels._select(values.copy(), count, rank) == np.sort(values)[rank]
        seen += 1
    assert seen == 59


def test_kernel_line_is_the_weighted_mean() -> None:
    offset = kernels.kernel_offset(np.array([100.0, 101, 103]), np.array([1.0, 0.5]))
    assert_allclose(offset, [np.nan, (101 + 50) / 1.5 - 101, (103 + 50.5) / 1.5 - 103])


def test_kernel_line_of_a_flat_run_is_exact() -> None:
    assert kernels.kernel_offset(np.full(9, 0.1 * 3), np.array([1.0, 0.7, 0.3]))[2:].tolist() == [0.0] * 7
