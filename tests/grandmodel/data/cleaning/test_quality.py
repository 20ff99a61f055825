"""The judgement of one instrument: what stays, what goes, what is said, made up and on the real files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from grandmodel.core.instrument import Instrument
from grandmodel.data.asset_classes import LIMITS, asset_class
from grandmodel.data.cleaning.adjust import adjusted_bars, rows_of, to_bars
from grandmodel.data.cleaning.quality import Quality, judge, mended
from grandmodel.data.cleaning.report import Rows, date_text
from grandmodel.data.reading.readers import read_raw
from tests.grandmodel.data.market_rows import DAY_NS, market_rows, spoilt


def _cut(rows: Rows, quality: Quality) -> list[int]:
    return np.setdiff1d(np.arange(len(rows.session)), quality.kept).tolist()


def _texts(quality: Quality) -> str:
    return " ".join(finding.text for finding in quality.findings)


def test_a_quiet_market_is_left_alone():
    rows = market_rows()
    quality = judge(rows)
    assert len(quality.kept) == len(rows.session)
    assert (quality.mend == 1).all()
    assert not quality.locked.any()
    assert (quality.joints, quality.splits, quality.findings) == ((), (), ())


def test_a_stretch_in_another_unit_is_mended_and_said():
    rows = spoilt(market_rows(), 1000, 1100, times=100)
    quality = judge(rows)
    np.testing.assert_allclose(rows.values["close"] * quality.mend, market_rows().values["close"])
    (finding,) = quality.findings
    assert finding.text.startswith("100 bars stand 100 times higher on")
    assert finding.text.endswith("another unit: they are multiplied by 0.01")
    assert (finding.level, finding.file, finding.row_count) == ("warning", "made.csv", 100)
    assert finding.rows == tuple(range(1002, 1022))


@pytest.mark.parametrize("power", [-2, -1, 1, 2, 3])
def test_mended_prices_are_exact(power: int):
    """A file says 36.3 for 363.0 and 0.1 * 36.3 is no 3.63: what is mended equals what was true, bit for bit."""
    good = market_rows()
    rows = spoilt(good, 0, 0)
    names = ("open", "high", "low", "close")
    for name in names:
        texts = [f"{price * 10.0**power:.8f}" for price in good.values[name][1000:1100]]
        rows.values[name][1000:1100] = [float(text) for text in texts]
    quality = judge(rows)
    assert len(quality.kept) == len(rows.session)
    for name, column in mended(rows, quality, names).items():
        np.testing.assert_array_equal(column, good.values[name])
        assert not np.array_equal(rows.values[name], good.values[name])


def test_bad_prints_go_and_their_rows_are_listed():
    rows = spoilt(spoilt(market_rows(), 1000, 1001, times=0.95), 2000, 2060, times=1.7)
    quality = judge(rows)
    assert _cut(rows, quality) == [1000, *range(2000, 2060)]
    assert "another unit: they are cut out" in _texts(quality)
    assert "bad prints: cut out" in _texts(quality)
    assert quality.joints == ()


def test_true_crashes_stay():
    rows = spoilt(spoilt(market_rows(), 1000, 1002, times=0.93, volume=9000), 2000, 3840, times=0.88)
    quality = judge(rows)
    assert _cut(rows, quality) == []
    assert "true moves, left alone" in _texts(quality)


def test_a_stale_feed_goes():
    rows = market_rows()
    for column in rows.values.values():
        column[101:120] = column[100]
    quality = judge(rows)
    assert _cut(rows, quality) == list(range(101, 120))
    assert "a stale feed" in _texts(quality)


def test_a_dead_stretch_goes_and_its_edges_are_to_be_joined():
    rows = spoilt(market_rows(sessions=120), 48 * 40, 48 * 60, times=1.05, volume=3)
    quality = judge(rows)
    assert _cut(rows, quality) == list(range(48 * 40, 48 * 60))
    assert quality.joints == (48 * 40,)


def test_another_listing_goes_and_leaves_no_joint():
    rows = spoilt(market_rows(), 1000, 3840, times=5)
    start_ns, session = rows.start_ns.copy(), rows.session.copy()
    start_ns[1000:] += 60 * DAY_NS
    session[1000:] += 60
    quality = judge(replace(rows, start_ns=start_ns, session=session))
    assert _cut(rows, quality) == list(range(1000))
    assert quality.joints == ()
    assert "another listing under the same symbol" in _texts(quality)


def test_a_known_roll_is_neither_a_unit_nor_a_split():
    rows = spoilt(market_rows(), 1920, 3840, times=1.8)
    unknown = judge(rows)
    assert "no simple fraction" in _texts(unknown)
    known = judge(replace(rows, rolls=((int(rows.session[1920]), 1.8),)))
    assert known.findings == ()


def test_a_unit_that_holds_is_a_split_and_prices_before_it_are_adjusted():
    rows = spoilt(market_rows(), 1920, 3840, times=0.01)
    quality = judge(rows)
    assert quality.splits == ((1920, pytest.approx(0.01)),)
    assert len(quality.kept) == len(rows.session)


def test_locked_bars_stay_and_are_flagged():
    rows = market_rows()
    limit = round(float(rows.values["close"][1919]) * 0.93, 1)
    for name in ("open", "high", "low", "close"):
        rows.values[name][1920:1968] = limit
    quality = judge(rows)
    assert len(quality.kept) == len(rows.session)
    assert np.flatnonzero(quality.locked).tolist() == list(range(1920, 1968))


def test_sessions_are_held_against_the_calendar():
    rows = market_rows(symbol="CFFEX.IF")
    local = rows.session * np.int64(DAY_NS) + np.tile(
        np.r_[np.arange(570, 690, 5), np.arange(780, 900, 5)] * 60_000_000_000, 80
    )
    real = replace(
        rows,
        start_ns=local - 8 * 3_600_000_000_000,
        instrument=rows.instrument.model_copy(update={"timezone": "Asia/Shanghai"}),
        simulated=False,
    )
    texts = _texts(judge(real))
    assert "outside the hours of the market (2019-02-04" in texts  # the spring festival
    assert "in the calendar of the market but not in the file" not in texts


@pytest.mark.parametrize(
    ("symbol", "minutes", "kind"),
    [
        ("NQ", 30, "index_future"),
        ("ESZ3", 5, "index_future"),
        ("CFFEX.IF", 5, "index_future"),
        ("CFFEX.T", 5, "bond_future"),
        ("ZN", 5, "bond_future"),
        ("SHFE.zn", 5, "commodity_future"),
        ("CL", 5, "commodity_future"),
        ("6EH4", 1, "fx"),
        ("EURUSD", 1, "fx"),
        ("BTC-PERP", 1, "crypto"),
        ("AAPL", 1440, "equity"),
        ("SPY", 5, "equity"),
    ],
)
def test_the_class_is_told_by_symbol_and_bars(symbol: str, minutes: int, kind: str):
    terms = {"symbol": symbol, "multiplier": 1, "tick_size": 0.01, "session_bars_5m": 10}
    assert asset_class(Instrument(**terms), minutes) == kind
    assert asset_class(Instrument(**terms, asset_class="crypto"), minutes) == "crypto"
    assert set(LIMITS) >= {kind}


def test_an_instrument_without_a_class_is_written_as_before():
    terms = {"symbol": "NQ", "multiplier": 20, "tick_size": 0.25, "session_bars_5m": 276}
    assert "asset_class" not in Instrument(**terms).model_dump()
    assert Instrument(**terms, asset_class="fx").model_dump()["asset_class"] == "fx"


# --- real files

CORE = ("CFFEX.IF", "CFFEX.IC", "CFFEX.T", "SHFE.cu", "SHFE.rb", "INE.sc")
BAD_PRINTS = {
    "AAPL": ["2009-09-21", "2010-08-31", "2011-01-03"],  # low a tenth of the price: a digit lost
    "AIG": ["2003-11-04", "2004-10-29", "2009-05-05"],
    "BAC": ["2001-11-12", "2004-09-14"],
    "EEM": ["2005-04-11"],
    "IBM": ["2002-12-23"],
    "IWM": ["2008-09-19"],  # twice the price
    "QQQ": ["2004-11-01", "2004-11-17"],
    "SPY": ["2002-04-02", "2004-12-20", "2005-09-06"],
    "USO": [],
}
SPLITS = {
    "AAPL": ["2000-06-21 1/2", "2005-02-28 1/2", "2014-06-09 1/7", "2020-08-31 1/4"],
    "AIG": ["1998-08-03 2/3", "1999-08-02 4/5", "2000-07-31 2/3", "2009-07-01 20"],
    "BAC": ["2004-08-30 1/2"],
    "EEM": ["2005-06-09 1/3", "2008-07-24 1/3"],
    "IBM": ["1999-05-27 1/2"],
    "IWM": ["2005-06-09 1/2"],
    "QQQ": ["2000-03-20 1/2"],
    "SPY": [],
    "USO": ["2020-04-29 8"],
}


def _real(path: Path, symbol: str | None = None) -> tuple[Rows, Quality]:
    raw = read_raw(path, symbols=[symbol] if symbol else ())
    ((name, frame),) = raw.frame.groupby("symbol", sort=False, observed=True)
    rows = rows_of(raw, str(name), frame)
    return rows, judge(rows)


@pytest.mark.shared
@pytest.mark.parametrize("symbol", BAD_PRINTS)
def test_bad_prints_and_splits_of_real_shares(symbol: str, shared_data: Path):
    rows, quality = _real(shared_data / "stress" / "us_equity_1d" / f"{symbol}.parquet")
    first = int(quality.kept[0])
    gone = [date_text(rows.session[row]) for row in _cut(rows, quality) if row >= first]
    assert gone == BAD_PRINTS[symbol]
    assert first == {"EEM": 722, "USO": 140}.get(symbol, 0)  # another listing, 127 days and seven years before
    splits = [
        f"{date_text(rows.session[quality.kept[bar]])} {1 / round(1 / ratio) if ratio < 0.6 else ratio:.3f}"
        for bar, ratio in quality.splits
    ]
    assert splits == [
        f"{day} {eval_fraction(fraction):.3f}" for day, fraction in (text.split() for text in SPLITS[symbol])
    ]


def eval_fraction(text: str) -> float:
    """Return ``1/7`` as a number."""
    upper, _, lower = text.partition("/")
    return float(upper) / float(lower or 1)


@pytest.mark.shared
def test_the_crashes_of_2000_2008_and_2020_stay(shared_data: Path):
    for symbol, day, move in (
        ("AAPL", "2000-09-29", -0.52),
        ("AIG", "2008-09-15", -0.58),
        ("USO", "2020-03-09", -0.25),
    ):
        raw = read_raw(shared_data / "stress" / "us_equity_1d" / f"{symbol}.parquet")
        bars = adjusted_bars(raw)[0][symbol]
        row = int(np.searchsorted(bars.session, int(np.datetime64(day, "D").astype(int))))
        assert bars.close[row] / bars.close[row - 1] - 1 == pytest.approx(move, abs=0.01)


@pytest.mark.shared
@pytest.mark.parametrize("symbol", CORE)
def test_no_bar_of_the_core_six_is_cut_and_flat_limit_days_are_locked(symbol: str, shared_data: Path):
    rows, quality = _real(shared_data / "cn_futures_5m", symbol)
    assert _cut(rows, quality) == []
    assert (quality.mend == 1).all()
    assert quality.splits == ()
    counts = {"CFFEX.IF": 3, "CFFEX.IC": 26, "CFFEX.T": 3, "SHFE.cu": 103, "SHFE.rb": 187, "INE.sc": 401}
    assert int(quality.locked.sum()) == counts[symbol]


@pytest.mark.shared
def test_the_true_excursions_of_chinese_index_futures_stay(shared_data: Path):
    for symbol, day in (("CFFEX.IF", "2016-05-31"), ("CFFEX.IH", "2017-03-14")):
        _, quality = _real(shared_data / "cn_futures_5m", symbol)
        (text,) = [finding.text for finding in quality.findings if "true moves" in finding.text]
        assert day in text


@pytest.mark.shared
def test_oil_of_march_and_april_2020_and_the_reopening_stay(shared_data: Path):
    bars = to_bars(read_raw(shared_data / "cn_futures_5m", symbols=["INE.sc"])).tactical["INE.sc"]
    moves = np.diff(np.log(bars.close))
    days = bars.session[1:].astype("datetime64[D]")
    for first, last, least in (("2020-02-03", "2020-02-03", 0.05), ("2020-03-09", "2020-03-09", 0.05)):
        within = (days >= np.datetime64(first)) & (days <= np.datetime64(last))
        assert np.abs(moves[within]).max() > least


@pytest.mark.shared
def test_prints_on_an_exchange_holiday_are_bad(shared_data: Path):
    for symbol, starts in (("CZCE.ZC", ["2016-06-09T01:55", "2016-06-09T02:40"]), ("CZCE.TA", ["2016-06-09T02:10"])):
        rows, quality = _real(shared_data / "cn_futures_5m", symbol)
        assert [str(np.datetime64(int(rows.start_ns[row]), "ns"))[:16] for row in _cut(rows, quality)] == starts


@pytest.mark.shared
@pytest.mark.parametrize(
    ("file", "traded"),
    [("crypto_1m/BTC-PERP_2022-01_UTC.parquet", 5), ("fx_1m/6EH4_2024-01_UTC.parquet", 1)],
)
def test_coins_and_currency_futures_lose_nothing(file: str, traded: int, shared_data: Path):
    rows, quality = _real(shared_data / file)
    assert _cut(rows, quality) == []
    assert sum(finding.row_count for finding in quality.findings if "true moves" in finding.text) == traded


@pytest.mark.shared
@pytest.mark.parametrize("file", ["GBPUSD_2012-02_bidask_UTC", "USDJPY_2013-02_bidask_UTC", "EURUSD_2017H1_bid_EST"])
def test_currencies_without_volume_lose_nothing(file: str, shared_data: Path):
    rows, quality = _real(shared_data / "fx_1m" / f"{file}.parquet")
    assert _cut(rows, quality) == []
