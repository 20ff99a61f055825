"""The scaler learns from training rows alone and refuses to pass them off as unseen."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose

from grandmodel.core.errors import DataError, LeakageError
from grandmodel.core.random import random_stream
from grandmodel.features.scaler import FittedScaler, fit_scaler

NAMES = ("momentum_20", "hour_sin", "volatility_30", "fvg_nearest_level")
START = np.arange(200, dtype=np.int64) * 1_000 + 5_000
STOP_NS = int(START[119]) + 1


@pytest.fixture
def values() -> np.ndarray:
    stream = random_stream(1, "scaler")
    rows = stream.normal(2.0, 3.0, (200, 4))
    rows[:, 1] = np.sin(np.arange(200))
    rows[:, 2] = 0.25
    rows[:, 3] = np.where(np.arange(200) % 10 == 0, 4.0, 0.0)
    rows[:5, 0] = np.nan
    return rows


@pytest.fixture
def scaler(values: np.ndarray) -> FittedScaler:
    return fit_scaler(values, START, 120, NAMES, 5.0)


def test_a_normal_column_gets_unit_scale(values: np.ndarray, scaler: FittedScaler) -> None:
    known = values[5:120, 0]
    low, middle, high = np.percentile(known, [25, 50, 75])
    assert scaler.center[0] == middle
    assert scaler.scale[0] == pytest.approx((high - low) / 1.349)
    scaled = scaler.transform(values, START, unseen=False)[5:120, 0]
    assert abs(np.median(scaled)) < 1e-6
    assert 0.7 < scaled.std() < 1.3


def test_bounded_columns_stay_as_they_are(values: np.ndarray, scaler: FittedScaler) -> None:
    assert_allclose(scaler.transform(values, START, unseen=False)[:, 1], values[:, 1], rtol=1e-6)


def test_a_constant_column_has_scale_one(values: np.ndarray, scaler: FittedScaler) -> None:
    assert (scaler.center[2], scaler.scale[2]) == (0.25, 1.0)
    assert not scaler.transform(values, START, unseen=False)[:, 2].any()


def test_a_column_of_mostly_one_value_takes_its_deviation(values: np.ndarray, scaler: FittedScaler) -> None:
    assert scaler.center[3] == 0.0
    assert scaler.scale[3] == pytest.approx(values[:120, 3].std())


def test_fit_is_deaf_to_later_rows(values: np.ndarray, scaler: FittedScaler) -> None:
    later = values.copy()
    later[120:] = 1e6
    assert fit_scaler(later, START, 120, NAMES, 5.0) == scaler
    earlier = values.copy()
    earlier[60] = 1e6
    assert fit_scaler(earlier, START, 120, NAMES, 5.0) != scaler


def test_result_is_clipped_single_precision_without_nan(values: np.ndarray, scaler: FittedScaler) -> None:
    values[150, 0], values[151, 0], values[152, 0] = 1e9, -1e9, np.nan
    scaled = scaler.transform(values, START, unseen=False)
    assert scaled.dtype == np.float32
    assert scaled.flags.c_contiguous
    assert scaled[150:153, 0].tolist() == [5.0, -5.0, 0.0]
    assert not scaled[:5, 0].any()


def test_rows_after_the_fitted_span_are_unseen(values: np.ndarray, scaler: FittedScaler) -> None:
    assert (scaler.fit_start_ns, scaler.fit_stop_ns) == (5_000, STOP_NS)
    unseen = scaler.transform(values[120:], START[120:], unseen=True)
    assert np.array_equal(unseen, scaler.transform(values, START, unseen=False)[120:])


def test_training_rows_are_not_unseen(values: np.ndarray, scaler: FittedScaler) -> None:
    with pytest.raises(LeakageError, match=str(STOP_NS)):
        scaler.transform(values[119:], START[119:], unseen=True)


@pytest.mark.parametrize("unseen", [True, False])
def test_rows_before_the_fitted_span_are_refused(unseen: bool, values: np.ndarray, scaler: FittedScaler) -> None:
    with pytest.raises(LeakageError):
        scaler.transform(values[:1], START[:1] - 1, unseen=unseen)


def test_fitting_across_the_stop_is_refused(values: np.ndarray) -> None:
    two_instruments = np.concatenate([START[:100], START[:100]])
    with pytest.raises(LeakageError, match="train_stop"):
        fit_scaler(values, two_instruments, 120, NAMES, 5.0)


def test_a_training_column_of_nan_is_refused(values: np.ndarray) -> None:
    values[:120, 0] = np.nan
    with pytest.raises(DataError, match="momentum_20"):
        fit_scaler(values, START, 120, NAMES, 5.0)


@pytest.mark.parametrize("train_stop", [0, 201])
def test_a_training_stop_outside_the_rows_is_refused(train_stop: int, values: np.ndarray) -> None:
    with pytest.raises(DataError, match="train_stop"):
        fit_scaler(values, START, train_stop, NAMES, 5.0)


def test_an_infinite_value_is_refused(values: np.ndarray, scaler: FittedScaler) -> None:
    values[130, 2] = np.inf
    with pytest.raises(DataError, match="volatility_30 row 130"):
        scaler.transform(values, START, unseen=False)


def test_a_wrong_shape_is_refused(values: np.ndarray, scaler: FittedScaler) -> None:
    with pytest.raises(DataError, match="shape"):
        scaler.transform(values[:, :3], START, unseen=False)
    with pytest.raises(DataError, match="shape"):
        scaler.transform(values, START[:-1], unseen=False)


def test_a_restored_scaler_is_equal(scaler: FittedScaler) -> None:
    assert FittedScaler.from_dict(json.loads(json.dumps(scaler.to_dict()))) == scaler


@pytest.mark.parametrize(
    ("name", "value"), [("scale", [1.0, 1.0, 0.0, 1.0]), ("center", [0.0]), ("abs_max", 0.0), ("fit_stop_ns", 5_000)]
)
def test_a_damaged_scaler_is_refused(name: str, value: object, scaler: FittedScaler) -> None:
    with pytest.raises(DataError, match="scaler"):
        FittedScaler.from_dict({**scaler.to_dict(), name: value})
