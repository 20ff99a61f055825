"""Waivers: a named person takes one refused verdict on one release upon themselves, in a line of the ledger.

Blocking is the default and no flag turns it off. A waiver names gate, release and the hash of the verdict that it
waives, so that another verdict needs another waiver. What the other gates rest on cannot be waived: without G0 nobody
knows the data, without G1 every figure that the person would judge by may come from the future.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from grandmodel.core.errors import ConfigError, RegistryError
from grandmodel.core.hashing import hash_json
from grandmodel.registry.conditions import refused_verdicts
from grandmodel.registry.ledger import Entry
from grandmodel.registry.moves import made_moves
from grandmodel.registry.people import why_unfit

if TYPE_CHECKING:
    from grandmodel.registry.store import Registry

WAIVER = "waiver"
NEVER_WAIVED = ("g0_data", "g1_leakage")


@dataclass(frozen=True)
class Waiver:
    """One line of the ledger that lets one refused verdict pass."""

    gate: str
    release_id: str
    verdict_sha256: str  # of the verdict as canonical JSON
    by: str
    reason: str
    until: str | None  # last day on which it lets anything pass, ISO, UTC; None: no end
    time: str
    line: str  # hash of the ledger's line

    def is_in_force(self, now: datetime) -> bool:
        """Return whether it still lets its verdict pass at ``now`` (UTC)."""
        return self.until is None or now.date() <= date.fromisoformat(self.until)

    def covers(self, verdict: Mapping[str, Any]) -> bool:
        """Return whether this is the verdict that was waived."""
        return verdict.get("name") == self.gate and hash_json(verdict) == self.verdict_sha256

    def sentence(self, now: datetime) -> str:
        """Return who let what pass, and why."""
        end = "" if self.until is None else f" until {self.until}" + ("" if self.is_in_force(now) else " (expired)")
        return f"{self.gate} of release {self.release_id} waived by {self.by}{end}: {self.reason}"


def waive(
    registry: Registry, gate: str, release_id: str, *, by: str, reason: str, until: str | None, now: datetime
) -> list[Entry]:
    """Let the verdicts of one gate that refuse a release pass: its bundle's, and that of its last try at staging.

    Args:
        registry: where the release was registered.
        gate: name of the gate, such as ``g3_seeds``.
        release_id: the release.
        by: who answers for it: a person other than the author.
        reason: why, in words that the report shows.
        until: last day on which it holds, ISO, UTC; None for no end.
        now: present time, UTC.

    Returns:
        The new lines, one a verdict.

    Raises:
        ConfigError: name or reason is missing, the name is the author's or no person's, the gate cannot be waived, or
            the last day is none or past.
        RegistryError: the release is unknown, its bundle does not verify, or the gate refused nothing.
        LedgerError: the ledger does not verify.
    """
    subject = f"waiver of {gate} for release {release_id}"
    with registry.ledger.locked():
        move = next((one for one in made_moves(registry.ledger.read(), "dev") if one.release_id == release_id), None)
        if move is None or move.version is None:
            raise RegistryError(subject, "the release must be registered in dev", do="See `grandmodel status`")
        unfit = why_invalid(gate, by=by, reason=reason, author=move.author)
        if unfit:
            raise ConfigError(subject, unfit)
        if until is not None and _day(until) < now.date():
            raise ConfigError(f"{subject}, last day", "must not be past", until)
        bundle = registry.bundle_of("dev", move.version)
        shown = [registry.shown_before(environment, release_id) for environment in ("staging", "production")]
        refused = refused_verdicts(gate, bundle, shown[0] | shown[1])
        if not refused:
            raise RegistryError(subject, "a verdict of this gate must have refused it", do="See `grandmodel history`")
        about = {"gate": gate, "release_id": release_id, "until": until}
        return [
            registry.ledger.append(
                WAIVER, actor=by.strip(), reason=reason.strip(), subject={**about, "verdict_sha256": hash_json(verdict)}
            )
            for verdict in refused
        ]


def waivers_of(entries: Sequence[Entry], release_id: str) -> list[Waiver]:
    """Return every waiver of a release, oldest first, also those that no longer hold."""
    return [
        Waiver(
            gate=entry.subject["gate"],
            release_id=entry.subject["release_id"],
            verdict_sha256=entry.subject["verdict_sha256"],
            by=entry.actor,
            reason=entry.reason,
            until=entry.subject["until"],
            time=entry.time,
            line=entry.hash,
        )
        for entry in entries
        if entry.kind == WAIVER and entry.subject["release_id"] == release_id
    ]


def waived(verdict: Mapping[str, Any], waivers: Sequence[Waiver], *, author: str, now: datetime) -> bool:
    """Return whether one of ``waivers`` lets a refused verdict pass at ``now``.

    What was checked when it was written is checked again: a line may be older than the rules.
    """
    return any(
        one.covers(verdict)
        and one.is_in_force(now)
        and not why_invalid(one.gate, by=one.by, reason=one.reason, author=author)
        for one in waivers
    )


def why_invalid(gate: str, *, by: str, reason: str, author: str) -> str:
    """Return the rule that a waiver breaks, and what was found; "" where it breaks none."""
    if gate in NEVER_WAIVED:
        return f"{' and '.join(NEVER_WAIVED)} cannot be waived: every other verdict rests on them"
    if not reason.strip() or not reason.strip().isprintable():
        return f"the reason must be one line of plain text, found {reason!r}"
    return why_unfit(by, author)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError("waiver until", "must be a day such as 2026-12-31", text) from error
