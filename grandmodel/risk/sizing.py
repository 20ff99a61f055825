"""How much to ask for: a share of the growth-optimal size, nothing without an edge, never more than the limits leave.

Kelly (1956), "A new interpretation of information rate": betting the share f of equity at odds b : 1 that are won with
probability p grows fastest at f = p - (1 - p) / b. Thorp (2006), "The Kelly criterion in blackjack, sports betting and
the stock market", section 7: for a return with mean m and variance s^2 it is f = m / s^2. Both use numbers that are
only estimated, and betting twice the true f grows not at all, so a fraction of it is asked for.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.config import RiskLimits
from grandmodel.risk.limits import instrument_cap


def kelly_of_odds(win_probability: float, payoff_ratio: float) -> float:
    """Return the growth-optimal share of equity of a bet that wins ``payoff_ratio`` or loses 1; 0 without an edge.

    NaN, a probability outside [0, 1] and a payoff that is not positive give 0.
    """
    if not (0.0 <= win_probability <= 1.0 and 0.0 < payoff_ratio < np.inf):
        return 0.0
    return max(0.0, win_probability - (1.0 - win_probability) / payoff_ratio)


def kelly_of_returns(
    mean_frac: NDArray[np.float64], deviation_frac: NDArray[np.float64], cost_frac: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the growth-optimal exposure of each instrument alone, float64[N], with the sign of its edge.

    Args:
        mean_frac: float64[N], expected return over the holding time, signed.
        deviation_frac: float64[N], its standard deviation over the same time, positive.
        cost_frac: float64[N], cost of getting in and out, not negative; an edge within its cost is none.

    Anything that is not finite, a deviation of zero and a negative cost give 0: no size without an estimate.
    """
    with np.errstate(all="ignore"):
        edge = np.abs(mean_frac) - cost_frac
        size = edge / (deviation_frac * deviation_frac)
        known = np.isfinite(mean_frac) & np.isfinite(size) & (deviation_frac > 0) & (cost_frac >= 0)
        return np.where(known & (edge > 0), np.copysign(size, mean_frac), 0.0)


def sized_exposure(
    full_kelly: NDArray[np.float64], adverse_move_frac: NDArray[np.float64], limits: RiskLimits, *, gross_cap: float
) -> NDArray[np.float64]:
    """Return the exposure to ask for, float64[N]: the fraction of Kelly, its cap, then what the limits leave.

    Args:
        full_kelly: float64[N], signed; what is not finite counts as no edge.
        adverse_move_frac: float64[N], see ``instrument_cap``; an instrument without one gets 0.
        limits: what holds.
        gross_cap: of the breaker; not finite or not positive gives 0 everywhere.

    The limits of the whole book (gross, net, number of positions) shrink all sizes alike, or drop the smallest; those
    that need prices, orders and what is held are left to the guard.
    """
    if not (np.isfinite(gross_cap) and gross_cap > 0):
        return np.zeros(len(full_kelly))
    with np.errstate(all="ignore"):
        cap = np.minimum(limits.kelly_cap_frac, instrument_cap(limits, adverse_move_frac))
        known = np.isfinite(full_kelly) & np.isfinite(cap) & (adverse_move_frac > 0)
        size = np.where(known, np.clip(limits.kelly_fraction * full_kelly, -cap, cap), 0.0)
    dropped = np.argsort(-np.abs(size), kind="stable")[limits.positions_max :]
    size[dropped] = 0.0
    gross, net = float(np.abs(size).sum()), abs(float(size.sum()))
    share = min(1.0, min(gross_cap, limits.gross_exposure_max) / gross) if gross > 0 else 1.0
    if net * share > limits.net_exposure_max:
        share = limits.net_exposure_max / net
    return size * share
