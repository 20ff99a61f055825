"""Each figure below was worked out by hand."""

from math import exp, log, sqrt

import numpy as np
import pytest

from grandmodel.core.errors import DataError
from grandmodel.stats.performance import (
    annual_return_frac,
    annual_sharpe,
    annual_volatility_frac,
    max_drawdown_frac,
    portfolio_daily_log_returns,
    turnover_per_year,
)


def test_annual_return_compounds_the_mean_log_return() -> None:
    assert annual_return_frac(np.array([0.001, -0.001, 0.003]), 252.0) == pytest.approx(exp(0.252) - 1.0)


def test_annual_sharpe_is_mean_over_sample_deviation_times_root_of_days() -> None:
    # mean 0.01, deviations -0.01 0 0.01, sample standard deviation 0.01
    assert annual_sharpe(np.array([0.0, 0.01, 0.02]), 252.0) == pytest.approx(sqrt(252.0))


def test_annual_volatility_uses_the_sample_deviation() -> None:
    assert annual_volatility_frac(np.array([0.0, 0.01, 0.02]), 100.0) == pytest.approx(0.1)


def test_sharpe_of_returns_that_never_vary_is_undefined() -> None:
    assert annual_sharpe(np.full(10, 0.001)) is None
    assert annual_sharpe(np.array([0.001])) is None


def test_max_drawdown_is_the_deepest_fall_from_a_peak() -> None:
    # equity 1, 1.1, 0.88, 0.99, 0.792: the fall from 1.1 to 0.792 is 28 %
    returns = np.array([log(1.1), log(0.8), log(1.125), log(0.8)])
    assert max_drawdown_frac(returns) == pytest.approx(0.28)


def test_max_drawdown_counts_a_loss_on_the_first_day() -> None:
    assert max_drawdown_frac(np.array([log(0.9), log(1.2)])) == pytest.approx(0.1)


def test_max_drawdown_of_rising_equity_is_zero() -> None:
    assert max_drawdown_frac(np.array([0.01, 0.02])) == 0.0


def test_turnover_counts_a_reversal_twice() -> None:
    # flat to long 1, long to short 2, short to flat 1: 4 positions in 2 days
    assert turnover_per_year(np.array([1.0, -2.0, 1.0]), days=2, sessions_per_year=252.0) == pytest.approx(504.0)


def test_portfolio_splits_capital_equally_each_day() -> None:
    log_returns = np.array([log(1.1), log(1.1), 0.0, log(0.9), log(1.2)])
    session = np.array([1, 1, 2, 1, 3], dtype=np.int32)
    instrument = np.array([0, 0, 0, 1, 1])
    days, returns = portfolio_daily_log_returns(log_returns, session, instrument)
    assert days.tolist() == [1, 2, 3]
    # day 1: 21 % and -10 %; day 2: 0 and closed; day 3: no bar and 20 %
    assert np.expm1(returns) == pytest.approx([0.055, 0.0, 0.1])


@pytest.mark.parametrize("bad", [np.array([]), np.array([0.1, np.nan]), np.array([np.inf]), np.zeros((2, 2))])
def test_returns_that_are_empty_not_finite_or_no_column_are_refused(bad: np.ndarray) -> None:
    for function in (annual_return_frac, annual_sharpe, annual_volatility_frac, max_drawdown_frac):
        with pytest.raises(DataError, match="returns"):
            function(bad)


def test_turnover_over_no_days_is_refused() -> None:
    with pytest.raises(DataError, match="at least one day"):
        turnover_per_year(np.array([1.0]), days=0)


def test_portfolio_columns_of_different_length_are_refused() -> None:
    with pytest.raises(DataError, match="one length"):
        portfolio_daily_log_returns(np.zeros(2), np.zeros(3, dtype=np.int32), np.zeros(2, dtype=np.int64))
