"""The lines of a journal on disk: a chain in which each line holds the hash of the one before, and who may write it."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from grandmodel.core.errors import DataError

GENESIS = "0" * 64
ONE_WRITER = ("must be written by one process", "Stop the other one and restore the book")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a folder against other writers. Raises DataError where another one is at it now; a reader is free."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(str(folder), ONE_WRITER[0], do=ONE_WRITER[1]) from error
        yield
    finally:
        os.close(handle)


def read_lines(path: Path) -> tuple[list[dict[str, Any]], list[str], int, str]:
    """Return complete lines, the hashes of the beginning and of each, their bytes, and what is broken, if any.

    Bytes after the last newline are a write that a kill cut off. They are kept as a line where they are one.
    """
    content = path.read_bytes() if path.exists() else b""
    texts = content.split(b"\n")
    lines: list[dict[str, Any]] = []
    hashes, size = [GENESIS], 0
    for number, text in enumerate(texts, start=1):
        try:
            line = json.loads(text)
            whole = line["previous"] == hashes[-1]
        except (ValueError, KeyError, TypeError):
            whole = False
        if not whole and number == len(texts):
            break
        if not whole:
            return lines, hashes, size, f"line {number} must be JSON with the hash of the line before"
        lines.append(line)
        hashes.append(hashlib.sha256(text).hexdigest())
        size += len(text) + 1
    return lines, hashes, size, ""


def append_synced(path: Path, content: bytes, size: int) -> None:
    """Write ``content`` after ``size`` bytes of complete lines. Raises DataError where the file ends otherwise."""
    end = max(size - 1, 0)  # of the last line, without its newline, which a kill may have cut off
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        length = os.fstat(handle).st_size
        tail = os.pread(handle, max(length - end, 0), end)
        torn = tail[1:] if size else tail
        if length < end or (size and tail[:1] not in (b"", b"\n")) or b"\n" in torn:
            raise DataError(str(path), ONE_WRITER[0], do=ONE_WRITER[1])
        os.ftruncate(handle, end)
        os.lseek(handle, end, os.SEEK_SET)
        rest = (b"\n" if size else b"") + content
        while rest:
            rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def set_aside(path: Path) -> None:
    """Rename a file that cannot be gone on with; it is evidence and is not removed."""
    if not path.exists():
        return
    number = 1
    while (free := path.with_name(f"{path.name}.broken-{number}")).exists():
        number += 1
    os.replace(path, free)
