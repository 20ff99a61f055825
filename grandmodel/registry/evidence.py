"""What a move rested on, as JSON below the registry's artefacts, named by its own hash."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grandmodel.core.errors import RegistryError
from grandmodel.core.files import write_json_atomic
from grandmodel.core.hashing import hash_json


def keep_evidence(folder: Path, evidence: Mapping[str, Any]) -> str:
    """Write ``evidence`` under its hash, once, and return the hash. Raises RegistryError where the disk takes none."""
    try:
        digest = hash_json(evidence)
    except (TypeError, ValueError) as error:
        raise RegistryError("evidence of a move", "must be finite, plain JSON", str(error)) from error
    path = folder / f"{digest}.json"
    try:
        if not path.exists():
            write_json_atomic(path, evidence)
    except OSError as error:
        raise RegistryError(str(path), "must take the evidence of a move", str(error), "Make room") from error
    return digest


def read_evidence(folder: Path, digest: str) -> dict[str, Any]:
    """Return the evidence of that hash. Raises RegistryError where it is absent or another."""
    path = folder / f"{digest}.json"
    try:
        evidence: dict[str, Any] = json.loads(path.read_text())
        found = hash_json(evidence)
    except (OSError, ValueError) as error:
        raise RegistryError(str(path), "the evidence of a move must be readable JSON", str(error)) from error
    if found != digest:
        raise RegistryError(str(path), "must be what the line of the ledger was written on", found)
    return evidence
