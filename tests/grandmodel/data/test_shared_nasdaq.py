"""The Nasdaq future among the real files, the dirty one: a test for each sentence of their README.

=============================================================  =======================================================
sentence                                                       test
=============================================================  =======================================================
CRLF; two date spellings decided by the day                    the_file_mixes_two_spellings_and_line_ends
read month-first, short rows parse and yield future dates      month_first_is_refuted_by_the_clock_alone
STARTS in naive Asia/Jerusalem, the one zone without a bar     zone_and_order_are_found_by_evidence,
in the halt                                                    no_duplicates_and_no_bar_in_the_halt
(another zone is refused with both scores)                     another_zone_is_contradicted_by_the_bars
session date = Chicago + 7 h; 46 bars a full session           no_duplicates_and_no_bar_in_the_halt
four Fridays jump an hour locally                              four_fridays_tell_israel_from_europe
2023-12-12 to 2024-06-13 is the wrong contract                 dead_stretch_is_cut_within_two_days
(+4.5 % on a zero-volume bar, half the bars, median volume 7)  dead_stretch_is_as_described
OHLC rules pass there                                          passes_every_blocking_check
missing or cut: 2020-07-10, 2022-04-28/29, 2024-01-15          missing_and_cut_sessions_are_found
rolls unadjusted, +1 % on the Tuesday, in high-rate years      clear_rolls_are_no_returns_and_unclear_ones_are_listed
outliers to keep: -4.5 %, +4.8 % in April 2025, CPI days       true_outliers_stay
the last session is cut by the export                          missing_and_cut_sessions_are_found
=============================================================  =======================================================
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from grandmodel.core.errors import DataError
from grandmodel.data.calendar.schedules import judge
from grandmodel.data.cleaning.adjust import to_bars
from grandmodel.data.dataset import Dataset, RawDataset
from grandmodel.data.reading.readers import read_raw
from grandmodel.data.validation.validate import validate

pytestmark = pytest.mark.shared
FILE = Path(__file__).parents[3] / "../shared/data/futures_30m/NQ_30min_2020_2025.csv"


@pytest.fixture(scope="module")
def nasdaq_raw() -> RawDataset:
    return read_raw(FILE)


@pytest.fixture(scope="module")
def nasdaq(nasdaq_raw: RawDataset) -> Dataset:
    return to_bars(nasdaq_raw)


def _day(text: str) -> int:
    return int(np.datetime64(text, "D").astype(int))


def _dates(days: np.ndarray) -> list[str]:
    return np.asarray(days).astype("datetime64[D]").astype(str).tolist()


def _stamps() -> pd.Series:
    return pd.read_csv(FILE, dtype=str)["Timestamp"]


def test_the_file_mixes_two_spellings_and_line_ends():
    assert FILE.read_bytes().count(b"\r\n") == 56_084
    stamps = _stamps()
    is_short = stamps.str.fullmatch(r"\d{1,2}/\d{1,2}/\d{4} \d{1,2}:\d{2}")
    day = stamps.str.split("/").str[0].astype(int)
    assert (is_short == (day <= 12)).all()
    assert 20_000 < is_short.sum() < 25_000


def test_month_first_is_refuted_by_the_clock_alone():
    """So read, the short rows are possible dates without a duplicate, but lie up to five months ahead of the file."""
    stamps = _stamps()
    short = stamps[stamps.str.split("/").str[0].astype(int) <= 12]
    swapped = pd.to_datetime(short, format="%m/%d/%Y %H:%M")
    assert swapped.is_unique
    assert swapped.max() > pd.Timestamp("2025-12-01")
    with pytest.raises(DataError, match=r"row \d+"):
        read_raw(FILE, date_order="month-first")


def test_nasdaq_zone_and_order_are_found_by_evidence(nasdaq: Dataset):
    texts = " ".join(finding.text for finding in nasdaq.report)
    found = "stamps are bar starts in Asia/Jerusalem: 0 of 56083 bars fall where the market rests, against 8 of 56083"
    assert found in texts
    assert "dates are read day-first: so read 0 stamps" in texts


@pytest.mark.parametrize("zone", ["America/Chicago", "UTC", "Europe/London", "Asia/Tokyo"])
def test_another_zone_is_contradicted_by_the_bars(zone: str):
    match = rf"stamps cannot be in {zone}.*against 0 of 56083 bars for starts in Asia/Jerusalem"
    with pytest.raises(DataError, match=match):
        read_raw(FILE, timezone=zone)


def test_the_right_zone_may_be_stated(nasdaq_raw: RawDataset):
    told = read_raw(FILE, timezone="Asia/Jerusalem", stamp="start")
    assert (told.frame["ts"] == nasdaq_raw.frame["ts"]).all()


def test_four_fridays_tell_israel_from_europe(nasdaq_raw: RawDataset):
    """Israel changes its clocks two days before the Union: read in Athens, eight bars would lie in the halt."""
    local = nasdaq_raw.frame["ts"].dt.tz_convert("Asia/Jerusalem").dt.tz_localize(None)
    athens = local.dt.tz_localize("Europe/Athens", ambiguous="NaT", nonexistent="NaT")
    halted = athens.dt.tz_convert("America/Chicago").dt.hour == 16
    assert halted.sum() == 8
    days = _dates(np.unique(nasdaq_raw.frame["session"][halted]))
    assert days == ["2021-03-26", "2022-03-25", "2023-03-24", "2025-03-28"]


def test_missing_and_cut_sessions_are_found(nasdaq_raw: RawDataset):
    frame = nasdaq_raw.frame
    start_ns = pd.DatetimeIndex(frame["ts"]).as_unit("ns").asi8
    found = judge(nasdaq_raw.instruments["NQ"], 30, start_ns, frame["session"].to_numpy(np.int32))
    assert found is not None
    assert not found.outside.any()
    assert _dates(found.missing) == ["2022-04-29", "2024-01-15"]
    dead = (found.cut >= _day("2023-12-12")) & (found.cut <= _day("2024-06-13"))
    cut = dict(zip(_dates(found.cut[~dead]), zip(found.found[~dead], found.expected[~dead], strict=True), strict=True))
    assert cut == {"2020-07-10": (12, 46), "2022-04-28": (12, 46), "2025-07-02": (19, 46)}


def test_dead_stretch_is_as_described(nasdaq_raw: RawDataset):
    frame = nasdaq_raw.frame
    dead = frame[(frame["session"] >= _day("2023-12-12")) & (frame["session"] <= _day("2024-06-12"))]
    jump = frame["open"] / frame["close"].shift() - 1
    first = int(jump[dead.index].abs().idxmax())
    assert jump[first] == pytest.approx(0.045, abs=0.001)
    assert frame["volume"][first] == 0
    rest = dead[dead["session"] > _day("2023-12-12")]
    assert rest["volume"].median() <= 7
    assert frame["volume"].median() > 3000
    assert rest.groupby("session").size().median() < 0.7 * 46


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


@pytest.mark.parametrize("day", ["2022-11-10", "2022-09-13", "2022-10-13", "2022-07-13"])
def test_nasdaq_moves_of_inflation_days_stay(nasdaq: Dataset, day: str):
    bars = nasdaq.strategic["NQ"]
    row = int(np.searchsorted(bars.start_ns, np.datetime64(f"{day}T12:30", "ns").astype(np.int64)))
    moves = np.abs(np.log(bars.close[row : row + 3] / bars.close[row - 1 : row + 2]))
    assert 0.03 < moves.max() < 0.04


def test_nasdaq_is_strategic_only(nasdaq: Dataset):
    assert nasdaq.tactical == {}
    assert set(nasdaq.strategic) == {"NQ"}
