"""Time that does not run on: bars missing within a session, and a clock that jumps by an hour within a file."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.bars import NS_PER_MINUTE
from grandmodel.core.errors import DataError
from grandmodel.core.instrument import Instrument
from grandmodel.data.calendar.schedules import NS_PER_DAY, Schedule, market_of, never_closes, outside, schedule
from grandmodel.data.dataset import Finding

_JUMP_NS = 60 * NS_PER_MINUTE
_OUTSIDE_BARS_MIN = 2
MISSING_FRAC_USUAL = 0.05  # of all bars that sessions should hold; a thinner file deserves a warning


def hours_of(instrument: Instrument, start_ns: NDArray[np.int64]) -> Schedule | None:
    """Return the hours of the market of ``instrument`` around the bars; None where it is unknown or never closes."""
    market = market_of(instrument)
    if market is None or never_closes(market) or not len(start_ns):
        return None
    return schedule(market, int(start_ns[0] // NS_PER_DAY) - 7, int(start_ns[-1] // NS_PER_DAY) + 21)


def missing_bars(
    start_ns: NDArray[np.int64], session: NDArray[np.int32], bar_minutes: int, hours: Schedule | None
) -> NDArray[np.int64]:
    """Return int64[n], how many bars are missing right before each bar, within its session and span of ``hours``.

    Bars of a day and longer miss nothing: whole sessions are the calendar's matter.
    """
    missing = np.zeros(len(start_ns), np.int64)
    length = bar_minutes * NS_PER_MINUTE
    if len(start_ns) < 2 or length >= NS_PER_DAY:
        return missing
    same = np.diff(session) == 0
    if hours is not None:
        same &= np.diff(np.searchsorted(hours.close_ns, start_ns, side="right")) == 0
        same &= ~outside(hours, start_ns[:-1], bar_minutes)  # such a bar lies in no span, only before one
    missing[1:] = np.where(same, np.maximum(np.diff(start_ns) // length - 1, 0), 0)
    return missing


def describe_holes(
    symbol: str, file: str, rows: NDArray[np.int64], start_ns: NDArray[np.int64], missing: NDArray[np.int64]
) -> list[Finding]:
    """Return what the report says of ``missing_bars``: how many, in how many holes, and where the longest is."""
    holes = np.flatnonzero(missing)
    if not len(holes):
        return []
    longest = int(np.argmax(missing))
    moment = str(np.datetime64(int(start_ns[longest]), "ns").astype("datetime64[m]"))
    many = "1 bar is" if missing.sum() == 1 else f"{int(missing.sum())} bars are"
    where = "1 hole" if len(holes) == 1 else f"{len(holes)} holes, the longest"
    text = (
        f"{many} missing within sessions, in {where} of {int(missing[longest])} before {moment} UTC: nothing is filled"
    )
    level: Literal["info", "warning"] = "info"
    share = float(missing.sum() / (missing.sum() + len(missing)))
    if share > MISSING_FRAC_USUAL:
        level, text = "warning", f"{text}; that is {share:.0%} of all bars, the file is thin"
    return [Finding(level, symbol, text, file, tuple(int(row) for row in rows[holes[:20]]), len(holes))]


def refuse_moved_clock(
    file: str, rows: NDArray[np.int64], start_ns: NDArray[np.int64], bar_minutes: int, hours: Schedule | None
) -> None:
    """Raise DataError where the clock of some stretch is an hour off; names its first row."""
    found = None if hours is None else moved_clock(start_ns, bar_minutes, hours)
    if found is None:
        return
    start, minutes = found
    rule = "the clock must not jump; bars lie outside the hours of the market from here to the next pause, and keep to "
    rule += f"them when read {abs(minutes)} minutes {'later' if minutes > 0 else 'earlier'}"
    stamp = f"{np.datetime64(int(start_ns[start]), 'ns').astype('datetime64[m]')} UTC"
    raise DataError(f"{file} row {rows[start]}", rule, stamp, "Export the file in UTC")


def moved_clock(start_ns: NDArray[np.int64], bar_minutes: int, hours: Schedule) -> tuple[int, int] | None:
    """Return the first bar of a stretch whose clock is an hour off and the minutes that mend it, or None.

    A run of two or more bars in the halt is either the end of a stretch that is an hour late, which begins after the
    last pause, or the beginning of one that is an hour early, which ends at the next. It is so where the whole stretch
    keeps to the hours once moved; bars printed after an early close do not, for then others leave the hours.

    Args:
        start_ns: int64[n], UTC starts, strictly increasing.
        bar_minutes: length of a bar.
        hours: of the market.
    """
    length = bar_minutes * NS_PER_MINUTE
    if length > _JUMP_NS // _OUTSIDE_BARS_MIN:
        return None
    rests = outside(hours, start_ns, bar_minutes)
    edges = np.flatnonzero(np.diff(np.r_[False, rests, False].astype(np.int8)))
    pauses = np.r_[0, np.flatnonzero(np.diff(start_ns) > length) + 1, len(start_ns)]
    for first, stop in zip(edges[::2], edges[1::2], strict=True):
        if stop - first < _OUTSIDE_BARS_MIN:
            continue
        begin = int(pauses[np.searchsorted(pauses, first, side="right") - 1])
        end = int(pauses[np.searchsorted(pauses, stop, side="left")])
        for start, until, shift_ns in ((begin, stop, -_JUMP_NS), (first, end, _JUMP_NS)):
            if not outside(hours, start_ns[start:until] + shift_ns, bar_minutes).any():
                return int(start), int(shift_ns // NS_PER_MINUTE)
    return None
