"""Four registries as one thing that survives a kill at any point: dev, staging, canary, production.

Every change of champion walks the same steps, under one lock::

    intent in the ledger -> version -> tags -> alias previous -> alias champion -> completion in the ledger

The intent holds all that is needed to go on, so a kill between any two steps is mended by the next call, which finishes
the move, or takes it back where it may no longer be made. An alias is one row, so there is one champion throughout.
The ledger is the authority on what was let through; MLflow must agree with it, else nothing is served or promoted.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from grandmodel.core.errors import RegistryError
from grandmodel.registry.bundle import Bundle, with_key_name
from grandmodel.registry.conditions import ENVIRONMENTS, environment_before, unmet_conditions
from grandmodel.registry.evidence import keep_evidence
from grandmodel.registry.expiry import age_reasons, data_day, expired, review_day
from grandmodel.registry.ledger import Entry
from grandmodel.registry.looks import require_registered
from grandmodel.registry.moves import (
    Move,
    Outcome,
    begun_rollback,
    is_sealed_alike,
    last_move,
    made_moves,
    open_intents,
    was_left,
)
from grandmodel.registry.standing import Standing
from grandmodel.registry.waivers import waived
from grandmodel.registry.walk import CHAMPION, PREVIOUS, RECONCILER, Walk


class Registry(Standing):
    """The four registries, to move releases through.

    Args:
        standing: what ``Standing`` takes.
        after_step: called with the name of each step of a move once it is done.
        options: what ``Standing`` takes by name.
    """

    def __init__(self, *standing: Any, after_step: Callable[[str], None] | None = None, **options: Any) -> None:
        super().__init__(*standing, **options)
        self._walk = Walk(self._tracking, self.ledger, self._environments, after_step or (lambda step: None))

    def register(
        self,
        bundle: Path,
        *,
        author: str,
        tags: Mapping[str, str],
        metrics: Mapping[str, float],
        params: Mapping[str, object],
        curves: Mapping[str, Sequence[tuple[int, float]]] | None = None,
        actor: str | None = None,
        reason: str = "trained and sealed",
    ) -> Outcome:
        """Log a sealed bundle as a run and make it champion of dev; a release that already is writes nothing.

        ``author`` is whose work it is, who therefore may not approve it; ``actor`` who registers it, by default the
        author; ``curves`` are series of (step, value) by name.

        Raises:
            RegistryError: the bundle does not verify, or MLflow fails.
            LedgerError: the ledger does not verify.
        """
        with self.ledger.locked():
            self._settle("dev")
            sealed = with_key_name(self._looks.read(bundle, "dev").bundle)
            champion = self._to_replace("dev")
            if champion is not None and is_sealed_alike(champion, sealed):
                return Outcome.of(champion, changed=False)
            now_ms = int(self._clock().timestamp() * 1000)
            run_id, uri = self._tracking.log_release(
                sealed,
                tags={**tags, "author": author},
                metrics=metrics,
                params=params,
                curves=curves or {},
                now_ms=now_ms,
            )
            alike = [move.version for move in made_moves(self.ledger.read(), "dev") if is_sealed_alike(move, sealed)]
            known = [version for version in alike if not self._is_gone("dev", version)]
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
            return self._change(move, actor or author, reason, {"manifest_sha256": sealed.manifest_sha256})

    def promote(
        self,
        to_environment: str,
        version: str,
        *,
        actor: str,
        reason: str,
        evidence: Mapping[str, Any] | None = None,
        approver: str | None = None,
    ) -> Outcome:
        """Copy a version of the environment before into ``to_environment`` and make it champion, if it may be.

        Unmet conditions give a refusal line and ``accepted=False``, and touch no registry. A release that already is
        champion of the target writes nothing.

        Args:
            to_environment: staging, canary or production.
            version: a version that was let into the environment right before.
            actor: who asks.
            reason: why.
            evidence: what was measured for this move; stored under its hash. See ``unmet_conditions``.
            approver: who approves, where the target needs it.

        Raises:
            ConfigError: nothing is promoted into dev, or the environment is unknown.
            RegistryError: the version is unknown, its bundle does not verify (also a refusal line), or MLflow fails.
            LedgerError: the ledger does not verify.
        """
        from_environment = environment_before(to_environment)
        with self.ledger.locked():
            self._settle(from_environment, to_environment)
            origin = self._let_in(from_environment, str(version))
            champion = self._to_replace(to_environment)
            if champion is not None and is_sealed_alike(champion, origin):
                return Outcome.of(champion, changed=False)
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

    def attach(self, release_id: str, path: Path) -> None:
        """Log ``path``, such as the report, beside the bundle of a registered release; the bundle stays as sealed.

        Raises RegistryError when the release was never registered.
        """
        runs = {move.run_id for move in made_moves(self.ledger.read(), "dev") if move.release_id == release_id}
        if not runs:
            raise RegistryError(f"release {release_id}", "must be registered in dev before files are attached to it")
        for run_id in sorted(runs):
            self._tracking.attach(run_id, path)

    def rollback(
        self, environment: str, to_version: str | None = None, *, actor: str, reason: str, expect: str | None = None
    ) -> Outcome:
        """Make an earlier champion the champion again; by default the one that the ledger has before the present one.

        The bundle is verified before the alias moves. A call that a kill left open is finished by the same call again.
        A second call without ``to_version`` goes one further back, unless ``expect``, version or release id, names the
        champion that is to be left: where it was left already, nothing is written.

        Raises:
            RegistryError: there is nothing to return to, the version was never champion, its bundle does not verify, it
                is past its last day (also a refusal line), or another champion stands than was expected.
        """
        with self.ledger.locked():
            begun = begun_rollback(self.ledger.read(), environment, actor, reason)
            self.reconcile(environment)
            entries = self.ledger.read()
            last = last_move(entries, environment)
            if to_version is None and begun is not None and last is not None and last.version == begun.version:
                return Outcome.of(last, changed=True)
            if last is not None and expect is not None and was_left(entries, last, expect, to_version):
                return Outcome.of(last, changed=False)
            model = self._model(environment)
            aliases = self._tracking.aliases(model)
            target = to_version or (last.previous_after if last else None)
            if last is None or target is None:
                rule, do = "a previous champion must exist", "Name a version with --to"
                raise RegistryError(f"rollback of {environment}", rule, aliases, do)
            origin = self._let_in(environment, target)
            if self._is_gone(environment, target):
                rule, do = f"version {target} was deleted in MLflow", "Name another one with --to"
                raise RegistryError(f"rollback of {environment}", rule, self._tracking.versions(model), do)
            stays = target == last.version
            if stays and (aliases.get(CHAMPION), aliases.get(PREVIOUS)) == (target, last.previous_after):
                return Outcome.of(last, changed=False)
            self._intact(origin, environment, actor)
            if past := expired(origin, self._clock()):
                why = f"{model} version {target} is past its last day: {'; '.join(past)}"
                self.refuse(environment, release_id=origin.release_id, actor=actor, reason=why)
                raise RegistryError(f"rollback of {environment}", why, do="Name a later version with --to")
            move = replace(
                origin,
                operation="rollback",
                champion_before=last.version,
                previous_before=last.previous_after,
                previous_after=last.previous_after if stays else origin.champion_before,
            )
            return self._change(move, actor, reason, {"manifest_sha256": origin.manifest_sha256})

    def reconcile(self, *environments: str) -> list[str]:
        """Finish what a kill left open in ``environments``, by default all, or take it back when that may not be.

        It may not where a person abandoned it, its last day is past, or its bundle is broken. Returns what was done.
        Raises RegistryError where a move can be neither finished nor taken back yet.
        """
        with self.ledger.locked():
            return [self._close(move, intent) for move, intent in self._left_open(environments or ENVIRONMENTS)]

    def abandon(self, environment: str, *, actor: str, reason: str) -> list[str]:
        """Take back what a kill left open in ``environment``: for a move that can never be finished.

        Returns what was done; nothing where no move is open. Raises RegistryError where MLflow does not answer: the
        next command then takes the move back.
        """
        with self.ledger.locked():
            self._model(environment)  # refuses an unknown name
            for _, intent in self._left_open((environment,)):
                subject = {"environment": environment, "intent": intent.hash}
                # Written down first, so that an abandonment that is killed half-way is completed and not undone.
                self.ledger.append("withdrawal", actor=actor, reason=reason, subject=subject)
            return self.reconcile(environment)

    def _left_open(self, environments: Collection[str]) -> list[tuple[Move, Entry]]:
        found = [(Move.from_subject(intent.subject), intent) for intent in open_intents(self.ledger.read())]
        return [(move, intent) for move, intent in found if move.environment in environments]

    def _close(self, move: Move, intent: Entry) -> str:
        """Finish an open move, or take it back when it may not be finished, and say which."""
        what = f"{move.operation} into {move.environment}"
        try:
            actor, why = self._against(move, intent)
            if why:
                self._walk.take_back(move, intent, actor, why)
                return f"{what} taken back: {why}"
            self._walk.finish(move, intent)
            return f"{what} finished"
        except RegistryError as error:
            rule = f"was begun and could not be finished: {error}"
            do = f"Mend that and try again, or take it back with `grandmodel abandon {move.environment} --reason WHY`"
            raise RegistryError(what, rule, do=do) from error

    def _against(self, move: Move, intent: Entry) -> tuple[str, str]:
        """Return who says that an open move may not be finished, and why; an empty reason where it may."""
        for entry in self.ledger.read():
            if entry.kind == "withdrawal" and entry.subject["intent"] == intent.hash:
                return entry.actor, entry.reason
        if past := expired(move, self._clock()):
            return RECONCILER, "; ".join(past)
        folder = self._tracking.local_path(move.bundle_uri)  # a store out of reach leaves the intent open
        try:
            require_registered(move, self._looks.read(folder, move.environment).bundle)
        except RegistryError as error:
            return RECONCILER, str(error)
        return RECONCILER, ""

    def _to_replace(self, environment: str) -> Move | None:
        """Return the champion that a move would replace; None also where its version was deleted in MLflow."""
        recorded = self._recorded_champion(environment)
        if self.champion_alias(environment) is None and self._is_gone(environment, recorded):
            return None
        return self._champion(environment)

    def _settle(self, *own: str) -> None:
        """Reconcile every environment; what cannot be finished elsewhere than in ``own`` stays open, as status says."""
        for environment in ENVIRONMENTS:
            try:
                self.reconcile(environment)
            except RegistryError:
                if environment in own:
                    raise

    def _change(self, move: Move, actor: str, reason: str, evidence: Mapping[str, Any]) -> Outcome:
        intent = self.ledger.append(
            "intent",
            actor=actor,
            reason=reason,
            subject=move.to_subject(),
            evidence_sha256=keep_evidence(self._evidence_folder, evidence),
        )
        self._walk.after_step("intent")
        return Outcome.of(self._walk.finish(move, intent), changed=True)

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
        last = last_move(self.ledger.read(), environment)
        champion = last.version if last else None
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
            champion_before=champion,
            previous_before=last.previous_after if last else None,
            previous_after=champion,
            review_by=review_day(self._environments[environment], self._clock()),
            data_until=data_day(self._environments[environment], bundle),
        )

    def _intact(self, move: Move, to_environment: str, actor: str) -> Bundle:
        try:
            bundle = self._looked_at(move).bundle
            self._looks.require_trust(to_environment, bundle)
            return bundle
        except RegistryError as error:
            self.refuse(to_environment, release_id=move.release_id, actor=actor, reason=str(error))
            raise
