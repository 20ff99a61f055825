from __future__ import annotations

import math

import numpy as np
import pytest

from grandmodel.core.errors import ConfigError
from grandmodel.core.random import random_stream
from grandmodel.risk import reference
from grandmodel.risk.tail import LEVELS, METHODS, cornish_fisher, returns_min, tail_count
from grandmodel.risk.tail_kernel import rolling_tails, rolling_var, six_tails, tail_constants


@pytest.mark.parametrize("window", [100, 101, 250, 500])
def test_six_tails_equal_the_readable_methods(window: int) -> None:
    domains = set()
    for seed in range(30):
        stream = random_stream(seed, "six tails", window)
        returns = stream.standard_t(float(stream.uniform(2.5, 30)), window) * 0.01 + 0.0005
        if seed % 3 == 0:
            returns = np.round(returns, 3)  # ties
        if seed % 5 == 0:
            returns = np.sort(returns)
        out = np.empty((6, 3, 2))
        in_domain = six_tails(returns, tail_constants(window, LEVELS), np.empty((2, window)), out)
        np.testing.assert_allclose(out, reference.six_tails(returns, LEVELS), rtol=1e-9)
        assert in_domain == (cornish_fisher(returns, 0.99).reason == "")
        domains.add(in_domain)
    assert domains == {True, False}


@pytest.mark.parametrize("levels", [(0.6,), (0.51, 0.9), (0.95, 0.975, 0.99)])
def test_any_levels_and_shapes_of_the_tail_are_found(levels: tuple[float, ...]) -> None:
    stream = random_stream(2, "levels")
    shapes = (stream.standard_normal(300), stream.exponential(1.0, 300), -(stream.exponential(1.0, 300) ** 3))
    for returns in (*shapes, np.r_[np.zeros(299), -1.0]):
        out = np.empty((6, len(levels), 2))
        six_tails(returns, tail_constants(300, levels), np.empty((2, 300)), out)
        np.testing.assert_allclose(out, reference.six_tails(returns, levels), rtol=1e-9, atol=1e-12)


def test_rolling_tails_equal_the_readable_methods_over_each_window() -> None:
    returns = random_stream(1, "rolling").standard_t(5, 330) * 0.01
    returns[150] = math.nan
    returns[40] = math.inf
    returns[280:] = 0.0
    fast, in_domain = rolling_tails(returns, (0.95, 0.975), 45)
    slow = reference.rolling_tails(returns, (0.95, 0.975), 45)
    np.testing.assert_allclose(fast, slow, rtol=1e-9)
    assert 100 < np.isfinite(fast[:, 0, 0, 0]).sum() < 250
    assert math.isnan(fast[329, 0, 0, 0])  # nothing has moved for a window
    for t in range(200, 280):
        assert in_domain[t] == (cornish_fisher(returns[t - 45 : t], 0.95).reason == "")


def test_windows_without_a_number_are_refused_as_by_the_readable_methods() -> None:
    still = random_stream(5, "still").standard_normal(6000)
    still[10:5990] = 0.0
    for returns in (still, 1e-80 * still, 1e80 * still, 1e200 * still):
        out = np.zeros((6, 3, 2))
        six_tails(returns, tail_constants(6000, LEVELS), np.empty((2, 6000)), out)
        np.testing.assert_allclose(out, reference.six_tails(returns, LEVELS), rtol=1e-9)
        assert np.isnan(out[3:]).all()


@pytest.mark.parametrize("method", METHODS)
def test_one_method_rolls_as_in_the_company_of_all(method: str) -> None:
    returns = random_stream(3, "rolling").standard_t(5, 700) * 0.01
    together, _ = rolling_tails(returns, LEVELS, 200)
    for place, level in enumerate(LEVELS):
        var, es = rolling_var(returns, level, method, 200)
        row = together[:, list(METHODS).index(method), place]
        np.testing.assert_allclose(var, row[:, 0], rtol=1e-12)
        np.testing.assert_allclose(es, row[:, 1], rtol=1e-12)
        assert np.isnan(var[:200]).all()
        assert np.isfinite(var[200:]).all()


def test_a_forecast_does_not_see_the_return_it_is_for() -> None:
    returns = random_stream(4, "rolling").standard_normal(400) * 0.01
    before, _ = rolling_tails(returns, LEVELS, 200)
    returns[300:] *= -50.0
    after, _ = rolling_tails(returns, LEVELS, 200)
    np.testing.assert_array_equal(before[:301], after[:301])
    assert bool(np.all(before[301] != after[301]))


def test_the_constants_hold_the_tail_counts() -> None:
    assert tail_constants(500, LEVELS).counts.tolist() == [tail_count(500, level) for level in LEVELS]
    assert returns_min(0.99) == 100


@pytest.mark.parametrize(
    ("window", "levels", "decay", "rule"),
    [
        (99, (0.99,), 0.94, "needs 100 returns"),
        (500, (), 0.94, "ascending"),
        (500, (0.99, 0.95), 0.94, "ascending"),
        (500, (0.95, 0.95), 0.94, "ascending"),
        (500, (0.5,), 0.94, "between 0.5 and 1"),
        (500, (0.99,), 1.0, "decay"),
    ],
)
def test_settings_without_an_answer_are_refused(
    window: int, levels: tuple[float, ...], decay: float, rule: str
) -> None:
    with pytest.raises(ConfigError, match=rule):
        rolling_tails(np.zeros(600), levels, window, decay)


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ConfigError, match="must be one of historical"):
        rolling_var(np.zeros(600), 0.99, "magic", 200)


def test_what_promises_no_loss_is_refused_as_by_the_readable_methods() -> None:
    few, gains = np.r_[np.zeros(291), np.full(2, -0.05), np.zeros(7)], np.linspace(0.010, 0.011, 300)
    for window in (few, gains):
        tails, _ = rolling_tails(np.append(window, 0.0), (0.95, 0.99), 300)
        for place, method in enumerate(METHODS.values()):
            slow = [method(window, level).var_frac for level in (0.95, 0.99)]
            np.testing.assert_allclose(tails[-1, place, :, 0], slow, rtol=1e-9)
    assert np.isnan(tails[-1, 0]).all()
