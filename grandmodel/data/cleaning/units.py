"""Breaks of level that no trade can explain: another unit, a split, another listing under the same symbol.

Each function has its slow, obvious twin in ``reference_masks.py``. Known rolls are taken out first: the caller gives
prices on which a roll is no gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.bars import NS_PER_MINUTE
from grandmodel.data.cleaning.masks import Column, local_scale

LISTING_PAUSE_DAYS = 30
PERSISTENT_BARS_MIN = 20  # fewer bars at either end of a file cannot prove a new level
UNIT_TOLERANCE = 0.15  # log price: what the market itself may move while the unit changes
UNIT_MISFIT_MAX, UNIT_MISFIT_SCALES_MAX = 0.03, 3.0  # of a change of unit: as log price, and in true ranges
EXACT_SCALES_MAX = 6.0  # true ranges by which both edges of a mended stretch may be off

SPLIT_SCALES_MIN = 8.0
SPLIT_MISFIT_SCALES_MAX = 1.0
SPLIT_TURNOVER_MIN, SPLIT_TURNOVER_MAX = 0.25, 2.0  # times the usual: a price that falls on news trades more
SPLIT_BARS_BEFORE = 20
# What shares are split and joined by; joins are whole: a gap of +25 % is news, not five shares made four.
_WHOLE = (2, 3, 4, 5, 6, 7, 8, 10, 20, 50, 100, 1000)
_FRACTIONS = (
    *(Fraction(*pair) for pair in ((4, 5), (3, 4), (2, 3))),
    *(Fraction(1, whole) for whole in _WHOLE),
    *(Fraction(whole) for whole in _WHOLE),
)


VOLUME_BREAK_MIN = 8.0
_VOLUME_SESSIONS = 20


@dataclass(frozen=True, slots=True)
class UnitStretch:
    """Rows ``start`` to ``stop`` (exclusive) that stand ``ratio`` times above the rest of the file and come back.

    ``mend`` is what to multiply them by where the ratio is an exact power of ten; 0 where they can only be cut.
    """

    start: int
    stop: int
    ratio: float
    mend: float


@dataclass(frozen=True, slots=True)
class Gap:
    """An opening gap: the first price of ``row`` is ``ratio`` times the last price before it.

    ``fraction`` is the simple one by which it is explained, None where it is none; ``turnover`` the money traded in
    the bar against the usual, NaN where volume is unknown; ``adjusted`` whether it is taken for a split.
    """

    row: int
    ratio: float
    fraction: Fraction | None
    turnover: float
    adjusted: bool


def listing_start(start_ns: NDArray[np.int64], open_: Column, close: Column, impossible_move: float) -> int:
    """Return the row from which on the file holds one listing: after the last long pause with an impossible gap.

    Vendors reuse symbols. Nothing is left to tell that the rows before belong to another share but a pause of thirty
    days or more, and a price that stands elsewhere after it.
    """
    if len(start_ns) < 2:
        return 0
    pause = np.diff(start_ns) >= LISTING_PAUSE_DAYS * 1440 * NS_PER_MINUTE
    gap = np.abs(np.log(open_[1:] / close[:-1]))
    rows = np.flatnonzero(pause & (gap > impossible_move))
    return int(rows[-1]) + 1 if len(rows) else 0


def unit_stretches(prices: NDArray[np.float64], *, tick_size: float, impossible_move: float) -> list[UnitStretch]:
    """Find rows on another level than those around them that come back to it, and rows torn between two levels.

    Opens and closes are read as one path; each step of it beyond ``impossible_move`` (absolute log) changes the level.
    The level that most points share is the file's: what lies off it between points on it is a stretch. What lies
    before the first or after the last of them is judged alone in the same way, unless it is shorter than
    ``PERSISTENT_BARS_MIN`` rows: then it is a stretch too. Between two long parts the change holds
    (``holding_gaps``).

    Args:
        prices: float64[4, n], positive: open, high, low, close.
        tick_size: one tick is the least scale.
        impossible_move: see ``asset_classes.ClassLimits``.
    """
    path = np.log(prices[[0, 3]].T)  # row by row: open, close
    steps = np.diff(path.ravel(), prepend=path[0, 0])
    level = np.cumsum(np.where(np.abs(steps) > impossible_move, steps, 0.0)).reshape(-1, 2)
    _, high, low, close = prices
    scale = local_scale(high, low, close, tick_size)
    found = [_stretch(start, stop, path, level - base, scale) for start, stop, base in _off_level(level, 0, len(level))]
    return sorted(found, key=lambda stretch: stretch.start)


def _off_level(level: NDArray[np.float64], start: int, stop: int) -> list[tuple[int, int, float]]:
    """Return (start, stop, level of the part) of each piece of one level off the usual in rows start to stop."""
    part = level[start:stop]
    levels, counts = np.unique(np.round(part, 6), return_counts=True)
    if len(levels) < 2:
        return []
    shared = [counts[np.abs(levels - one) < UNIT_TOLERANCE].sum() for one in levels]
    base = float(levels[int(np.argmax(shared))])
    on = np.flatnonzero((np.abs(part - base) < UNIT_TOLERANCE).all(axis=1))
    first, last = (int(on[0]), int(on[-1]) + 1) if len(on) else (0, len(part))
    found = _pieces(part, base, first, last, start)
    for outer_start, outer_stop in ((0, first), (last, len(part))):
        if outer_stop - outer_start >= PERSISTENT_BARS_MIN:
            found += _off_level(level, start + outer_start, start + outer_stop)
        else:
            found += _pieces(part, base, outer_start, outer_stop, start)
    return found


def _pieces(part: NDArray[np.float64], base: float, start: int, stop: int, offset: int) -> list[tuple[int, int, float]]:
    off = np.asarray((np.abs(part - base) >= UNIT_TOLERANCE).any(axis=1))
    same = np.r_[False, (np.abs(np.diff(part, axis=0)) < UNIT_TOLERANCE).all(axis=1)]
    pieces: list[tuple[int, int, float]] = []
    for row in np.flatnonzero(off[start:stop]) + start:
        if pieces and pieces[-1][1] == offset + row and same[row]:
            pieces[-1] = (pieces[-1][0], offset + int(row) + 1, base)
        else:
            pieces.append((offset + int(row), offset + int(row) + 1, base))
    return pieces


def _stretch(
    start: int, stop: int, path: NDArray[np.float64], offset: NDArray[np.float64], scale: Column
) -> UnitStretch:
    """Return the piece with its ratio, and what mends it where it is one exact power of ten and both edges fit."""
    ratio = float(offset[start, 0] if abs(offset[start, 0]) > abs(offset[start, 1]) else offset[start, 1])
    power = round(ratio / np.log(10))
    torn = abs(offset[start, 0] - offset[start, 1]) >= UNIT_TOLERANCE
    mend = 0.0
    if power and not torn and start > 0 and stop < len(path):
        unit = power * np.log(10)
        misfits = (path[start, 0] - unit - path[start - 1, 1], path[stop, 0] - path[stop - 1, 1] + unit)
        bounds = (scale[start - 1], scale[stop])
        fits = all(abs(off) <= EXACT_SCALES_MAX * bound for off, bound in zip(misfits, bounds, strict=True))
        mend = 10.0**-power if fits else 0.0
    return UnitStretch(start, stop, float(np.exp(ratio)), mend)


def holding_gaps(
    prices: NDArray[np.float64], volume: Column, *, tick_size: float, impossible_move: float, splits: bool
) -> list[Gap]:
    """Find opening gaps that hold and that no news explains: splits, joins, a new unit from here on.

    A gap beyond ``impossible_move`` is taken for the simple fraction it is nearest to, within 3 % or three usual true
    ranges, but 15 % at most. Where the class knows splits, so is a gap of more than eight usual true ranges within one
    of them of a simple fraction, if the money traded on the bar stays between a quarter and twice the usual: then
    volume moved inversely to the price, as in a split, and unlike in a crash. Every other such gap is returned too, as
    not adjusted.

    Args:
        prices: float64[4, n], positive, without the rows of ``unit_stretches``.
        volume: float64[n].
        tick_size: one tick is the least scale.
        impossible_move: see ``asset_classes.ClassLimits``.
        splits: whether instruments of this class are split.
    """
    open_, high, low, close = prices
    scale = local_scale(high, low, close, tick_size)
    gap = np.r_[0.0, np.log(open_[1:] / close[:-1])]
    least = np.minimum(SPLIT_SCALES_MIN * scale, impossible_move) if splits else impossible_move
    return [
        _judge_gap(int(row), float(gap[row]), float(scale[row]), close * volume, impossible_move)
        for row in np.flatnonzero(np.abs(gap) > least)
    ]


def _judge_gap(row: int, gap: float, scale: float, money: Column, impossible_move: float) -> Gap:
    nearest = min(_FRACTIONS, key=lambda part: abs(gap - np.log(float(part))))
    impossible = abs(gap) > impossible_move
    wide = min(UNIT_TOLERANCE, max(UNIT_MISFIT_MAX, UNIT_MISFIT_SCALES_MAX * scale))
    misfit_max = wide if impossible else SPLIT_MISFIT_SCALES_MAX * scale
    fraction = nearest if abs(gap - np.log(float(nearest))) <= misfit_max else None
    usual = float(np.median(money[max(0, row - SPLIT_BARS_BEFORE) : row]))
    turnover = float(money[row]) / usual if usual > 0 else float("nan")
    ordinary = SPLIT_TURNOVER_MIN <= turnover <= SPLIT_TURNOVER_MAX
    return Gap(row, float(np.exp(gap)), fraction, turnover, fraction is not None and (impossible or ordinary))


def volume_breaks(session: NDArray[np.int32], volume: Column) -> list[tuple[int, float]]:
    """Return (trading day, ratio) where the volume of a session changes at once and for good by a factor of 8 or more.

    The median of twenty sessions is compared with that of the twenty before, and the smallest (largest) of the first
    three with the largest (smallest) of the three before. A factor of 2, as of exchanges that ceased to count both
    sides, cannot be told from a busy month by volume alone: such a known change belongs to the reader.
    """
    days, inverse = np.unique(session, return_inverse=True)
    total = np.log(np.maximum(np.bincount(inverse, weights=volume, minlength=len(days)), 0.5))
    found: list[tuple[int, float]] = []
    least, reach = np.log(VOLUME_BREAK_MIN), _VOLUME_SESSIONS
    for row in range(reach, len(days) - reach + 1):
        before, after = total[row - reach : row], total[row : row + reach]
        change = float(np.median(after) - np.median(before))
        apart = min(after[:3]) - max(before[-3:]) if change > 0 else min(before[-3:]) - max(after[:3])
        if abs(change) >= least and apart >= least:
            found.append((int(days[row]), float(np.exp(change))))
    return found
