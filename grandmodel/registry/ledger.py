"""The ledger: append-only JSON lines, each holding the hash of the line before it.

A line is complete when it ends in a newline, and was promised to nobody before it was synced to disk. A kill in the
middle of a write leaves a torn tail, which ``read`` and ``verify`` report and the next ``append`` repairs: only
bytes after the last newline are ever removed, and a tail that is a whole valid entry is kept and gets its newline.

Beside the ledger stands ``<name>.head`` with the sequence and hash of the last line: without it, lines cut off the end
would go unnoticed. Who can rewrite both files can rewrite history, unless checkpoints lie elsewhere: ``anchors.py``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from grandmodel.core.clock import Clock, iso
from grandmodel.core.errors import LedgerError
from grandmodel.core.files import write_json_atomic
from grandmodel.core.hashing import canonical_json, hash_json
from grandmodel.registry.anchors import VARIABLE, Checkpoint, anchor_file, check, read_checkpoints, write_checkpoint

GENESIS = "0" * 64
LOCK_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Entry:
    """One line of the ledger."""

    sequence: int  # 0, 1, 2 ...
    time: str  # ISO 8601, UTC
    kind: str  # intent, registration, promotion, rollback, abandonment, refusal, waiver, trial, tracked, reset ...
    actor: str
    reason: str
    subject: Mapping[str, Any]
    evidence_sha256: str  # of the evidence that the move rested on; empty when there was none
    previous: str  # hash of the line before
    hash: str  # over all the other fields as canonical JSON


@dataclass(frozen=True)
class LedgerReport:
    """What verification saw."""

    entries: int
    head: str  # hash of the last line
    torn_bytes: int  # bytes after the last newline, left by a kill
    checkpoints: int  # how many were found elsewhere, all of which hold; 0 where nothing is anchored


class Ledger:
    """One ledger file, safe for several processes."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path = path
        self._clock = clock
        self._head_path = path.with_name(path.name + ".head")
        self._lock = FileLock(path.with_name(path.name + ".lock"), timeout=LOCK_TIMEOUT_S)
        self._anchor = anchor_file()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the ledger alone; may be nested within one thread. Raises LedgerError after a minute of waiting."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire()
        except Timeout as error:
            raise LedgerError(
                str(self.path),
                f"the lock must be free within {LOCK_TIMEOUT_S:.0f} s",
                do="Find the process that holds it; a dead one holds nothing",
            ) from error
        try:
            yield
        finally:
            self._lock.release()

    def append(
        self, kind: str, *, actor: str, reason: str, subject: Mapping[str, Any], evidence_sha256: str = ""
    ) -> Entry:
        """Verify the ledger, repair a torn tail, add one line, sync it, move the head and leave a checkpoint.

        Raises:
            LedgerError: the ledger does not verify, actor or reason is empty, or the disk takes no line.
        """
        if not actor.strip() or not reason.strip():
            raise LedgerError(f"{self.path} new {kind}", "actor and reason must be named", (actor, reason))
        with self.locked():
            self.repair()
            entries = self._verified()[0]
            body = {
                "sequence": len(entries),
                "time": iso(self._clock()),
                "kind": kind,
                "actor": actor,
                "reason": reason,
                "subject": dict(subject),
                "evidence_sha256": evidence_sha256,
                "previous": entries[-1].hash if entries else GENESIS,
            }
            # Through JSON and back, so that what is returned is what a reader will see.
            line = canonical_json({**body, "hash": hash_json(body)})
            entry = Entry(**json.loads(line))
            try:
                self._write(line.encode() + b"\n")
                self._write_head(entry)
            except OSError as error:
                do = "Make room and repeat the command: what was begun is finished, a torn line is repaired"
                raise LedgerError(str(self.path), f"must take a line of kind {kind}", str(error), do) from error
            if self._anchor is not None:
                write_checkpoint(self._anchor, Checkpoint(self.path.name, entry.sequence, entry.hash))
            return entry

    def anchor(self) -> Checkpoint:
        """Write a checkpoint of the last line to the file that ``GRANDMODEL_ANCHOR`` names, and return it.

        A kill between a line and its checkpoint leaves the file one line behind, which the next line makes up for.

        Raises:
            LedgerError: nothing is named, the ledger is empty or does not verify, or the file cannot be written.
        """
        if self._anchor is None:
            raise LedgerError(str(self.path), "a file for checkpoints must be named", do=f"Set {VARIABLE}")
        with self.locked():
            entries = self._verified()[0]
            if not entries:
                raise LedgerError(str(self.path), "must hold a line before it can be anchored")
            checkpoint = Checkpoint(self.path.name, entries[-1].sequence, entries[-1].hash)
            write_checkpoint(self._anchor, checkpoint)
            return checkpoint

    def read(self) -> list[Entry]:
        """Return all complete entries, oldest first, after verifying them. Raises LedgerError."""
        return self._verified()[0]

    def verify(self) -> LedgerReport:
        """Check every line, the chain, head and checkpoints. Raises LedgerError naming the first broken line."""
        with self.locked():
            entries, torn = self._verified()
            checkpoints = len(self._checkpoints())
        return LedgerReport(len(entries), entries[-1].hash if entries else GENESIS, len(torn), checkpoints)

    def repair(self) -> int:
        """Mend a torn tail and return how many bytes were removed; complete lines are never touched."""
        with self.locked():
            lines, tail = self._split()
            if not tail:
                return 0
            if self._is_next_entry(tail, lines):
                self._write(b"\n")
                return 0
            size = self.path.stat().st_size
            with self.path.open("r+b") as stream:
                stream.truncate(size - len(tail))
                stream.flush()
                os.fsync(stream.fileno())
            return len(tail)

    def _verified(self) -> tuple[list[Entry], bytes]:
        with self.locked():  # a reader must not see a line between its write and the move of the head
            lines, tail = self._split()
            entries: list[Entry] = []
            for line in lines:
                entries.append(_parse(line, len(entries), entries[-1].hash if entries else GENESIS, self.path))
            self._check_head(entries)
            check(self.path, [entry.hash for entry in entries], self._checkpoints())
            return entries, tail

    def _checkpoints(self) -> list[Checkpoint]:
        return [] if self._anchor is None else read_checkpoints(self._anchor, self.path.name)

    def _check_head(self, entries: list[Entry]) -> None:
        subject = f"{self.path} line {len(entries) + 1}"
        try:
            head = json.loads(self._head_path.read_text())
        except FileNotFoundError:
            if len(entries) > 1:  # one line may stand without head: a kill came between the two writes
                raise LedgerError(subject, "the head file must exist", do=f"Restore {self._head_path.name}") from None
            return
        except ValueError as error:
            raise LedgerError(str(self._head_path), "the head file must be JSON", str(error)) from error
        sequence = head.get("sequence") if isinstance(head, dict) else None
        if not isinstance(sequence, int) or not 0 <= sequence < len(entries):
            raise LedgerError(
                subject,
                f"the head file knows a line with sequence {sequence}; the end was cut off",
                do="Restore the ledger from its copy",
            )
        if entries[sequence].hash != head.get("hash"):
            raise LedgerError(
                f"{self.path} line {sequence + 1}",
                "must be the line that the head file names",
                entries[sequence].hash,
                "Restore the ledger from its copy",
            )
        if sequence < len(entries) - 2:  # a kill between the two writes leaves the head one line behind, never two
            raise LedgerError(
                f"{self.path} line {sequence + 3}",
                "was not written by this program",
                entries[sequence + 2].kind,
                "Restore the ledger from its copy",
            )

    def _write_head(self, entry: Entry) -> None:
        write_json_atomic(self._head_path, {"sequence": entry.sequence, "hash": entry.hash})

    def _write(self, content: bytes) -> None:
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            while content:
                content = content[os.write(handle, content) :]
            os.fsync(handle)
        finally:
            os.close(handle)

    def _split(self) -> tuple[list[bytes], bytes]:
        content = self.path.read_bytes() if self.path.exists() else b""
        *lines, tail = content.split(b"\n")
        return lines, tail

    def _is_next_entry(self, tail: bytes, lines: list[bytes]) -> bool:
        try:
            previous = json.loads(lines[-1])["hash"] if lines else GENESIS
            _parse(tail, len(lines), previous, self.path)
        except (LedgerError, ValueError, KeyError, TypeError):
            return False
        return True


def _parse(line: bytes, sequence: int, previous: str, path: Path) -> Entry:
    subject = f"{path} line {sequence + 1}"
    try:
        text = line.decode()
        record = json.loads(text)
        entry = Entry(**record)
        spelling = canonical_json(record)
    except (ValueError, TypeError) as error:
        raise LedgerError(subject, "must be an entry in JSON", str(error)) from error
    body = {key: value for key, value in record.items() if key != "hash"}
    if text != spelling or hash_json(body) != entry.hash:
        raise LedgerError(subject, "its hash must match its content", entry.hash, "Restore the ledger from its copy")
    if entry.sequence != sequence:
        raise LedgerError(subject, f"its sequence must be {sequence}", entry.sequence)
    if entry.previous != previous:
        raise LedgerError(subject, "must hold the hash of the line before", entry.previous)
    return entry
