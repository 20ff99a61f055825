"""What critic and agents see: the one builder that training, replay and serving share, so that their bytes are equal.

The critic's state, as float32: all columns at lag 0, then at lag 1, ... (zeros before the first bar), four numbers of
own state, and six numbers of intent where the team uses one. What agent k sees is gathered from that state: its own
columns at every lag, own state, intent; then come the triples of the earlier agents, and zeros up to the common width.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from grandmodel.market.accounting import OPEN_RETURN, POSITION, REWARD_SCALE, drawdown_frac
from grandmodel.market.team import INTENT_SIZE, OWN_STATE_SIZE, TRIPLE_SIZE, Layout

OPEN_RETURN_ABS_MAX = 5.0  # in bar volatility targets
DRAWDOWN_UNIT_FRAC = 0.1
DRAWDOWN_MAX = 5.0  # in units of 10 %


class TapeArrays(NamedTuple):
    """A tape as plain arrays, the form in which compiled code takes it."""

    features: NDArray[np.float32]  # [T, F]
    market: NDArray[np.float64]  # [T, MARKET_COLUMNS]
    session_left: NDArray[np.float32]  # [T]
    intent: NDArray[np.float32]  # [T, 6]


@njit(cache=True)
def write_state(
    out: NDArray[np.float32],
    tape: TapeArrays,
    layout: Layout,
    row: int,
    first: int,
    account: NDArray[np.float64],
) -> None:
    """Write the critic's state [S] at the close of ``row`` of an instrument whose first row is ``first``."""
    n_columns = tape.features.shape[1]
    for lag in range(layout.lags):
        for column in range(n_columns):
            known = row - lag >= first
            out[lag * n_columns + column] = tape.features[row - lag, column] if known else np.float32(0.0)
    at = layout.lags * n_columns
    unrealised = account[OPEN_RETURN] * tape.market[row, REWARD_SCALE]
    out[at] = np.float32(account[POSITION])
    out[at + 1] = np.float32(min(max(unrealised, -OPEN_RETURN_ABS_MAX), OPEN_RETURN_ABS_MAX))
    out[at + 2] = np.float32(min(drawdown_frac(account) / DRAWDOWN_UNIT_FRAC, DRAWDOWN_MAX))
    out[at + 3] = tape.session_left[row]
    if layout.uses_intent:
        for i in range(INTENT_SIZE):
            out[at + OWN_STATE_SIZE + i] = tape.intent[row, i]


@njit(cache=True)
def write_observation(
    out: NDArray[np.float32], state: NDArray[np.float32], gather: NDArray[np.int64], offset: int, stop: int
) -> int:
    """Write what one agent sees of ``state`` and zeros behind it; return where its triples start."""
    size = stop - offset
    for i in range(size):
        out[i] = state[gather[offset + i]]
    for i in range(size, len(out)):
        out[i] = np.float32(0.0)
    return size


@njit(cache=True)
def write_triples(out: NDArray[np.float32], at: int, actions: NDArray[np.int64], agent: int) -> None:
    """Write the one-hot triples of the actions of all agents before ``agent`` from ``at`` on."""
    for earlier in range(agent):
        for side in range(TRIPLE_SIZE):
            chosen = actions[earlier] == side
            out[at + TRIPLE_SIZE * earlier + side] = np.float32(1.0) if chosen else np.float32(0.0)
