"""Fills, costs and returns of one account on one bar: the only place where money is counted.

Training, replay and simulation all call ``advance_account``. A position is a fraction in [-1, 1] of the risk budget;
position x leverage is notional value over equity. A bar is lived through in this order: the old position carries the
gap from the last close to the open, then the order is filled (if at all), then the new position carries the open to
the close:

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
GAP, BODY, HIGH, LOW, HALF_SPREAD, COMMISSION, IMPACT, LEVERAGE, REWARD_SCALE, TRADABLE, ROLLED = range(11)
MARKET_COLUMNS = 11

# Entries of an account: position held, log equity, highest log equity so far, log return since the position was opened.
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

    A position beyond ``cap`` is cut by a market order whatever the order says. A bar not tradable fills nothing.
    """
    over = abs(position) > cap
    if not tradable or (order == ORDER_NONE and not over):
        return position, False
    wanted = position if order == ORDER_NONE else target
    wanted = min(max(wanted, -cap), cap)
    if order != ORDER_LIMIT or over:
        return wanted, False
    through = low < -THROUGH_FRAC if wanted > position else high > THROUGH_FRAC
    return (wanted if through else position), True


@njit(cache=True)
def advance_account(
    account: NDArray[np.float64], market: NDArray[np.float64], target: float, order: int, cap: float
) -> tuple[float, float, float]:
    """Carry ``account`` in place over the bar ``market`` with one order at work.

    Returns log return of equity after costs, turnover (|change of position|), and cost as a fraction of equity.
    """
    before = account[POSITION]
    after, at_limit = fill_position(before, target, order, cap, market[HIGH], market[LOW], market[TRADABLE] > 0.0)
    turnover = abs(after - before)
    growth = bar_growth_frac(market[GAP], market[BODY], market[LEVERAGE], before, after, at_limit)
    cost = trade_cost_frac(
        turnover, market[HALF_SPREAD], market[COMMISSION], market[IMPACT], market[LEVERAGE], at_limit
    )
    if market[ROLLED] > 0.0:
        cost += 2.0 * trade_cost_frac(
            abs(before), market[HALF_SPREAD], market[COMMISSION], market[IMPACT], market[LEVERAGE], False
        )
    log_return = math.log1p(max(growth - cost, RETURN_FRAC_MIN))
    account[POSITION] = after
    account[LOG_EQUITY] += log_return
    account[LOG_PEAK] = max(account[LOG_PEAK], account[LOG_EQUITY])
    account[OPEN_RETURN] = open_return(account[OPEN_RETURN], log_return, before, after)
    return log_return, turnover, cost


@njit(cache=True)
def open_return(so_far: float, log_return: float, before: float, after: float) -> float:
    """Return the log return earned since the position was opened; it starts anew from flat and on a change of side."""
    if after == 0.0:
        return 0.0
    if before * after > 0.0:
        return so_far + log_return
    return log_return


@njit(cache=True)
def drawdown_frac(account: NDArray[np.float64]) -> float:
    """Return the loss from the highest equity so far, as a fraction of it; never negative."""
    return -math.expm1(account[LOG_EQUITY] - account[LOG_PEAK])


@njit(cache=True)
def bar_reward(log_return: float, reward_scale: float, downside_penalty: float) -> float:
    """Return the team reward: the return in units of the bar volatility target, less its squared loss weighted."""
    scaled = reward_scale * log_return
    loss = min(scaled, 0.0)
    return scaled - downside_penalty * loss * loss
