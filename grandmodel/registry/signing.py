"""Ed25519 keys that sign release manifests.

``GRANDMODEL_SIGNING_KEY`` names a PEM file, or holds the PEM text itself, as secret stores hand it over;
``GRANDMODEL_SIGNING_KEY_NAME`` is the name under which its signatures are shown. Where the first is not set a
development key is made on the first run, and called that wherever it is shown. Which keys an environment trusts stands
under ``trusted_keys`` in its configuration, by public key; the name alone proves nothing.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from grandmodel.core.errors import ConfigError

DEVELOPMENT_KEY = "development key"
KEY_VARIABLE, NAME_VARIABLE = "GRANDMODEL_SIGNING_KEY", "GRANDMODEL_SIGNING_KEY_NAME"


@dataclass(frozen=True)
class SigningKey:
    """A private Ed25519 key and the name under which its signatures are shown."""

    name: str
    private: Ed25519PrivateKey

    @property
    def public_hex(self) -> str:
        """Return the public key as 64 hex digits."""
        return self.private.public_key().public_bytes_raw().hex()

    def sign(self, message: bytes) -> str:
        """Return the signature of ``message`` as 128 hex digits."""
        return self.private.sign(message).hex()


def signing_key(state_folder: Path, variables: Mapping[str, str]) -> SigningKey:
    """Return the key that ``variables``, the environment of the process, name; else the development key.

    Raises ConfigError when the key cannot be read, has no name, or bears the name of the development key.
    """
    text, name = variables.get(KEY_VARIABLE, "").strip(), variables.get(NAME_VARIABLE, "").strip()
    if not text:
        return development_key(state_folder)
    if not name or name == DEVELOPMENT_KEY:
        raise ConfigError(NAME_VARIABLE, f"must name the key of {KEY_VARIABLE}, such as 'release key'", name)
    if text.startswith("-----BEGIN"):
        return _signing_key(text.encode(), KEY_VARIABLE, name)
    return load_signing_key(Path(text).expanduser(), name)


def development_key(state_folder: Path) -> SigningKey:
    """Return the development key of ``state_folder``, made on the first call.

    It proves that a bundle was sealed on this machine and not changed since; it proves nothing about a person.
    """
    path = state_folder / "development_key.pem"
    if not path.exists():
        _create_key(path)
    return load_signing_key(path, DEVELOPMENT_KEY)


def load_signing_key(path: Path, name: str) -> SigningKey:
    """Read an unencrypted PEM key. Raises ConfigError when the file is absent or holds no Ed25519 key."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(str(path), "the signing key must be an unencrypted PEM file", str(error)) from error
    return _signing_key(content, str(path), name)


def signature_is_valid(public_hex: str, signature_hex: str, message: bytes) -> bool:
    """Return whether ``signature_hex`` is ``public_hex``'s signature of ``message``; False when either is malformed."""
    if any(text != text.lower() or not text.isalnum() for text in (public_hex, signature_hex)):
        return False  # one spelling alone, so that no changed byte passes
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_hex))
        key.verify(bytes.fromhex(signature_hex), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _signing_key(pem: bytes, subject: str, name: str) -> SigningKey:
    try:
        private = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(subject, "the signing key must be an unencrypted PEM file", str(error)) from error
    if not isinstance(private, Ed25519PrivateKey):
        raise ConfigError(subject, "the signing key must be Ed25519", type(private).__name__)
    return SigningKey(name, private)


def _create_key(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # readable by its owner alone
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(pem)
            stream.flush()
            os.fsync(stream.fileno())
        os.link(temporary, path)  # unlike a rename, a link never replaces a key that another process made meanwhile
    except FileExistsError:
        pass
    finally:
        temporary.unlink(missing_ok=True)
