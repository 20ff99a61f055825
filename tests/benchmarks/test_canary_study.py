"""The canary study walks its canaries as a real one is walked."""

from __future__ import annotations

from benchmarks.canary_study import DAYS, WORLDS, canary, plan_of, study
from grandmodel.gates.canary import SHARES_FRAC


def test_a_canary_of_two_alike_walks_all_shares() -> None:
    days, why, day = canary(WORLDS["alike"], 0, plan_of(0))
    assert (why, day) == ("", DAYS)
    assert sorted({one.share_frac for one in days}) == list(SHARES_FRAC)


def test_twice_the_slippage_is_told_from_none() -> None:
    plans = [plan_of(trial) for trial in range(12)]
    assert study("alike", WORLDS["alike"], plans)["rolled_back"] <= 2
    assert study("twice the slippage", WORLDS["twice the slippage"], plans)["rolled_back"] >= 11
