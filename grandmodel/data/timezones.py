"""The zone of naive stamps, found by evidence: in the right one no bar falls into the daily halt or the weekend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from grandmodel.core.bars import NS_PER_MINUTE
from grandmodel.core.errors import DataError
from grandmodel.data.sessions import session_days

StampKind = Literal["auto", "start", "close"]
HALT_ZONE = "America/Chicago"
HALT_HOUR = 16  # Globex rests from 16:00 to 17:00 Chicago time, and from Friday 16:00 to Sunday 17:00
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
    "Asia/Singapore",
    "Asia/Tokyo",
    "Australia/Sydney",
    "Etc/GMT+5",
    "Etc/GMT+6",
    "Etc/GMT-2",
    "Etc/GMT-3",
)
_SLOT_NS = 30 * NS_PER_MINUTE
_WRONG_FRAC_MAX = 0.002
_MARGIN_SLOTS_MIN = 2


@dataclass(frozen=True, slots=True)
class ZoneEvidence:
    """What was decided about the clock of a file, and the sentence that says why."""

    zone: str
    stamp: Literal["start", "close"]
    text: str


def infer_zone(local_ns: NDArray[np.int64], bar_minutes: int, file: str, stamp: StampKind = "auto") -> ZoneEvidence:
    """Find the zone of naive stamps by counting the half-hours that fall where a Globex market rests.

    Args:
        local_ns: int64[n], naive local nanoseconds.
        bar_minutes: length of a bar.
        file: for messages.
        stamp: whether stamps mark starts or closes; ``auto`` tries both.

    Raises:
        DataError: no zone is clean, or two that differ are equally clean.
    """
    kinds: tuple[Literal["start", "close"], ...] = ("start", "close") if stamp == "auto" else (stamp,)
    slots = {kind: _slots(local_ns, bar_minutes, kind) for kind in kinds}
    scores = {(zone, kind): _wrong_slots(slots[kind], zone) for kind in kinds for zone in CANDIDATE_ZONES}
    ranked = sorted(scores, key=lambda key: scores[key])  # stable: ties keep the order of the candidates
    best = ranked[0]
    best_utc = _utc_starts(slots[best[1]], best)
    rival = next((key for key in ranked[1:] if not np.array_equal(_utc_starts(slots[key[1]], key), best_utc)), None)
    text = f"stamps are bar {best[1]}s in {best[0]}: {scores[best]} of {len(best_utc)} half-hours fall into the halt"
    if rival is not None:
        text += f" or weekend, against {scores[rival]} for {rival[1]}s in {rival[0]}"
    unclean = scores[best] > max(1, _WRONG_FRAC_MAX * len(best_utc))
    if unclean or (rival is not None and scores[rival] - scores[best] < _MARGIN_SLOTS_MIN):
        raise DataError(
            file,
            "the time zone must be evident from the daily halt and the weekend",
            {f"{zone} {kind}": scores[zone, kind] for zone, kind in ranked[:4]},
            'Give timezone="America/Chicago" (--timezone America/Chicago) or whichever it is',
        )
    return ZoneEvidence(best[0], best[1], text)


def infer_stamp_kind(local_ns: NDArray[np.int64], bar_minutes: int, zone: str) -> ZoneEvidence:
    """Decide between starts and closes for a known zone; starts unless closes leave the halt cleaner."""
    wrong = {kind: _wrong_slots(_slots(local_ns, bar_minutes, kind), zone) for kind in ("start", "close")}
    is_close = wrong["start"] - wrong["close"] >= _MARGIN_SLOTS_MIN
    kind: Literal["start", "close"] = "close" if is_close else "start"
    text = f"stamps are bar {kind}s in {zone}: read as starts {wrong['start']} half-hours fall into the halt or weekend"
    return ZoneEvidence(zone, kind, f"{text}, read as closes {wrong['close']}")


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


def _localise(local_ns: NDArray[np.int64], zone: str) -> pd.DatetimeIndex:
    try:
        index = pd.DatetimeIndex(local_ns.astype("datetime64[ns]"))
        return index.tz_localize(zone, ambiguous="NaT", nonexistent="NaT").tz_convert("UTC")
    except (KeyError, ValueError) as error:
        raise DataError(f"time zone {zone}", "the name must be an IANA zone", zone, "Try America/Chicago") from error


def _slots(local_ns: NDArray[np.int64], bar_minutes: int, kind: str) -> NDArray[np.int64]:
    start = local_ns - (bar_minutes * NS_PER_MINUTE if kind == "close" else 0)
    return np.unique(start // _SLOT_NS) * _SLOT_NS


def _wrong_slots(slots: NDArray[np.int64], zone: str) -> int:
    utc = _localise(slots, zone)
    known = utc.dropna()
    hour = known.tz_convert(HALT_ZONE).hour.to_numpy()
    weekend = session_days(known.as_unit("ns").asi8, HALT_ZONE, join_weekend=False)
    wrong = (hour == HALT_HOUR) | ((weekend + 3) % 7 >= 5)  # day 0 was a Thursday
    return int(wrong.sum()) + len(utc) - len(known)


def _utc_starts(slots: NDArray[np.int64], key: tuple[str, str]) -> NDArray[np.int64]:
    return np.asarray(_localise(slots, key[0]).as_unit("ns").asi8)
