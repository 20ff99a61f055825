"""The canary flow on a real Prefect server and real registries: it judges the record, and takes a breach back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from prefect.testing.utilities import prefect_test_harness

from flows.canary import canary
from grandmodel.core.clock import system_clock
from grandmodel.core.errors import RegistryError
from grandmodel.gates.canary_days import CanaryDay
from grandmodel.gates.canary_ledger import Pair, begin
from grandmodel.gates.canary_record import walk_on
from pipelines.promote import open_registry, standing_in
from tests.flows.test_moves import add_release, artifacts
from tests.grandmodel.gates.canaries import PLAN, breached, days_of, months_ago, until_now

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def _server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with one release in production and another one in canary."""
    add_release(tmp_path / "state", 1.0, "production", months_ago)
    add_release(tmp_path / "state", 2.0, "canary", months_ago)
    return tmp_path / "state"


def pair_in(state: Path) -> Pair:
    registry = open_registry(state, system_clock)
    return Pair(standing_in(registry, "canary")["release_id"], standing_in(registry, "production")["release_id"])


def begun(state: Path, days: list[CanaryDay]) -> Pair:
    """Begin the canary that stands, with ``days`` on record."""
    registry, pair = open_registry(state, months_ago), pair_in(state)
    begin(registry.ledger, PLAN, pair)
    walk_on(registry, state, pair, now=None, days=days)
    return pair


def test_without_a_canary_or_without_bars_a_run_is_skipped(tmp_path: Path) -> None:
    add_release(tmp_path / "state", 1.0, "production")
    nothing, state = str(tmp_path / "no bars"), str(tmp_path / "state")
    assert "no release stands in canary" in str(canary(batch=nothing, state=state, return_state=True).message)
    add_release(tmp_path / "state", 2.0, "canary")
    told = canary(batch=nothing, state=state, return_state=True)
    assert (told.name, "has no day yet" in str(told.message)) == ("Skipped", True)


def test_a_record_is_judged_and_told_on_the_page(state: Path, tmp_path: Path) -> None:
    pair = begun(state, until_now(days_of(13)))
    told = canary(batch=str(tmp_path / "no bars"), state=str(state), return_state=True)
    assert told.message == (
        f"Canary {pair.release_id} is at 5% of the capital after 13 sessions, 0 of them new. Its next days come from "
        "whoever trades: `grandmodel canary add`."
    )
    shown = artifacts("canary", "canary-sequences", "canary-course", "canary-days")
    assert set(shown) == {"canary", "canary-sequences", "canary-course", "canary-days"}
    assert "No claim about Sharpe" in shown["canary"]


def test_a_person_is_asked_once_the_canary_is_walked_through(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, Path]] = []
    monkeypatch.setattr("flows.canary.ask_for_approval", lambda *about: asked.append(about))
    monkeypatch.setattr("flows.canary.deployment", SimpleNamespace(id="a deployed run"))
    days = until_now(days_of(30))
    pair = begun(state, days[:29])
    canary(batch=str(tmp_path / "no bars"), state=str(state), return_state=True)
    assert asked == []
    walk_on(open_registry(state, months_ago), state, pair, now=None, days=days[29:])
    told = canary(batch=str(tmp_path / "no bars"), state=str(state), return_state=True)
    assert "walked through all shares" in str(told.message)
    assert asked == [(pair.release_id, state)]


def test_a_breach_that_a_kill_left_standing_is_rolled_back_by_the_flow(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as killed:
        killed.setattr("grandmodel.gates.canary_record.take_out", lambda *_: None)
        pair = begun(state, until_now(breached(worse=8.0)))
    assert pair_in(state) == pair
    for _ in range(2):
        told = canary(batch=str(tmp_path / "no bars"), state=str(state), return_state=True)
    assert standing_in(open_registry(state, system_clock), "canary")["release_id"] == pair.champion_id
    assert "no release stands in canary beside another" in str(told.message)


def test_days_that_stopped_coming_are_rolled_back_though_no_bundle_serves(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = begun(state, until_now(days_of(13), weekdays_ago=8))

    def expired(*_: object) -> None:
        raise RegistryError("canary.grandmodel version 2", "is past its last day")

    monkeypatch.setattr("flows.canary.bundles_of", expired)
    told = canary(batch=str(tmp_path), state=str(state), return_state=True)
    assert "past its last day" in str(told.message)
    assert standing_in(open_registry(state, system_clock), "canary")["release_id"] == pair.champion_id
