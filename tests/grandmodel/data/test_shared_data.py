"""The quirks of the real files beside the checkout, one test each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from grandmodel.core.errors import DataError
from grandmodel.data.dataset import Dataset, RawDataset
from grandmodel.data.readers import read_raw, to_bars
from grandmodel.data.validation import validate

pytestmark = pytest.mark.shared
FOLDER = Path(__file__).parents[3] / "../shared/data"
CORE = ("CFFEX.IF", "CFFEX.IC", "CFFEX.T", "SHFE.cu", "SHFE.rb", "INE.sc")


@pytest.fixture(scope="module")
def chinese_raw() -> RawDataset:
    return read_raw(FOLDER / "cn_futures_5m")


@pytest.fixture(scope="module")
def chinese(chinese_raw: RawDataset) -> Dataset:
    return to_bars(chinese_raw)


@pytest.fixture(scope="module")
def nasdaq_raw() -> RawDataset:
    return read_raw(FOLDER / "futures_30m" / "NQ_30min_2020_2025.csv")


@pytest.fixture(scope="module")
def nasdaq(nasdaq_raw: RawDataset) -> Dataset:
    return to_bars(nasdaq_raw)


def _largest_return(close: np.ndarray) -> float:
    return float(np.abs(np.diff(np.log(close))).max())


def _day(text: str) -> int:
    return int(np.datetime64(text, "D").astype(int))


def test_the_core_six_are_chosen_and_the_report_says_so(chinese: Dataset):
    assert tuple(chinese.tactical) == CORE
    assert any("24 instruments found" in finding.text for finding in chinese.report)


@pytest.mark.parametrize(
    ("symbol", "raw", "adjusted"),
    [
        ("DCE.i", 0.156, 0.068),
        ("CZCE.ZC", 0.148, 0.102),
        ("DCE.pp", 0.120, 0.059),
        ("SHFE.hc", 0.087, 0.067),
    ],
)
def test_rolls_shrink_the_largest_return_as_documented(symbol: str, raw: float, adjusted: float):
    bars = to_bars(read_raw(FOLDER / "cn_futures_5m", symbols=[symbol])).tactical[symbol]
    assert _largest_return(bars.close / bars.price_factor) == pytest.approx(raw, abs=0.0006)
    assert _largest_return(bars.close) == pytest.approx(adjusted, abs=0.0006)


def test_a_roll_of_the_core_six_is_applied_before_its_trading_day(chinese: Dataset):
    table = pd.read_csv(FOLDER / "cn_futures_5m" / "rolls.csv")
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


def test_stamps_are_starts_and_the_night_belongs_to_the_next_day(chinese: Dataset):
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


def test_volume_has_one_unit_across_2020(chinese_raw: RawDataset):
    raw = pd.read_parquet(FOLDER / "cn_futures_5m" / "SHFE.cu.parquet")
    frame = chinese_raw.frame[chinese_raw.frame["symbol"] == "SHFE.cu"]
    before = raw["trading_day"].to_numpy() < 20200101
    np.testing.assert_array_equal(frame["volume"].to_numpy()[before] * 2, raw["volume"].to_numpy()[before])
    np.testing.assert_array_equal(frame["volume"].to_numpy()[~before], raw["volume"].to_numpy()[~before])


def test_nothing_of_the_core_six_is_masked(chinese: Dataset, chinese_raw: RawDataset):
    assert sum(len(bars) for bars in chinese.tactical.values()) == len(chinese_raw.frame)


def test_the_core_six_pass_every_check(chinese_raw: RawDataset, context_root: Path, tmp_path: Path):
    report = validate(chinese_raw, context_root, tmp_path)
    assert report.passed
    assert len(report.checks) > 10


def test_the_one_zero_price_of_aluminium_is_blocked_by_name(context_root: Path, tmp_path: Path):
    raw = read_raw(FOLDER / "cn_futures_5m", symbols=["SHFE.al"])
    with pytest.raises(DataError, match=r"SHFE\.al\.parquet row 46347: low must be a positive price"):
        validate(raw, context_root, tmp_path).raise_if_blocked()


def test_the_other_instruments_read_and_none_is_masked():
    symbols = sorted(path.stem for path in (FOLDER / "cn_futures_5m").glob("*.parquet") if path.stem != "SHFE.al")
    raw = read_raw(FOLDER / "cn_futures_5m", symbols=symbols)
    data = to_bars(raw)
    assert len(data.tactical) == 23
    assert sum(len(bars) for bars in data.tactical.values()) == len(raw.frame)


def test_nasdaq_zone_and_order_are_found_by_evidence(nasdaq: Dataset):
    texts = " ".join(finding.text for finding in nasdaq.report)
    assert "bar starts in Asia/Jerusalem: 0 of" in texts
    assert "dates are read day-first: so read 0 stamps" in texts


def test_nasdaq_has_no_duplicates_and_no_bar_in_the_halt(nasdaq_raw: RawDataset):
    chicago = nasdaq_raw.frame["ts"].dt.tz_convert("America/Chicago")
    assert len(chicago) == 56_083
    assert chicago.is_unique
    assert not (chicago.dt.hour == 16).any()
    assert nasdaq_raw.frame.groupby("session").size().mode().tolist() == [46]


def test_nasdaq_dead_stretch_is_cut_within_two_days(nasdaq: Dataset, nasdaq_raw: RawDataset):
    bars = nasdaq.strategic["NQ"]
    cut = np.setdiff1d(nasdaq_raw.frame["session"].unique(), np.unique(bars.session))
    assert abs(int(cut.min()) - _day("2023-12-12")) <= 2
    assert abs(int(cut.max()) - _day("2024-06-13")) <= 2
    joint = int(np.searchsorted(bars.session, cut.max()))
    assert bars.open[joint] == pytest.approx(bars.close[joint - 1], rel=1e-12)


def test_nasdaq_true_outliers_stay(nasdaq: Dataset):
    bars = nasdaq.strategic["NQ"]
    returns = np.diff(np.log(bars.close))
    april = (bars.session[1:] >= _day("2025-04-01")) & (bars.session[1:] < _day("2025-05-01"))
    assert returns[april].min() == pytest.approx(-0.045, abs=0.001)
    assert returns[april].max() == pytest.approx(0.048, abs=0.001)


def test_nasdaq_clear_rolls_are_no_returns_and_unclear_ones_are_listed(nasdaq: Dataset):
    bars = nasdaq.strategic["NQ"]
    row = int(np.searchsorted(bars.session, _day("2024-12-17")))
    assert bars.open[row] == pytest.approx(bars.close[row - 1], rel=1e-12)
    texts = [finding.text for finding in nasdaq.report]
    assert any(text.startswith("8 rolls are detected") for text in texts)
    assert any("no gap stands out" in text and "2023-03-14" in text for text in texts)


def test_nasdaq_passes_every_blocking_check(nasdaq_raw: RawDataset, context_root: Path, tmp_path: Path):
    assert validate(nasdaq_raw, context_root, tmp_path).passed


def test_nasdaq_is_strategic_only(nasdaq: Dataset):
    assert nasdaq.tactical == {}
    assert set(nasdaq.strategic) == {"NQ"}
