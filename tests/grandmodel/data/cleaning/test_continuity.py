"""Holes within sessions are told; a clock that jumps by an hour is refused where the market's rest shows it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from grandmodel.core.bars import NS_PER_MINUTE
from grandmodel.core.errors import DataError
from grandmodel.core.instrument import Instrument
from grandmodel.data.calendar.sessions import session_days
from grandmodel.data.cleaning.continuity import describe_holes, hours_of, missing_bars, moved_clock, refuse_moved_clock

NQ = Instrument(symbol="NQ", multiplier=20, tick_size=0.25, timezone="America/Chicago", session_bars_5m=276)
HOUR_NS = 60 * NS_PER_MINUTE


def _starts(globex, minutes: int = 5) -> np.ndarray:
    frame = globex(sessions=4, minutes=minutes, first="2022-03-07")
    return frame["ts"].dt.tz_convert(None).to_numpy("datetime64[ns]").astype(np.int64)


def _missing(start_ns: np.ndarray) -> np.ndarray:
    session = session_days(start_ns, "America/Chicago")
    return missing_bars(start_ns, session, 5, hours_of(NQ, start_ns))


def test_a_whole_file_has_no_holes(globex):
    assert _missing(_starts(globex)).sum() == 0


def test_holes_are_counted_and_the_longest_is_named(globex):
    start_ns = np.delete(_starts(globex), [50, 100, 101, 102])
    missing = _missing(start_ns)
    assert {int(row): int(missing[row]) for row in np.flatnonzero(missing)} == {50: 1, 99: 3}
    (finding,) = describe_holes("NQ", "NQ.csv", np.arange(2, len(start_ns) + 2), start_ns, missing)
    moment = str(pd.Timestamp(int(start_ns[99])))[:16].replace(" ", "T")
    assert finding.text == (
        f"4 bars are missing within sessions, in 2 holes, the longest of 3 before {moment} UTC: nothing is filled"
    )
    assert finding.rows == (52, 101)


def test_the_pause_between_sessions_is_no_hole_and_daily_bars_have_none(globex):
    start_ns = np.delete(_starts(globex), np.arange(270, 290))  # the end of one session and the start of the next
    assert _missing(start_ns).sum() == 0
    days = np.arange(3) * 10 * 24 * HOUR_NS
    assert missing_bars(days, np.zeros(3, np.int32), 1440, None).sum() == 0


def test_without_a_known_market_the_session_alone_decides():
    start_ns = np.array([0, 5, 20], np.int64) * NS_PER_MINUTE
    assert missing_bars(start_ns, np.array([1, 1, 1], np.int32), 5, None).tolist() == [0, 0, 2]
    assert missing_bars(start_ns, np.array([1, 1, 2], np.int32), 5, None).tolist() == [0, 0, 0]


@pytest.mark.parametrize("minutes", [5, 30])
@pytest.mark.parametrize(("part", "hours"), [("session", 1), ("session", -1), ("tail of a session", 1), ("rest", -1)])
def test_a_clock_that_jumps_is_refused_at_its_first_row(globex, minutes: int, part: str, hours: int):
    start_ns = _starts(globex, minutes)
    per_session = 23 * 60 // minutes
    first = per_session + (per_session // 2 if part == "tail of a session" else 0)
    stop = len(start_ns) if part == "rest" else 2 * per_session
    start_ns[first:stop] += hours * HOUR_NS
    assert moved_clock(start_ns, minutes, hours_of(NQ, start_ns)) == (first, -60 * hours)
    with pytest.raises(DataError, match=rf"NQ\.csv row {first + 2}: the clock must not jump"):
        refuse_moved_clock("NQ.csv", np.arange(2, len(start_ns) + 2), start_ns, minutes, hours_of(NQ, start_ns))


def test_a_clock_that_keeps_to_the_hours_passes(globex):
    start_ns = _starts(globex)
    assert moved_clock(start_ns, 5, hours_of(NQ, start_ns)) is None


def test_bars_printed_after_an_early_close_are_no_jump():
    open_ns = pd.Timestamp("2021-11-25 17:00", tz="America/Chicago").tz_convert("UTC").tz_localize(None).value
    start_ns = open_ns + np.arange(20 * 12) * 5 * NS_PER_MINUTE  # to 13:00; the exchange closed at 12:15
    hours = hours_of(NQ, start_ns)
    assert moved_clock(start_ns, 5, hours) is None


def test_a_market_that_never_closes_has_no_hours():
    coin = NQ.model_copy(update={"symbol": "BTC", "calendar": "24/7"})
    assert hours_of(coin, np.array([0], np.int64)) is None
    refuse_moved_clock("BTC.csv", np.array([2]), np.array([0]), 5, None)
