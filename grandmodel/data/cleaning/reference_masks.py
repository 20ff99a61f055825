"""Slow, obvious twins of the quality masks, for tests: one row after the other, as the rules read."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from grandmodel.data.cleaning import masks as fast
from grandmodel.data.cleaning.masks import Column, Flags
from grandmodel.data.cleaning.units import (
    LISTING_PAUSE_DAYS,
    PERSISTENT_BARS_MIN,
    SPLIT_BARS_BEFORE,
    SPLIT_MISFIT_SCALES_MAX,
    SPLIT_SCALES_MIN,
    SPLIT_TURNOVER_MAX,
    SPLIT_TURNOVER_MIN,
    UNIT_MISFIT_MAX,
    UNIT_MISFIT_SCALES_MAX,
    UNIT_TOLERANCE,
    VOLUME_BREAK_MIN,
    Gap,
)

_WHOLE = (2, 3, 4, 5, 6, 7, 8, 10, 20, 50, 100, 1000)
_SIMPLE = [Fraction(4, 5), Fraction(3, 4), Fraction(2, 3), *(Fraction(1, n) for n in _WHOLE), *map(Fraction, _WHOLE)]


def dead_rows(session: NDArray[np.int32], volume: Column) -> Flags:
    """Return what ``masks.dead_rows`` returns."""
    days = sorted(set(session.tolist()))
    if len(days) < fast.SESSIONS_MIN:
        return np.zeros(len(session), np.bool_)
    total = {day: sum(volume[row] for row in range(len(session)) if session[row] == day) for day in days}
    reach = fast.REFERENCE_SESSIONS // 2
    dead = []
    for place, day in enumerate(days):
        around = days[max(0, place - reach) : place + reach + 1]
        dead.append(total[day] < fast.DEAD_VOLUME_FRAC * statistics.median(total[other] for other in around))
    lasting = {day for day, is_dead in zip(days, _only_long(dead, fast.DEAD_SESSIONS_MIN), strict=True) if is_dead}
    return np.array([day in lasting for day in session.tolist()], np.bool_)


def stale_rows(prices: NDArray[np.float64], volume: Column) -> Flags:
    """Return what ``masks.stale_rows`` returns."""
    rows = [(*prices[:, row].tolist(), float(volume[row])) for row in range(len(volume))]
    repeats = [row > 0 and rows[row] == rows[row - 1] and rows[row][-1] > 0 for row in range(len(rows))]
    known = len({row[-1] for row in rows}) > 1
    least = fast.STALE_REPEATS_MIN if known else fast.STALE_REPEATS_MIN_UNKNOWN
    return np.array(_only_long(repeats, least), np.bool_)


def locked_rows(
    session: NDArray[np.int32], high: Column, low: Column, close: Column, volume: Column, move_min: float
) -> Flags:
    """Return what ``masks.locked_rows`` returns."""
    locked = np.zeros(len(session), np.bool_)
    for row in range(len(session)):
        same = [other for other in range(row + 1) if session[other] == session[row]]
        if not move_min or same[0] == 0 or high[row] != low[row] or volume[row] <= 0:
            continue
        move = float(np.log(close[row] / close[same[0] - 1]))
        top, bottom = max(high[other] for other in same), min(low[other] for other in same)
        locked[row] = (close[row] == top and move > move_min) or (close[row] == bottom and move < -move_min)
    return locked


def spike_rows(
    start_ns: NDArray[np.int64],
    bar_minutes: int,
    prices: NDArray[np.float64],
    volume: Column,
    *,
    tick_size: float,
    impossible_move: float,
) -> fast.Spikes:
    """Return what ``masks.spike_rows`` returns; the scales are those of the fast path."""
    open_, high, low, close = prices
    count = len(volume)
    bad, traded, impossible = (np.zeros(count, np.bool_) for _ in range(3))
    if count < 3:
        return fast.Spikes(bad, traded, impossible)
    many = fast.SPIKE_SCALES_MIN if fast.volume_is_known(volume) else fast.SPIKE_SCALES_MIN_UNKNOWN
    scale = fast.local_scale(high, low, close, tick_size)
    pause, pause_move = fast.pause_scale(start_ns, bar_minutes, open_, close)
    usual = fast.usual_volume(volume)
    for level, own in ((np.log(high), np.log(close)), (-np.log(low), -np.log(close))):
        for length in range(1, fast.SPIKE_BARS_MAX + 1):
            for start in range(count - length + 1):
                stop = start + length
                inside = start > 0 and stop < count
                before = level[start - 1] if start > 0 else own[0]
                after = level[stop] if stop < count else own[-1]
                paused = many * pause_move if pause[start : stop + 1].any() else 0.0
                out = {row: level[row] - max(before, after) for row in range(start, stop)}
                wild = [row for row in out if inside and out[row] > max(many * scale[row], paused)]
                loud = any(volume[row] > fast.SPIKE_VOLUME_MAX * usual[row] for row in wild)
                for row in out:
                    impossible[row] |= out[row] > impossible_move
                    bad[row] |= out[row] > impossible_move or (row in wild and not loud)
                    traded[row] |= row in wild and loud
    return fast.Spikes(bad, traded & ~bad, impossible)


def listing_start(start_ns: NDArray[np.int64], open_: Column, close: Column, impossible_move: float) -> int:
    """Return what ``units.listing_start`` returns."""
    first = 0
    for row in range(1, len(start_ns)):
        days = (start_ns[row] - start_ns[row - 1]) / 86_400_000_000_000
        if days >= LISTING_PAUSE_DAYS and abs(np.log(open_[row] / close[row - 1])) > impossible_move:
            first = row
    return first


def off_level_rows(prices: NDArray[np.float64], impossible_move: float) -> Flags:
    """Return bool[n], the rows in any of the stretches that ``units.unit_stretches`` returns."""
    open_, close = prices[0], prices[3]
    level, here, last = [], 0.0, float(open_[0])
    for row in range(len(open_)):
        pair = []
        for price in (float(open_[row]), float(close[row])):
            step = float(np.log(price / last))
            here += step if abs(step) > impossible_move else 0.0
            last = price
            pair.append(here)
        level.append(tuple(pair))
    wrong = np.zeros(len(level), np.bool_)
    _mark_off_level(level, 0, len(level), wrong)
    return wrong


def _mark_off_level(level: Sequence[tuple[float, ...]], start: int, stop: int, wrong: Flags) -> None:
    points = [point for row in range(start, stop) for point in level[row]]
    if max(points) - min(points) < 1e-9:
        return
    base = _most_shared(points)
    on = [row for row in range(start, stop) if all(abs(point - base) < UNIT_TOLERANCE for point in level[row])]
    first, last = (on[0], on[-1] + 1) if on else (start, stop)
    wrong[[row for row in range(first, last) if row not in on]] = True
    for outer_start, outer_stop in ((start, first), (last, stop)):
        if outer_stop - outer_start >= PERSISTENT_BARS_MIN:
            _mark_off_level(level, outer_start, outer_stop, wrong)
        else:
            wrong[outer_start:outer_stop] = True


def _most_shared(points: Sequence[float]) -> float:
    candidates = sorted({round(point, 6) for point in points})
    return max(candidates, key=lambda one: sum(abs(round(point, 6) - one) < UNIT_TOLERANCE for point in points))


def holding_gaps(
    prices: NDArray[np.float64], volume: Column, *, tick_size: float, impossible_move: float, splits: bool
) -> list[Gap]:
    """Return what ``units.holding_gaps`` returns; the scales are those of the fast path."""
    open_, high, low, close = prices
    scale = fast.local_scale(high, low, close, tick_size)
    found = []
    for row in range(1, len(volume)):
        ratio = float(open_[row] / close[row - 1])
        move = abs(np.log(ratio))
        impossible = move > impossible_move
        if not impossible and not (splits and move > SPLIT_SCALES_MIN * scale[row]):
            continue
        misfits = {simple: abs(np.log(ratio / float(simple))) for simple in _SIMPLE}
        nearest = min(_SIMPLE, key=lambda simple: misfits[simple])
        allowed = SPLIT_MISFIT_SCALES_MAX * scale[row]
        if impossible:
            allowed = min(max(UNIT_MISFIT_SCALES_MAX * scale[row], UNIT_MISFIT_MAX), UNIT_TOLERANCE)
        fraction = nearest if misfits[nearest] <= allowed else None
        before = range(max(0, row - SPLIT_BARS_BEFORE), row)
        usual = statistics.median(close[other] * volume[other] for other in before)
        turnover = float(close[row] * volume[row] / usual) if usual > 0 else float("nan")
        explained = impossible or SPLIT_TURNOVER_MIN <= turnover <= SPLIT_TURNOVER_MAX
        found.append(Gap(row, ratio, fraction, turnover, fraction is not None and explained))
    return found


def volume_breaks(session: NDArray[np.int32], volume: Column) -> list[tuple[int, float]]:
    """Return what ``units.volume_breaks`` returns."""
    days = sorted(set(session.tolist()))
    total = [max(0.5, sum(volume[row] for row in range(len(session)) if session[row] == day)) for day in days]
    found = []
    for row in range(20, len(days) - 19):
        before, after = np.log(total[row - 20 : row]), np.log(total[row : row + 20])
        ratio = float(np.exp(np.median(after) - np.median(before)))
        rises = all(new >= old + np.log(VOLUME_BREAK_MIN) for new in after[:3] for old in before[-3:])
        falls = all(new <= old - np.log(VOLUME_BREAK_MIN) for new in after[:3] for old in before[-3:])
        if (ratio >= VOLUME_BREAK_MIN and rises) or (ratio <= 1 / VOLUME_BREAK_MIN and falls):
            found.append((days[row], ratio))
    return found


def _only_long(flags: Sequence[bool], length_min: int) -> list[bool]:
    kept = []
    for row, flag in enumerate(flags):
        first = last = row
        while first > 0 and flags[first - 1]:
            first -= 1
        while last + 1 < len(flags) and flags[last + 1]:
            last += 1
        kept.append(bool(flag) and last - first + 1 >= length_min)
    return kept
