"""The steps of one move, each of which looks before it acts: walking them again after a kill is harmless."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from grandmodel.core.config import Environment
from grandmodel.core.errors import RegistryError
from grandmodel.registry.ledger import Entry, Ledger
from grandmodel.registry.moves import Move, made_moves
from grandmodel.registry.tracking import Tracking

CHAMPION, PREVIOUS = "champion", "previous"
RECONCILER = "reconciler"


class Walk:
    """Carries moves out and takes them back; the caller holds the lock of the ledger.

    ``after_step`` hears the name of each step once it is done: intent, version, tags, previous, champion, completion.
    """

    def __init__(
        self,
        tracking: Tracking,
        ledger: Ledger,
        environments: Mapping[str, Environment],
        after_step: Callable[[str], None],
    ) -> None:
        self._tracking = tracking
        self._ledger = ledger
        self._environments = environments
        self.after_step = after_step

    def finish(self, move: Move, intent: Entry) -> Move:
        """Walk from the intent to the completion and return the move with its version."""
        model = self._environments[move.environment].registered_model
        version = move.version or self._version_for(move, model)
        self.after_step("version")
        self._tracking.set_tags(model, version, move.tags())
        self.after_step("tags")
        self._tracking.set_alias(model, PREVIOUS, self._if_there(model, move.previous_after))
        self.after_step(PREVIOUS)
        self._tracking.set_alias(model, CHAMPION, version)
        self.after_step(CHAMPION)
        held = self._tracking.aliases(model).get(CHAMPION)
        if held != version:
            raise RegistryError(f"{model} alias {CHAMPION}", f"must read back as version {version}", held)
        done = move.at(version)
        self._ledger.append(
            move.operation,
            actor=intent.actor,
            reason=intent.reason,
            subject={**done.to_subject(), "intent": intent.hash},
            evidence_sha256=intent.evidence_sha256,
        )
        self.after_step("completion")
        return done

    def take_back(self, move: Move, intent: Entry, actor: str, why: str) -> None:
        """Put both aliases back where they stood before the move and close its intent.

        A version that MLflow no longer has gets no alias: status says so, and a rollback to another one mends it.
        """
        model = self._environments[move.environment].registered_model
        for alias, version in ((CHAMPION, move.champion_before), (PREVIOUS, move.previous_before)):
            self._tracking.set_alias(model, alias, self._if_there(model, version))
        self._ledger.append(
            "abandonment",
            actor=actor,
            reason=why,
            subject={"environment": move.environment, "release_id": move.release_id, "intent": intent.hash},
            evidence_sha256=intent.evidence_sha256,
        )

    def _if_there(self, model: str, version: str | None) -> str | None:
        """Return ``version``, or None where it was deleted in MLflow, which gives it no alias any more."""
        return version if version in self._tracking.versions(model) else None

    def _version_for(self, move: Move, model: str) -> str:
        """Return the version that an interrupted walk has made already, else make it."""
        finished = {done.version for done in made_moves(self._ledger.read(), move.environment)}
        made = self._tracking.versions(model, move.source)
        orphans = [version for version in made if version not in finished]
        return orphans[0] if orphans else self._tracking.create_version(model, move.source, move.run_id)
