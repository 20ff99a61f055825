"""Every bad file is blocked with one sentence that names the file, the row, the rule and what to do."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from grandmodel.core.errors import DataError
from grandmodel.data.reading.readers import read_dataset, read_raw
from grandmodel.data.validation.validate import validate


@pytest.fixture
def sentence(context_root: Path, tmp_path: Path) -> Callable[[Path], str]:
    """Return the sentence with which a file is blocked on its way through reading and validation."""

    def blocked(path: Path) -> str:
        with pytest.raises(DataError) as caught:
            validate(read_raw(path), context_root, tmp_path / "docs").raise_if_blocked()
        assert caught.value.do, "the sentence must say what to do"
        return str(caught.value)

    return blocked


def _edit(path: Path, row: int, change: Callable[[list[str]], list[str]]) -> Path:
    """Change the fields of one line (counted from 1) of a CSV file."""
    lines = path.read_text().splitlines()
    lines[row - 1] = ",".join(change(lines[row - 1].split(",")))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("content", [b"", b"\n\n", b"ts,open,high,low,close,volume\n"])
def test_an_empty_file(sentence, tmp_path: Path, content: bytes):
    path = tmp_path / "NQ.csv"
    path.write_bytes(content)
    assert re.search(r"NQ\.csv: the file must (not be empty|hold at least one bar)", sentence(path))


def test_a_missing_file(sentence, tmp_path: Path):
    assert "must exist" in sentence(tmp_path / "absent.csv")


def test_a_folder_without_data(sentence, tmp_path: Path):
    assert "must hold .csv or .parquet" in sentence(tmp_path)


def test_a_missing_column(sentence, globex, csv):
    path = csv(globex().drop(columns="low"))
    assert re.match(r"NQ\.csv row 1: the header must have a column 'low'", sentence(path))


def test_a_missing_header(sentence, globex, csv):
    path = csv(globex())
    path.write_text("\n".join(path.read_text().splitlines()[1:]))
    assert "row 1: the header must have a column" in sentence(path)


def test_month_first_dates_with_a_row_that_does_not_fit(sentence, globex, csv):
    path = csv(globex(), "America/Chicago", form="%m/%d/%Y %H:%M")
    path = _edit(path, 40, lambda fields: ["31/12/2021 09:00", *fields[1:]])
    assert re.match(r"NQ\.csv row \d+: .*month-first.*date_order", sentence(path))


def test_an_unreadable_stamp(sentence, globex, csv):
    path = _edit(csv(globex()), 40, lambda fields: ["soon", *fields[1:]])
    assert sentence(path).startswith("NQ.csv row 40: the stamp must be a date and time; found 'soon'")


@pytest.mark.parametrize("content", [b"PK\x03\x04\x00\x00\x01", bytes(range(256)) * 20])
def test_a_binary_file(sentence, tmp_path: Path, content: bytes):
    path = tmp_path / "NQ.csv"
    path.write_bytes(content)
    assert "must be text" in sentence(path)


def test_a_wrongly_encoded_file(sentence, globex, csv):
    path = csv(globex())
    path.write_bytes(path.read_bytes().replace(b"13000.0,", b"13000.0\xff,", 1))
    assert re.match(r"NQ\.csv row 2: the file must be UTF-8 text", sentence(path))


@pytest.mark.parametrize("size", [0, 100, 5000])
def test_a_cut_parquet_file(sentence, globex, tmp_path: Path, size: int):
    path = tmp_path / "NQ.parquet"
    globex().to_parquet(path)
    path.write_bytes(path.read_bytes()[:size])
    assert sentence(path).startswith("NQ.parquet: the file must")


def test_a_file_cut_in_its_last_row(sentence, globex, csv):
    path = csv(globex())
    path.write_text(path.read_text()[:-30])
    assert re.match(r"NQ\.csv row 1381: the last row must be whole", sentence(path))


def test_a_row_with_too_many_or_too_few_fields(sentence, globex, csv):
    for change in (lambda fields: [*fields, "1"], lambda fields: fields[:3]):
        found = sentence(_edit(csv(globex()), 50, change))
        assert found.startswith("NQ.csv row 50: every row must have the 6 fields of the header")


def test_a_price_that_is_no_number(sentence, globex, csv):
    path = _edit(csv(globex()), 50, lambda fields: [fields[0], "12x", *fields[2:]])
    assert sentence(path).startswith("NQ.csv row 50 column open: the cell must be a finite number")


def test_an_infinite_price(sentence, globex, csv):
    path = _edit(csv(globex()), 50, lambda fields: [fields[0], "inf", *fields[2:]])
    assert sentence(path).startswith("NQ.csv row 50 column open")


def test_time_that_runs_backwards(sentence, globex, csv):
    frame = globex()
    frame.loc[[60, 61], "ts"] = frame.loc[[61, 60], "ts"].to_numpy()
    assert sentence(csv(frame)).startswith("NQ.csv row 63: time must not run backwards")


def test_bars_of_another_length(sentence, globex, csv):
    assert "1, 5 or 30 minutes or a day long; found '15 minutes'" in sentence(csv(globex(minutes=15)))


def test_bars_that_overlap(sentence, globex, csv):
    frame = globex()
    frame.loc[60, "ts"] += pd.Timedelta(minutes=10)
    assert sentence(csv(frame)).startswith("NQ.csv row 63: bars of 30 minutes must not overlap")


def test_a_duplicate_row(sentence, globex, csv):
    frame = globex()
    frame = pd.concat([frame[:100], frame[99:]], ignore_index=True)
    assert re.match(r"NQ\.csv row 102: bar starts .* none may repeat; .*Remove the repeated row", sentence(csv(frame)))


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("close", "NaN", "close must be a number"),
        ("open", "", "open must be a number"),
        ("low", "-5", "low must be a positive price"),
        ("open", "0", "open must be a positive price"),
        ("high", "12000", "high must be at least and low at most open and close"),
        ("volume", "-1", "volume must be at least 0"),
        ("volume", "", "volume must be a number"),
    ],
)
def test_an_impossible_value(sentence, globex, csv, column: str, value: str, rule: str):
    frame = globex()
    place = list(frame.columns).index(column)
    path = _edit(csv(frame), 77, lambda fields: [*fields[:place], value, *fields[place + 1 :]])
    assert re.match(rf"NQ\.csv row 77: {rule}; found", sentence(path))


def test_a_price_off_the_tick_grid(sentence, globex, csv):
    frame = globex()
    frame.loc[75, "high"] += 0.1
    assert sentence(csv(frame)).startswith("NQ.csv row 77: prices must be whole numbers of ticks")


@pytest.mark.parametrize("value", [np.nan, -1.0])
def test_reading_without_validation_fails_closed_too(globex, csv, value: float):
    frame = globex()
    frame.loc[75, "close"] = value
    with pytest.raises(DataError, match=r"NQ\.csv row 77: prices must be positive numbers"):
        read_dataset(csv(frame))
