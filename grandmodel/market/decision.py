"""From the actions of a team to a target position and an order style."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from grandmodel.market.accounting import ORDER_LIMIT, ORDER_MARKET, ORDER_NONE
from grandmodel.market.team import EXECUTE, FLAT, LONG, SHORT, WAIT, Layout

INTENT_SIZE_AT = 3  # where the size stands in the six numbers of an intent


@njit(cache=True)
def decode_actions(actions: NDArray[np.int64], layout: Layout, intent: NDArray[np.float32]) -> tuple[float, int]:
    """Return target position in [-1, 1] and order style of one bar's ``actions`` [A].

    Without an intent: mean vote (long +1, flat 0, short -1) x size action / largest size action, by market order.
    With one: d = (long - short) x size of the intent; target = d, or 0 where every vote is against d; the last agent
    picks wait (no order), execute (limit order at the last close) or aggressive (market order).
    """
    last = len(actions) - 1
    votes = 0
    for agent in range(last):
        votes += actions[agent] - FLAT
    mean_vote = votes / last
    if not layout.uses_intent:
        return mean_vote * (actions[last] / (layout.action_counts[last] - 1)), ORDER_MARKET
    wish = (np.float64(intent[LONG]) - np.float64(intent[SHORT])) * np.float64(intent[INTENT_SIZE_AT])
    # A veto, not a scale: votes that move the target a little at every bar would trade, and pay, at every bar.
    vetoed = mean_vote == -1.0 if wish >= 0.0 else mean_vote == 1.0
    target = 0.0 if vetoed else wish
    if actions[last] == WAIT:
        return target, ORDER_NONE
    return target, ORDER_LIMIT if actions[last] == EXECUTE else ORDER_MARKET
