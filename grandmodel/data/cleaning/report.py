"""The sentences of the quality report: what was found in the rows of one instrument, where, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.instrument import Instrument
from grandmodel.data.calendar import schedules as calendars
from grandmodel.data.cleaning.masks import (
    DEAD_VOLUME_FRAC,
    SPIKE_VOLUME_MAX,
    Column,
    Flags,
    Spikes,
    runs,
    usual_volume,
    volume_is_known,
)
from grandmodel.data.cleaning.stretches import VOLUME_STRETCH_MIN
from grandmodel.data.cleaning.units import LISTING_PAUSE_DAYS, Gap, UnitStretch, volume_breaks
from grandmodel.data.dataset import PRICE_COLUMNS, ROWS_MAX, Finding

SHORT_SESSION_FRAC = 0.6
_LISTED_MAX = 6


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows of one instrument as they stand in its file, in order of time."""

    instrument: Instrument
    bar_minutes: int
    file: str
    number: NDArray[np.int64]  # row in the file
    start_ns: NDArray[np.int64]
    session: NDArray[np.int32]
    values: dict[str, Column]
    rolls: tuple[tuple[int, float], ...]  # (trading day, ratio) of known rolls
    simulated: bool = False  # then the calendar of no real market holds

    @property
    def prices(self) -> NDArray[np.float64]:
        """Return float64[4, n]: open, high, low, close."""
        return np.stack([self.values[name] for name in PRICE_COLUMNS])


def date_text(day: int) -> str:
    """Return days since 1970-01-01 as an ISO date."""
    return str(np.datetime64(int(day), "D"))


def about_listing(rows: Rows, first: int) -> list[Finding]:
    """Tell of the rows before ``first``, which are cut as those of another listing."""
    if not first:
        return []
    day, again = (date_text(rows.session[row]) for row in (first - 1, first))
    ratio = rows.values["open"][first] / rows.values["close"][first - 1]
    text = (
        f"the {first} bars up to {day} are cut out as another listing under the same symbol: after a pause of "
        f"{LISTING_PAUSE_DAYS} days or more the price stands {_times(ratio)} on {again}"
    )
    return [_finding(rows, "warning", text, np.arange(first))]


def about_dead(rows: Rows, dead: Flags) -> list[Finding]:
    """Tell of each stretch that trades next to nothing."""
    findings = []
    for start, stop in runs(dead):
        first, last = date_text(rows.session[start]), date_text(rows.session[stop - 1])
        text = (
            f"{stop - start} bars of the sessions {first} to {last} trade under {DEAD_VOLUME_FRAC:.0%} of the usual "
            "volume, evidently not the traded contract: they are cut out and the edges joined like a roll"
        )
        findings.append(_finding(rows, "warning", text, np.arange(start, stop)))
    return findings


def about_units(rows: Rows, kept: NDArray[np.int64], stretches: list[UnitStretch]) -> list[Finding]:
    """Tell of each stretch in another unit, mended or cut."""
    findings = []
    for stretch in stretches:
        where = kept[stretch.start : stretch.stop]
        bars = "1 bar stands" if len(where) == 1 else f"{len(where)} bars stand"
        done = f"they are multiplied by {stretch.mend:g}" if stretch.mend else "they are cut out"
        text = f"{bars} {_times(stretch.ratio)} on {_span(rows, where)} and no trade explains it, another unit: {done}"
        findings.append(_finding(rows, "warning", text, where))
    return findings


def about_bars(rows: Rows, kept: NDArray[np.int64], stale: Flags, spikes: Spikes) -> list[Finding]:
    """Tell of stale and wrong bars, which are cut, and of wild ones that stay."""
    findings = []
    if stale.any():
        text = f"{_bars(stale)} a bar before in every price and in volume, a stale feed: cut out ({{}})"
        findings.append(_listed(rows, "warning", text, kept[stale]))
    for flags, by in (
        (spikes.bad & spikes.impossible, "by more than any market moves"),
        (spikes.bad & ~spikes.impossible, f"on at most {SPIKE_VOLUME_MAX:g} times the usual volume"),
    ):
        if flags.any():
            back = "comes" if flags.sum() == 1 else "come"
            text = f"{_bars(flags, 'leave', 'leaves')} the bars around and {back} straight back, {by}"
            text += f"{_trade(rows, kept, flags)}, bad prints: cut out ({{}})"
            findings.append(_listed(rows, "warning", text, kept[flags]))
    if spikes.traded.any():
        text = f"{_bars(spikes.traded, 'leave', 'leaves')} the bars around and come straight back, but traded there: "
        text += "true moves, left alone ({})"
        findings.append(_listed(rows, "info", text, kept[spikes.traded]))
    return findings


def about_stretches(
    rows: Rows,
    kept: NDArray[np.int64],
    frozen: Flags,
    strayed: list[tuple[int, int]],
    volumes: list[tuple[int, int]],
) -> list[Finding]:
    """Tell of frozen and strayed stretches, which are cut, and of such in another unit of volume, which stay."""
    findings = []
    for start, stop in runs(frozen):
        where = kept[start:stop]
        text = (
            f"{stop - start} bars on {_span(rows, where)} stand still at the close before although they report volume, "
            "a frozen price: cut out"
        )
        findings.append(_finding(rows, "warning", text, where))
    for start, stop in strayed:
        where = kept[start:stop]
        move = rows.values["open"][where[0]] / rows.values["close"][kept[start - 1]] - 1
        text = (
            f"{stop - start} bars on {_span(rows, where)} step {move:+.1%} to another level, trade under "
            f"{DEAD_VOLUME_FRAC:.0%} of the usual volume and step back, not the traded contract: cut out"
        )
        findings.append(_finding(rows, "warning", text, where))
    for start, stop in volumes:
        where = kept[start:stop]
        text = (
            f"{stop - start} bars on {_span(rows, where)} report over {VOLUME_STRETCH_MIN:g} times the usual volume, "
            "perhaps another unit: they are left alone"
        )
        findings.append(_finding(rows, "warning", text, where))
    return findings


def about_gaps(rows: Rows, kept: NDArray[np.int64], gaps: list[Gap], impossible_move: float) -> list[Finding]:
    """Tell of splits, and of gaps that look like one and are left alone."""
    findings = []
    for gap in gaps:
        move = f"{gap.ratio - 1:+.1%}" if gap.ratio < 2 else _times(gap.ratio)
        opened = f"the opening gap {move} of {date_text(rows.session[kept[gap.row]])}"
        where = kept[gap.row : gap.row + 1]
        if gap.adjusted and gap.fraction is not None:
            traded = "" if np.isnan(gap.turnover) else f" at {gap.turnover:.2g} times the usual turnover"
            text = f"{opened} is a split or a new unit of {gap.fraction}{traded}: earlier prices are adjusted by that"
            findings.append(_finding(rows, "warning", text, where))
        elif abs(np.log(gap.ratio)) > impossible_move:
            text = (
                f"{opened} is more than this market moves and no simple fraction: it is left, and should be explained"
            )
            findings.append(_finding(rows, "warning", text, where))
        elif gap.fraction is not None:
            text = f"{opened} is near {gap.fraction} but traded {gap.turnover:.2g} times the usual: left alone"
            findings.append(_finding(rows, "info", text, where))
    return findings


def about_trading(rows: Rows, kept: NDArray[np.int64], locked: Flags) -> list[Finding]:
    """Tell of bars that stay and fill nothing, and of volume that is unknown or changes its unit."""
    volume, symbol = rows.values["volume"][kept], rows.instrument.symbol
    if not volume_is_known(rows.values["volume"]):
        return []  # the reader has said so
    findings = []
    empty = volume == 0
    if empty.any():
        text = f"{int(empty.sum())} bars have no volume: they stay but fill nothing"
        if empty.sum() == 1:
            text = "1 bar has no volume: it stays but fills nothing"
        findings.append(_finding(rows, "info", text, kept[empty]))
    if locked.any():
        days = len(np.unique(rows.session[kept[locked]]))
        sessions = "1 session" if days == 1 else f"{days} sessions"
        text = f"{int(locked.sum())} bars of {sessions} stand at the price limit: they stay but fill nothing ({{}})"
        findings.append(_listed(rows, "info", text, kept[locked]))
    for day, ratio in volume_breaks(rows.session[kept], volume):
        text = f"from {date_text(day)} on volume stands {_times(ratio)}, perhaps another unit: it is left alone"
        findings.append(Finding("warning", symbol, text))
    return findings


def about_sessions(rows: Rows, kept: NDArray[np.int64]) -> list[Finding]:
    """Tell what is unusual about sessions and is left alone: missing, cut and overlong ones, bars outside hours."""
    session, instrument = rows.session[kept], rows.instrument
    judged = None if rows.simulated else calendars.judge(instrument, rows.bar_minutes, rows.start_ns[kept], session)
    days, counts = np.unique(session, return_counts=True)
    usual = int(np.median(counts))
    full = max(1, instrument.session_bars_5m * 5 // rows.bar_minutes)
    findings: list[Finding] = []
    if judged is None:
        short = counts < SHORT_SESSION_FRAC * usual
        rule = f"shorter than 60 % of the usual {usual} bars"
        findings += _sessions(instrument.symbol, rule, days[short], counts[short])
    else:
        gone = np.setdiff1d(judged.missing, np.setdiff1d(rows.session, session))  # what was cut out is not missing
        findings += _sessions(instrument.symbol, "in the calendar of the market but not in the file", gone)
        findings += _sessions(instrument.symbol, "cut: bars are missing", judged.cut, judged.found, judged.expected)
        if judged.outside.any():
            text = f"{_bars(judged.outside, 'lie', 'lies')} outside the hours of the market ({{}})"
            findings.append(_listed(rows, "warning", text, kept[judged.outside]))
    overlong = counts > full
    rule = f"longer than the {full} bars of a full trading day"
    return findings + _sessions(instrument.symbol, rule, days[overlong], counts[overlong])


def _sessions(
    symbol: str,
    rule: str,
    days: NDArray[np.int32],
    counts: NDArray[np.int64] | None = None,
    expected: NDArray[np.int64] | None = None,
) -> list[Finding]:
    if len(days) == 0:
        return []
    notes = [""] * len(days) if counts is None else [f" ({count})" for count in counts]
    if counts is not None and expected is not None:
        notes = [f" ({count} of {full})" for count, full in zip(counts, expected, strict=True)]
    listed = [f"{date_text(day)}{note}" for day, note in zip(days, notes, strict=True)]
    are = "session is" if len(listed) == 1 else "sessions are"
    return [Finding("info", symbol, f"{len(listed)} {are} {rule}: {_some(listed)}")]


def _trade(rows: Rows, kept: NDArray[np.int64], flags: Flags) -> str:
    """Return the move of the first of the bars against the close before, and its volume against the usual."""
    row = int(np.argmax(flags))
    values = {name: rows.values[name][kept] for name in ("high", "low", "close", "volume")}
    before = values["close"][max(row - 1, 0)]
    move = max(values["high"][row] / before - 1, values["low"][row] / before - 1, key=abs)
    usual = usual_volume(values["volume"])[row]
    traded = f" on {values['volume'][row] / usual:.2g} times the usual" if usual > 0 else ""
    return f" (the first by {move:+.1%}{traded if volume_is_known(values['volume']) else ''})"


def _bars(flags: Flags, verb: str = "repeat", verb_of_one: str = "repeats") -> str:
    count = int(flags.sum())
    return f"1 bar {verb_of_one}" if count == 1 else f"{count} bars {verb}"


def _times(ratio: float) -> str:
    return f"{ratio:.4g} times higher" if ratio >= 1 else f"{1 / ratio:.4g} times lower"


def _span(rows: Rows, where: NDArray[np.int64]) -> str:
    first, last = (date_text(rows.session[row]) for row in (where[0], where[-1]))
    return first if first == last else f"{first} to {last}"


def _some(listed: list[str]) -> str:
    more = f" and {len(listed) - _LISTED_MAX} more" if len(listed) > _LISTED_MAX else ""
    return ", ".join(listed[:_LISTED_MAX]) + more


def _listed(rows: Rows, level: Literal["info", "warning"], text: str, where: NDArray[np.int64]) -> Finding:
    """Return the finding with the trading days it is about in the braces of ``text``."""
    days = [date_text(day) for day in np.unique(rows.session[where])]
    return _finding(rows, level, text.format(_some(days)), where)


def _finding(rows: Rows, level: Literal["info", "warning"], text: str, where: NDArray[np.int64]) -> Finding:
    numbers = tuple(int(number) for number in rows.number[where[:ROWS_MAX]])
    return Finding(level, rows.instrument.symbol, text, rows.file, numbers, len(where))
