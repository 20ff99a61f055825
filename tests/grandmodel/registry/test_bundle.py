from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from grandmodel.core.errors import ConfigError, RegistryError
from grandmodel.core.files import write_json_atomic
from grandmodel.registry.bundle import MANIFEST, seal, verify, with_key_name
from grandmodel.registry.signing import (
    DEVELOPMENT_KEY,
    KEY_VARIABLE,
    NAME_VARIABLE,
    development_key,
    load_signing_key,
    signature_is_valid,
    signing_key,
)


@pytest.fixture
def unsealed(tmp_path: Path) -> Path:
    folder = tmp_path / "bundle"
    (folder / "figures").mkdir(parents=True)
    for name in ("evidence.json", "feature_spec.json", "limits.json", "sbom.json"):
        (folder / name).write_text(json.dumps({"file": name}))
    (folder / "strategic.safetensors").write_bytes(b"weights")
    (folder / "figures" / "equity.svg").write_text("<svg/>")
    return folder


@pytest.fixture
def sealed(unsealed: Path, tmp_path: Path) -> Path:
    seal(unsealed, development_key(tmp_path / "state"))
    return unsealed


def test_equal_files_give_an_equal_release_id_whoever_signs(sealed: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(sealed, copy)
    other = seal(copy, development_key(tmp_path / "other state"))
    first = verify(sealed)
    assert other.release_id == first.release_id == first.manifest_sha256[:12]
    assert other.public_key != first.public_key


def test_another_byte_gives_another_release_id(sealed: Path, tmp_path: Path) -> None:
    before = verify(sealed).release_id
    (sealed / "strategic.safetensors").write_bytes(b"weighty")
    assert seal(sealed, development_key(tmp_path / "state")).release_id != before


def test_sealing_again_changes_nothing(sealed: Path, tmp_path: Path) -> None:
    before = {path.name: path.read_bytes() for path in sealed.iterdir() if path.is_file()}
    seal(sealed, development_key(tmp_path / "state"))
    assert {path.name: path.read_bytes() for path in sealed.iterdir() if path.is_file()} == before


def test_the_key_is_called_development_key_and_only_its_owner_reads_it(sealed: Path, tmp_path: Path) -> None:
    assert verify(sealed).key_name == "development key"
    assert (tmp_path / "state" / "development_key.pem").stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_read_is_one_sentence(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("grandmodel.registry.bundle.hash_file", refuse)
    with pytest.raises(RegistryError, match=r"every file must be readable.*Permission denied"):
        verify(sealed)


@pytest.mark.parametrize(
    "name", ["evidence.json", "feature_spec.json", "limits.json", "strategic.safetensors", "figures/equity.svg"]
)
def test_a_changed_file_is_named(sealed: Path, name: str) -> None:
    path = sealed / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(RegistryError, match=name):
        verify(sealed)


def test_the_first_differing_file_is_named(sealed: Path) -> None:
    for name in ("limits.json", "feature_spec.json"):
        (sealed / name).write_text("{}")
    with pytest.raises(RegistryError, match=r"feature_spec\.json"):
        verify(sealed)


def test_an_added_file_is_named(sealed: Path) -> None:
    (sealed / "extra.json").write_text("{}")
    with pytest.raises(RegistryError, match=r"extra\.json: is in the folder but not"):
        verify(sealed)


def test_a_removed_file_is_named(sealed: Path) -> None:
    (sealed / "limits.json").unlink()
    with pytest.raises(RegistryError, match=r"limits\.json: is in the manifest but absent"):
        verify(sealed)


def test_a_bundle_of_the_first_format_stands_as_it_was_sealed(sealed: Path, tmp_path: Path) -> None:
    key = development_key(tmp_path / "state")
    manifest = json.loads((sealed / "manifest.json").read_text()) | {"format": 1}
    write_json_atomic(sealed / "manifest.json", manifest)
    signature = json.loads((sealed / "signature.json").read_text())
    signature["signature"] = key.sign((sealed / "manifest.json").read_bytes())
    write_json_atomic(sealed / "signature.json", signature)
    with pytest.raises(RegistryError, match="must cover the name of the key"):
        with_key_name(verify(sealed))
    write_json_atomic(sealed / "manifest.json", manifest | {"format": 2})
    with pytest.raises(RegistryError, match="signature must match"):
        verify(sealed)


def test_any_changed_byte_is_found_and_its_file_named(sealed: Path) -> None:
    found = 0
    for file in sorted(path for path in sealed.iterdir() if path.is_file()):
        content = file.read_bytes()
        named = "manifest" if file.name == MANIFEST else file.name  # which may say of another file that it differs
        for position in range(len(content)):
            changed = bytearray(content)
            changed[position] ^= 0x20  # turns the case of letters, too
            file.write_bytes(changed)
            with pytest.raises(RegistryError, match=named):
                verify(sealed)
            found += 1
        file.write_bytes(content)
    assert found > 900
    verify(sealed)


def test_a_manifest_resealed_by_a_stranger_is_refused_where_keys_are_trusted(sealed: Path, tmp_path: Path) -> None:
    trusted = {verify(sealed).public_key}
    (sealed / "limits.json").write_text("{}")
    seal(sealed, development_key(tmp_path / "stranger"))
    assert verify(sealed)
    with pytest.raises(RegistryError, match="trusted key"):
        verify(sealed, trusted)


@pytest.mark.parametrize("name", ["actor.pkl", "actor.pt", "actor.PTH", "model.joblib", "deep/model.pickle", "a.ckpt"])
def test_pickles_are_refused(unsealed: Path, tmp_path: Path, name: str) -> None:
    (unsealed / name).parent.mkdir(exist_ok=True)
    (unsealed / name).write_bytes(b"x")
    with pytest.raises(RegistryError, match="no pickles"):
        seal(unsealed, development_key(tmp_path / "state"))
    assert not (unsealed / MANIFEST).exists()


def test_links_are_refused(unsealed: Path, tmp_path: Path) -> None:
    (unsealed / "link.json").symlink_to(unsealed / "limits.json")
    with pytest.raises(RegistryError, match="no links"):
        seal(unsealed, development_key(tmp_path / "state"))


@pytest.mark.parametrize(
    "name", ["limits.json", "evidence.json", "feature_spec.json", "sbom.json", "strategic.safetensors"]
)
def test_a_bundle_without_a_required_part_is_refused(unsealed: Path, tmp_path: Path, name: str) -> None:
    (unsealed / name).unlink()
    with pytest.raises(RegistryError, match=r"must hold"):
        seal(unsealed, development_key(tmp_path / "state"))


def test_an_unsealed_folder_is_refused(unsealed: Path) -> None:
    with pytest.raises(RegistryError, match=r"manifest\.json"):
        verify(unsealed)


def test_the_development_key_is_made_once(tmp_path: Path) -> None:
    assert development_key(tmp_path).public_hex == development_key(tmp_path).public_hex
    assert [path.name for path in tmp_path.iterdir()] == ["development_key.pem"]


def test_a_broken_key_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("no key")
    with pytest.raises(ConfigError, match="PEM"):
        load_signing_key(tmp_path / "key.pem", "release key")


def test_signatures_hold_for_one_message_and_one_key(tmp_path: Path) -> None:
    key = development_key(tmp_path)
    signature = key.sign(b"manifest")
    assert signature_is_valid(key.public_hex, signature, b"manifest")
    assert not signature_is_valid(key.public_hex, signature, b"manifesto")
    assert not signature_is_valid("00" * 32, signature, b"manifest")
    assert not signature_is_valid("not hex", signature, b"manifest")


def test_the_key_comes_from_a_file_or_from_the_environment_by_name(tmp_path: Path) -> None:
    made = development_key(tmp_path / "vault")
    path = tmp_path / "vault" / "development_key.pem"
    for value in (str(path), path.read_text()):
        key = signing_key(tmp_path / "state", {KEY_VARIABLE: value, NAME_VARIABLE: "release key"})
        assert (key.name, key.public_hex) == ("release key", made.public_hex)
    assert not (tmp_path / "state").exists()


def test_without_a_key_the_development_key_is_taken_and_called_that(tmp_path: Path) -> None:
    assert signing_key(tmp_path, {}).name == DEVELOPMENT_KEY
    assert signing_key(tmp_path, {}).public_hex == development_key(tmp_path).public_hex


@pytest.mark.parametrize("name", ["", DEVELOPMENT_KEY])
def test_a_key_without_a_name_of_its_own_is_refused(tmp_path: Path, name: str) -> None:
    development_key(tmp_path)
    variables = {KEY_VARIABLE: str(tmp_path / "development_key.pem"), NAME_VARIABLE: name}
    with pytest.raises(ConfigError, match=NAME_VARIABLE):
        signing_key(tmp_path, variables)


@pytest.mark.parametrize("value", ["absent.pem", "-----BEGIN PRIVATE KEY-----"])
def test_a_key_that_cannot_be_read_is_refused_and_none_is_made_instead(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match="PEM"):
        signing_key(tmp_path / "state", {KEY_VARIABLE: value, NAME_VARIABLE: "release key"})
    assert not (tmp_path / "state").exists()
