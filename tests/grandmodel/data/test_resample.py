"""Six 5-minute bars make a 30-minute bar, within the session."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grandmodel.core.bars import Bars
from grandmodel.data import reference
from grandmodel.data.resample import resample_to_30

MINUTE_NS = 60 * 10**9


def make_bars(lengths: list[int], seed: int = 0) -> Bars:
    generator = np.random.default_rng(seed)
    count = sum(lengths)
    start = (np.cumsum(generator.integers(1, 4, count)) * 5 * MINUTE_NS).astype(np.int64)
    price = generator.uniform(90, 110, (4, count))
    volume = generator.integers(0, 3, count).astype(np.float64)
    return Bars(
        "X",
        5,
        start,
        start + 5 * MINUTE_NS,
        open=price[1],
        high=price.max(axis=0),
        low=price.min(axis=0),
        close=price[2],
        volume=volume,
        session=np.repeat(np.arange(len(lengths)), lengths).astype(np.int32),
        price_factor=np.ones(count),
        tradable=volume > 0,
    )


@given(st.lists(st.integers(1, 20), max_size=12), st.integers(0, 5))
def test_it_equals_the_slow_twin(lengths: list[int], seed: int):
    bars = make_bars(lengths, seed)
    fast, index = resample_to_30(bars)
    slow, slow_index = reference.resample_to_30(bars)
    assert index.tolist() == slow_index
    for field in fields(Bars):
        np.testing.assert_array_equal(getattr(fast, field.name), getattr(slow, field.name))


def test_groups_never_cross_a_session_and_only_the_last_is_short():
    bars30, index = resample_to_30(make_bars([15, 7]))
    assert np.bincount(index).tolist() == [6, 6, 3, 6, 1]
    assert bars30.session.tolist() == [0, 0, 0, 1, 1]


def test_a_bar_is_visible_only_when_its_last_part_closes():
    bars = make_bars([6])
    assert resample_to_30(bars)[0].close_ns.tolist() == [int(bars.close_ns[-1])]


@pytest.mark.parametrize("lengths", [[], [1]])
def test_few_bars_are_no_trouble(lengths: list[int]):
    assert len(resample_to_30(make_bars(lengths))[0]) == len(lengths)
