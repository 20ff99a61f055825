"""Masks over the rows of one instrument: which bars are wrong, and which are real but could not be traded.

Each function has its slow, obvious twin in ``reference_masks.py``. A mask looks at bars before and after the one it
judges: it cleans recorded data and is no feature.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from grandmodel.core.bars import NS_PER_MINUTE
from grandmodel.data.asset_classes import MINUTES_PER_DAY

DEAD_VOLUME_FRAC = 0.05
DEAD_SESSIONS_MIN = 5
REFERENCE_SESSIONS = 501  # about two years, so that half a year of nothing cannot become the norm
SESSIONS_MIN = 60

STALE_REPEATS_MIN = 5
STALE_REPEATS_MIN_UNKNOWN = 60  # where no volume tells a quiet market from a stale feed

SPIKE_BARS_MAX = 3
SPIKE_SCALES_MIN = 10.0
SPIKE_SCALES_MIN_UNKNOWN = 20.0  # where no volume can confirm a move
SPIKE_VOLUME_MAX = 2.0  # times the usual: what trades more than this was a market
SCALE_WINDOW_BARS = 201
PAUSE_MINUTES = 180  # over a shorter break, lunch included, the market moves about as within a bar
_SCALE_BARS_MIN = 20

Flags = NDArray[np.bool_]
Column = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Spikes:
    """Excursions that come straight back: ``bad`` ones are errors, ``traded`` ones were a market and stay."""

    bad: Flags
    traded: Flags
    impossible: Flags  # further than any market moves, whatever was traded: a part of ``bad``


def runs(flags: Flags) -> list[tuple[int, int]]:
    """Return (start, stop) of each stretch of True in bool[n]."""
    edges = np.flatnonzero(np.diff(np.r_[False, flags, False].astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in zip(edges[::2], edges[1::2], strict=True)]


def long_runs(flags: Flags, length_min: int) -> Flags:
    """Return ``flags`` without its stretches shorter than ``length_min``."""
    kept = np.zeros(len(flags), np.bool_)
    for start, stop in runs(flags):
        kept[start:stop] = stop - start >= length_min
    return kept


def volume_is_known(volume: Column) -> bool:
    """Return whether float64[n] ``volume`` says anything: a file without it carries one constant."""
    return len(volume) > 0 and bool(volume.min() != volume.max())


def dead_rows(session: NDArray[np.int32], volume: Column) -> Flags:
    """Return bool[n], True in runs of at least five sessions that each trade under 5 % of the usual volume.

    The usual volume is the median session of the two years around. A limit-locked day or a holiday is one or two
    sessions long and stays: true crashes are not masked.
    """
    sessions, inverse = np.unique(session, return_inverse=True)
    if len(sessions) < SESSIONS_MIN:
        return np.zeros(len(session), np.bool_)
    total = np.bincount(inverse, weights=volume)
    usual = pd.Series(total).rolling(REFERENCE_SESSIONS, center=True, min_periods=1).median().to_numpy()
    return np.asarray(long_runs(total < DEAD_VOLUME_FRAC * usual, DEAD_SESSIONS_MIN)[inverse])


def stale_rows(prices: NDArray[np.float64], volume: Column) -> Flags:
    """Return bool[n], True where a feed repeats its last bar: all prices and the volume equal, many times in a row.

    Args:
        prices: float64[4, n], open, high, low, close.
        volume: float64[n]. Bars without volume repeat their price for an honest reason and are never stale.

    Five repeats with volume are beyond chance: in two million real bars nothing repeats more than twice. Where volume
    is unknown, 60 repeats are asked for. The bar that is repeated stays.
    """
    repeats = np.r_[False, (np.diff(prices) == 0).all(axis=0) & (np.diff(volume) == 0)][: len(volume)]
    least = STALE_REPEATS_MIN if volume_is_known(volume) else STALE_REPEATS_MIN_UNKNOWN
    return long_runs(repeats & (volume > 0), least)


def locked_rows(
    session: NDArray[np.int32], high: Column, low: Column, close: Column, volume: Column, move_min: float
) -> Flags:
    """Return bool[n], True where the market stood at its price limit: real, traded on one side, not to be filled.

    Such a bar trades volume at one single price, which is the extreme of its session so far and further than
    ``move_min`` (absolute log return) from the last close of the session before. With ``move_min`` 0 nothing is locked.
    """
    if not move_min or not len(session):
        return np.zeros(len(session), np.bool_)
    opens = np.r_[True, np.diff(session) != 0]
    number = np.cumsum(opens) - 1
    last_close = close[np.r_[opens[1:], True]]
    before = np.r_[np.nan, last_close[:-1]][number]
    highest = pd.Series(high).groupby(number).cummax().to_numpy()
    lowest = pd.Series(low).groupby(number).cummin().to_numpy()
    move = np.log(close / before)
    at_limit = ((close == highest) & (move > move_min)) | ((close == lowest) & (move < -move_min))
    return np.asarray((high == low) & (volume > 0) & at_limit)


def local_scale(high: Column, low: Column, close: Column, tick_size: float) -> Column:
    """Return the usual true range around each bar, float64[n] in log price.

    It is the running median of 201 bars, at least half the median of the whole file and at least one tick: medians
    because one wrong bar must not widen the band that is to catch it.
    """
    log_close = np.log(close)
    step = np.abs(np.diff(log_close, prepend=log_close[:1]))
    true_range = np.maximum(np.log(high / low), step)
    local = pd.Series(true_range).rolling(SCALE_WINDOW_BARS, center=True, min_periods=_SCALE_BARS_MIN).median()
    whole = float(np.median(true_range)) if len(true_range) else 0.0
    return np.asarray(np.maximum(np.maximum(local.fillna(whole).to_numpy(), whole / 2), tick_size / close))


def pause_scale(start_ns: NDArray[np.int64], bar_minutes: int, open_: Column, close: Column) -> tuple[Flags, float]:
    """Return which bars follow a pause of more than three hours, bool[n], and the median move over such pauses.

    Daily bars know no pause: their true range holds the night already.
    """
    if len(start_ns) < 2 or bar_minutes >= MINUTES_PER_DAY:
        return np.zeros(len(start_ns), np.bool_), 0.0
    pause = np.r_[False, np.diff(start_ns) > (bar_minutes + PAUSE_MINUTES) * NS_PER_MINUTE]
    moves = np.abs(np.log(open_[1:] / close[:-1]))[pause[1:]]
    return pause, float(np.median(moves)) if len(moves) else 0.0


def usual_volume(volume: Column) -> Column:
    """Return the running median of 201 bars, float64[n], at least a tenth of the median of the file."""
    local = pd.Series(volume).rolling(SCALE_WINDOW_BARS, center=True, min_periods=_SCALE_BARS_MIN).median()
    whole = float(np.median(volume)) if len(volume) else 0.0
    return np.asarray(np.maximum(local.fillna(whole).to_numpy(), whole / 10))


def spike_rows(
    start_ns: NDArray[np.int64],
    bar_minutes: int,
    prices: NDArray[np.float64],
    volume: Column,
    *,
    tick_size: float,
    impossible_move: float,
) -> Spikes:
    """Find excursions of one to three bars beyond the bars on either side, and judge them by what traded there.

    An excursion is how far a bar's high (low) stands above (below) both the bar before and the bar after the stretch,
    in log price. It is unusual beyond ten usual true ranges, or ten usual moves over a pause where a pause lies within.
    It is *bad* where the volume is at most twice the usual, or where it exceeds ``impossible_move`` whatever was
    traded; otherwise it is *traded*: a crash that came back. A move that holds is no excursion and is never found.

    Args:
        start_ns: int64[n], UTC bar starts.
        bar_minutes: length of a bar.
        prices: float64[4, n], positive: open, high, low, close.
        volume: float64[n]; one constant where it is unknown, and then twenty scales are asked for.
        tick_size: one tick is the least scale.
        impossible_move: see ``asset_classes.ClassLimits``.
    """
    count = len(volume)
    bad, traded, impossible = (np.zeros(count, np.bool_) for _ in range(3))
    if count < 3:
        return Spikes(bad, traded, impossible)
    open_, high, low, close = prices
    scales_min = SPIKE_SCALES_MIN if volume_is_known(volume) else SPIKE_SCALES_MIN_UNKNOWN
    band = scales_min * local_scale(high, low, close, tick_size)
    pause, pause_move = pause_scale(start_ns, bar_minutes, open_, close)
    quiet = volume <= SPIKE_VOLUME_MAX * usual_volume(volume)
    pause_band = np.where(pause, scales_min * pause_move, 0.0)
    for level, own_close in ((np.log(high), np.log(close)), (-np.log(low), -np.log(close))):
        for length in range(1, SPIKE_BARS_MAX + 1):
            window = _Window(level, own_close, band, pause_band, quiet, length, impossible_move)
            _mark_excursions(window, bad, traded, impossible)
    return Spikes(bad, traded & ~bad, impossible)


@dataclass(frozen=True, slots=True)
class _Window:
    """One side of the market, and the number of bars that an excursion may last."""

    level: Column  # log high, or minus log low: what stands out stands above
    own_close: Column
    band: Column
    pause_band: Column
    quiet: Flags
    length: int
    impossible_move: float


def _mark_excursions(window: _Window, bad: Flags, traded: Flags, impossible: Flags) -> None:
    """Set the flags where a bar stands out of the stretch of ``length`` bars that it belongs to."""
    length, starts = window.length, len(window.level) - window.length + 1
    if starts < 1:
        return
    # Beyond the ends stands the close of the first or last bar: a wick there has come back within its own bar.
    around = np.r_[window.own_close[0], window.level, window.own_close[-1]]
    ceiling = np.maximum(around[:starts], around[length + 1 :])
    pauses = np.r_[window.pause_band, 0.0]
    widest_pause = np.max([pauses[step : step + starts] for step in range(length + 1)], axis=0)
    each = [slice(step, step + starts) for step in range(length)]
    out = np.stack([window.level[part] - ceiling for part in each])
    stands = out > np.stack([np.maximum(window.band[part], widest_pause) for part in each])
    stands[:, [0, -1]] = False  # with one neighbour only, nothing but the impossible is judged
    loud = (stands & ~np.stack([window.quiet[part] for part in each])).any(axis=0)
    beyond = out > window.impossible_move
    for step, part in enumerate(each):
        impossible[part] |= beyond[step]
        bad[part] |= beyond[step] | (stands[step] & ~loud)
        traded[part] |= stands[step] & loud
