"""What a user may bring and how it is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from grandmodel.core.errors import DataError
from grandmodel.data.calendar.schedules import market_of
from grandmodel.data.instruments import default_instrument
from grandmodel.data.reading.layouts import guess_symbol
from grandmodel.data.reading.readers import read_dataset, read_raw
from grandmodel.data.simulator.generate import simulate


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
    closes = pd.to_datetime(["2019-12-30 21:05", "2019-12-30 21:10", "2020-01-02 09:05", "2020-01-02 09:10"])
    rows = {"open": 3500.2, "high": 3500.4, "low": 3500.0, "close": 3500.2}
    contract = np.array([1, 1, 2, 2])  # the new one stands twice as high
    frame = pd.DataFrame({"ts": closes, "trading_day": [20191231, 20191231, 20200102, 20200102], "volume": 10})
    for name, value in rows.items():
        frame[name] = np.float32(value * contract)
    frame.to_parquet(folder / "SHFE.rb.parquet")
    header = "symbol,multiplier,tick,session,fee_open,fee_close,fee_closetoday,fee_by_lot\n"
    (folder / "instruments.csv").write_text(header + "SHFE.rb,10,0.2,\"[{'from': 900, 'to': 1000}]\",1,1,3,True\n")
    (folder / "rolls.csv").write_text("symbol,date,old_close,new_close\nSHFE.rb,20200102,100,200\n")
    return folder


def test_chinese_bars_are_stamped_by_start_on_the_grid_with_single_counted_volume(tmp_path: Path):
    data = read_dataset(_chinese_folder(tmp_path))
    bars = data.tactical["SHFE.rb"]
    assert str(bars.start_ns[0].astype("datetime64[ns]")).startswith("2019-12-30T13:00")  # 21:00 in China
    assert bars.close.tolist() == [7000.4] * 4
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


def _minute_frame(globex, sessions: int = 6) -> pd.DataFrame:
    """Return Globex minutes whose first minute of each quarter is the busiest."""
    frame = globex(sessions=sessions, minutes=1, first="2021-08-02")  # no halt at 15:15 any more
    busy = frame["ts"].dt.minute % 15 == 0
    return frame.assign(volume=np.where(busy, 9000.0, frame["volume"]))


def test_minutes_make_both_clocks_and_a_missing_minute_shifts_nothing(globex, csv):
    frame = _minute_frame(globex)
    whole = read_dataset(csv(frame))
    holed = read_dataset(csv(frame.drop(index=[7, 8, 700])))
    assert (len(whole.tactical["NQ"]), len(whole.strategic["NQ"])) == (6 * 276, 6 * 46)
    for clock in ("tactical", "strategic"):
        first, second = getattr(whole, clock)["NQ"], getattr(holed, clock)["NQ"]
        np.testing.assert_array_equal(first.start_ns, second.start_ns)
        np.testing.assert_array_equal(first.close_ns, second.close_ns)
    assert whole.strategic["NQ"].open[0] == frame["open"][0]
    assert whole.strategic["NQ"].close[-1] == frame["close"].iloc[-1]


def test_days_are_read_and_judged_but_made_into_no_bars(tmp_path: Path):
    days = pd.bdate_range("2021-01-04", "2021-12-31").difference(pd.DatetimeIndex(["2021-09-06"]))
    close = 100 + 0.01 * np.arange(len(days))
    frame = pd.DataFrame({"date": days, "open": close, "high": close, "low": close, "close": close, "volume": 1e6})
    frame.to_csv(tmp_path / "XYZ.csv", index=False)
    raw = read_raw(tmp_path / "XYZ.csv")
    assert raw.bar_minutes == 1440
    assert raw.instruments["XYZ"].calendar == "XNYS"
    np.testing.assert_array_equal(raw.frame["session"], days.as_unit("ns").asi8 // (86_400 * 10**9))
    assert raw.frame["ts"].iloc[0] == pd.Timestamp("2021-01-04 05:00", tz="UTC")  # midnight in New York
    with pytest.raises(DataError, match="teams trade 30- and 5-minute bars"):
        read_dataset(tmp_path / "XYZ.csv")


def test_a_day_at_another_hour_is_refused(tmp_path: Path):
    lines = ["date,open,high,low,close,volume", "2021-01-04 00:00,1,1,1,1,1", "2021-01-05 00:00,1,1,1,1,1"]
    lines += ["2021-01-06 09:30,1,1,1,1,1", "2021-01-07 09:30,1,1,1,1,1", "2021-01-08 09:30,1,1,1,1,1"]
    (tmp_path / "XYZ.csv").write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=r"XYZ\.csv row 4: daily stamps must all be at one time of day"):
        read_raw(tmp_path / "XYZ.csv")


def test_bid_and_ask_become_the_mid_with_the_measured_spread(globex, csv):
    frame = globex(sessions=6)
    scale = {name: frame[name] / 10_000 for name in ("open", "high", "low", "close")}
    sides = {f"{side}_{name}": scale[name] + extra for side, extra in (("bid", 0.0), ("ask", 4e-5)) for name in scale}
    quotes = frame[["ts"]].assign(**{name: column.round(5) for name, column in sides.items()})
    raw = read_raw(csv(quotes, name="EURUSD_bidask.csv"), stamp="start")
    assert raw.instruments["EURUSD"].half_spread_ticks == 4
    assert raw.instruments["EURUSD"].tick_size == 5e-6
    np.testing.assert_allclose(raw.frame["close"], (quotes["bid_close"] + quotes["ask_close"]) / 2, rtol=1e-12)
    assert (raw.frame["volume"] == 1).all()
    assert any("no volume" in finding.text for finding in raw.report)


def test_a_told_zone_that_the_halt_contradicts_is_refused(globex, csv):
    path = csv(globex(sessions=40), "America/Chicago", form="%Y-%m-%d %H:%M")
    with pytest.raises(
        DataError, match=r"stamps cannot be in Asia/Tokyo, as the option timezone says: .* against 0 of"
    ):
        read_raw(path, timezone="Asia/Tokyo")


def test_a_stamp_in_the_future_is_refused_when_the_time_is_known(globex, csv):
    path = csv(globex(sessions=10))
    now = pd.Timestamp("2021-03-05", tz="UTC")
    with pytest.raises(DataError, match="future"):
        read_raw(path, now_ns=now.value)
    assert len(read_raw(path, now_ns=now.value + 30 * 86_400 * 10**9).frame) == 460


def test_one_session_does_not_tell_starts_from_closes_and_the_reader_asks(globex, csv):
    path = csv(globex(sessions=1))
    with pytest.raises(DataError, match=r"starts or closes must be evident.*--stamp"):
        read_raw(path)
    assert len(read_raw(path, stamp="start").frame) == 46


def test_open_interest_finds_the_rolls_of_an_unknown_future(globex, csv):
    frame = globex(sessions=100)
    interest = 1e5 + 10 * np.arange(len(frame)) % 500
    new = frame.index >= 60 * 46
    frame.loc[new, ["open", "high", "low", "close"]] += 100
    frame["open_interest"] = np.where(new, 2.6e5, interest)
    data = read_dataset(csv(frame, name="ABC.csv"))
    bars = data.strategic["ABC"]
    assert bars.open[60 * 46] == pytest.approx(bars.close[60 * 46 - 1], rel=1e-12)
    np.testing.assert_allclose(bars.close / bars.price_factor, frame["close"])  # the unadjusted series is kept
    assert any("open interest jumps" in finding.text for finding in data.report)


@pytest.mark.parametrize(
    ("stem", "symbol"),
    [
        ("NQ_30min_2020_2025", "NQ"),
        ("BTC-PERP_2022-01_UTC", "BTC-PERP"),
        ("6EH4_2024-01_UTC", "6E"),
        ("ESZ2024", "ES"),
        ("EURUSD_2017H1_bid_EST", "EURUSD"),
        ("cffex_IF_2021-01-04_06_vendor_5m_bars", "CFFEX.IF"),
        ("NQ-2020", "NQ"),
        ("es 2013", "ES"),
        ("AAPL", "AAPL"),
        ("(1)", "UNKNOWN"),
    ],
)
def test_the_symbol_is_read_from_the_file_name(stem: str, symbol: str):
    assert guess_symbol(stem) == symbol


@pytest.mark.parametrize(
    ("symbol", "calendar", "bars"),
    [("AUDUSD", "fx", 288), ("ETHUSD", "24/7", 288), ("EURUSD", "fx", 288), ("6E", "globex", 276), ("ABC", "", 276)],
)
def test_terms_follow_the_class_that_the_symbol_tells(symbol: str, calendar: str, bars: int):
    instrument, _ = default_instrument(symbol, np.array([1.12345, 1.12346]))
    assert (instrument.calendar, instrument.session_bars_5m) == (calendar, bars)


def test_every_built_in_instrument_has_a_market():
    for symbol in (
        "NQ",
        "ES",
        "YM",
        "RTY",
        "CL",
        "GC",
        "6E",
        "ZN",
        "CFFEX.IF",
        "EURUSD",
        "GBPUSD",
        "USDJPY",
        "BTC-PERP",
    ):
        instrument, finding = default_instrument(symbol, np.array([100.0, 101.5]))
        assert market_of(instrument) is not None
        assert finding.level == "info"
