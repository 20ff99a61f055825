"""Checkpoints of a ledger in a file elsewhere, so that a cut is noticed where ledger and head are cut together.

``GRANDMODEL_ANCHOR`` names the file, in a folder that is there: on another disk, or in a repository whose commits are
pushed. Each line that a ledger takes leaves a checkpoint, which every later look at the ledger must find again. One
file serves one state folder, its ledger and its trial ledger. Where the variable is not set nothing is anchored; where
it is, a ledger of more than one line must be known to the file, so that a disk that is not mounted is noticed.
"""

from __future__ import annotations

import json
import os
import re
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
    """Return where checkpoints go; None where ``GRANDMODEL_ANCHOR`` names nothing. Raises LedgerError for ~nobody."""
    text = os.environ.get(VARIABLE, "").strip()
    try:
        return Path(text).expanduser().absolute() if text else None
    except RuntimeError as error:
        raise LedgerError(VARIABLE, "must name a file", text, str(error)) from error


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Append one checkpoint and sync it; a torn one that a kill left at the end is removed first.

    Raises:
        LedgerError: the folder is absent or takes no file, or the file ends in something else.
    """
    line = canonical_json(asdict(checkpoint)).encode() + b"\n"
    _require_folder(path)
    try:
        # Ledger and trial ledger have locks of their own, and one file for both.
        with FileLock(path.with_name(path.name + ".lock"), timeout=LOCK_TIMEOUT_S), path.open("a+b") as stream:
            stream.seek(0)
            stream.truncate(len(_whole_lines(stream.read(), path)))
            stream.write(line)
            stream.flush()
            os.fsync(stream.fileno())
    except (OSError, Timeout) as error:
        raise LedgerError(str(path), f"the file that {VARIABLE} names must take a line", str(error)) from error


def read_checkpoints(path: Path, ledger: str) -> list[Checkpoint]:
    """Return the checkpoints of one ledger, oldest first; none where the file is absent.

    Raises:
        LedgerError: the folder is absent, the file cannot be read, or naming the first line that is no checkpoint.
    """
    _require_folder(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise LedgerError(str(path), "the checkpoints must be readable", str(error)) from error
    lines = _whole_lines(content, path).split(b"\n")[:-1]
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
    if not os.path.isdir(path.parent):  # a disk that is not mounted must not look like a ledger without checkpoints
        raise LedgerError(str(path), f"{VARIABLE} must name a file in a folder that is there")


def _whole_lines(content: bytes, path: Path) -> bytes:
    """Return ``content`` up to its last newline. Raises LedgerError where what follows is no torn checkpoint."""
    end = content.rfind(b"\n") + 1
    tail = content[end:]
    # {"hash":"<64 digits>","ledger":"...: the file of somebody else must not lose its end.
    opens = b'{"hash":"'.startswith(tail[:9]) and b'","ledger":"'.startswith(tail[73:85])
    if not opens or re.fullmatch(rb"[0-9a-f]*", tail[9:73]) is None:
        rule = f"{VARIABLE} must name a file of checkpoints alone, each a line"
        raise LedgerError(f"{path} after its last newline", rule, tail.decode(errors="replace"))
    return content[:end]


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
