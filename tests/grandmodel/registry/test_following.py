from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from safetensors.numpy import load_file

from grandmodel.core.config import Environment
from grandmodel.core.errors import RegistryError
from grandmodel.registry.following import Following
from grandmodel.registry.store import Registry
from tests.grandmodel.registry.releases import SELECTED, Days, make_bundle, open_registry, register

Weights = Following[float]


def weight(folder: Path) -> float:
    return float(load_file(folder / "strategic.safetensors")["actor.0.weight"][0, 0])


@pytest.fixture
def registry(state: Path, environments: Mapping[str, Environment]) -> Registry:
    """A registry whose staging holds weight 1 as champion, to be reviewed after 30 days; dev holds 2 as well."""
    staging = environments["staging"].model_copy(update={"review_after_days": 30})
    registry = open_registry(state, {**environments, "staging": staging}, Days())
    register(registry, make_bundle(state / "bundle-1", state, weight=1.0))
    promote(registry, "1")
    register(registry, make_bundle(state / "bundle-2", state, weight=2.0))
    return registry


def promote(registry: Registry, version: str) -> None:
    assert registry.promote("staging", version, actor="flow", reason="green", evidence=SELECTED).accepted


def test_what_is_served_changes_with_the_alias_and_only_at_a_look(registry: Registry) -> None:
    following: Weights = Following(registry, "staging", weight)
    first = following.served
    assert (first.move.version, first.loaded) == ("1", 1.0)
    assert not following.look()
    assert following.served is first
    promote(registry, "2")
    assert following.served is first
    assert following.look()
    assert (following.served.move.version, following.served.loaded) == ("2", 2.0)
    registry.rollback("staging", actor="ann", reason="worse")
    assert following.look()
    assert (following.served.move.release_id, following.served.loaded) == (first.move.release_id, 1.0)


def test_nothing_is_served_before_there_is_a_champion(registry: Registry) -> None:
    with pytest.raises(RegistryError, match="must have a champion"):
        Following(registry, "production", weight)


def break_bundle(registry: Registry) -> None:
    (registry.load_champion("staging") / "limits.json").write_text("{}")


def move_alias(registry: Registry) -> None:
    registry.tracking.set_alias("staging.grandmodel", "champion", "1")


@pytest.mark.parametrize(("spoil", "says"), [(break_bundle, "limits.json"), (move_alias, "must be where the ledger")])
def test_a_look_at_a_champion_that_may_not_be_served_is_an_error(
    registry: Registry, spoil: Callable[[Registry], None], says: str
) -> None:
    following: Weights = Following(registry, "staging", weight)
    promote(registry, "2")
    if spoil is move_alias:
        assert following.look()
    spoil(registry)
    before = following.served
    with pytest.raises(RegistryError, match=says):
        following.look()
    assert following.served is before


def test_a_champion_that_expires_while_it_is_served_is_an_error(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    following: Weights = Following(registry, "staging", weight)
    later = Days()
    later.passed = 31
    monkeypatch.setattr(registry, "_clock", later)
    with pytest.raises(RegistryError, match="past its last day: its review was due by 2026-04-02"):
        following.look()


def test_a_load_that_fails_leaves_what_was_served(registry: Registry) -> None:
    calls: list[Path] = []

    def load_once(folder: Path) -> float:
        calls.append(folder)
        if len(calls) > 1:
            raise MemoryError("no room")
        return weight(folder)

    following: Weights = Following(registry, "staging", load_once)
    promote(registry, "2")
    with pytest.raises(MemoryError):
        following.look()
    assert following.served.loaded == 1.0
