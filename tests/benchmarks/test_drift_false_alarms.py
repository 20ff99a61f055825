"""The committed figures of drift are those of the script, and the pages quote them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.drift_false_alarms import QUARTER_SESSIONS, TRACKED_FIRST, quarters, summary
from benchmarks.record import RESULTS
from grandmodel.data.reading.readers import read_dataset
from grandmodel.data.validation.drift import fit_reference, measure_drift
from pipelines.workspace import PROJECT


@pytest.fixture(scope="module")
def committed() -> dict:
    return json.loads((RESULTS / "drift_false_alarms.json").read_text())["markets"]


def test_the_committed_figures_are_reproduced_on_the_tracked_data(committed: dict, tracked_market: Path):
    bars = read_dataset(tracked_market).tactical
    judged = quarters(bars, TRACKED_FIRST)
    again = summary(judged)
    assert again["psi_largest"] == pytest.approx(committed["tracked"]["psi_largest"], rel=1e-6)
    for name in ("measures", "psi_warns", "psi_blocks", "ks_warns", "ks_blocks"):
        assert again[name] == committed["tracked"][name]
    by_hand = {}
    for symbol, item in bars.items():
        edges = np.r_[np.flatnonzero(np.diff(item.session, prepend=item.session[0] - 1)), len(item)]
        before = fit_reference("x", "", {symbol: item.rows(0, int(edges[TRACKED_FIRST]))})
        batch = item.rows(int(edges[TRACKED_FIRST]), int(edges[TRACKED_FIRST + QUARTER_SESSIONS]))
        by_hand[symbol] = measure_drift(before, {symbol: batch})["psi"].tolist()
    first = judged[judged["quarter"] == 0]
    assert {symbol: rows["psi"].tolist() for symbol, rows in first.groupby("symbol")} == by_hand


def test_alarms_are_counted_by_their_bounds():
    psi, excess = [0.05, 0.2, 0.3, 0.4], [0.5, 1.5, 2.5, 1.0]
    columns = {"psi": psi, "ks_excess": excess, "measure": ["log_range"] * 4, "quarter": [0, 0, 1, 1]}
    found = summary(pd.DataFrame(columns))
    assert (found["quarters"], found["measures"], found["psi_largest"], found["ks_excess_largest"]) == (2, 4, 0.4, 2.5)
    assert (found["psi_warns"], found["psi_blocks"], found["ks_warns"], found["ks_blocks"]) == (1, 2, 1, 1)
    assert found["quarters_of_psi_blocking"]["log_range"] == 1


def test_the_page_quotes_them(committed: dict):
    page = " ".join((PROJECT / "docs" / "data.md").read_text().split())
    clean, real = [committed[name] for name in ("tracked", "simulated")], committed["real"]
    count, largest = sum(one["measures"] for one in clean), max(one["psi_largest"] for one in clean)
    assert sum(one["psi_blocks"] + one["ks_blocks"] for one in clean) == 0
    assert f"of {count} measures none blocks and the largest index is {largest:.2f}" in page
    beyond = real["by_measure"]["log_range"]
    assert f"the log range passes 0.25 in {beyond['psi_blocks']} of {beyond['measures']}" in page
