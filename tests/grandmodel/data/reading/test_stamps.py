"""Dates: the order of day and month is settled by evidence, and what cannot be settled is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from grandmodel.core.errors import DataError
from grandmodel.data.reading.stamps import parse_stamps, refuse_backward_steps


def _parse(*cells: str, order: str = "auto"):
    return parse_stamps(pd.Series(cells), np.arange(2, len(cells) + 2), "a.csv", order)


def _dates(*cells: str, order: str = "auto") -> list[str]:
    return [str(moment) for moment in _parse(*cells, order=order).ns.astype("datetime64[ns]").astype("datetime64[m]")]


def test_two_day_first_spellings_in_one_file_are_one_clock():
    found = _dates("30/06/2020 23:30:00", "1/7/2020 0:00", "1/7/2020 0:30", "13/07/2020 01:00:00")
    assert found == ["2020-06-30T23:30", "2020-07-01T00:00", "2020-07-01T00:30", "2020-07-13T01:00"]


def test_year_first_needs_no_evidence():
    assert _dates("2020-02-03 04:05", "2020-02-03T04:10:00") == ["2020-02-03T04:05", "2020-02-03T04:10"]


def test_days_up_to_twelve_are_read_without_monthly_holes():
    assert _dates(*[f"{day}/7/2025 9:00" for day in range(1, 12)])[-1] == "2025-07-11T09:00"


def test_month_first_is_read_when_told():
    assert _dates("06/29/2020 01:00", "06/30/2020 01:00", order="month-first")[0] == "2020-06-29T01:00"


def test_offsets_give_utc():
    stamps = _parse("2020-06-29 01:00:00+03:00", "2020-06-29T01:30:00-0500")
    assert stamps.is_utc
    assert str(stamps.ns[0].astype("datetime64[ns]")).startswith("2020-06-28T22:00")
    assert str(stamps.ns[1].astype("datetime64[ns]")).startswith("2020-06-29T06:30")


@pytest.mark.parametrize("factor", [1, 1000, 1_000_000_000])
def test_epoch_numbers_give_utc_whatever_their_unit(factor: int):
    stamps = _parse(str(1_600_000_000 * factor), str(1_600_000_300 * factor))
    assert stamps.is_utc
    assert stamps.ns.tolist() == [1_600_000_000_000_000_000, 1_600_000_300_000_000_000]


def test_typed_stamps_keep_their_clock():
    aware = pd.Series(pd.to_datetime(["2020-06-29 01:00"]).tz_localize("Asia/Shanghai"))
    assert parse_stamps(aware, np.array([1]), "a.parquet").ns[0] == pd.Timestamp("2020-06-28 17:00").value


def test_a_file_that_reads_cleanly_month_first_alone_is_read_so_with_its_evidence():
    stamps = _parse("06/29/2020 01:00", "06/30/2020 01:00", "7/1/2020 1:00")
    assert [str(moment)[:10] for moment in stamps.ns.astype("datetime64[ns]")] == [
        "2020-06-29",
        "2020-06-30",
        "2020-07-01",
    ]
    assert stamps.evidence.startswith("dates are read month-first: so read 0 stamps are impossible")
    assert stamps.evidence.endswith("day-first 2")


def test_days_up_to_twelve_that_run_month_first_are_read_so():
    assert _dates(*[f"7/{day}/2025 9:00" for day in range(1, 12)])[-1] == "2025-07-11T09:00"


def test_a_day_first_file_that_a_spreadsheet_has_half_swapped_is_refused():
    days = [f"{day}/6/2020 9:00" for day in range(13, 31)] + [f"7/{day}/2020 9:00" for day in range(1, 13)]
    stamps = _parse(*days, *[f"{day}/7/2020 9:00" for day in range(13, 32)])
    with pytest.raises(DataError, match=r"a\.csv row 20: time must not run backwards"):
        refuse_backward_steps(stamps.ns, np.arange(2, 2 + len(stamps.ns)), "a.csv")


def test_a_reading_in_the_future_is_evidence_against_it():
    now_ns = pd.Timestamp("2020-07-07").value
    cells = pd.Series(["5/7/2020 9:00", "6/7/2020 9:00"])
    stamps = parse_stamps(cells, np.array([2, 3]), "a.csv", now_ns=now_ns)
    assert str(stamps.ns[-1].astype("datetime64[ns]")).startswith("2020-07-06")
    with pytest.raises(DataError, match=r"a\.csv row 3: no stamp may lie in the future; found '2020-07-09"):
        parse_stamps(pd.Series(["2020-07-06", "2020-07-09"]), np.array([2, 3]), "a.csv", now_ns=now_ns)


@pytest.mark.parametrize(
    ("cell", "moment"),
    [
        ("20200629 010000", "2020-06-29T01:00"),
        ("20200629T0130", "2020-06-29T01:30"),
        ("202006290130", "2020-06-29T01:30"),
        ("20200629", "2020-06-29T00:00"),
        ("2020.06.29 01:30", "2020-06-29T01:30"),
        ("29-Jun-2020 01:30", "2020-06-29T01:30"),
        ("2020-jun-29 01:30:00.000000", "2020-06-29T01:30"),
        ("29/06/2020 1:30 PM", "2020-06-29T13:30"),
        ("29/06/2020 12:30 am", "2020-06-29T00:30"),
    ],
)
def test_other_spellings(cell: str, moment: str):
    assert _dates(cell) == [moment]


def test_fractions_of_a_second_are_kept():
    assert _parse("2020-06-29 01:00:00.083").ns[0] == pd.Timestamp("2020-06-29 01:00:00.083").value


@pytest.mark.parametrize(
    ("offset", "hour"), [("Z", "01"), (" UTC", "01"), ("+03:00", "22"), ("-0500", "06"), ("+00", "01")]
)
def test_offsets_in_all_spellings(offset: str, hour: str):
    assert str(_parse("2020-06-29 01:00" + offset).ns[0].astype("datetime64[ns]"))[11:13] == hour


@pytest.mark.parametrize("year", ["2010", "2019", "2021", "2030"])
@pytest.mark.parametrize("row", [0, 19])
def test_a_first_or_last_row_years_away_is_refused(year: str, row: int):
    cells = [f"2020-06-{day:02} 09:00" for day in range(1, 21)]
    cells[row] = cells[row].replace("2020", year)
    with pytest.raises(DataError, match=rf"a\.csv row {row + 2}: no first or last row may stand months away"):
        _parse(*cells)


def test_rows_once_a_quarter_are_nothing_unusual():
    assert len(_dates(*[f"{year}-{month}-01" for year in range(2000, 2004) for month in (1, 4, 7, 10)])) == 16


def test_epochs_that_count_in_two_ways_are_refused_by_row():
    with pytest.raises(DataError, match=r"a\.csv row 4: all epoch stamps must count alike, 1 a second"):
        _parse("1600000000", "1600000300", "1600000600000")


def test_numbers_that_are_no_epoch_are_refused():
    with pytest.raises(DataError, match=r"a\.csv row 2: the stamp must be a date and time; found '43900.5'"):
        _parse("43900.5", "43900.6")


def test_epochs_in_floats_are_read():
    assert _parse(*[str(1.6e9 + step) for step in (0, 300)]).ns[1] == 1_600_000_300_000_000_000
    numbers = pd.Series([1.6e12, 1.6e12 + 3e5])
    assert parse_stamps(numbers, np.array([2, 3]), "a.parquet").ns[1] == 1_600_000_300_000_000_000


def test_one_day_that_reads_both_ways_is_refused():
    with pytest.raises(DataError, match="order of day and month must be evident"):
        _parse("5/6/2020 9:00", "5/6/2020 9:30")


@pytest.mark.parametrize("cell", ["yesterday", "29/06/20 01:00", "2020-06-31 01:00", "2020-06-29 25:00", ""])
def test_an_impossible_stamp_is_refused_with_its_row(cell: str):
    with pytest.raises(DataError, match=r"a\.csv row 3"):
        _parse("2020-06-29 01:00", cell, "2020-06-29 02:00")


def test_stamps_with_and_without_offset_do_not_mix():
    with pytest.raises(DataError, match="row 3: all stamps or none"):
        _parse("2020-06-29 01:00Z", "2020-06-29 02:00")


def test_time_must_not_run_backwards_but_may_repeat():
    rows = np.array([2, 3, 4])
    refuse_backward_steps(np.array([5, 5, 6]), rows, "a.csv")
    with pytest.raises(DataError, match=r"a\.csv row 4: time must not run backwards"):
        refuse_backward_steps(np.array([5, 6, 4]), rows, "a.csv")
