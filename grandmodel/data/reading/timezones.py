"""The clock of a file, by evidence: in the right zone no bar falls where its market rests, and none into the future.

Two kinds of evidence are weighed. The calendar: bars in the daily halt, on the weekend, on a holiday. And, for minute
bars that the calendar cannot decide, the pulse: people and programs act on the full quarter of an hour, so the busiest
minute carries the stamp :00 where stamps mark starts and :01 where they mark closes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from grandmodel.core.bars import NS_PER_MINUTE
from grandmodel.core.errors import DataError
from grandmodel.data.calendar.schedules import GLOBEX, NS_PER_DAY, Market, never_closes, outside, schedule

StampKind = Literal["auto", "start", "close"]
Kind = Literal["start", "close"]
CANDIDATE_ZONES = (
    "UTC",
    "America/Chicago",
    "America/New_York",
    "America/Los_Angeles",
    "America/Sao_Paulo",
    "Europe/London",
    "Europe/Berlin",
    "Europe/Athens",
    "Europe/Moscow",
    "Asia/Jerusalem",
    "Asia/Dubai",
    "Asia/Kolkata",
    "Asia/Shanghai",
    "Asia/Tokyo",
    "Australia/Sydney",
    "UTC-05:00",
    "UTC-06:00",
    "UTC+02:00",
    "UTC+03:00",
)
# What a file name or a header may say of its zone; EST has no daylight saving time, as the abbreviation means it.
ZONE_WORDS = {"utc": "UTC", "gmt": "UTC", "est": "UTC-05:00"}
_SLOT_MINUTES = 5  # minute bars are judged by the five minutes they lie in: no market opens within one
_WRONG_FRAC_MAX = 0.002
_MARGIN_MIN = 2
_PULSE_PAIRS_MIN = 200
_PULSE_Z_MIN = 4.0
_QUARTER_NS = 15 * NS_PER_MINUTE


@dataclass(frozen=True, slots=True)
class ZoneEvidence:
    """What was decided about the clock of a file, and the sentences that say why."""

    zone: str
    stamp: Kind
    text: str
    warning: str = ""  # where a name was overruled by the data


@dataclass(frozen=True, slots=True)
class Clock:
    """The stamps of one file and all that bears on their reading."""

    local_ns: NDArray[np.int64]  # naive, ascending
    bar_minutes: int
    file: str
    market: Market = GLOBEX
    activity: NDArray[np.float64] | None = None  # volume or range of each bar, for the pulse
    now_ns: int | None = None  # UTC; stamps beyond it are impossible
    has_offsets: bool = False  # whether the stamps carry their offset


@dataclass(frozen=True, slots=True)
class Score:
    """How many bars a reading puts where none can be."""

    unit: str  # what is counted: bars, or the five-minute slots in which minute bars lie
    count: int
    resting: int  # in the halt, on the weekend, in the future, or at a local time that does not exist once
    holiday: int  # in a plain week's hours, but on a holiday or after an early close

    @property
    def total(self) -> int:
        """All that speaks against the reading."""
        return self.resting + self.holiday

    @property
    def is_clean(self) -> bool:
        """Whether so few bars rest that the reading can be the right one; a vendor may print holidays."""
        return self.resting <= max(1, _WRONG_FRAC_MAX * self.count)

    def __str__(self) -> str:
        holidays = f" (and {self.holiday} on holidays)" if self.holiday else ""
        return f"{self.resting} of {self.count} {self.unit}{holidays}"


def zone_hint(header: str, stem: str) -> tuple[str, str] | None:
    """Return the zone that the header of the stamps or the file name has as a word, and which of the two says so."""
    for text, origin in ((header, f"the header {header!r}"), (stem, f"the file name {stem!r}")):
        words = re.split(r"[^a-z]+", text.lower())
        found = next((ZONE_WORDS[word] for word in reversed(words) if word in ZONE_WORDS), None)
        if found is not None:
            return found, origin
    return None


def find_clock(
    clock: Clock,
    *,
    stated_zone: str | None = None,
    stated_by: str = "",
    stamp: StampKind = "auto",
    hint: tuple[str, str] | None = None,
) -> ZoneEvidence:
    """Decide zone and kind of the stamps of one file.

    Args:
        clock: the stamps and what bears on them.
        stated_zone: IANA zone that was asked for, or UTC where stamps carry their offset; None to find it.
        stated_by: who states it, for messages.
        stamp: whether stamps mark starts or closes; ``auto`` finds it.
        hint: zone and origin from ``zone_hint``: followed unless the data contradict it.

    Raises:
        DataError: the data contradict what was stated, the zone is not evident, or starts cannot be told from closes.
    """
    kinds: tuple[Kind, ...] = ("start", "close") if stamp == "auto" else (stamp,)
    if never_closes(clock.market):
        return _without_halt(clock, stated_zone, stated_by, stamp, hint)
    fixed = stated_zone or (hint[0] if hint else None)
    origin = stated_by if stated_zone else (hint[1] if hint else "")
    if fixed is None:
        return _evident(clock, kinds)
    scores = {kind: score(clock, fixed, kind) for kind in kinds}
    best = min(scores.values(), key=lambda item: item.total)
    if not best.is_clean:
        _refuse_wrong_kind(clock, fixed, best, stamp)
        found = _rivals(clock, kinds)
        rival_zone, rival_kind = min(found, key=lambda key: found[key].total)
        rival = found[rival_zone, rival_kind]
        against = f"{best} would fall where the market rests, against {rival} for {rival_kind}s in {rival_zone}"
        if rival.is_clean:
            if stated_zone:
                rule = f"stamps cannot be in {fixed}, as {origin} says: {against}"
                do = (
                    f"State {rival_zone}; to insist, write the stamps with their offset, such as 2020-06-29 01:00+02:00"
                )
                raise DataError(clock.file, rule, do="Correct the offsets" if clock.has_offsets else do)
            chosen = _evident(clock, kinds)
            warning = f"{origin} says {fixed}; read so, {against}: the data are followed"
            return ZoneEvidence(chosen.zone, chosen.stamp, chosen.text, warning)
        if stamp == "auto":
            _refuse_unclean(clock, fixed, origin, scores)
    kind, why = _kind(clock, fixed, scores, stamp)
    text = f"stamps are bar {kind}s in {fixed}, as {origin} says: {scores[kind]} fall where the market rests{why}"
    return ZoneEvidence(fixed, kind, text)


def _refuse_wrong_kind(clock: Clock, zone: str, found: Score, stamp: StampKind) -> None:
    """Raise DataError where the kind that was stated puts bars into the market's rest and the other one does not."""
    if stamp == "auto":
        return
    other: Kind = "close" if stamp == "start" else "start"
    rival = score(clock, zone, other)
    if rival.is_clean:
        rule = (
            f"stamps cannot be bar {stamp}s in {zone}, as the option --stamp says: {found} would fall where the market "
            f"rests, against {rival} for {other}s"
        )
        raise DataError(clock.file, rule, do=f"Give --stamp {other}, or leave the option out")


def _refuse_unclean(clock: Clock, zone: str, origin: str, scores: dict[Kind, Score]) -> None:
    """Raise DataError where neither starts nor closes keep to the hours of the market: the clock is wrong, or jumps."""
    both = ", ".join(f"{found} as {kind}s" for kind, found in scores.items())
    rule = f"stamps must keep to the hours of the market in {zone}, as {origin} says; where it rests fall {both}"
    do = "Correct the clock of the export; where this market has other hours, give --stamp start or --stamp close"
    raise DataError(clock.file, rule, do=do)


def score(clock: Clock, zone: str, kind: Kind) -> Score:
    """Return how well the stamps of ``clock`` keep to its market when read as ``kind`` in ``zone``."""
    minutes, unit = clock.bar_minutes, "bars"
    start = clock.local_ns - (minutes * NS_PER_MINUTE if kind == "close" else 0)
    if minutes < _SLOT_MINUTES:
        minutes, unit = _SLOT_MINUTES, "five-minute slots"
        start = np.unique(start // (minutes * NS_PER_MINUTE)) * (minutes * NS_PER_MINUTE)
    utc = _localise(start, zone)
    known = utc.dropna().as_unit("ns").asi8
    if len(known) == 0:
        return Score(unit, len(utc), len(utc), 0)
    # Whole blocks of days, so that all zones ask for the same schedule.
    first, last = (int(ns // NS_PER_DAY + shift) // 64 for ns, shift in ((known[0], -7), (known[-1], 71)))
    first, last = 64 * first, 64 * last
    rests = outside(schedule(clock.market, first, last, holidays=False), known, minutes)
    closed = outside(schedule(clock.market, first, last), known, minutes)
    if clock.now_ns is not None:
        rests |= known > clock.now_ns
    resting = int(rests.sum()) + len(utc) - len(known)
    return Score(unit, len(utc), resting, int((closed & ~rests).sum()))


def pulse(clock: Clock) -> tuple[int, int] | None:
    """Return in how many quarters of an hour the minute stamped :00, and :01, was the busier; None where unknowable."""
    if clock.bar_minutes != 1 or clock.activity is None:
        return None
    at_quarter = np.flatnonzero(clock.local_ns[:-1] % _QUARTER_NS == 0)
    at_quarter = at_quarter[clock.local_ns[at_quarter + 1] - clock.local_ns[at_quarter] == NS_PER_MINUTE]
    lead = clock.activity[at_quarter] - clock.activity[at_quarter + 1]
    return int((lead > 0).sum()), int((lead < 0).sum())


def localise(local_ns: NDArray[np.int64], zone: str, rows: NDArray[np.int64], file: str) -> NDArray[np.int64]:
    """Return UTC nanoseconds. Raises DataError for a stamp that the zone lacks or has twice, naming the row."""
    utc = _localise(local_ns, zone)
    if utc.isna().any():
        index = int(np.argmax(utc.isna()))
        raise DataError(
            f"{file} row {rows[index]}",
            f"the stamp must exist exactly once in {zone}",
            str(np.datetime64(int(local_ns[index]), "s")),
            "Export the file in UTC",
        )
    return np.asarray(utc.as_unit("ns").asi8)


def _without_halt(
    clock: Clock, stated_zone: str | None, stated_by: str, stamp: StampKind, hint: tuple[str, str] | None
) -> ZoneEvidence:
    if stated_zone is None and hint is None:
        rule = "a market that never rests leaves no trace of the zone of its stamps"
        do = "Give timezone (--timezone UTC), or name the column timestamp_utc or the file ..._UTC"
        raise DataError(clock.file, rule, do=do)
    zone, origin = (stated_zone, stated_by) if stated_zone is not None else hint or ("UTC", "")
    kinds: tuple[Kind, ...] = ("start", "close") if stamp == "auto" else (stamp,)
    kind, why = _kind(clock, zone, {kind: Score("bars", len(clock.local_ns), 0, 0) for kind in kinds}, stamp)
    text = f"stamps are bar {kind}s in {zone}, as {origin} says; the market never rests, so no bar can contradict it"
    return ZoneEvidence(zone, kind, text + why)


def _evident(clock: Clock, kinds: tuple[Kind, ...]) -> ZoneEvidence:
    """Return the one reading that the calendar leaves, with the runner-up."""
    scores = _rivals(clock, kinds)
    ranked = sorted(scores, key=lambda key: scores[key].total)  # stable: ties keep the order of the candidates
    zone, kind = ranked[0]
    best, best_starts = scores[zone, kind], _starts(clock, zone, kind)
    others = [key for key in ranked[1:] if not np.array_equal(_starts(clock, *key), best_starts)]
    close_by = [key for key in others if scores[key].total - best.total < _MARGIN_MIN]
    why = ""
    if best.is_clean and close_by and all(other_zone == zone for other_zone, _ in close_by):
        kind, why = _kind(clock, zone, {k: scores[zone, k] for k in kinds}, "auto")
    elif close_by or not best.is_clean:
        _refuse_stated_kind(clock, kinds, best)
        raise DataError(
            clock.file,
            "the time zone must be evident from the daily halt and the weekend",
            {f"{name} {how}": scores[name, how].total for name, how in ranked[:4]},
            'Give timezone="America/Chicago" (--timezone America/Chicago) or whichever it is',
        )
    text = f"stamps are bar {kind}s in {zone}: {scores[zone, kind]} fall where the market rests"
    if others:
        text += f", against {scores[others[0]]} for {others[0][1]}s in {others[0][0]}"
    return ZoneEvidence(zone, kind, text + why)


def _refuse_stated_kind(clock: Clock, kinds: tuple[Kind, ...], best: Score) -> None:
    """Raise DataError where no zone fits the one kind that was stated, and one fits the other."""
    if len(kinds) > 1 or best.is_clean:
        return
    other: Kind = "close" if kinds[0] == "start" else "start"
    rivals = {zone: score(clock, zone, other) for zone in CANDIDATE_ZONES}
    zone = min(rivals, key=lambda name: rivals[name].total)
    if rivals[zone].is_clean:
        rule = (
            f"stamps cannot be bar {kinds[0]}s, as the option --stamp says: in the best zone {best} would fall where "
            f"the market rests, against {rivals[zone]} for {other}s in {zone}"
        )
        raise DataError(clock.file, rule, do=f"Give --stamp {other}, or leave the option out")


def _rivals(clock: Clock, kinds: tuple[Kind, ...]) -> dict[tuple[str, Kind], Score]:
    return {(zone, kind): score(clock, zone, kind) for kind in kinds for zone in CANDIDATE_ZONES}


def _kind(clock: Clock, zone: str, scores: dict[Kind, Score], stamp: StampKind) -> tuple[Kind, str]:
    """Return whether stamps mark starts or closes in a known zone, and why."""
    if stamp != "auto":
        return stamp, f"; {stamp}s as told"
    start, close = scores["start"].total, scores["close"].total
    if abs(start - close) >= _MARGIN_MIN:
        kind: Kind = "start" if start < close else "close"
        other: Kind = "close" if kind == "start" else "start"
        return kind, f", against {scores[other]} for {other}s"
    beats = pulse(clock)
    if beats is not None and sum(beats) >= _PULSE_PAIRS_MIN:
        z_score = (beats[0] - beats[1]) / np.sqrt(sum(beats))
        if abs(z_score) >= _PULSE_Z_MIN:
            text = f"; the minute stamped :00 is busier than :01 in {beats[0]} quarter-hours, less busy in {beats[1]}"
            return ("start" if z_score > 0 else "close"), text
    rule = (
        f"whether stamps mark starts or closes must be evident; {start} and {close} bars speak against them in {zone}"
    )
    raise DataError(clock.file, rule, do='Give stamp="start" or "close" (--stamp start)')


def _starts(clock: Clock, zone: str, kind: Kind) -> NDArray[np.int64]:
    shift = clock.bar_minutes * NS_PER_MINUTE if kind == "close" else 0
    sample = clock.local_ns if len(clock.local_ns) < 20_000 else clock.local_ns[:: len(clock.local_ns) // 10_000]
    return np.asarray(_localise(sample - shift, zone).as_unit("ns").asi8)


def _localise(local_ns: NDArray[np.int64], zone: str) -> pd.DatetimeIndex:
    try:
        index = pd.DatetimeIndex(local_ns.astype("datetime64[ns]"))
        return index.tz_localize(zone, ambiguous="NaT", nonexistent="NaT").tz_convert("UTC")
    except (KeyError, ValueError) as error:
        raise DataError(f"time zone {zone}", "the name must be an IANA zone", zone, "Try America/Chicago") from error
