"""Slow, obvious twins of all columns: each row is computed from its own past, from scratch, in plain Python.

Nothing here is shared with the compiled path but the constants of ``columns``. Where a column takes a decision (which
neighbours, which gap, which node) the terms are added in the order the definition names them, so that both paths meet
the same ties.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.bars import Bars
from grandmodel.core.config import FeatureParams
from grandmodel.features import columns as c
from grandmodel.features.mmd import MmdReference

Floats = NDArray[np.float64]
NAN = math.nan


def strategic_reference(bars: Bars, params: FeatureParams, reference: MmdReference, tick_size: float) -> Floats:
    """Return float64[T, 13], as ``strategic_features`` does, slowly."""
    close = bars.close.tolist()
    true_range = _true_range_average(bars)
    volatility = [_volatility(close, t, params.volatility_window_bars) for t in range(len(bars))]
    profiles = [_profile(bars, t, true_range[t], params, tick_size) for t in range(len(bars))]
    votes = _mlmi(bars, params.mlmi_neighbours)
    rows = [
        (
            *votes[t],
            _deviation(close, t, true_range[t], params),
            _slope(close, t, params),
            profiles[t][0],
            profiles[t][1],
            *_day_cycle(int(bars.close_ns[t])),
            _momentum(close, t, 20),
            _momentum(close, t, 50),
            _mmd(bars, t, volatility, reference, params),
            volatility[t],
            profiles[t][2],
        )
        for t in range(len(bars))
    ]
    return np.array(rows, dtype=np.float64).reshape(len(bars), len(c.STRATEGIC_COLUMNS))


def tactical_reference(bars: Bars, params: FeatureParams) -> Floats:
    """Return float64[T, 7], as ``tactical_features`` does, slowly."""
    close = bars.close.tolist()
    true_range = _true_range_average(bars)
    average_volume = _exponential_average(bars.volume.tolist(), c.VOLUME_AVERAGE_BARS)
    formed = [gap_of(bars, t, params) for t in range(len(bars))]
    rows = [
        (
            *_gap_row(bars, t, formed, true_range[t], params),
            _momentum(close, t, 5),
            _volume_ratio(float(bars.volume[t]), average_volume[t]),
        )
        for t in range(len(bars))
    ]
    return np.array(rows, dtype=np.float64).reshape(len(bars), len(c.TACTICAL_COLUMNS))


def _momentum(close: Sequence[float], t: int, lag: int) -> float:
    return math.log(close[t] / close[t - lag]) if t >= lag else NAN


def _volatility(close: Sequence[float], t: int, window: int) -> float:
    if t < window:
        return NAN
    returns = [math.log(close[s] / close[s - 1]) for s in range(t - window + 1, t + 1)]
    return math.sqrt(sum(r * r for r in returns) / window)


def _day_cycle(close_ns: int) -> tuple[float, float]:
    seconds = (close_ns / 1e9) % 86_400
    return math.sin(2 * math.pi * seconds / 86_400), math.cos(2 * math.pi * seconds / 86_400)


def _true_range_average(bars: Bars, window: int = c.TRUE_RANGE_BARS) -> list[float]:
    ranges: list[float] = []
    for t in range(len(bars)):
        high, low = float(bars.high[t]), float(bars.low[t])
        before = float(bars.close[t - 1]) if t else low
        ranges.append(max(high, before) - min(low, before))
    out = [NAN] * len(bars)
    for t in range(window - 1, len(bars)):
        seed = t == window - 1
        out[t] = sum(ranges[:window]) / window if seed else out[t - 1] + (ranges[t] - out[t - 1]) / window
    return out


def _exponential_average(values: Sequence[float], window: int) -> list[float]:
    out = [NAN] * len(values)
    alpha = 2 / (window + 1)
    for t in range(window - 1, len(values)):
        out[t] = sum(values[:window]) / window if t == window - 1 else alpha * values[t] + (1 - alpha) * out[t - 1]
    return out


def _volume_ratio(volume: float, average: float) -> float:
    if math.isnan(average):
        return NAN
    return math.tanh(math.log1p(max(0.0, volume / average - 1))) if average > 0 else 0.0


# Momentum index of labelled crosses


def _rsi(values: Sequence[float], window: int) -> list[float]:
    ups = [max(values[t] - values[t - 1], 0.0) for t in range(1, len(values))]
    downs = [max(values[t - 1] - values[t], 0.0) for t in range(1, len(values))]
    out = [NAN] * len(values)
    up = down = 0.0
    for t in range(window, len(values)):
        if t == window:
            for gain, loss in zip(ups[:window], downs[:window], strict=True):
                up += gain / window
                down += loss / window
        else:
            up = (up * (window - 1) + ups[t - 1]) / window
            down = (down * (window - 1) + downs[t - 1]) / window
        out[t] = 50.0 if up + down == 0 else 100.0 * up / (up + down)
    return out


def _wma(values: Sequence[float], t: int, window: int) -> float:
    if t < window - 1 or math.isnan(values[t - window + 1]):
        return NAN
    newest = values[t]
    total = 0.0
    for weight, value in zip(range(window, 0, -1), reversed(values[t - window + 1 : t + 1]), strict=True):
        total += weight * (value - newest)
    return newest + total / sum(range(1, window + 1))


def _mlmi(bars: Bars, neighbours: int) -> list[tuple[float, float]]:
    heikin_ashi = [float(o + h + lo + cl) / 4 for o, h, lo, cl in zip(*_prices(bars), strict=True)]
    slow_rsi, fast_rsi = _rsi(heikin_ashi, c.RSI_SLOW_BARS), _rsi(heikin_ashi, c.RSI_FAST_BARS)
    out: list[tuple[float, float]] = []
    crosses: list[tuple[int, tuple[float, float]]] = []  # (bar, point), every cross once
    side = 0
    for t in range(len(bars)):
        point = (_wma(slow_rsi, t, c.RSI_AVERAGE_BARS), _wma(fast_rsi, t, c.RSI_AVERAGE_BARS))
        if math.isnan(point[0]) or math.isnan(point[1]):
            out.append((NAN, NAN))
            continue
        difference = _wma(heikin_ashi, t, c.CROSS_FAST_BARS) - _wma(heikin_ashi, t, c.CROSS_SLOW_BARS)
        # Only which side the difference lies on matters; a tie keeps the side.
        now = side if abs(difference) <= c.TIE_FRAC * heikin_ashi[t] else (1 if difference > 0 else -1)
        crossed = side != 0 and now != side
        if crossed:
            crosses.append((t, point))
        side = now
        value = _vote(crosses, bars.close.tolist(), point, neighbours)
        out.append((value, float(side) if crossed and side * value > 0 else 0.0))
    return out


def _vote(
    crosses: Sequence[tuple[int, tuple[float, float]]], close: Sequence[float], point: tuple[float, float], k: int
) -> float:
    labelled = [
        ((p[0] - point[0]) ** 2 + (p[1] - point[1]) ** 2, _sign(close[following] - close[bar]))
        for (bar, p), (following, _) in pairwise(crosses)
    ]
    labelled.sort(key=lambda pair: pair[0])  # stable: of equal distances the older comes first
    return sum(label for _, label in labelled[:k]) / k


def _sign(value: float) -> int:
    return (value > 0) - (value < 0)


def _prices(bars: Bars) -> tuple[Floats, Floats, Floats, Floats]:
    return bars.open, bars.high, bars.low, bars.close


# Kernel regression


def _line(close: Sequence[float], t: int, window: int, bandwidth: float, relative_weight: float) -> float:
    if t < window - 1:
        return NAN
    weights = [(1 + i**2 / (2 * relative_weight * bandwidth**2)) ** -relative_weight for i in range(window)]
    return math.fsum(w * close[t - i] for i, w in enumerate(weights)) / math.fsum(weights)


def _deviation(close: Sequence[float], t: int, true_range: float, params: FeatureParams) -> float:
    line = _line(close, t, params.kernel_window_bars, params.kernel_bandwidth, params.kernel_relative_weight)
    if math.isnan(line) or math.isnan(true_range):
        return NAN
    if len(set(close[t - params.kernel_window_bars + 1 : t + 1])) == 1:
        return 0.0
    return (close[t] - line) / true_range


def _slope(close: Sequence[float], t: int, params: FeatureParams) -> float:
    if t < 1:
        return NAN
    bandwidth = params.kernel_bandwidth - params.kernel_lag_bars
    now, before = (
        _line(close, s, params.kernel_window_bars, bandwidth, params.kernel_relative_weight) for s in (t, t - 1)
    )
    return now / before - 1


# Volume profile


def _profile(
    bars: Bars, t: int, true_range: float, params: FeatureParams, tick_size: float
) -> tuple[float, float, float]:
    window = params.profile_window_bars
    if t < window - 1:
        return NAN, NAN, NAN
    rows = range(t - window + 1, t + 1)
    tick = tick_size * float(bars.price_factor[t])
    ticks_per_bin = 1
    while True:
        to_bin = _binning(tick, ticks_per_bin)
        lowest, highest = min(to_bin(bars.low[s]) for s in rows), max(to_bin(bars.high[s]) for s in rows)
        if highest - lowest + 1 <= c.PROFILE_BINS_MAX:
            break
        ticks_per_bin *= 2
    volume_at = dict.fromkeys(range(lowest, highest + 1), 0.0)
    for s in rows:
        touched = range(to_bin(bars.low[s]), to_bin(bars.high[s]) + 1)
        for price_bin in touched:
            volume_at[price_bin] += float(bars.volume[s]) / len(touched)
    threshold = params.profile_low_node_frac * max(volume_at.values())
    here = to_bin(bars.close[t])
    nodes = [(abs(b - here), b) for b, volume in volume_at.items() if volume < threshold]
    skew = _weighted_skew(list(volume_at), list(volume_at.values()))
    if not nodes:
        return 0.0, 0.0, skew
    _, node = min(nodes)
    distance = (node - here) * ticks_per_bin * tick / true_range if true_range > 0 else 0.0
    return distance, 1 - volume_at[node] / threshold, skew


def _binning(tick: float, ticks_per_bin: int) -> Callable[[float], int]:
    return lambda price: math.floor(price / tick + 0.5) // ticks_per_bin


def _weighted_skew(values: Sequence[int], weights: Sequence[float]) -> float:
    mass = sum(weights)
    if mass == 0 or sum(1 for w in weights if w > 0) == 1:
        return 0.0
    offsets = np.array(values, dtype=np.float64) - values[0]
    share = np.array(weights) / mass
    centred = offsets - (share * offsets).sum()
    return float((share * centred**3).sum() / (share * centred**2).sum() ** 1.5)


# Maximum mean discrepancy


def _mmd(bars: Bars, t: int, volatility: Sequence[float], reference: MmdReference, params: FeatureParams) -> float:
    m = params.mmd_window_bars
    if t < params.volatility_window_bars + m - 1:
        return NAN
    points = [
        (math.log(bars.close[s] / bars.close[s - 1]), math.log(bars.high[s] / bars.low[s]), volatility[s])
        for s in range(t - m + 1, t + 1)
    ]
    x = (np.array(points) - reference.center) / reference.scale
    y = reference.points
    n = len(y)
    within_x = _gaussian(x, x, reference.bandwidth)
    within_y = _gaussian(y, y, reference.bandwidth)
    return float(
        (within_x.sum() - np.trace(within_x)) / (m * (m - 1))
        + (within_y.sum() - np.trace(within_y)) / (n * (n - 1))
        - 2 * _gaussian(x, y, reference.bandwidth).mean()
    )


def _gaussian(x: Floats, y: Floats, bandwidth: float) -> Floats:
    squared = ((x[:, None, :] - y[None, :, :]) ** 2).sum(axis=2)
    return np.asarray(np.exp(-squared / (2 * bandwidth**2)), dtype=np.float64)


# Fair value gaps


def gap_of(bars: Bars, t: int, params: FeatureParams) -> tuple[int, float, float]:
    """Return (direction, bottom, top) of the gap that bar ``t`` completes; direction 0 without one."""
    lookback = params.gap_lookback_bars
    if t < lookback + 1:
        return 0, NAN, NAN
    bodies = [abs(float(bars.close[s]) - float(bars.open[s])) for s in range(t - 1 - lookback, t)]
    mean_before = sum(bodies[:-1]) / lookback
    if bodies[-1] - params.gap_body_multiple * mean_before <= c.TIE_FRAC * float(bars.close[t - 1]):
        return 0, NAN, NAN
    if bars.low[t] > bars.high[t - 2]:
        return 1, float(bars.high[t - 2]), float(bars.low[t])
    if bars.high[t] < bars.low[t - 2]:
        return -1, float(bars.high[t]), float(bars.low[t - 2])
    return 0, NAN, NAN


def _filled(bars: Bars, s: int, gap: tuple[int, float, float]) -> bool:
    direction, bottom, top = gap
    return bool(bars.low[s] <= bottom) if direction > 0 else bool(bars.high[s] >= top)


def _gap_row(
    bars: Bars, t: int, formed: Sequence[tuple[int, float, float]], true_range: float, params: FeatureParams
) -> tuple[float, float, float, float, float]:
    if t < params.gap_lookback_bars + 1:
        return NAN, NAN, NAN, NAN, NAN
    living: list[int] = []
    filled_now: set[int] = set()
    for born in range(t, max(t - params.gap_age_bars_max, 0) - 1, -1):  # newest first
        gap = formed[born]
        if gap[0] == 0 or any(_filled(bars, s, gap) for s in range(born + 1, t)):
            continue
        if born < t and _filled(bars, t, gap):
            filled_now.add(gap[0])
        else:
            living.append(born)
    bullish = float(any(formed[born][0] > 0 for born in living))
    bearish = float(any(formed[born][0] < 0 for born in living))
    mitigated = float(sum(filled_now))
    if not living:
        return bullish, bearish, 0.0, 0.0, mitigated
    born, offset = _nearest(float(bars.close[t]), [(born, formed[born]) for born in living])
    level = offset / true_range if true_range > 0 else 0.0
    return bullish, bearish, level, (t - born) / params.gap_age_bars_max, mitigated


def _nearest(close: float, gaps: Sequence[tuple[int, tuple[int, float, float]]]) -> tuple[int, float]:
    """Return (bar of birth, edge - close) of the nearest edge; of edges equally near, the first in the given order."""
    edges: list[tuple[int, float]] = []
    for born, (direction, bottom, top) in gaps:
        entry_first = (top, bottom) if direction > 0 else (bottom, top)
        edges += [(born, level - close) for level in entry_first]
    shortest = min(abs(offset) for _, offset in edges)
    return next((born, offset) for born, offset in edges if abs(offset) <= shortest + c.TIE_FRAC * close)
