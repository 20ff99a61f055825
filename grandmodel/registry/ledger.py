"""The ledger: append-only JSON lines, each holding the hash of the line before it.

A line is complete when it ends in a newline, and was promised to nobody before it was synced to disk. A kill in the
middle of a write leaves a torn tail, which ``read`` and ``verify`` report and the next ``append`` repairs: only
bytes after the last newline are ever removed, and a tail that is a whole valid entry is kept and gets its newline.

Beside the ledger stands ``<name>.head`` with the sequence and hash of the last line: without it, lines cut off the end
would go unnoticed. Who can rewrite both files can rewrite history, unless checkpoints lie elsewhere: ``anchors.py``.
A kill between a line and its head leaves the head one line behind, which the next ``append`` makes up for first.
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
_RESTORE = "Restore the ledger from its copy"


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
    def locked(self, *, to_read: bool = False) -> Iterator[None]:
        """Hold the ledger alone; may be nested within one thread.

        With ``to_read`` a folder that takes no lock is read without: an auditor's copy, to which nobody writes.

        Raises:
            LedgerError: after a minute of waiting, or where the folder takes no lock.
        """
        held = self._acquired(to_read)
        try:
            yield
        finally:
            if held:
                self._lock.release()

    def begun(self) -> bool:
        """Return whether there is a ledger. Raises LedgerError where it is gone, and head or a checkpoint is not."""
        if _read(self.path) is not None:
            return True
        if _read(self._head_path) is not None or self._checkpoints():
            rule = "the ledger is gone, though its head or a checkpoint knows lines of it"
            raise LedgerError(str(self.path), rule, do=_RESTORE)
        return False

    def append(
        self, kind: str, *, actor: str, reason: str, subject: Mapping[str, Any], evidence_sha256: str = ""
    ) -> Entry:
        """Verify the ledger, repair a torn tail, add one line, sync it, move the head and leave a checkpoint.

        Raises:
            LedgerError: the ledger does not verify, actor or reason is empty, the line is no plain JSON, or the disk
                takes none.
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
            try:
                line = canonical_json({**body, "hash": hash_json(body)}).encode()
            except (TypeError, ValueError) as error:  # ValueError: NaN, or bytes of the command line that are no UTF-8
                raise LedgerError(f"{self.path} new {kind}", "must be plain JSON", str(error)) from error
            entry = Entry(**json.loads(line))
            try:
                if entries:
                    self._catch_up(entries[-1])
                self._write(line + b"\n")
                self._catch_up(entry)
            except OSError as error:
                do = "Make room and repeat the command: what was begun is finished, a torn line is repaired"
                raise LedgerError(str(self.path), f"must take a line of kind {kind}", str(error), do) from error
            return entry

    def anchor(self) -> Checkpoint:
        """Write a checkpoint of the last line to the file that ``GRANDMODEL_ANCHOR`` names, and return it.

        It is what begins that file for lines that stood before: everything else wants to find the ledger known there.

        Raises:
            LedgerError: nothing is named, the ledger is empty or does not verify, or the file cannot be written.
        """
        if self._anchor is None:
            raise LedgerError(str(self.path), "a file for checkpoints must be named", do=f"Set {VARIABLE}")
        with self.locked():
            entries = self._verified(known=False)[0]
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
        with self.locked(to_read=True):
            entries, torn = self._verified()
            checkpoints = len(self._checkpoints())
        return LedgerReport(len(entries), entries[-1].hash if entries else GENESIS, len(torn), checkpoints)

    def repair(self) -> int:
        """Mend a torn tail and return how many bytes were removed; complete lines are never touched."""
        with self.locked():
            lines, tail = self._split()
            if not tail:
                return 0
            whole = self._is_next_entry(tail, lines)
            try:
                if whole:
                    self._write(b"\n")
                else:
                    self._cut(len(tail))
            except OSError as error:
                raise LedgerError(str(self.path), "its torn end must be mended", str(error)) from error
            return 0 if whole else len(tail)

    def _acquired(self, to_read: bool) -> bool:
        """Return whether the lock is held now; it never is not, but for a reader of a folder that takes no file."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout as error:
            raise LedgerError(
                str(self.path),
                f"the lock must be free within {LOCK_TIMEOUT_S:.0f} s",
                do="Find the process that holds it; a dead one holds nothing",
            ) from error
        except OSError as error:
            if to_read:
                return False
            raise LedgerError(str(self.path), "its folder must take a lock", str(error)) from error
        return True

    def _verified(self, *, known: bool = True) -> tuple[list[Entry], bytes]:
        """Return entries and torn tail; ``known`` wants checkpoints of the ledger where they are kept at all."""
        with self.locked(to_read=True):  # a reader must not see a line between its write and the move of the head
            head, checkpoints = self._head(), self._checkpoints()
            lines, tail = self._split()  # last: who reads without a lock may find lines ahead of head, never behind
        if tail and self._is_next_entry(tail, lines):
            lines, tail = [*lines, tail], b""  # it lacks its newline alone, and the next line written keeps it
        entries: list[Entry] = []
        for line in lines:
            entries.append(_parse(line, len(entries), entries[-1].hash if entries else GENESIS, self.path))
        self._check_head(entries, head)
        check(self.path, [entry.hash for entry in entries], checkpoints)
        # One line may stand unknown: a kill came between it and its checkpoint.
        if known and self._anchor is not None and len(entries) > 1 and not checkpoints:
            do = "Mount its disk or restore it; for a ledger that was never anchored run `grandmodel ledger anchor`"
            raise LedgerError(str(self._anchor), f"must hold checkpoints of {self.path}", do=do)
        return entries, tail

    def _catch_up(self, last: Entry) -> None:
        """Let head and checkpoints name the last line, where they do not yet."""
        head = {"sequence": last.sequence, "hash": last.hash}
        if self._head() != head:
            write_json_atomic(self._head_path, head)
        if self._anchor is not None and last.sequence not in (one.sequence for one in self._checkpoints()):
            write_checkpoint(self._anchor, Checkpoint(self.path.name, last.sequence, last.hash))

    def _checkpoints(self) -> list[Checkpoint]:
        return [] if self._anchor is None else read_checkpoints(self._anchor, self.path.name)

    def _head(self) -> dict[str, Any] | None:
        """Return what the head file says, None where it is absent."""
        content = _read(self._head_path)
        try:
            head = None if content is None else dict(json.loads(content))
        except (TypeError, ValueError) as error:
            raise LedgerError(str(self._head_path), "the head file must be a JSON object", str(error)) from error
        return head

    def _check_head(self, entries: list[Entry], head: dict[str, Any] | None) -> None:
        subject = f"{self.path} line {len(entries) + 1}"
        if head is None:
            if len(entries) > 1:  # one line may stand without head: a kill came between the two writes
                raise LedgerError(subject, "the head file must exist", do=f"Restore {self._head_path.name}")
            return
        sequence = head.get("sequence")
        if not isinstance(sequence, int) or not 0 <= sequence < len(entries):
            raise LedgerError(
                subject,
                f"the head file knows a line with sequence {sequence}; the end was cut off",
                do=_RESTORE,
            )
        if entries[sequence].hash != head.get("hash"):
            raise LedgerError(
                f"{self.path} line {sequence + 1}",
                "must be the line that the head file names",
                entries[sequence].hash,
                _RESTORE,
            )
        if sequence < len(entries) - 2:  # a kill between the two writes leaves the head one line behind, never two
            raise LedgerError(
                f"{self.path} line {sequence + 3}",
                "was not written by this program",
                entries[sequence + 2].kind,
                _RESTORE,
            )

    def _cut(self, size: int) -> None:
        with self.path.open("r+b") as stream:
            stream.seek(-size, os.SEEK_END)
            stream.truncate()
            stream.flush()
            os.fsync(stream.fileno())

    def _write(self, content: bytes) -> None:
        handle = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            while content:
                content = content[os.write(handle, content) :]
            os.fsync(handle)
        finally:
            os.close(handle)

    def _split(self) -> tuple[list[bytes], bytes]:
        *lines, tail = (_read(self.path) or b"").split(b"\n")
        return lines, tail

    def _is_next_entry(self, tail: bytes, lines: list[bytes]) -> bool:
        try:
            previous = json.loads(lines[-1])["hash"] if lines else GENESIS
            _parse(tail, len(lines), previous, self.path)
        except (LedgerError, ValueError, KeyError, TypeError):
            return False
        return True


def _read(path: Path) -> bytes | None:
    """Return the bytes of a file; None where it is absent."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise LedgerError(str(path), "must be readable", str(error)) from error


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
        raise LedgerError(subject, "its hash must match its content", entry.hash, _RESTORE)
    if entry.sequence != sequence:
        raise LedgerError(subject, f"its sequence must be {sequence}", entry.sequence)
    if entry.previous != previous:
        raise LedgerError(subject, "must hold the hash of the line before", entry.previous)
    return entry
