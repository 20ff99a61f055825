"""What a user may bring and how it is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from grandmodel.core.errors import DataError
from grandmodel.data.readers import read_dataset, read_raw
from grandmodel.data.simulator import simulate


def _warnings(report) -> list[str]:
    return [finding.text for finding in report if finding.level == "warning"]


def test_the_simulated_folder_reads_on_both_clocks(tmp_path: Path):
    simulate(tmp_path, edge=1.0, seed=7, sessions=20)
    data = read_dataset(tmp_path)
    assert data.simulated
    assert set(data.tactical) == set(data.strategic) == {"NQ", "ES", "CL", "GC"}
    assert {len(bars) for bars in data.tactical.values()} == {20 * 276}
    assert {len(bars) for bars in data.strategic.values()} == {20 * 46}
    assert len(np.unique(data.tactical["NQ"].session)) == 20
    assert _warnings(data.report) == []


def test_a_symbol_that_is_asked_for_is_read_alone(tmp_path: Path):
    simulate(tmp_path, edge=1.0, seed=7, sessions=5)
    assert set(read_dataset(tmp_path, symbols=["GC"]).tactical) == {"GC"}
    with pytest.raises(DataError, match="must hold ZB"):
        read_raw(tmp_path, symbols=["ZB"])


def test_a_large_folder_is_cut_and_says_so(tmp_path: Path):
    simulate(tmp_path, edge=1.0, seed=7, sessions=5)
    data = read_dataset(tmp_path, instruments_max=2)
    assert len(data.tactical) == 2
    assert any("at most 2" in finding.text for finding in data.report)


def test_the_project_folder_may_hold_csv(globex, tmp_path: Path):
    simulate(tmp_path, edge=1.0, seed=7, sessions=5)
    parquet = read_dataset(tmp_path, symbols=["NQ"]).tactical["NQ"]
    pd.read_parquet(tmp_path / "NQ_5m.parquet").to_csv(tmp_path / "NQ_5m.csv", index=False)
    (tmp_path / "NQ_5m.parquet").unlink()
    text = read_dataset(tmp_path, symbols=["NQ"]).tactical["NQ"]
    np.testing.assert_array_equal(parquet.close, text.close)
    np.testing.assert_array_equal(parquet.start_ns, text.start_ns)


def test_the_raw_hash_follows_the_content_and_not_the_place(globex, csv):
    frame = globex()
    first = read_raw(csv(frame)).raw_hash
    assert read_raw(csv(frame, name="elsewhere/NQ.csv")).raw_hash == first
    frame.loc[3, "volume"] += 1
    assert read_raw(csv(frame)).raw_hash != first


def test_naive_day_first_stamps_with_crlf_give_the_same_bars_as_utc(globex, csv):
    frame = globex(sessions=200)
    utc = read_dataset(csv(frame)).strategic["NQ"]
    path = csv(frame, "Asia/Jerusalem", form="%d/%m/%Y %H:%M:%S", end="\r\n")
    local = read_dataset(path)
    np.testing.assert_array_equal(utc.start_ns, local.strategic["NQ"].start_ns)
    np.testing.assert_array_equal(utc.close, local.strategic["NQ"].close)
    assert any("starts in Asia/Jerusalem" in finding.text for finding in local.report)


def test_zone_and_order_can_be_told(globex, csv):
    frame = globex(sessions=5)
    path = csv(frame, "America/New_York", form="%m/%d/%Y %H:%M")
    raw = read_raw(path, timezone="America/New_York", date_order="month-first")
    assert (raw.frame["ts"].to_numpy() == frame["ts"].to_numpy()).all()


def test_rows_are_lines_of_the_file(globex, csv):
    frame = globex()
    raw = read_raw(csv(frame))
    lines = csv(frame).read_text().splitlines()
    tenth = raw.frame.iloc[9]
    assert lines[tenth["row"] - 1].startswith(tenth["ts"].strftime("%Y-%m-%dT%H:%M"))
    assert tenth["file"] == "NQ.csv"


@pytest.mark.parametrize(
    "header", ["Timestamp,Open,High,Low,Close,Volume", "Date;O;H;L;Last;Vol", "datetime\to\th\tl\tc\tv"]
)
def test_usual_headers_are_understood(globex, csv, header: str):
    separator = max(",;\t", key=header.count)
    path = csv(globex())
    lines = path.read_text().splitlines()[1:]
    path.write_text("\n".join([header, *(line.replace(",", separator) for line in lines)]))
    raw = read_raw(path)
    assert len(raw.frame) == 30 * 46
    assert _warnings(raw.report) == []


def test_date_and_time_columns_are_joined(globex, csv):
    path = csv(globex(sessions=40), "America/Chicago", form="%Y-%m-%d,%H:%M")
    path.write_text(path.read_text().replace('"', "").replace("ts,", "Date,Time,"))
    assert len(read_raw(path, timezone="America/Chicago").frame) == 40 * 46


def test_a_misspelt_header_is_read_with_a_warning_that_names_it(globex, csv):
    path = csv(globex())
    path.write_text(path.read_text().replace("volume", "volumne"))
    assert _warnings(read_raw(path).report) == [
        "column 'volumne' is read as 'volume'; correct the header if that is wrong"
    ]


def test_an_unknown_symbol_gets_generic_terms_and_an_inferred_tick(globex, csv):
    raw = read_raw(csv(globex(), name="ABC_30min.csv"))
    assert raw.instruments["ABC"].tick_size == 0.25
    assert any("symbol is unknown" in text for text in _warnings(raw.report))


def test_a_single_file_can_be_named(globex, csv):
    assert read_raw(csv(globex(), name="export.csv"), instrument="ES").instruments["ES"].multiplier == 50


def test_a_folder_of_one_csv_per_instrument_reads(globex, csv, tmp_path: Path):
    csv(globex(seed=1), name="raw/NQ.csv")
    csv(globex(seed=2), name="raw/ES.csv")
    assert set(read_dataset(tmp_path / "raw").strategic) == {"ES", "NQ"}


def test_thirty_minute_bars_have_no_tactical_clock_and_the_report_says_so(globex, csv):
    data = read_dataset(csv(globex()))
    assert data.tactical == {}
    assert any("strategic-only" in text for text in _warnings(data.report))


def test_a_bar_without_volume_stays_but_is_not_tradable(globex, csv):
    frame = globex()
    frame.loc[7, "volume"] = 0
    bars = read_dataset(csv(frame)).strategic["NQ"]
    assert np.flatnonzero(~bars.tradable).tolist() == [7]


def test_a_dead_stretch_is_cut_and_its_edges_joined_without_a_return(globex, csv):
    frame = globex(sessions=200)
    dead = slice(100 * 46, 140 * 46)
    frame.loc[dead.start : dead.stop - 1, "volume"] = 3
    frame.loc[dead.stop :, ["open", "high", "low", "close"]] += 900  # the price after the hole is far away
    data = read_dataset(csv(frame))
    bars = data.strategic["NQ"]
    assert len(bars) == 160 * 46
    assert bars.open[100 * 46] == pytest.approx(bars.close[100 * 46 - 1], rel=1e-12)
    assert bars.price_factor[-1] == 1.0
    np.testing.assert_allclose((bars.close / bars.price_factor)[:5], frame["close"][:5])
    assert any("cut out" in text for text in _warnings(data.report))


def test_a_roll_beside_the_data_is_never_a_return(tmp_path: Path):
    simulate(tmp_path, edge=1.0, seed=7, sessions=10)
    plain = read_dataset(tmp_path, symbols=["NQ"]).tactical["NQ"]
    day = np.unique(plain.session)[4]
    date = str(np.datetime64(int(day), "D")).replace("-", "")
    (tmp_path / "rolls.csv").write_text(f"symbol,date,old_close,new_close\nNQ,{date},100,110\n")
    bars = read_dataset(tmp_path, symbols=["NQ"]).tactical["NQ"]
    before = plain.session < day
    np.testing.assert_allclose(bars.close[before], plain.close[before] * 1.1)
    np.testing.assert_array_equal(bars.close[~before], plain.close[~before])


def _chinese_folder(folder: Path) -> Path:
    closes = pd.to_datetime(["2019-12-31 21:05", "2019-12-31 21:10", "2020-01-02 09:05", "2020-01-02 09:10"])
    rows = {"open": 3500.2, "high": 3500.4, "low": 3500.0, "close": 3500.2}
    frame = pd.DataFrame({"ts": closes, "trading_day": [20191231, 20191231, 20200102, 20200102], "volume": 10})
    for name, value in rows.items():
        frame[name] = np.float32(value)
    frame.to_parquet(folder / "SHFE.rb.parquet")
    header = "symbol,multiplier,tick,session,fee_open,fee_close,fee_closetoday,fee_by_lot\n"
    (folder / "instruments.csv").write_text(header + "SHFE.rb,10,0.2,\"[{'from': 900, 'to': 1000}]\",1,1,3,True\n")
    (folder / "rolls.csv").write_text("symbol,date,old_close,new_close\nSHFE.rb,20200102,100,200\n")
    return folder


def test_chinese_bars_are_stamped_by_start_on_the_grid_with_single_counted_volume(tmp_path: Path):
    data = read_dataset(_chinese_folder(tmp_path))
    bars = data.tactical["SHFE.rb"]
    assert str(bars.start_ns[0].astype("datetime64[ns]")).startswith("2019-12-31T13:00")  # 21:00 in China
    assert bars.close.tolist() == [7000.4, 7000.4, 3500.2, 3500.2]
    assert bars.volume.tolist() == [5, 5, 10, 10]
    assert data.instruments["SHFE.rb"].commission_per_contract == 2.0
    assert data.instruments["SHFE.rb"].session_bars_5m == 12


def test_chinese_bars_without_their_rolls_are_refused(tmp_path: Path):
    (_chinese_folder(tmp_path) / "rolls.csv").unlink()
    with pytest.raises(DataError, match=r"rolls\.csv"):
        read_raw(tmp_path)


def test_the_one_symbol_asked_for_names_a_file_whose_name_does_not(globex, csv):
    raw = read_raw(csv(globex(), name="export.csv"), symbols=("NQ",))
    assert list(raw.instruments) == ["NQ"]
    assert raw.instruments["NQ"].multiplier == 20
    assert set(raw.frame["symbol"]) == {"NQ"}


def test_two_symbols_asked_of_one_file_are_refused(globex, csv):
    with pytest.raises(DataError, match="must hold ES"):
        read_raw(csv(globex(), name="NQ.csv"), symbols=("NQ", "ES"))


def test_licence_and_source_of_a_plain_file_come_from_dataset_yaml_beside_it(globex, csv):
    path = csv(globex())
    before = read_raw(path)
    assert (before.licence, before.source, before.simulated) == ("", "NQ.csv", False)
    path.with_name("dataset.yaml").write_text("licence: CC0-1.0\nsource: own recording\n")
    after = read_raw(path)
    assert (after.name, after.licence, after.source) == ("NQ", "CC0-1.0", "own recording")
    assert after.raw_hash != before.raw_hash
