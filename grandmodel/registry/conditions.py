"""What a release must show before it may enter an environment: pure checks that return reasons, not verdicts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from grandmodel.core.config import Environment, load_environment
from grandmodel.core.errors import ConfigError
from grandmodel.registry.bundle import Bundle
from grandmodel.registry.people import NOBODY, why_unfit
from grandmodel.registry.thresholds import looser_thresholds

ENVIRONMENTS = ("dev", "staging", "canary", "production")  # in the order of promotion
GATES = ("g0_data", "g1_leakage", "g2_sanity", "g3_seeds", "g4_selection", "g5_costs", "g6_risk")
PROFILES = ("full",)
SELECTION_ENVIRONMENTS, SELECTION_GATE = frozenset({"staging"}), "g4_selection"
PARITY_ENVIRONMENTS = frozenset({"canary"})
CANARY_ENVIRONMENTS, CANARY_GATE = frozenset({"production"}), "g8_canary"

IsWaived = Callable[[Mapping[str, Any]], bool]


def nothing_waived(verdict: Mapping[str, Any]) -> bool:
    """Return False: without a line of the ledger no refused verdict passes."""
    return False


def load_environments(folder: Path) -> dict[str, Environment]:
    """Read the four ``<environment>.yaml`` of ``folder``.

    Raises ConfigError when a file is absent, wrong, names another environment, or asks for less than the house does:
    outside dev every gate and the full profile, for production an approval. A waiver is the way past a verdict.
    """
    environments = {name: load_environment(folder / f"{name}.yaml") for name in ENVIRONMENTS}
    for name, environment in environments.items():
        if environment.name != name:
            raise ConfigError(f"{folder / name}.yaml key name", f"must be {name!r}", environment.name)
        if name != "dev":
            _refuse_open_door(f"{folder / name}.yaml", environment)
    return environments


def _refuse_open_door(path: str, environment: Environment) -> None:
    do = "Put it back; a named person lets one refused verdict pass with `grandmodel waive`"
    absent = [gate for gate in GATES if gate not in environment.gates_required]
    if absent:
        raise ConfigError(
            f"{path} key gates_required", f"must hold {', '.join(absent)}", environment.gates_required, do
        )
    if environment.profiles_admitted != PROFILES:
        raise ConfigError(f"{path} key profiles_admitted", f"must be {PROFILES}", environment.profiles_admitted, do)
    if environment.name == "production" and not environment.approval_required:
        raise ConfigError(f"{path} key approval_required", "must be true", environment.approval_required, do)


def environment_before(name: str) -> str:
    """Return the environment from which ``name`` is entered. Raises ConfigError for dev and for unknown names."""
    if name not in ENVIRONMENTS[1:]:
        raise ConfigError("target environment", f"must be one of {list(ENVIRONMENTS[1:])}", name)
    return ENVIRONMENTS[ENVIRONMENTS.index(name) - 1]


def unmet_conditions(
    environment: Environment,
    bundle: Bundle,
    *,
    author: str,
    approver: str | None,
    evidence: Mapping[str, Any],
    is_waived: IsWaived = nothing_waived,
) -> list[str]:
    """Return why ``bundle`` may not enter ``environment``; an empty list lets it in.

    Args:
        environment: the target and its conditions.
        bundle: a bundle that has just been verified.
        author: who registered the release.
        approver: who approves the move, if anybody does; ``people.NOBODY`` says that nobody looked.
        evidence: what was measured for this move; for staging it must hold ``selection``, the verdict of G4 over all
            trials that the trial ledger holds now; for canary ``decision_hash``, the hash of the decisions that the
            packaged weights took on the tape whose hash the bundle's ``evidence.json`` recorded at training; for
            production ``canary``, the verdict of G8 (not asked of simulated data, which are traded nowhere), and
            where it was compared ``against_champion``, the verdict of G3 against the champion it would replace.
        is_waived: whether a line of the ledger lets a refused verdict pass.
    """
    reasons = _gate_reasons(environment.gates_required, bundle, is_waived)
    reasons += _profile_reasons(environment, bundle)
    reasons += _threshold_reasons(environment, bundle)
    if environment.name in SELECTION_ENVIRONMENTS:
        reasons += _selection_reasons(evidence, is_waived)
    if environment.name in PARITY_ENVIRONMENTS:
        reasons += _parity_reasons(bundle, evidence)
    if environment.name == "production":
        reasons += _champion_reasons(evidence, is_waived)
    if environment.name in CANARY_ENVIRONMENTS:
        reasons += _canary_reasons(bundle, evidence, is_waived)
    if environment.approval_required:
        reasons += _approval_reasons(author, approver)
    return reasons


def refused_verdicts(gate: str, bundle: Bundle, evidence: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the verdicts of ``gate`` that refuse the release: its bundle's, and the one in the evidence of a move."""
    found = [one for one in bundle.read_json("gates.json") if one.get("name") == gate]
    shown = (evidence.get("selection"), evidence.get("canary"), evidence.get("against_champion"))
    found += [one for one in shown if isinstance(one, dict) and one.get("name") == gate]
    return [verdict for verdict in found if verdict.get("passed") is not True]


def _gate_reasons(required: tuple[str, ...], bundle: Bundle, is_waived: IsWaived) -> list[str]:
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
            if gate.get("passed") is not True and not is_waived(gate)
        ]
    return reasons


def _selection_reasons(evidence: Mapping[str, Any], is_waived: IsWaived) -> list[str]:
    verdict = evidence.get("selection")
    if not isinstance(verdict, dict) or verdict.get("name") != SELECTION_GATE:
        return ["selection was not judged over all trials: the evidence of this move holds no verdict of it"]
    if verdict.get("passed") is True or is_waived(verdict):
        return []
    return [f"gate {SELECTION_GATE} over all trials did not pass: {verdict.get('reason', 'no reason given')}"]


def _profile_reasons(environment: Environment, bundle: Bundle) -> list[str]:
    admitted = environment.profiles_admitted
    if not admitted:
        return []
    record = bundle.read_json("evidence.json") if "evidence.json" in bundle.files else None
    profile = record.get("profile") if isinstance(record, dict) else None
    if profile in admitted:
        return []
    return [f"{environment.name} takes releases of profile {' or '.join(admitted)}, found {profile or 'none named'}"]


def _threshold_reasons(environment: Environment, bundle: Bundle) -> list[str]:
    if not environment.gates_required:
        return []
    params = bundle.read_json("params.json") if "params.json" in bundle.files else None
    return [f"the gates were asked too little: {looser}" for looser in looser_thresholds(params)]


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


def _champion_reasons(evidence: Mapping[str, Any], is_waived: IsWaived) -> list[str]:
    """Refuse what is shown to be worse than the champion; one that had seen some of the days has an edge and no say."""
    verdict = evidence.get("against_champion")
    if not isinstance(verdict, dict) or evidence.get("champion_fitted_before") is not True or is_waived(verdict):
        return []
    upper = verdict.get("evidence", {}).get("baselines", {}).get("champion", {}).get("upper")
    if isinstance(upper, int | float) and upper < 0.0:
        return [f"the champion is shown to be better on the same days: {verdict.get('reason', 'no reason given')}"]
    return []


def _canary_reasons(bundle: Bundle, evidence: Mapping[str, Any], is_waived: IsWaived) -> list[str]:
    record = bundle.read_json("evidence.json")
    if isinstance(record, dict) and record.get("data", {}).get("simulated") is True:
        return []
    verdict = evidence.get("canary")
    if not isinstance(verdict, dict) or verdict.get("name") != CANARY_GATE:
        return ["the canary was not judged: the evidence of this move holds no verdict of it"]
    if verdict.get("passed") is True or is_waived(verdict):
        return []
    return [f"gate {CANARY_GATE} did not pass: {verdict.get('reason', 'no reason given')}"]


def _approval_reasons(author: str, approver: str | None) -> list[str]:
    if approver == NOBODY:
        return []
    unfit = why_unfit(approver or "", author)
    return [f"approval: {unfit}"] if unfit else []
