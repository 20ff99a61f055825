"""The canary study walks its canaries as a real one is walked."""

from __future__ import annotations

from benchmarks.canary_study import DAYS, WORLDS, canary, plan_of, simulated, study
from grandmodel.gates.canary import follow
from grandmodel.gates.canary_days import SHARES_FRAC


def test_a_canary_of_two_alike_walks_all_shares() -> None:
    days, why, day = canary(WORLDS["alike"], 0, plan_of(0))
    assert (why, day) == ("", DAYS)
    assert sorted({one.share_frac for one in days}) == list(SHARES_FRAC)


def test_twice_the_slippage_is_told_from_none() -> None:
    assert study("alike", WORLDS["alike"], 12)["rolled_back"] <= 2
    assert study("twice the slippage", WORLDS["twice the slippage"], 12)["rolled_back"] >= 11


def test_judging_from_step_to_step_ends_as_judging_daily_does() -> None:
    plan, ended = plan_of(0), set()
    for name in ("twice the slippage", "twice the volatility", "2 % of decisions diverge"):
        days, why, day = canary(WORLDS[name], 0, plan)
        ended.add(why)
        daily = [follow(plan, days[:count]) for count in range(day + 1)]
        assert [course.status for course in daily[:-1]] == ["running"] * day
        assert (daily[-1].status == "rolled_back") == bool(why)
        assert all(daily[t].share_frac == one.share_frac for t, one in enumerate(days))
    assert {"slippage", "divergence"} <= ended


def test_worlds_alike_differ_in_nothing_but_what_they_strain() -> None:
    ratio = [(one.challenger.fills, 1.5 * one.champion.fills) for one in simulated(WORLDS["alike"], 0)]
    assert any(fills != wanted for fills, wanted in ratio)
    strained = simulated(WORLDS["alike, 1.5 times the fills and orders"], 0)
    assert all(one.challenger.fills == int(1.5 * one.champion.fills) for one in strained)
    assert all(one.challenger.orders == int(1.5 * one.champion.orders) for one in strained)
    hits = [
        one.challenger.limit_hits
        for trial in range(5)
        for one in simulated(WORLDS["alike, limit hits in spells"], trial)
    ]
    assert max(hits) > 10 * sorted(hits)[len(hits) // 2]
    assert plan_of(0, evidence_days=60) != plan_of(0) != plan_of(0, garch=True)
