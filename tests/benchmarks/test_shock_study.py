"""The shock study: its rules for events, thresholds and tuning, and that the detector ships as it was tuned."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import record, shock_report, shock_study
from benchmarks.shock_data import Bars, by_time_of_day, futures_bars, macro_bars
from benchmarks.shock_study import Event, Setting
from grandmodel.core.random import random_stream
from grandmodel.risk.shock import ShockParams

DAYS = np.arange("2001-01-01", "2001-03-01", dtype="datetime64[D]").astype("datetime64[ns]")


def scores(count: int, seed: int = 1) -> np.ndarray:
    return random_stream(seed, "scores").normal(size=count)


def test_a_move_begins_with_the_first_large_fall_of_its_window() -> None:
    falls = np.zeros(len(DAYS))
    falls[[2, 12, 20]] = -5.0  # of January 3rd, 13th and 21st
    assert shock_study.first_bar(Event("a", "2001-01-10", "2001-01-31"), DAYS, falls) == 12
    assert shock_study.first_bar(Event("a", "", "2001-01-21"), DAYS, falls) == 20
    assert shock_study.first_bar(Event("a", "", "2001-01-18"), DAYS, falls) == 12


def test_where_none_is_large_the_largest_fall_counts_and_a_rise_never_does() -> None:
    falls = np.zeros(len(DAYS))
    falls[[12, 13, 14]] = [9.0, -1.0, -2.0]
    assert shock_study.first_bar(Event("a", "2001-01-10", "2001-01-31"), DAYS, falls) == 14


def test_an_alarm_before_the_move_or_too_late_does_not_count() -> None:
    onsets = np.zeros(20, bool)
    onsets[[4, 9]] = True
    assert [shock_study.delay(onsets, first) for first in (4, 5, 6, 9)] == [0, None, 3, 0]


def test_deviations_are_those_known_before_the_bar() -> None:
    returns = scores(100)
    found = shock_study.standardised(returns)
    returns[50] = 1e6
    changed = shock_study.standardised(returns)
    np.testing.assert_array_equal(changed[:50], found[:50])
    assert changed[50] / found[50] == pytest.approx(1e6 / scores(100)[50])
    assert abs(changed[51]) < abs(found[51])


def test_the_threshold_is_the_smallest_that_keeps_the_budget() -> None:
    values, years = scores(2520), 10.0
    for budget in (1.0, 3.0):
        threshold = shock_study.threshold_for(values, years, budget, 5)
        assert shock_study.onsets_with(values, threshold, 5).sum() <= budget * years
        assert shock_study.onsets_with(values, threshold - 0.1, 5).sum() > budget * years


def test_what_comes_after_tuning_cannot_move_it() -> None:
    values, firsts = scores(2000), [300, 700]
    values[[301, 700]] = 8.0
    chosen = shock_study.tune(lambda decay: values, 6.0, 1500, firsts)
    assert chosen.hits_before == 6
    later = values.copy()
    later[1500:] = 50.0
    assert shock_study.tune(lambda decay: later, 6.0, 1500, firsts) == chosen


def test_a_band_score_counts_deviations_from_the_past() -> None:
    values = scores(300)
    values[200] = 10.0
    found = shock_study.band_score(values, 0.99)
    assert np.isnan(found[:60]).all()
    assert found[200] == pytest.approx(10.0, rel=0.25)
    np.testing.assert_array_equal(shock_study.band_score(values[:150], 0.99), found[:150])


def test_time_of_day_takes_the_open_out_and_keeps_what_did_not_trade() -> None:
    days = np.arange("2001-01-01", "2001-04-11", dtype="datetime64[D]")
    when = (days[:, None] + np.array([600, 630], "timedelta64[m]")).ravel().astype("datetime64[ns]")
    returns = scores(2 * len(when)).reshape(-1, 2)
    returns[::2] *= 20.0
    returns[77, 1] = np.nan
    found = by_time_of_day(Bars(when, ("a", "b"), returns)).returns
    assert np.isnan(found[:40]).all()
    assert np.isnan(found[77, 1])
    later = np.abs(found[60:])
    assert np.nanmean(later[::2]) == pytest.approx(np.nanmean(later[1::2]), rel=0.3)


def test_a_roll_is_no_return(tmp_path: Path) -> None:
    folder = tmp_path / "cn_futures_5m"
    folder.mkdir()
    stamps = pd.to_datetime(["2016-01-04 10:00", "2016-01-04 10:05", "2016-01-05 10:00", "2016-01-05 12:00"])
    days = [20160104, 20160104, 20160105, 20160105]
    table = pd.DataFrame({"ts": stamps, "trading_day": days, "close": [100.0, 101.0, 202.0, 300.0]})
    for name in ("A", "B"):
        table.to_parquet(folder / f"{name}.parquet")
    rolls = {"symbol": ["A", "A"], "date": days[1:3], "old_close": [0.0, 101.0], "new_close": [100.0, 202.0]}
    pd.DataFrame(rolls).to_csv(folder / "rolls.csv", index=False)
    bars = futures_bars(tmp_path, 5)
    assert bars.names == ("A", "B")
    np.testing.assert_allclose(bars.returns[-1], [0.0, np.log(2)], atol=1e-12)
    assert len(bars.when) == 2  # the bar at noon is outside the hours that all of them trade


def test_the_detector_ships_as_it_was_tuned() -> None:
    published = json.loads((record.RESULTS / "shock.json").read_text())["daily"]
    setting = Setting(**published["methods"]["shock detector"]["setting"])
    assert setting.params() == ShockParams()
    assert published["methods"]["shock detector"]["flagged_of_eight"] >= 5
    assert published["methods"]["shock detector"]["onsets_a_year_whole"] <= 4


def test_the_table_replaces_what_stood_between_its_marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"Before.\n\n{shock_report.BEGIN}\nold\n{shock_report.END}\n\nAfter.\n")
    monkeypatch.setattr(shock_report, "PAGE", page)
    shock_report.write_table("new")
    assert page.read_text() == f"Before.\n\n{shock_report.BEGIN}\n\nnew\n\n{shock_report.END}\n\nAfter.\n"


@pytest.mark.shared
def test_on_the_daily_history_the_named_shocks_are_flagged_in_time_at_few_alarms(shared_data: Path) -> None:
    bars = macro_bars(shared_data)
    history = shock_study.history_with(bars, ShockParams())
    falls = shock_study.standardised(bars.returns[:, bars.names.index("SPX")])
    wanted = [event for event in shock_study.EVENTS if event.wanted]
    delays = [shock_study.delay(history.onset, shock_study.first_bar(event, bars.when, falls)) for event in wanted]
    assert len(delays) == 8
    assert sum(each is not None for each in delays) >= 5
    assert history.onset.sum() / bars.years() <= 4
    cuts = shock_study.leverage(bars, ShockParams())
    assert cuts["cuts"] > 50
    assert cuts["bars_from_alarm_to_cut_max"] == 0
