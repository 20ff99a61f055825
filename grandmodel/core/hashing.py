"""SHA-256 of the things that identify a release: files, folders, arrays, plain data."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def hash_file(path: Path) -> str:
    """Return the hex SHA-256 of one file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def hash_folder(path: Path) -> str:
    """Return the hex SHA-256 over the relative names and bytes of all files below ``path``, names sorted."""
    files = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
    return hash_json({p.relative_to(path).as_posix(): hash_file(p) for p in files})


def hash_json(value: object) -> str:
    """Return the hex SHA-256 of ``value`` as canonical JSON (sorted keys, no spaces, no NaN)."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def canonical_json(value: object) -> str:
    """Return one spelling per value, so that equal data hash equally. Raises ValueError on NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def hash_arrays(arrays: Mapping[str, NDArray[np.generic]]) -> str:
    """Return the hex SHA-256 over names, dtypes, shapes and bytes of ``arrays``, names sorted."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        digest.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
