"""The guard's state on disk: what was cut stays cut, whatever kills the process.

A folder holds ``state.json``, replaced as a whole after every decision, and ``events.jsonl``, one line per event, never
rewritten, each line with the hash of the line before. A line that changes what the guard allows carries the whole
state, and it is synced before ``state.json`` is touched. So a kill leaves either both old, or a line from which the new
state is taken, or both new; a decision is handed out after the second. A kill before the line is one before the
decision.

Doubt halts: a missing or unreadable file, a chain that does not verify, a state that allows other than the last line
says, a loosening that no named person signed. The way out is ``reset``, which is recorded like everything else. A first
start is signed too (``Journal.begin``), so that deleting the folder is no way to arm anew without a name. Who can write
the folder can forge it, name and all; that is for the rights of the folder to prevent. One process writes a journal.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import ConfigError, DataError, GrandModelError
from grandmodel.core.files import write_text_atomic
from grandmodel.core.hashing import canonical_json, hash_json
from grandmodel.risk import guard_state
from grandmodel.risk.guard import Decision, guard
from grandmodel.risk.guard_inputs import Book, RiskNumbers
from grandmodel.risk.guard_state import GuardState, RiskEvent
from grandmodel.risk.limits import LIMIT_CHANGE, limits_as_record

GENESIS = "0" * 64
STATE_FILE = "state.json"
EVENTS_FILE = "events.jsonl"
UNREADABLE = "unreadable"  # kind of the event that a restart in doubt writes
_BAD_FILE = (OSError, ValueError, KeyError, TypeError, AttributeError, GrandModelError)


class Journal:
    """The one door to a guarded book: decides, remembers and tells, in this order, and survives a kill in between."""

    def __init__(self, folder: Path, state: GuardState, previous: str, size: int) -> None:
        self.folder = folder
        self._state = state
        self._previous = previous  # hash of the last line
        self._size = size  # bytes of complete lines
        self._allowed = ""  # what the last line allows; the next line carries a state where this changes

    @classmethod
    def begin(cls, folder: Path, state: GuardState, *, actor: str, reason: str) -> Journal:
        """Start the journal of a new book, signed by a person.

        Raises:
            ConfigError: actor or reason is empty, or the folder already holds a journal.
        """
        event = guard_state.begun(state, actor=actor, reason=reason)
        for name in (STATE_FILE, EVENTS_FILE):
            if (folder / name).exists():
                raise ConfigError(str(folder / name), "must not exist yet", do="Restore the book, or reset it by name")
        folder.mkdir(parents=True, exist_ok=True)
        journal = cls(folder, state, GENESIS, 0)
        journal._record(state, (event,))
        return journal

    @classmethod
    def restore(cls, folder: Path, configured: GuardState) -> Journal:
        """Go on where the last process stopped, latched as it was; in doubt HALTED, with the reason as an event.

        Args:
            folder: of the journal.
            configured: an opened state with the instruments and limits of the configuration. Its limits do not replace
                those of record: where they differ, the recorded ones hold and the state is REDUCING.
        """
        folder.mkdir(parents=True, exist_ok=True)
        for unfinished in folder.glob(f".{STATE_FILE}.*"):  # of a write that a kill cut off before its rename
            unfinished.unlink()
        lines, hashes, size, broken = _read_lines(folder / EVENTS_FILE)
        carried, fault = _states_of(lines)
        base = _with_limits_of(carried[-1], configured) if carried else configured
        if broken or fault:
            _set_aside(folder / EVENTS_FILE)
            hashes, size = [GENESIS], 0
        journal = cls(folder, base, hashes[-1], size)
        if broken or fault:
            journal._halt(str(DataError(str(folder / EVENTS_FILE), broken or fault)))
            return journal
        try:
            journal._state = _agreed(folder / STATE_FILE, hashes, carried[-1], configured)
        except _BAD_FILE as error:
            journal._halt(f"{type(error).__name__}: {error}")
            return journal
        if _limits(journal.state) != _limits(configured):
            reason = "configured limits differ from those of record; change limits by a line of the ledger"
            journal._record(*guard_state.reduced(journal.state, "limits_differ", reason))
        else:
            journal._record(journal.state, ())
        return journal

    @property
    def state(self) -> GuardState:
        """Return the state as it stands on disk."""
        return self._state

    def decide(
        self,
        book: Book | None,
        prices: Sequence[float] | NDArray[np.float64] | None,
        targets: Sequence[float] | NDArray[np.float64] | None,
        risk: RiskNumbers | None,
        clock_ns: int,
    ) -> Decision:
        """Pass a decision through the guard, and hand it out when it is on disk. See ``guard`` for the arguments.

        Raises:
            OSError, DataError: nothing could be written, or somebody else wrote; then there is no decision.
        """
        decision = guard(self._state, book, prices, targets, risk, clock_ns)
        self._record(decision.state, decision.events)
        return decision

    def reset(self, equity: float, clock_ns: int, *, actor: str, reason: str) -> tuple[RiskEvent, ...]:
        """Arm anew; see ``guard_state.reset``."""
        state, events = guard_state.reset(self._state, equity, clock_ns, actor=actor, reason=reason)
        self._record(state, events)
        return events

    def adopt_limits(self, line: Mapping[str, Any], clock_ns: int) -> tuple[RiskEvent, ...]:
        """Put the limits of a ledger line in force; see ``guard_state.adopt_limits``."""
        state, events = guard_state.adopt_limits(self._state, line, clock_ns)
        self._record(state, events)
        return events

    def _halt(self, reason: str) -> None:
        self._record(*guard_state.halted(self._state, UNREADABLE, reason))

    def _record(self, state: GuardState, events: Sequence[RiskEvent]) -> None:
        if events:
            self._append(state, events)
        write_text_atomic(self.folder / STATE_FILE, _sealed(state, self._previous))
        self._state = state

    def _append(self, state: GuardState, events: Sequence[RiskEvent]) -> None:
        allowed, content, previous = _allows(state), b"", self._previous
        for number, event in enumerate(events):
            line = {**event.to_dict(), "revision": state.revision, "previous": previous}
            if number == 0 and allowed != self._allowed:  # the first, so that no kill leaves an event without its state
                line["state"] = state.to_dict()
            text = canonical_json(line).encode()
            previous = hashlib.sha256(text).hexdigest()
            content += text + b"\n"
        _append_synced(self.folder / EVENTS_FILE, content, self._size)
        self._previous, self._size, self._allowed = previous, self._size + len(content), allowed


def read_events(folder: Path) -> list[dict[str, Any]]:
    """Return all complete lines of a journal, oldest first. Raises DataError where the chain does not verify."""
    lines, _, _, broken = _read_lines(folder / EVENTS_FILE)
    if broken:
        raise DataError(str(folder / EVENTS_FILE), broken, do="Restore the file from its copy")
    return lines


def _states_of(lines: list[dict[str, Any]]) -> tuple[list[GuardState], str]:
    """Return the states that the lines carry, oldest first, and the rule that they break, if any."""
    states: list[GuardState] = []
    for number, line in enumerate(lines, start=1):
        if "state" not in line:
            continue
        try:
            state = GuardState.from_dict(line["state"])
        except _BAD_FILE as error:
            return states, f"line {number} must carry a state ({error})"
        if states and _looser(state, states[-1]) and not _signed(line):
            return states, f"line {number} loosens, and only a named person may"
        states.append(state)
    return states, "" if states else "must hold a journal that a person began"


def _agreed(path: Path, hashes: list[str], latched: GuardState, configured: GuardState) -> GuardState:
    """Return the newest state that file and lines agree on. Raises one of ``_BAD_FILE`` where they do not."""
    record = json.loads(path.read_text())
    if hash_json({key: value for key, value in record.items() if key != "sha256"}) != record["sha256"]:
        raise DataError(str(path), "its hash must match its content", record["sha256"])
    if record["last_line_sha256"] not in hashes:
        raise DataError(str(path), "knows a line that the journal lacks; lines were cut off the end")
    state = GuardState.from_dict(record["state"])
    if state.revision < latched.revision:  # killed between the line and the file
        state = latched
    if _allows(state) != _allows(latched):
        raise DataError(str(path), "must allow what the last line of the journal says", state.trading.name)
    if (state.symbols, state.multipliers) != (configured.symbols, configured.multipliers):
        raise DataError(str(path), "must be of the configured instruments", state.symbols)
    return state


def _with_limits_of(recorded: GuardState, configured: GuardState) -> GuardState:
    """Return the configured book under the limits of record: doubt about a file is no way to change a limit."""
    breaker = replace(configured.breaker, limits=recorded.breaker.limits, base_cap=recorded.limits.gross_exposure_max)
    return replace(configured, limits=recorded.limits, breaker=breaker, revision=recorded.revision)


def _allows(state: GuardState) -> str:
    """Return all that only events may change, as one string that compares."""
    breaker = {**state.breaker.to_dict(), "peak_equity": None}
    return canonical_json({"breaker": breaker, "limits": state.limits.model_dump()})


def _looser(after: GuardState, before: GuardState) -> bool:
    return (
        after.trading < before.trading
        or after.breaker.level < before.breaker.level
        or after.breaker.gross_cap > before.breaker.gross_cap
        or _limits(after) != _limits(before)
    )


def _signed(line: Mapping[str, Any]) -> bool:
    by_name = str(line.get("actor", "")).strip() and str(line.get("reason", "")).strip()
    return bool(by_name) and line.get("kind") in ("reset", LIMIT_CHANGE)


def _limits(state: GuardState) -> dict[str, float]:
    return limits_as_record(state.limits, state.breaker.limits)


def _sealed(state: GuardState, last_line_sha256: str) -> str:
    body = {"state": state.to_dict(), "last_line_sha256": last_line_sha256}
    return canonical_json({**body, "sha256": hash_json(body)}) + "\n"


def _read_lines(path: Path) -> tuple[list[dict[str, Any]], list[str], int, str]:
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


def _append_synced(path: Path, content: bytes, size: int) -> None:
    """Write ``content`` after ``size`` bytes of complete lines. Raises DataError where the file ends otherwise."""
    end = max(size - 1, 0)  # of the last line, without its newline, which a kill may have cut off
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        length = os.fstat(handle).st_size
        tail = os.pread(handle, max(length - end, 0), end)
        torn = tail[1:] if size else tail
        if length < end or (size and tail[:1] not in (b"", b"\n")) or b"\n" in torn:
            raise DataError(str(path), "must be written by one process", do="Stop the other one and restore the book")
        os.ftruncate(handle, end)
        os.lseek(handle, end, os.SEEK_SET)
        rest = (b"\n" if size else b"") + content
        while rest:
            rest = rest[os.write(handle, rest) :]
        os.fsync(handle)
    finally:
        os.close(handle)


def _set_aside(path: Path) -> None:
    """Rename a file that cannot be gone on with; it is evidence and is not removed."""
    if not path.exists():
        return
    number = 1
    while (free := path.with_name(f"{path.name}.broken-{number}")).exists():
        number += 1
    os.replace(path, free)
