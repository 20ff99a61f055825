from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from grandmodel.core.clock import Clock
from grandmodel.core.config import Environment
from grandmodel.core.errors import RegistryError
from grandmodel.registry.expiry import expired, last_day
from grandmodel.registry.moves import Move
from grandmodel.registry.store import Registry
from tests.grandmodel.registry.releases import (
    SELECTED,
    START,
    Days,
    Killed,
    killer,
    make_bundle,
    open_registry,
    register,
)

MOVE = Move("promotion", "staging", "1", "r", "m", "k", "key", "ann", None, "s", "b", "run", None, None, None)
REAL = {"simulated": False, "trained_until": "2026-01-31"}


@pytest.fixture
def days() -> Days:
    return Days()


@pytest.fixture
def opened(state: Path, environments: dict[str, Environment], days: Days) -> Callable[..., Registry]:
    """Return a function that opens a registry whose staging has the limits it is given."""

    def build(**limits: Any) -> Registry:
        clock: Clock = days
        staging = environments["staging"].model_copy(update=limits)
        return open_registry(state, {**environments, "staging": staging}, clock)

    return build


def promote(registry: Registry, version: str) -> Any:
    return registry.promote("staging", version, actor="flow", reason="green", evidence=SELECTED)


def test_the_last_day_is_the_earlier_of_both_and_holds_to_its_end() -> None:
    move = Move(**{**vars(MOVE), "review_by": "2026-03-10", "data_until": "2026-03-05"})
    assert last_day(move) == "2026-03-05"
    assert expired(move, datetime(2026, 3, 5, 23, 59, 59, tzinfo=UTC)) == []
    assert expired(move, datetime(2026, 3, 6, tzinfo=UTC)) == ["its training data are too old since 2026-03-05"]
    assert len(expired(move, datetime(2026, 3, 11, tzinfo=UTC))) == 2


def test_a_move_from_before_there_were_last_days_has_none() -> None:
    subject = {name: value for name, value in MOVE.to_subject().items() if name not in ("review_by", "data_until")}
    assert last_day(Move.from_subject(subject)) is None
    assert expired(Move.from_subject(subject), START + timedelta(days=9999)) == []


def test_the_configuration_of_production_sets_both(environments: dict[str, Environment]) -> None:
    for name in ("canary", "production"):
        assert environments[name].review_after_days
        assert environments[name].data_age_max_days


def test_a_move_that_a_kill_left_open_beyond_its_last_day_is_taken_back(
    opened: Callable[..., Registry], state: Path, days: Days
) -> None:
    registry = opened(review_after_days=30)
    register(registry, make_bundle(state / "bundle", state))
    registry._walk.after_step = killer("champion")
    with pytest.raises(Killed):
        promote(registry, "1")
    days.passed = 31
    [done] = opened(review_after_days=30).reconcile()
    assert done == "promotion into staging taken back: its review was due by 2026-04-02"
    assert registry.tracking.aliases("staging.grandmodel") == {}


def test_a_release_past_its_review_is_neither_served_nor_moved_and_status_says_so(
    opened: Callable[..., Registry], state: Path, days: Days
) -> None:
    registry = opened(review_after_days=30)
    register(registry, make_bundle(state / "bundle", state))
    assert promote(registry, "1").accepted
    days.passed = 30
    registry.load_champion("staging")
    days.passed = 31
    with pytest.raises(RegistryError, match="past its last day: its review was due by 2026-04-02"):
        registry.load_champion("staging")
    evidence = {"decision_hash": "decisions-1.0"}
    outcome = registry.promote("canary", "1", actor="flow", reason="green", evidence=evidence)
    assert outcome.reasons == ("in staging its review was due by 2026-04-02",)
    row = registry.status()[1]
    assert (row["last_day"], row["state"]) == ("2026-04-02", "expired: its review was due by 2026-04-02")


def test_another_limit_in_the_configuration_does_not_move_a_day_of_record(
    opened: Callable[..., Registry], state: Path, days: Days
) -> None:
    registry = opened(review_after_days=30)
    register(registry, make_bundle(state / "bundle", state))
    assert promote(registry, "1").accepted
    days.passed = 31
    with pytest.raises(RegistryError, match="past its last day"):
        opened(review_after_days=9999).load_champion("staging")


def test_an_expired_champion_can_be_replaced_but_not_returned_to(
    opened: Callable[..., Registry], state: Path, days: Days
) -> None:
    registry = opened(review_after_days=30)
    register(registry, make_bundle(state / "bundle-1", state, weight=1.0))
    assert promote(registry, "1").accepted
    days.passed = 31
    register(registry, make_bundle(state / "bundle-2", state, weight=2.0))
    assert promote(registry, "2").accepted
    registry.load_champion("staging")
    with pytest.raises(RegistryError, match="version 1 is past its last day"):
        registry.rollback("staging", actor="ann", reason="slippage")
    assert registry.history()[-1]["kind"] == "refusal"
    assert registry.status()[1]["version"] == "2"


def test_data_older_than_the_limit_are_refused_and_age_after_entry(
    opened: Callable[..., Registry], state: Path, days: Days
) -> None:
    registry = opened(data_age_max_days=40)
    register(registry, make_bundle(state / "bundle", state, data=REAL))
    assert promote(registry, "1").accepted
    assert registry.status()[1]["last_day"] == "2026-03-12"
    days.passed = 10
    with pytest.raises(RegistryError, match="training data are too old since 2026-03-12"):
        registry.load_champion("staging")
    register(registry, make_bundle(state / "other", state, weight=2.0, data=REAL))
    (reason,) = promote(registry, "2").reasons
    assert reason == "its training data end on 2026-01-31; staging takes none older than 40 days"


@pytest.mark.parametrize("data", [{}, {"simulated": False}, {"simulated": "true"}, {"trained_until": "lately"}])
def test_data_of_unknown_age_are_refused(opened: Callable[..., Registry], state: Path, data: dict[str, Any]) -> None:
    registry = opened(data_age_max_days=40)
    register(registry, make_bundle(state / "bundle", state, data=data))
    (reason,) = promote(registry, "1").reasons
    assert "does not say when its training data end" in reason


def test_simulated_data_do_not_age(opened: Callable[..., Registry], state: Path, days: Days) -> None:
    registry = opened(data_age_max_days=1)
    register(registry, make_bundle(state / "bundle", state))
    days.passed = 4000
    assert promote(registry, "1").accepted
    registry.load_champion("staging")
