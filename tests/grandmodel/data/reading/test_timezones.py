"""Zones and kinds of stamps: the market's rest tells; where it does not, names and the pulse; else the reader asks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from grandmodel.core.errors import DataError
from grandmodel.data.calendar.schedules import Market, schedule
from grandmodel.data.reading.timezones import Clock, find_clock, localise, pulse, score, zone_hint

MINUTE_NS = 60 * 10**9
CRYPTO = Market("24/7")


def _local_ns(utc: pd.Series | np.ndarray, zone: str, minutes: int = 0) -> np.ndarray:
    index = pd.DatetimeIndex(utc)
    index = index if index.tz is not None else index.tz_localize("UTC")
    return np.asarray(index.tz_convert(zone).tz_localize(None).as_unit("ns").asi8) + minutes * MINUTE_NS


def _clock(frame: pd.DataFrame, zone: str, minutes: int = 30, shift: int = 0) -> Clock:
    return Clock(_local_ns(frame["ts"], zone, shift), minutes, "a.csv")


def _traded(market: Market, first: str, last: str, minutes: int) -> np.ndarray:
    """Return UTC starts of bars that fill the hours of ``market``."""
    days = [int(np.datetime64(text, "D").astype(int)) for text in (first, last)]
    hours = schedule(market, *days)
    spans = [
        np.arange(opens, closes, minutes * MINUTE_NS)
        for opens, closes in zip(hours.open_ns, hours.close_ns, strict=True)
    ]
    return np.concatenate(spans).astype("datetime64[ns]")


@pytest.mark.parametrize("zone", ["UTC", "America/Chicago", "America/New_York", "Asia/Jerusalem", "Asia/Tokyo"])
def test_the_zone_is_found_over_a_year_with_its_clock_changes(globex, zone: str):
    evidence = find_clock(_clock(globex(sessions=260), zone))
    assert (evidence.zone, evidence.stamp) == (zone, "start")
    assert "0 of 11960 bars" in evidence.text
    assert ", against " in evidence.text  # the runner-up with its score


@pytest.mark.parametrize("minutes", [5, 30])
def test_closes_are_told_from_starts(globex, minutes: int):
    frame = globex(sessions=40, minutes=minutes)
    evidence = find_clock(_clock(frame, "America/Chicago", minutes, shift=minutes))
    assert (evidence.zone, evidence.stamp) == ("America/Chicago", "close")


@pytest.mark.parametrize(("shift", "kind"), [(0, "start"), (30, "close")])
def test_closes_are_told_from_starts_when_the_zone_is_stated(globex, shift: int, kind: str):
    clock = _clock(globex(sessions=10), "UTC", shift=shift)
    evidence = find_clock(clock, stated_zone="UTC", stated_by="the option timezone")
    assert evidence.stamp == kind
    assert "as the option timezone says" in evidence.text


def test_a_stated_kind_is_taken(globex):
    clock = _clock(globex(sessions=10), "UTC")
    assert find_clock(clock, stated_zone="UTC", stated_by="x", stamp="start").text.endswith("starts as told")


def test_currencies_have_a_weekend_and_no_halt():
    market = Market("fx")
    starts = _traded(market, "2017-01-02", "2017-06-30", 30)
    evidence = find_clock(Clock(_local_ns(starts, "America/New_York"), 30, "a.csv", market))
    assert (evidence.zone, evidence.stamp) == ("America/New_York", "start")


def test_the_hours_of_shanghai_tell_its_zone_and_closes():
    market = Market("chinese", "CFFEX.IF")
    starts = _traded(market, "2021-01-04", "2021-01-15", 5)
    evidence = find_clock(Clock(_local_ns(starts, "Asia/Shanghai", 5), 5, "a.csv", market))
    assert (evidence.zone, evidence.stamp) == ("Asia/Shanghai", "close")


def test_day_session_bars_alone_leave_the_zone_undecided(globex):
    frame = globex(sessions=60)
    hour = frame["ts"].dt.tz_convert("America/Chicago").dt.hour
    with pytest.raises(DataError, match=r"time zone must be evident.*timezone="):
        find_clock(_clock(frame[(hour >= 9) & (hour < 12)], "America/Chicago"))


def test_bars_round_the_clock_fit_no_market_with_a_halt():
    local_ns = np.datetime64("2021-03-01", "ns").astype(np.int64) + np.arange(48 * 60) * 30 * MINUTE_NS
    with pytest.raises(DataError, match="time zone must be evident"):
        find_clock(Clock(local_ns, 30, "a.csv"))


def test_a_stated_zone_that_the_halt_contradicts_is_refused_with_both_scores(globex):
    clock = _clock(globex(sessions=100), "America/Chicago")
    match = (
        r"stamps cannot be in Asia/Tokyo, as the option timezone says: \d+ of 4600 bars.* would fall where the market "
        r"rests, against 0 of 4600 bars.* for starts in America/Chicago\. State America/Chicago; to insist"
    )
    with pytest.raises(DataError, match=match):
        find_clock(clock, stated_zone="Asia/Tokyo", stated_by="the option timezone")


def test_a_stated_zone_that_no_other_beats_is_taken(globex):
    """A market without the assumed halt fits no zone, so none can contradict what was stated."""
    local_ns = np.datetime64("2021-03-01", "ns").astype(np.int64) + np.arange(48 * 60) * 30 * MINUTE_NS
    evidence = find_clock(Clock(local_ns, 30, "a.csv"), stated_zone="Asia/Tokyo", stated_by="you", stamp="start")
    assert evidence.zone == "Asia/Tokyo"


def test_a_name_that_the_data_contradict_is_overruled_with_a_warning(globex):
    clock = _clock(globex(sessions=100), "America/Chicago")
    evidence = find_clock(clock, hint=("UTC", "the file name 'NQ_UTC'"))
    assert evidence.zone == "America/Chicago"
    assert evidence.warning.startswith("the file name 'NQ_UTC' says UTC; read so, ")
    assert evidence.warning.endswith("for starts in America/Chicago: the data are followed")


def test_a_name_that_the_data_bear_out_is_followed(globex):
    evidence = find_clock(_clock(globex(sessions=10), "UTC"), hint=("UTC", "the header 'ts_utc'"))
    assert (evidence.zone, evidence.warning) == ("UTC", "")
    assert "as the header 'ts_utc' says: 0 of 460 bars" in evidence.text


def _busy(shift: int, quarters: int = 400) -> Clock:
    """Return minutes round the clock that are busiest when a quarter of an hour begins."""
    local_ns = np.datetime64("2022-01-01", "ns").astype(np.int64) + np.arange(15 * quarters) * MINUTE_NS
    generator = np.random.default_rng(5)
    activity = generator.gamma(2.0, size=len(local_ns)) * np.where(np.arange(len(local_ns)) % 15 == 0, 1.5, 1.0)
    return Clock(local_ns + shift * MINUTE_NS, 1, "BTC.csv", CRYPTO, activity)


@pytest.mark.parametrize(("shift", "kind"), [(0, "start"), (1, "close")])
def test_the_pulse_of_the_quarter_hour_tells_closes_where_nothing_rests(shift: int, kind: str):
    evidence = find_clock(_busy(shift), hint=("UTC", "the file name 'BTC_UTC'"))
    assert (evidence.zone, evidence.stamp) == ("UTC", kind)
    assert "the market never rests, so no bar can contradict it" in evidence.text
    assert "the minute stamped :00 is busier" in evidence.text


def test_without_a_pulse_starts_and_closes_are_asked_for():
    flat = replace(_busy(0), activity=np.ones(6000))
    with pytest.raises(DataError, match=r"starts or closes must be evident.*--stamp"):
        find_clock(flat, stated_zone="UTC", stated_by="you")
    assert find_clock(flat, stated_zone="UTC", stated_by="you", stamp="close").stamp == "close"


def test_the_pulse_needs_minutes_and_pairs_without_holes():
    assert pulse(replace(_busy(0), bar_minutes=5)) is None
    whole, holed = pulse(_busy(0)), pulse(replace(_busy(0), local_ns=_busy(0).local_ns * 2))
    assert whole is not None
    assert sum(whole) == 400
    assert holed == (0, 0)


def test_round_the_clock_a_zone_must_be_said_somewhere():
    with pytest.raises(DataError, match=r"never rests leaves no trace of the zone.*timestamp_utc"):
        find_clock(_busy(0))


def test_stamps_in_the_future_speak_against_a_zone(globex):
    clock = _clock(globex(sessions=8), "UTC")  # ends on a Wednesday
    now_ns = int(clock.local_ns[-1])
    assert score(replace(clock, now_ns=now_ns), "UTC", "start").resting == 0
    assert (
        score(replace(clock, now_ns=now_ns), "America/New_York", "start").resting
        > score(clock, "America/New_York", "start").resting
    )


def test_holidays_are_counted_apart():
    """Whole sessions on a short day contradict no zone: vendors print them, and simulators know no holidays."""
    days = pd.to_datetime(["2024-01-12 06:00", "2024-01-15 06:00"])
    starts = np.concatenate([(day + pd.to_timedelta(np.arange(0, 16 * 60, 30), "min")).to_numpy() for day in days])
    found = score(Clock(_local_ns(starts, "UTC"), 30, "a.csv", Market("globex", "NQ")), "UTC", "start")
    assert (found.count, found.resting, found.holiday) == (64, 0, 8)  # until noon in Chicago
    assert str(found) == "0 of 64 bars (and 8 on holidays)"


@pytest.mark.parametrize(
    ("header", "stem", "zone"),
    [
        ("timestamp_utc", "x", "UTC"),
        ("ts_utc", "x", "UTC"),
        ("Time (UTC)", "x", "UTC"),
        ("Gmt time", "x", "UTC"),
        ("ts", "BTC-PERP_2022-01_UTC", "UTC"),
        ("ts", "EURUSD_2017H1_bid_EST", "UTC-05:00"),
        ("ts", "GBPUSD_GMT", "UTC"),
        ("timestamp", "NQ_30min_2020", None),
        ("utc", "best", "UTC"),
        ("ts", "west", None),
    ],
)
def test_names_with_a_zone_in_them_are_hints(header: str, stem: str, zone: str | None):
    hint = zone_hint(header, stem)
    assert (hint[0] if hint else None) == zone


def test_an_hour_that_the_zone_has_twice_is_refused():
    local_ns = np.array([np.datetime64("2021-11-07T01:30", "ns").astype(np.int64)])
    with pytest.raises(DataError, match=r"a\.csv row 9: the stamp must exist exactly once in America/Chicago"):
        localise(local_ns, "America/Chicago", np.array([9]), "a.csv")


def test_an_unknown_zone_is_refused():
    with pytest.raises(DataError, match="IANA"):
        localise(np.array([0]), "Mars/Olympus", np.array([2]), "a.csv")
