from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from grandmodel.registry import tracking
from grandmodel.registry.ledger import Ledger
from grandmodel.registry.store import Registry
from tests.grandmodel.registry.releases import SELECTED, champions, make_bundle, register, ticking_clock

Opener = Callable[..., Registry]


def interrupt(registry: Registry, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Let ``act`` happen once, right before ``registry`` asks MLflow for the first time."""
    ask, left = registry.tracking.aliases, [act]

    def aliases(model: str) -> dict[str, str]:
        if left:
            left.pop()()
        return ask(model)

    monkeypatch.setattr(registry.tracking, "aliases", aliases)


def test_others_write_while_status_asks_mlflow(
    two_releases: Registry, state: Path, registry_of: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("grandmodel.registry.ledger.LOCK_TIMEOUT_S", 0.1)
    other = Ledger(state / "ledger.jsonl", ticking_clock())
    looking = registry_of(state)
    interrupt(looking, monkeypatch, lambda: other.append("halt", actor="ann", reason="drawdown", subject={}))
    champions(looking)
    assert other.read()[-1].kind == "halt"


def test_a_move_while_status_looks_is_not_called_one_outside_the_ledger(
    two_releases: Registry, state: Path, registry_of: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, mover = registry_of(state), registry_of(state)
    interrupt(
        looking,
        monkeypatch,
        lambda: mover.promote("staging", "2", actor="flow", reason="green", evidence=SELECTED),
    )
    assert [(row["version"], row["state"]) for row in looking.status()[:2]] == [("2", "ok"), ("2", "ok")]


def test_a_look_that_has_to_make_the_database_holds_the_ledger(
    state: Path, registry_of: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []
    make, registry = tracking._create_database, registry_of(state)

    def watched(path: Path) -> None:
        held.append(registry.ledger._lock.is_locked)
        make(path)

    (state / "mlflow.db").unlink()
    monkeypatch.setattr(tracking, "_create_database", watched)
    assert {row["state"] for row in registry.status()} == {"ok"}
    assert held == [True]


def test_a_bundle_that_cannot_be_read_is_the_state_of_its_row(
    state: Path, registry_of: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(registry_of(state), make_bundle(state / "bundle-5.0", state, weight=5.0))

    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("grandmodel.registry.bundle.hash_file", refuse)
    states = [row["state"] for row in registry_of(state).status()]
    assert states[0].startswith("bundle broken: ")
    assert "Permission denied" in states[0]
    assert states[1:] == ["ok"] * 3


def test_a_copy_that_takes_no_lock_is_shown(two_releases: Registry, state: Path, registry_of: Opener) -> None:
    expected = champions(two_releases)
    lock = state / "ledger.jsonl.lock"
    lock.unlink()
    lock.mkdir()  # no file can be opened there, not even by root
    assert champions(registry_of(state)) == expected
    moment = two_releases.history()[1]["time"]
    assert [row["version"] for row in registry_of(state).history(moment)] == ["1", "1", None, None]
