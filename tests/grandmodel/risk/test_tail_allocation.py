from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.core.random import random_stream
from grandmodel.risk.tail import METHODS, NO_VARIATION, OUTSIDE_DOMAIN, STILL, ewma_normal
from grandmodel.risk.tail_allocation import allocate

Floats = NDArray[np.float64]
WEIGHTS = np.array([0.3, -0.2, 0.5, -0.6, 0.1, 0.0])
every_method = pytest.mark.parametrize("method", METHODS)


def market(seed: int = 1) -> Floats:
    stream = random_stream(seed, "allocation")
    rows: Floats = stream.standard_t(6, (500, 6)) * 0.01 + stream.standard_normal((500, 1)) * 0.005 + 0.0003
    return rows


@every_method
@pytest.mark.parametrize("level", [0.95, 0.99])
def test_components_sum_to_the_total_with_shorts(method: str, level: float) -> None:
    for seed in range(3):
        rows = market(seed)
        total, parts = METHODS[method](rows @ WEIGHTS, level), allocate(rows, WEIGHTS, level, method)
        assert parts.component_var.sum() == pytest.approx(total.var_frac, rel=1e-12)
        assert parts.component_es.sum() == pytest.approx(total.es_frac, rel=1e-12)
        np.testing.assert_array_equal(parts.component_var, WEIGHTS * parts.marginal_var)
        assert parts.component_var[5] == 0.0
        assert parts.marginal_var[5] != 0.0


@every_method
def test_marginal_risk_is_the_slope_of_the_estimator(method: str) -> None:
    """Move each weight a little both ways and estimate anew: the slow twin of every derivative."""
    rows, step = market(), 1e-6
    parts = allocate(rows, WEIGHTS, 0.975, method)
    for asset in range(6):
        move = step * np.eye(6)[asset]
        up, down = (METHODS[method](rows @ (WEIGHTS + sign * move), 0.975) for sign in (1, -1))
        assert (up.var_frac - down.var_frac) / (2 * step) == pytest.approx(parts.marginal_var[asset], abs=1e-9)
        assert (up.es_frac - down.es_frac) / (2 * step) == pytest.approx(parts.marginal_es[asset], abs=1e-9)


@every_method
def test_a_hedge_takes_risk_away(method: str) -> None:
    stream = random_stream(4, "hedge")
    market_moves = stream.standard_normal(500) * 0.01
    rows = np.stack([market_moves, market_moves + 0.003 * stream.standard_normal(500)], axis=1)
    parts = allocate(rows, np.array([1.0, -0.4]), 0.99, method)
    assert parts.component_var[1] < 0 < parts.component_var[0]
    assert parts.component_es[1] < 0 < parts.component_es[0]


def test_the_doubt_about_cornish_fisher_travels_along() -> None:
    rows = market()
    rows[7] *= 20
    assert allocate(rows, WEIGHTS, 0.99, "cornish_fisher").reason == OUTSIDE_DOMAIN
    assert allocate(rows, WEIGHTS, 0.99, "historical").reason == ""


@every_method
def test_a_book_without_a_position_has_nothing_to_split(method: str) -> None:
    parts = allocate(market(), np.zeros(6), 0.99, method)
    assert not parts.component_var.any()
    assert parts.reason == ""


@every_method
def test_what_has_no_number_has_no_parts(method: str) -> None:
    broken = market()
    broken[3, 2] = math.nan
    for rows, reason in (
        (broken, "a return is not finite"),
        (market()[:50], "50 returns, and level 0.99 needs 100"),
        (np.ones((500, 6)), NO_VARIATION),
    ):
        parts = allocate(rows, WEIGHTS, 0.99, method)
        assert parts.reason == reason
        for numbers in (parts.marginal_var, parts.marginal_es, parts.component_var, parts.component_es):
            assert np.isnan(numbers).all()


def test_wrong_calls_are_refused() -> None:
    with pytest.raises(ConfigError, match="VaR method"):
        allocate(market(), WEIGHTS, 0.99, "magic")
    with pytest.raises(ConfigError, match="VaR level"):
        allocate(market(), WEIGHTS, 0.4, "historical")
    for weights in (WEIGHTS[:5], np.full(6, math.nan), np.empty(0)):
        with pytest.raises(DataError, match="one finite weight"):
            allocate(market(), weights, 0.99, "historical")


def test_the_number_that_is_split_has_the_decay_that_was_asked_for() -> None:
    stream = random_stream(5, "still")
    rows = np.concatenate([0.01 * stream.standard_normal((500, 2)), np.zeros((6000, 2)), [[0.01, -0.02]]])
    assert allocate(rows, np.array([1.0, 0.5]), 0.99, "ewma_normal", decay=0.94).reason == STILL
    slow = allocate(rows, np.array([1.0, 0.5]), 0.99, "ewma_normal", decay=0.999)
    assert (slow.reason, bool(np.isfinite(slow.component_var).all())) == ("", True)
    assert slow.component_var.sum() == pytest.approx(ewma_normal(rows @ [1.0, 0.5], 0.99, 0.999).var_frac)
