from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from grandmodel.core.bars import Bars
from grandmodel.core.errors import DataError
from grandmodel.data.ticks.files import (
    CFFEX_HOURS,
    GLOBEX_HOURS,
    infer_tick_zone,
    read_ticks,
    tick_bars,
    ticks_to_bars,
)
from grandmodel.data.ticks.spans import daily_spans
from grandmodel.data.ticks.stream import TickRules, TickStream, whole_lots
from tests.grandmodel.data.tick_samples import RULES, SPANS, assert_equal_bits, make_ticks, whole

IF_SPANS = daily_spans(
    ["2021-01-04", "2021-01-05", "2021-01-06"],
    [("09:30", "11:30"), ("13:00", "15:00")],
    "Asia/Shanghai",
    auction_minutes=5,
    closing_ms=1000,
)


def write(path: Path, **changes: object) -> Path:
    stamps, prices, lots = make_ticks(5, fault_frac=0.0)
    ts = pd.DatetimeIndex(stamps.astype("datetime64[ns]")).tz_localize("UTC").tz_convert("Asia/Shanghai")
    frame = pd.DataFrame({"ts": ts.tz_localize(None), "price": prices, "volume": lots}).assign(**changes)
    frame.to_parquet(path)
    return path


def test_a_file_gives_the_bars_of_its_columns(tmp_path: Path) -> None:
    ticks = read_ticks(write(tmp_path / "t.parquet"), timezone="Asia/Shanghai")

    bars, rejected = tick_bars(ticks, RULES, SPANS)
    expected, stream = whole(RULES, make_ticks(5, fault_frac=0.0))

    assert rejected == stream.rejected
    assert_equal_bits(bars, expected)
    assert "as told" in ticks.evidence


def test_bars_of_the_house_come_out(tmp_path: Path) -> None:
    ticks = read_ticks(write(tmp_path / "t.parquet"), timezone="Asia/Shanghai")

    bars = ticks_to_bars(ticks, RULES, SPANS, rejected_frac_max=1.0)

    assert isinstance(bars, Bars)
    assert not bars.tradable[-1]  # the ticks end before the bar does
    assert bars.tradable[:-1].all()
    assert len(np.unique(bars.session)) == 3


def test_a_file_that_breaks_the_rules_too_often_is_refused_with_counts(tmp_path: Path) -> None:
    ticks = read_ticks(write(tmp_path / "t.parquet"), timezone="Asia/Shanghai")

    with pytest.raises(DataError, match="off_grid"):
        ticks_to_bars(ticks, replace(RULES, tick_size=1.0), SPANS)


def test_snapshots_without_volume_are_expected_where_the_rules_say_so(tmp_path: Path) -> None:
    volume = np.where(np.arange(3000) % 3 == 0, 0, 2)
    ticks = read_ticks(write(tmp_path / "t.parquet", volume=volume), timezone="Asia/Shanghai")

    with pytest.raises(DataError, match="no_trade"):
        ticks_to_bars(ticks, RULES)
    assert len(ticks_to_bars(ticks, replace(RULES, snapshots=True))) > 20


def test_aware_stamps_carry_their_zone(tmp_path: Path) -> None:
    stamps = make_ticks(5, fault_frac=0.0)[0]
    aware = pd.DatetimeIndex(stamps.astype("datetime64[ns]")).tz_localize("UTC").tz_convert("America/New_York")

    ticks = read_ticks(write(tmp_path / "t.parquet", ts=aware))

    np.testing.assert_array_equal(ticks.stamps_ns, stamps)


def test_naive_stamps_without_hours_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="need a zone"):
        read_ticks(write(tmp_path / "t.parquet"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"price": "x"}, "column price"),
        ({"ts": "2021-01-04"}, "column ts"),
        ({"ts": pd.NaT}, "row 1"),
    ],
)
def test_columns_that_are_none_are_refused_by_name(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_ticks(write(tmp_path / "t.parquet", **changes), timezone="UTC")


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "junk.parquet").write_bytes(b"\x00junk")
    pd.DataFrame({"ts": [1], "volume": [1]}).to_parquet(tmp_path / "short.parquet")

    with pytest.raises(DataError, match=r"junk\.parquet.*readable as Parquet"):
        read_ticks(tmp_path / "junk.parquet")
    with pytest.raises(DataError, match=r"short\.parquet.*'price'"):
        read_ticks(tmp_path / "short.parquet")
    with pytest.raises(DataError, match="must exist"):
        read_ticks(tmp_path / "none.parquet")
    (tmp_path / "ticks.csv").write_bytes(b"ts,price,volume\n")
    with pytest.raises(DataError, match="csv_tick_bars"):
        read_ticks(tmp_path / "ticks.csv")


def test_a_zone_that_hours_cannot_tell_is_asked_for() -> None:
    # Two quiet hours in the middle of a day fit many zones, and no opening is among them.
    local = np.datetime64("2021-01-05T12:10", "ns").astype(np.int64) + np.arange(100) * 60_000_000_000

    with pytest.raises(DataError, match="must be evident"):
        infer_tick_zone(local, GLOBEX_HOURS, "t.parquet")


def test_openings_tell_the_zone() -> None:
    opening = pd.Timestamp("2021-01-05 17:00", tz="America/Chicago").tz_convert("Asia/Tokyo").tz_localize(None)
    local = opening.as_unit("ns").value + np.arange(1000) * 60_000_000_000

    assert infer_tick_zone(local, GLOBEX_HOURS, "t.parquet")[0] == "Asia/Tokyo"


def test_a_zone_that_the_ticks_contradict_is_refused_with_both_scores(tmp_path: Path) -> None:
    opening = pd.Timestamp("2021-01-05 17:00", tz="America/Chicago").tz_convert("Asia/Tokyo").tz_localize(None)
    ts = opening + pd.to_timedelta(np.arange(1000), unit="min")
    frame = pd.DataFrame({"ts": ts, "price": 100.0, "volume": 1})
    frame.to_parquet(tmp_path / "t.parquet")

    for wrong in ("America/Chicago", "America/New_York", "UTC"):
        with pytest.raises(DataError, match=f"{wrong}.*openings.*Asia/Tokyo.*openings"):
            read_ticks(tmp_path / "t.parquet", timezone=wrong, hours=GLOBEX_HOURS)
    for same_clock in ("Asia/Tokyo", "Asia/Seoul"):
        assert read_ticks(tmp_path / "t.parquet", timezone=same_clock, hours=GLOBEX_HOURS).zone == same_clock
    assert read_ticks(tmp_path / "t.parquet", timezone="UTC").zone == "UTC"


@pytest.mark.shared
def test_snapshots_give_the_bars_of_the_vendor(shared_data: Path) -> None:
    vendor = pq.read_table(shared_data / "ticks" / "cffex_IF_2021-01-04_06_vendor_5m_bars.parquet").to_pandas()
    ticks = read_ticks(shared_data / "ticks" / "cffex_IF_2021-01-04_06_l1_500ms.parquet", hours=CFFEX_HOURS)

    bars = ticks_to_bars(ticks, TickRules("CFFEX.IF", 0.2, snapshots=True), IF_SPANS)

    closes = vendor["ts"].dt.tz_localize("Asia/Shanghai").dt.tz_convert("UTC").dt.as_unit("ns").astype(np.int64)
    assert ticks.zone == "Asia/Shanghai"
    np.testing.assert_array_equal(bars.close_ns, closes)
    np.testing.assert_array_equal(bars.volume, vendor["volume"])
    for name in ("open", "high", "low", "close"):
        decimal = np.rint(vendor[name].to_numpy(np.float64) * 5) / 5  # the vendor stores float32
        np.testing.assert_array_equal(getattr(bars, name), decimal, err_msg=name)
    assert bars.tradable.all()
    assert len(bars) == 144


@pytest.mark.shared
def test_trades_find_their_zone_by_their_openings(shared_data: Path) -> None:
    ticks = read_ticks(shared_data / "ticks" / "es_2013-09-01_03_ticks.parquet", hours=GLOBEX_HOURS)

    bars, rejected = tick_bars(ticks, TickRules("ES", 0.25))

    assert ticks.zone == "America/Chicago"
    assert sum(rejected.values()) == 0
    assert bars.ticks.sum() == len(ticks) == 500_000
    assert bars.volume.sum() == ticks.volume.sum()
    assert bars.complete[:-1].all()
    assert not bars.complete[-1]


@pytest.mark.shared
def test_real_trades_give_the_same_bits_in_every_face(shared_data: Path) -> None:
    ticks = read_ticks(shared_data / "ticks" / "es_2013-09-01_03_ticks.parquet", timezone="America/Chicago")
    columns = (ticks.stamps_ns, ticks.price, whole_lots(ticks.volume))
    batch, micro, single = (TickStream(TickRules("ES", 0.25)) for _ in range(3))

    batch.update(*columns)
    for start in range(0, len(ticks), 256):
        micro.update(*(column[start : start + 256] for column in columns))
    for tick in zip(*(column.tolist() for column in columns), strict=True):
        single.push(*tick)

    expected = batch.take()
    assert len(expected) == 460
    assert_equal_bits(micro.take(), expected)
    assert_equal_bits(single.take(), expected)
    for stream in (micro, single):
        assert_equal_bits(stream.open_bar(), batch.open_bar())
