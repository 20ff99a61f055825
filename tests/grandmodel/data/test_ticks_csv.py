from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grandmodel.core.errors import DataError
from grandmodel.data.ticks_csv import csv_blocks, csv_tick_bars
from tests.grandmodel.data.tick_samples import RULES, SPANS, assert_equal_bits, make_ticks, whole

HEADER = b"ts,price,volume\n"
GOOD = b"2013-09-01 17:00:00.083,1640.25,8\n"


def read(content: bytes, timezone: str | None = "UTC") -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    blocks = [tuple(column.copy() for column in block) for block in csv_blocks(content, timezone=timezone)]
    stamps, prices, lots = zip(*blocks, strict=True)
    return np.concatenate(stamps), np.concatenate(prices), np.concatenate(lots)


def text_of(stamps: np.ndarray, prices: np.ndarray, lots: np.ndarray, end: str = "\n") -> bytes:
    cells = np.datetime_as_string(stamps.astype("datetime64[ns]"))
    rows = zip(cells.tolist(), prices.tolist(), lots.tolist(), strict=True)
    return (f"ts,price,volume{end}" + "".join(f"{ts},{price},{lot}{end}" for ts, price, lot in rows)).encode()


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_bytes_give_the_bars_of_the_columns(tmp_path: Path, end: str) -> None:
    ticks = make_ticks(5, count=20_000, fault_frac=0.0)
    path = tmp_path / "ticks.csv"
    path.write_bytes(text_of(*ticks, end=end))

    bars, rejected = csv_tick_bars(path, RULES, SPANS, timezone="UTC")
    expected, stream = whole(RULES, ticks)

    assert rejected == stream.rejected
    assert_equal_bits(bars, expected)


@given(
    seconds=st.integers(0, 7_258_118_399),
    digits=st.integers(0, 9),
    fraction=st.integers(0, 999_999_999),
    price=st.decimals(-99_999_999, 99_999_999, places=6),
    lots=st.integers(-(10**12), 10**12),
    repeat=st.integers(1, 3),
)
def test_every_lawful_row_is_read_exactly(
    seconds: int, digits: int, fraction: int, price: object, lots: int, repeat: int
) -> None:
    stamp = str(np.datetime64(seconds, "s")).replace("T", " ") + ("." + f"{fraction:09d}"[:digits] if digits else "")
    row = f"{stamp},{price:f},{lots}\n".encode()

    stamps, prices, sizes = read(HEADER + row * repeat + GOOD)

    assert stamps[:-1].tolist() == [np.datetime64(stamp.replace(" ", "T"), "ns").astype(np.int64)] * repeat
    assert prices[:-1].tolist() == [float(f"{price:f}")] * repeat
    assert sizes[:-1].tolist() == [lots] * repeat


@pytest.mark.parametrize(
    ("row", "rule"),
    [
        (b"2013-02-30 17:00:00.083,1640.25,8\n", "the stamp"),
        (b"2013-13-01 17:00:00.083,1640.25,8\n", "the stamp"),
        (b"2013-09-01 24:00:00.083,1640.25,8\n", "the stamp"),
        (b"2013-09-01 17:00:60.083,1640.25,8\n", "the stamp"),
        (b"2013-09-01 17:00:00.,1640.25,8\n", "the stamp"),
        (b"2013-09-01 17:00:00.0000000001,1640.25,8\n", "the stamp"),
        (b"2013/09/01 17:00:00.083,1640.25,8\n", "the stamp"),
        (b'"2013-09-01 17:00:00.083",1640.25,8\n', "the stamp"),
        (b"\n", "the stamp"),
        (b"2013-09-01 17:00:00.083,,8\n", "the price"),
        (b"2013-09-01 17:00:00.083,nan,8\n", "the price"),
        (b"2013-09-01 17:00:00.083,1e3,8\n", "the price"),
        (b"2013-09-01 17:00:00.083,+1,8\n", "the price"),
        (b"2013-09-01 17:00:00.083,1640.,8\n", "the price"),
        (b"2013-09-01 17:00:00.083,.25,8\n", "the price"),
        (b"2013-09-01 17:00:00.083,1640.2512345678901,8\n", "the price"),
        (b"2013-09-01 17:00:00.083,1640.25\n", "the price"),
        (b"2013-09-01 17:00:00.083,1640.25,\n", "the volume"),
        (b"2013-09-01 17:00:00.083,1640.25,8.5\n", "the volume"),
        (b"2013-09-01 17:00:00.083,1640.25,8,9\n", "the volume"),
        (b"2013-09-01 17:00:00.083,1640.25, 8\n", "the volume"),
        (b"2013-09-01 17:00:00.083,1640.25,-\n", "the volume"),
        (b"2013-09-01 17:00:00.083,1640.25,1234567890123456\n", "the volume"),
        (b"2013-09-01 17:00:00.083,1640.25,8\r2\n", "the volume"),
        (b"2013-09-01 17:00:00.08\x003,1640.25,8\n", "the stamp"),
    ],
)
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_a_malformed_row_is_refused_by_file_and_row(tmp_path: Path, row: bytes, rule: str, place: str) -> None:
    before, after = {"first": (0, 9), "middle": (9000, 9), "last": (9, 0)}[place]
    path = tmp_path / "bad.csv"
    path.write_bytes(HEADER + GOOD * before + row + GOOD * after)

    with pytest.raises(DataError) as caught:
        csv_tick_bars(path, RULES, timezone="UTC")

    assert f"bad.csv row {before + 2}" in str(caught.value)
    assert rule in str(caught.value) or (place == "last" and "cut off" in str(caught.value))


@given(cut=st.integers(1, len(GOOD)))
def test_a_cut_last_row_is_refused(cut: int) -> None:
    with pytest.raises(DataError, match="row 3"):
        read(HEADER + GOOD + GOOD[:-cut] if cut < len(GOOD) else HEADER + GOOD + b"\n")


@given(place=st.integers(0, len(GOOD) * 3 - 1), byte=st.integers(0, 255))
def test_any_byte_may_change_and_nothing_is_read_past_it(place: int, byte: int) -> None:
    content = bytearray(HEADER + GOOD * 3)
    content[len(HEADER) + place] = byte
    rows = content.decode("latin-1").split("\n")[1:-1]
    try:
        stamps, prices, lots = read(bytes(content))
    except DataError:
        return  # which rows are refused stands in the tests above

    assert len(stamps) == len(rows)
    assert prices.tolist() == [float(row.split(",")[1]) for row in rows]
    assert lots.tolist() == [int(row.split(",")[2]) for row in rows]


def test_another_header_is_refused() -> None:
    with pytest.raises(DataError, match="row 1"):
        read(b"price,ts,volume\n" + GOOD)


def test_a_header_alone_has_no_ticks() -> None:
    bars, rejected = csv_tick_bars(HEADER, RULES, timezone="UTC")

    assert len(bars) == 0
    assert sum(rejected.values()) == 0


def test_naive_stamps_need_a_zone_and_zulu_stamps_no_other() -> None:
    zulu = HEADER + b"2013-09-01 17:00:00.083Z,1640.25,8\n"

    with pytest.raises(DataError, match="need timezone"):
        read(HEADER + GOOD, timezone=None)
    with pytest.raises(DataError, match="Z is UTC"):
        read(zulu, timezone="America/Chicago")
    with pytest.raises(DataError, match="IANA"):
        read(HEADER + GOOD, timezone="Mars/Olympus")
    with pytest.raises(DataError, match="row 3"):
        read(HEADER + GOOD + zulu.split(b"\n")[1] + b"\n")
    assert read(zulu, timezone=None)[0].tolist() == read(HEADER + GOOD)[0].tolist()


def test_the_zone_is_followed_over_a_change_of_clocks() -> None:
    utc = np.datetime64("2021-03-14T06:00", "ns").astype(np.int64) + np.arange(40) * 600_000_000_000
    local = utc - np.where(utc < np.datetime64("2021-03-14T08:00", "ns").astype(np.int64), 6, 5) * 3_600_000_000_000
    content = text_of(local, np.full(40, 100.0), np.ones(40, np.int64))

    assert read(content, timezone="America/Chicago")[0].tolist() == utc.tolist()


def test_a_stamp_that_the_zone_lacks_is_refused_by_row() -> None:
    content = HEADER + b"2021-03-14 01:59:59,100.0,1\n" + b"2021-03-14 02:30:00,100.0,1\n"

    with pytest.raises(DataError, match=r"row 3.*exactly once"):
        read(content, timezone="America/Chicago")


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must exist"):
        csv_tick_bars(tmp_path / "none.csv", RULES, timezone="UTC")
