from __future__ import annotations

import numpy as np
import pytest

from grandmodel.core.errors import DataError
from grandmodel.core.random import random_stream
from grandmodel.stats.calibration import (
    area_under_risk_coverage,
    brier_score,
    expected_calibration_error,
    risk_coverage,
)


def test_brier_by_hand():
    chances = np.array([[0.7, 0.2, 0.1], [0.0, 1.0, 0.0]])
    # (0.3^2 + 0.2^2 + 0.1^2 + 1 + 1) / 2
    assert brier_score(chances, np.array([0, 2])) == pytest.approx((0.14 + 2.0) / 2)


def test_calibration_error_by_hand():
    chances = np.array([[0.92, 0.08], [0.91, 0.09], [0.58, 0.42], [0.42, 0.58]])
    labels = np.array([0, 1, 0, 1])
    # Of ten bins two are filled: confidence 0.915 against 1 of 2 right, and 0.58 against 2 of 2.
    assert expected_calibration_error(chances, labels, bins=10) == pytest.approx(0.5 * 0.415 + 0.5 * 0.42)


def test_true_probabilities_are_calibrated_and_sharpened_ones_are_not():
    random = random_stream(1, "calibration")
    chances = random.dirichlet((1.0, 2.0, 1.0), 50_000)
    labels = (chances.cumsum(axis=1) < random.random((50_000, 1))).sum(axis=1)
    assert expected_calibration_error(chances, labels) < 0.01
    sharp = chances**4 / (chances**4).sum(axis=1, keepdims=True)
    assert expected_calibration_error(sharp, labels) > 0.1
    assert brier_score(chances, labels) < brier_score(sharp, labels)


def test_risk_and_coverage_by_hand():
    curve = risk_coverage(np.array([1.0, 0.0, 4.0, 3.0]), np.array([0.2, 0.1, 0.4, 0.3]), points=4)
    np.testing.assert_allclose(curve.coverage, [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(curve.risk, [0, 0.5, 4 / 3, 2])
    np.testing.assert_allclose(curve.threshold, [0.1, 0.2, 0.3, 0.4])
    assert area_under_risk_coverage(curve) == pytest.approx((0 + 0.5 + 4 / 3 + 2) / 4)


@pytest.mark.parametrize(
    ("chances", "labels"),
    [
        ([[0.5, 0.4]], [0]),
        ([[0.5, 0.5]], [2]),
        ([[0.5, 0.5]], [0, 1]),
        ([[np.nan, 1.0]], [0]),
        ([[1.5, -0.5]], [0]),
        (np.zeros((0, 2)), []),
    ],
)
def test_what_are_no_probabilities_or_labels_is_refused(chances, labels):
    for score in (brier_score, expected_calibration_error):
        with pytest.raises(DataError, match="calibration"):
            score(np.array(chances, np.float64), np.array(labels, np.int64))


def test_a_curve_needs_finite_columns_of_one_length():
    with pytest.raises(DataError, match="risk and coverage"):
        risk_coverage(np.zeros(5), np.zeros(6), points=2)
    with pytest.raises(DataError, match="finite"):
        risk_coverage(np.array([0.0, np.nan]), np.zeros(2), points=2)
