"""Advantages against their slow twin, and what follows the end of an episode."""

from __future__ import annotations

import numpy as np
import pytest

from grandmodel.core.random import random_stream
from grandmodel.marl import reference
from grandmodel.marl.advantage import ReturnScale, advantages


@pytest.mark.parametrize("seed", range(5))
def test_advantages_equal_the_sum_of_differences(seed: int) -> None:
    generator = random_stream(seed, "advantage")
    rewards, values, bootstrap = generator.standard_normal((3, 12, 7)).astype(np.float32)
    terminated, truncated = generator.random((2, 12, 7)) < 0.15
    assert terminated.any()
    assert truncated.any()
    arguments = (rewards, values, bootstrap, terminated, truncated, 0.97, 0.9)
    fast = advantages(*arguments)
    assert fast.dtype == np.float32
    np.testing.assert_allclose(fast, reference.advantages(*arguments), rtol=1e-5, atol=1e-5)


def test_nothing_follows_termination_and_the_estimate_follows_truncation() -> None:
    ones, never, always = np.ones((1, 1), np.float32), np.zeros((1, 1), bool), np.ones((1, 1), bool)
    worth = 10 * ones
    assert advantages(ones, ones, worth, always, never, 0.5, 0.9).item() == 0.0
    assert advantages(ones, ones, worth, never, always, 0.5, 0.9).item() == 5.0
    assert advantages(ones, ones, worth, always, always, 0.5, 0.9).item() == 0.0


def test_nothing_leaks_backwards_over_the_end_of_an_episode() -> None:
    rewards = np.array([[0.0], [1000.0]], np.float32)
    zeros, never, first = np.zeros((2, 1), np.float32), np.zeros((2, 1), bool), np.array([[True], [False]])
    for terminated, truncated in ((first, never), (never, first)):
        assert advantages(rewards, zeros, zeros, terminated, truncated, 1.0, 1.0)[0, 0] == 0.0


def test_the_first_update_of_the_scale_is_unbiased() -> None:
    returns = random_stream(1, "returns").normal(5.0, 3.0, (50, 20)).astype(np.float32)
    scale = ReturnScale()
    scale.update(returns)
    assert scale.mean == pytest.approx(returns.mean(), rel=1e-5)
    assert scale.deviation == pytest.approx(returns.std(), rel=1e-5)
