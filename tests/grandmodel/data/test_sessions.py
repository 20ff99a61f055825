"""Trading days."""

from __future__ import annotations

import numpy as np
import pytest

from grandmodel.data.sessions import days_of_dates, session_bars_5m, session_days


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
