from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from grandmodel.core.errors import LedgerError, RegistryError
from grandmodel.registry.ledger import Entry, Ledger
from grandmodel.registry.store import Registry
from tests.grandmodel.registry.releases import (
    SELECTED,
    STEPS,
    Killed,
    assert_one_champion,
    champions,
    killer,
    make_bundle,
    register,
    spoil,
)

Opener = Callable[..., Registry]


def test_rollback_returns_to_the_previous_champion_and_its_bytes(two_releases: Registry) -> None:
    old = two_releases.load_champion("staging")
    two_releases.promote("staging", "2", actor="flow", reason="green", evidence=SELECTED)
    assert two_releases.load_champion("staging") != old
    outcome = two_releases.rollback("staging", actor="ann", reason="slippage")
    assert (outcome.version, outcome.changed) == ("1", True)
    assert two_releases.load_champion("staging") == old
    last = two_releases.history()[-1]
    assert (last["kind"], last["actor"], last["reason"]) == ("rollback", "ann", "slippage")


def test_a_second_rollback_goes_further_back_and_then_refuses(two_releases: Registry) -> None:
    two_releases.promote("staging", "2", actor="flow", reason="green", evidence=SELECTED)
    two_releases.rollback("staging", actor="ann", reason="slippage")
    with pytest.raises(RegistryError, match="a previous champion must exist"):
        two_releases.rollback("staging", actor="ann", reason="again")


@pytest.mark.parametrize("step", ["intent", "previous", "champion"])
def test_an_unnamed_rollback_that_was_killed_and_is_repeated_goes_one_back_and_no_further(
    two_releases: Registry, state: Path, registry_of: Opener, step: str
) -> None:
    two_releases.promote("staging", "2", actor="flow", reason="green", evidence=SELECTED)
    two_releases.promote("staging", "1", actor="flow", reason="back again", evidence=SELECTED)
    before = two_releases._tracking.aliases("staging.grandmodel")

    def killed(done: str) -> None:
        if done == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        registry_of(state, after_step=killed).rollback("staging", actor="ann", reason="slippage")
    again = registry_of(state).rollback("staging", actor="ann", reason="slippage")
    assert (again.accepted, again.version) == (True, before["previous"])
    assert registry_of(state)._tracking.aliases("staging.grandmodel")["champion"] == before["previous"]


@pytest.mark.parametrize("step", STEPS)
def test_a_rollback_that_says_what_it_leaves_goes_one_back_and_no_further_wherever_it_is_killed(
    two_releases: Registry, state: Path, registry_of: Opener, step: str
) -> None:
    two_releases.promote("staging", "2", actor="flow", reason="green", evidence=SELECTED)
    two_releases.promote("staging", "1", actor="flow", reason="back again", evidence=SELECTED)
    with pytest.raises(Killed):
        registry_of(state, after_step=killer(step)).rollback("staging", actor="ann", reason="slippage", expect="3")
    for actor in ("ann", "bob"):
        assert registry_of(state).rollback("staging", actor=actor, reason="slippage", expect="3").version == "2"
    assert registry_of(state)._tracking.aliases("staging.grandmodel") == {"champion": "2", "previous": "1"}
    assert [entry.kind for entry in two_releases.ledger.read()].count("rollback") == 1


def test_a_rollback_tells_what_it_left_and_what_it_expects_may_be_a_release(two_releases: Registry) -> None:
    two_releases.promote("staging", "2", actor="flow", reason="green", evidence=SELECTED)
    leaves = two_releases.status()[1]["release_id"]
    asked = [two_releases.rollback("staging", actor="ann", reason="slippage", expect=leaves) for _ in range(2)]
    assert [(one.version, one.changed, one.left) for one in asked] == [("1", True, "2"), ("1", False, None)]
    with pytest.raises(RegistryError, match="its champion must be 7, which is to be left; found 'version 1"):
        two_releases.rollback("staging", actor="ann", reason="slippage", expect="7")
    with pytest.raises(RegistryError, match="its champion must be 2"):
        two_releases.rollback("staging", "3", actor="ann", reason="slippage", expect="2")


def test_a_promotion_after_the_rollback_is_no_repeat_of_it(two_releases: Registry) -> None:
    two_releases.promote("staging", "2", actor="flow", reason="green", evidence=SELECTED)
    two_releases.rollback("staging", actor="ann", reason="slippage", expect="2")
    two_releases.promote("staging", "2", actor="flow", reason="mended", evidence=SELECTED)
    with pytest.raises(RegistryError, match="its champion must be 2, which is to be left; found 'version 3"):
        two_releases.rollback("staging", actor="ann", reason="slippage", expect="2")


def test_the_target_of_a_rollback_comes_from_the_ledger(two_releases: Registry) -> None:
    two_releases.promote("staging", "2", actor="flow", reason="green", evidence=SELECTED)
    two_releases.promote("staging", "1", actor="flow", reason="back again", evidence=SELECTED)
    two_releases._tracking.client.set_registered_model_alias("staging.grandmodel", "previous", "1")
    assert two_releases.status()[1]["state"] == "previous moved outside the ledger"
    assert two_releases.rollback("staging", actor="ann", reason="slippage").version == "2"
    assert_one_champion(two_releases, "staging", version="2", previous="1", versions=3)


def test_a_previous_champion_moved_by_hand_is_put_back_by_a_rollback_to_the_present_one(two_releases: Registry) -> None:
    two_releases.promote("staging", "2", actor="flow", reason="green", evidence=SELECTED)
    two_releases._tracking.client.delete_registered_model_alias("staging.grandmodel", "previous")
    assert two_releases.rollback("staging", "2", actor="ann", reason="somebody moved the alias").changed
    assert champions(two_releases)["staging"] == two_releases.history()[-1]["release_id"]
    assert_one_champion(two_releases, "staging", version="2", previous="1")


def test_a_move_that_is_taken_back_restores_what_the_ledger_says(
    two_releases: Registry, state: Path, registry_of: Opener
) -> None:
    two_releases._tracking.client.set_registered_model_alias("dev.grandmodel", "previous", "2")
    with pytest.raises(Killed):
        registry_of(state, after_step=killer("champion")).rollback("dev", "1", actor="ann", reason="slippage")
    spoil(two_releases._tracking.bundle_path("dev.grandmodel", "1") / "limits.json")
    assert "taken back" in registry_of(state).reconcile("dev")[0]
    assert two_releases._tracking.aliases("dev.grandmodel") == {"champion": "2", "previous": "1"}


@pytest.fixture
def stuck(two_releases: Registry, state: Path, registry_of: Opener) -> Registry:
    """The registries with a promotion of release 2 into staging that can never be finished."""
    register(two_releases, make_bundle(state / "bundle-3.0", state, weight=3.0))
    with pytest.raises(Killed):
        registry_of(state, after_step=killer("intent")).promote(
            "staging", "2", actor="flow", reason="green", evidence=SELECTED
        )
    two_releases._tracking.client.delete_model_version("dev.grandmodel", "2")
    return registry_of(state)


def test_a_move_that_cannot_be_finished_blocks_its_own_environment_alone(stuck: Registry, state: Path) -> None:
    assert stuck.rollback("dev", "1", actor="ann", reason="slippage").changed
    assert register(stuck, make_bundle(state / "bundle-4.0", state, weight=4.0)) == "4"
    release_id = stuck.history()[2]["release_id"]
    states = [row["state"] for row in stuck.status()]
    assert states[1].startswith(f"unfinished promotion of release {release_id}, begun by flow at 20")
    assert states[:1] + states[2:] == ["ok"] * 3
    for blocked in (
        lambda: stuck.rollback("staging", "1", actor="ann", reason="slippage"),
        lambda: stuck.promote("staging", "4", actor="flow", reason="green", evidence=SELECTED),
        lambda: stuck.promote("canary", "1", actor="flow", reason="green"),
        stuck.reconcile,
    ):
        with pytest.raises(RegistryError, match=r"could not be finished: MLflow at .* `grandmodel abandon staging "):
            blocked()


def test_an_abandoned_move_is_taken_back_and_its_environment_moves_again(stuck: Registry) -> None:
    before = stuck._tracking.aliases("staging.grandmodel")
    [done] = stuck.abandon("staging", actor="ann", reason="version 2 was deleted")
    assert done.endswith("into staging taken back: version 2 was deleted")
    assert stuck._tracking.aliases("staging.grandmodel") == before
    last = stuck.history()[-1]
    assert (last["kind"], last["actor"], last["reason"]) == ("abandonment", "ann", "version 2 was deleted")
    assert stuck.status()[1]["state"] == "ok"
    assert stuck.promote("staging", "3", actor="flow", reason="green", evidence=SELECTED).changed
    assert stuck.abandon("staging", actor="ann", reason="again") == []


def test_a_move_taken_back_to_a_version_that_is_gone_leaves_no_champion_and_a_rollback_mends_it(
    two_releases: Registry, state: Path, registry_of: Opener
) -> None:
    with pytest.raises(Killed):
        register(registry_of(state, after_step=killer("champion")), make_bundle(state / "third", state, weight=3.0))
    for version in ("2", "3"):
        two_releases._tracking.client.delete_model_version("dev.grandmodel", version)
    registry = registry_of(state)
    registry.abandon("dev", actor="ann", reason="both are gone")
    assert registry.status()[0]["state"] == "champion moved outside the ledger"
    with pytest.raises(RegistryError, match="must be where the ledger put it"):
        registry.load_champion("dev")
    assert registry.rollback("dev", "1", actor="ann", reason="the only one left").changed
    assert_one_champion(registry, "dev", version="1", previous=None, versions=1)


@pytest.mark.parametrize("step", ["withdrawal", "abandonment"])
def test_an_abandonment_that_was_killed_is_completed_and_not_undone(
    two_releases: Registry, state: Path, registry_of: Opener, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    with pytest.raises(Killed):
        registry_of(state, after_step=killer("champion")).promote(
            "staging", "2", actor="flow", reason="green", evidence=SELECTED
        )
    registry, append = registry_of(state), Ledger.append

    def killed(self: Ledger, kind: str, **line: Any) -> Entry:
        if kind == "abandonment" and step == kind:  # both aliases stand where they stood by now
            raise Killed
        entry = append(self, kind, **line)
        if kind == step:
            raise Killed
        return entry

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "append", killed)
        with pytest.raises(Killed):
            registry.abandon("staging", actor="ann", reason="a bad release")
    again = registry_of(state)
    assert again.reconcile() == ["promotion into staging taken back: a bad release"]
    assert again._tracking.aliases("staging.grandmodel") == {"champion": "1"}
    assert (again.history()[-1]["kind"], again.history()[-1]["actor"]) == ("abandonment", "ann")
    assert again.promote("staging", "2", actor="flow", reason="mended", evidence=SELECTED).changed


def test_what_was_measured_for_a_move_that_was_taken_back_is_found_again(
    two_releases: Registry, state: Path, registry_of: Opener
) -> None:
    release_id = two_releases.status()[1]["release_id"]
    measured = {"decision_hash": "decisions-1.0"}
    with pytest.raises(Killed):
        registry_of(state, after_step=killer("intent")).promote(
            "canary", "1", actor="flow", reason="green", evidence=measured
        )
    registry = registry_of(state)
    assert registry.abandon("canary", actor="ann", reason="later")
    registry.refuse("canary", release_id=release_id, actor="flow", reason="its bundle was broken for a while")
    shown = registry.shown_before("canary", release_id)
    assert shown["decision_hash"] == measured["decision_hash"]
    assert registry.promote("canary", "1", actor="ann", reason="now", evidence=measured).accepted


def test_an_abandonment_without_a_reason_moves_nothing(stuck: Registry) -> None:
    before = stuck.ledger.path.read_bytes()
    with pytest.raises(LedgerError, match="actor and reason must be named"):
        stuck.abandon("staging", actor="ann", reason=" ")
    assert stuck.ledger.path.read_bytes() == before


@pytest.mark.parametrize("kind", ["intent", "promotion"])
def test_a_line_that_lacks_its_newline_counts_for_the_next_decision(
    two_releases: Registry, state: Path, registry_of: Opener, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    write = Ledger._write

    def short(self: Ledger, content: bytes) -> None:  # the disk is full one byte before the end of the line
        if f'"kind":"{kind}"'.encode() not in content:
            return write(self, content)
        write(self, content[:-1])
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "_write", short)
        with pytest.raises(LedgerError, match="Make room"):
            two_releases.promote("staging", "2", actor="flow", reason="green", evidence=SELECTED)
    registry = registry_of(state)
    done = registry.abandon("staging", actor="ann", reason="the disk was full")
    taken_back = kind == "intent"
    assert bool(done) == taken_back
    assert_one_champion(
        registry,
        "staging",
        version="1" if taken_back else "2",
        previous=None if taken_back else "1",
        versions=1 if taken_back else 2,
    )


def test_a_rollback_past_a_deleted_version_is_made(two_releases: Registry, state: Path) -> None:
    register(two_releases, make_bundle(state / "third", state, weight=3.0))
    two_releases._tracking.client.delete_model_version("dev.grandmodel", "1")
    assert two_releases.rollback("dev", "2", actor="ann", reason="slippage").changed
    assert two_releases._tracking.aliases("dev.grandmodel") == {"champion": "2"}
    assert two_releases.status()[0]["state"] == "ok"


def test_a_rollback_to_a_deleted_version_names_those_that_are_there(two_releases: Registry) -> None:
    two_releases._tracking.client.delete_model_version("dev.grandmodel", "1")
    before = two_releases.ledger.path.read_bytes()
    with pytest.raises(RegistryError, match=r"version 1 was deleted in MLflow; found \['2'\]. Name another"):
        two_releases.rollback("dev", actor="ann", reason="slippage")
    assert two_releases.ledger.path.read_bytes() == before


def test_where_the_only_version_was_deleted_another_release_is_let_in(two_releases: Registry) -> None:
    two_releases._tracking.client.delete_model_version("staging.grandmodel", "1")
    with pytest.raises(RegistryError, match="deleted in MLflow: let another release in"):
        two_releases.load_champion("staging")
    assert two_releases.promote("staging", "2", actor="flow", reason="green", evidence=SELECTED).changed
    assert_one_champion(two_releases, "staging", version="2", previous=None, versions=1)


def test_a_release_whose_version_was_deleted_is_registered_as_another(two_releases: Registry, state: Path) -> None:
    two_releases.rollback("dev", "1", actor="ann", reason="slippage")
    two_releases._tracking.client.delete_model_version("dev.grandmodel", "2")
    assert register(two_releases, make_bundle(state / "again", state, weight=2.0)) == "3"
    assert two_releases.status()[0]["state"] == "ok"


def test_beside_a_begun_ledger_no_database_is_made(two_releases: Registry, state: Path, registry_of: Opener) -> None:
    (state / "mlflow.db").unlink()
    registry, before = registry_of(state), two_releases.ledger.path.read_bytes()
    asked = (
        registry.status,
        lambda: registry.load_champion("dev"),
        lambda: registry.rollback("dev", "1", actor="ann", reason="slippage"),
        lambda: registry.promote("staging", "2", actor="flow", reason="green", evidence=SELECTED),
    )
    for ask in asked:
        with pytest.raises(RegistryError, match="must be there, for the ledger knows moves in it"):
            ask()
    assert not (state / "mlflow.db").exists()
    assert two_releases.ledger.path.read_bytes() == before


def test_rollback_to_the_champion_writes_nothing(two_releases: Registry) -> None:
    before = two_releases.ledger.path.read_bytes()
    assert not two_releases.rollback("staging", "1", actor="ann", reason="sure").changed
    assert two_releases.ledger.path.read_bytes() == before


def test_rollback_to_a_broken_bundle_moves_nothing(two_releases: Registry) -> None:
    two_releases.promote("staging", "2", actor="flow", reason="green", evidence=SELECTED)
    spoil(two_releases._tracking.bundle_path("staging.grandmodel", "1") / "strategic.safetensors")
    with pytest.raises(RegistryError, match="strategic"):
        two_releases.rollback("staging", actor="ann", reason="slippage")
    assert two_releases._tracking.aliases("staging.grandmodel")["champion"] == "2"


def test_a_release_rolled_back_can_be_promoted_again(two_releases: Registry) -> None:
    two_releases.promote("staging", "2", actor="flow", reason="green", evidence=SELECTED)
    two_releases.rollback("staging", actor="ann", reason="slippage")
    outcome = two_releases.promote("staging", "2", actor="flow", reason="mended", evidence=SELECTED)
    assert (outcome.version, outcome.changed) == ("3", True)


def test_an_alias_moved_by_hand_is_served_by_nobody_and_mended_by_rollback(two_releases: Registry) -> None:
    two_releases.promote("staging", "2", actor="flow", reason="green", evidence=SELECTED)
    two_releases._tracking.client.set_registered_model_alias("staging.grandmodel", "champion", "1")
    assert two_releases.status()[1]["state"] == "champion moved outside the ledger"
    with pytest.raises(RegistryError, match="must be where the ledger put it, version 2"):
        two_releases.load_champion("staging")
    two_releases.rollback("staging", "2", actor="ann", reason="somebody moved the alias")
    assert_one_champion(two_releases, "staging", version="2", previous="1")
