"""Breaks of level: what is mended, what is cut, what is a split and what is a crash."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from grandmodel.data.cleaning import reference_masks as slow
from grandmodel.data.cleaning.units import (
    Gap,
    UnitStretch,
    holding_gaps,
    listing_start,
    unit_stretches,
    volume_breaks,
)
from tests.grandmodel.data.market_rows import DAY_NS, market_rows, spoilt

LIMITS = {"tick_size": 0.2, "impossible_move": 0.4}
SHARE = {"tick_size": 0.01, "impossible_move": 1.3}


def _stretches(rows) -> list[UnitStretch]:
    return unit_stretches(rows.prices, **LIMITS)


@pytest.mark.parametrize("power", [-2, -1, 1, 3])
def test_a_stretch_in_powers_of_ten_that_returns_is_mended(power: int):
    (found,) = _stretches(spoilt(market_rows(), 1000, 1100, times=10.0**power))
    assert (found.start, found.stop) == (1000, 1100)
    assert found.mend == pytest.approx(10.0**-power)


@pytest.mark.parametrize("times", [9.9, 1.7, 0.5, 7.0])
def test_a_stretch_of_another_ratio_is_cut(times: float):
    (found,) = _stretches(spoilt(market_rows(), 1000, 1100, times=times))
    assert (found.start, found.stop, found.mend) == (1000, 1100, 0.0)
    assert found.ratio == pytest.approx(times, rel=0.02)


def test_two_stretches_of_two_units_are_told_apart():
    rows = spoilt(spoilt(market_rows(), 1000, 1050, times=10), 1050, 1100, times=0.1)
    assert [(one.start, one.stop, round(one.ratio, 1)) for one in _stretches(rows)] == [
        (1000, 1050, 10.0),
        (1050, 1100, 0.1),
    ]


@pytest.mark.parametrize("name", ["open", "close"])
def test_a_row_torn_between_two_units_is_cut(name: str):
    rows = market_rows()
    rows.values[name][1000] *= 10
    (found,) = _stretches(rows)
    assert (found.start, found.stop, found.mend) == (1000, 1001, 0.0)


@pytest.mark.parametrize("edge", [slice(0, 10), slice(-10, None)])
def test_a_short_end_of_the_file_in_another_unit_is_cut(edge: slice):
    rows = market_rows()
    for name in ("open", "high", "low", "close"):
        rows.values[name][edge] *= 10
    (found,) = _stretches(rows)
    assert found.stop - found.start == 10
    assert found.mend == 0


def test_a_level_that_holds_is_no_stretch_and_a_stretch_within_it_is_found():
    rows = spoilt(market_rows(), 2500, 3840, times=0.01)
    assert _stretches(rows) == []
    (found,) = _stretches(spoilt(rows, 3000, 3050, times=10))
    assert (found.start, found.stop, found.mend) == (3000, 3050, pytest.approx(0.1))


def test_a_quiet_market_has_one_level():
    assert _stretches(market_rows()) == []
    assert _stretches(spoilt(market_rows(), 1000, 1100, times=0.7)) == []


@pytest.mark.parametrize("seed", range(8))
def test_stretches_agree_with_their_twin(seed: int):
    generator = np.random.default_rng(seed)
    rows = market_rows(sessions=6)
    for _ in range(4):
        start = int(generator.integers(0, 260))
        rows = spoilt(rows, start, start + int(generator.integers(1, 60)), times=float(generator.choice([0.1, 2, 10])))
    rows.values["close"][int(generator.integers(0, 280))] *= 10
    found = np.zeros(len(rows.session), np.bool_)
    for stretch in _stretches(rows):
        found[stretch.start : stretch.stop] = True
    assert found.any()
    np.testing.assert_array_equal(found, slow.off_level_rows(rows.prices, LIMITS["impossible_move"]))


# --- splits


def _share(gap: float, day: float = 1.0, later: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return daily prices and volume of a share that opens at ``gap`` times its last close in row 200.

    Volume is ``day`` times the usual on that day and ``later`` times afterwards.
    """
    rows = market_rows(sessions=400, bars=1, minutes=1440, price=100.0)
    close = 100 * np.exp(np.cumsum(np.random.default_rng(2).normal(0, 0.01, 400)))
    open_ = np.r_[close[0], close[:-1]]
    prices = np.stack([open_, np.maximum(open_, close) * 1.005, np.minimum(open_, close) * 0.995, close])
    prices[:, 200:] *= gap
    volume = rows.values["volume"].copy()
    volume[200] *= day
    volume[201:] *= later
    return prices, volume


@pytest.mark.parametrize(
    ("fraction", "news"),
    [
        (Fraction(1, 2), 1.003),
        (Fraction(1, 7), 1.0),
        (Fraction(1, 4), 0.995),
        (Fraction(2, 3), 1.0),
        (Fraction(8), 1.03),
    ],
)
def test_a_simple_fraction_at_ordinary_turnover_is_a_split(fraction: Fraction, news: float):
    prices, volume = _share(float(fraction) * news, day=float(1 / fraction), later=float(1 / fraction))
    (gap,) = holding_gaps(prices, volume, splits=True, **SHARE)
    assert (gap.row, gap.fraction, gap.adjusted) == (200, fraction, True)


def test_a_crash_to_half_on_many_times_the_turnover_is_no_split():
    prices, volume = _share(0.5, day=24.0)
    (gap,) = holding_gaps(prices, volume, splits=True, **SHARE)
    assert (gap.fraction, gap.adjusted) == (Fraction(1, 2), False)
    assert gap.turnover == pytest.approx(12, rel=0.3)


def test_a_rise_by_a_quarter_is_no_join():
    gaps = holding_gaps(*_share(1.25), splits=True, **SHARE)
    assert [gap for gap in gaps if gap.adjusted] == []


def test_a_class_without_splits_has_none_and_takes_the_impossible_for_a_new_unit():
    assert holding_gaps(*_share(0.5), splits=False, **SHARE) == []
    (gap,) = holding_gaps(*_share(0.01, day=30.0), splits=False, **SHARE)
    assert (gap.fraction, gap.adjusted) == (Fraction(1, 100), True)


def test_an_impossible_gap_of_no_simple_fraction_is_left():
    (gap,) = holding_gaps(*_share(14.1), splits=True, **SHARE)
    assert isinstance(gap, Gap)
    assert (gap.fraction, gap.adjusted) == (None, False)


@pytest.mark.parametrize("splits", [True, False])
def test_gaps_agree_with_their_twin(splits: bool):
    generator, seen = np.random.default_rng(3), set()
    for _ in range(20):
        prices, volume = _share(1.0)
        for row in generator.choice(np.arange(1, 400), 8, replace=False):
            times = generator.choice([0.5, 2 / 3, 0.1, 1.25, 3.0, 7.0, 14.1, 1e-3]) * np.exp(generator.normal(0, 0.01))
            prices[:, row:] *= times
            volume[row] *= generator.choice([0.01, 1 / times, 1.0, 30.0])
        volume[: int(generator.integers(0, 30))] = 0
        found = holding_gaps(prices, volume, splits=splits, **SHARE)
        twin = slow.holding_gaps(prices, volume, splits=splits, **SHARE)
        kinds = [(gap.row, gap.fraction, gap.adjusted) for gap in found]
        assert kinds == [(gap.row, gap.fraction, gap.adjusted) for gap in twin]
        np.testing.assert_allclose([gap.ratio for gap in found], [gap.ratio for gap in twin], rtol=1e-12)
        np.testing.assert_allclose([gap.turnover for gap in found], [gap.turnover for gap in twin], rtol=1e-12)
        seen |= {(fraction is None, adjusted) for _, fraction, adjusted in kinds}
    assert seen >= {(True, False), (False, True)}
    assert ((False, False) in seen) == splits  # a simple fraction on too much turnover


# --- listings and volume


def test_rows_before_a_long_pause_at_another_price_are_another_listing():
    rows = market_rows()
    start_ns = rows.start_ns.copy()
    start_ns[1000:] += 60 * DAY_NS
    prices = spoilt(rows, 1000, len(start_ns), times=5).prices
    assert listing_start(start_ns, prices[0], prices[3], 0.4) == slow.listing_start(start_ns, prices[0], prices[3], 0.4)
    assert listing_start(start_ns, prices[0], prices[3], 0.4) == 1000
    assert listing_start(start_ns, *rows.prices[[0, 3]], 0.4) == 0
    assert listing_start(rows.start_ns, prices[0], prices[3], 0.4) == 0


def test_volume_in_another_unit_is_found_and_a_busy_month_is_not():
    rows = market_rows()
    lots = spoilt(rows, 0, 0)
    lots.values["volume"][1920:] *= 100
    ((day, ratio),) = found = volume_breaks(lots.session, lots.values["volume"])
    assert (day, ratio) == (int(rows.session[1920]), pytest.approx(100, rel=0.05))
    assert found == [(day, pytest.approx(slow.volume_breaks(lots.session, lots.values["volume"])[0][1]))]
    lots.values["volume"][1920:] /= 50
    assert volume_breaks(lots.session, lots.values["volume"]) == []
    assert volume_breaks(rows.session, rows.values["volume"] * np.geomspace(0.01, 1, len(rows.session))) == []
