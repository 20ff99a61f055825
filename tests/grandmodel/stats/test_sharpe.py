from itertools import pairwise
from math import sqrt
from statistics import NormalDist

import numpy as np
import pytest
from scipy.stats import kurtosis, norm, skew

from grandmodel.core.errors import DataError
from grandmodel.stats.sharpe import (
    SharpeMoments,
    deflated_sharpe,
    expected_maximum_sharpe,
    minimum_track_record,
    probabilistic_sharpe,
    sharpe_moments,
)


def test_deflated_sharpe_reproduces_the_example_of_the_paper() -> None:
    # Bailey & Lopez de Prado (2014), numerical example: annual Sharpe 2.5, 5 years of 250 days, variance of the annual
    # Sharpe ratios 1/2, skewness -3, kurtosis 10: 0.9004 after 100 trials, 0.9505 after 46.
    moments = SharpeMoments(2.5 / sqrt(250), -3.0, 10.0, 1250)
    assert expected_maximum_sharpe(100, 0.5 / 250) == pytest.approx(0.1132, abs=5e-5)
    assert deflated_sharpe(moments, 100, 0.5 / 250) == pytest.approx(0.9004, abs=5e-5)
    assert deflated_sharpe(moments, 46, 0.5 / 250) == pytest.approx(0.9505, abs=5e-4)


def test_moments_agree_with_scipy() -> None:
    returns = np.random.default_rng(1).standard_t(5, 700) * 0.01
    moments = sharpe_moments(returns)
    assert moments is not None
    assert moments.n == 700
    assert moments.sharpe == pytest.approx(returns.mean() / returns.std(ddof=1), rel=1e-12)
    assert moments.skew == pytest.approx(skew(returns), rel=1e-9)
    assert moments.kurtosis == pytest.approx(kurtosis(returns, fisher=False), rel=1e-9)


def test_one_trial_leaves_the_probabilistic_sharpe_ratio() -> None:
    moments = SharpeMoments(0.1, 0.0, 3.0, 101)
    assert deflated_sharpe(moments, 1, 0.01) == probabilistic_sharpe(moments)
    assert probabilistic_sharpe(moments) == pytest.approx(norm.cdf(0.1 * 10 / sqrt(1 + 0.5 * 0.01)))


def test_more_trials_deflate_more() -> None:
    moments = SharpeMoments(0.1, -0.5, 6.0, 500)
    values = [deflated_sharpe(moments, n, 1 / 499) for n in (1, 2, 10, 100, 1000)]
    assert all(a is not None and b is not None and a > b for a, b in pairwise(values))


def test_best_of_worthless_trials_matches_simulation() -> None:
    best = np.random.default_rng(2).normal(size=(4000, 50)).max(axis=1).mean()
    assert expected_maximum_sharpe(50, 1.0) == pytest.approx(best, abs=0.05)


def test_deflated_sharpe_of_the_best_worthless_trial_rarely_passes() -> None:
    stream = np.random.default_rng(3)
    passed = 0
    for _ in range(200):
        trials = [sharpe_moments(stream.normal(size=250)) for _ in range(20)]
        best = max((m for m in trials if m is not None), key=lambda m: m.sharpe)
        value = deflated_sharpe(best, 20, 1 / 249)
        passed += value is not None and value >= 0.95
    assert passed <= 4  # 200 draws; the best trial is not normal, its own spread is narrower than one trial's


def test_minimum_track_record_is_where_the_probability_reaches_the_confidence() -> None:
    moments = SharpeMoments(1.0 / sqrt(250), 0.0, 3.0, 100)
    days = minimum_track_record(moments)
    assert days == pytest.approx(1 + (1 + 0.5 / 250) * (NormalDist().inv_cdf(0.95) * sqrt(250)) ** 2)
    assert days is not None
    assert days / 250 == pytest.approx(2.72, abs=0.01)
    longer = SharpeMoments(moments.sharpe, 0.0, 3.0, round(days))
    assert probabilistic_sharpe(longer) == pytest.approx(0.95, abs=1e-4)


def test_a_sharpe_below_its_benchmark_never_has_track_record_enough() -> None:
    assert minimum_track_record(SharpeMoments(-0.01, 0.0, 3.0, 100)) is None


def test_returns_that_never_vary_have_no_moments() -> None:
    assert sharpe_moments(np.zeros(100)) is None
    assert sharpe_moments(np.array([0.1, 0.2])) is None


def test_bad_input_is_refused() -> None:
    with pytest.raises(DataError):
        sharpe_moments(np.array([0.1, np.nan, 0.2]))
    for trials, variance in ((0, 1.0), (5, -1.0), (5, float("nan"))):
        with pytest.raises(DataError, match="trials >= 1"):
            expected_maximum_sharpe(trials, variance)
