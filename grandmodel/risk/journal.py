"""The guard's state on disk: what was cut stays cut, whatever kills the process.

A folder holds ``state.json``, replaced as a whole after every decision, and ``events.jsonl``, never rewritten, each
line with the hash of the line before: one line per event, and one for a decision without any. So every state belongs to
one line, and an older file put back is seen. A line that changes what the guard allows carries the whole state. Lines
are synced before ``state.json`` is touched, so a kill leaves either both old, or a line from which the new state is
taken, or both new; a decision is handed out after the second. A kill before the line is one before the decision.

After a write that failed nobody knows what is on disk: this object decides nothing more, and ``restore`` looks. One
process writes a journal; one that comes with an older memory is refused, with events or without.

Doubt halts: a missing or unreadable file, a chain that does not verify, a state older than the last decision, or that
allows other than the last line says, a loosening that no named person signed. The way out is ``reset``, which is
recorded like everything else. A first start is signed too (``Journal.begin``), so that deleting the folder is no way to
arm anew without a name. Who can write the folder can forge it, name and all; that is for the rights of the folder to
prevent.
"""

from __future__ import annotations

import hashlib
import json
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
from grandmodel.risk.journal_lines import GENESIS, alone, append_synced, read_lines, set_aside
from grandmodel.risk.limits import LIMIT_CHANGE, LimitLedger, limits_as_record

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
        self._is_sound = True  # memory and disk agree
        self._allowed = ""  # what the last line allows; the next line carries a state where this changes

    @classmethod
    def begin(cls, folder: Path, state: GuardState, *, actor: str, reason: str) -> Journal:
        """Start the journal of a new book, signed by a person.

        Raises:
            ConfigError: actor or reason is empty, or the folder already holds a journal.
        """
        event = guard_state.begun(state, actor=actor, reason=reason)
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder):
            for path in (folder / STATE_FILE, folder / EVENTS_FILE):
                if path.exists():
                    raise ConfigError(str(path), "must not exist yet", do="Restore the book, or reset it by name")
            journal = cls(folder, state, GENESIS, 0)
            journal._write(state, (event,))
        return journal

    @classmethod
    def restore(cls, folder: Path, configured: GuardState) -> Journal:
        """Go on where the last process stopped, latched as it was; in doubt HALTED, with the reason as an event.

        Args:
            folder: of the journal.
            configured: an opened state with the instruments and limits of the configuration. Its limits do not replace
                those of record: where they differ, the recorded ones hold and the state is REDUCING.

        Raises:
            OSError, DataError: the folder cannot be written, or another process writes it at this moment.
        """
        folder.mkdir(parents=True, exist_ok=True)
        with alone(folder):
            return cls._restored(folder, configured)

    @classmethod
    def _restored(cls, folder: Path, configured: GuardState) -> Journal:
        for unfinished in folder.glob(f".{STATE_FILE}.*"):  # of a write that a kill cut off before its rename
            unfinished.unlink()
        lines, hashes, size, broken = read_lines(folder / EVENTS_FILE)
        carried, fault = _states_of(lines)
        base = _with_limits_of(carried[-1], configured) if carried else configured
        if broken or fault:
            set_aside(folder / EVENTS_FILE)
            journal = cls(folder, base, GENESIS, 0)
            journal._halt(str(DataError(str(folder / EVENTS_FILE), broken or fault)))
            return journal
        journal = cls(folder, replace(base, revision=lines[-1]["revision"]), hashes[-1], size)
        try:
            path = folder / STATE_FILE
            state = _agreed(path, path.read_text(), lines, hashes, carried[-1])
            if (state.symbols, state.multipliers) != (configured.symbols, configured.multipliers):
                raise DataError(str(path), "must be of the configured instruments", state.symbols)
        except _BAD_FILE as error:
            journal._halt(f"{type(error).__name__}: {error}")
            return journal
        if _limits(state) != _limits(configured):
            reason = "configured limits differ from those of record; change limits by a line of the ledger"
            journal._write(*guard_state.reduced(state, "limits_differ", reason))
        else:
            journal._write(state, ())
        return journal

    @property
    def state(self) -> GuardState:
        """Return the state as it stands on disk. Raises DataError after a write that failed."""
        if not self._is_sound:
            raise DataError(str(self.folder), "its last write must not have failed", do="Restore the book")
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
            OSError, DataError: it could not be written, or somebody else wrote; then there is no decision, and none
                after it before the book is restored.
        """
        decision = guard(self.state, book, prices, targets, risk, clock_ns)
        self._record(decision.state, decision.events or (guard_state.decided(decision.state),))
        return decision

    def reset(self, equity: float, clock_ns: int, *, actor: str, reason: str) -> tuple[RiskEvent, ...]:
        """Arm anew; see ``guard_state.reset``."""
        state, events = guard_state.reset(self.state, equity, clock_ns, actor=actor, reason=reason)
        self._record(state, events)
        return events

    def adopt_limits(self, ledger: LimitLedger | None, sequence: int, clock_ns: int) -> tuple[RiskEvent, ...]:
        """Put the limits of line ``sequence`` of the ledger in force; see ``guard_state.adopt_limits``."""
        state, events = guard_state.adopt_limits(self.state, ledger, sequence, clock_ns)
        self._record(state, events)
        return events

    def _halt(self, reason: str) -> None:
        self._write(*guard_state.halted(self._state, UNREADABLE, reason))

    def _record(self, state: GuardState, events: Sequence[RiskEvent]) -> None:
        with alone(self.folder):
            self._write(state, events)

    def _write(self, state: GuardState, events: Sequence[RiskEvent]) -> None:
        self._is_sound = False  # until all of it is on disk
        if events:
            self._append(state, events)
        write_text_atomic(self.folder / STATE_FILE, _sealed(state, self._previous))
        self._state, self._is_sound = state, True

    def _append(self, state: GuardState, events: Sequence[RiskEvent]) -> None:
        allowed, content, previous = _allows(state), b"", self._previous
        for number, event in enumerate(events):
            line = {**event.to_dict(), "revision": state.revision, "previous": previous}
            if number == 0 and allowed != self._allowed:  # the first, so that no kill leaves an event without its state
                line["state"] = state.to_dict()
            text = canonical_json(line).encode()
            previous = hashlib.sha256(text).hexdigest()
            content += text + b"\n"
        append_synced(self.folder / EVENTS_FILE, content, self._size)
        self._previous, self._size, self._allowed = previous, self._size + len(content), allowed


def read_events(folder: Path) -> list[dict[str, Any]]:
    """Return all complete lines of a journal, oldest first.

    Raises:
        DataError: a restart would halt on these files: the chain does not verify, a line loosens without a name, or the
            state does not belong to the lines.
    """
    try:
        content = (folder / STATE_FILE).read_text()  # before the lines, which a writer in between writes first
        lines, hashes, _, broken = read_lines(folder / EVENTS_FILE)
        carried, fault = _states_of(lines)
        if broken or fault:
            raise DataError(str(folder / EVENTS_FILE), broken or fault, do="Restore the file from its copy")
        _agreed(folder / STATE_FILE, content, lines, hashes, carried[-1])
    except GrandModelError:
        raise
    except _BAD_FILE as error:
        found = f"{type(error).__name__}: {error}"
        raise DataError(str(folder / STATE_FILE), "must be a state of the guard", found) from error
    return lines


def _states_of(lines: list[dict[str, Any]]) -> tuple[list[GuardState], str]:
    """Return the states that the lines carry, oldest first, and the rule that they break, if any."""
    states: list[GuardState] = []
    revision = 0
    for number, line in enumerate(lines, start=1):
        if not isinstance(line.get("revision"), int) or line["revision"] < revision:
            return states, f"line {number} must carry a revision that does not fall"
        revision = line["revision"]
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


def _agreed(
    path: Path, content: str, lines: list[dict[str, Any]], hashes: list[str], latched: GuardState
) -> GuardState:
    """Return the newest state that file and lines agree on. Raises one of ``_BAD_FILE`` where they do not."""
    record = json.loads(content)
    if hash_json({key: value for key, value in record.items() if key != "sha256"}) != record["sha256"]:
        raise DataError(str(path), "its hash must match its content", record["sha256"])
    known = record["last_line_sha256"]
    if known not in hashes:
        raise DataError(str(path), "knows a line that the journal lacks; lines were cut off the end")
    state = GuardState.from_dict(record["state"])
    revision, before = lines[-1]["revision"], len(lines)
    while before and lines[before - 1]["revision"] == revision:
        before -= 1  # to the lines of the last decision, lines[before:]
    if known == hashes[before]:  # killed between lines and file: nothing was handed out, but what was cut is cut
        state = latched if "state" in lines[before] else replace(state, revision=revision)
    elif known != hashes[-1]:
        raise DataError(str(path), "must be of the last decision of the journal; an older file was put back", known)
    if _allows(state) != _allows(latched):
        raise DataError(str(path), "must allow what the last line of the journal says", state.trading.name)
    if state.revision != revision:
        raise DataError(str(path), f"must be of revision {revision}, as the last line", state.revision)
    return state


def _with_limits_of(recorded: GuardState, configured: GuardState) -> GuardState:
    """Return the configured book under the limits of record: doubt about a file is no way to change a limit."""
    breaker = replace(configured.breaker, limits=recorded.breaker.limits, base_cap=recorded.limits.gross_exposure_max)
    return replace(
        configured,
        limits=recorded.limits,
        limits_sequence=recorded.limits_sequence,
        limits_line_sha256=recorded.limits_line_sha256,
        breaker=breaker,
        revision=recorded.revision,
    )


def _allows(state: GuardState) -> str:
    """Return all that only events may change, as one string that compares."""
    breaker = {**state.breaker.to_dict(), "peak_equity": None}
    ledger = (state.limits_sequence, state.limits_line_sha256)
    return canonical_json({"breaker": breaker, "limits": state.limits.model_dump(), "ledger": ledger})


def _looser(after: GuardState, before: GuardState) -> bool:
    return (
        after.trading < before.trading
        or after.breaker.level < before.breaker.level
        or after.breaker.gross_cap > before.breaker.gross_cap
        or after.limits_sequence < before.limits_sequence
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
