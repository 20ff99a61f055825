"""What a release must show before it may enter an environment: pure checks that return reasons, not verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from grandmodel.core.config import Environment, load_environment
from grandmodel.core.errors import ConfigError
from grandmodel.registry.bundle import Bundle

ENVIRONMENTS = ("dev", "staging", "canary", "production")  # in the order of promotion
PARITY_ENVIRONMENTS = frozenset({"canary"})


def load_environments(folder: Path) -> dict[str, Environment]:
    """Read the four ``<environment>.yaml`` of ``folder``.

    Raises ConfigError when a file is absent, wrong or names another environment.
    """
    environments = {name: load_environment(folder / f"{name}.yaml") for name in ENVIRONMENTS}
    for name, environment in environments.items():
        if environment.name != name:
            raise ConfigError(f"{folder / name}.yaml key name", f"must be {name!r}", environment.name)
    return environments


def environment_before(name: str) -> str:
    """Return the environment from which ``name`` is entered. Raises ConfigError for dev and for unknown names."""
    if name not in ENVIRONMENTS[1:]:
        raise ConfigError("target environment", f"must be one of {list(ENVIRONMENTS[1:])}", name)
    return ENVIRONMENTS[ENVIRONMENTS.index(name) - 1]


def unmet_conditions(
    environment: Environment, bundle: Bundle, *, author: str, approver: str | None, evidence: Mapping[str, Any]
) -> list[str]:
    """Return why ``bundle`` may not enter ``environment``; an empty list lets it in.

    Args:
        environment: the target and its conditions.
        bundle: a bundle that has just been verified.
        author: who registered the release.
        approver: who approves the move, if anybody does.
        evidence: what was measured for this move; for canary it must hold ``decision_hash``, the hash of the decisions
            that the packaged weights took on the tape whose hash the bundle's ``evidence.json`` recorded at training.
    """
    reasons = _gate_reasons(environment.gates_required, bundle)
    reasons += _profile_reasons(environment, bundle)
    if environment.name in PARITY_ENVIRONMENTS:
        reasons += _parity_reasons(bundle, evidence)
    if environment.approval_required:
        reasons += _approval_reasons(author, approver)
    return reasons


def _gate_reasons(required: tuple[str, ...], bundle: Bundle) -> list[str]:
    if not required:
        return []
    if "gates.json" not in bundle.files:
        return [f"the bundle holds no gates.json, so gates {', '.join(required)} were not shown to pass"]
    gates = bundle.read_json("gates.json")
    if not isinstance(gates, list) or not all(isinstance(gate, dict) for gate in gates):
        return ["gates.json of the bundle must be a list of gate results"]
    reasons = []
    for name in required:
        results = [gate for gate in gates if gate.get("name") == name]
        if not results:
            reasons.append(f"gate {name} was not run")
        reasons += [
            f"gate {name} did not pass: {gate.get('reason', 'no reason given')}"
            for gate in results
            if gate.get("passed") is not True
        ]
    return reasons


def _profile_reasons(environment: Environment, bundle: Bundle) -> list[str]:
    admitted = environment.profiles_admitted
    if not admitted:
        return []
    record = bundle.read_json("evidence.json") if "evidence.json" in bundle.files else None
    profile = record.get("profile") if isinstance(record, dict) else None
    if profile in admitted:
        return []
    return [f"{environment.name} takes releases of profile {' or '.join(admitted)}, found {profile or 'none named'}"]


def _parity_reasons(bundle: Bundle, evidence: Mapping[str, Any]) -> list[str]:
    record = bundle.read_json("evidence.json")
    trained = record.get("decision_hash") if isinstance(record, dict) else None
    packaged = evidence.get("decision_hash")
    if not trained or not packaged:
        absent = "the bundle's evidence.json" if not trained else "the evidence of this move"
        return [f"parity was not measured: {absent} holds no decision_hash"]
    if trained != packaged:
        return [f"the packaged weights decide otherwise than the trained ones: {packaged} against {trained}"]
    return []


def _approval_reasons(author: str, approver: str | None) -> list[str]:
    if approver is None or not approver.strip():
        return ["a named person must approve"]
    if approver.strip().casefold() == author.strip().casefold():
        return [f"the approver must be another person than the author {author!r}"]
    return []
