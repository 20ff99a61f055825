"""Frozen prices, strayed levels and odd volume: found where planted, and nowhere in a quiet market."""

from __future__ import annotations

import numpy as np
import pytest

from grandmodel.data.cleaning.quality import judge
from grandmodel.data.cleaning.stretches import frozen_rows, volume_stretches
from tests.grandmodel.data.market_rows import market_rows


def _cut(rows) -> list[int]:
    return np.setdiff1d(np.arange(len(rows.session)), judge(rows).kept).tolist()


def _changed(start: int, stop: int, times: float = 1.0, volume: float | None = None, still: bool = False):
    rows = market_rows()
    values = {name: column.copy() for name, column in rows.values.items()}
    for name in ("open", "high", "low", "close"):
        level = rows.values["close"][start - 1] if still else rows.values[name][start:stop] * times
        values[name][start:stop] = level
    if volume is not None:
        values["volume"][start:stop] = volume
    rows.values.update(values)
    return rows


def test_a_frozen_price_with_volume_is_cut():
    rows = _changed(1000, 1040, still=True)
    assert set(range(1000, 1040)) == set(_cut(rows))
    assert any("a frozen price: cut out" in finding.text for finding in judge(rows).findings)


def test_a_short_pause_and_a_locked_stretch_stay():
    rows = _changed(1000, 1019, still=True)
    assert _cut(rows) == []
    rows = _changed(1000, 1040, still=True)
    locked = np.zeros(len(rows.session), np.bool_)
    locked[1005] = True
    args = (rows.session, rows.prices, rows.values["volume"])
    assert not frozen_rows(*args, locked, rows.bar_minutes).any()
    assert frozen_rows(*args, np.zeros_like(locked), rows.bar_minutes).sum() == 40


@pytest.mark.parametrize("count", [4, 5, 40])
def test_a_strayed_level_on_dead_volume_is_cut_and_a_traded_one_stays(count: int):
    volume = float(np.median(market_rows().values["volume"]))
    assert _cut(_changed(1000, 1000 + count, 0.9, 0.001 * volume)) == list(range(1000, 1000 + count))
    assert _cut(_changed(1000, 1000 + count, 0.9, volume)) == []


def test_volume_in_another_unit_is_told_and_left():
    rows = _changed(1000, 1030)
    rows.values["volume"][1000:1030] *= 1000
    assert volume_stretches(rows.values["volume"]) == [(1000, 1030)]
    assert _cut(rows) == []
    assert any("perhaps another unit" in finding.text for finding in judge(rows).findings)
