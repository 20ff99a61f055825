"""Fills, costs and returns of one account on one bar: the only place where money is counted.

Replay and simulation carry one account with ``advance_account``; training and portfolios call its parts. A position is
a fraction in [-1, 1] of the risk budget; position x leverage is notional value over equity. A bar is lived through in
this order: the old position carries the gap from the last close to the open, then the order is filled (if at all),
then the new position carries the open to the close:

    growth = (1 + leverage * before * gap) * (1 + leverage * after * body)
    cost   = leverage * (|delta| * (half_spread + commission) + impact * |delta|**1.5)
    log return of equity = log1p(growth - 1 - cost)

On the first bar of a new contract the position held is rolled: it is sold in the old contract and bought in the new
one, two market trades of its size at that bar's costs. A roll is never a return, but it is paid for.

A limit order works at the last close, so its fill carries the gap as well, and it pays the commission alone.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

# Columns of one row of the packed market, see MarketTape.arrays.
GAP, BODY, HIGH, LOW, HALF_SPREAD, COMMISSION, IMPACT, LEVERAGE, REWARD_SCALE, TRADABLE, ROLLED, LEFT = range(12)
MARKET_COLUMNS = 12

# Rows of accounts [4, N]: position held, log equity, its highest so far, log return since the position was opened.
POSITION, LOG_EQUITY, LOG_PEAK, OPEN_RETURN = range(4)
ACCOUNT_SIZE = 4

ORDER_NONE, ORDER_LIMIT, ORDER_MARKET = range(3)

THROUGH_FRAC = 1e-9  # a price counts as traded through beyond this; smaller differences are rounding of adjusted prices
RETURN_FRAC_MIN = -0.999  # a bar cannot lose more than this share of equity, so that logarithms stay finite


@njit(cache=True)
def bar_growth_frac(gap: float, body: float, leverage: float, before: float, after: float, at_limit: bool) -> float:
    """Return the equity change over one bar before costs, as a fraction of equity."""
    over_gap = after if at_limit else before
    return (1.0 + leverage * over_gap * gap) * (1.0 + leverage * after * body) - 1.0


@njit(cache=True)
def trade_cost_frac(
    turnover: float, half_spread: float, commission: float, impact: float, leverage: float, at_limit: bool
) -> float:
    """Return the cost of changing the position by ``turnover`` >= 0, as a fraction of equity."""
    if at_limit:
        return leverage * turnover * commission
    return leverage * (turnover * (half_spread + commission) + impact * turnover * math.sqrt(turnover))


@njit(cache=True)
def fill_position(
    position: float, target: float, order: int, cap: float, high: float, low: float, tradable: bool
) -> tuple[float, bool]:
    """Return the position after one bar and whether it was reached by a limit order.

    A position beyond ``cap`` is cut by a market order whatever the order says. A bar not tradable fills nothing. A cap
    that is negative or NaN is a cap of zero.
    """
    cap = cap if cap > 0.0 else 0.0
    # Choices instead of branches: which orders come is as good as random, and a wrong guess costs the processor more.
    over = abs(position) > cap
    idle = (order == ORDER_NONE) & (not over)
    by_limit = (order == ORDER_LIMIT) & (not over)
    wanted = min(max(position if order == ORDER_NONE else target, -cap), cap)
    through = low < -THROUGH_FRAC if wanted > position else high > THROUGH_FRAC
    stays = (not tradable) | idle | (by_limit & (not through))
    return (position if stays else wanted), by_limit & tradable


@njit(cache=True)
def trade_bar(
    before: float, market: NDArray[np.float64], row: int, target: float, order: int, cap: float
) -> tuple[float, float, float, float]:
    """Return what bar ``row`` of ``market`` makes of position ``before`` with one order at work.

    Returns the new position, turnover (|change of position|), growth before costs and cost, fractions of equity both.
    """
    tradable = market[row, TRADABLE] > 0.0
    after, at_limit = fill_position(before, target, order, cap, market[row, HIGH], market[row, LOW], tradable)
    turnover, leverage = abs(after - before), market[row, LEVERAGE]
    half_spread, commission, impact = market[row, HALF_SPREAD], market[row, COMMISSION], market[row, IMPACT]
    growth = bar_growth_frac(market[row, GAP], market[row, BODY], leverage, before, after, at_limit)
    cost = trade_cost_frac(turnover, half_spread, commission, impact, leverage, at_limit)
    if market[row, ROLLED] > 0.0:
        cost += 2.0 * trade_cost_frac(abs(before), half_spread, commission, impact, leverage, False)
    return after, turnover, growth, cost


@njit(cache=True)
def log_return_of(net_growth: float) -> float:
    """Return the log return of an equity change after costs, which is cut at ``RETURN_FRAC_MIN``."""
    return math.log1p(max(net_growth, RETURN_FRAC_MIN))


@njit(cache=True)
def book_return(accounts: NDArray[np.float64], e: int, log_return: float) -> None:
    """Add ``log_return`` to the equity of account ``e`` of ``accounts`` [4, N]."""
    log_equity = accounts[LOG_EQUITY, e] + log_return
    accounts[LOG_EQUITY, e] = log_equity
    accounts[LOG_PEAK, e] = max(accounts[LOG_PEAK, e], log_equity)


@njit(cache=True)
def book_position(accounts: NDArray[np.float64], e: int, log_return: float, after: float) -> None:
    """Set the position of account ``e`` of ``accounts`` [4, N], on which ``log_return`` was earned, to ``after``."""
    accounts[OPEN_RETURN, e] = open_return(accounts[OPEN_RETURN, e], log_return, accounts[POSITION, e], after)
    accounts[POSITION, e] = after


@njit(cache=True)
def advance_account(
    accounts: NDArray[np.float64],
    e: int,
    market: NDArray[np.float64],
    row: int,
    target: float,
    order: int,
    cap: float,
) -> tuple[float, float, float]:
    """Carry account ``e`` of ``accounts`` [4, N] in place over bar ``row`` of ``market`` with one order at work.

    Returns log return of equity after costs, turnover (|change of position|), and cost as a fraction of equity.
    """
    after, turnover, growth, cost = trade_bar(accounts[POSITION, e], market, row, target, order, cap)
    log_return = log_return_of(growth - cost)
    book_return(accounts, e, log_return)
    book_position(accounts, e, log_return, after)
    return log_return, turnover, cost


@njit(cache=True)
def open_return(so_far: float, log_return: float, before: float, after: float) -> float:
    """Return the log return earned since the position was opened; it starts anew from flat and on a change of side."""
    kept = so_far if before * after > 0.0 else 0.0
    return 0.0 if after == 0.0 else kept + log_return


@njit(cache=True)
def drawdown_frac(log_equity: float, log_peak: float) -> float:
    """Return the loss from the highest equity so far, as a fraction of it; never negative."""
    return -math.expm1(log_equity - log_peak)


@njit(cache=True)
def bar_reward(log_return: float, reward_scale: float, downside_penalty: float) -> float:
    """Return the team reward: the return in units of the bar volatility target, less its squared loss weighted."""
    scaled = reward_scale * log_return
    loss = min(scaled, 0.0)
    return scaled - downside_penalty * loss * loss
