"""What a person is asked before a release enters production, and what becomes of the answer.

The person sees the request; the registry still judges every condition at the move, the approver's name among them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from grandmodel.core.clock import Clock
from grandmodel.core.errors import RegistryError
from grandmodel.gates.canary_record import production_evidence
from grandmodel.registry.bundle import Bundle
from grandmodel.registry.moves import Outcome, made_moves
from grandmodel.registry.people import why_unfit
from grandmodel.registry.store import Registry
from pipelines.promote import beside_champion, standing_in
from pipelines.workspace import Workspace

TARGET, BEFORE = "production", "canary"


@dataclass(frozen=True)
class Request:
    """What is asked for: a version of the canary registry wants to enter production."""

    release_id: str
    version: str  # in the canary registry
    author: str  # who may not approve it
    simulated: bool
    gates: tuple[dict[str, Any], ...]  # name, passed, reason
    waivers: tuple[str, ...]  # sentences of what a person has let pass
    champion: str | None  # version in production before the move; None where there is none
    evidence: dict[str, Any]  # how the release compares with that champion


@dataclass(frozen=True)
class Answer:
    """What a person, or the command line in a person's name, answered."""

    approver: str
    approve: bool
    reason: str
    automatic: bool = False  # named by --auto-approve: nobody looked


def request_for(registry: Registry, state: Path, workspace: Workspace, version: str | None, clock: Clock) -> Request:
    """Return the request of ``version`` of the canary registry, by default its champion.

    Raises:
        RegistryError: nothing stands in canary, the version was never let in, or its bundle does not verify.
        LedgerError: the ledger does not verify.
    """
    wanted = version or standing_in(registry, BEFORE)["version"]
    if wanted is None:
        raise RegistryError(f"{BEFORE}.grandmodel", "must have a champion", do="Make a release with `grandmodel run`")
    bundle = registry.bundle_of(BEFORE, wanted)
    move = next(one for one in made_moves(registry.ledger.read(), BEFORE) if one.version == wanted)
    return Request(
        release_id=bundle.release_id,
        version=wanted,
        author=move.author,
        simulated=bundle.read_json("evidence.json")["data"]["simulated"],
        gates=tuple(
            {key: gate[key] for key in ("name", "passed", "reason")} for gate in bundle.read_json("gates.json")
        ),
        waivers=tuple(one.sentence(clock()) for one in registry.waivers(bundle.release_id)),
        champion=standing_in(registry, TARGET)["version"],
        evidence=_evidence(registry, workspace, bundle) | production_evidence(registry, state, bundle.release_id),
    )


def settle(registry: Registry, request: Request, answer: Answer, *, actor: str) -> Outcome:
    """Move the release as answered, or write down that it was refused; a repeated call changes nothing.

    Raises:
        RegistryError: the bundle does not verify, or MLflow fails.
        LedgerError: the ledger does not verify.
    """
    approver = answer.approver.strip()
    if not answer.approve:
        return _refused(registry, request, approver or actor, f"{approver} did not approve: {answer.reason}")
    unfit = "" if answer.automatic else why_unfit(approver, request.author)
    if unfit:
        return _refused(registry, request, actor, f"approval: {unfit}")
    how = "approved automatically, by --auto-approve" if answer.automatic else "approved in the form"
    return registry.promote(
        TARGET,
        request.version,
        actor=actor,
        reason=f"{how}: {answer.reason}" if answer.reason.strip() else how,
        evidence=request.evidence,
        approver=approver,
    )


def put_back(registry: Registry, environment: str, champion: str | None, *, actor: str, reason: str) -> Outcome | None:
    """Make ``champion`` that of ``environment`` again after a move that failed later; None where it still is.

    Raises RegistryError where there was no champion before: nothing can be put back.
    """
    if standing_in(registry, environment)["version"] == champion:
        return None
    if champion is None:
        do = f"Stop what serves {environment}, and promote a release that verifies"
        raise RegistryError(f"rollback of {environment}", "an earlier champion must exist", None, do)
    return registry.rollback(environment, champion, actor=actor, reason=reason)


def prove(registry: Registry, environment: str, version: str | None) -> None:
    """Raise RegistryError unless ``version`` is champion of ``environment`` and its bundle loads."""
    registry.load_champion(environment)
    found = standing_in(registry, environment)["version"]
    if found != version:
        raise RegistryError(f"champion of {environment}", f"must be version {version} after the move", found)


def _refused(registry: Registry, request: Request, actor: str, reason: str) -> Outcome:
    registry.refuse(TARGET, release_id=request.release_id, actor=actor, reason=reason, evidence=request.evidence)
    return Outcome(False, TARGET, None, request.release_id, changed=False, reasons=(reason,))


def _evidence(registry: Registry, workspace: Workspace, bundle: Bundle) -> dict[str, Any]:
    """Return how the release compares with the champion, measured anew where the run that made it is still there."""
    packaged = workspace.package / "evidence.json"
    if packaged.exists() and json.loads(packaged.read_text()) == bundle.read_json("evidence.json"):
        return beside_champion(workspace, registry)
    return {"against_champion": None, "champion": f"not compared: {workspace.folder.name}/ holds another run"}
