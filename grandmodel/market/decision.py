"""From the actions of a team to a target position and an order style."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from grandmodel.market.accounting import ORDER_MARKET
from grandmodel.market.team import LONG, SHORT

INTENT_SIZE_AT = 3  # where the size stands in the six numbers of an intent


@njit(cache=True)
def decode_actions(
    actions: NDArray[np.int64],
    taken: int,
    targets: NDArray[np.float64],
    uses_intent: bool,
    intent: NDArray[np.float32],
    row: int,
) -> tuple[float, int]:
    """Return target position in [-1, 1] and order style of ``actions[taken]`` [A] under ``intent[row]``.

    Without an intent: mean vote (long +1, flat 0, short -1) x size action / largest size action, by market order; the
    products stand in ``targets``, see TeamSpec.layout. With one: d = (long - short) x size of the intent; target = d,
    or 0 where every vote is against d; the last agent picks wait (no order), execute (limit order at the last close)
    or aggressive (market order). The actions must exist.
    """
    last = np.uintp(actions.shape[1] - 1)
    votes = 0
    for agent in range(last):
        votes += actions[taken, agent]
    choice = actions[taken, last]
    if not uses_intent:
        return targets[np.uintp(votes), np.uintp(choice)], ORDER_MARKET
    wish = (np.float64(intent[row, LONG]) - np.float64(intent[row, SHORT])) * np.float64(intent[row, INTENT_SIZE_AT])
    # A veto, not a scale: votes that move the target a little at every bar would trade, and pay, at every bar.
    all_against = SHORT if wish >= 0.0 else LONG * (actions.shape[1] - 1)
    target = 0.0 if votes == all_against else wish
    return target, choice  # wait, execute, aggressive are numbered as the order styles are
