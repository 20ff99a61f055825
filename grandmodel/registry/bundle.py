"""A release bundle: one flat or nested folder, its SHA-256 manifest and an Ed25519 signature over the manifest.

::

    bundle/
    ├── *.safetensors  feature_spec.json  limits.json  evidence.json      always
    ├── gates.json  stress.json  report.html ...                           whatever else belongs to the release
    ├── manifest.json      {"files": {name: sha256}, "format": 1}
    └── signature.json     algorithm, key name, public key, signature of the key name and the bytes of manifest.json

``release_id`` is the first 12 hex digits of the manifest's hash: equal files give an equal id, on any machine.
Nothing that could hold a pickle is accepted, and nothing in this house loads one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grandmodel.core.errors import RegistryError
from grandmodel.core.files import json_text, write_json_atomic
from grandmodel.core.hashing import hash_file
from grandmodel.registry.materials import BILL_OF_MATERIALS
from grandmodel.registry.signing import SigningKey, signature_is_valid

MANIFEST = "manifest.json"
SIGNATURE = "signature.json"
REQUIRED_FILES = ("evidence.json", "feature_spec.json", "limits.json", BILL_OF_MATERIALS)
PICKLE_SUFFIXES = frozenset({".bin", ".ckpt", ".cloudpickle", ".dill", ".joblib", ".pickle", ".pkl", ".pt", ".pth"})
_FORMAT, _FORMAT_WITHOUT_NAME = 2, 1  # bundles of the first stand as they were sealed: their key has no sure name


@dataclass(frozen=True)
class Bundle:
    """A bundle whose files, manifest and signature agreed when it was looked at."""

    folder: Path
    release_id: str
    manifest_sha256: str
    files: Mapping[str, str]  # relative name -> sha256
    key_name: str
    public_key: str  # hex
    names_key: bool = True  # whether the signature covers the name of the key: not in the first format

    def read_json(self, name: str) -> Any:
        """Return the content of one JSON file of the bundle. Raises RegistryError when it is absent or no JSON."""
        try:
            return json.loads((self.folder / name).read_text())
        except (OSError, ValueError) as error:
            raise RegistryError(f"bundle {self.release_id} file {name}", "must be readable JSON", str(error)) from error


def seal(folder: Path, key: SigningKey) -> Bundle:
    """Write manifest and signature into ``folder`` and return the bundle; sealing again replaces both.

    Raises:
        RegistryError: a required file is absent, no weights are there, or a file could hold a pickle or is a link.
    """
    files = _hash_files(folder)
    for name in REQUIRED_FILES:
        if name not in files:
            raise RegistryError(f"bundle {folder}", f"must hold {name}", sorted(files), "Run `grandmodel run` again")
    if not any(name.endswith(".safetensors") for name in files):
        raise RegistryError(f"bundle {folder}", "must hold weights as *.safetensors", sorted(files))
    write_json_atomic(folder / MANIFEST, {"files": files, "format": _FORMAT})
    message = (folder / MANIFEST).read_bytes()
    write_json_atomic(
        folder / SIGNATURE,
        {
            "algorithm": "ed25519",
            "key_name": key.name,
            "public_key": key.public_hex,
            "signature": key.sign(_signed(_FORMAT, key.name, message)),
        },
    )
    return verify(folder)


def verify(folder: Path, trusted_keys: Collection[str] = ()) -> Bundle:
    """Return the bundle in ``folder`` after checking every file, the manifest and the signature.

    Args:
        folder: the sealed folder.
        trusted_keys: public keys (hex) one of which must have signed; empty accepts the key named in the bundle,
            which shows that nothing changed since sealing but not who sealed.

    Raises:
        RegistryError: naming the first file (by name) that differs, is absent or was added, or the broken signature; or
            a file cannot be read.
    """
    manifest = _read_record(folder, MANIFEST, {"files": dict, "format": int})
    if manifest["format"] not in (_FORMAT, _FORMAT_WITHOUT_NAME):
        raise RegistryError(f"bundle {folder} file {MANIFEST}", f"format must be {_FORMAT}", manifest["format"])
    _compare(folder, manifest["files"], _hash_files(folder))
    record = _read_record(folder, SIGNATURE, {"algorithm": str, "key_name": str, "public_key": str, "signature": str})
    message = (folder / MANIFEST).read_bytes()
    signed = _signed(manifest["format"], record["key_name"], message)
    if record["algorithm"] != "ed25519" or not signature_is_valid(record["public_key"], record["signature"], signed):
        raise RegistryError(
            f"bundle {folder} file {SIGNATURE}",
            "the signature must match the manifest and the name of the key",
            do="Seal the bundle again from its source; do not release this copy",
        )
    if trusted_keys and record["public_key"] not in trusted_keys:
        raise RegistryError(f"bundle {folder} file {SIGNATURE}", "a trusted key must have signed", record["public_key"])
    digest = hashlib.sha256(message).hexdigest()
    names_key = manifest["format"] != _FORMAT_WITHOUT_NAME
    return Bundle(folder, digest[:12], digest, manifest["files"], record["key_name"], record["public_key"], names_key)


def with_key_name(bundle: Bundle) -> Bundle:
    """Return ``bundle``. Raises RegistryError where its signature leaves the name of the key open to a change."""
    if not bundle.names_key:
        rule = "the signature must cover the name of the key"
        raise RegistryError(f"bundle {bundle.folder} file {SIGNATURE}", rule, bundle.key_name, "Seal it again")
    return bundle


def fingerprint(folder: Path) -> tuple[object, ...]:
    """Return what changes when a file below ``folder`` does, without reading any: inode, size and both times of each.

    It spares a look at the bytes where one was taken before; it is no proof against who can set a clock.
    Raises RegistryError where the folder cannot be read.
    """
    try:
        stats = [(path.relative_to(folder).as_posix(), path.lstat()) for path in sorted(folder.rglob("*"))]
    except OSError as error:
        raise RegistryError(f"bundle {folder}", "must be readable", str(error)) from error
    return tuple((name, one.st_ino, one.st_size, one.st_mtime_ns, one.st_ctime_ns) for name, one in stats)


def _signed(form: int, key_name: str, manifest: bytes) -> bytes:
    """Return what is signed: a signature under another name must not pass for this one."""
    return manifest if form == _FORMAT_WITHOUT_NAME else key_name.encode() + b"\n" + manifest


def _compare(folder: Path, expected: Mapping[str, str], found: Mapping[str, str]) -> None:
    for name in sorted(expected.keys() | found.keys()):
        subject = f"bundle {folder} file {name}"
        if name not in found:
            raise RegistryError(subject, "is in the manifest but absent from the folder")
        if name not in expected:
            raise RegistryError(subject, "is in the folder but not in the manifest")
        if expected[name] != found[name]:
            raise RegistryError(subject, f"must have the SHA-256 of the manifest, {expected[name]!r}", found[name])


def _hash_files(folder: Path) -> dict[str, str]:
    try:
        return _hashes_below(folder)
    except OSError as error:
        raise RegistryError(f"bundle {folder}", "every file must be readable", str(error)) from error


def _hashes_below(folder: Path) -> dict[str, str]:
    if not folder.is_dir():
        raise RegistryError(f"bundle {folder}", "the folder must exist")
    hashes: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise RegistryError(f"bundle {folder} file {name}", "a bundle must hold no links")
        if path.suffix.lower() in PICKLE_SUFFIXES:
            raise RegistryError(
                f"bundle {folder} file {name}", "a bundle must hold no pickles", do="Export the weights as safetensors"
            )
        if path.is_file() and name not in (MANIFEST, SIGNATURE):
            hashes[name] = hash_file(path)
    return hashes


def _read_record(folder: Path, name: str, types: Mapping[str, type]) -> dict[str, Any]:
    subject = f"bundle {folder} file {name}"
    try:
        text = (folder / name).read_text()
        record = json.loads(text)
        spelling = json_text(record)
    except (OSError, ValueError) as error:
        raise RegistryError(subject, "must be readable JSON", str(error), "Seal the bundle first") from error
    if not isinstance(record, dict) or set(record) != set(types):
        raise RegistryError(subject, f"must hold exactly {sorted(types)}", record)
    if text != spelling:
        raise RegistryError(subject, "must be spelled as it was sealed")
    for key, kind in types.items():
        if not isinstance(record[key], kind):
            raise RegistryError(f"{subject} key {key}", f"must be {kind.__name__}", record[key])
    return record
