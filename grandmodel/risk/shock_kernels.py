"""Compiled step of the correlation-shock detector; the slow twin is ``reference_shock.py``.

What the detector knows lies in one float64 array, ``memory``: settings, running values and outputs of the newest bar
(the places below), then seven rows of one number for each asset, then the EWMA second moments [N, N].
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from grandmodel.risk.covariance import LARGEST_RETURN, Floats, update_covariance

# Settings.
ASSETS, DECAY, BAND_DECAY, SCORE_HIGH, SCORE_CRITICAL, REARM_BARS, WARMUP_BARS = range(7)
# Running values.
BARS, LIVE_ASSETS, LAST_SHARE, PAIR_MOMENT, SQUARE_MOMENT, QUIET_BARS, LATCHED = range(7, 14)
JUMP_BAND, SIZE_BAND = 14, 16  # each a mean and a variance
# Outputs. Where a reason stands the numbers are NaN, the severity is -1 and there is no onset.
REASON, SEVERITY, ONSET, MEAN_CORRELATION, SHARE, JUMP_SCORE, SIZE_SCORE, SCORE = range(18, 26)
HEAD, ROWS = 26, 7

KNOWN, NOT_FINITE, TOO_FEW, WARMING, CONSTANT, UNDEFINED = range(6)  # reasons
MISFIT = -2

WEIGHT_MIN = 0.5  # of an asset's EWMA weight that must lie on bars on which it traded
RESIDUAL_MAX = 0.01  # |C v - e v| over e |v| at which the power iteration rests
KICK = 0.1  # share of the bar's own direction at its start: there a new largest eigenvector comes from
BAND_VARIANCE_MIN = 1e-26  # below it the band of a market that stands still is rounding alone
STEPS_MAX, RESTARTS = 30, 10


@njit(cache=True, error_model="numpy")
def step(memory: Floats, returns: Floats) -> int:
    """Take in one bar (float64[N], NaN where an asset did not trade), write the outputs, return severity or MISFIT.

    A bar with a return that is infinite or beyond any market, or on which fewer than two assets traded, leaves all
    but the outputs as it was; MISFIT (not one return for each asset) leaves these too.
    """
    if len(returns) != memory[ASSETS]:
        return MISFIT
    reason = _check(returns)
    if reason == KNOWN:
        reason = _take_in(memory, returns)
    memory[REASON] = reason
    if reason != KNOWN:
        memory[SEVERITY], memory[ONSET] = -1.0, 0.0
        for place in range(MEAN_CORRELATION, HEAD):
            memory[place] = math.nan
    return int(memory[SEVERITY])


@njit(cache=True, error_model="numpy")
def walk(memory: Floats, returns: Floats, outputs: Floats) -> None:
    """Step through ``returns`` (float64[T, N]) and copy the outputs of each bar to ``outputs`` (float64[T, 8])."""
    for t in range(len(returns)):
        step(memory, returns[t])
        for place in range(REASON, HEAD):
            outputs[t, place - REASON] = memory[place]


@njit(cache=True, error_model="numpy")
def find_onsets(scores: Floats, high: float, critical: float, rearm_bars: int) -> Floats:
    """Return 1.0 where an alarm begins among ``scores`` (float64[T], NaN: unknown) and 0.0 elsewhere."""
    memory, onsets = np.zeros(HEAD), np.zeros(len(scores))
    memory[SCORE_HIGH], memory[SCORE_CRITICAL], memory[REARM_BARS] = high, critical, rearm_bars
    for t in range(len(scores)):
        if not math.isnan(scores[t]):
            _flag(memory, scores[t])
            onsets[t] = memory[ONSET]
    return onsets


@njit(cache=True, error_model="numpy")
def _check(returns: Floats) -> int:
    traded = 0
    for value in returns:
        if not math.isnan(value):
            if not abs(value) <= LARGEST_RETURN:
                return NOT_FINITE
            traded += 1
    return KNOWN if traded >= 2 else TOO_FEW


@njit(cache=True, error_model="numpy")
def _take_in(memory: Floats, returns: Floats) -> int:
    """Move everything on by one bar and return the reason."""
    n, decay = int(memory[ASSETS]), memory[DECAY]
    tail = HEAD + ROWS * n
    rows, moments = memory[HEAD:tail].reshape(ROWS, n), memory[tail:].reshape(n, n)
    weight, live, forecast, direction = rows[0], rows[1], rows[2], rows[3]
    filled, scale, scratch = rows[4], rows[5], rows[6]

    traded, total, squares = 0, 0.0, 0.0
    for i in range(n):
        missing = math.isnan(returns[i])
        filled[i] = 0.0 if missing else returns[i]
        weight[i] = decay * weight[i] + (0.0 if missing else 1.0 - decay)
        traded += 0 if missing else int(live[i])
        z = abs(filled[i] * forecast[i])
        total += z
        squares += z * z
    update_covariance(moments, filled, decay)
    constant, changed = _rescale(moments, weight, live, scale)
    share = _share(memory, moments, direction, filled, scale, scratch)
    reason = WARMING
    if traded >= 2:
        _update_correlation(memory, weight, filled, scale, traded)
        reason = _score(memory, share, share - memory[LAST_SHARE], (total * total - squares) / (traded * (traded - 1)))
    elif memory[BARS] >= memory[WARMUP_BARS]:
        reason = TOO_FEW
    memory[LAST_SHARE] = share
    if changed or math.isnan(share):
        _restart(memory, moments, weight, live, direction, scale, scratch)
    for i in range(n):
        forecast[i] = math.sqrt(weight[i]) * scale[i]
    return CONSTANT if constant else reason


@njit(cache=True, error_model="numpy")
def _rescale(moments: Floats, weight: Floats, live: Floats, scale: Floats) -> tuple[bool, bool]:
    """Write 1 / sqrt(second moment) of the live assets; return whether one never moved and whether the set changed."""
    constant, changed = False, False
    for i in range(len(live)):
        moment, enough = moments[i, i], weight[i] >= WEIGHT_MIN
        moves = moment > 0.0
        scale[i] = live[i] / math.sqrt(moment) if moves else 0.0
        constant |= enough and not moves
        changed |= (enough and moves) != (live[i] > 0.0)
    return constant, changed


@njit(cache=True, error_model="numpy")
def _share(memory: Floats, moments: Floats, direction: Floats, filled: Floats, scale: Floats, scratch: Floats) -> float:
    """Return the largest eigenvalue of the correlations over the number of assets, from the direction of last bar."""
    if memory[LIVE_ASSETS] < 2.0:
        return 0.0
    along, length = 0.0, 0.0
    for i in range(len(filled)):
        scratch[i] = filled[i] * scale[i]
        along += scratch[i] * direction[i]
        length += scratch[i] * scratch[i]
    if length > 0.0:
        kick = math.copysign(KICK, along) / math.sqrt(length)
        for i in range(len(filled)):
            direction[i] += kick * scratch[i]
    return float(_largest_eigenvalue(moments, direction, scale, scratch) / memory[LIVE_ASSETS])


@njit(cache=True, error_model="numpy")
def _largest_eigenvalue(moments: Floats, direction: Floats, scale: Floats, scratch: Floats) -> float:
    """Return the largest eigenvalue of the live correlations C by power iteration from ``direction``, and turn that.

    Rayleigh's quotient lies within |C v - e v| / |v| of an eigenvalue. Lengths grow by less than N a step and are
    brought back to one at the end.
    """
    _multiply(moments, direction, scale, scratch)
    for i in range(len(direction)):
        direction[i] = scratch[i]
    quotient, after = 0.0, 0.0
    for _ in range(STEPS_MAX):
        _multiply(moments, direction, scale, scratch)
        along, before, after = 0.0, 0.0, 0.0
        for i in range(len(direction)):
            along += direction[i] * scratch[i]
            before += direction[i] * direction[i]
            after += scratch[i] * scratch[i]
            direction[i] = scratch[i]
        quotient = along / before
        if after / before - quotient * quotient <= (RESIDUAL_MAX * quotient) ** 2:
            break
    shrink = 1.0 / math.sqrt(after)
    for i in range(len(direction)):
        direction[i] *= shrink
    return quotient


@njit(cache=True, error_model="numpy")
def _multiply(moments: Floats, vector: Floats, scale: Floats, out: Floats) -> None:
    """Write C vector, C = the second moments scaled on both sides."""
    for i in range(len(vector)):
        out[i] = 0.0
    for j in range(len(vector)):
        lean = vector[j] * scale[j]
        for i in range(len(vector)):
            out[i] += moments[j, i] * lean
    for i in range(len(vector)):
        out[i] *= scale[i]


@njit(cache=True, error_model="numpy")
def _restart(
    memory: Floats,
    moments: Floats,
    weight: Floats,
    live: Floats,
    direction: Floats,
    scale: Floats,
    scratch: Floats,
) -> None:
    """Take up the assets that have weight and variance now, so that the next jump is one of a single set of assets."""
    assets = 0.0
    for i in range(len(live)):
        live[i] = 1.0 if weight[i] >= WEIGHT_MIN and moments[i, i] > 0.0 else 0.0
        scale[i] = live[i] / math.sqrt(moments[i, i]) if live[i] > 0.0 else 0.0
        # Unequal, for a direction at right angles to the one sought would stay there.
        direction[i] = live[i] * math.sqrt(2.0 + i)
        assets += live[i]
    memory[LIVE_ASSETS], memory[LAST_SHARE] = assets, 0.0
    if assets >= 2.0:
        for _ in range(RESTARTS):
            memory[LAST_SHARE] = _largest_eigenvalue(moments, direction, scale, scratch) / assets


@njit(cache=True, error_model="numpy")
def _update_correlation(memory: Floats, weight: Floats, filled: Floats, scale: Floats, traded: int) -> None:
    """Move the two moments of the mean correlation on by one bar."""
    decay, total, squares = memory[DECAY], 0.0, 0.0
    for i in range(len(filled)):
        z = filled[i] * scale[i] * math.sqrt(weight[i])
        total += z
        squares += z * z
    pairs = (total * total - squares) / (traded - 1)
    memory[PAIR_MOMENT] = decay * memory[PAIR_MOMENT] + (1.0 - decay) * pairs
    memory[SQUARE_MOMENT] = decay * memory[SQUARE_MOMENT] + (1.0 - decay) * squares


@njit(cache=True, error_model="numpy")
def _score(memory: Floats, share: float, jump: float, size: float) -> int:
    """Write numbers and flag of this bar by the bands as they were before it, move the bands on; return the reason."""
    if not (abs(jump) < math.inf and abs(size) < math.inf):
        return UNDEFINED
    bars, reason = memory[BARS], WARMING
    if bars >= memory[WARMUP_BARS] and min(memory[JUMP_BAND + 1], memory[SIZE_BAND + 1]) > BAND_VARIANCE_MIN:
        reason = KNOWN
        memory[MEAN_CORRELATION] = memory[PAIR_MOMENT] / memory[SQUARE_MOMENT]
        memory[SHARE] = share
        memory[JUMP_SCORE] = (jump - memory[JUMP_BAND]) / math.sqrt(memory[JUMP_BAND + 1])
        memory[SIZE_SCORE] = (size - memory[SIZE_BAND]) / math.sqrt(memory[SIZE_BAND + 1])
        memory[SCORE] = memory[JUMP_SCORE] + memory[SIZE_SCORE]
        _flag(memory, memory[SCORE])
    memory[BARS] = bars + 1.0
    gain = max(1.0 - memory[BAND_DECAY], 1.0 / (bars + 1.0))  # a plain mean until the EWMA has its length
    _widen(memory, JUMP_BAND, jump, gain)
    _widen(memory, SIZE_BAND, size, gain)
    return reason


@njit(cache=True, error_model="numpy")
def _widen(memory: Floats, band: int, value: float, gain: float) -> None:
    apart = value - memory[band]
    memory[band] += gain * apart
    memory[band + 1] = (1.0 - gain) * (memory[band + 1] + gain * apart * apart)


@njit(cache=True, error_model="numpy")
def _flag(memory: Floats, score: float) -> None:
    """Write severity and onset of ``score``, and move the latch."""
    severity = 0.0
    if score >= memory[SCORE_HIGH]:
        severity = 2.0 if score >= memory[SCORE_CRITICAL] else 1.0
    memory[SEVERITY] = severity
    memory[ONSET] = 1.0 if severity > memory[LATCHED] else 0.0
    if severity > 0.0:
        memory[LATCHED], memory[QUIET_BARS] = max(memory[LATCHED], severity), 0.0
        return
    memory[QUIET_BARS] += 1.0
    if memory[QUIET_BARS] >= memory[REARM_BARS]:
        memory[LATCHED] = 0.0
