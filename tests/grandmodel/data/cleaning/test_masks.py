"""Each mask finds what is wrong, leaves what is unusual, and agrees with its slow twin."""

from __future__ import annotations

import numpy as np
import pytest

from grandmodel.data.cleaning import masks as fast
from grandmodel.data.cleaning import reference_masks as slow
from tests.grandmodel.data.market_rows import SESSION_BARS, market_rows, spoilt

LIMITS = {"tick_size": 0.2, "impossible_move": 0.4}


def _dead_market(dead: slice, bars: int = 10, sessions: int = 300) -> tuple[np.ndarray, np.ndarray]:
    session = np.repeat(np.arange(sessions), bars).astype(np.int32)
    volume = np.random.default_rng(3).uniform(500, 1500, sessions * bars)
    volume[dead.start * bars : dead.stop * bars] = 7
    return session, volume


def _spikes(rows) -> fast.Spikes:
    return fast.spike_rows(rows.start_ns, rows.bar_minutes, rows.prices, rows.values["volume"], **LIMITS)


# --- dead stretches


def test_a_long_dead_stretch_is_masked_exactly():
    session, volume = _dead_market(slice(100, 220))
    assert set(session[fast.dead_rows(session, volume)]) == set(range(100, 220))


def test_a_limit_locked_pair_of_days_is_not_dead():
    assert not fast.dead_rows(*_dead_market(slice(100, 102))).any()


def test_slow_growth_of_volume_is_not_death():
    session, volume = _dead_market(slice(0, 0), sessions=1000)
    assert not fast.dead_rows(session, volume * np.geomspace(0.02, 1, len(volume))).any()


def test_a_short_file_gives_no_evidence_of_death():
    assert not fast.dead_rows(*_dead_market(slice(5, 20), sessions=40)).any()


# --- stale feed


def test_a_feed_that_repeats_its_bar_is_stale_and_the_first_of_them_stays():
    rows = market_rows()
    for column in rows.values.values():
        column[101:110] = column[100]
    stale = fast.stale_rows(rows.prices, rows.values["volume"])
    assert np.flatnonzero(stale).tolist() == list(range(101, 110))


@pytest.mark.parametrize("volumes", [0.0, np.arange(101.0, 110.0)])
def test_a_flat_price_without_volume_or_with_changing_volume_is_not_stale(volumes: float | np.ndarray):
    rows = market_rows()
    for column in rows.values.values():
        column[101:110] = column[100]
    rows.values["volume"][101:110] = volumes
    assert not fast.stale_rows(rows.prices, rows.values["volume"]).any()


def test_a_few_flat_bars_of_unknown_volume_are_a_quiet_market_and_an_hour_of_them_is_stale():
    prices = market_rows().prices
    prices[:, 201:300] = prices[:, [200]]
    ones = np.ones(prices.shape[1])
    assert fast.stale_rows(prices, ones).sum() == 99
    prices[:, 240] += 0.2
    assert not fast.stale_rows(prices, ones).any()


# --- price limits


def _at_limit(volume: float) -> np.ndarray:
    rows = market_rows(sessions=5)
    start = 3 * SESSION_BARS
    limit = round(float(rows.values["close"][start - 1]) * 0.93, 1)
    for name in ("open", "high", "low", "close"):
        rows.values[name][start : start + 20] = limit
    rows.values["volume"][start : start + 20] = volume
    values = rows.values
    return fast.locked_rows(rows.session, values["high"], values["low"], values["close"], values["volume"], 0.03)


def test_a_market_that_trades_at_its_limit_is_locked():
    assert np.flatnonzero(_at_limit(volume=50)).tolist() == list(range(3 * SESSION_BARS, 3 * SESSION_BARS + 20))


def test_a_flat_market_without_volume_is_not_locked():
    assert not _at_limit(volume=0).any()


def test_a_flat_bar_near_the_last_close_is_not_locked():
    rows = market_rows(sessions=5)
    for name in ("open", "high", "low"):
        rows.values[name][:] = rows.values["close"]
    values = rows.values
    assert not fast.locked_rows(
        rows.session, values["high"], values["low"], values["close"], values["volume"], 0.03
    ).any()


# --- spikes


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("times", [0.95, 1.02])
def test_a_print_that_comes_back_on_usual_volume_is_bad(length: int, times: float):
    spikes = _spikes(spoilt(market_rows(), 1000, 1000 + length, times=times))
    assert np.flatnonzero(spikes.bad).tolist() == list(range(1000, 1000 + length))
    assert not spikes.traded.any()


@pytest.mark.parametrize("name", ["high", "low"])
def test_a_wick_alone_is_bad(name: str):
    rows = market_rows()
    rows.values[name][1000] *= 1.03 if name == "high" else 0.97
    assert np.flatnonzero(_spikes(rows).bad).tolist() == [1000]


def test_a_crash_that_comes_back_on_volume_stays():
    spikes = _spikes(spoilt(market_rows(), 1000, 1002, times=0.95, volume=9000))
    assert not spikes.bad.any()
    assert np.flatnonzero(spikes.traded).tolist() == [1000, 1001]


def test_a_crash_that_holds_stays_whatever_trades():
    for volume in (1.0, 9000.0):
        spikes = _spikes(spoilt(market_rows(), 1000, 4000, times=0.9, volume=volume))
        assert not (spikes.bad | spikes.traded).any()


def test_the_impossible_is_bad_whatever_trades_and_wherever_it_stands():
    rows = spoilt(market_rows(), 1000, 1001, times=2.0, volume=90_000)
    rows.values["high"][0] *= 10
    rows.values["low"][-1] /= 10
    assert np.flatnonzero(_spikes(rows).bad).tolist() == [0, 1000, len(rows.session) - 1]


def test_without_volume_more_is_asked_for():
    rows = market_rows()
    rows.values["volume"][:] = 1
    scale = fast.local_scale(*rows.prices[1:], 0.2)[1000]
    mild, wild = (spoilt(rows, 1000, 1001, times=float(np.exp(many * scale))) for many in (15, 30))
    assert not _spikes(mild).bad.any()
    assert _spikes(wild).bad.sum() == 1


def test_the_last_bar_of_a_night_is_judged_by_how_far_the_market_moves_over_nights():
    rows = market_rows()
    drift = np.random.default_rng(5).normal(0, 0.01, 80)[np.repeat(np.arange(80), SESSION_BARS)]
    for name in ("open", "high", "low", "close"):
        rows.values[name][:] *= np.exp(drift)
    last = 40 * SESSION_BARS - 1
    scale = fast.local_scale(*rows.prices[1:], 0.2)[last]
    rows.values["high"][last] *= np.exp(15 * scale)
    assert not _spikes(rows).bad.any()


def test_few_bars_are_no_evidence():
    rows = market_rows(sessions=1, bars=2)
    assert not _spikes(rows).bad.any()


# --- twins


@pytest.mark.parametrize("seed", range(5))
def test_masks_agree_with_their_twins_on_wild_data(seed: int):
    generator = np.random.default_rng(seed)
    rows = market_rows(sessions=12, bars=30, seed=seed)
    prices, volume = rows.prices, rows.values["volume"]
    for row in generator.integers(0, prices.shape[1] - 12, 12):
        length = int(generator.integers(1, 12))
        kind = generator.integers(0, 4)
        if kind == 0:
            prices[:, row : row + length] *= np.exp(generator.normal(0, 0.1))
        elif kind == 1:
            prices[:, row : row + length] = prices[0, row]
        elif kind == 2:
            prices[1, row] *= np.exp(abs(generator.normal(0, 0.3)))
        volume[row : row + length] = generator.choice([0.0, 10.0, 1000.0, 9000.0])
    _, high, low, close = prices
    found = fast.spike_rows(rows.start_ns, 5, prices, volume, **LIMITS)
    twin = slow.spike_rows(rows.start_ns, 5, prices, volume, **LIMITS)
    assert found.bad.any()
    np.testing.assert_array_equal(found.bad, twin.bad)
    np.testing.assert_array_equal(found.traded, twin.traded)
    for move_min in (0.0, 0.01):
        np.testing.assert_array_equal(
            fast.locked_rows(rows.session, high, low, close, volume, move_min),
            slow.locked_rows(rows.session, high, low, close, volume, move_min),
        )
    prices[:, 101:108] = prices[:, [100]]
    volume[101:108] = volume[100] = 500.0
    stale = fast.stale_rows(prices, volume)
    assert stale.any()
    np.testing.assert_array_equal(stale, slow.stale_rows(prices, volume))


def test_dead_rows_agree_with_their_twin():
    session, volume = _dead_market(slice(60, 75), bars=4, sessions=120)
    volume[100:108] = 0
    dead = fast.dead_rows(session, volume)
    assert dead.sum() == 60
    np.testing.assert_array_equal(dead, slow.dead_rows(session, volume))
