"""Trading days."""

from __future__ import annotations

import numpy as np
import pytest

from grandmodel.core.instrument import Instrument
from grandmodel.data.calendar.schedules import Market
from grandmodel.data.calendar.sessions import (
    days_of_dates,
    describe_days,
    local_days,
    market_sessions,
    session_bars_5m,
    session_days,
)


def _day(moment: str, zone: str) -> str:
    return str(np.datetime64(int(session_days(np.array([np.datetime64(moment, "ns").astype(np.int64)]), zone)[0]), "D"))


@pytest.mark.parametrize(
    ("utc", "day"),
    [
        ("2021-03-07T23:00", "2021-03-08"),  # Sunday 17:00 in Chicago opens Monday
        ("2021-03-08T21:55", "2021-03-08"),  # Monday 15:55
        ("2021-03-08T23:00", "2021-03-09"),  # Monday 17:00 opens Tuesday
        ("2021-03-15T22:00", "2021-03-16"),  # the same in summer time
    ],
)
def test_a_globex_evening_belongs_to_the_next_day(utc: str, day: str):
    assert _day(utc, "America/Chicago") == day


def test_a_friday_night_in_shanghai_belongs_to_monday():
    assert _day("2021-03-05T13:00", "Asia/Shanghai") == "2021-03-08"


def test_integer_dates_are_days():
    assert days_of_dates(np.array([19700102, 20200229])).tolist() == [1, 18321]


def test_session_spans_are_counted_across_midnight():
    spans = (
        "[{'from': 2100, 'to': 230}, {'from': 900, 'to': 1015}, {'from': 1030, 'to': 1130}, {'from': 1330, 'to': 1500}]"
    )
    assert session_bars_5m(spans) == 111


def _starts(*texts: str) -> np.ndarray:
    return np.array([np.datetime64(text, "ns").astype(np.int64) for text in texts])


def _dates(days: np.ndarray) -> list[str]:
    return days.astype("datetime64[D]").astype(str).tolist()


def test_a_currency_day_begins_at_five_in_new_york():
    starts = _starts("2017-01-08T22:00", "2017-01-09T21:59", "2017-01-09T22:00", "2017-07-09T21:00")
    found = market_sessions(starts, Market("fx"), "America/New_York")
    assert _dates(found) == ["2017-01-09", "2017-01-09", "2017-01-10", "2017-07-10"]


def test_round_the_clock_a_saturday_is_a_session_of_its_own():
    found = market_sessions(_starts("2022-01-08T00:00", "2022-01-08T23:59"), Market("24/7"), "UTC")
    assert _dates(found) == ["2022-01-08", "2022-01-08"]


def test_a_chinese_night_is_the_next_trading_day_s():
    starts = _starts("2019-06-14T06:55", "2019-06-14T13:00", "2019-06-17T01:00")
    found = market_sessions(starts, Market("chinese", "SHFE.cu"), "Asia/Shanghai")
    assert _dates(found) == ["2019-06-14", "2019-06-17", "2019-06-17"]


def test_a_stock_session_is_its_local_date():
    found = market_sessions(_starts("2020-11-25T14:30", "2020-11-25T20:59"), Market("XNYS"), "America/New_York")
    assert _dates(found) == ["2020-11-25", "2020-11-25"]


def test_without_a_market_the_zone_decides():
    starts = _starts("2024-01-07T23:00", "2024-01-08T21:30")
    assert _dates(market_sessions(starts, None, "America/Chicago")) == ["2024-01-08", "2024-01-08"]
    assert len(market_sessions(starts[:0], None, "UTC")) == 0


def test_local_days_are_the_dates_on_the_wall():
    assert _dates(local_days(_starts("2020-01-02T04:59", "2020-01-02T05:00"), "America/New_York")) == [
        "2020-01-01",
        "2020-01-02",
    ]


def test_a_trading_day_that_the_calendar_contradicts_is_told_with_its_rows():
    instrument = Instrument(symbol="SHFE.cu", multiplier=5, tick_size=10, session_bars_5m=93)
    starts = _starts("2019-06-14T01:00", "2019-06-14T13:00", "2019-06-18T01:00")
    session = np.array([18061, 18065, 18065], np.int32)
    found = describe_days(instrument, 5, starts, session, np.array([7, 8, 9]), "SHFE.cu.parquet")
    assert [finding.text for finding in found] == [
        "1 bar carries another trading day than the calendar gives: 2019-06-18"
    ]
    assert found[0].rows == (8,)
    assert describe_days(instrument, 5, starts[:1], session[:1], np.array([7]), "SHFE.cu.parquet") == []
