from __future__ import annotations

import math
from dataclasses import fields, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from grandmodel.core.bars import NS_PER_MINUTE, Bars
from grandmodel.core.config import BreakerLimits
from grandmodel.core.errors import DataError
from grandmodel.core.random import random_stream
from grandmodel.risk.breaker import armed, update
from grandmodel.risk.scenarios import (
    SCENARIOS,
    Scenario,
    adverse_drift,
    correlation_shock,
    dated_move,
    session_gap,
    volatility_burst,
)
from grandmodel.risk.state import TradingState

ROW = 300
FREEZE_BARS = 12  # an hour of 5 minutes
ROWS = 588
BARS_PER_SESSION = 100
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}
KEPT = ("start_ns", "close_ns", "session", "price_factor")


def random_bars(symbol: str, *, rows: int = ROWS, first_row: int = 0) -> Bars:
    """Return random-walk bars with gaps, wicks, a roll factor and a few bars without trade."""
    stream = random_stream(1, "scenario bars", symbol)
    body, gap = stream.normal(0, 1e-3, rows), stream.normal(0, 2e-4, rows)
    close = 100 * np.exp(np.cumsum(body + gap))
    open_ = close * np.exp(-body)
    high = np.maximum(open_, close) * np.exp(np.abs(stream.normal(0, 3e-4, rows)))
    low = np.minimum(open_, close) * np.exp(-np.abs(stream.normal(0, 3e-4, rows)))
    volume = np.floor(stream.uniform(0, 500, rows))
    step = 5 * NS_PER_MINUTE
    start = (np.arange(rows, dtype=np.int64) + first_row) * step
    session = ((np.arange(rows) + first_row) // BARS_PER_SESSION).astype(np.int32)
    factor = np.where(np.arange(rows) < 50, 1.02, 1.0)
    return Bars(symbol, 5, start, start + step, open_, high, low, close, volume, session, factor, volume > 0)


@pytest.fixture(scope="module")
def market() -> dict[str, Bars]:
    return {name: random_bars(name) for name in ("NQ", "ES", "CL")}


def log_returns(bars: Bars, row: int = ROW) -> NDArray[np.float64]:
    return np.diff(np.log(bars.close[row - 1 :]))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_scenario_gives_valid_bars_and_leaves_the_past_alone(scenario: Scenario, market: dict[str, Bars]) -> None:
    shocked = scenario.apply(market, ROW, 7)
    assert list(shocked) == list(market)
    for symbol, before in market.items():
        after = shocked[symbol]
        assert len(after) == len(before)
        for name in KEPT:
            np.testing.assert_array_equal(getattr(after, name), getattr(before, name))
        for field in fields(Bars)[2:]:
            assert getattr(after, field.name).dtype == getattr(before, field.name).dtype
            assert getattr(after, field.name)[:ROW].tobytes() == getattr(before, field.name)[:ROW].tobytes()
        assert np.all(np.isfinite(after.close))
        assert np.all(after.low > 0)
        assert np.all(after.low <= np.minimum(after.open, after.close))
        assert np.all(after.high >= np.maximum(after.open, after.close))
        assert np.all(after.volume >= 0)
        assert not np.any(after.tradable & (after.volume == 0))
        changed = [
            name
            for name in ("open", "high", "low", "close", "volume")
            if not np.allclose(getattr(after, name)[ROW:], getattr(before, name)[ROW:])
        ]
        assert changed, "the scenario did something"


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_the_same_seed_gives_the_same_bytes_and_the_input_stays(scenario: Scenario, market: dict[str, Bars]) -> None:
    before = {symbol: bars.close.tobytes() + bars.volume.tobytes() for symbol, bars in market.items()}
    first, second = scenario.apply(market, ROW, 7), scenario.apply(market, ROW, 7)
    for symbol in market:
        for field in fields(Bars)[2:]:
            assert getattr(first[symbol], field.name).tobytes() == getattr(second[symbol], field.name).tobytes()
    assert before == {symbol: bars.close.tobytes() + bars.volume.tobytes() for symbol, bars in market.items()}


def test_names_are_unique_and_spreads_never_shrink() -> None:
    assert len(BY_NAME) == len(SCENARIOS)
    assert all(scenario.spread_multiple >= 1 and scenario.description for scenario in SCENARIOS)


@pytest.mark.parametrize(("name", "move"), [("flash_crash", -0.10), ("flash_spike", 0.10)])
def test_a_flash_moves_a_tenth_in_one_bar_and_half_comes_back(name: str, move: float, market: dict[str, Bars]) -> None:
    for symbol, after in BY_NAME[name].apply(market, ROW, 7).items():
        assert after.close[ROW] / after.open[ROW] - 1 == pytest.approx(move)
        before = market[symbol]
        ordinary = math.log(before.close[ROW + 6] / before.close[ROW])
        rebound = math.log(after.close[ROW + 6] / after.close[ROW]) - ordinary
        assert rebound == pytest.approx(-0.5 * math.log1p(move))


def test_a_drought_tenths_the_volume_and_reports_the_spread(market: dict[str, Bars]) -> None:
    scenario = BY_NAME["liquidity_drought"]
    assert scenario.spread_multiple == 10
    after = scenario.apply(market, ROW, 7)["ES"]
    before = market["ES"]
    busy = before.volume[ROW:] >= 10
    assert busy.sum() > 200
    np.testing.assert_allclose(after.volume[ROW:][busy], before.volume[ROW:][busy] / 10)
    np.testing.assert_allclose(after.close, before.close)
    np.testing.assert_array_equal(after.tradable, before.tradable)


def test_a_volatility_burst_is_five_times_as_wide_and_drifts_no_more(market: dict[str, Bars]) -> None:
    for symbol, after in volatility_burst(market, ROW, 7).items():
        before = market[symbol]
        assert np.std(log_returns(after)) / np.std(log_returns(before)) == pytest.approx(5.0)
        assert after.close[-1] == pytest.approx(before.close[-1])


def test_all_correlations_become_095_at_the_own_volatility() -> None:
    long = {name: random_bars(name, rows=6000) for name in ("NQ", "ES", "CL", "GC")}
    shocked = correlation_shock(long, 1000, 7)
    returns = np.array([log_returns(bars, 1000) for bars in shocked.values()])
    off_diagonal = np.corrcoef(returns)[np.triu_indices(4, 1)]
    assert np.all(np.abs(off_diagonal - 0.95) < 0.01)
    for symbol, bars in long.items():
        own = np.std(np.diff(np.log(bars.close[:1000])))
        assert np.std(log_returns(shocked[symbol], 1000)) == pytest.approx(own, rel=0.05)


def test_the_common_factor_belongs_to_a_moment_not_to_a_row() -> None:
    late = {"NQ": random_bars("NQ", rows=4000), "ES": random_bars("ES", rows=3000, first_row=500)}
    shocked = correlation_shock(late, 1000, 7)
    aligned = np.corrcoef(log_returns(shocked["NQ"], 1500)[:1999], log_returns(shocked["ES"], 1000)[:1999])
    assert aligned[0, 1] > 0.93


@pytest.mark.parametrize(("name", "move"), [("gap_down", -0.08), ("gap_up", 0.08)])
def test_the_gap_stands_at_the_next_session_open(name: str, move: float, market: dict[str, Bars]) -> None:
    for first_changed, opening in ((301, 400), (300, 300)):
        after = BY_NAME[name].apply(market, first_changed, 7)["CL"]
        assert after.session[opening] > after.session[opening - 1]
        assert after.open[opening] / after.close[opening - 1] - 1 == pytest.approx(move)
        np.testing.assert_allclose(after.close[:opening], market["CL"].close[:opening])


def test_a_gap_without_a_session_to_open_is_refused(market: dict[str, Bars]) -> None:
    short = {symbol: bars.rows(0, 350) for symbol, bars in market.items()}
    with pytest.raises(DataError, match="a session must open"):
        session_gap(short, 320, 7)


def test_a_frozen_feed_stands_still_and_then_catches_up(market: dict[str, Bars]) -> None:
    for symbol, after in BY_NAME["feed_freeze"].apply(market, ROW, 7).items():
        before = market[symbol]
        frozen = slice(ROW, ROW + FREEZE_BARS)
        for column in (after.open, after.high, after.low, after.close):
            np.testing.assert_allclose(column[frozen], before.close[ROW - 1], rtol=1e-12)
        assert not after.tradable[frozen].any()
        assert not after.volume[frozen].any()
        np.testing.assert_allclose(after.close[ROW + FREEZE_BARS :], before.close[ROW + FREEZE_BARS :])
        np.testing.assert_allclose(after.open[ROW + FREEZE_BARS :], before.open[ROW + FREEZE_BARS :])


@pytest.mark.parametrize(("name", "move"), [("grind_down", -0.25), ("grind_up", 1 / 3)])
def test_a_grind_moves_the_price_by_what_it_says(name: str, move: float, market: dict[str, Bars]) -> None:
    for symbol, after in BY_NAME[name].apply(market, ROW, 7).items():
        assert after.close[-1] / market[symbol].close[-1] - 1 == pytest.approx(move)
        assert np.max(np.abs(log_returns(after) - log_returns(market[symbol]))) < 0.0013  # slow, no jump


@pytest.mark.parametrize(("name", "there", "end"), [("reversal_down", 0.15, -0.15), ("reversal_up", -0.15, 0.15)])
def test_a_reversal_goes_there_and_beyond_on_the_way_back(
    name: str, there: float, end: float, market: dict[str, Bars]
) -> None:
    for symbol, after in BY_NAME[name].apply(market, ROW, 7).items():
        relative = after.close / market[symbol].close - 1
        assert relative[ROW + 119] == pytest.approx(there)
        assert relative[-1] == pytest.approx(end)


@pytest.mark.parametrize("held", [1.0, -1.0])
def test_an_adverse_drift_trips_every_level_of_the_breaker(held: float, market: dict[str, Bars]) -> None:
    shocked = adverse_drift(market, ROW, {"NQ": held, "ES": -held})
    np.testing.assert_allclose(shocked["CL"].close, market["CL"].close)
    returns = held * (np.diff(shocked["NQ"].close[ROW - 1 :]) / shocked["NQ"].close[ROW - 1 : -1])
    state, equity, levels = armed(1.0, BreakerLimits()), 1.0, []
    position = 1.0
    for bar_return in returns:
        equity *= 1 + position * 5 * bar_return  # five times leverage, position held against the market
        state, _ = update(state, equity)
        position = state.permits(position, 1.0)
        levels.append(state.level)
    assert state.trading is TradingState.HALTED
    assert position == 0.0
    assert {1, 2, 3} <= set(levels)


@pytest.mark.parametrize("row", [0, -1, ROWS, ROWS + 5])
def test_a_shock_row_outside_the_bars_is_refused(row: int, market: dict[str, Bars]) -> None:
    for scenario in SCENARIOS:
        with pytest.raises(DataError, match="shock row"):
            scenario.apply(market, row, 7)


def test_prices_that_are_no_positive_numbers_are_refused(market: dict[str, Bars]) -> None:
    close = market["CL"].close.copy()
    close[ROW + 3] = -37.63
    with pytest.raises(DataError, match=f"CL row {ROW + 3} close"):
        BY_NAME["flash_crash"].apply({"CL": replace(market["CL"], close=close)}, ROW, 7)


def test_a_dated_move_is_whole_within_twenty_hours_and_keeps_the_order_of_its_steps() -> None:
    bars = {symbol: random_bars(symbol) for symbol in ("A", "B")}
    shares = np.array([0.9, -0.3, 0.4])
    changed = dated_move(bars, ROW, shares, {"A": -0.5, "B": 0.2})
    for symbol, move in (("A", -0.5), ("B", 0.2)):
        ratio = changed[symbol].close / bars[symbol].close
        assert (ratio[:ROW] == 1.0).all()
        np.testing.assert_allclose(ratio[ROW + 79 : ROW + 240 : 80], 1.0 + move * np.cumsum(shares), rtol=1e-9)
        np.testing.assert_allclose(ratio[ROW + 239 :], 1.0 + move, rtol=1e-9)


@pytest.mark.parametrize("moves", [{}, {"A": -1.0}, {"A": math.nan}, {"A": -0.9}])
def test_a_dated_move_that_is_unknown_or_takes_a_price_to_zero_is_refused(moves: dict[str, float]) -> None:
    with pytest.raises(DataError, match="A dated move: must be known and keep its price positive"):
        dated_move({"A": random_bars("A")}, ROW, np.array([1.2, -0.2]), moves)


def test_durations_are_minutes_on_bars_of_any_length() -> None:
    fine, coarse = random_bars("ES"), replace(random_bars("ES"), bar_minutes=30)
    played = {name: BY_NAME[name].apply({"ES": coarse}, ROW, 7)["ES"] for name in BY_NAME}
    rebound = np.log(played["flash_crash"].close[ROW:] / coarse.close[ROW:])
    np.testing.assert_allclose(rebound[1:], rebound[0] - 0.5 * math.log(0.9))  # half, in one bar
    assert (played["feed_freeze"].volume[ROW : ROW + 2] == 0).all()
    np.testing.assert_array_equal(played["feed_freeze"].volume[ROW + 2 :], coarse.volume[ROW + 2 :])
    for bars, length in ((fine, 240), (coarse, 40)):
        ratio = BY_NAME["grind_down"].apply({"ES": bars}, ROW, 7)["ES"].close / bars.close
        np.testing.assert_allclose(ratio[ROW + length - 1 :], 0.75)
        assert ratio[ROW + length - 2] > 0.7501
        dated = dated_move({"ES": bars}, ROW, np.array([1.0]), {"ES": -0.5})["ES"].close / bars.close
        np.testing.assert_allclose(dated[ROW + length - 1 :], 0.5)
        assert dated[ROW + length - 2] > 0.501
    assert (
        BY_NAME["flash_crash"]
        .description.format(bar_minutes=30)
        .startswith("all prices fall 10 % within one bar of 30")
    )
