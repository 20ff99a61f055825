"""Four registries as one thing that survives a kill at any point: dev, staging, canary, production.

Every change of champion walks the same steps, under one lock::

    intent in the ledger -> version -> tags -> alias previous -> alias champion -> completion in the ledger

The intent holds all that is needed to go on, so a kill between any two steps is mended by the next call, which finishes
the move, or takes it back when the bundle no longer verifies. An alias is one row, so there is one champion throughout.
The ledger is the authority on what was let through; MLflow must agree with it, else nothing is served or promoted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from grandmodel.core.clock import Clock
from grandmodel.core.config import Environment
from grandmodel.core.errors import ConfigError, RegistryError
from grandmodel.registry.bundle import Bundle
from grandmodel.registry.conditions import ENVIRONMENTS, environment_before, unmet_conditions
from grandmodel.registry.evidence import keep_evidence, read_evidence
from grandmodel.registry.expiry import age_reasons, data_day, expired, last_day, review_day
from grandmodel.registry.ledger import Entry, Ledger
from grandmodel.registry.looks import Look, Looks, require_registered
from grandmodel.registry.moves import (
    Move,
    Outcome,
    history_rows,
    made_moves,
    moment_of,
    move_that_made,
    moves_into,
    open_intents,
    standing_at,
)
from grandmodel.registry.tracking import Tracking
from grandmodel.registry.waivers import Waiver, waived, waivers_of
from grandmodel.registry.walk import CHAMPION, PREVIOUS, Walk


class Registry:
    """The four registries, their ledger and the bundles they point at.

    Args:
        tracking_uri: of MLflow, such as ``sqlite:////path/mlflow.db``; the database is created on first use.
        artifact_root: folder for evidence, and for runs and bundles unless ``artifacts_uri`` names another place.
        ledger_path: the JSON-lines file; its lock and head lie beside it.
        clock: gives the time of every line.
        environments: the conditions of entry, see ``load_environments``.
        artifacts_uri: where MLflow keeps runs and bundles, such as ``s3://bucket/prefix``.
        trusted_keys: public keys (hex) whose signatures count; empty accepts the key recorded at registration. What an
            environment trusts besides stands in its configuration.
        after_step: called with the name of each step of a move once it is done.
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
        after_step: Callable[[str], None] | None = None,
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
        )
        self._walk = Walk(self._tracking, self.ledger, environments, after_step or (lambda step: None))

    @property
    def tracking(self) -> Tracking:
        """Return MLflow; hold the lock of the ledger around its first use, which makes the database."""
        return self._tracking

    def register(
        self,
        bundle: Path,
        *,
        author: str,
        tags: Mapping[str, str],
        metrics: Mapping[str, float],
        params: Mapping[str, object],
        curves: Mapping[str, Sequence[tuple[int, float]]] | None = None,
        reason: str = "trained and sealed",
    ) -> Outcome:
        """Log a sealed bundle as a run and make it champion of dev; a release that already is writes nothing.

        ``curves`` are series of (step, value) by name.

        Raises:
            RegistryError: the bundle does not verify, or MLflow fails.
            LedgerError: the ledger does not verify.
        """
        with self.ledger.locked():
            self.reconcile()
            sealed = self._looks.read(bundle, "dev").bundle
            champion = self._champion("dev")
            if champion is not None and champion.release_id == sealed.release_id:
                return Outcome(True, "dev", champion.version, sealed.release_id, changed=False)
            now_ms = int(self._clock().timestamp() * 1000)
            run_id, uri = self._tracking.log_release(
                sealed.release_id,
                bundle,
                tags={**tags, "author": author},
                metrics=metrics,
                params=params,
                curves=curves or {},
                now_ms=now_ms,
            )
            known = [
                move.version for move in made_moves(self.ledger.read(), "dev") if move.release_id == sealed.release_id
            ]
            move = self._planned(
                "registration",
                "dev",
                known[0] if known else None,
                sealed,
                author=author,
                approver=None,
                source=uri,
                bundle_uri=uri,
                run_id=run_id,
            )
            require_registered(move, self._looks.read(self._tracking.local_path(uri), "dev").bundle)
            return self._change(move, author, reason, {"manifest_sha256": sealed.manifest_sha256})

    def promote(
        self,
        from_environment: str,
        to_environment: str,
        version: str,
        *,
        actor: str,
        reason: str,
        evidence: Mapping[str, Any] | None = None,
        approver: str | None = None,
    ) -> Outcome:
        """Copy a version into the next environment and make it champion there, if its conditions are met.

        Unmet conditions give a refusal line and ``accepted=False``, and touch no registry. A release that already is
        champion of the target writes nothing.

        Args:
            from_environment: the environment right before the target.
            to_environment: staging, canary or production.
            version: a version that was let into ``from_environment``.
            actor: who asks.
            reason: why.
            evidence: what was measured for this move; stored under its hash. See ``unmet_conditions``.
            approver: who approves, where the target needs it.

        Raises:
            ConfigError: the two environments do not follow each other.
            RegistryError: the version is unknown, its bundle does not verify (also a refusal line), or MLflow fails.
            LedgerError: the ledger does not verify.
        """
        before = environment_before(to_environment)
        if from_environment != before:
            raise ConfigError(f"promotion to {to_environment}", f"must come from {before}", from_environment)
        with self.ledger.locked():
            self.reconcile()
            origin = self._let_in(from_environment, str(version))
            champion = self._champion(to_environment)
            if champion is not None and champion.release_id == origin.release_id:
                return Outcome(True, to_environment, champion.version, origin.release_id, changed=False)
            bundle = self._intact(origin, to_environment, actor)
            waivers = self.waivers(origin.release_id)
            shown = {**(evidence or {}), "manifest_sha256": bundle.manifest_sha256}
            shown |= {"waivers": [one.line for one in waivers]} if waivers else {}
            unmet = unmet_conditions(
                self._environments[to_environment],
                bundle,
                author=origin.author,
                approver=approver,
                evidence=shown,
                is_waived=lambda verdict: waived(verdict, waivers, author=origin.author, now=self._clock()),
            )
            unmet += age_reasons(self._environments[to_environment], bundle, self._clock())
            unmet += [f"in {from_environment} {reason}" for reason in expired(origin, self._clock())]
            if unmet:
                why = "; ".join(unmet)
                self.refuse(to_environment, release_id=origin.release_id, actor=actor, reason=why, evidence=shown)
                return Outcome(False, to_environment, None, origin.release_id, changed=False, reasons=tuple(unmet))
            source = f"models:/{self._model(from_environment)}/{origin.version}"
            move = self._planned(
                "promotion",
                to_environment,
                None,
                bundle,
                author=origin.author,
                approver=approver,
                source=source,
                bundle_uri=origin.bundle_uri,
                run_id=origin.run_id,
            )
            return self._change(move, actor, reason, shown)

    def promote_to(
        self,
        to_environment: str,
        version: str,
        *,
        actor: str,
        reason: str,
        evidence: Mapping[str, Any] | None = None,
        approver: str | None = None,
    ) -> Outcome:
        """Promote a version of the environment right before ``to_environment``; see ``promote``."""
        return self.promote(
            environment_before(to_environment),
            to_environment,
            version,
            actor=actor,
            reason=reason,
            evidence=evidence,
            approver=approver,
        )

    def refuse(
        self, environment: str, *, release_id: str, actor: str, reason: str, evidence: Mapping[str, Any] | None = None
    ) -> Entry:
        """Write down that ``release_id`` was kept out of ``environment``; the same refusal is written once."""
        with self.ledger.locked():
            digest = keep_evidence(self._evidence_folder, evidence or {})
            subject = {"environment": environment, "release_id": release_id}
            for entry in self.ledger.read():
                asked = (entry.kind, entry.actor, entry.reason, entry.subject, entry.evidence_sha256)
                if asked == ("refusal", actor, reason, subject, digest):
                    return entry
            return self.ledger.append("refusal", actor=actor, reason=reason, subject=subject, evidence_sha256=digest)

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
        """Return the evidence of the last time a release stood before ``environment``; empty where it never did."""
        about = {"environment": environment, "release_id": release_id}
        for entry in reversed(self.ledger.read()):
            if entry.kind in ("promotion", "refusal") and about.items() <= entry.subject.items():
                return read_evidence(self._evidence_folder, entry.evidence_sha256)
        return {}

    def attach(self, release_id: str, path: Path) -> None:
        """Log ``path``, such as the report, beside the bundle of a registered release; the bundle stays as sealed.

        Raises RegistryError when the release was never registered.
        """
        runs = {move.run_id for move in made_moves(self.ledger.read(), "dev") if move.release_id == release_id}
        if not runs:
            raise RegistryError(f"release {release_id}", "must be registered in dev before files are attached to it")
        for run_id in sorted(runs):
            self._tracking.attach(run_id, path)

    def rollback(self, environment: str, to_version: str | None = None, *, actor: str, reason: str) -> Outcome:
        """Make an earlier champion the champion again; by default the one that stood before the present one.

        The bundle is verified before the alias moves. A second rollback goes one further back; one that a kill left
        open is finished by the same call again, and goes no further.

        Raises:
            RegistryError: there is nothing to return to, the version was never champion, its bundle does not verify, or
                it is past its last day (also a refusal line).
        """
        with self.ledger.locked():
            begun = self._begun_rollback(environment, actor, reason)
            self.reconcile()
            aliases = self._tracking.aliases(self._model(environment))
            if to_version is None and begun is not None and aliases.get(CHAMPION) == begun.version:
                return Outcome(True, environment, begun.version, begun.release_id, changed=True)
            target = str(to_version) if to_version is not None else aliases.get(PREVIOUS)
            if target is None:
                raise RegistryError(
                    f"rollback of {environment}", "a previous champion must exist", aliases, "Name a version with --to"
                )
            origin = self._let_in(environment, target)
            if aliases.get(CHAMPION) == target and self._recorded_champion(environment) == target:
                return Outcome(True, environment, target, origin.release_id, changed=False)
            self._intact(origin, environment, actor)
            past = expired(origin, self._clock())
            if past:
                why = f"{self._model(environment)} version {target} is past its last day: {'; '.join(past)}"
                self.refuse(environment, release_id=origin.release_id, actor=actor, reason=why)
                raise RegistryError(f"rollback of {environment}", why, do="Name a later version with --to")
            move = replace(
                origin,
                operation="rollback",
                champion_before=aliases.get(CHAMPION),
                previous_before=aliases.get(PREVIOUS),
                previous_after=origin.champion_before,
            )
            return self._change(move, actor, reason, {"manifest_sha256": origin.manifest_sha256})

    def _begun_rollback(self, environment: str, actor: str, reason: str) -> Move | None:
        """Return the rollback of ``environment`` that a kill left open to this actor for this reason."""
        for intent in open_intents(self.ledger.read()):
            move = Move.from_subject(intent.subject)
            asked = (move.operation, move.environment, intent.actor, intent.reason)
            if asked == ("rollback", environment, actor, reason):
                return move
        return None

    def reconcile(self) -> list[str]:
        """Finish what a kill left open, or take it back when its bundle is broken; return what was done."""
        done = []
        with self.ledger.locked():
            for intent in open_intents(self.ledger.read()):
                move = Move.from_subject(intent.subject)
                folder = self._tracking.local_path(move.bundle_uri)  # a store out of reach leaves the intent open
                try:
                    require_registered(move, self._looks.read(folder, move.environment).bundle)
                except RegistryError as error:
                    self._walk.take_back(move, intent, str(error))
                    done.append(f"{move.operation} into {move.environment} taken back: {error}")
                else:
                    self._walk.finish(move, intent)
                    done.append(f"{move.operation} into {move.environment} finished")
        return done

    def status(self) -> list[dict[str, Any]]:
        """Return a row per environment: version, release id, since, by, approver, aliases, last day, whether all agree.

        ``verified_at`` is when the champion's bundle was last read and verified in full. It is read again when a file
        of it has changed since, or this process never read it; ``load_champion`` always reads it.
        """
        with self.ledger.locked():
            entries = self.ledger.read()
            pending = {intent.subject["environment"] for intent in open_intents(entries)}
            rows = standing_at(entries, None, ENVIRONMENTS)
            for row in rows:
                aliases = self._tracking.aliases(self._model(row["environment"]))
                row["aliases"] = aliases
                row["waivers"] = [
                    one.sentence(self._clock()) for one in waivers_of(entries, row["release_id"] or "none")
                ]
                row |= {"last_day": None, "verified_at": None}
                if row["environment"] in pending:
                    row["state"] = "unfinished move"
                elif aliases.get(CHAMPION) != row["version"]:
                    row["state"] = "champion moved outside the ledger"
                else:
                    row["state"] = self._look_at_champion(row)
            return rows

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
        """Return the folder of the champion's bundle after verifying it against ledger, tags and signature.

        Raises:
            RegistryError: there is no champion, it was moved outside the ledger, a file, tag or signature differs, or
                it is past its last day.
        """
        with self.ledger.locked():
            champion = self._champion(environment)
            if champion is None or champion.version is None:
                raise RegistryError(self._model(environment), "must have a champion", do="Promote a release first")
            past = expired(champion, self._clock())
            if past:
                raise RegistryError(
                    f"{self._model(environment)} version {champion.version}",
                    f"is past its last day: {'; '.join(past)}",
                    do="Promote a newer release",
                )
            return self._looked_at(champion).bundle.folder

    def _change(self, move: Move, actor: str, reason: str, evidence: Mapping[str, Any]) -> Outcome:
        intent = self.ledger.append(
            "intent",
            actor=actor,
            reason=reason,
            subject=move.to_subject(),
            evidence_sha256=keep_evidence(self._evidence_folder, evidence),
        )
        self._walk.after_step("intent")
        done = self._walk.finish(move, intent)
        return Outcome(True, done.environment, done.version, done.release_id, changed=True)

    def _planned(
        self,
        operation: str,
        environment: str,
        version: str | None,
        bundle: Bundle,
        *,
        author: str,
        approver: str | None,
        source: str,
        bundle_uri: str,
        run_id: str,
    ) -> Move:
        aliases = self._tracking.aliases(self._model(environment))
        return Move(
            operation,
            environment,
            version,
            bundle.release_id,
            bundle.manifest_sha256,
            bundle.public_key,
            bundle.key_name,
            author,
            approver,
            source,
            bundle_uri,
            run_id,
            champion_before=aliases.get(CHAMPION),
            previous_before=aliases.get(PREVIOUS),
            previous_after=aliases.get(CHAMPION),
            review_by=review_day(self._environments[environment], self._clock()),
            data_until=data_day(self._environments[environment], bundle),
        )

    def _champion(self, environment: str) -> Move | None:
        """Return the move that made the present champion. Raises RegistryError when MLflow and ledger disagree."""
        model = self._model(environment)
        held = self._tracking.aliases(model).get(CHAMPION)
        recorded = self._recorded_champion(environment)
        if held != recorded:
            rule = f"must be where the ledger put it, version {recorded}"
            raise RegistryError(
                f"{model} alias {CHAMPION}",
                rule,
                held,
                f"Roll {environment} back to version {recorded}" if recorded else "Delete the alias",
            )
        return None if held is None else self._let_in(environment, held)

    def _recorded_champion(self, environment: str) -> str | None:
        entries = moves_into(self.ledger.read(), environment)
        return entries[-1].subject["version"] if entries else None

    def _let_in(self, environment: str, version: str) -> Move:
        move = move_that_made(self.ledger.read(), environment, version)
        if move is None:
            raise RegistryError(
                f"{self._model(environment)} version {version}",
                "the ledger must have let it in",
                [made.version for made in made_moves(self.ledger.read(), environment)],
            )
        return move

    def _intact(self, move: Move, to_environment: str, actor: str) -> Bundle:
        try:
            bundle = self._looked_at(move).bundle
            self._looks.require_trust(to_environment, bundle)
            return bundle
        except RegistryError as error:
            self.refuse(to_environment, release_id=move.release_id, actor=actor, reason=str(error))
            raise

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
