"""Sleeves of equal capital become one book and back."""

from __future__ import annotations

import numpy as np
import pytest

from grandmodel.risk.sleeves import sleeves_of


def test_two_sleeves_by_hand() -> None:
    found = sleeves_of(
        np.log([1.2, 0.8]),
        np.array([2.0, 5.0]),
        np.array([100.0, 50.0]),
        np.array([50.0, 20.0]),
        capital_per_sleeve=1e6,
    )
    assert found.equity == pytest.approx(2e6)
    np.testing.assert_allclose(found.quantity_per_position, [2.0 * 1.2e6 / 5000, 5.0 * 0.8e6 / 1000])
    np.testing.assert_allclose(found.exposure_per_position, [1.2, 2.0])


def test_quantities_at_their_prices_are_the_exposures_of_the_positions() -> None:
    price, multiplier, position = np.array([4300.0, 17.5]), np.array([50.0, 1000.0]), np.array([-0.5, 1.0])
    found = sleeves_of(np.array([0.1, -0.2]), np.array([1.1, 0.7]), price, multiplier, capital_per_sleeve=3e5)
    money = position * found.quantity_per_position * price * multiplier
    np.testing.assert_allclose(money / found.equity, position * found.exposure_per_position)


def test_without_a_price_there_is_no_quantity_but_still_an_exposure() -> None:
    one = np.ones(2)
    found = sleeves_of(np.zeros(2), one, np.array([np.nan, 1.0]), one, capital_per_sleeve=1.0)
    assert np.isnan(found.quantity_per_position).tolist() == [True, False]
    np.testing.assert_allclose(found.exposure_per_position, 0.5)
