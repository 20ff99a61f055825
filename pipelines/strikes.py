"""Where shocks strike: the latest moments out of sample at which the release holds something.

A moment is chosen by what is held there, before any loss is looked at: in each of the latest weeks the one with the
largest gross. All instruments must trade at it, and enough must be known before it to measure risk.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.bars import NS_PER_MINUTE, Bars
from grandmodel.core.config import Params
from models.release import Release
from pipelines.guarded import VAR_WINDOW_BARS, feed_of
from pipelines.tapes import FoldMarket

STRIKES_MAX = 3
BARS_5M_PER_30M = 6
NS_PER_WEEK = 7 * 24 * 60 * NS_PER_MINUTE

Moments = NDArray[np.int64]


@dataclass(frozen=True)
class Shock:
    """A stretch of the market on which scenarios are played, and the row at which each of them strikes."""

    bars: dict[str, Bars]  # on the traded clock; the shock row has one start time in all instruments
    row: int
    history: dict[str, Bars]  # all bars before the shock row, of the same instruments

    @property
    def moment(self) -> str:
        """Return the start of the shock row, ISO 8601 in UTC."""
        first = next(iter(self.bars.values()))
        return f"{np.datetime64(int(first.start_ns[self.row]), 'ns').astype('datetime64[s]')}Z"


def strikes_of(bars: Mapping[str, Bars], release: Release, fold: FoldMarket, params: Params) -> list[Shock] | str:
    """Return the latest ``STRIKES_MAX`` shocks in weeks of their own, newest first; a sentence where there is none."""
    before, after = rows_around(bars, params)
    moments = possible_moments(bars, before, after)
    if not len(moments):
        return (
            f"all instruments must trade at one moment with {before} bars and {VAR_WINDOW_BARS} known rows before it "
            f"and {after} bars after it, and there is none"
        )
    moments = moments[(moments >= fold.test_ns[0]) & (moments < fold.test_ns[1])]
    chosen = largest_by_week(moments, gross_held(release, fold, params, moments))
    if not len(chosen):
        return (
            f"the release holds nothing at any of {len(moments):,} moments out of sample at which a shock could "
            "strike, and what is not held is not shown to be safe"
        )
    return [stage_at(bars, int(moment), before, after) for moment in chosen[:STRIKES_MAX]]


def rows_around(bars: Mapping[str, Bars], params: Params) -> tuple[int, int]:
    """Return how many bars are replayed before a shock, and from it on."""
    per_row = BARS_5M_PER_30M if next(iter(bars.values())).bar_minutes == 30 else 1
    return params.stress.warmup_bars // per_row, params.stress.after_bars // per_row


def possible_moments(bars: Mapping[str, Bars], before: int, after: int) -> Moments:
    """Return the starts of bars that all instruments share and at which a shock can be played and judged, rising."""
    moments = _playable(next(iter(bars.values())), before, after)
    for one in bars.values():
        moments = np.intersect1d(moments, _playable(one, before, after))
    feed = feed_of(bars)
    opening = np.searchsorted(feed.moment_ns, moments, side="right") - 1  # the close at which the guard opens
    known_rows = np.append(0, np.cumsum(np.isfinite(feed.move_frac).all(axis=1)))
    kept = (opening >= 0) & np.isfinite(feed.price[opening]).all(axis=1)
    return np.asarray(moments[kept & (known_rows[opening] >= VAR_WINDOW_BARS)], np.int64)


def _playable(bars: Bars, before: int, after: int) -> Moments:
    """Return the starts of one instrument with room around them, a session that opens after them, and real prices."""
    rows = np.arange(max(before, 1), len(bars) - after + 1)
    if not len(rows):
        return np.empty(0, np.int64)
    price = np.stack([bars.open, bars.high, bars.low, bars.close])
    faults = np.append(0, np.cumsum(~(np.isfinite(price) & (price > 0)).all(axis=0)))
    whole = faults[rows + after] == faults[rows - 1]
    opens = bars.session[rows + after - 1] > bars.session[rows - 1]
    return np.asarray(bars.start_ns[rows[whole & opens]], np.int64)


def gross_held(release: Release, fold: FoldMarket, params: Params, moments: Moments) -> NDArray[np.float64]:
    """Return what the release holds at the last close before each moment out of sample, money over equity."""
    tape, played = fold.test.traded, release.decide(fold.test, params.market)
    gross = np.zeros(len(moments))
    for symbol in tape.symbols:
        part = tape.rows(symbol)
        held = np.append(0.0, np.abs(played.position[part]) * tape.leverage[part])
        gross += held[np.searchsorted(tape.close_ns[part], moments, side="right")]
    return gross / len(tape.symbols)


def largest_by_week(moments: Moments, gross: NDArray[np.float64]) -> Moments:
    """Return the moment of the largest gross (the first of equals) of each week in which any is held, newest first."""
    weeks = moments // NS_PER_WEEK
    chosen = []
    for week in np.unique(weeks[gross > 0.0])[::-1]:
        places = np.flatnonzero(weeks == week)
        chosen.append(moments[places[np.argmax(gross[places])]])
    return np.array(chosen, np.int64)


def stage_at(bars: Mapping[str, Bars], moment: int, before: int, after: int) -> Shock:
    """Return the bars around the one of every instrument that starts at ``moment``."""
    rows = {symbol: int(np.searchsorted(one.start_ns, moment)) for symbol, one in bars.items()}
    stretch = {symbol: one.rows(rows[symbol] - before, rows[symbol] + after) for symbol, one in bars.items()}
    return Shock(stretch, before, {symbol: one.rows(0, rows[symbol]) for symbol, one in bars.items()})
