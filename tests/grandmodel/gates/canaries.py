"""Days of a canary for tests: two releases alike, on weekdays, at the shares that they are allowed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from grandmodel.core.clock import system_clock
from grandmodel.gates.canary import follow
from grandmodel.gates.canary_days import SHARES_FRAC, CanaryDay, CanaryPlan, Traded


def months_ago() -> datetime:
    """Clock of a registry whose challenger entered canary a while ago: its days come after, and are over by now."""
    return system_clock() - timedelta(days=120)


def days_since_1970(moment: datetime) -> int:
    """Return the day of ``moment``, UTC."""
    return (moment.date() - datetime(1970, 1, 1).date()).days  # noqa: DTZ001


PLAN = CanaryPlan(drawdown_max_frac=0.1)
MONDAY = days_since_1970(months_ago()) // 7 * 7 + 25  # weeks after the challenger entered
USUAL = Traded(decisions=100, orders=20, rejects=0, limit_hits=0, fills=15, slippage_frac=1e-4, log_return=0.001)


def weekdays(count: int, first: int = MONDAY) -> list[int]:
    """Return ``count`` sessions from ``first`` on."""
    return [day for day in range(first, first + 2 * count + 7) if (day + 3) % 7 < 5][:count]


def days_of(count: int, *, worse: float = 1.0) -> list[CanaryDay]:
    """Return days of a challenger with ``worse`` times the slippage of its champion."""
    shares = [SHARES_FRAC[min(t // PLAN.days_per_step, len(SHARES_FRAC) - 1)] for t in range(count)]
    other = replace(USUAL, slippage_frac=1e-4 * worse)
    sessions = weekdays(count)
    return [
        CanaryDay(session, share, USUAL, other, USUAL.decisions if share else 0)
        for session, share in zip(sessions, shares, strict=True)
    ]


def breached(*, worse: float = 4.0) -> list[CanaryDay]:
    """Return days up to the one on which the slippage leaves its bound."""
    days = days_of(30, worse=worse)
    return next(days[:n] for n in range(1, 31) if follow(PLAN, days[:n]).status == "rolled_back")


def at(session: int) -> datetime:
    """Return noon of a session, UTC."""
    return datetime(1970, 1, 1, 12, tzinfo=UTC) + timedelta(days=session)


def until_now(days: Sequence[CanaryDay], *, weekdays_ago: int = 0) -> list[CanaryDay]:
    """Return ``days`` on the newest weekdays that are over by the clock of the system, or some weekdays before."""
    today = days_since_1970(system_clock())
    sessions = [day for day in range(today - 200, today) if (day + 3) % 7 < 5]
    sessions = sessions[len(sessions) - weekdays_ago - len(days) :][: len(days)]
    return [replace(day, session=session) for day, session in zip(days, sessions, strict=True)]
