"""The share of capital as a function of the record of days."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.core.random import random_stream
from grandmodel.gates import g8_canary
from grandmodel.gates.canary import (
    SEQUENCES,
    SHARES_FRAC,
    CanaryDay,
    CanaryPlan,
    Traded,
    fault_of,
    follow,
    years_to_tell,
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


def test_live_decisions_that_nobody_compared_are_unknown() -> None:
    days = [replace(day, compared=0) for day in _days(9)]
    assert follow(PLAN, days[:8]).status == "running"
    assert "held against its shadow" in follow(PLAN, days).steps[-1].reason


def test_days_without_a_fill_do_not_count() -> None:
    idle = [replace(day, share_frac=0.0, compared=0, challenger=replace(day.challenger, fills=0, slippage_frac=None))
            for day in _days(20)]  # fmt: skip
    course = follow(PLAN, idle)
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


def test_a_day_after_the_end_is_refused() -> None:
    with pytest.raises(DataError, match="had ended"):
        follow(PLAN, _days(31))


def test_days_that_do_not_rise_and_counts_that_cannot_be_are_refused() -> None:
    days = _days(2)
    with pytest.raises(DataError, match="rise"):
        follow(PLAN, [days[1], days[0]])
    with pytest.raises(DataError, match="no count"):
        follow(PLAN, [replace(days[0], challenger=replace(days[0].challenger, rejects=41))])


@pytest.mark.parametrize(
    "changed",
    [{"drawdown_max_frac": 0.0}, {"drawdown_max_frac": math.nan}, {"alpha": 1.0}, {"days_max": 29}],
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
    assert "Still on its way after 29 days, at 100% of the capital" in early.reason
    assert passed.evidence["claim"].startswith("No claim about Sharpe")
    assert passed.evidence["years_to_tell"] == {"0.5": 24.7, "1": 6.2, "2": 1.5}
    assert not g8_canary.judge(PLAN, []).passed
    assert g8_canary.judge(PLAN, []).statistic is None


def test_the_gate_says_which_slippage_it_would_have_found() -> None:
    days = _days(30)
    smallest = g8_canary.smallest_slippage_found_frac(PLAN, days)
    assert smallest is not None
    assert 0.0 < smallest < 1e-4
    assert g8_canary.smallest_slippage_found_frac(PLAN, days[:2]) is None
