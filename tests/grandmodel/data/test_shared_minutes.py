"""Minutes, days and series among the real files: a test for each sentence of their README.

=============================================================  =======================================================
sentence                                                       test
=============================================================  =======================================================
fx_1m: 28k-186k rows, 1-min                                    every_file_is_read_and_gives_both_clocks
EURUSD bid 2017H1 (EST, no DST)                                euro_stamps_follow_new_york_against_their_name
(no volume)                                                    euro_is_one_sided_and_has_no_volume
USDJPY, GBPUSD (UTC, bid+ask)                                  quotes_become_mid_bars_with_the_measured_spread
6E future                                                      the_currency_future_is_stamped_by_closes
crypto_1m: BTC perpetual, 45,031 rows, 2022-01                 bitcoin_trades_round_the_clock_and_is_stamped_by_closes
stress/us_equity_1d: daily, raw prices, 1998-2021              shares_are_read_by_the_day_and_traded_by_no_team
stress/macro_daily_1986_2026.parquet                           macro_series_keep_their_holes
the vendor's IF bars of ticks/                                 bars_of_another_vendor_are_read_without_a_table
=============================================================  =======================================================

"EST, no DST" of EURUSD does not hold: payrolls, at 8:30 in New York, stand at 08:30 in June as they do in January.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from grandmodel.core.errors import DataError
from grandmodel.data.calendar.schedules import judge
from grandmodel.data.cleaning.adjust import to_bars
from grandmodel.data.dataset import RawDataset
from grandmodel.data.reading.readers import read_raw
from grandmodel.data.reading.series import read_series

pytestmark = pytest.mark.shared
FOLDER = Path(__file__).parents[3] / "../shared/data"
FILES = {
    "EURUSD": "fx_1m/EURUSD_2017H1_bid_EST.parquet",
    "USDJPY": "fx_1m/USDJPY_2013-02_bidask_UTC.parquet",
    "GBPUSD": "fx_1m/GBPUSD_2012-02_bidask_UTC.parquet",
    "6E": "fx_1m/6EH4_2024-01_UTC.parquet",
    "BTC-PERP": "crypto_1m/BTC-PERP_2022-01_UTC.parquet",
}


@lru_cache(maxsize=5)
def _raw(symbol: str) -> RawDataset:
    return read_raw(FOLDER / FILES[symbol])


def _texts(symbol: str, level: str = "info") -> list[str]:
    return [finding.text for finding in _raw(symbol).report if finding.level == level]


def _starts(raw: RawDataset) -> np.ndarray:
    return pd.DatetimeIndex(raw.frame["ts"]).as_unit("ns").asi8


@pytest.mark.parametrize(
    ("symbol", "rows", "fives", "thirties"),
    [
        ("EURUSD", 186_348, 37_332, 6_222),
        ("USDJPY", 28_761, 5_761, 961),
        ("GBPUSD", 30_117, 6_049, 1_009),
        ("6E", 29_996, 6_084, 1_014),
        ("BTC-PERP", 45_031, 9_007, 1_502),
    ],
)
def test_every_file_is_read_and_gives_both_clocks(symbol: str, rows: int, fives: int, thirties: int):
    raw = _raw(symbol)
    assert (raw.bar_minutes, len(raw.frame), list(raw.instruments)) == (1, rows, [symbol])
    data = to_bars(raw)
    assert (len(data.tactical[symbol]), len(data.strategic[symbol])) == (fives, thirties)
    for bars in (data.tactical[symbol], data.strategic[symbol]):
        length = bars.bar_minutes * 60 * 10**9
        assert (bars.close_ns % length == 0).all()
        assert (bars.start_ns % length == 0).all()
    assert data.tactical[symbol].volume.sum() == pytest.approx(raw.frame["volume"].sum())


def test_euro_stamps_follow_new_york_against_their_name():
    raw = _raw("EURUSD")
    (warning,) = _texts("EURUSD", "warning")
    assert warning.startswith("the file name 'EURUSD_2017H1_bid_EST' says UTC-05:00; read so, 192 of 37332 five-minute")
    assert "against 0 of 37332 five-minute slots for starts in America/New_York" in warning
    frame = raw.frame.assign(range=raw.frame["high"] - raw.frame["low"])
    for day in ("2017-01-06", "2017-02-03", "2017-04-07", "2017-05-05", "2017-06-02"):  # payrolls
        rows = frame[frame["ts"].dt.tz_convert("America/New_York").dt.strftime("%Y-%m-%d") == day]
        busiest = rows.loc[rows["range"].idxmax(), "ts"]
        assert busiest.tz_convert("America/New_York").strftime("%H:%M") == "08:30"


def test_the_stated_zone_of_the_euro_is_refused_with_both_scores():
    with pytest.raises(DataError, match=r"cannot be in UTC-05:00.*192 of 37332.*0 of 37332.*America/New_York"):
        read_raw(FOLDER / FILES["EURUSD"], timezone="UTC-05:00")


def test_euro_is_one_sided_and_has_no_volume():
    assert (_raw("EURUSD").frame["volume"] == 1).all()
    texts = " ".join(_texts("EURUSD"))
    assert "the file has no volume: it is unknown" in texts
    assert "prices are bids alone" in texts
    assert to_bars(_raw("EURUSD")).tactical["EURUSD"].tradable.all()


@pytest.mark.parametrize(("symbol", "half_spread", "crossed"), [("USDJPY", 0.0015, 0.024), ("GBPUSD", 3.5e-5, 0.012)])
def test_quotes_become_mid_bars_with_the_measured_spread(symbol: str, half_spread: float, crossed: float):
    raw = _raw(symbol)
    quotes = pd.read_parquet(FOLDER / FILES[symbol])
    np.testing.assert_allclose(raw.frame["close"], (quotes["bid_close"] + quotes["ask_close"]) / 2, rtol=1e-12)
    assert (raw.frame["high"] >= raw.frame[["open", "close"]].max(axis=1)).all()
    assert (raw.frame["low"] <= raw.frame[["open", "close"]].min(axis=1)).all()
    instrument = raw.instruments[symbol]
    assert instrument.half_spread_ticks * instrument.tick_size == pytest.approx(half_spread)
    assert any("the half-spread is measured from the quotes" in text for text in _texts(symbol))
    assert any(f"{crossed:.1%} of bars close with a bid above the ask" in text for text in _texts(symbol))
    assert any(text.startswith("stamps are bar starts in UTC") for text in _texts(symbol))


def test_the_currency_future_is_stamped_by_closes():
    raw = _raw("6E")
    assert any(
        text.startswith(
            "stamps are bar closes in UTC, as the header 'timestamp_utc' says: 0 of 6084 five-minute slots fall where "
            "the market rests, against 22 of 6105"
        )
        for text in _texts("6E")
    )
    chicago = raw.frame["ts"].dt.tz_convert("America/Chicago")
    assert (chicago.iloc[0].hour, chicago.iloc[0].minute) == (17, 0)
    assert not (chicago.dt.hour == 16).any()
    found = judge(raw.instruments["6E"], 1, _starts(raw), raw.frame["session"].to_numpy(np.int32))
    assert found is not None
    assert not found.outside.any()
    assert len(found.missing) == 0
    assert len(found.cut) == 1  # the first hour of February


def test_bitcoin_trades_round_the_clock_and_is_stamped_by_closes():
    raw = _raw("BTC-PERP")
    (text,) = [text for text in _texts("BTC-PERP") if text.startswith("stamps are bar")]
    assert text.startswith(
        "stamps are bar closes in UTC, as the file name 'BTC-PERP_2022-01_UTC' says; the market never"
    )
    assert text.endswith("the minute stamped :00 is busier than :01 in 1088 quarter-hours, less busy in 1914")
    assert raw.frame["ts"].iloc[0] == pd.Timestamp("2021-12-31 23:00", tz="UTC")
    sessions = raw.frame.groupby("session").size()
    assert sessions.iloc[1:-1].tolist() == [1440] * 31
    assert len(sessions) == 33


@pytest.mark.parametrize("symbol", ["EURUSD", "USDJPY", "GBPUSD"])
def test_the_pulse_agrees_with_the_weekend(symbol: str):
    """Where the market rests at all, the busiest minute of the quarter-hour says the same as the weekend does."""
    raw = _raw(symbol)
    moved = (raw.frame["high"] - raw.frame["low"]).to_numpy()
    minute = raw.frame["ts"].dt.minute.to_numpy() % 15
    assert moved[minute == 0].mean() > 1.04 * moved[minute == 1].mean()


def test_shares_are_read_by_the_day_and_traded_by_no_team():
    raw = read_raw(FOLDER / "stress" / "us_equity_1d", instruments_max=9)
    assert (raw.bar_minutes, len(raw.instruments), len(raw.frame)) == (1440, 9, 47_608)
    rows = raw.frame[raw.frame["symbol"] == "SPY"]
    dates = pd.read_parquet(FOLDER / "stress" / "us_equity_1d" / "SPY.parquet")["ts"]
    assert rows["session"].to_numpy().astype("datetime64[D]").tolist() == dates.dt.date.tolist()
    assert (rows["ts"].dt.tz_convert("America/New_York").dt.hour == 0).all()
    found = judge(raw.instruments["SPY"], 1440, _starts(raw)[:1], rows["session"].to_numpy(np.int32))
    assert found is not None
    assert (int(found.outside.sum()), len(found.missing)) == (0, 0)
    with pytest.raises(DataError, match="teams trade 30- and 5-minute bars; found '1440 minutes'"):
        to_bars(raw)


def test_macro_series_keep_their_holes():
    series = read_series(FOLDER / "stress" / "macro_daily_1986_2026.parquet")
    assert len(series.day) == 10_608
    assert str(series.day[0].astype("datetime64[D]")) == "1986-01-02"
    assert len(series.columns) == 12
    assert np.isnan(series.columns["VIX_close"][0])
    assert series.columns["SPX"][0] == pytest.approx(209.59)
    assert np.nanmin(series.columns["WTI_spot"]) < 0  # April 2020 is a value, not a hole


def test_bars_of_another_vendor_are_read_without_a_table():
    raw = read_raw(FOLDER / "ticks" / "cffex_IF_2021-01-04_06_vendor_5m_bars.parquet")
    assert list(raw.instruments) == ["CFFEX.IF"]
    texts = [finding.text for finding in raw.report]
    assert any(text.startswith("stamps are bar closes in Asia/Shanghai: 0 of 144 bars") for text in texts)
    assert raw.frame.groupby("session").size().tolist() == [48, 48, 48]
    assert raw.frame["open"].iloc[0] == 5230.0
    assert raw.frame["low"].iloc[0] == 5198.8  # single precision undone
