"""Bundles as they were last read: verified in full, against what the ledger let in and whom the environment trusts."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from grandmodel.core.clock import Clock, iso
from grandmodel.core.config import Environment
from grandmodel.core.errors import RegistryError
from grandmodel.registry.bundle import Bundle, fingerprint, verify
from grandmodel.registry.moves import Move


@dataclass(frozen=True)
class Look:
    """One full reading of a bundle."""

    bundle: Bundle
    fingerprint: tuple[object, ...]  # taken before the files were read
    time: str  # ISO 8601, UTC


class Looks:
    """Verifies bundles, and remembers within this process which stand as they were verified."""

    def __init__(self, environments: Mapping[str, Environment], trusted_keys: Collection[str], clock: Clock) -> None:
        self._environments = environments
        self._trusted_keys = trusted_keys
        self._clock = clock
        self._last: dict[Path, Look] = {}

    def read(self, folder: Path, environment: str) -> Look:
        """Read a bundle in full. Raises RegistryError where it is broken, or signed by a key not trusted there."""
        before = fingerprint(folder)
        look = self._last[folder] = Look(verify(folder, self._trusted_keys), before, iso(self._clock()))
        self.require_trust(environment, look.bundle)
        return look

    def read_changed(self, folder: Path, environment: str) -> Look:
        """Read a bundle in full where a file has changed since the last time, or it was never read; else as then."""
        look = self._last.get(folder)
        if look is None or look.fingerprint != fingerprint(folder):
            return self.read(folder, environment)
        self.require_trust(environment, look.bundle)
        return look

    def require_trust(self, environment: str, bundle: Bundle) -> None:
        """Raise RegistryError where ``environment`` names keys and none of them signed."""
        trusted = self._environments[environment].trusted_keys
        if trusted and bundle.public_key not in trusted.values():
            raise RegistryError(
                f"bundle {bundle.folder}",
                f"{environment} trusts the signatures of {', '.join(sorted(trusted))} alone",
                f"{bundle.key_name} {bundle.public_key}",
                "Seal the release with a key that stands in its configuration",
            )


def require_registered(move: Move, bundle: Bundle) -> None:
    """Raise RegistryError where ``bundle`` is not the one that ``move`` let in, signed as it was then."""
    subject = f"bundle {bundle.folder}"
    if bundle.manifest_sha256 != move.manifest_sha256:
        raise RegistryError(subject, f"must be the one registered, {move.manifest_sha256}", bundle.manifest_sha256)
    if (bundle.public_key, bundle.key_name) != (move.public_key, move.key_name):
        rule = f"must be signed by the key of its registration, {move.key_name} {move.public_key}"
        raise RegistryError(subject, rule, f"{bundle.key_name} {bundle.public_key}")
