from __future__ import annotations

import numpy as np
import pytest

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.core.random import random_stream
from grandmodel.stats.seasonality import time_of_day_scale


def _slow(returns: np.ndarray, slot: np.ndarray, occurrences: int, occurrences_min: int) -> np.ndarray:
    scale = []
    for now in range(len(returns)):
        before = [abs(returns[t]) for t in range(now) if slot[t] == slot[now]][-occurrences:]
        scale.append(np.mean(before) if len(before) >= occurrences_min and np.mean(before) > 0 else np.nan)
    return np.array(scale)


def test_scale_is_the_mean_absolute_return_of_past_bars_in_the_slot() -> None:
    stream = random_stream(1, "slots")
    returns, slot = stream.standard_normal(400), stream.integers(0, 7, 400)
    found = time_of_day_scale(returns, slot, 20, 5)
    np.testing.assert_allclose(found, _slow(returns, slot, 20, 5), rtol=1e-12)
    assert np.isnan(found).sum() == 35


def test_no_bar_knows_itself_or_what_follows() -> None:
    stream = random_stream(2, "slots")
    returns, slot = stream.standard_normal(300), np.arange(300) % 6
    changed = returns.copy()
    changed[200:] *= 50
    before, after = time_of_day_scale(returns, slot), time_of_day_scale(changed, slot)
    np.testing.assert_array_equal(before[:206], after[:206])
    assert (after[206:] > before[206:]).all()


def test_a_daily_pattern_is_taken_out() -> None:
    pattern = np.array([5.0, 1.0, 1.0, 2.0])
    slot = np.arange(8000) % 4
    returns = random_stream(3, "pattern").standard_normal(8000) * pattern[slot]
    even = returns / time_of_day_scale(returns, slot)
    deviations = [np.nanstd(even[slot == one]) for one in range(4)]
    assert max(deviations) < 1.05 * min(deviations)


def test_a_slot_that_rested_comes_back_with_its_scale() -> None:
    slot = np.concatenate([np.arange(100) % 2, np.zeros(500, np.int64), [1]])
    returns = np.where(slot == 1, 3.0, 1.0)
    assert time_of_day_scale(returns, slot)[-1] == 3.0


def test_a_slot_that_never_moved_has_no_scale() -> None:
    assert np.isnan(time_of_day_scale(np.zeros(50), np.zeros(50, np.int64))).all()


def test_bad_returns_and_counts_are_refused() -> None:
    slot = np.zeros(3, np.int64)
    with pytest.raises(DataError, match="one finite return a slot"):
        time_of_day_scale(np.array([0.0, np.nan, 0.0]), slot)
    with pytest.raises(DataError, match="one finite return a slot"):
        time_of_day_scale(np.zeros(2), slot)
    for counts in ((5, 6), (5, 0)):
        with pytest.raises(ConfigError, match="occurrences"):
            time_of_day_scale(np.zeros(3), slot, *counts)
