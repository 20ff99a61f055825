"""What is cut leaves no trace but its absence: no hole is told of it, and no bar around it moves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from grandmodel.data.cleaning.adjust import adjusted_bars, to_bars
from grandmodel.data.cleaning.report import Rows
from grandmodel.data.dataset import Dataset, RawDataset
from grandmodel.data.reading.readers import read_raw
from tests.grandmodel.data.market_rows import SESSION_BARS, market_rows, spoilt


def _raw(rows: Rows) -> RawDataset:
    """Return ``rows`` as if they had been read."""
    symbol = rows.instrument.symbol
    stamps = pd.DatetimeIndex(rows.start_ns.astype("datetime64[ns]"), tz="UTC")
    places = {"session": rows.session, "file": rows.file, "row": rows.number}
    frame = pd.DataFrame({"symbol": symbol, "ts": stamps, **rows.values, **places})
    return RawDataset("made", True, "", "", "", rows.bar_minutes, frame, {symbol: rows.instrument}, (), False, ())


def _without(rows: Rows, gone: list[int]) -> Rows:
    left = np.setdiff1d(np.arange(len(rows.session)), gone)
    values = {name: column[left] for name, column in rows.values.items()}
    numbers, start_ns, session = rows.number[left], rows.start_ns[left], rows.session[left]
    return replace(rows, number=numbers, start_ns=start_ns, session=session, values=values)


def test_a_cut_bar_leaves_a_group_of_five_and_all_others_as_they_were():
    row = 20 * SESSION_BARS + 8
    whole = to_bars(_raw(market_rows())).strategic["MADE.up"]
    cut = to_bars(_raw(spoilt(market_rows(), row, row + 1, times=0.95)))
    assert len(cut.tactical["MADE.up"]) == len(market_rows().session) - 1
    left = cut.strategic["MADE.up"]
    np.testing.assert_array_equal(left.start_ns, whole.start_ns)
    np.testing.assert_array_equal(left.close_ns, whole.close_ns)
    volume = market_rows().values["volume"]
    assert np.flatnonzero(left.volume != whole.volume).tolist() == [row // 6]
    assert left.volume[row // 6] == whole.volume[row // 6] - volume[row]


def test_a_group_that_is_cut_whole_gives_no_bar():
    rows = market_rows()
    first = 20 * SESSION_BARS + 12
    for column in rows.values.values():
        column[first : first + 6] = column[first - 1]  # a stale feed
    whole, left = (to_bars(_raw(one)).strategic["MADE.up"].start_ns for one in (market_rows(), rows))
    assert np.setdiff1d(whole, left).tolist() == [int(rows.start_ns[first])]


def test_holes_are_told_of_what_remains():
    dead = range(40 * SESSION_BARS, 60 * SESSION_BARS)
    rows = spoilt(market_rows(sessions=120), dead.start, dead.stop, volume=3)
    holes = [10 * SESSION_BARS + 10, 10 * SESSION_BARS + 11]
    inside = [45 * SESSION_BARS + 10, 50 * SESSION_BARS + 20]
    texts = [finding.text for finding in adjusted_bars(_raw(_without(rows, holes + inside)))[1]]
    (text,) = [text for text in texts if "missing within sessions" in text]
    assert text.startswith("2 bars are missing within sessions, in 1 hole of 2 before 2019-01-21T01:00 UTC")
    texts = [finding.text for finding in adjusted_bars(_raw(_without(rows, inside)))[1]]
    assert not [text for text in texts if "missing within sessions" in text]


# --- real files


def _dataset(path: Path, *symbols: str) -> Dataset:
    return to_bars(read_raw(path, symbols=symbols))


@pytest.mark.shared
@pytest.mark.parametrize(("symbol", "holiday_prints"), [("CZCE.ZC", 0), ("CZCE.TA", 1)])
def test_prints_on_a_holiday_shift_no_group_of_the_session_after(symbol: str, holiday_prints: int, shared_data: Path):
    """2016-06-13 begins with two prints of 2016-06-09, of which one of TA is left: it joins the first group."""
    dataset = _dataset(shared_data / "cn_futures_5m", symbol)
    day = int(np.datetime64("2016-06-13", "D").astype(int))
    five, thirty = (bars[symbol] for bars in (dataset.tactical, dataset.strategic))
    starts = five.start_ns[five.session == day]
    assert len(starts) == 45 + holiday_prints
    np.testing.assert_array_equal(thirty.start_ns[thirty.session == day][1:], starts[holiday_prints:][6::6])


@pytest.mark.shared
def test_the_wrong_contract_of_the_nasdaq_leaves_no_holes(shared_data: Path):
    findings = _dataset(shared_data / "futures_30m" / "NQ_30min_2020_2025.csv").report
    assert any("evidently not the traded contract" in finding.text for finding in findings)
    assert not any("missing within sessions" in finding.text for finding in findings)
