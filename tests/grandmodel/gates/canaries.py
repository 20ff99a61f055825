"""Canaries for tests: registries with one to judge, and days of two releases alike at the shares they are allowed."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from grandmodel.core.clock import system_clock
from grandmodel.gates.canary import follow
from grandmodel.gates.canary_days import SHARES_FRAC, CanaryDay, CanaryPlan, Traded
from grandmodel.registry.conditions import load_environments
from grandmodel.registry.store import Registry
from tests.grandmodel.registry.releases import CONFIGS, SELECTED, make_bundle, open_registry, register


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


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """Return a state folder with one release in production, another in canary after it, and the ids of both."""
    folder = tmp_path_factory.mktemp("shelf")
    registry = open_registry(folder, load_environments(CONFIGS), months_ago)
    moves = {"staging": SELECTED, "canary": {}, "production": {}}
    ids = []
    for weight in (1.0, 2.0):
        version = register(registry, make_bundle(folder / f"bundle-{weight}", folder, weight=weight))
        for name in moves if weight == 1.0 else ("staging", "canary"):
            shown = moves[name] | ({"decision_hash": f"decisions-{weight}"} if name == "canary" else {})
            approver = "Ada" if name == "production" else None
            about = {"actor": "flow", "reason": "passed", "approver": approver}
            done = registry.promote(name, version, evidence=shown, **about)
            assert done.accepted, done.reasons
            version = str(done.version)
        ids.append(done.release_id)
    return folder, ids


@pytest.fixture
def pair(shelf: tuple[Path, list[str]], tmp_path: Path) -> tuple[Registry, str, str]:
    """Return the registry of a copy of the shelf, the challenger and the champion."""
    folder, (champion_id, release_id) = shelf
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return open_registry(tmp_path, load_environments(CONFIGS), months_ago), release_id, champion_id
