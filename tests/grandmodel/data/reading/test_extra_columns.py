"""Columns beside the prices: they name the instrument and the zone, or are told to be left out."""

from __future__ import annotations

import pandas as pd
import pytest

from grandmodel.core.errors import DataError
from grandmodel.data.reading.readers import read_raw


def _written(path, frame: pd.DataFrame, zone: str = "UTC"):
    stamps = frame["ts"].dt.tz_convert(zone).dt.strftime("%Y-%m-%d %H:%M")
    frame.assign(ts=stamps).to_csv(path, index=False)
    return path


@pytest.mark.parametrize("header", ["symbol", "Contract", "TICKER"])
def test_two_instruments_in_one_file_are_refused_by_name(globex, csv, header: str):
    frame = globex().assign(**{header: "NQ"})
    frame.loc[700:, header] = "ES"
    with pytest.raises(DataError, match=f"one instrument; its column '{header}' names 2; found 'NQ, ES'"):
        read_raw(csv(frame))


def test_one_symbol_names_the_instrument_where_the_file_does_not(globex, csv):
    frame = globex().assign(symbol="NQH1")
    assert list(read_raw(csv(frame, name="export.csv")).instruments) == ["NQ"]
    raw = read_raw(csv(frame, name="ES.csv"))
    assert list(raw.instruments) == ["ES"]
    assert "a column names NQ, the file name ES: the file name is followed" in [item.text for item in raw.report]


def test_two_files_whose_columns_name_one_instrument_are_refused(globex, csv):
    frame = globex().assign(symbol="NQ")
    first, _ = csv(frame, name="a.csv"), csv(frame, name="b.csv")
    with pytest.raises(DataError, match="two name NQ"):
        read_raw(first.parent)


def test_a_column_of_the_zone_is_used_and_two_zones_are_refused(globex, tmp_path):
    frame = globex(sessions=60).assign(tz="America/New_York")
    raw = read_raw(_written(tmp_path / "NQ.csv", frame, "America/New_York"))
    assert any("in America/New_York, as the column 'tz' says" in item.text for item in raw.report)
    assert raw.frame["ts"].iloc[0] == frame["ts"].iloc[0]
    with pytest.raises(DataError, match="cannot be in America/New_York, as the column 'tz' says"):
        read_raw(_written(tmp_path / "NQ.csv", frame, "Asia/Tokyo"))
    frame.loc[100:, "tz"] = "EST"
    with pytest.raises(DataError, match="all stamps must be in one zone"):
        read_raw(_written(tmp_path / "NQ.csv", frame))


def test_columns_that_nothing_reads_are_told_once(globex, csv):
    raw = read_raw(csv(globex().assign(**{"Adj Close": 1.0, "vwap": 2.0})))
    told = [item.text for item in raw.report if "left out" in item.text]
    assert told == ["2 columns are left out: Adj Close, vwap"]


def test_stamps_an_hour_off_are_refused_with_both_scores(globex, csv):
    frame = globex(sessions=60)
    frame["ts"] += pd.Timedelta(hours=1)
    with pytest.raises(DataError, match=r"rests fall 120 of 2760 bars .* as starts, 60 of 2760 bars .* as closes"):
        read_raw(csv(frame))


def test_a_wrong_kind_or_date_order_by_hand_names_the_option(globex, csv):
    frame = globex(sessions=60)
    with pytest.raises(DataError, match=r"as the option --stamp says: .* against 0 of .* for starts"):
        read_raw(csv(frame, zone="America/Chicago"), stamp="close", timezone="America/Chicago")
    with pytest.raises(DataError, match=r"as the option --stamp says: .* against 0 of .* for starts"):
        read_raw(csv(frame, zone="America/Chicago"), stamp="close")
    path = csv(frame, zone="America/Chicago", form="%d/%m/%Y %H:%M")
    with pytest.raises(
        DataError, match=r"cannot be month-first, as the option --date-order says: \d+ stamps .* against 0"
    ):
        read_raw(path, date_order="month-first")


def test_stamps_off_the_grid_are_named(globex, csv):
    frame = globex(sessions=20)
    frame["ts"] += pd.Timedelta(minutes=10)
    report = read_raw(csv(frame), stamp="start").report
    assert any("stand 10 minutes past a multiple of the bar length" in item.text for item in report)


def test_a_title_above_the_header_is_skipped_and_said(globex, csv):
    path = csv(globex())
    expected = read_raw(path).frame["close"].tolist()
    path.write_text("NQ export, 30 minutes\n\n" + path.read_text())
    raw = read_raw(path)
    assert raw.frame["close"].tolist() == expected
    assert raw.frame["row"].iloc[0] == 4
    assert any("1 line above the header is skipped" in item.text for item in raw.report)


def test_zero_volume_throughout_is_refused_but_unknown_for_currencies(globex, csv):
    frame = globex().assign(volume=0)
    with pytest.raises(DataError, match="0 in all 1380 bars"):
        read_raw(csv(frame))
    raw = read_raw(csv(frame, name="EURUSD.csv"), stamp="start")
    assert (raw.frame["volume"] == 1).all()


def test_an_unknown_symbol_in_the_hours_of_new_york_is_a_share(globex, csv):
    frame = globex(sessions=40)
    local = frame["ts"].dt.tz_convert("America/New_York")
    minute = local.dt.hour * 60 + local.dt.minute
    raw = read_raw(csv(frame[(minute >= 570) & (minute < 960)], name="ACME.csv"), stamp="start")
    assert raw.instruments["ACME"].asset_class == "equity"
    assert any("the unknown symbol is taken for a share" in item.text for item in raw.report)


def test_the_mark_of_simulated_data_must_be_a_truth_value(globex, csv):
    path = csv(globex())
    (path.parent / "dataset.yaml").write_text('simulated: "false"\n')
    with pytest.raises(DataError, match="must be true or false"):
        read_raw(path)
