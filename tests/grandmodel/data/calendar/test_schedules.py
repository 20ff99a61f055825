"""Calendars: hours of each market on plain, short and missing days, and what bars say against them."""

from __future__ import annotations

import numpy as np
import pytest

from grandmodel.core.errors import DataError
from grandmodel.core.instrument import Instrument
from grandmodel.data.calendar.schedules import (
    GLOBEX,
    Market,
    Schedule,
    expected_bars,
    expected_session_bars,
    judge,
    market_of,
    never_closes,
    outside,
    schedule,
    sessions_of,
    zone_of,
)

MINUTE_NS = 60 * 10**9


def _day(text: str) -> int:
    return int(np.datetime64(text, "D").astype(int))


def _ns(text: str) -> int:
    return int(np.datetime64(text, "ns").astype(np.int64))


def _hours(market: Market, first: str, last: str) -> Schedule:
    return schedule(market, _day(first), _day(last))


def _instrument(symbol: str, bars: int, **terms: str) -> Instrument:
    return Instrument(symbol=symbol, multiplier=1.0, tick_size=1.0, session_bars_5m=bars, **terms)  # type: ignore[arg-type]


def _spans(hours: Schedule, day: str) -> list[tuple[str, str]]:
    chosen = hours.span_day == _day(day)
    pairs = zip(hours.open_ns[chosen], hours.close_ns[chosen], strict=True)
    return [tuple(str(np.datetime64(int(ns), "ns"))[:16] for ns in pair) for pair in pairs]  # type: ignore[misc]


def _days(hours: Schedule) -> list[str]:
    return [str(day) for day in hours.day.astype("datetime64[D]")]


def test_globex_opens_the_evening_before_and_rests_an_hour():
    hours = _hours(Market("globex", "6E"), "2024-01-05", "2024-01-08")
    assert _days(hours) == ["2024-01-05", "2024-01-08"]
    assert _spans(hours, "2024-01-08") == [("2024-01-07T23:00", "2024-01-08T22:00")]
    assert expected_bars(hours, 30).tolist() == [46, 46]
    assert expected_bars(hours, 1).tolist() == [1380, 1380]


def test_an_index_future_closes_early_and_a_product_with_unknown_short_hours_is_not_judged_then():
    index = _hours(Market("globex", "NQ"), "2024-01-12", "2024-01-16")
    currency = _hours(Market("globex", "6E"), "2024-01-12", "2024-01-16")
    assert expected_bars(index, 30).tolist() == [46, 38, 46]  # Martin Luther King's day until noon
    assert expected_bars(currency, 30).tolist() == [46, 46, 46]
    assert index.certain.tolist() == [True] * 3
    assert currency.certain.tolist() == [True, False, True]


def test_the_old_halt_of_index_futures_costs_minutes_but_no_half_hour():
    hours = _hours(Market("globex", "NQ"), "2021-06-24", "2021-06-28")
    assert expected_bars(hours, 1).tolist() == [1365, 1365, 1380]
    assert expected_bars(hours, 5).tolist() == [273, 273, 276]
    assert expected_bars(hours, 30).tolist() == [46, 46, 46]


def test_payrolls_on_good_friday_make_a_short_session_that_the_library_lacks():
    hours = _hours(Market("globex", "NQ"), "2021-04-01", "2021-04-05")
    assert _days(hours) == ["2021-04-01", "2021-04-02", "2021-04-05"]
    assert _spans(hours, "2021-04-02") == [("2021-04-01T22:00", "2021-04-02T13:15")]


def test_currencies_trade_from_new_york_five_to_five_and_rest_at_christmas():
    hours = _hours(Market("fx"), "2016-12-22", "2017-01-03")
    assert "2016-12-26" in _days(hours)
    assert _spans(hours, "2017-01-03") == [("2017-01-02T22:00", "2017-01-03T22:00")]
    july = _hours(Market("fx"), "2017-07-03", "2017-07-03")
    assert _spans(july, "2017-07-03") == [("2017-07-02T21:00", "2017-07-03T21:00")]
    assert "2018-12-25" not in _days(_hours(Market("fx"), "2018-12-20", "2019-01-02"))
    assert "2019-01-01" not in _days(_hours(Market("fx"), "2018-12-20", "2019-01-02"))


def test_round_the_clock_every_day_is_whole():
    hours = _hours(Market("24/7"), "2022-01-01", "2022-01-03")
    assert expected_bars(hours, 5).tolist() == [288, 288, 288]
    assert never_closes(Market("24/7"))
    assert not never_closes(GLOBEX)


def test_the_chinese_night_belongs_to_the_next_trading_day_over_a_weekend():
    hours = _hours(Market("chinese", "SHFE.rb"), "2019-06-14", "2019-06-17")
    assert _spans(hours, "2019-06-17")[0] == ("2019-06-14T13:00", "2019-06-14T15:00")
    assert expected_bars(hours, 5, by_count=True).tolist() == [69, 69]


def test_there_is_no_chinese_night_before_a_holiday():
    hours = _hours(Market("chinese", "SHFE.cu"), "2019-09-27", "2019-10-09")
    assert _days(hours) == ["2019-09-27", "2019-09-30", "2019-10-08", "2019-10-09"]
    assert expected_bars(hours, 5, by_count=True).tolist() == [93, 93, 45, 93]


def test_chinese_nights_were_suspended_in_2020():
    hours = _hours(Market("chinese", "INE.sc"), "2020-01-22", "2020-05-08")
    bars = dict(zip(_days(hours), expected_bars(hours, 5, by_count=True), strict=True))
    assert {bars[day] for day in bars if "2020-02-03" <= day <= "2020-05-06"} == {45}
    assert (bars["2020-01-23"], bars["2020-05-07"]) == (111, 111)


@pytest.mark.parametrize(
    ("product", "before", "after", "counts"),
    [
        ("CFFEX.IF", "2015-12-31", "2016-01-04", (54, 48)),
        ("CFFEX.T", "2020-07-17", "2020-07-20", (54, 51)),
        ("SHFE.rb", "2016-04-29", "2016-05-04", (93, 69)),
        ("DCE.m", "2019-03-29", "2019-04-01", (75, 69)),
        ("DCE.pp", "2019-03-29", "2019-04-01", (45, 69)),
        ("CZCE.SR", "2019-12-12", "2019-12-13", (75, 69)),
    ],
)
def test_chinese_hours_change_on_their_dates(product: str, before: str, after: str, counts: tuple[int, int]):
    hours = _hours(Market("chinese", product), before, after)
    bars = expected_bars(hours, 5, by_count=True)
    assert (bars[0], bars[-1]) == counts


def test_thirty_minute_bars_of_china_are_counted_and_not_clocked():
    hours = _hours(Market("chinese", "SHFE.rb"), "2019-06-17", "2019-06-17")
    assert expected_bars(hours, 30, by_count=True).tolist() == [12]  # 345 minutes
    assert expected_bars(hours, 30).tolist() == [12]
    index = _hours(Market("chinese", "CFFEX.T"), "2021-06-15", "2021-06-15")
    assert expected_bars(index, 30, by_count=True).tolist() == [9]  # 255 minutes


def test_the_hours_of_a_stock_exchange_are_the_library_s():
    hours = _hours(Market("XNYS"), "2020-11-25", "2020-11-30")
    assert _days(hours) == ["2020-11-25", "2020-11-27", "2020-11-30"]
    assert expected_bars(hours, 5).tolist() == [78, 42, 78]
    lunch = _hours(Market("XHKG"), "2020-11-25", "2020-11-25")
    assert _spans(lunch, "2020-11-25") == [
        ("2020-11-25T01:30", "2020-11-25T04:00"),
        ("2020-11-25T05:00", "2020-11-25T08:00"),
    ]


def test_a_bar_is_outside_when_it_touches_no_session():
    hours = _hours(GLOBEX, "2024-01-08", "2024-01-09")
    starts = np.array([_ns(f"2024-01-08T{clock}") for clock in ("21:30", "21:45", "22:00", "22:30", "22:45", "23:00")])
    assert outside(hours, starts, 30).tolist() == [False, False, True, True, False, False]
    assert outside(hours, np.array([_ns("2024-01-09T22:00")]), 30).tolist() == [True]


def test_outside_equals_a_search_span_by_span():
    hours = _hours(Market("chinese", "SHFE.cu"), "2020-01-20", "2020-02-10")
    generator = np.random.default_rng(3)
    starts = np.sort(generator.integers(_ns("2020-01-18"), _ns("2020-02-12"), 2000) // MINUTE_NS * MINUTE_NS)
    length = 5 * MINUTE_NS
    spans = list(zip(hours.open_ns, hours.close_ns, strict=True))
    slow = [not any(start < closes and start + length > opens for opens, closes in spans) for start in starts]
    assert outside(hours, starts, 5).tolist() == slow
    assert 0 < sum(slow) < len(slow)


def test_the_session_of_a_bar_is_that_of_its_span_or_of_the_next():
    hours = _hours(Market("chinese", "SHFE.cu"), "2019-06-14", "2019-06-18")
    starts = np.array([_ns("2019-06-14T06:55"), _ns("2019-06-14T13:00"), _ns("2019-06-15T12:00")])
    assert sessions_of(hours, starts).tolist() == [_day("2019-06-14"), _day("2019-06-17"), _day("2019-06-17")]
    with pytest.raises(DataError, match="days that the calendar knows"):
        sessions_of(hours, np.array([_ns("2019-07-01T00:00")]))


@pytest.mark.parametrize(
    ("symbol", "terms", "market"),
    [
        ("SHFE.cu", {}, Market("chinese", "SHFE.cu")),
        ("EURUSD", {"calendar": "fx"}, Market("fx", "EURUSD")),
        ("ABC", {"timezone": "America/Chicago"}, Market("globex", "ABC")),
        ("FDAX", {"calendar": "XEUR"}, Market("XEUR", "FDAX")),
        ("ABC", {}, None),
    ],
)
def test_the_market_is_named_or_evident(symbol: str, terms: dict[str, str], market: Market | None):
    assert market_of(_instrument(symbol, 276, **terms)) == market


def test_an_instrument_without_a_calendar_is_written_as_before():
    assert "calendar" not in _instrument("NQ", 276).model_dump()
    assert _instrument("EURUSD", 288, calendar="fx").model_dump()["calendar"] == "fx"


def test_a_calendar_that_does_not_exist_is_refused():
    with pytest.raises(DataError, match=r"must have a calendar; found 'MOON'.*exchange_calendars"):
        schedule(Market("MOON"), 18000, 18010)
    assert zone_of(Market("XNYS")) == "America/New_York"


def test_a_product_without_its_own_hours_is_judged_by_the_widest_only():
    hours = _hours(Market("chinese", "GFEX.si"), "2023-06-12", "2023-06-16")
    assert not hours.certain.any()
    rows = np.array([_ns(f"2023-06-12T0{hour}:00") for hour in (1, 4)])
    assert outside(hours, rows, 5).tolist() == [False, True]


def test_a_shorter_day_of_the_instrument_bounds_the_expectation():
    days = np.array([_day("2018-06-14"), _day("2018-06-19"), _day("2018-06-16")], np.int32)
    # The exchange trades until 23:30 (75 bars), the vendor's table until 23:00; the 19th follows a holiday.
    assert expected_session_bars(_instrument("DCE.m", 69), days, 5).tolist() == [69, 45, 0]
    assert expected_session_bars(_instrument("ABC", 100), days, 30).tolist() == [16, 16, 16]


def test_missing_and_cut_sessions_and_bars_outside_are_found():
    instrument = _instrument("NQ", 276, calendar="globex")
    hours = _hours(Market("globex", "NQ"), "2024-03-04", "2024-03-08")
    starts, session = [], []
    for opens, day in zip(hours.open_ns, hours.span_day, strict=True):
        count = {_day("2024-03-06"): 0, _day("2024-03-07"): 20}.get(int(day), 46)
        starts += [opens + 30 * MINUTE_NS * bar for bar in range(count)]
        session += [day] * count
    starts.append(_ns("2024-03-08T22:30"))  # in the weekend
    session.append(session[-1])
    found = judge(instrument, 30, np.array(starts), np.array(session, np.int32))
    assert found is not None
    assert found.missing.tolist() == [_day("2024-03-06")]
    assert list(zip(found.cut, found.found, found.expected, strict=True)) == [(_day("2024-03-07"), 20, 46)]
    assert np.flatnonzero(found.outside).tolist() == [len(starts) - 1]
    assert not found.astray.any()


def test_a_night_that_a_file_gives_to_the_wrong_day_is_astray():
    starts = np.array([_ns("2019-06-14T01:00"), _ns("2019-06-14T13:00"), _ns("2019-06-18T01:00")])
    session = np.array([_day("2019-06-14"), _day("2019-06-18"), _day("2019-06-18")], np.int32)
    found = judge(_instrument("SHFE.cu", 93), 5, starts, session)
    assert found is not None
    assert found.astray.tolist() == [False, True, False]  # the night of a Friday belongs to the Monday
    assert found.missing.tolist() == [_day("2019-06-17")]


def test_daily_bars_are_judged_by_their_day_alone():
    session = np.array([_day("2020-11-25"), _day("2020-11-26"), _day("2020-11-30")], np.int32)
    found = judge(_instrument("SPY", 78, calendar="XNYS"), 1440, session.astype(np.int64) * 86_400 * 10**9, session)
    assert found is not None
    assert found.outside.tolist() == [False, True, False]  # Thanksgiving
    assert found.missing.tolist() == [_day("2020-11-27")]
    assert len(found.cut) == 0


def test_nothing_is_judged_where_no_market_is_known():
    assert judge(_instrument("ABC", 276), 5, np.array([0]), np.array([0], np.int32)) is None
