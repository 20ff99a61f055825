"""Writes that are all there or not there at all, whatever kills the process."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path


def write_bytes_atomic(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path`` through a synced temporary file and one rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_text_atomic(path: Path, content: str) -> None:
    """Write UTF-8 text atomically."""
    write_bytes_atomic(path, content.encode())


def write_json_atomic(path: Path, value: object) -> None:
    """Write ``value`` as indented JSON with sorted keys, atomically. Raises ValueError on NaN."""
    write_text_atomic(path, json_text(value))


def json_text(value: object) -> str:
    """Return ``value`` as the text that ``write_json_atomic`` writes. Raises ValueError on NaN."""
    return json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n"
