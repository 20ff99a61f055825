"""Compiled step of a book's tail: take in a bar, keep covariance, factor and P&L window, measure all six methods."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from grandmodel.risk.covariance import LARGEST_RETURN, SINGULAR_SHARE, update_covariance
from grandmodel.risk.tail_kernel import EWMA_NORMAL, Constants, six_tails

Floats = NDArray[np.float64]
KNOWN, RETURN, WEIGHT, TOO_FEW, SINGULAR, FLAT, STOPPED = range(7)  # what ``advance`` answers
CURSOR, SEEN, FACTORED, IN_DOMAIN, DETAIL = range(5)  # places in ``BookState.marks``


class BookState(NamedTuple):
    """All that a book's tail remembers. N assets, T bars; slots of ``rows`` and ``pnl`` are filled in turn."""

    rows: Floats  # [N, T] returns
    pnl: Floats  # [2 T] P&L of the slots at ``weights``, twice in a row, so that every window is contiguous
    weights: Floats  # [N] of ``pnl``; NaN where it must be made anew
    covariance: Floats  # [N, N] EWMA about zero
    factor: Floats  # [N, N] upper triangle U with U'U = covariance
    marks: NDArray[np.int64]  # next slot, bars seen (up to T), factor valid, Cornish-Fisher in domain, asset at fault
    scratch: Floats  # [2, T]
    row: Floats  # [N]
    tails: Floats  # [6, L, 2]


@njit(cache=True)
def advance(
    state: BookState,
    constants: Constants,
    returns: Floats,
    weights: Floats,
    roots: Floats,
    new_row: bool,
    out: Floats,
) -> int:
    """Take in a row where there is one, measure at ``weights``, write float64[3, 6, L, 2]; return the reason code."""
    state.marks[IN_DOMAIN] = 0
    code = KNOWN
    if new_row:
        code = _take_row(state, returns, constants.decay)
    if code == KNOWN:
        code = _measure(state, constants, weights, new_row)
    for horizon in range(len(roots)):
        for method in range(6):
            for level in range(out.shape[2]):
                for number in range(2):
                    one_bar = state.tails[method, level, number] if code == KNOWN else math.nan
                    out[horizon, method, level, number] = roots[horizon] * one_bar
    return code


@njit(cache=True)
def _take_row(state: BookState, returns: Floats, decay: float) -> int:
    fault = _first_unusable(returns)
    if fault >= 0:
        state.marks[DETAIL] = fault
        return RETURN
    bars, cursor = state.rows.shape[1], state.marks[CURSOR]
    for i in range(len(returns)):
        state.rows[i, cursor] = returns[i]
    state.marks[CURSOR] = (cursor + 1) % bars
    if state.marks[SEEN] == bars:
        update_covariance(state.covariance, returns, decay)
        if state.marks[FACTORED]:
            _copy(returns, state.row)
            _update_factor(state.factor, state.row, decay)
        return KNOWN
    state.marks[SEEN] += 1
    if state.marks[SEEN] == bars:
        start_covariance(state, decay)
    return KNOWN


@njit(cache=True)
def _measure(state: BookState, constants: Constants, weights: Floats, new_row: bool) -> int:
    bars = state.rows.shape[1]
    same = _same(weights, state.weights)
    # Whatever stops this call leaves the P&L window without its newest bar.
    for i in range(len(weights)):
        state.weights[i] = math.nan
    fault = _first_unusable(weights)
    if fault >= 0:
        state.marks[DETAIL] = fault
        return WEIGHT
    if state.marks[SEEN] < bars:
        return TOO_FEW
    if not _varies(weights) and weights[0] == 0.0:
        for method in range(6):
            for level in range(state.tails.shape[1]):
                state.tails[method, level, 0] = state.tails[method, level, 1] = 0.0
        state.marks[IN_DOMAIN] = 1
        return KNOWN
    fault = _singular_asset(state)
    if fault >= 0:
        state.marks[DETAIL] = fault
        return SINGULAR
    _renew_pnl(state, weights, same, new_row)
    _copy(weights, state.weights)
    cursor = state.marks[CURSOR]
    window = state.pnl[cursor : cursor + bars]
    if not _varies(window):
        return FLAT
    state.marks[IN_DOMAIN] = six_tails(window, constants, state.scratch, state.tails)
    # The normal of the EWMA promises a loss whenever it has a number; other methods may lack theirs alone.
    return KNOWN if math.isfinite(state.tails[EWMA_NORMAL, -1, 1]) else STOPPED


@njit(cache=True)
def _renew_pnl(state: BookState, weights: Floats, same: bool, new_row: bool) -> None:
    """Bring the P&L window up to date. Both ways add the assets in one order, so they agree to the last bit."""
    bars = state.rows.shape[1]
    if same:
        if new_row:
            slot, total = (state.marks[CURSOR] - 1) % bars, 0.0
            for i in range(len(weights)):
                total += weights[i] * state.rows[i, slot]
            state.pnl[slot] = total
            state.pnl[slot + bars] = total
        return
    for slot in range(bars):
        state.pnl[slot] = 0.0
    for i in range(len(weights)):
        for slot in range(bars):
            state.pnl[slot] += weights[i] * state.rows[i, slot]
    _copy(state.pnl[:bars], state.pnl[bars:])


@njit(cache=True)
def start_covariance(state: BookState, decay: float) -> None:
    """Set the EWMA covariance of a full window, started from the window's mean of r r'."""
    assets, bars = state.rows.shape
    covariance, row = state.covariance, state.row
    for i in range(assets):
        for j in range(assets):
            covariance[i, j] = 0.0
    weight = 1.0 - decay
    for age in range(bars):
        slot = (state.marks[CURSOR] - 1 - age) % bars
        for i in range(assets):
            row[i] = state.rows[i, slot]
        share = weight + decay**bars / bars
        for i in range(assets):
            for j in range(assets):
                covariance[i, j] += share * (row[i] * row[j])
        weight *= decay
    state.marks[FACTORED] = 0


@njit(cache=True)
def _singular_asset(state: BookState) -> int:
    """Return the first asset that is a combination of those before it, or -1; factor where that is still to do."""
    covariance, factor = state.covariance, state.factor
    if not state.marks[FACTORED]:
        fault = _factorise(covariance, factor)
        if fault >= 0:
            return fault
        state.marks[FACTORED] = 1
    for k in range(len(factor)):
        if not factor[k, k] * factor[k, k] > SINGULAR_SHARE * covariance[k, k]:
            state.marks[FACTORED] = 0
            return k
    return -1


@njit(cache=True)
def _factorise(covariance: Floats, factor: Floats) -> int:
    """Write the upper Cholesky factor; return the asset at which it breaks down, or -1."""
    assets = len(covariance)
    for k in range(assets):
        _copy(covariance[k], factor[k])
    for k in range(assets):
        if not factor[k, k] > SINGULAR_SHARE * covariance[k, k]:
            return k
        pivot = math.sqrt(factor[k, k])
        for j in range(k, assets):
            factor[k, j] /= pivot
        for i in range(k + 1, assets):
            for j in range(i, assets):
                factor[i, j] -= factor[k, i] * factor[k, j]
    return -1


@njit(cache=True, error_model="numpy")  # a factor that has vanished becomes NaN, which is no factor
def _update_factor(factor: Floats, row: Floats, decay: float) -> None:
    """Turn U'U into decay U'U + (1 - decay) r r' by plane rotations (Gill et al. 1974); ``row`` is used up."""
    kept, gained = math.sqrt(decay), math.sqrt(1.0 - decay)
    assets = len(row)
    for i in range(assets):
        row[i] *= gained
    for k in range(assets):
        old = kept * factor[k, k]
        new = math.sqrt(old * old + row[k] * row[k])
        cosine, sine = old / new, row[k] / new
        factor[k, k] = new
        for j in range(k + 1, assets):
            before = kept * factor[k, j]
            factor[k, j] = cosine * before + sine * row[j]
            row[j] = cosine * row[j] - sine * before


@njit(cache=True)
def _first_unusable(values: Floats) -> int:
    for i in range(len(values)):
        if not abs(values[i]) <= LARGEST_RETURN:
            return i
    return -1


@njit(cache=True)
def _varies(values: Floats) -> bool:
    others = 0
    for value in values:
        others += value != values[0]
    return others > 0


@njit(cache=True)
def _same(left: Floats, right: Floats) -> bool:
    others = 0
    for i in range(len(left)):
        others += left[i] != right[i]
    return others == 0


@njit(cache=True)
def _copy(source: Floats, target: Floats) -> None:
    for i in range(len(source)):
        target[i] = source[i]
