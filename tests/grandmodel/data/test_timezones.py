"""Zones: the halt and the weekend tell; where they do not, the reader asks."""

from __future__ import annotations

import numpy as np
import pytest

from grandmodel.core.errors import DataError
from grandmodel.data.timezones import infer_stamp_kind, infer_zone, localise


def _local_ns(frame, zone: str, minutes: int = 0) -> np.ndarray:
    return (
        frame["ts"].dt.tz_convert(zone).dt.tz_localize(None).to_numpy().astype("datetime64[ns]").astype(np.int64)
        + minutes * 60 * 10**9
    )


@pytest.mark.parametrize("zone", ["UTC", "America/Chicago", "America/New_York", "Asia/Jerusalem", "Asia/Tokyo"])
def test_the_zone_is_found_over_a_year_with_its_clock_changes(globex, zone: str):
    frame = globex(sessions=260)
    evidence = infer_zone(_local_ns(frame, zone), 30, "a.csv")
    assert (evidence.zone, evidence.stamp) == (zone, "start")
    assert "0 of" in evidence.text


@pytest.mark.parametrize("minutes", [5, 30])
def test_closes_are_told_from_starts(globex, minutes: int):
    evidence = infer_zone(_local_ns(globex(sessions=40, minutes=minutes), "America/Chicago", minutes), minutes, "a.csv")
    assert (evidence.zone, evidence.stamp) == ("America/Chicago", "close")


def test_closes_are_told_from_starts_when_the_zone_is_known(globex):
    frame = globex(sessions=10)
    assert infer_stamp_kind(_local_ns(frame, "UTC", 30), 30, "UTC").stamp == "close"
    assert infer_stamp_kind(_local_ns(frame, "UTC"), 30, "UTC").stamp == "start"


def test_day_session_bars_alone_leave_the_zone_undecided(globex):
    frame = globex(sessions=60)
    hour = frame["ts"].dt.tz_convert("America/Chicago").dt.hour
    with pytest.raises(DataError, match=r"time zone must be evident.*timezone="):
        infer_zone(_local_ns(frame[(hour >= 9) & (hour < 12)], "America/Chicago"), 30, "a.csv")


def test_round_the_clock_bars_have_no_halt_to_find():
    local_ns = np.datetime64("2021-03-01", "ns").astype(np.int64) + np.arange(48 * 60) * 30 * 60 * 10**9
    with pytest.raises(DataError, match="time zone must be evident"):
        infer_zone(local_ns, 30, "a.csv")


def test_an_hour_that_the_zone_has_twice_is_refused():
    local_ns = np.array([np.datetime64("2021-11-07T01:30", "ns").astype(np.int64)])
    with pytest.raises(DataError, match=r"a\.csv row 9: the stamp must exist exactly once in America/Chicago"):
        localise(local_ns, "America/Chicago", np.array([9]), "a.csv")


def test_an_unknown_zone_is_refused():
    with pytest.raises(DataError, match="IANA"):
        localise(np.array([0]), "Mars/Olympus", np.array([2]), "a.csv")
