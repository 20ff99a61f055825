"""Checkpoints of a ledger in a file elsewhere, so that a cut is noticed where ledger and head are cut together.

``GRANDMODEL_ANCHOR`` names the file, in a folder that is there: on another disk, or in a repository whose commits are
pushed. Each line that a ledger takes leaves a checkpoint, which every later look at the ledger must find again. One
file serves one state folder, its ledger and its trial ledger. Where the variable is not set nothing is anchored.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from grandmodel.core.errors import LedgerError
from grandmodel.core.hashing import canonical_json

VARIABLE = "GRANDMODEL_ANCHOR"
LOCK_TIMEOUT_S = 60.0
_DO = "Restore the ledger from its copy; the file serves one state folder alone"


@dataclass(frozen=True)
class Checkpoint:
    """One line of the file: this ledger held this line once."""

    ledger: str  # name of the file, such as ledger.jsonl
    sequence: int
    hash: str  # of the line


def anchor_file() -> Path | None:
    """Return where checkpoints go; None where ``GRANDMODEL_ANCHOR`` names nothing."""
    text = os.environ.get(VARIABLE, "").strip()
    return Path(text).expanduser().absolute() if text else None


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Append one checkpoint and sync it; a tail that a kill left is removed first.

    Raises:
        LedgerError: the folder is absent or takes no file.
    """
    line = canonical_json(asdict(checkpoint)).encode() + b"\n"
    _require_folder(path)
    try:
        # Ledger and trial ledger have locks of their own, and one file for both.
        with FileLock(path.with_name(path.name + ".lock"), timeout=LOCK_TIMEOUT_S), path.open("a+b") as stream:
            stream.seek(0)
            stream.truncate(stream.read().rfind(b"\n") + 1)
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())
    except (OSError, Timeout) as error:
        raise LedgerError(str(path), f"the file that {VARIABLE} names must take a line", str(error)) from error


def read_checkpoints(path: Path, ledger: str) -> list[Checkpoint]:
    """Return the checkpoints of one ledger, oldest first; none where the file is absent.

    Raises:
        LedgerError: the folder is absent, or naming the first line that is no checkpoint.
    """
    _require_folder(path)
    try:
        *lines, _torn = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise LedgerError(str(path), "the checkpoints must be readable", str(error)) from error
    found = [_parse(line, f"{path} line {number}") for number, line in enumerate(lines, 1)]
    return [one for one in found if one.ledger == ledger]


def check(ledger: Path, hashes: Sequence[str], checkpoints: Sequence[Checkpoint]) -> None:
    """Compare the lines of a ledger with what was written down elsewhere.

    Args:
        ledger: for the message.
        hashes: of its lines, in order.
        checkpoints: of this ledger.

    Raises:
        LedgerError: naming the first line that is gone or another.
    """
    for one in sorted(checkpoints, key=lambda checkpoint: checkpoint.sequence):
        if one.sequence >= len(hashes):
            rule = f"a checkpoint knows a line with sequence {one.sequence}; the end was cut off"
            raise LedgerError(f"{ledger} line {len(hashes) + 1}", rule, do=_DO)
        if hashes[one.sequence] != one.hash:
            rule = f"must be the line that a checkpoint names, {one.hash}"
            raise LedgerError(f"{ledger} line {one.sequence + 1}", rule, hashes[one.sequence], _DO)


def _require_folder(path: Path) -> None:
    if not path.parent.is_dir():  # a disk that is not mounted must not look like a ledger without checkpoints
        raise LedgerError(str(path), f"{VARIABLE} must name a file in a folder that is there")


def _parse(line: bytes, subject: str) -> Checkpoint:
    try:
        record = json.loads(line)
        checkpoint = Checkpoint(**record)
        spelling = canonical_json(asdict(checkpoint)).encode()
    except (ValueError, TypeError) as error:
        raise LedgerError(subject, "must be a checkpoint in JSON", str(error)) from error
    if line != spelling or type(checkpoint.sequence) is not int or checkpoint.sequence < 0:
        raise LedgerError(subject, "must be a checkpoint as it was written", line.decode(errors="replace"))
    return checkpoint
