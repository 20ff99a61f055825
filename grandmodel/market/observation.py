"""What critic and agents see: the one builder that training, replay and serving share, so that their bytes are equal.

The critic's state, as float32: all columns at lag 0, then at lag 1, ... (zeros before the first bar), four numbers of
own state, and six numbers of intent where the team uses one. Agent k sees its own columns at every lag, own state and
intent; then come the triples of the earlier agents, and zeros up to the common width.

Features are laid out beforehand so that what one reader sees at a bar is one contiguous run (``Windows``): writing it
is then a copy, and copies are all that the time of writing consists of.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from grandmodel.market.accounting import (
    ACCOUNT_SIZE,
    LEFT,
    LOG_EQUITY,
    LOG_PEAK,
    OPEN_RETURN,
    POSITION,
    REWARD_SCALE,
    drawdown_frac,
)
from grandmodel.market.processor import AHEAD, LINE_BYTES, Index, aligned, prefetch
from grandmodel.market.team import FLAT, INTENT_SIZE, LONG, OWN_STATE_SIZE, SHORT, TRIPLE_SIZE, Layout, TeamSpec

OPEN_RETURN_ABS_MAX = 5.0  # in bar volatility targets
DRAWDOWN_UNIT_FRAC = 0.1
DRAWDOWN_MAX = 5.0  # in units of 10 %


class TapeArrays(NamedTuple):
    """What compiled code needs of a tape besides its features."""

    market: NDArray[np.float64]  # [T, MARKET_COLUMNS]
    intent: NDArray[np.float32]  # [T, 6]


class Standing(NamedTuple):
    """Where N environments stand, as their observations need it."""

    row: NDArray[np.int64]  # [N] of the tape, the bar that has closed
    mirror: NDArray[np.int64]  # [N] of the instrument, see Windows
    accounts: NDArray[np.float64]  # [4, N], see accounting.py
    drawdown_frac: NDArray[np.float64]  # [N], filled by look_at_accounts
    own: NDArray[np.float32]  # [4, N], filled by look_at_accounts


class Windows(NamedTuple):
    """The features as each reader sees them; reader k is agent k, and the last reader is the critic.

    Time runs backwards, so that the newest lag comes first: at row t of instrument i, reader k sees the ``length[k]``
    numbers from ``first[k] + (mirror[i] - t) * stride[k]`` on. Zeros stand before each instrument's first bar.
    """

    values: NDArray[np.float32]  # flat
    first: NDArray[np.uintp]  # [A + 1]
    stride: NDArray[np.uintp]  # [A + 1]
    length: NDArray[np.uintp]  # [A + 1]
    mirror: NDArray[np.int64]  # [I]


def empty_standing(n: int) -> Standing:
    """Return ``n`` environments at row 0 with flat accounts."""
    return Standing(
        row=np.zeros(n, np.int64),
        mirror=np.zeros(n, np.int64),
        accounts=np.zeros((ACCOUNT_SIZE, n), np.float64),
        drawdown_frac=np.zeros(n, np.float64),
        own=np.zeros((OWN_STATE_SIZE, n), np.float32),
    )


def lay_windows(features: NDArray[np.float32], offsets: NDArray[np.int64], spec: TeamSpec) -> Windows:
    """Lay out ``features`` [T, F], instruments as in ``offsets`` [I + 1], for the agents and the critic of ``spec``."""
    readers = [*spec.columns, tuple(range(spec.n_columns))]
    kinds = list(dict.fromkeys(readers))  # agents that see the same columns share them
    spans = list(zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True))
    before_first = np.zeros((spec.lags - 1, spec.n_columns), np.float32)
    parts = [part for first, stop in spans for part in (features[first:stop][::-1], before_first)]
    mirrored = np.concatenate(parts).astype(np.float32, copy=False)
    widths = [len(kind) for kind in kinds]
    if spec.lags == 1:  # one bar of all readers side by side, which fewer cache lines hold
        step = LINE_BYTES // 2 // 4  # numbers in half a cache line; a bar then never touches one line too many
        width = -(-sum(widths) // step) * step
        padded = np.zeros((len(mirrored), width), np.float32)
        padded[:, : sum(widths)] = np.concatenate([mirrored[:, list(kind)] for kind in kinds], axis=1)
        values = padded.ravel()
        starts, strides = np.cumsum([0, *widths]), [width] * len(kinds)
    else:
        values = np.concatenate([mirrored[:, list(kind)].ravel() for kind in kinds])
        starts, strides = np.cumsum([0, *widths]) * len(mirrored), widths
    kind_of = [kinds.index(reader) for reader in readers]
    return Windows(
        values=aligned(values),
        first=np.array([starts[kind] for kind in kind_of], np.uintp),
        stride=np.array([strides[kind] for kind in kind_of], np.uintp),
        length=np.array([len(reader) * spec.lags for reader in readers], np.uintp),
        mirror=np.array([first + stop - 1 + i * (spec.lags - 1) for i, (first, stop) in enumerate(spans)], np.int64),
    )


@njit(cache=True)
def look_at_accounts(standing: Standing, chosen: NDArray[np.bool_], tape: TapeArrays) -> None:
    """Fill the drawdowns and ``own`` (position, unrealised, drawdown, session left) of those ``chosen`` [N]."""
    row, accounts, drawdown, own = standing.row, standing.accounts, standing.drawdown_frac, standing.own
    market = tape.market
    for e in range(Index(len(row))):
        if chosen[e]:
            drawdown[e] = drawdown_frac(accounts[LOG_EQUITY, e], accounts[LOG_PEAK, e])
    for e in range(Index(len(row))):  # apart from the exponentials above, so that it runs many at a time
        unrealised = accounts[OPEN_RETURN, e] * market[Index(row[e]), REWARD_SCALE]
        own[0, e] = np.float32(accounts[POSITION, e])
        own[1, e] = np.float32(min(max(unrealised, -OPEN_RETURN_ABS_MAX), OPEN_RETURN_ABS_MAX))
        own[2, e] = np.float32(min(drawdown[e] / DRAWDOWN_UNIT_FRAC, DRAWDOWN_MAX))
        own[3, e] = np.float32(market[Index(row[e]), LEFT])


@njit(cache=True)
def write_states(
    states: NDArray[np.float32],
    chosen: NDArray[np.bool_],
    standing: Standing,
    tape: TapeArrays,
    windows: Windows,
    layout: Layout,
) -> None:
    """Write the critic's state into those rows of ``states`` [N, S] that are ``chosen`` [N]."""
    row, mirror, own, values, intent = standing.row, standing.mirror, standing.own, windows.values, tape.intent
    critic = len(windows.length) - 1
    size, first, stride = windows.length[critic], windows.first[critic], windows.stride[critic]
    own_at, uses_intent = size + Index(OWN_STATE_SIZE), layout.uses_intent
    for e in range(Index(len(row))):
        if not chosen[e]:
            continue
        ahead = min(e + Index(AHEAD), Index(len(row) - 1))
        coming = first + Index(mirror[ahead] - row[ahead]) * stride
        prefetch(values, coming)
        prefetch(values, coming + size - Index(1))
        if uses_intent:
            prefetch(intent, Index(row[ahead]) * Index(INTENT_SIZE))
        at = first + Index(mirror[e] - row[e]) * stride
        for i in range(size):
            states[e, i] = values[at + i]
        for i in range(Index(OWN_STATE_SIZE)):
            states[e, size + i] = own[i, e]
        if uses_intent:
            for i in range(Index(INTENT_SIZE)):
                states[e, own_at + i] = intent[Index(row[e]), i]


@njit(cache=True)
def write_observations(
    observations: NDArray[np.float32], standing: Standing, tape: TapeArrays, windows: Windows, layout: Layout
) -> None:
    """Write what every agent sees into ``observations`` [N, A, D], with zeros for triples; padding is left alone."""
    row, mirror, own, values, intent = standing.row, standing.mirror, standing.own, windows.values, tape.intent
    length, first, stride, uses_intent = windows.length, windows.first, windows.stride, layout.uses_intent
    for e in range(Index(len(row))):
        back = Index(mirror[e] - row[e])
        position, unrealised, drawdown, left = own[0, e], own[1, e], own[2, e], own[3, e]
        ahead = min(e + Index(AHEAD), Index(len(row) - 1))
        coming = Index(mirror[ahead] - row[ahead])
        for agent in range(Index(observations.shape[1])):
            prefetch(values, first[agent] + coming * stride[agent])
            at, size = first[agent] + back * stride[agent], length[agent]
            for i in range(size):
                observations[e, agent, i] = values[at + i]
            observations[e, agent, size] = position
            observations[e, agent, size + Index(1)] = unrealised
            observations[e, agent, size + Index(2)] = drawdown
            observations[e, agent, size + Index(3)] = left
            size += Index(OWN_STATE_SIZE)
            if uses_intent:
                for i in range(Index(INTENT_SIZE)):
                    observations[e, agent, size + i] = intent[Index(row[e]), i]
                size += Index(INTENT_SIZE)
            for i in range(Index(TRIPLE_SIZE) * agent):
                observations[e, agent, size + i] = np.float32(0.0)


@njit(cache=True)
def write_triples(observations: NDArray[np.float32], agent: int, layout: Layout, actions: NDArray[np.int64]) -> None:
    """Write the one-hot triples of ``actions`` [N, A] of the agents before ``agent`` into what ``agent`` sees."""
    at, earlier = layout.triples_at[agent], Index(agent)
    for e in range(Index(len(actions))):
        for k in range(earlier):
            short = at + Index(TRIPLE_SIZE) * k
            observations[e, agent, short] = np.float32(actions[e, k] == SHORT)
            observations[e, agent, short + Index(FLAT)] = np.float32(actions[e, k] == FLAT)
            observations[e, agent, short + Index(LONG)] = np.float32(actions[e, k] == LONG)


@njit(cache=True)
def blank_triples(observations: NDArray[np.float32], chosen: NDArray[np.bool_], layout: Layout) -> None:
    """Write zeros where triples stand in the observations that are ``chosen`` [N]."""
    triples_at = layout.triples_at
    for e in range(Index(len(chosen))):
        if chosen[e]:
            for agent in range(Index(observations.shape[1])):
                for i in range(Index(TRIPLE_SIZE) * agent):
                    observations[e, agent, triples_at[agent] + i] = np.float32(0.0)
