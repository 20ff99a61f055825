"""Whom an environment trusts, what a status remembers of a bundle, and that any changed byte is found."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from grandmodel.core.config import Environment
from grandmodel.core.errors import GrandModelError, RegistryError
from grandmodel.core.random import random_stream
from grandmodel.registry import looks
from grandmodel.registry.bundle import seal
from grandmodel.registry.signing import DEVELOPMENT_KEY, SigningKey, development_key
from grandmodel.registry.store import Registry
from tests.grandmodel.registry.releases import SELECTED, make_bundle, open_registry, register

BYTES = 60  # random places, in every file of ledger and bundle


@pytest.fixture
def promoted(state: Path, environments: dict[str, Environment]) -> Registry:
    registry = open_registry(state, environments)
    register(registry, make_bundle(state / "bundle", state))
    registry.promote("staging", "1", actor="flow", reason="green", evidence=SELECTED)
    return registry


def test_any_changed_byte_of_ledger_bundle_manifest_or_signature_is_found(promoted: Registry) -> None:
    served = promoted.load_champion("staging")
    files = [promoted.ledger.path, *(path for path in sorted(served.rglob("*")) if path.is_file())]
    assert len(files) == 11
    stream, evidence = random_stream(1, "tamper"), {"decision_hash": "decisions-1.0"}
    for path in files:
        named = (
            "manifest" if path.name == "manifest.json" else path.name
        )  # which may say of another file that it differs
        content = path.read_bytes()
        for place in stream.integers(len(content), size=BYTES // len(files) + 1):
            changed = bytearray(content)
            changed[place] ^= int(stream.integers(1, 256))
            path.write_bytes(changed)
            with pytest.raises(GrandModelError, match=named) as refusal:
                promoted.load_champion("staging")
            assert "line" in str(refusal.value) or path != promoted.ledger.path
            with pytest.raises(GrandModelError, match=named):
                promoted.promote("canary", "1", actor="eve", reason="hurry", evidence=evidence)
        path.write_bytes(content)
    promoted.load_champion("staging")


@pytest.mark.parametrize("tag", ["release_id", "manifest_sha256", "public_key", "key_name", "author"])
def test_any_changed_tag_is_named_and_nothing_moves(promoted: Registry, tag: str) -> None:
    promoted.tracking.client.set_model_version_tag("staging.grandmodel", "1", tag, "x")
    with pytest.raises(RegistryError, match=f"tag {tag}"):
        promoted.load_champion("staging")
    evidence = {"decision_hash": "decisions-1.0"}
    with pytest.raises(RegistryError, match=f"tag {tag}"):
        promoted.promote("canary", "1", actor="flow", reason="green", evidence=evidence)
    assert promoted.history()[-1]["kind"] == "refusal"
    assert f"tag {tag}" in promoted.status()[1]["state"]


def test_an_environment_that_names_keys_takes_no_release_of_another(
    state: Path, environments: dict[str, Environment]
) -> None:
    key = development_key(state / "vault")
    trusting = environments["staging"].model_copy(update={"trusted_keys": {"release key": key.public_hex}})
    registry = open_registry(state, {**environments, "staging": trusting})
    register(registry, make_bundle(state / "bundle", state))
    with pytest.raises(RegistryError, match=f"staging trusts the signatures of release key alone.*{DEVELOPMENT_KEY}"):
        registry.promote("staging", "1", actor="flow", reason="green", evidence=SELECTED)
    assert registry.history()[-1]["kind"] == "refusal"
    other = make_bundle(state / "other", state, weight=2.0)
    seal(other, SigningKey("release key", key.private))
    assert register(registry, other) == "2"
    assert registry.promote("staging", "2", actor="flow", reason="green", evidence=SELECTED).accepted


def test_a_release_sealed_anew_with_the_key_that_is_asked_for_is_let_in_anew(
    state: Path, environments: dict[str, Environment]
) -> None:
    key = development_key(state / "vault")
    bundle = make_bundle(state / "bundle", state)
    everywhere = open_registry(state, environments)
    register(everywhere, bundle)
    assert everywhere.promote("staging", "1", actor="flow", reason="green", evidence=SELECTED).accepted
    trusting = environments["staging"].model_copy(update={"trusted_keys": {"release key": key.public_hex}})
    registry = open_registry(state, {**environments, "staging": trusting})
    with pytest.raises(RegistryError, match="Seal the release with a key"):
        registry.load_champion("staging")
    seal(bundle, SigningKey("release key", key.private))
    assert register(registry, bundle) == "2"
    assert register(registry, bundle) == "2"
    outcome = registry.promote("staging", "2", actor="flow", reason="green", evidence=SELECTED)
    assert (outcome.version, outcome.changed) == ("2", True)
    assert registry.load_champion("staging").is_dir()
    assert [row["release_id"] for row in registry.status()[:2]] == [outcome.release_id] * 2


def test_a_key_that_is_no_longer_trusted_is_no_longer_served(
    promoted: Registry, state: Path, environments: dict[str, Environment]
) -> None:
    trusting = environments["staging"].model_copy(update={"trusted_keys": {"release key": "00" * 32}})
    with pytest.raises(RegistryError, match="staging trusts the signatures of release key alone"):
        open_registry(state, {**environments, "staging": trusting}).load_champion("staging")


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Return the bundles that are read in full from now on."""
    read: list[Path] = []
    verify: Callable[..., object] = looks.verify

    def counted(folder: Path, *rest: object) -> object:
        read.append(folder)
        return verify(folder, *rest)

    monkeypatch.setattr(looks, "verify", counted)
    return read


def test_a_status_reads_a_bundle_once_and_tells_when(
    promoted: Registry, state: Path, environments: dict[str, Environment], readings: list[Path]
) -> None:
    registry = open_registry(state, environments)
    first = [row["verified_at"] for row in registry.status()]
    again = [row["verified_at"] for row in registry.status()]
    assert len(readings) == 1
    assert first == again
    assert first[0] == first[1] is not None
    assert first[2:] == [None, None]
    registry.load_champion("staging")
    assert len(readings) == 2
    assert registry.status()[1]["verified_at"] > first[1]


def test_a_status_sees_a_change_of_equal_length_since_the_last_reading(promoted: Registry) -> None:
    assert promoted.status()[1]["state"] == "ok"
    path = promoted.load_champion("staging") / "limits.json"
    path.write_bytes(path.read_bytes().replace(b"1.0", b"9.0"))
    row = promoted.status()[1]
    assert "limits.json" in row["state"]
    assert row["verified_at"] is None
