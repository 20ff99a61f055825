from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.core.random import random_stream
from grandmodel.risk import reference
from grandmodel.risk.state import TradingState, fail_closed
from grandmodel.risk.tail import LEVELS, METHODS, NO_LOSS, NO_VARIATION, OUTSIDE_DOMAIN
from grandmodel.risk.tail_book import HORIZONS, BookRisk, BookTails

Floats = NDArray[np.float64]
WINDOW = 200
WEIGHTS = np.array([0.4, -0.3, 0.5, -0.6])


def market(bars: int, assets: int = 4, seed: int = 1) -> Floats:
    """Return float64[bars, assets]: a common factor and own moves, with fat tails."""
    stream = random_stream(seed, "book")
    factor = stream.standard_t(5, (bars, 1)) * 0.006
    moves: Floats = factor + stream.standard_t(5, (bars, assets)) * 0.008
    return moves


def loaded(assets: int = 4, **settings: int) -> BookRisk:
    book = BookRisk(assets, WINDOW, **settings)
    book.load(market(WINDOW, assets))
    return book


def assert_refused(tails: BookTails, reason: str) -> None:
    assert reason in tails.reason
    assert np.isnan(tails.tails).all()
    assert not tails.cornish_fisher_in_domain
    for method in METHODS:
        risk = tails.of(method, 0.99, "day")
        assert risk.reason == tails.reason
        assert fail_closed(TradingState.ACTIVE, risk.var_frac, risk.es_frac) is TradingState.REDUCING


def test_the_book_equals_its_slow_twin_bar_by_bar() -> None:
    rows = market(WINDOW + 2 * WINDOW + 7)
    book = BookRisk(4, WINDOW, bars_per_day=7)
    stream, weights = random_stream(2, "weights"), WEIGHTS
    compared = 0
    for bar, row in enumerate(rows):
        if bar % 13 == 0:
            weights = stream.normal(0, 0.4, 4)
        tails = book.update(row, weights)
        if bar + 1 < WINDOW:
            assert_refused(tails, f"{bar + 1} of {WINDOW} bars seen")
        elif bar % 11 == 0:
            slow = reference.book_tails(rows[bar + 1 - WINDOW : bar + 1], weights, LEVELS, (1, 7, 70))
            np.testing.assert_allclose(tails.tails, slow, rtol=1e-8)
            compared += 1
    assert compared > 30


def test_a_number_does_not_depend_on_how_the_window_came_about() -> None:
    rows = market(3 * WINDOW + 11)
    steady, fickle, late = BookRisk(4, WINDOW), BookRisk(4, WINDOW), BookRisk(4, WINDOW)
    for row in rows:
        last = steady.update(row, WEIGHTS)
        fickle.update(row, -WEIGHTS)
        fickle.measure(2 * WEIGHTS)
    late.load(rows)
    np.testing.assert_array_equal(fickle.measure(WEIGHTS).tails, last.tails)
    np.testing.assert_array_equal(late.measure(WEIGHTS).tails, last.tails)
    np.testing.assert_array_equal(steady.returns(), rows[-WINDOW:])


def test_kept_covariance_and_factor_equal_those_made_from_scratch() -> None:
    rows = market(WINDOW + 300, assets=6)
    book = BookRisk(6, WINDOW)
    book.load(rows[:WINDOW])
    weights = np.array([0.4, -0.3, 0.5, -0.6, 0.2, 0.1])
    for row in rows[WINDOW:]:
        tails = book.update(row, weights)
    first = rows[:WINDOW].T @ rows[:WINDOW] / WINDOW
    slow = reference.ewma_covariance(rows, 0.94, first)
    np.testing.assert_allclose(book.state.covariance, slow, rtol=1e-9, atol=1e-18)
    upper = np.triu(book.state.factor)
    np.testing.assert_allclose(upper.T @ upper, slow, rtol=1e-9, atol=1e-18)
    # The volatility of the P&L window is that of the covariance, seen along the weights.
    volatility = math.sqrt(weights @ slow @ weights)
    assert tails.of("ewma_normal", 0.99).var_frac == pytest.approx(2.3263478740 * volatility, rel=1e-4)


def test_hull_two_asset_portfolio() -> None:
    """10 m at 2 % and 5 m at 1 % a day, correlation .3, 99 %: the sample is given exactly these moments."""
    sample = random_stream(3, "hull").standard_normal((500, 2))
    sample -= sample.mean(axis=0)
    white = sample @ np.linalg.inv(np.linalg.cholesky(np.cov(sample.T))).T
    covariance = np.array([[0.02**2, 0.3 * 0.02 * 0.01], [0.3 * 0.02 * 0.01, 0.01**2]])
    book = BookRisk(2, 500)
    book.load(white @ np.linalg.cholesky(covariance).T)
    equity_usd = 30e6
    tails = book.measure(np.array([10e6, 5e6]) / equity_usd)
    day_usd = tails.of("parametric", 0.99, "day").var_frac * equity_usd
    assert day_usd / 2.3263478740 == pytest.approx(220_227, abs=0.5)
    assert day_usd == pytest.approx(512_325, abs=1.0)
    assert tails.of("parametric", 0.99, "ten_days").var_frac * equity_usd == pytest.approx(1_620_114, abs=1.0)


def test_longer_horizons_follow_the_square_root_of_their_bars() -> None:
    tails = loaded(bars_per_day=78).measure(WEIGHTS)
    assert tails.horizon_bars == (1, 78, 780)
    for horizon, bars in zip(HORIZONS, tails.horizon_bars, strict=True):
        risk = tails.of("historical", 0.975, horizon)
        assert risk.horizon_bars == bars
        assert risk.var_frac == pytest.approx(math.sqrt(bars) * tails.of("historical", 0.975).var_frac, rel=1e-12)


def test_a_short_book_mirrors_a_long_one() -> None:
    rows = market(WINDOW)
    long, short = BookRisk(4, WINDOW), BookRisk(4, WINDOW)
    long.load(rows)
    short.load(-rows)
    np.testing.assert_array_equal(long.measure(WEIGHTS).tails, short.measure(-WEIGHTS).tails)


def test_a_book_without_a_position_has_no_risk() -> None:
    tails = loaded().measure(np.zeros(4))
    assert tails.reason == ""
    assert not tails.tails.any()


def test_cornish_fisher_outside_its_domain_is_said() -> None:
    rows = market(WINDOW)
    rows[50] = -0.3 * np.sign(WEIGHTS)
    book = BookRisk(4, WINDOW)
    book.load(rows)
    tails = book.measure(WEIGHTS)
    assert not tails.cornish_fisher_in_domain
    assert tails.of("cornish_fisher", 0.99).reason == OUTSIDE_DOMAIN
    assert tails.of("historical", 0.99).reason == ""


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e200])
def test_a_return_that_is_not_finite_is_refused_and_not_taken_in(bad: float) -> None:
    book, twin = loaded(), loaded()
    row = market(1, seed=7)[0]
    broken = row.copy()
    broken[2] = bad
    assert_refused(book.update(broken, WEIGHTS), "the return of asset 2 is not finite")
    np.testing.assert_array_equal(book.update(row, WEIGHTS).tails, twin.update(row, WEIGHTS).tails)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_weight_that_is_not_finite_is_refused_but_its_bar_is_kept(bad: float) -> None:
    book, twin = loaded(), loaded()
    rows = market(2, seed=7)
    book.update(rows[0], WEIGHTS)
    twin.update(rows[0], WEIGHTS)
    broken = WEIGHTS.copy()
    broken[1] = bad
    assert_refused(book.update(rows[1], broken), "the weight of asset 1 is not finite")
    np.testing.assert_array_equal(book.measure(WEIGHTS).tails, twin.update(rows[1], WEIGHTS).tails)


@pytest.mark.parametrize("kind", ["copy", "sum", "frozen"])
def test_a_singular_covariance_is_refused(kind: str) -> None:
    rows = market(WINDOW + 5)
    rows[:, 3] = {"copy": 2 * rows[:, 0], "sum": rows[:, 0] - 0.5 * rows[:, 1], "frozen": 0 * rows[:, 0]}[kind]
    book = BookRisk(4, WINDOW)
    book.load(rows[:WINDOW])
    assert_refused(book.measure(WEIGHTS), "singular: asset 3")
    for row in rows[WINDOW:]:
        assert_refused(book.update(row, WEIGHTS), "singular: asset 3")


def test_an_asset_that_becomes_a_copy_is_found_and_forgiven_when_it_parts_again() -> None:
    book = loaded()
    found = 0
    for row in market(500, seed=8):
        row[3] = row[0]
        found += "singular: asset 3" in book.update(row, WEIGHTS).reason
    assert 50 < found < 250  # once what set the two apart weighs less than 1e-10
    for row in market(3, seed=9):
        tails = book.update(row, WEIGHTS)
    assert tails.reason == ""


def test_a_profit_without_variation_is_refused() -> None:
    book = BookRisk(1, WINDOW)
    book.load(np.full((WINDOW, 1), 0.25))
    assert_refused(book.measure(np.ones(1)), NO_VARIATION)


def test_one_observation_gives_no_number() -> None:
    book = BookRisk(4, WINDOW)
    assert_refused(book.update(market(1)[0], WEIGHTS), f"1 of {WINDOW} bars seen")
    assert_refused(book.measure(np.zeros(4)), f"1 of {WINDOW} bars seen")


def test_numbers_out_of_all_range_are_refused() -> None:
    book = BookRisk(2, WINDOW)
    book.load(market(WINDOW, 2) * 1e99)
    assert_refused(book.measure(np.array([1e99, -1e99])), "too large")
    assert_refused(book.measure(np.array([1e-180, -1e-180])), "too small")


def test_shapes_and_settings_that_fit_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least one asset"):
        BookRisk(0, WINDOW)
    with pytest.raises(ConfigError, match="one bar a day"):
        BookRisk(2, WINDOW, bars_per_day=0)
    with pytest.raises(ConfigError, match="VaR window"):
        BookRisk(2, 99)
    book = loaded()
    with pytest.raises(DataError, match="one for each of 4 assets"):
        book.update(np.zeros(3), WEIGHTS)
    with pytest.raises(DataError, match="one for each of 4 assets"):
        book.measure(np.zeros((4, 1)))
    with pytest.raises(DataError, match="at least 200 rows"):
        book.load(np.zeros((WINDOW - 1, 4)))
    with pytest.raises(DataError, match="finite"):
        book.load(np.full((WINDOW, 4), math.nan))
    with pytest.raises(ConfigError, match="tail of the book"):
        book.measure(WEIGHTS).of("historical", 0.9)


def test_an_allocation_by_the_book_sums_and_is_refused_with_it() -> None:
    book = loaded()
    for method in METHODS:
        parts = book.allocate(WEIGHTS, 0.99, method)
        assert parts.component_var.sum() == pytest.approx(book.measure(WEIGHTS).of(method, 0.99).var_frac, rel=1e-9)
    parts = BookRisk(4, WINDOW).allocate(WEIGHTS, 0.99, "historical")
    assert np.isnan(parts.component_es).all()
    assert parts.reason == f"0 of {WINDOW} bars seen"


def test_a_book_that_hardly_moves_has_no_number_and_one_that_only_gains_none_of_the_order_statistics() -> None:
    book = BookRisk(1, 1000, levels=(0.99,), decay=0.99)
    book.load(np.r_[np.zeros(991), np.full(9, -0.05)][:, None])
    still = book.measure(np.array([3.0])).of("filtered_historical", 0.99, "day")
    assert math.isnan(still.var_frac)
    assert still.reason
    book.load(np.linspace(0.010, 0.011, 1000)[:, None])
    gains = book.measure(np.array([3.0])).of("filtered_historical", 0.99)
    assert (math.isnan(gains.var_frac), gains.reason) == (True, NO_LOSS)
    assert book.measure(np.array([3.0])).of("ewma_normal", 0.99).var_frac > 0.0
