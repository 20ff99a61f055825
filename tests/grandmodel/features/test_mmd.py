"""Maximum mean discrepancy: fitted on the past, right by hand, and restored bit for bit."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from grandmodel.core.bars import Bars
from grandmodel.core.config import FeatureParams
from grandmodel.core.errors import DataError
from grandmodel.core.random import random_stream
from grandmodel.features.kernels_mmd import mmd_scores
from grandmodel.features.mmd import MmdReference, fit_mmd_reference, mmd_column, mmd_points


def test_score_of_two_against_two_by_hand() -> None:
    points = np.array([[9.0, 9, 9], [0, 0, 0], [1, 0, 0]])
    reference = np.array([[0.0, 0, 0], [0, 2, 0]])
    within, reference_within = math.exp(-1), math.exp(-4)
    across = (1 + math.exp(-4) + math.exp(-1) + math.exp(-5)) / 4
    scores = mmd_scores(points, 1, reference, 1.0, 2)
    assert np.isnan(scores[:2]).all()
    assert scores[2] == pytest.approx(within + reference_within - 2 * across)


def test_score_is_unbiased_on_the_same_law() -> None:
    stream = random_stream(5, "mmd")
    scores = [mmd_scores(stream.normal(size=(40, 3)), 0, stream.normal(size=(60, 3)), 0.3, 40)[-1] for _ in range(400)]
    assert abs(np.mean(scores)) < 4 * np.std(scores) / math.sqrt(len(scores))
    assert min(scores) < 0 < max(scores)


def test_score_rests_on_its_window_alone() -> None:
    stream = random_stream(6, "window")
    points, reference = stream.normal(size=(300, 3)), stream.normal(size=(50, 3))
    whole = mmd_scores(points, 0, reference, 0.3, 40)
    late = mmd_scores(points[200:], 0, reference, 0.3, 40)
    assert whole[239:].tobytes() == late[39:].tobytes()


def test_reference_is_deaf_to_what_follows_training(
    bars30: Bars, params: FeatureParams, shuffle_future: Callable[..., Bars]
) -> None:
    fitted = fit_mmd_reference(bars30, 250, params, seed=7)
    other = fit_mmd_reference(shuffle_future(bars30, 249), 250, params, seed=7)
    assert fitted.to_dict() == other.to_dict()
    assert fitted.to_dict() != fit_mmd_reference(bars30, 300, params, seed=7).to_dict()


def test_reference_is_the_same_for_one_seed_only(bars30: Bars, params: FeatureParams) -> None:
    fitted = fit_mmd_reference(bars30, 250, params, seed=7)
    assert fitted.to_dict() == fit_mmd_reference(bars30, 250, params, seed=7).to_dict()
    few = params.model_copy(update={"mmd_reference_points": 30})
    drawn = [fit_mmd_reference(bars30, 250, few, seed=seed) for seed in (7, 8)]
    assert drawn[0].to_dict() != drawn[1].to_dict()
    assert len(drawn[0].points) == 30


def test_reference_holds_training_bars_and_their_span(bars30: Bars, params: FeatureParams) -> None:
    fitted = fit_mmd_reference(bars30, 230, params, seed=7)
    training = mmd_points(bars30, params)[30:230]
    raw = fitted.points * fitted.scale + fitted.center
    assert len(raw) == 200
    np.testing.assert_allclose(raw, training, rtol=1e-9, atol=1e-15)
    assert (fitted.fit_start_ns, fitted.fit_stop_ns) == (bars30.start_ns[0], bars30.start_ns[229] + 1)


def test_bandwidth_is_the_median_distance(bars30: Bars, params: FeatureParams) -> None:
    fitted = fit_mmd_reference(bars30, 250, params, seed=7)
    count = len(fitted.points)
    distances = [math.dist(fitted.points[i], fitted.points[j]) for i in range(count) for j in range(i)]
    assert fitted.bandwidth == pytest.approx(float(np.median(distances)))


def test_flat_training_bars_still_give_a_reference(make_bars: Callable[..., Bars], params: FeatureParams) -> None:
    bars = make_bars([100.0] * 200)
    fitted = fit_mmd_reference(bars, 150, params, seed=7)
    assert fitted.bandwidth == 1.0
    assert mmd_column(bars, params, fitted)[-1] == pytest.approx(0.0)


def test_a_restored_reference_gives_the_same_bits(bars30: Bars, params: FeatureParams, reference: MmdReference) -> None:
    restored = MmdReference.from_dict(json.loads(json.dumps(reference.to_dict())))
    assert_array_equal(mmd_column(bars30, params, restored), mmd_column(bars30, params, reference))


@pytest.mark.parametrize("train_stop", [0, -1, 421])
def test_a_training_stop_outside_the_bars_is_refused(train_stop: int, bars30: Bars, params: FeatureParams) -> None:
    with pytest.raises(DataError, match="train_stop"):
        fit_mmd_reference(bars30, train_stop, params, seed=7)


def test_too_few_training_bars_are_refused(bars30: Bars, params: FeatureParams) -> None:
    fit_mmd_reference(bars30, 50, params, seed=7)
    with pytest.raises(DataError, match="at least 50"):
        fit_mmd_reference(bars30, 49, params, seed=7)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("points", [[1.0, 2.0]]),
        ("center", [0.0]),
        ("scale", [1.0, 0.0, 1.0]),
        ("bandwidth", 0.0),
        ("bandwidth", math.nan),
    ],
)
def test_a_damaged_reference_is_refused(name: str, value: object, reference: MmdReference) -> None:
    with pytest.raises(DataError, match="MMD reference"):
        MmdReference.from_dict({**reference.to_dict(), name: value})
