"""The four registries as they stand: what the ledger let through, what MLflow holds, and whether both agree.

The ledger is the authority on what was let through; MLflow must agree with it, else nothing is served or promoted.
Nothing here changes anything; ``store.Registry`` moves releases.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from grandmodel.core.clock import Clock
from grandmodel.core.config import Environment
from grandmodel.core.errors import ConfigError, LedgerError, RegistryError
from grandmodel.registry.bundle import Bundle
from grandmodel.registry.conditions import ENVIRONMENTS
from grandmodel.registry.evidence import read_evidence
from grandmodel.registry.expiry import expired, last_day
from grandmodel.registry.ledger import Entry, Ledger
from grandmodel.registry.looks import Look, Looks, require_registered
from grandmodel.registry.moves import (
    Move,
    history_rows,
    last_move,
    made_moves,
    moment_of,
    move_that_made,
    open_intents,
    standing_at,
)
from grandmodel.registry.tracking import Tracking
from grandmodel.registry.waivers import Waiver, waivers_of
from grandmodel.registry.walk import CHAMPION, PREVIOUS

MOVED = " moved outside the ledger"
EVIDENCE_KINDS = ("intent", "registration", "promotion", "rollback", "abandonment", "refusal")  # which keep a file


class Standing:
    """The four registries, their ledger and the bundles they point at, to look at.

    Args:
        tracking_uri: of MLflow, such as ``sqlite:////path/mlflow.db``; the database is created on first use.
        artifact_root: folder for evidence, and for runs and bundles unless ``artifacts_uri`` names another place.
        ledger_path: the JSON-lines file; its lock and head lie beside it.
        clock: gives the time of every line.
        environments: the conditions of entry, see ``load_environments``.
        artifacts_uri: where MLflow keeps runs and bundles, such as ``s3://bucket/prefix``.
        trusted_keys: public keys (hex) whose signatures count; empty accepts the key recorded at registration. What an
            environment trusts besides stands in its configuration.
    """

    def __init__(
        self,
        tracking_uri: str,
        artifact_root: Path,
        ledger_path: Path,
        clock: Clock,
        environments: Mapping[str, Environment],
        *,
        artifacts_uri: str = "",
        trusted_keys: Collection[str] = (),
    ) -> None:
        if set(environments) != set(ENVIRONMENTS):
            raise ConfigError("environments", f"must be {list(ENVIRONMENTS)}", sorted(environments))
        self.ledger = Ledger(ledger_path, clock)
        self._clock = clock
        self._environments = environments
        self._evidence_folder = artifact_root / "evidence"
        self._looks = Looks(environments, frozenset(trusted_keys), clock)
        self._tracking = Tracking(
            tracking_uri,
            artifacts_uri or artifact_root.resolve().as_uri(),
            tuple(environments[name].registered_model for name in ENVIRONMENTS),
            may_be_made=lambda: not any(entry.kind == "intent" for entry in self.ledger.read()),
        )

    @property
    def tracking(self) -> Tracking:
        """Return MLflow; hold the lock of the ledger around its first use, which makes the database."""
        return self._tracking

    def waivers(self, release_id: str) -> list[Waiver]:
        """Return every waiver of a release, oldest first, also those that no longer hold."""
        return waivers_of(self.ledger.read(), release_id)

    def bundle_of(self, environment: str, version: str) -> Bundle:
        """Return the bundle of a version that was let into ``environment``, expired or not.

        Raises RegistryError where it is broken.
        """
        return self._looked_at(self._let_in(environment, str(version))).bundle

    def shown_for_moves(self) -> list[dict[str, Any]]:
        """Return the evidence of every move into staging, made or refused, oldest first."""
        lines = (entry for entry in self.ledger.read() if entry.subject.get("environment") == "staging")
        digests = [entry.evidence_sha256 for entry in lines if entry.evidence_sha256]
        return [read_evidence(self._evidence_folder, digest) for digest in dict.fromkeys(digests)]

    def shown_before(self, environment: str, release_id: str) -> dict[str, Any]:
        """Return the evidence of the last time a release stood before ``environment``; empty where it never did.

        A refusal before anything was measured holds none; a promotion that was taken back holds all in its intent.
        """
        about = {"environment": environment, "release_id": release_id}
        for entry in reversed(self.ledger.read()):
            is_asked = entry.kind == "refusal" or entry.subject.get("operation") == "promotion"
            if is_asked and about.items() <= entry.subject.items():
                shown = read_evidence(self._evidence_folder, entry.evidence_sha256)
                if shown:
                    return shown
        return {}

    def evidence(self, digest: str) -> dict[str, Any]:
        """Return what the line of the ledger rested on whose evidence has this hash; its first letters do.

        Raises RegistryError where no line names it, or several different ones, or the file is absent or another.
        """
        named = {entry.evidence_sha256 for entry in self.ledger.read() if entry.kind in EVIDENCE_KINDS}
        found = sorted(one for one in named if one and one.startswith(digest))
        if len(found) != 1:
            raise RegistryError(f"evidence {digest}", "must be named by one hash in the ledger", found)
        return read_evidence(self._evidence_folder, found[0])

    def verify_evidence(self) -> None:
        """Raise LedgerError naming the first line whose evidence is absent, or is not what it was written on."""
        for entry in self.ledger.read():
            if entry.kind not in EVIDENCE_KINDS or not entry.evidence_sha256:
                continue
            try:
                read_evidence(self._evidence_folder, entry.evidence_sha256)
            except RegistryError as error:
                subject = f"{self.ledger.path} line {entry.sequence + 1}"
                raise LedgerError(subject, f"its evidence must be there: {error}", do="Restore it") from error

    def status(self) -> list[dict[str, Any]]:
        """Return a row per environment: version, release id, since, by, approver, aliases, last day, whether all agree.

        ``verified_at`` is when the champion's bundle was last read and verified in full. It is read again when a file
        of it has changed since, or this process never read it; ``load_champion`` always reads it.

        The ledger is let go while MLflow is asked, which may take minutes to say that it does not answer. Each row is
        true of one moment; a move that falls between two rows may show in the later one alone. Where an alias stands
        elsewhere than the ledger said, both are asked again with the ledger held before the row says so.
        """
        if not self._tracking.is_made():
            with self.ledger.locked():
                self._tracking.client  # noqa: B018  # makes the database
        entries, rows = self.ledger.read(), []
        for environment in ENVIRONMENTS:
            row = self._row(entries, environment)
            if row["state"].endswith(MOVED):
                with self.ledger.locked(to_read=True):
                    entries = self.ledger.read()
                    row = self._row(entries, environment)
            rows.append(row)
        return rows

    def _row(self, entries: Sequence[Entry], environment: str) -> dict[str, Any]:
        row = standing_at(entries, None, (environment,))[0]
        row["aliases"] = self._tracking.aliases(self._model(environment))
        row["waivers"] = [one.sentence(self._clock()) for one in waivers_of(entries, row["release_id"] or "none")]
        row |= {"last_day": None, "verified_at": None}
        row["state"] = self._state(entries, row)
        return row

    def _state(self, entries: Sequence[Entry], row: dict[str, Any]) -> str:
        """Return "ok", or the first thing that is not; fill in the last day and when the bundle was verified."""
        for intent in open_intents(entries):
            move = Move.from_subject(intent.subject)
            if move.environment == row["environment"]:
                begun = f"begun by {intent.actor} at {intent.time[:19].replace('T', ' ')} UTC"
                return f"unfinished {move.operation} of release {move.release_id}, {begun}"
        if row["aliases"].get(CHAMPION) != row["version"]:
            return CHAMPION + MOVED
        state = self._look_at_champion(row)
        last = last_move(entries, row["environment"])
        previous = last.previous_after if last else None
        held = row["aliases"].get(PREVIOUS)
        moved = held != previous and not (held is None and self._is_gone(row["environment"], previous))
        return PREVIOUS + MOVED if state == "ok" and moved else state

    def _look_at_champion(self, row: dict[str, Any]) -> str:
        """Return the state of an environment whose aliases agree; fill in the last day and when it was verified."""
        if row["version"] is None:
            return "ok"
        champion = self._let_in(row["environment"], row["version"])
        row["last_day"] = last_day(champion)
        try:
            row["verified_at"] = self._looked_at(champion, self._looks.read_changed).time
        except RegistryError as error:
            return f"bundle broken: {error}"
        past = expired(champion, self._clock())
        return f"expired: {'; '.join(past)}" if past else "ok"

    def history(self, at: str | datetime | None = None) -> list[dict[str, Any]]:
        """Return every move, refusal and abandonment, oldest first; with ``at``, what stood where at that instant.

        Raises ConfigError when ``at`` is no ISO time. A time without zone is taken as UTC.
        """
        entries = self.ledger.read()
        if at is not None:
            return standing_at(entries, moment_of(at), ENVIRONMENTS)
        return history_rows(entries)

    def load_champion(self, environment: str) -> Path:
        """Return the folder of the champion's bundle; see ``champion``."""
        return self.champion(environment)[1]

    def champion(self, environment: str) -> tuple[Move, Path]:
        """Return the move that made the champion, and its bundle's folder, after verifying ledger, tags and signature.

        Raises:
            RegistryError: there is no champion, it was moved outside the ledger, a file, tag or signature differs, or
                it is past its last day.
        """
        with self.ledger.locked():
            champion = self._champion(environment)
            if champion is None or champion.version is None:
                raise RegistryError(self._model(environment), "must have a champion", do="Promote a release first")
            self.require_in_date(champion)
            return champion, self._looked_at(champion).bundle.folder

    def require_in_date(self, champion: Move) -> None:
        """Raise RegistryError where a champion is past its last day."""
        past = expired(champion, self._clock())
        if past:
            raise RegistryError(
                f"{self._model(champion.environment)} version {champion.version}",
                f"is past its last day: {'; '.join(past)}",
                do="Promote a newer release",
            )

    def champion_alias(self, environment: str) -> str | None:
        """Return the version that MLflow calls champion, compared with nothing: to see whether it is worth a look."""
        return self._tracking.aliases(self._model(environment)).get(CHAMPION)

    def _champion(self, environment: str) -> Move | None:
        """Return the move that made the present champion. Raises RegistryError when MLflow and ledger disagree."""
        model = self._model(environment)
        held = self._tracking.aliases(model).get(CHAMPION)
        recorded = self._recorded_champion(environment)
        if held != recorded:
            rule = f"must be where the ledger put it, version {recorded}"
            do = f"Roll {environment} back to version {recorded}" if recorded else "Delete the alias"
            if self._is_gone(environment, recorded):
                do = "That version was deleted in MLflow: let another release in, or roll back to an earlier version"
            raise RegistryError(f"{model} alias {CHAMPION}", rule, held, do)
        return None if held is None else self._let_in(environment, held)

    def _is_gone(self, environment: str, version: str | None) -> bool:
        """Return whether a version that the ledger knows was deleted in MLflow."""
        return version is not None and version not in self._tracking.versions(self._model(environment))

    def _recorded_champion(self, environment: str) -> str | None:
        last = last_move(self.ledger.read(), environment)
        return last.version if last else None

    def _let_in(self, environment: str, version: str) -> Move:
        move = move_that_made(self.ledger.read(), environment, version)
        if move is None:
            raise RegistryError(
                f"{self._model(environment)} version {version}",
                "the ledger must have let it in",
                [made.version for made in made_moves(self.ledger.read(), environment)],
            )
        return move

    def _looked_at(self, move: Move, look: Callable[[Path, str], Look] | None = None) -> Look:
        """Return a look at the bundle of a version that ``move`` let in, after comparing tags, files and signature."""
        assert move.version is not None
        model = self._model(move.environment)
        held = self._tracking.tags(model, move.version)
        for key, value in move.tags().items():
            if held.get(key) != value:
                rule = f"must be what the ledger says, {value!r}"
                raise RegistryError(f"{model} version {move.version} tag {key}", rule, held.get(key))
        found = (look or self._looks.read)(self._tracking.bundle_path(model, move.version), move.environment)
        require_registered(move, found.bundle)
        return found

    def _model(self, environment: str) -> str:
        if environment not in self._environments:
            raise ConfigError("environment", f"must be one of {list(ENVIRONMENTS)}", environment)
        return self._environments[environment].registered_model
