from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.market.simulated import simulated_bars, simulated_instrument
from grandmodel.market.tape import (
    FLAT_INTENT,
    bar_volatility,
    bars_per_year,
    build_tape,
    leverage_of,
    session_bars,
)

ROWS = 300


@pytest.fixture
def inputs(params):
    bars = {symbol: simulated_bars(symbol, 30, ROWS, seed=1) for symbol in ("B", "A")}
    features = {symbol: np.full((ROWS, 2), number, np.float32) for number, symbol in enumerate(bars)}
    instruments = {symbol: simulated_instrument(symbol) for symbol in bars}
    return bars, features, instruments, params, {"A": 2.0, "B": 3.0}


def test_instruments_lie_end_to_end_in_order_of_symbol(inputs):
    tape = build_tape(*inputs)
    assert tape.symbols == ("A", "B")
    assert tape.offsets.tolist() == [0, ROWS, 2 * ROWS]
    assert set(tape.features[tape.rows("A")].ravel().tolist()) == {1.0}
    assert set(tape.leverage[tape.rows("B")].tolist()) == {3.0}


def test_fractions_rebuild_the_prices(inputs):
    bars, tape = inputs[0]["B"], build_tape(*inputs)
    part = tape.rows("B")
    close = bars.open[0] * np.cumprod((1 + tape.gap_frac[part]) * (1 + tape.body_frac[part]))
    np.testing.assert_allclose(close, bars.close, rtol=1e-12)
    previous = np.r_[bars.open[0], bars.close[:-1]]
    np.testing.assert_allclose(previous * (1 + tape.high_frac[part]), bars.high, rtol=1e-12)
    np.testing.assert_allclose(previous * (1 + tape.low_frac[part]), bars.low, rtol=1e-12)
    assert tape.gap_frac[part][0] == 0.0


def test_costs_are_fractions_of_the_raw_price(inputs):
    bars, features, instruments, params, leverage = inputs
    factor = np.where(np.arange(ROWS) < 100, 0.5, 1.0)
    adjusted = replace(bars["A"], price_factor=factor)
    tape = build_tape({"A": adjusted}, features, instruments, params, leverage)
    raw_open = bars["A"].open / factor
    np.testing.assert_allclose(tape.half_spread_frac, 0.5 * 0.01 / raw_open)
    np.testing.assert_allclose(tape.commission_frac, 2.0 / (1000.0 * raw_open))


def test_a_change_of_the_price_factor_is_a_roll(inputs):
    bars, *rest = inputs
    factor = np.where(np.arange(ROWS) < 100, 0.5, 1.0)
    tape = build_tape(bars | {"A": replace(bars["A"], price_factor=factor)}, *rest)
    assert np.flatnonzero(tape.rolled).tolist() == [100]


def test_impact_is_the_square_root_law_on_trailing_bars(inputs):
    bars, _, _, params, leverage = inputs
    tape, a = build_tape(*inputs), bars["A"]
    row, window = 50, 16
    returns = np.diff(np.log(a.close), prepend=np.log(a.open[0]))
    sigma = np.sqrt(np.mean(returns[row - window : row] ** 2))
    volume = np.mean(a.volume[row - window : row])
    contracts = leverage["A"] * params.equity / (1000.0 * a.open[row])
    expected = params.impact_coefficient * sigma * math.sqrt(contracts / volume)
    assert tape.impact_frac[tape.rows("A")][row] == pytest.approx(expected, rel=1e-9)


def test_no_row_knows_the_rows_after_it(inputs):
    bars, features, *rest = inputs
    whole = build_tape(bars, features, *rest)
    cut = build_tape({"A": bars["A"].rows(0, 120)}, {"A": features["A"][:120]}, *rest)
    for name in ("gap_frac", "high_frac", "impact_frac", "commission_frac", "session_left", "tradable"):
        np.testing.assert_array_equal(getattr(cut, name), getattr(whole, name)[:120])


def test_session_left_falls_from_bar_to_bar_and_starts_anew(inputs):
    left = build_tape(*inputs).session_left[:32].reshape(2, 16)
    np.testing.assert_allclose(left, np.tile(1 - np.arange(1, 17) / 16, (2, 1)), atol=1e-6)


def test_bars_without_volume_are_not_tradable(inputs):
    tape = build_tape(*inputs)
    volume = inputs[0]["A"].volume
    assert (volume == 0).any()
    np.testing.assert_array_equal(tape.tradable[tape.rows("A")], volume > 0)


def test_missing_intents_are_flat(inputs):
    given = np.tile(np.array([0, 0, 1, 1, 1, 0], np.float32), (ROWS, 1))
    tape = build_tape(*inputs, intents={"A": given})
    assert (tape.intent[tape.rows("A")] == given).all()
    assert (tape.intent[tape.rows("B")] == np.array(FLAT_INTENT, np.float32)).all()
    assert (tape.with_intents({"B": given}).intent[tape.rows("B")] == given).all()


def test_a_window_cuts_every_instrument_by_time(inputs):
    tape = build_tape(*inputs)
    start, stop = int(tape.start_ns[10]), int(tape.start_ns[50])
    cut = tape.window(start, stop)
    assert cut.offsets.tolist() == [0, 40, 80]
    np.testing.assert_array_equal(cut.start_ns[:40], tape.start_ns[10:50])
    np.testing.assert_array_equal(cut.gap_frac[40:], tape.gap_frac[tape.rows("B")][10:50])
    np.testing.assert_array_equal(cut.arrays.market[:40], tape.arrays.market[10:50])


def test_a_window_drops_an_instrument_without_rows(inputs):
    bars, features, *rest = inputs
    tape = build_tape(bars | {"A": bars["A"].rows(0, 20)}, features | {"A": features["A"][:20]}, *rest)
    start_ns = bars["B"].start_ns
    assert tape.window(int(start_ns[20]), int(start_ns[-1])).symbols == ("B",)
    assert tape.only("B").symbols == ("B",)
    assert len(tape.only("B")) == ROWS


def test_cost_multiple_scales_costs_alone(inputs):
    tape = build_tape(*inputs)
    double = tape.with_cost_multiple(2.0)
    for name in ("half_spread_frac", "commission_frac", "impact_frac"):
        np.testing.assert_array_equal(getattr(double, name), 2 * getattr(tape, name))
    assert double.arrays.market[5, 0] == tape.arrays.market[5, 0]
    assert double.arrays.market[5, 4] == 2 * tape.arrays.market[5, 4]


def test_leverage_brings_position_one_to_the_volatility_target_from_training_bars_alone(params):
    bars, instrument = simulated_bars("A", 30, 4000, seed=2), simulated_instrument("A")
    assert session_bars(instrument, 30) == 16
    assert bars_per_year(instrument, 30) == 252 * 16
    leverage = leverage_of(bars, 2000, bars_per_year(instrument, 30), params)
    yearly = bar_volatility([bars.rows(0, 2000)]) * math.sqrt(252 * 16)
    assert leverage * yearly == pytest.approx(params.volatility_target_annual_frac)
    assert leverage == leverage_of(bars.rows(0, 2000), 2000, bars_per_year(instrument, 30), params)
    assert leverage_of(bars, 2000, 1.0, params) == params.leverage_max


def test_volatility_of_nothing_is_refused():
    bars = simulated_bars("A", 30, 20, seed=2)
    for stop in (0, 1):
        with pytest.raises(DataError, match="moved"):
            bar_volatility([bars.rows(0, stop)])


def test_wrong_inputs_are_refused(inputs):
    bars, features, *rest = inputs
    with pytest.raises(DataError, match="rows"):
        build_tape(bars, features | {"A": features["A"][1:]}, *rest)
    with pytest.raises(DataError, match="finite"):
        build_tape(bars, features | {"A": np.full((ROWS, 2), np.nan, np.float32)}, *rest)
    with pytest.raises(DataError, match="clock"):
        build_tape(bars | {"A": simulated_bars("A", 5, ROWS, 1)}, features, *rest)
    with pytest.raises(DataError, match="intent"):
        build_tape(bars, features, *rest, intents={"A": np.zeros((3, 6), np.float32)})
    tape = build_tape(bars, features, *rest)
    with pytest.raises(DataError, match="window"):
        tape.window(0, 0)
    with pytest.raises(DataError, match="must be on the tape"):
        tape.rows("C")
    with pytest.raises(ConfigError):
        tape.with_cost_multiple(-1.0)
    with pytest.raises(DataError, match="last offset"):
        replace(tape, start_ns=tape.start_ns[1:])
