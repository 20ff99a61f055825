from __future__ import annotations

import numpy as np
import pytest

from grandmodel.core.errors import DataError
from grandmodel.core.random import random_stream
from grandmodel.risk.betas import TrainingMoves, estimate_betas
from grandmodel.risk.historical import library
from grandmodel.risk.mapping import ShockTable, map_shocks

NAMES = [scenario.name for scenario in library().scenarios]
FACTORS = ("equity_frac", "rate_10y_bp", "oil_frac", "eurusd_frac")


def training(symbols: tuple[str, ...] = ("X", "Y")) -> TrainingMoves:
    stream = random_stream(5, "mapping")
    moves = stream.normal(0, 1, (500, 4)) * [0.01, 6.0, 0.02, 0.005]
    loads = np.array([[1.5, 0.0005, 0.1, 0.2], [-0.2, -0.0007, 0.0, 0.0], [5.0, 0, 0, 0]])[: len(symbols)]
    return TrainingMoves(symbols, moves @ loads.T + stream.normal(0, 0.005, (500, len(symbols))), FACTORS, moves)


def move(table: ShockTable, scenario: str, symbol: str) -> tuple[float, str]:
    row, column = NAMES.index(scenario), table.symbols.index(symbol)
    return float(table.move_frac[row, column]), table.how[row][column]


def test_listed_moves_come_before_betas_and_betas_before_classes() -> None:
    data = training(("ES", "X"))
    table = map_shocks(library(), ["ES", "X", "Z"], classes={"X": "equity", "Z": "equity"}, training=data)
    assert move(table, "covid_2020", "ES") == (-0.3392, "follows equity_frac")
    assert move(table, "covid_2020", "X")[1] == "beta"
    assert move(table, "covid_2020", "Z") == (-0.3392, "class equity follows equity_frac")
    assert move(table, "all_down_10", "X") == (-0.10, "stated")


def test_betas_are_estimated_on_the_factors_that_a_scenario_knows() -> None:
    data = training()
    table = map_shocks(library(), ["X", "Y"], training=data)
    for name in ("black_monday_1987", "covid_2020", "oil_down_40"):
        scenario = library().scenarios[NAMES.index(name)]
        known = [factor for factor in FACTORS if factor in scenario.moves]
        expected, error = estimate_betas(data, known).expected({factor: scenario.moves[factor] for factor in known})
        np.testing.assert_allclose(table.move_frac[NAMES.index(name)], expected)
        np.testing.assert_allclose(table.error_frac[NAMES.index(name)], error)
    assert "eurusd_frac" not in library().scenarios[0].moves


def test_a_bond_may_fall_with_shares() -> None:
    table = map_shocks(library(), ["ES", "ZN"])
    for name in ("rates_2022", "tariffs_2025", "stocks_and_bonds_down"):
        assert move(table, name, "ES")[0] < 0
        assert move(table, name, "ZN")[0] < 0
    assert move(table, "covid_2020", "ZN")[0] > 0


def test_a_price_that_crosses_zero_moves_in_points() -> None:
    table = map_shocks(library(), ["CL"], prices={"CL": 18.27})
    frac, how = move(table, "negative_oil_2020", "CL")
    assert how == "points"
    assert 18.27 * (1 + frac) == pytest.approx(-37.63)
    assert table.crosses_zero.sum() == 1
    assert move(table, "covid_2020", "CL") == (-0.562, "follows oil_frac")


def test_a_beta_cannot_take_a_price_below_zero() -> None:
    table = map_shocks(library(), ["X", "Y", "WILD"], training=training(("X", "Y", "WILD")))
    assert move(table, "dotcom_2000_2002", "WILD") == (-1.0, "beta")
    assert (table.move_frac >= -1.0).all()


def test_a_hole_is_named_and_never_zero() -> None:
    table = map_shocks(library(), ["CL", "GC"])
    frac, how = move(table, "negative_oil_2020", "CL")
    assert np.isnan(frac)
    assert "price is not known" in how
    assert np.isnan(move(table, "covid_2020", "GC")[0])
    assert move(table, "us_downgrade_2011", "GC") == (0.036, "follows gold_frac")
    assert table.holes(NAMES.index("covid_2020")) == ["GC"]


def test_a_proxy_is_named() -> None:
    data = training(("X", "Y"))
    data.returns[60:, 1] = np.nan
    table = map_shocks(library(), ["Y"], training=data, proxies={"Y": "X"})
    assert move(table, "covid_2020", "Y")[1] == "beta of X"


def test_bad_books_are_refused() -> None:
    with pytest.raises(DataError, match="no scenario says what happens to; found \\['GHOST'\\]"):
        map_shocks(library(), ["ES", "GHOST"])
    with pytest.raises(DataError, match="each once"):
        map_shocks(library(), ["ES", "ES"])
    with pytest.raises(DataError, match="each once"):
        map_shocks(library(), [])
    for price in (0.0, np.nan, np.inf, -3.0):
        with pytest.raises(DataError, match="CL price: must be positive and finite"):
            map_shocks(library(), ["CL"], prices={"CL": price})


def test_an_instrument_with_too_little_history_is_refused() -> None:
    data = training()
    data.returns[50:, 1] = np.nan
    with pytest.raises(DataError, match="betas of Y: needs 60 training bars"):
        map_shocks(library(), ["X", "Y"], training=data)
    assert not np.isnan(map_shocks(library(), ["X"], training=data).move_frac).any()
