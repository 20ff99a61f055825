"""The share of capital as a function of the record of days."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.core.random import random_stream
from grandmodel.gates import g8_canary
from grandmodel.gates.canary import EXPOSURE_RATIO_MAX, Course, follow, plan_for, relative_alarms, years_to_tell
from grandmodel.gates.canary_days import (
    DRAWDOWN_MAX_FRAC,
    SEQUENCES,
    SHARES_FRAC,
    CanaryDay,
    CanaryPlan,
    Traded,
    fault_of,
    with_absent,
)

PLAN = CanaryPlan(drawdown_max_frac=0.10)


def _traded(slippage_frac: float | None = 1e-4, **changed: object) -> Traded:
    usual = Traded(decisions=200, orders=40, rejects=1, limit_hits=2, fills=30, slippage_frac=slippage_frac,
                   log_return=0.001)  # fmt: skip
    return replace(usual, **changed)  # type: ignore[arg-type]


def _days(count: int, seed: int = 1, worse: float = 1.0, **changed: object) -> list[CanaryDay]:
    """Days of two releases alike, on the shares that they are allowed; ``changed`` is the challenger's."""
    stream = random_stream(seed, "canary")
    days = []
    for t in range(count):
        slippage = 1e-4 * stream.uniform(0.5, 1.5, 2) * np.array([1.0, worse])
        share = SHARES_FRAC[min(t // PLAN.days_per_step, len(SHARES_FRAC) - 1)]
        challenger = _traded(float(slippage[1]), **changed)
        days.append(CanaryDay(20_000 + t, share, _traded(float(slippage[0])), challenger, 200 if share else 0))
    return days


def test_the_share_grows_step_by_step_to_all_of_the_capital() -> None:
    course = follow(PLAN, _days(30))
    assert course.status == "completed"
    assert [step.share_after_frac for step in course.steps] == [0.01, 0.05, 0.25, 1.0, 1.0]
    assert [step.days for step in course.steps] == [6, 12, 18, 24, 30]
    assert course.share_frac == 1.0
    assert course.largest_alarm < 1.0


def test_more_days_never_change_a_step_that_was_taken() -> None:
    days = _days(30)
    whole = follow(PLAN, days)
    for count in range(len(days) + 1):
        part = follow(PLAN, days[:count])
        assert part.steps == tuple(step for step in whole.steps if step.days <= count)
        assert all(part.alarms[name] == whole.alarms[name][:count] for name in SEQUENCES)
    assert follow(PLAN, []).status == "running"
    assert follow(PLAN, []).share_frac == 0.0


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("rejects", {"rejects": 20}),
        ("limit_hits", {"limit_hits": 60}),
        ("drawdown", {"log_return": -0.02}),
    ],
)
def test_each_sequence_rolls_back_by_name(name: str, changed: dict[str, object]) -> None:
    days = _days(30, **changed)
    count = next(count for count in range(1, 31) if follow(PLAN, days[:count]).status == "rolled_back")
    course = follow(PLAN, days[:count])
    assert course.steps[-1].reason.startswith(f"{name} is outside its bound")
    assert course.share_frac == course.steps[-1].share_after_frac == 0.0


def test_twice_the_slippage_is_rolled_back() -> None:
    days = _days(30, worse=2.0)
    count = next(count for count in range(1, 31) if follow(PLAN, days[:count]).status == "rolled_back")
    assert follow(PLAN, days[:count]).steps[-1].reason.startswith("slippage")
    assert count < 20


def test_slippage_within_the_margin_is_let_pass() -> None:
    tolerant = replace(PLAN, slippage_margin_frac=1.5e-4)
    assert follow(tolerant, _days(30, worse=2.0)).status == "completed"


def test_divergence_from_the_shadow_rolls_back() -> None:
    days = [replace(day, divergent=40 if day.compared else 0) for day in _days(30)]
    count = next(count for count in range(1, 31) if follow(PLAN, days[:count]).status == "rolled_back")
    course = follow(PLAN, days[:count])
    assert course.steps[-1].reason.startswith("divergence")
    assert count > PLAN.days_per_step  # the shadow cannot diverge from itself


def test_a_day_of_which_not_all_is_known_does_not_let_the_share_grow() -> None:
    days = _days(6)
    days[2] = replace(days[2], challenger=replace(days[2].challenger, slippage_frac=None))
    assert fault_of(days[2]) == "the slippage of the challenger is not known"
    assert follow(PLAN, days).steps == ()
    assert follow(PLAN, days).status == "running"


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"log_return": None}, "the return of the challenger"),
        ({"log_return": math.nan}, "the return of the challenger"),
        ({"slippage_frac": math.inf}, "the slippage of the challenger"),
        ({"decisions": 0, "orders": 0, "rejects": 0, "limit_hits": 0}, "the challenger decided nothing"),
    ],
)
def test_too_many_unknown_days_in_a_row_roll_back(changed: dict[str, object], told: str) -> None:
    known, unknown = _days(5), _days(8)[5:]
    broken = [replace(day, share_frac=0.0, compared=0, challenger=replace(day.challenger, **changed))  # type: ignore[arg-type]
              for day in unknown]  # fmt: skip
    assert follow(PLAN, known + broken[:2]).status == "running"
    course = follow(PLAN, known + broken)
    assert course.status == "rolled_back"
    assert told in course.steps[-1].reason


@pytest.mark.parametrize("compared", [0, 1, 199])
def test_live_decisions_that_nobody_compared_are_unknown(compared: int) -> None:
    days = [replace(day, compared=min(compared, day.compared)) for day in _days(9)]
    assert follow(PLAN, days[:8]).status == "running"
    course = follow(PLAN, days)
    assert f"{compared} of 200 decisions were held against the shadow" in course.steps[-1].reason
    assert set(course.alarms["divergence"]) == {0.0}


@pytest.mark.parametrize("changed", [{"log_return": None}, {"slippage_frac": None}])
def test_unknown_days_that_never_come_in_a_row_roll_back(changed: dict[str, object]) -> None:
    days = _days(45)
    holes = [replace(day, challenger=replace(day.challenger, **changed)) if t % 3 == 2 else day  # type: ignore[arg-type]
             for t, day in enumerate(days)]  # fmt: skip
    course = _walked(holes)
    assert course.status == "rolled_back"
    assert "on the last of 7 sessions of which not all is known" in course.steps[-1].reason


def test_sessions_without_a_day_are_not_known_and_days_max_counts_them() -> None:
    days = _days(30)
    first = days[0].session
    assert follow(PLAN, with_absent(days[:2], range(first, first + 4))).status == "running"
    course = follow(PLAN, with_absent(days[:2], range(first, first + 5)))
    assert (
        course.steps[-1].reason == "no day is on record, on the last of 3 sessions in a row of which not all is known"
    )
    assert (course.steps[-1].days, len(course.faults)) == (2, 5)
    idle = [replace(day, session=first + 8 * t // 7) for t, day in enumerate(_idle(42))]
    course = follow(PLAN, with_absent(idle, range(first, first + 60)))
    assert "days_max = 45 sessions" in course.steps[-1].reason
    assert course.steps[-1].session == first + 44


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("rejects", {"orders": 61, "rejects": 60}),
        ("slippage", {"fills": 46, "slippage_frac": 9e-4}),
        ("limit_hits", {"decisions": 301, "limit_hits": 200}),
    ],
)
def test_unequal_exposure_compares_nothing_and_counts_towards_no_step(name: str, more: dict[str, object]) -> None:
    alone = [replace(day, share_frac=0.0, compared=0, challenger=replace(day.challenger, **more))  # type: ignore[arg-type]
             for day in _days(20)]  # fmt: skip
    course = follow(PLAN, alone)
    assert (course.status, course.steps, course.days_counted) == ("running", (), 0)
    assert set(course.alarms[name]) == {0.0}
    assert follow(PLAN, [replace(day, champion=day.challenger) for day in alone[:6]]).steps


def test_the_admitted_exposure_does_not_make_two_alike_differ() -> None:
    """One rate of rejects for both; the challenger orders as much more often as is admitted, or five times."""
    stream, days, canaries = random_stream(3, "rejects"), 45, 300

    def false_alarms(orders: int, more: int) -> int:
        rates = [stream.binomial(one, 0.01, (canaries, days)) / one for one in (orders, more)]
        return sum(bool(relative_alarms(PLAN, *pair).max() >= 1.0) for pair in zip(*rates, strict=True))

    assert false_alarms(60, int(60 * EXPOSURE_RATIO_MAX)) <= 0.02 * canaries
    assert false_alarms(20, 100) > 0.1 * canaries


def test_the_plan_of_the_house_is_bounded_and_knows_how_little_evidence_there_is() -> None:
    returns = random_stream(1, "evidence").normal(0.0005, 0.01, 250)
    plan = plan_for(returns, 1, (("globex", "ES"),))
    assert 0.0 < plan.drawdown_max_frac < DRAWDOWN_MAX_FRAC
    assert CanaryPlan.from_dict({**plan.__dict__, "markets": [["globex", "ES"]]}) == plan
    assert plan_for(5.0 * returns, 1).drawdown_max_frac == DRAWDOWN_MAX_FRAC
    assert g8_canary.looser_than_house(plan_for(5.0 * returns, 1)) == []
    with pytest.raises(DataError, match="at least 60"):
        plan_for(returns[:59], 1)


def _idle(count: int) -> list[CanaryDay]:
    return [replace(day, share_frac=0.0, compared=0, challenger=replace(day.challenger, fills=0, slippage_frac=None))
            for day in _days(count)]  # fmt: skip


def _walked(days: list[CanaryDay]) -> Course:
    """Return the course of ``days``, each at the share that the days before it allow."""
    taken: list[CanaryDay] = []
    for day in days:
        share = follow(PLAN, taken).share_frac
        taken.append(replace(day, share_frac=share, compared=day.challenger.decisions if share else 0))
    return follow(PLAN, taken)


def test_days_without_a_fill_do_not_count() -> None:
    course = follow(PLAN, _idle(20))
    assert course.steps == ()
    assert set(course.alarms["slippage"]) == {0.0}
    assert set(course.faults) == {""}


def test_a_canary_that_is_not_through_in_time_ends() -> None:
    short = replace(PLAN, days_max=30)
    days = _days(31)
    days = [replace(days[0], challenger=replace(days[0].challenger, fills=0, slippage_frac=None)), *days[1:]]
    days = [replace(day, share_frac=days[max(t - 1, 0)].share_frac, compared=days[max(t - 1, 0)].compared)
            for t, day in enumerate(days)]  # fmt: skip
    course = follow(short, days[:30])
    assert course.status == "rolled_back"
    assert "days_max = 30" in course.steps[-1].reason


def test_another_share_than_was_allowed_is_refused() -> None:
    days = _days(3)
    with pytest.raises(DataError, match="was allowed 0%"):
        follow(PLAN, [*days[:2], replace(days[2], share_frac=0.05)])


def test_what_comes_after_the_end_is_left_out() -> None:
    days = _days(30)
    assert follow(PLAN, [*days, replace(days[0], session=days[-1].session + 1)]) == follow(PLAN, days)
    later = range(days[-1].session + 1, days[-1].session + 90)
    assert follow(PLAN, with_absent(days, later)) == follow(PLAN, days)


def test_days_that_do_not_rise_and_counts_that_cannot_be_are_refused() -> None:
    days = _days(2)
    with pytest.raises(DataError, match="rise"):
        follow(PLAN, [days[1], days[0]])
    for wrong in (replace(days[0], challenger=replace(days[0].challenger, rejects=41)), replace(days[0], compared=201)):
        with pytest.raises(DataError, match="no count"):
            follow(PLAN, [wrong])


@pytest.mark.parametrize(
    "changed",
    [
        {"drawdown_max_frac": 0.0},
        {"drawdown_max_frac": math.nan},
        {"alpha": 1.0},
        {"days_max": 29},
        {"unknown_days_total_max": -1},
    ],
)
def test_a_plan_without_meaning_is_refused(changed: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="canary plan"):
        replace(PLAN, **changed)  # type: ignore[arg-type]


def test_a_day_survives_as_plain_data() -> None:
    day = _days(8)[7]
    assert CanaryDay.from_dict(day.to_dict()) == day


def test_years_to_tell_are_those_of_the_normal_test() -> None:
    assert [round(years_to_tell(ratio), 1) for ratio in (0.5, 1.0, 2.0)] == [24.7, 6.2, 1.5]
    with pytest.raises(ConfigError, match="positive"):
        years_to_tell(0.0)


def test_the_gate_passes_a_completed_canary_alone() -> None:
    days = _days(30)
    passed, early = g8_canary.judge(PLAN, days), g8_canary.judge(PLAN, days[:29])
    assert passed.passed
    assert not early.passed
    assert "Still on its way after 29 sessions, at 100% of the capital" in early.reason
    assert passed.evidence["claim"].startswith("No claim about Sharpe")
    assert passed.evidence["years_to_tell"] == {"0.5": 24.7, "1": 6.2, "2": 1.5}
    assert not g8_canary.judge(PLAN, []).passed
    assert g8_canary.judge(PLAN, []).statistic is None


@pytest.mark.parametrize(
    "looser",
    [
        {"alpha": 1e-50},
        {"days_per_step": 1},
        {"days_max": 46},
        {"slippage_margin_frac": 0.99},
        {"divergence_max_frac": 0.99},
        {"drawdown_max_frac": 0.999},
        {"unknown_days_max": 10**9},
        {"unknown_days_total_max": 7},
    ],
)
def test_the_gate_names_what_is_looser_than_the_house(looser: dict[str, float]) -> None:
    plan, name = replace(PLAN, **looser), next(iter(looser))  # type: ignore[arg-type]
    days: list[CanaryDay] = []
    for day in _days(45):
        course = follow(plan, days)
        if course.status == "running":
            share = course.share_frac
            days.append(replace(day, share_frac=share, compared=200 if share else 0))
    assert follow(plan, days).status == "completed"
    verdict = g8_canary.judge(plan, days)
    assert not verdict.passed
    assert f"The plan asks too little: {name} must be at" in verdict.reason
    assert g8_canary.looser_than_house(replace(PLAN, alpha=0.1, days_max=40, unknown_days_max=0)) == []


def test_the_gate_says_which_slippage_it_would_have_found() -> None:
    days = _days(30)
    smallest = g8_canary.smallest_slippage_found_frac(PLAN, days)
    assert smallest is not None
    assert 0.0 < smallest < 1e-4
    assert g8_canary.smallest_slippage_found_frac(PLAN, days[:2]) is None
