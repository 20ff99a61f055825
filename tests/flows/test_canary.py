"""The canary flow on a real Prefect server and real registries: it judges the record, and takes a breach back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prefect.testing.utilities import prefect_test_harness

from flows.canary import canary
from grandmodel.core.clock import system_clock
from grandmodel.gates.canary import follow
from grandmodel.gates.canary_record import add_days, begin, folder_of
from pipelines.promote import open_registry, standing_in
from tests.flows.test_moves import add_release, artifacts
from tests.grandmodel.gates.test_canary_ledger import PLAN, days_of

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def _server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with one release in production and another one in canary."""
    add_release(tmp_path / "state", 1.0, "production")
    add_release(tmp_path / "state", 2.0, "canary")
    return tmp_path / "state"


def ids(state: Path) -> tuple[str, str]:
    registry = open_registry(state, system_clock)
    return standing_in(registry, "canary")["release_id"], standing_in(registry, "production")["release_id"]


def test_without_a_canary_or_without_bars_a_run_is_skipped(tmp_path: Path) -> None:
    add_release(tmp_path / "state", 1.0, "production")
    nothing, state = str(tmp_path / "no bars"), str(tmp_path / "state")
    assert "no release stands in canary" in str(canary(batch=nothing, state=state, return_state=True).message)
    add_release(tmp_path / "state", 2.0, "canary")
    told = canary(batch=nothing, state=state, return_state=True)
    assert (told.name, "has no day yet" in str(told.message)) == ("Skipped", True)


def test_a_record_is_judged_and_told_on_the_page(state: Path, tmp_path: Path) -> None:
    release_id, champion_id = ids(state)
    folder = folder_of(state, release_id, champion_id)
    begin(folder, PLAN)
    add_days(folder, days_of(13))
    told = canary(batch=str(tmp_path / "no bars"), state=str(state), return_state=True)
    assert told.message == (
        f"Canary {release_id} is at 5% of the capital after 13 days, 0 of them new. Its next days come from whoever "
        "trades: `grandmodel canary add`."
    )
    shown = artifacts("canary", "canary-sequences", "canary-course", "canary-days")
    assert set(shown) == {"canary", "canary-sequences", "canary-course", "canary-days"}
    assert "No claim about Sharpe" in shown["canary"]


def test_a_breach_is_rolled_back_by_the_flow(state: Path, tmp_path: Path) -> None:
    release_id, champion_id = ids(state)
    folder = folder_of(state, release_id, champion_id)
    begin(folder, PLAN)
    days = days_of(30, worse=8.0)
    ended = next(n for n in range(1, 31) if follow(PLAN, days[:n]).status == "rolled_back")
    add_days(folder, days[:ended])
    for _ in range(2):
        told = canary(batch=str(tmp_path / "no bars"), state=str(state), return_state=True)
    assert standing_in(open_registry(state, system_clock), "canary")["release_id"] == champion_id
    assert "no release stands in canary beside another" in str(told.message)
