"""What a move between registries is, as it stands in the ledger, and what the ledger says about the past."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from typing import Any

from grandmodel.core.errors import ConfigError, RegistryError
from grandmodel.registry.bundle import Bundle
from grandmodel.registry.ledger import Entry

MOVE_KINDS = ("registration", "promotion", "rollback")


@dataclass(frozen=True)
class Move:
    """All that is needed to finish, or to take back, one change of champion after a kill at any point."""

    operation: str  # one of MOVE_KINDS
    environment: str
    version: str | None  # None until the version exists
    release_id: str
    manifest_sha256: str
    public_key: str
    key_name: str
    author: str  # who registered the release
    approver: str | None
    source: str  # what MLflow makes the version from: the bundle's URI, or models:/name/version
    bundle_uri: str
    run_id: str
    champion_before: str | None
    previous_before: str | None
    previous_after: str | None
    review_by: str | None = None  # last day (ISO, UTC) on which the release stands unreviewed; None: no end
    data_until: str | None = None  # last day (ISO, UTC) on which its training data are young enough; None: no end

    def tags(self) -> dict[str, str]:
        """Return the tags that a version carries, for people and for the check at load."""
        return {
            "release_id": self.release_id,
            "manifest_sha256": self.manifest_sha256,
            "public_key": self.public_key,
            "key_name": self.key_name,
            "author": self.author,
        }

    @classmethod
    def from_subject(cls, subject: Mapping[str, Any]) -> Move:
        """Read the move out of the subject of a ledger line; one from before there were last days has none."""
        optional = {"review_by", "data_until"} - set(subject)
        return cls(**{field.name: subject[field.name] for field in fields(cls) if field.name not in optional})

    def to_subject(self) -> dict[str, Any]:
        """Return the move as plain data."""
        return asdict(self)

    def at(self, version: str) -> Move:
        """Return the move with the version it made."""
        return replace(self, version=version)


@dataclass(frozen=True)
class Outcome:
    """What became of a request to register, promote or roll back. A refusal is a decision, not an error."""

    accepted: bool
    environment: str
    version: str | None  # the champion that the request led to; None when it was refused
    release_id: str
    changed: bool  # False when all stood as asked for and nothing was written
    reasons: tuple[str, ...] = ()  # why it was refused
    left: str | None = None  # version that was champion before; None where nothing changed, or none was

    @classmethod
    def of(cls, move: Move, *, changed: bool) -> Outcome:
        """Return the outcome that ``move`` made, or that found it made already."""
        left = move.champion_before if changed else None
        return cls(True, move.environment, move.version, move.release_id, changed, left=left)


def open_intents(entries: Sequence[Entry]) -> list[Entry]:
    """Return the intents that were neither completed nor abandoned, oldest first."""
    closed = {entry.subject.get("intent") for entry in entries if entry.kind in (*MOVE_KINDS, "abandonment")}
    return [entry for entry in entries if entry.kind == "intent" and entry.hash not in closed]


def is_sealed_alike(move: Move | None, other: Move | Bundle) -> bool:
    """Return whether both are of one release, sealed with one key: sealed anew with another it is let in anew."""
    return move is not None and (move.release_id, move.public_key) == (other.release_id, other.public_key)


def moves_into(entries: Sequence[Entry], environment: str) -> list[Entry]:
    """Return the completed moves of one environment, oldest first."""
    return [entry for entry in entries if entry.kind in MOVE_KINDS and entry.subject["environment"] == environment]


def made_moves(entries: Sequence[Entry], environment: str) -> list[Move]:
    """Return the completed moves of one environment as moves, oldest first."""
    return [Move.from_subject(entry.subject) for entry in moves_into(entries, environment)]


def last_move(entries: Sequence[Entry], environment: str) -> Move | None:
    """Return the last completed move of one environment; None where there was none."""
    made = made_moves(entries, environment)
    return made[-1] if made else None


def move_that_made(entries: Sequence[Entry], environment: str, version: str) -> Move | None:
    """Return the move by which ``version`` first became champion of ``environment``; None when it never was."""
    return next((move for move in made_moves(entries, environment) if move.version == version), None)


def begun_rollback(entries: Sequence[Entry], environment: str, actor: str, reason: str) -> Move | None:
    """Return the rollback of ``environment`` that a kill left open to this actor for this reason."""
    for intent in open_intents(entries):
        move = Move.from_subject(intent.subject)
        asked = (move.operation, move.environment, intent.actor, intent.reason)
        if asked == ("rollback", environment, actor, reason):
            return move
    return None


def was_left(entries: Sequence[Entry], last: Move, expect: str, to_version: str | None) -> bool:
    """Return whether a rollback that leaves ``expect`` is done: it was the last move, and led to ``to_version``.

    Args:
        entries: of the ledger.
        last: the last move of the environment.
        expect: version or release id of the champion that is to be left.
        to_version: where to; None for wherever.

    Raises:
        RegistryError: it is not done, and another than ``expect`` is champion.
    """
    if _is_called(entries, last.environment, last.version, expect):
        return False
    led_there = last.operation == "rollback" and to_version in (None, last.version)
    if led_there and _is_called(entries, last.environment, last.champion_before, expect):
        return True
    rule = f"its champion must be {expect}, which is to be left"
    found = f"version {last.version}, release {last.release_id}"
    raise RegistryError(f"rollback of {last.environment}", rule, found, "See `grandmodel history`")


def _is_called(entries: Sequence[Entry], environment: str, version: str | None, name: str) -> bool:
    move = None if version is None else move_that_made(entries, environment, version)
    return move is not None and name in (move.version, move.release_id)


def standing_at(entries: Sequence[Entry], moment: datetime | None, environments: Sequence[str]) -> list[dict[str, Any]]:
    """Return one row per environment: which version was champion at ``moment`` (None: now), since when, by whom."""
    rows: list[dict[str, Any]] = []
    for environment in environments:
        moves = [
            entry
            for entry in moves_into(entries, environment)
            if moment is None or datetime.fromisoformat(entry.time) <= moment
        ]
        last = moves[-1] if moves else None
        rows.append(
            {
                "environment": environment,
                "version": last.subject["version"] if last else None,
                "release_id": last.subject["release_id"] if last else None,
                "since": last.time if last else None,
                "by": last.actor if last else None,
                "approver": last.subject["approver"] if last else None,
                "evidence": last.evidence_sha256 if last else None,
                "public_key": last.subject["public_key"] if last else None,
            }
        )
    return rows


def history_rows(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return one row per entry but what only announces another, oldest first."""
    return [
        {
            "time": entry.time,
            "kind": entry.kind,
            "environment": entry.subject.get("environment"),
            "version": entry.subject.get("version"),
            "release_id": entry.subject.get("release_id"),
            "actor": entry.actor,
            "approver": entry.subject.get("approver"),
            "gate": entry.subject.get("gate"),
            "reason": entry.reason,
            "evidence": entry.evidence_sha256,
        }
        for entry in entries
        if entry.kind not in ("intent", "withdrawal")
    ]


def moment_of(at: str | datetime) -> datetime:
    """Return an instant from ISO text; a time without zone is UTC. Raises ConfigError on other text."""
    try:
        moment = at if isinstance(at, datetime) else datetime.fromisoformat(at)
    except ValueError as error:
        raise ConfigError("time", "must be in ISO form, such as 2026-03-03T14:30", at) from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
