"""Bytes to cells: encodings, separators, quotes, headers and ways to write numbers."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grandmodel.core.errors import DataError
from grandmodel.data.reading.formats import parse_numbers, read_table
from grandmodel.data.reading.headers import edit_distance, ends_in_price, normalise, rename_columns

HEADER = "ts,open,high,low,close,volume"
LINES = ("2021-03-01 09:00,10,12,9.5,11,100", "2021-03-01 09:05,11,13.5,10,12,200")
Reader = Callable[..., pd.DataFrame]


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    def read_content(content: bytes | str, name: str = "a.csv") -> pd.DataFrame:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_table(path)

    return read_content


def _text(*lines: str, end: str = "\n") -> str:
    return end.join([HEADER, *(lines or LINES), ""])


def _values(table: pd.DataFrame) -> list[list[float]]:
    renamed, _ = rename_columns(table, "a.csv")
    return [list(column) for column in parse_numbers(renamed, "a.csv").values()]


def _told(table: pd.DataFrame) -> str:
    return " | ".join(finding.text for finding in rename_columns(table, "a.csv")[1])


PLAIN = [[10.0, 11.0], [12.0, 13.5], [9.5, 10.0], [11.0, 12.0], [100.0, 200.0]]


@pytest.mark.parametrize("codec", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_that_are_evident_are_read(read: Reader, codec: str):
    assert _values(read(_text().encode(codec))) == PLAIN


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-32", "cp037"])
def test_encodings_that_are_not_evident_are_refused(read: Reader, codec: str):
    with pytest.raises(DataError, match=r"a\.csv.*the file must (be text|hold at least one bar)"):
        read(_text().encode(codec))


def test_latin_1_is_read_where_no_value_depends_on_it_and_told(read: Reader):
    table = read(_text().replace("ts,", "größe,ts,").replace("2021", "1,2021").encode("latin-1"))
    assert _values(table) == PLAIN
    assert "read as Latin-1" in _told(table)


def test_latin_1_among_the_values_is_refused_by_row(read: Reader):
    with pytest.raises(DataError, match=r"a\.csv row 3: the file must be UTF-8 text"):
        read(_text().encode().replace(b",200", b",200\xb2"))


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends_of_all_systems_are_read(read: Reader, end: str):
    assert _values(read(_text(end=end))) == PLAIN


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_separators(read: Reader, separator: str):
    assert _values(read(_text().replace(",", separator))) == PLAIN


def test_gzip_is_unpacked_and_told(read: Reader):
    table = read(gzip.compress(_text().encode()))
    assert _values(table) == PLAIN
    assert "unpacked from gzip" in _told(table)


def test_cut_gzip_is_refused(read: Reader):
    with pytest.raises(DataError, match=r"a\.csv: the file must be whole gzip"):
        read(gzip.compress(_text().encode())[:-9])


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"PK\x03\x04rest", "archive or a spreadsheet"),
        (b"PAR1rest", "Parquet file"),
        (b"\xd0\xcf\x11\xe0rest", "spreadsheet"),
        (b"%PDF-1.7", "PDF"),
    ],
)
def test_other_formats_are_named(read: Reader, content: bytes, kind: str):
    with pytest.raises(DataError, match=kind):
        read(content)


def test_a_control_character_is_refused_by_row(read: Reader):
    with pytest.raises(DataError, match=r"a\.csv row 3: .*binary content"):
        read(_text().replace("200", "2\x0700"))


def test_comments_blank_lines_and_empty_columns_are_skipped_and_rows_stay_lines_of_the_file(read: Reader):
    lines = ["# exported", "sep=,", HEADER + ",,", LINES[0] + ",,", "", "# note", LINES[1] + ",,", "", ""]
    table = read("\n".join(lines))
    assert _values(table) == PLAIN
    assert table["row"].tolist() == [4, 7]
    assert "1 comment below the header (first in row 6) is skipped" in _told(table)


def test_a_separator_at_the_end_of_each_row_is_no_column(read: Reader):
    assert _values(read("\n".join([HEADER, *(line + "," for line in LINES), ""]))) == PLAIN


def test_quoted_cells_are_read(read: Reader):
    quoted = ['"' + line.replace(",", '","') + '"' for line in LINES]
    assert _values(read(_text(*quoted))) == PLAIN


def test_a_quote_that_stays_open_is_refused_by_row(read: Reader):
    with pytest.raises(DataError, match=r"a\.csv row 2: a quote must be closed on its line"):
        read(_text(LINES[0].replace("12,", '"12,'), LINES[1]))


def test_the_last_row_must_be_whole(read: Reader):
    with pytest.raises(DataError, match=r"a\.csv row 3: the last row must be whole"):
        read(_text()[:-8])


def test_a_last_line_without_end_is_left_out_where_it_ends_in_a_price(read: Reader):
    content = "ts,volume,open,high,low,close\n2021-03-01 09:00,1,10,12,9,11.5\n2021-03-01 09:05,1,10,12,9,11"
    table = read(content)
    assert len(table) == 1
    assert "the last line (row 3) has no line end" in _told(table)
    assert len(read(content + "\n")) == 2


def test_a_last_line_without_end_stays_where_its_volume_alone_can_be_cut(read: Reader):
    table = read(_text()[:-1])
    assert _values(table) == PLAIN
    assert "its last cell, 'volume', may be cut" in _told(table)


def test_decimal_commas_are_read_where_no_other_reading_fits(read: Reader):
    table = read(_text().replace(",", ";").replace(".", ","))
    assert _values(table) == PLAIN
    assert "commas in high, low are decimal commas" in _told(table)


def test_thousands_are_read_in_both_styles(read: Reader):
    english = '2021-03-01 09:00,"1,000.5","1,200",900,"1,100","12,000"'
    assert _values(read(_text(english))) == [[1000.5], [1200.0], [900.0], [1100.0], [12000.0]]
    german = "2021-03-01 09:00;1.000,5;1.200;900;1.100;12.000"
    table = read(HEADER.replace(",", ";") + "\n" + german + "\n")
    assert _values(table) == [[1000.5], [1200.0], [900.0], [1100.0], [12000.0]]


def test_a_comma_that_could_be_either_is_refused(read: Reader):
    lines = [line.replace(",", ";").replace("11", "1,234").replace(".5", "") for line in LINES]
    with pytest.raises(DataError, match=r"a\.csv row 3 column open: it must be evident whether a comma"):
        read("\n".join([HEADER.replace(",", ";"), *lines, ""]))


def test_one_comma_among_points_is_refused_by_cell(read: Reader):
    with pytest.raises(DataError, match=r"a\.csv row 2 column low: .*found '9,5'"):
        read(_text().replace(",", ";").replace("9.5", "9,5"))


@pytest.mark.parametrize("cell", ["12x", "0x1f", "1_0", "--5", "1 2", "Infinity", "1e999", "-"])
def test_what_is_no_number_is_refused_by_cell(read: Reader, cell: str):
    with pytest.raises(DataError, match=r"a\.csv row 2 column high: the cell must be a finite number"):
        _values(read(_text(LINES[0].replace("12", cell), LINES[1])))


@pytest.mark.parametrize("cell", ["", "NaN", "null", "N/A", "#N/A"])
def test_words_for_nothing_are_nan(read: Reader, cell: str):
    assert np.isnan(_values(read(_text(LINES[0].replace("12", cell), LINES[1])))[1][0])


def test_parquet_with_its_stamps_as_index_is_read(tmp_path: Path):
    values = {"open": [1.0], "high": [1.0], "low": [1.0], "close": [1.0], "volume": [1.0]}
    for name in ("ts", "time", None):
        frame = pd.DataFrame(values, index=pd.DatetimeIndex(["2021-03-01"], name=name))
        frame.to_parquet(tmp_path / "a.parquet")
        assert list(rename_columns(read_table(tmp_path / "a.parquet"), "a")[0].columns) == [
            "ts",
            "open",
            "high",
            "low",
            "close",
            "volume",
            "row",
        ]


@pytest.mark.parametrize("cells", [[[1.0]], [pd.Timestamp("2021-01-01")], [True]])
def test_a_parquet_column_that_holds_no_numbers_is_refused(tmp_path: Path, cells: list[object]):
    frame = pd.DataFrame({"ts": ["2021-03-01"], "open": cells, "high": 1.0, "low": 1.0, "close": 1.0, "volume": 1.0})
    frame.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet (row 1 )?column open: the c(olumn|ell) must"):
        parse_numbers(rename_columns(read_table(tmp_path / "a.parquet"), "a")[0], "a.parquet")


@pytest.mark.parametrize(
    "header",
    [
        "Timestamp,Open,High,Low,Close,Volume",
        "<DATE>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>",
        "date time,o,h,l,c,v",
        "timestamp_utc,First,Max,Min,Last,Qty",
        "ts_utc,Open Price,High Price,Low Price,Close/Last,Volume (contracts)",
        "Gmt time, open , high , low , close , volume [lots]",
        '"Date","Open (USD)","High (USD)","Low (USD)","Close (USD)","Volume"',
    ],
)
def test_headers_as_people_write_them(read: Reader, header: str):
    table = read(_text().replace(HEADER, header))
    renamed, findings = rename_columns(table, "a.csv")
    assert list(renamed.columns) == ["ts", "open", "high", "low", "close", "volume", "row"]
    assert findings == []


def test_date_and_time_in_two_columns_are_one_stamp(read: Reader):
    table = read(_text().replace("ts,", "<DATE>,<TIME>,").replace("2021-03-01 ", "2021.03.01,"))
    assert rename_columns(table, "a.csv")[0]["ts"].tolist() == ["2021.03.01 09:00", "2021.03.01 09:05"]


@pytest.mark.parametrize(
    ("wrong", "name"), [("colse", "close"), ("Volumne", "volume"), ("hgih", "high"), ("opn", "open")]
)
def test_a_misspelt_header_is_read_with_a_warning_that_names_both(read: Reader, wrong: str, name: str):
    table = read(_text().replace(name, wrong, 1))
    renamed, findings = rename_columns(table, "a.csv")
    assert name in renamed
    assert [(finding.level, finding.text) for finding in findings] == [
        ("warning", f"column {wrong!r} is read as {name!r}; correct the header if that is wrong")
    ]


@pytest.mark.parametrize(
    ("header", "both"),
    [
        ("ts,open,high,low,colse,volume,clsoe", "'colse' or 'clsoe'"),
        ("ts,open,high,low,last,volume,c", "'c' or 'last'"),
        ("ts,open,high,low,close,volume,Close", "'close' or 'Close'"),
        ("timestamp,open,high,low,close,volume,date", "'timestamp' or 'date'"),
    ],
)
def test_two_columns_that_could_be_one_are_refused_naming_both(read: Reader, header: str, both: str):
    table = read(header + "\n" + "\n".join(line + ",7" for line in LINES) + "\n")
    with pytest.raises(DataError, match=rf"a\.csv row 1: one column must be .*{both}"):
        rename_columns(table, "a.csv")


def test_the_plain_name_wins_over_a_synonym_and_the_report_says_so(read: Reader):
    table = read(HEADER + ",last\n" + "\n".join(line + ",7" for line in LINES) + "\n")
    assert _values(table) == PLAIN
    assert "column 'close' is read as 'close', 'last' is left out" in _told(table)


def test_a_missing_column_is_refused_unless_it_may_be(read: Reader):
    table = read(_text().replace(",volume", ",remark"))
    with pytest.raises(DataError, match=r"a\.csv row 1: the header must have a column 'volume'"):
        rename_columns(table, "a.csv")
    assert "volume" not in rename_columns(table, "a.csv", optional=frozenset({"volume"}))[0]


def test_quotes_of_two_sides_are_not_taken_for_prices(read: Reader):
    table = read(_text().replace("open", "bid_open"))
    with pytest.raises(DataError, match="must have a column 'open'"):
        rename_columns(table, "a.csv")


@pytest.mark.parametrize(("column", "is_price"), [("close", True), ("ask_close", True), ("Vol", False), ("c", True)])
def test_which_last_column_is_a_price(column: str, is_price: bool):
    assert ends_in_price(pd.Index(["ts", column])) == is_price


def test_headers_are_normalised():
    assert [normalise(text) for text in ("<OPEN>", " Volume (lots) ", '"Date Time"', "bar-start", "(x)")] == [
        "open",
        "volume",
        "date_time",
        "bar_start",
        "(x)",
    ]


def _slow_distance(left: str, right: str) -> int:
    """Return the distance by its definition, from the ends."""
    if not left or not right:
        return len(left) + len(right)
    costs = [
        _slow_distance(left[:-1], right) + 1,
        _slow_distance(left, right[:-1]) + 1,
        _slow_distance(left[:-1], right[:-1]) + (left[-1] != right[-1]),
    ]
    if len(left) > 1 and len(right) > 1 and left[-2:] == right[-1] + right[-2]:
        costs.append(_slow_distance(left[:-2], right[:-2]) + 1)
    return min(costs)


@given(st.text("abc", max_size=5), st.text("abc", max_size=5))
def test_the_edit_distance_is_that_of_its_definition(left: str, right: str):
    assert edit_distance(left, right) == _slow_distance(left, right)
