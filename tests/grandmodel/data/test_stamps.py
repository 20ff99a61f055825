"""Dates: the order of day and month is settled by evidence, and what cannot be settled is refused."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from grandmodel.core.errors import DataError
from grandmodel.data.stamps import parse_stamps, refuse_backward_steps


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


def test_a_file_that_reads_only_month_first_is_refused():
    with pytest.raises(DataError, match=r"a.csv row 2: .*month-first.*'06/29/2020 01:00'.*date_order"):
        _parse("06/29/2020 01:00", "06/30/2020 01:00")


def test_days_up_to_twelve_that_run_month_first_are_refused():
    with pytest.raises(DataError, match="month-first"):
        _parse(*[f"7/{day}/2025 9:00" for day in range(1, 12)])


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
