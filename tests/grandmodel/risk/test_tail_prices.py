from __future__ import annotations

import math

import numpy as np
import pytest

from grandmodel.core.errors import DataError
from grandmodel.risk.tail_prices import exposures, shocks_of

# The second asset closes like the crude oil future that expired in April 2020.
PRICES = np.array([[100.0, 18.27], [101.0, -37.63], [99.99, 10.01]])


def test_an_asset_that_crossed_zero_takes_absolute_shocks() -> None:
    shocks = shocks_of(PRICES)
    assert shocks.absolute.tolist() == [False, True]
    np.testing.assert_allclose(shocks.rows, [[0.01, -55.90], [-0.01, 47.64]], rtol=1e-9)
    assert shocks.last_price.tolist() == [99.99, 10.01]


def test_a_price_of_zero_counts_as_crossed() -> None:
    assert shocks_of(np.array([[1.0], [0.0]])).absolute.tolist() == [True]


def test_profit_is_shock_times_exposure_on_both_sides_of_zero() -> None:
    shocks = shocks_of(PRICES)
    quantities, point_values, equity = np.array([-3.0, 2.0]), np.array([50.0, 1000.0]), 1e6
    held = exposures(shocks, quantities, point_values, equity)
    # What two long contracts lost on the day, in money: 2 x 55.90 x 1000.
    assert held[1] * shocks.rows[0, 1] * equity == pytest.approx(-111_800.0)
    # A relative shock applies to the position at its present price.
    assert held[0] == pytest.approx(-3 * 50 * 99.99 / 1e6)
    assert held[0] * shocks.rows[1, 0] * equity == pytest.approx(3 * 50 * 99.99 * 0.01)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_price_that_is_not_finite_is_refused(bad: float) -> None:
    broken = PRICES.copy()
    broken[1, 0] = bad
    with pytest.raises(DataError, match="price of asset 0 row 1: must be finite"):
        shocks_of(broken)


@pytest.mark.parametrize("prices", [PRICES[:1], PRICES[:, :0], PRICES[:, 0]])
def test_prices_without_a_change_or_an_asset_are_refused(prices: np.ndarray) -> None:
    with pytest.raises(DataError, match="two rows and one asset"):
        shocks_of(prices)


@pytest.mark.parametrize("equity", [0.0, -1.0, math.nan, math.inf])
def test_equity_that_is_not_positive_is_refused(equity: float) -> None:
    with pytest.raises(DataError, match="equity"):
        exposures(shocks_of(PRICES), np.ones(2), np.ones(2), equity)


@pytest.mark.parametrize(("quantity", "point_value"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, 0.0), (1.0, math.nan)])
def test_positions_that_are_no_numbers_are_refused(quantity: float, point_value: float) -> None:
    with pytest.raises(DataError, match="positions"):
        exposures(shocks_of(PRICES), np.array([1.0, quantity]), np.array([1.0, point_value]), 1e6)
