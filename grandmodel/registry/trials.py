"""The trial ledger: every training whose returns were looked at, promoted or not, with those returns.

::

    state/
    ├── trials.jsonl  trials.jsonl.head       the chain, see ``ledger.py``: one line a trial, one line a tracked run
    └── trials/<trial id>.safetensors         sessions int32[days], daily_returns float64[days]; written before the line

A trial is one seed of one configuration over all folds. Its id is a hash of all that it depends on, so that repeating a
run adds nothing; measured anew with other returns it gets another line, and the last one counts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from grandmodel.core.clock import Clock
from grandmodel.core.errors import DataError, LedgerError
from grandmodel.core.files import write_bytes_atomic
from grandmodel.registry.ledger import Ledger

TRIAL, TRACKED = "trial", "tracked"


@dataclass(frozen=True)
class Trial:
    """One line of the trial ledger."""

    id: str  # hash of the unit keys: data, features, parameters, code and seed of each fold
    data_hash: str  # of the raw files, as the lineage of a release names them
    bars_hash: str  # of the bars they hold
    symbols: tuple[str, ...]
    data: str  # name of the data, for people
    simulated: bool
    configuration: str  # hash of all that a training depends on but the number of its seed: parameters, inputs, code
    code: str  # hash of the sources that train
    weights: str  # hash of the weights of the last fold, which a release of this trial carries
    seed_number: int  # 0 is named before training as the one to release
    sharpe: float | None  # annual, out of sample after costs; None where the returns never vary
    releasable: bool = True  # whether a release of it may leave dev; one that may not counts, and is no choice
    days: int = 0  # this and the hash are filled in when the trial is recorded
    returns_sha256: str = ""  # of the bytes of its file of returns


@dataclass(frozen=True)
class Returns:
    """Daily net log returns of one trial."""

    sessions: NDArray[np.int32]  # [days], increasing
    daily_returns: NDArray[np.float64]  # [days], finite


@dataclass(frozen=True)
class Known:
    """The trials of one search, seen from the days of one of them; see ``is_of_search``."""

    trials: tuple[Trial, ...]  # those whose returns are known on all of these days
    daily_returns: NDArray[np.float64]  # [trials, days]
    unseen: int  # the others


def open_trials(state: Path, clock: Clock) -> Ledger:
    """Return the trial ledger of a state folder; nothing is written before the first trial is."""
    return Ledger(state / "trials.jsonl", clock)


def returns_path(ledger: Ledger, trial_id: str) -> Path:
    """Return where the daily returns of a trial lie."""
    return ledger.path.with_suffix("") / f"{trial_id}.safetensors"


def record(ledger: Ledger, measured: Sequence[tuple[Trial, Returns]], *, actor: str, reason: str) -> int:
    """Write down the trials that the ledger does not hold with these returns; return how many lines were added.

    Args:
        ledger: of ``open_trials``; held alone throughout, so that processes may record at once.
        measured: trials with their returns; ``days`` and ``returns_sha256`` of a trial are filled in here.
        actor: the part of the house that measured them.
        reason: what it measured.

    Raises:
        DataError: sessions and returns differ in length, sessions do not increase, or a return is not finite.
        LedgerError: the ledger does not verify.
    """
    added = 0
    with ledger.locked():
        held = {trial.id: trial.returns_sha256 for trial in read_trials(ledger)}
        for trial, returns in measured:
            content = _bytes_of(trial, returns)
            digest = hashlib.sha256(content).hexdigest()
            if held.get(trial.id) == digest:
                continue
            write_bytes_atomic(returns_path(ledger, trial.id), content)
            line = replace(trial, days=len(returns.sessions), returns_sha256=digest)
            ledger.append(TRIAL, actor=actor, reason=reason, subject=asdict(line))
            held[trial.id] = digest
            added += 1
    return added


def read_trials(ledger: Ledger) -> list[Trial]:
    """Return every trial as its last line has it, in the order of the first lines. Raises LedgerError."""
    names = [field.name for field in fields(Trial)]
    found: dict[str, Trial] = {}
    for entry in ledger.read():
        if entry.kind == TRIAL:
            line = {name: entry.subject[name] for name in names}
            found[entry.subject["id"]] = Trial(**line | {"symbols": tuple(line["symbols"])})
    return list(found.values())


def read_returns(ledger: Ledger, trial: Trial) -> Returns:
    """Return the daily returns of a trial. Raises LedgerError where the file is absent or not what the line says."""
    path = returns_path(ledger, trial.id)
    do = "Restore the file from its copy, or evaluate the run again"
    try:
        content = path.read_bytes()
    except OSError as error:
        raise LedgerError(str(path), "the returns of a recorded trial must be there", str(error), do) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != trial.returns_sha256:
        raise LedgerError(str(path), f"must have the SHA-256 of its line, {trial.returns_sha256!r}", digest, do)
    try:
        tables = load(content)
        return Returns(tables["sessions"], tables["daily_returns"])
    except (SafetensorError, KeyError) as error:
        raise LedgerError(str(path), "must hold sessions and daily_returns", repr(error), do) from error


def is_of_search(one: Trial, released: Trial) -> bool:
    """Return whether ``one`` may have been a look at what ``released`` was tried on.

    It was on the same bars, whatever their file is called and says beside; or on other bars of one of the same real
    instruments, then on shared days: one bar more, one instrument less and other terms are the same search.
    """
    both_real = not one.simulated and not released.simulated
    kin = both_real and not set(one.symbols).isdisjoint(released.symbols)
    return kin or one.bars_hash == released.bars_hash


def known_on(ledger: Ledger, released: Trial, sessions: NDArray[np.int32]) -> Known:
    """Return the trials of the search of ``released`` as they stand on ``sessions`` int32[days].

    A trial whose returns do not reach over all these days is one of the unseen: it counts, and cannot be compared. Of
    trials with equal returns on these days the first is kept, for they decide alike and are one trial.

    Raises:
        LedgerError: the ledger or a file of returns does not verify.
    """
    rows: dict[bytes, tuple[Trial, NDArray[np.float64]]] = {}
    unseen = 0
    with ledger.locked(to_read=True):
        for trial in (one for one in read_trials(ledger) if is_of_search(one, released)):
            returns = read_returns(ledger, trial)
            if trial.bars_hash != released.bars_hash and not np.isin(returns.sessions, sessions).any():
                continue
            place = np.searchsorted(returns.sessions, sessions)
            inside = place < len(returns.sessions)
            if not inside.all() or not np.array_equal(returns.sessions[place], sessions):
                unseen += 1
                continue
            row = returns.daily_returns[place]
            rows.setdefault(row.tobytes(), (trial, row))
    trials = tuple(trial for trial, _ in rows.values())
    return Known(trials, np.array([row for _, row in rows.values()]).reshape(len(trials), len(sessions)), unseen)


def verify_trials(ledger: Ledger) -> list[Trial]:
    """Check the chain and every file of returns; return the trials. Raises LedgerError naming the first fault."""
    with ledger.locked(to_read=True):
        trials = read_trials(ledger)
        for trial in trials:
            read_returns(ledger, trial)
    return trials


def _bytes_of(trial: Trial, returns: Returns) -> bytes:
    sessions = np.ascontiguousarray(returns.sessions, dtype=np.int32)
    daily = np.ascontiguousarray(returns.daily_returns, dtype=np.float64)
    subject = f"trial {trial.id[:12]} seed {trial.seed_number}"
    if sessions.ndim != 1 or sessions.shape != daily.shape or not len(sessions):
        raise DataError(subject, "it needs one return for each day", (sessions.shape, daily.shape))
    if not (np.diff(sessions) > 0).all():
        raise DataError(subject, "its days must increase")
    if not np.isfinite(daily).all():
        raise DataError(subject, "its returns must be finite")
    return save({"daily_returns": daily, "sessions": sessions})
