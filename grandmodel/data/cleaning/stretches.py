"""Stretches of bars that are no market although each bar is possible: a frozen price, a strayed level, odd volume.

The loops run over the few candidates alone, so no fast path needs a twin. The bounds were set on two million real
bars, of which none may be found.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from grandmodel.data.asset_classes import MINUTES_PER_DAY
from grandmodel.data.cleaning.masks import (
    DEAD_SESSIONS_MIN,
    DEAD_VOLUME_FRAC,
    SCALE_WINDOW_BARS,
    SPIKE_BARS_MAX,
    SPIKE_SCALES_MIN,
    Column,
    Flags,
    local_scale,
    pause_scale,
    runs,
    usual_volume,
    volume_is_known,
)

FROZEN_BARS_MIN = 20
FROZEN_MINUTES_MIN = 180
STRAYED_MISFIT_FRAC_MAX = 0.5  # of the move into a stretch: by how much the move out of it may differ
VOLUME_STRETCH_BARS_MIN = 5
VOLUME_STRETCH_MIN = 100.0  # times the usual


def frozen_rows(
    session: NDArray[np.int32], prices: NDArray[np.float64], volume: Column, locked: Flags, bar_minutes: int
) -> Flags:
    """Return bool[n], True where a price stands still although bars report volume, for three hours or 20 bars or more.

    Args:
        session: int32[n], trading day of each bar.
        prices: float64[4, n], open, high, low, close.
        volume: float64[n]; where it is unknown nothing is frozen, ``masks.stale_rows`` judges that.
        locked: bool[n], bars at the price limit, which honestly stand still; a stretch that holds one stays, as does,
            where some bar of the file is locked, one at the only extreme of its session.
        bar_minutes: length of a bar.
    """
    frozen = np.zeros(len(volume), np.bool_)
    if not volume_is_known(volume):
        return frozen
    before = np.r_[np.nan, prices[3, :-1]] if len(volume) else prices[3]
    still = (prices == before).all(axis=0) & (volume > 0)
    least = max(FROZEN_BARS_MIN, -(-FROZEN_MINUTES_MIN // bar_minutes))
    for start, stop in runs(still):
        honest = locked[start:stop].any() or (locked.any() and _at_extreme(session, prices, start, stop))
        frozen[start:stop] = stop - start >= least and not honest
    return frozen


def strayed_stretches(
    start_ns: NDArray[np.int64],
    session: NDArray[np.int32],
    bar_minutes: int,
    prices: NDArray[np.float64],
    volume: Column,
    tick_size: float,
) -> list[tuple[int, int]]:
    """Return (start, stop) of stretches that step to another level, trade next to nothing there, and step back.

    They are longer than a spike, from four bars, and shorter than the five sessions of a dead stretch. Both steps are
    beyond ten usual true ranges (ten usual moves over a pause, at one), opposite and about equal, and the median volume
    is under 5 % of that of the 201 bars on either side. Daily bars are left to the other masks.
    """
    if not volume_is_known(volume) or bar_minutes >= MINUTES_PER_DAY or len(volume) < 3:
        return []
    open_, high, low, close = prices
    step = np.r_[0.0, np.log(open_[1:] / close[:-1])]
    pause, pause_move = pause_scale(start_ns, bar_minutes, open_, close)
    band = SPIKE_SCALES_MIN * np.maximum(local_scale(high, low, close, tick_size), np.where(pause, pause_move, 0.0))
    wild = np.flatnonzero(np.abs(step) > band)
    found: list[tuple[int, int]] = []
    for place, start in enumerate(wild):
        if found and start < found[-1][1]:
            continue
        for stop in wild[place + 1 :]:
            if session[stop] - session[start] > 2 * DEAD_SESSIONS_MIN:
                break
            if stop - start <= SPIKE_BARS_MAX or step[start] * step[stop] >= 0:
                continue
            if abs(step[start] + step[stop]) > STRAYED_MISFIT_FRAC_MAX * abs(step[start]):
                continue
            if _is_dead(volume, int(start), int(stop)):
                found.append((int(start), int(stop)))
                break
    return found


def volume_stretches(volume: Column) -> list[tuple[int, int]]:
    """Return (start, stop) of five bars or more that each report over a hundred times the usual volume."""
    if not volume_is_known(volume):
        return []
    odd = runs(volume > VOLUME_STRETCH_MIN * np.maximum(usual_volume(volume), np.median(volume)))
    return [(start, stop) for start, stop in odd if stop - start >= VOLUME_STRETCH_BARS_MIN]


def _is_dead(volume: Column, start: int, stop: int) -> bool:
    around = np.r_[volume[max(0, start - SCALE_WINDOW_BARS) : start], volume[stop : stop + SCALE_WINDOW_BARS]]
    return bool(len(around)) and bool(np.median(volume[start:stop]) < DEAD_VOLUME_FRAC * np.median(around))


def _at_extreme(session: NDArray[np.int32], prices: NDArray[np.float64], start: int, stop: int) -> bool:
    """Return whether the price of these rows is the high or the low, not both, of one of their sessions."""
    price = prices[3, start]
    for day in np.unique(session[start:stop]):
        of_day = slice(*np.searchsorted(session, [day, day + 1]))
        if (prices[1, of_day].max() == price) != (prices[2, of_day].min() == price):
            return True
    return False
