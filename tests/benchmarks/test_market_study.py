"""The study's figures are those of its rows, and one small market goes all the way through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.market_study import capture, captures_of, keeps_of, study
from pipelines.workspace import Workspace


def test_a_capture_is_the_share_of_the_oracle_s_return():
    assert capture(np.array([0.01, 0.03]), np.array([0.02, 0.06])) == pytest.approx(0.5)
    assert capture(np.array([0.01]), np.array([0.0])) is None


def test_captures_are_summed_up_over_markets_and_seeds():
    rows = [{"strategic_capture": share, "strategic_interval": [share - 0.6, 1.0]} for share in (0.4, 0.5, 0.7, 0.8)]
    found = captures_of(rows, "strategic", 2)
    assert (found["intervals_above_zero"], found["of"]) == (2, 4)
    assert found["capture_iqm"] == pytest.approx(0.6)
    assert found["capture_min"] == pytest.approx(0.4)
    assert found["capture_interval"][0] <= 0.6 <= found["capture_interval"][1]


def test_without_an_earning_oracle_there_is_no_capture():
    rows = [{"strategic_capture": None, "strategic_interval": [-0.1, 0.1]}] * 2
    assert captures_of(rows, "strategic", 2) == {"intervals_above_zero": 0, "of": 2}


def test_what_a_pair_keeps_is_its_share_of_the_strategic_return():
    rows = [{"strategic_annual_log": 0.5, "pair_annual_log": earned} for earned in (0.4, 0.6)]
    assert keeps_of(rows) == pytest.approx({"mean": 1.0, "min": 0.8, "max": 1.2})
    assert keeps_of([*rows, {"strategic_annual_log": -0.1, "pair_annual_log": 0.1}]) is None


def test_a_small_market_goes_all_the_way_through():
    params = Workspace(Path()).params
    tiny = {
        "frames": 512,
        "environments": 8,
        "rollout_steps": 16,
        "hidden": 16,
        "critic_hidden": 16,
    }
    teams = {name: getattr(params.training, name).model_copy(update=tiny) for name in ("strategic", "tactical")}
    params = params.model_copy(update={"training": params.training.model_copy(update=teams)})
    result = study(params, 1.0, [3], 1, 120, pair=True)
    row = result["runs"][0]
    assert result["simulated"] is True
    assert row["days"] == 60
    assert result["strategic"]["of"] == result["pair"]["of"] == 1
    # A tactical team that has hardly learned carries the intents out, through the pauses as well.
    assert row["pair_annual_log"] == pytest.approx(row["strategic_annual_log"], rel=0.02)
    assert row["strategic_capture"] == pytest.approx(row["strategic_annual_log"] / row["oracle_annual_log"])
