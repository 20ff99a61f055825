"""The Chinese futures among the real files beside the checkout: a test for each sentence of their README.

=============================================================  =======================================================
sentence                                                       test
=============================================================  =======================================================
24 futures, 57k-126k rows each, 2.0 M in all                   all_24_are_read_at_once
ts is the CLOSE in China Standard Time                         stamps_are_closes_in_shanghai_by_the_hours_of_the_market
the night session belongs to the next day's close              the_night_belongs_to_the_next_day
a 30-min bar is six 5-min bars                                 six_five_minute_bars_make_a_thirty_minute_bar
no duplicates, no OHLC violations, strictly increasing         rows_are_in_order_and_possible_but_for_one
(the one: SHFE.al row 46347 has a low of 0)                    the_one_zero_price_of_aluminium_is_blocked_by_name
UNADJUSTED across rolls; largest returns fall as stated        rolls_shrink_the_largest_return_as_documented
done on the right bar                                          a_roll_of_the_core_six_is_applied_before_its_trading_day
volume and open interest halve at 2020-01-01, CFFEX not        volume_has_one_unit_across_2020
CZCE turnover in 2020 is off: derive no VWAP                   turnover_of_zhengzhou_in_2020_is_useless_and_unused
nights suspended 2020-02-03..05-06                             suspended_nights_are_no_holes
sc starts 2018-03-26                                           crude_oil_begins_with_its_listing
largest true move is mostly the reopening on 2020-02-03        the_reopening_of_2020_is_kept
correlations 0.84, 0.86, 0.65, 0.48, -0.27                     correlations_are_as_stated
small core of six                                              the_core_six_are_chosen_and_the_report_says_so
=============================================================  =======================================================

Beyond the README: a day under the wrong date, sessions that vendor and exchange lost (``sessions_that_are_missing``).
The other files are in ``test_shared_nasdaq.py`` and ``test_shared_minutes.py``.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from grandmodel.core.errors import DataError
from grandmodel.data.calendar.schedules import judge, market_of, schedule
from grandmodel.data.calendar.sessions import days_of_dates
from grandmodel.data.cleaning.adjust import to_bars
from grandmodel.data.cleaning.rolls import detect_interest_rolls, price_factors
from grandmodel.data.dataset import Dataset, RawDataset
from grandmodel.data.reading.readers import read_raw
from grandmodel.data.validation.validate import validate

pytestmark = pytest.mark.shared
FOLDER = Path(__file__).parents[3] / "../shared/data"
FUTURES = FOLDER / "cn_futures_5m"
CORE = ("CFFEX.IF", "CFFEX.IC", "CFFEX.T", "SHFE.cu", "SHFE.rb", "INE.sc")
PEAK_BYTES_MAX = 1_200_000_000  # 1.5 GB is allowed; about 0.6 are needed


@pytest.fixture(scope="module")
def all_raw() -> RawDataset:
    return read_raw(FUTURES, instruments_max=24)


@pytest.fixture(scope="module")
def chinese_raw() -> RawDataset:
    return read_raw(FUTURES)


@pytest.fixture(scope="module")
def chinese(chinese_raw: RawDataset) -> Dataset:
    return to_bars(chinese_raw)


def _largest_return(close: np.ndarray) -> float:
    return float(np.abs(np.diff(np.log(close))).max())


def _day(text: str) -> int:
    return int(np.datetime64(text, "D").astype(int))


def _rows(raw: RawDataset, symbol: str) -> pd.DataFrame:
    return raw.frame[raw.frame["symbol"] == symbol]


def _starts(rows: pd.DataFrame) -> np.ndarray:
    return pd.DatetimeIndex(rows["ts"]).as_unit("ns").asi8


def _adjusted_close(raw: RawDataset, symbol: str) -> pd.Series:
    """Return closes without rolls, by UTC start; nothing is judged or cut."""
    rows = _rows(raw, symbol)
    session = rows["session"].to_numpy()
    steps = [
        (int(np.searchsorted(session, roll.session)), roll.ratio)
        for roll in raw.rolls
        if roll.symbol == symbol and session[0] < roll.session <= session[-1]
    ]
    factor = price_factors(len(rows), steps)
    return pd.Series(rows["close"].to_numpy() * factor, index=pd.DatetimeIndex(rows["ts"]))


def test_all_24_are_read_at_once(all_raw: RawDataset):
    counts = all_raw.frame.groupby("symbol", observed=True).size()
    assert len(counts) == 24
    assert (int(counts.min()), int(counts.max()), int(counts.sum())) == (58_400, 126_428, 1_973_932)


def test_reading_all_24_stays_small():
    code = (
        "import re, sys; from pathlib import Path; from grandmodel.data.reading.readers import read_raw; "
        "raw = read_raw(Path(sys.argv[1]), instruments_max=24); assert len(raw.frame) > 1_900_000; "
        # getrusage would count what the parent held before this program began
        "print(int(re.search(r'VmHWM:\\s+(\\d+) kB', Path('/proc/self/status').read_text())[1]) * 1024)"
    )
    command = [sys.executable, "-c", code, str(FUTURES)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    assert 100_000_000 < int(done.stdout) < PEAK_BYTES_MAX


def test_the_core_six_are_chosen_and_the_report_says_so(chinese: Dataset):
    assert tuple(chinese.tactical) == CORE
    assert any("24 instruments found" in finding.text for finding in chinese.report)


def test_stamps_are_closes_in_shanghai_by_the_hours_of_the_market(all_raw: RawDataset):
    texts = [finding.text for finding in all_raw.report if "as the layout of the folder says" in finding.text]
    assert len(texts) == 24
    assert all(text.startswith("stamps are bar closes in Asia/Shanghai") for text in texts)
    for symbol, rows in all_raw.frame.groupby("symbol", observed=True):
        instrument = all_raw.instruments[str(symbol)]
        found = judge(instrument, 5, _starts(rows), rows["session"].to_numpy(np.int32))
        assert found is not None
        assert found.outside.sum() <= 2, symbol  # in the morning break of 2016-06-13, on the exchange of Zhengzhou


def test_rows_are_in_order_and_possible_but_for_one(all_raw: RawDataset):
    frame = all_raw.frame
    same = frame["symbol"].eq(frame["symbol"].shift())
    assert (frame["ts"].diff()[same] > pd.Timedelta(0)).all()
    wrong = frame[(frame["low"] <= 0) | (frame["high"] < frame[["open", "close", "low"]].max(axis=1))]
    assert wrong[["file", "row"]].to_numpy().tolist() == [["SHFE.al.parquet", 46347]]


@pytest.mark.parametrize(
    ("symbol", "raw", "adjusted"),
    [
        ("DCE.i", 0.156, 0.068),
        ("CZCE.ZC", 0.148, 0.102),
        ("DCE.pp", 0.120, 0.059),
        ("SHFE.hc", 0.087, 0.067),
    ],
)
def test_rolls_shrink_the_largest_return_as_documented(all_raw: RawDataset, symbol: str, raw: float, adjusted: float):
    assert _largest_return(_rows(all_raw, symbol)["close"].to_numpy()) == pytest.approx(raw, abs=0.0006)
    assert _largest_return(_adjusted_close(all_raw, symbol).to_numpy()) == pytest.approx(adjusted, abs=0.0006)


def test_adjusted_and_unadjusted_prices_are_both_there(chinese: Dataset, chinese_raw: RawDataset):
    """``close`` has no rolls in it, ``close / price_factor`` is what was traded; their last stretch is the same."""
    bars = chinese.tactical["SHFE.rb"]
    traded = bars.close / bars.price_factor
    rows = _rows(chinese_raw, "SHFE.rb")
    kept = np.isin(_starts(rows), bars.start_ns)
    np.testing.assert_allclose(traded, rows["close"].to_numpy()[kept], rtol=1e-12)
    assert len(np.unique(bars.price_factor)) > 10
    assert bars.price_factor[-1] == 1.0


def test_a_roll_of_the_core_six_is_applied_before_its_trading_day(chinese: Dataset):
    table = pd.read_csv(FUTURES / "rolls.csv")
    seen = 0
    for symbol, bars in chinese.tactical.items():
        for _, roll in table[(table["symbol"] == symbol) & (table["old_close"] > 0)].iterrows():
            day = _day(pd.Timestamp(str(roll["date"])).strftime("%Y-%m-%d"))
            row = int(np.searchsorted(bars.session, day))
            if 0 < row < len(bars):
                ratio = bars.price_factor[row - 1] / bars.price_factor[row]
                assert ratio == pytest.approx(roll["new_close"] / roll["old_close"], rel=1e-9)
                seen += 1
    assert seen > 200


def test_the_night_belongs_to_the_next_day(chinese: Dataset):
    bars = chinese.tactical["SHFE.cu"]
    local = pd.DatetimeIndex(bars.start_ns.astype("datetime64[ns]"), tz="UTC").tz_convert("Asia/Shanghai")
    assert {9, 21}.issubset(set(local.hour))
    assert not set(local.hour) & set(range(3, 9))
    night = local.hour == 21
    assert night.sum() > 1000
    assert (
        bars.session[night] > (local[night].tz_localize(None).normalize().as_unit("ns").asi8 // (86400 * 10**9))
    ).all()


def test_six_five_minute_bars_make_a_thirty_minute_bar(chinese: Dataset):
    for symbol, bars in chinese.tactical.items():
        bars30 = chinese.strategic[symbol]
        whole = int((bars.session == bars.session[10_000]).sum()) // 6
        first5 = int(np.searchsorted(bars.session, bars.session[10_000]))
        first30 = int(np.searchsorted(bars30.session, bars.session[10_000]))
        assert whole >= 8
        for group in range(whole):
            part = slice(first5 + 6 * group, first5 + 6 * group + 6)
            row = first30 + group
            assert bars30.high[row] == bars.high[part].max()
            assert bars30.low[row] == bars.low[part].min()
            assert (bars30.open[row], bars30.close[row]) == (bars.open[part][0], bars.close[part][-1])
            assert bars30.volume[row] == bars.volume[part].sum()
            assert bars30.close_ns[row] == bars.close_ns[part][-1]


@pytest.mark.parametrize("symbol", ["SHFE.cu", "INE.sc", "DCE.m", "CZCE.SR"])
def test_volume_has_one_unit_across_2020(all_raw: RawDataset, symbol: str):
    raw = pd.read_parquet(FUTURES / f"{symbol}.parquet")
    volume = _rows(all_raw, symbol)["volume"].to_numpy()
    before = raw["trading_day"].to_numpy() < 20200101
    np.testing.assert_array_equal(volume[before] * 2, raw["volume"].to_numpy()[before])
    np.testing.assert_array_equal(volume[~before], raw["volume"].to_numpy()[~before])
    interest = raw["open_interest"].to_numpy(np.float64)
    first = int(np.argmin(before))
    assert interest[first] / interest[first - 1] == pytest.approx(0.5, abs=0.02)  # the jump that the reader mends


def test_volume_of_the_financial_exchange_is_single_throughout(all_raw: RawDataset):
    raw = pd.read_parquet(FUTURES / "CFFEX.IF.parquet")
    np.testing.assert_array_equal(_rows(all_raw, "CFFEX.IF")["volume"], raw["volume"])


@pytest.mark.parametrize("symbol", ["CZCE.MA", "CZCE.TA"])
def test_turnover_of_zhengzhou_in_2020_is_useless_and_unused(all_raw: RawDataset, symbol: str):
    raw = pd.read_parquet(FUTURES / f"{symbol}.parquet")
    traded = raw["volume"].to_numpy(np.float64) * all_raw.instruments[symbol].multiplier * raw["close"].to_numpy()
    ratio = np.divide(raw["turnover"].to_numpy(np.float64), traded, out=np.ones(len(raw)), where=traded > 0)
    is_2020 = raw["trading_day"].to_numpy() >= 20200101
    assert np.median(ratio[is_2020]) == pytest.approx(0.66, abs=0.02)
    assert np.mean(np.abs(ratio[is_2020] - 1) < 0.02) < 0.3
    assert np.mean(np.abs(ratio[~is_2020] - 1) < 0.02) > 0.95
    assert "turnover" not in all_raw.frame.columns


def test_suspended_nights_are_no_holes(all_raw: RawDataset):
    first, last = _day("2020-02-03"), _day("2020-05-06")
    for symbol, rows in all_raw.frame.groupby("symbol", observed=True):
        instrument = all_raw.instruments[str(symbol)]
        start_ns, session = _starts(rows), rows["session"].to_numpy(np.int32)
        found = judge(instrument, 5, start_ns, session)
        assert found is not None
        inside = [str(np.datetime64(int(day), "D")) for day in found.cut if first <= day <= last]
        # Crude oil stood locked at its limit for a part of these days, and nothing traded.
        assert inside == (["2020-02-03", "2020-03-09"] if symbol == "INE.sc" else []), symbol
        assert not ((found.missing >= first) & (found.missing <= last)).any()
        market = market_of(instrument)
        assert market is not None
        hours = schedule(market, first, last)
        local = pd.DatetimeIndex(hours.open_ns.astype("datetime64[ns]"), tz="UTC").tz_convert("Asia/Shanghai")
        assert (local.hour < 15).all()


def test_crude_oil_begins_with_its_listing(all_raw: RawDataset):
    rows = _rows(all_raw, "INE.sc")
    assert rows["ts"].iloc[0] == pd.Timestamp("2018-03-26 21:00", tz="Asia/Shanghai")
    found = judge(all_raw.instruments["INE.sc"], 5, _starts(rows), rows["session"].to_numpy(np.int32))
    assert found is not None
    assert len(found.missing) == 0


def test_sessions_that_are_missing_or_under_the_wrong_date_are_found(all_raw: RawDataset):
    """The circuit breaker's second day stands under the next date; silver and bitumen lack weeks; one night is cut."""
    found = {}
    for symbol in ("CFFEX.IF", "SHFE.ag", "SHFE.bu", "SHFE.rb"):
        rows = _rows(all_raw, symbol)
        start_ns, session = _starts(rows), rows["session"].to_numpy(np.int32)
        found[symbol] = judge(all_raw.instruments[symbol], 5, start_ns, session)
    assert found["CFFEX.IF"].missing.tolist() == [_day("2016-01-07")]
    assert found["CFFEX.IF"].astray.sum() == 4
    assert found["CFFEX.IF"].cut.tolist() == [_day("2016-01-04")]
    assert (len(found["SHFE.ag"].missing), len(found["SHFE.bu"].missing)) == (24, 12)
    assert found["SHFE.rb"].cut.tolist() == [_day("2019-12-26")]
    texts = [finding.text for finding in all_raw.report if finding.subject == "CFFEX.IF.parquet"]
    assert "4 bars carry another trading day than the calendar gives: 2016-01-08" in texts


def test_the_reopening_of_2020_is_kept(all_raw: RawDataset, chinese: Dataset):
    largest = {}
    for symbol in all_raw.instruments:
        moves = np.abs(np.diff(np.log(np.maximum(_adjusted_close(all_raw, symbol).to_numpy(), 1e-9))))
        largest[symbol] = int(_rows(all_raw, symbol)["session"].to_numpy()[int(np.argmax(moves)) + 1])
    assert sum(day == _day("2020-02-03") for day in largest.values()) == 14
    bars = chinese.tactical["CFFEX.IF"]
    moves = np.diff(np.log(bars.close))
    row = int(np.argmax(np.abs(moves)))
    assert moves[row] == pytest.approx(-0.0786, abs=0.0001)
    assert bars.session[row + 1] == _day("2020-02-03")


@pytest.mark.parametrize(
    ("pair", "stated"),
    [
        (("CFFEX.IF", "CFFEX.IC"), 0.84),
        (("SHFE.rb", "SHFE.hc"), 0.86),
        (("SHFE.rb", "DCE.i"), 0.65),
        (("SHFE.cu", "SHFE.zn"), 0.48),
        (("CFFEX.IF", "CFFEX.T"), -0.27),
    ],
)
def test_correlations_are_as_stated(all_raw: RawDataset, pair: tuple[str, str], stated: float):
    """They are those of 2018 to 2020; over all five years 0.85, 0.87, 0.73, 0.57 and -0.18 are found."""
    returns = [_day_returns(all_raw, symbol) for symbol in pair]
    both = pd.concat(returns, axis=1, join="inner").loc["2018":]
    assert len(both) > 30_000
    assert both.corr().iloc[0, 1] == pytest.approx(stated, abs=0.02)


def _day_returns(raw: RawDataset, symbol: str) -> pd.Series:
    rows = _rows(raw, symbol)
    hour = rows["ts"].dt.tz_convert("Asia/Shanghai").dt.hour
    rows = rows[(hour >= 9) & (hour < 16)]
    same = rows["session"].diff() == 0
    return pd.Series(np.log(rows["close"]).diff()[same].to_numpy(), index=pd.DatetimeIndex(rows["ts"][same]))


def test_rolls_found_by_open_interest_are_those_of_the_table(all_raw: RawDataset):
    """The table is what counts; this is how far the evidence goes where there is none."""
    found = known = right = 0
    for symbol in all_raw.instruments:
        raw = pd.read_parquet(FUTURES / f"{symbol}.parquet")
        session = days_of_dates(raw["trading_day"].to_numpy(np.int64))
        columns = [raw[name].to_numpy(np.float64) for name in ("open", "close", "open_interest")]
        days = {roll.session for roll in detect_interest_rolls(symbol, session, *columns)}
        table = {roll.session for roll in all_raw.rolls if roll.symbol == symbol}
        found, known, right = found + len(days), known + len(table), right + len(days & table)
    assert right / found > 0.94
    assert right / known > 0.64


def test_nothing_of_the_core_six_is_masked(chinese: Dataset, chinese_raw: RawDataset):
    assert sum(len(bars) for bars in chinese.tactical.values()) == len(chinese_raw.frame)


def test_the_core_six_pass_every_check(chinese_raw: RawDataset, context_root: Path, tmp_path: Path):
    report = validate(chinese_raw, context_root, tmp_path)
    assert report.passed
    assert len(report.checks) > 10


def test_the_one_zero_price_of_aluminium_is_blocked_by_name(context_root: Path, tmp_path: Path):
    raw = read_raw(FUTURES, symbols=["SHFE.al"])
    with pytest.raises(DataError, match=r"SHFE\.al\.parquet row 46347: low must be a positive price"):
        validate(raw, context_root, tmp_path).raise_if_blocked()


def test_of_the_other_instruments_only_bad_prints_are_cut(all_raw: RawDataset):
    raw = replace(all_raw, frame=all_raw.frame[all_raw.frame["symbol"] != "SHFE.al"])
    data = to_bars(raw)
    assert len(data.tactical) == 23
    for symbol, bars in data.tactical.items():
        rows = _rows(raw, symbol)
        cut = rows[~np.isin(_starts(rows), bars.start_ns)]
        # Zhengzhou's prints in the morning break of 2016-06-13 leave the market and come straight back.
        assert set(cut["session"]) <= {_day("2016-06-13")}, symbol
        assert len(cut) <= (2 if symbol.startswith("CZCE") else 0), symbol
