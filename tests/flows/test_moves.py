"""Approval, rollback and what guards them, on a real Prefect server and real registries with small bundles."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.testing.utilities import prefect_test_harness

from flows import moves
from flows.commands import StageFailed
from flows.promote import promote
from flows.rollback import rollback
from grandmodel.core.clock import Clock, system_clock
from grandmodel.core.errors import RegistryError
from grandmodel.registry.bundle import seal
from grandmodel.registry.signing import development_key
from grandmodel.registry.store import Registry
from pipelines import approval
from pipelines.promote import open_registry, standing_in
from tests.grandmodel.registry.releases import SELECTED, Killed, killer, make_bundle, register

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def _server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


@pytest.fixture(scope="module")
def two_releases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder whose first release stands in production, and whose second one has come as far as canary."""
    state = tmp_path_factory.mktemp("releases") / "state"
    add_release(state, 1.0, "production")
    add_release(state, 2.0, "canary")
    return state


@pytest.fixture
def state(two_releases: Path) -> Iterator[Path]:
    """The state folder, with the first release back in production after the test."""
    yield two_releases
    if champion(two_releases) != "first":
        open_registry(two_releases, system_clock).rollback("production", "1", actor="Ada", reason="test")


def add_release(state: Path, weight: float, reaches: str, clock: Clock = system_clock) -> None:
    registry = open_registry(state, clock)
    folder = make_bundle(state / f"bundle-{weight}", state, weight=weight)
    evidence = json.loads((folder / "evidence.json").read_text()) | {"data": {"simulated": True}}
    (folder / "evidence.json").write_text(json.dumps(evidence))
    seal(folder, development_key(state))
    version = register(registry, folder)
    for name in ("staging", "canary", "production"):
        outcome = registry.promote(
            name,
            version,
            actor="trainer",
            reason="test",
            evidence={**SELECTED, "decision_hash": f"decisions-{weight}"},
            approver="Ada" if name == "production" else None,
        )
        assert outcome.accepted, outcome.reasons
        assert outcome.version is not None
        version = outcome.version
        if name == reaches:
            return


def champion(state: Path) -> str:
    """Return which of the two releases stands in production."""
    registry = open_registry(state, system_clock)
    held, second = (standing_in(registry, name)["release_id"] for name in ("production", "canary"))
    return "second" if held == second else "first"


def last_line(state: Path) -> Any:
    return open_registry(state, system_clock).ledger.read()[-1]


def artifacts(*keys: str) -> dict[str, str]:
    with get_client(sync_client=True) as client:
        chosen = ArtifactFilter(key=ArtifactFilterKey(any_=list(keys)))
        return {str(item.key): str(item.data) for item in client.read_artifacts(artifact_filter=chosen)}


def test_an_automatic_approval_moves_the_release_and_is_shown_as_such(state: Path, tmp_path: Path) -> None:
    told = promote(auto_approve="Grace", state=str(state), workspace=str(tmp_path))
    assert told["accepted"]
    assert champion(state) == "second"
    line = last_line(state)
    assert (line.kind, line.actor, line.subject["approver"]) == ("promotion", "promote-flow", "Grace")
    assert line.reason == "approved automatically, by --auto-approve"
    shown = artifacts("request", "request-gates", "move", "registries", "release-report")
    assert "(simulated data), version 2 in canary, by trainer" in shown["request"]
    assert "Canary: not asked on simulated data." in shown["request"]
    assert "g6_risk" in shown["request-gates"]
    assert "is now the champion of production" in shown["move"]
    assert "production.grandmodel" in shown["registries"]
    assert shown["release-report"].count(".html") == 1


def test_the_author_cannot_approve_and_the_refusal_is_a_line(state: Path, tmp_path: Path) -> None:
    told = promote(auto_approve="Trainer", state=str(state), workspace=str(tmp_path))
    assert not told["accepted"]
    assert "another person than the author" in told["sentence"]
    assert champion(state) == "first"
    assert last_line(state).kind == "refusal"


def test_a_form_without_a_server_that_keeps_it_is_refused_with_the_way_out(state: Path, tmp_path: Path) -> None:
    with pytest.raises(StageFailed, match="--auto-approve NAME"):
        promote(state=str(state), workspace=str(tmp_path))
    assert champion(state) == "first"


def test_a_champion_that_does_not_load_is_replaced_by_the_one_before(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(registry: Registry, environment: str, version: str | None) -> None:
        raise RegistryError(f"champion of {environment}", "must load", version)

    monkeypatch.setattr(approval, "prove", fail)
    monkeypatch.setattr(moves.prove, "retries", 0)
    with pytest.raises(RegistryError, match="must load"):
        promote(auto_approve="Grace", state=str(state), workspace=str(tmp_path))
    assert champion(state) == "first"
    assert [entry.kind for entry in open_registry(state, system_clock).ledger.read()][-3:-1] == [
        "promotion",
        "intent",
    ]
    assert (last_line(state).kind, last_line(state).reason) == ("rollback", "what had to follow the move failed")


def test_rollback_puts_the_champion_before_back(state: Path, tmp_path: Path) -> None:
    promote(auto_approve="Grace", state=str(state), workspace=str(tmp_path))
    told = rollback(actor="Ada", reason="slippage", state=str(state))
    assert told["changed"]
    assert champion(state) == "first"
    assert (last_line(state).actor, last_line(state).reason) == ("Ada", "slippage")


@pytest.mark.parametrize("step", ["intent", "champion", "completion"])
def test_a_rollback_that_was_killed_is_completed_by_another_run_and_goes_no_further(
    state: Path, tmp_path: Path, step: str
) -> None:
    promote(auto_approve="Grace", state=str(state), workspace=str(tmp_path))
    leaves = standing_in(open_registry(state, system_clock), "production")["version"]
    asked = {"actor": "Ada", "reason": f"slippage, {step}"}
    with pytest.raises(Killed):
        open_registry(state, system_clock, after_step=killer(step)).rollback("production", **asked)
    if step != "completion":  # another run of the same words finishes its own rollback; a finished one has to be named
        assert rollback(state=str(state), **asked)["changed"]
    assert not rollback(state=str(state), expect=leaves, **asked)["changed"]
    assert champion(state) == "first"
    lines = open_registry(state, system_clock).ledger.read()
    assert [(line.kind, line.reason) for line in lines].count(("rollback", asked["reason"])) == 1


def test_a_store_that_was_away_is_asked_again(state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[str] = []
    moved = approval.settle

    def away_once(*arguments: Any, **options: Any) -> Any:
        tries.append("move")
        if len(tries) == 1:
            raise RegistryError("MLflow", "must answer")
        return moved(*arguments, **options)

    monkeypatch.setattr("flows.promote.settle", away_once)
    told = promote(auto_approve="Grace", state=str(state), workspace=str(tmp_path))
    assert told["accepted"]
    assert len(tries) == 2
    assert champion(state) == "second"


def test_an_environment_has_one_slot(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moves, "WAIT_SECONDS", 1.0)
    with moves.one_at_a_time("production"):
        with moves.one_at_a_time("canary"):
            pass
        with pytest.raises(TimeoutError), moves.one_at_a_time("production"):
            pass
