"""Promote: seal the packaged release and move it as far as its evidence lets it, one ledger line a move.

Not a DVC stage: it acts outside the repository. A refusal is a decision and comes back as data.
"""

from __future__ import annotations

import csv
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from grandmodel.core.clock import Clock, iso
from grandmodel.core.files import write_json_atomic
from grandmodel.data.dataset import Dataset
from grandmodel.gates.canary_record import production_evidence
from grandmodel.gates.ladder import Verdict, verdict
from grandmodel.gates.result import GateResult
from grandmodel.gates.selection import staging_evidence
from grandmodel.market.replay import decision_hash
from grandmodel.registry.backends import backends
from grandmodel.registry.bundle import Bundle, seal
from grandmodel.registry.conditions import load_environments
from grandmodel.registry.materials import BILL_OF_MATERIALS, bill_of_materials
from grandmodel.registry.moves import made_moves, moves_into
from grandmodel.registry.signing import signing_key
from grandmodel.registry.store import Registry
from grandmodel.registry.trial_runs import lost_runs, track
from grandmodel.registry.trials import open_trials
from grandmodel.registry.waivers import waived
from models.release import Release
from pipelines.champion import champion_evidence
from pipelines.checkout import author_of_checkout, commit_of_checkout
from pipelines.evaluate import decisions_of
from pipelines.package import RELEASED_SEED
from pipelines.pictures import write_episodes
from pipelines.report import write_report
from pipelines.tapes import fold_folders, load_fold
from pipelines.trials import record_evidence
from pipelines.workspace import PROJECT, Workspace

PERSON, CANARY = "a person to approve production", "its canary to be walked through; then a person is asked"
ACTOR = "release-flow"  # moves a release; its author is who wrote the commit
ALL_TRIALS = "g4_selection_all_trials"  # how the verdict over the trial ledger is shown beside that of the run
AUTOMATICALLY = "; approved automatically, by --auto-approve"
LADDER = ("staging", "canary", "production")


@dataclass(frozen=True)
class Outcome:
    """What became of a release, as the terminal, the Prefect page and the exit code need it."""

    release_id: str
    reached: str
    promoted: bool
    sentence: str
    gates: list[dict[str, Any]]
    registries: list[dict[str, Any]]
    figures: dict[str, str]
    report: Path
    ledger: Path
    waits_for: str = ""  # in canary, what comes before production: PERSON or CANARY
    warnings: tuple[str, ...] = ()  # what a person must not overlook: waivers, deleted runs of trials


def open_registry(state: Path, clock: Clock, **options: Any) -> Registry:
    """Return the registries below ``state``: MLflow's database, bundles, ledger. ``options`` are those of Registry."""
    stores = backends(state, os.environ)
    return Registry(
        stores.tracking_uri,
        state / "artifacts",
        state / "ledger.jsonl",
        clock,
        load_environments(PROJECT / "configs"),
        artifacts_uri=stores.artifacts_uri,
        **options,
    )


def promote(workspace: Workspace, state: Path, *, approver: str | None, clock: Clock) -> Outcome:
    """Register the packaged release in dev, then move it on until an environment refuses it or production has it.

    ``approver`` is who approves production, named before anybody has looked; None leaves the release in canary, where
    it waits for a person, or, beside a champion and on real data, to be walked through first.
    """
    registry = open_registry(state, clock)
    bundle = _sealed(workspace, state)
    gates = [GateResult.from_dict(gate) for gate in bundle.read_json("gates.json")]
    evidence = bundle.read_json("evidence.json")
    tags = {"simulated": str(evidence["data"]["simulated"]).lower(), **_commit()}
    tags |= {"profile": evidence["profile"]}
    tags |= {f"{name}_hash": value for name, value in evidence["lineage"].items()}
    outcome = registry.register(
        bundle.folder,
        author=author_of_checkout() or ACTOR,
        actor=ACTOR,
        tags=tags,
        metrics=_metrics(evidence),
        params=_flat(bundle.read_json("params.json")),
        curves=_released_curves(workspace, evidence["fold"]),
    )
    trials = open_trials(state, clock)
    record_evidence(workspace, trials)  # a run that came out of DVC's cache was evaluated elsewhere
    track(trials, registry, clock)
    reached, changed = "dev", outcome.changed
    refused: tuple[str, ...] = ()
    waits_for = ""
    measure: dict[str, Callable[[], dict[str, Any]]] = {
        "staging": lambda: staging_evidence(bundle, trials, registry),
        "canary": lambda: {"decision_hash": _decision_hash(workspace, bundle)},
        "production": lambda: (
            beside_champion(workspace, registry) | production_evidence(registry, state, bundle.release_id)
        ),
    }
    for name in LADDER:
        standing = standing_in(registry, name)
        sealed = (standing["release_id"], standing["public_key"])
        if sealed == (bundle.release_id, bundle.public_key) and standing["state"] == "ok":
            reached = name
            continue
        rollback = _rolled_back(registry, name, bundle.release_id)
        if rollback:
            refused = (rollback,)
            break
        if name == "production" and approver is None:
            walks = not evidence["data"]["simulated"] and standing["version"] is not None
            waits_for = CANARY if walks else PERSON
            break
        outcome = registry.promote(
            name,
            str(standing_in(registry, reached)["version"]),
            actor=ACTOR,
            reason=f"all conditions of entry were met{AUTOMATICALLY if name == 'production' else ''}",
            evidence=measure[name](),
            approver=approver if name == "production" else None,
        )
        if not outcome.accepted:
            refused = outcome.reasons
            break
        reached, changed = name, True
    if reached == "production":
        registry.load_champion("production")  # a bundle that was touched since it was let in is not said to stand
    required = load_environments(PROJECT / "configs")["staging"].gates_required
    selection = _selection_at_staging(registry, bundle.release_id)
    waivers, judged = registry.waivers(bundle.release_id), [*gates, *selection]
    entered = made_moves(registry.ledger.read(), "dev")
    author = next(move.author for move in entered if move.release_id == bundle.release_id)
    let_pass = [one for one in judged if not one.passed and waived(one.to_dict(), waivers, author=author, now=clock())]
    ruling = verdict(judged, required, let_pass)
    shown = [*gates, *(replace(one, name=ALL_TRIALS) for one in selection)]
    report = state / "reports" / f"{bundle.release_id}.html"
    if changed or refused or not report.exists():
        _report(report, workspace, registry, bundle, reached, ruling, shown, clock)
        for path in (report, *write_episodes(workspace, report.parent, f"{bundle.release_id}_")):
            registry.attach(bundle.release_id, path)
    return Outcome(
        release_id=bundle.release_id,
        reached=reached,
        promoted=reached == "production",
        sentence=_sentence(bundle.release_id, reached, refused, waits_for, ruling, evidence),
        gates=[{"name": gate.name, "passed": gate.passed, "reason": gate.reason} for gate in shown],
        registries=[registry_row(row) for row in registry.status()],
        figures=_figures(evidence, gates),
        report=report.resolve(),
        ledger=(state / "ledger.jsonl").resolve(),
        waits_for=waits_for,
        warnings=(*(f"WAIVED: {one.sentence(clock())}" for one in waivers), *lost_runs(trials, registry)),
    )


def _selection_at_staging(registry: Registry, release_id: str) -> list[GateResult]:
    """Return the verdict over all trials with which the release last stood before staging; empty where it never did."""
    shown = registry.shown_before("staging", release_id)
    return [GateResult.from_dict(shown["selection"])] if "selection" in shown else []


def _sealed(workspace: Workspace, state: Path) -> Bundle:
    """Return the package with its bill of materials, sealed in a copy: what DVC tracks stays as DVC knows it."""
    folder = state / "sealed"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(workspace.package, folder)
    write_json_atomic(folder / BILL_OF_MATERIALS, bill_of_materials(PROJECT / "requirements.lock"))
    return seal(folder, signing_key(state, os.environ))


def _rolled_back(registry: Registry, environment: str, release_id: str) -> str:
    """Return why a release that people took out of ``environment`` is not put back by a run; "" where none did."""
    moves = moves_into(registry.ledger.read(), environment)
    was_champion = any(move.subject["release_id"] == release_id for move in moves)
    if not was_champion or moves[-1].kind != "rollback":
        return ""
    last = moves[-1]
    return (
        f"{last.actor} rolled {environment} back to version {last.subject['version']} at {last.time} ({last.reason}); "
        f"put it back by hand with `grandmodel promote --to {environment}`"
    )


def standing_in(registry: Registry, environment: str) -> dict[str, Any]:
    """Return what stands in one environment, as ``Registry.status`` tells it."""
    return next(row for row in registry.status() if row["environment"] == environment)


def beside_champion(workspace: Workspace, registry: Registry) -> dict[str, Any]:
    """Return how the release compares with what stands in production now."""
    version = standing_in(registry, "production")["version"]
    # Not ``load_champion``: an expired champion must not keep out what would replace it.
    return champion_evidence(workspace, None if version is None else registry.bundle_of("production", version).folder)


def _decision_hash(workspace: Workspace, bundle: Bundle) -> str:
    """Replay the packaged weights over the last test span and return the hash of their decisions."""
    params = workspace.params
    dataset = Dataset.load(workspace.features / "bars")
    fold = load_fold(fold_folders(workspace.features)[-1], dataset, params.market)
    release = Release.load(bundle.folder, params.training)
    return decisions_of([decision_hash(release.decide(test, params.market)) for test in fold.tests])


def _report(
    path: Path,
    workspace: Workspace,
    registry: Registry,
    bundle: Bundle,
    reached: str,
    ruling: Verdict,
    gates: list[GateResult],
    clock: Clock,
) -> None:
    evidence = bundle.read_json("evidence.json")
    moves = [
        {**entry.subject, "actor": entry.actor, "time": entry.time, "hash": entry.hash}
        for entry in registry.ledger.read()
        if entry.kind in ("registration", "promotion", "rollback") and entry.subject["release_id"] == bundle.release_id
    ]
    for move in moves:
        if move.get("approver"):
            move["actor"] = f"{move['actor']}, approved by {move['approver']}"
    write_report(
        path,
        workspace,
        release_id=bundle.release_id,
        stage=reached,
        verdict=ruling,
        gates=gates,
        waivers=[(one.gate, one.sentence(clock())) for one in registry.waivers(bundle.release_id)],
        moves=moves,
        environments=load_environments(PROJECT / "configs"),
        created=iso(clock()),
        lineage={
            **evidence["lineage"],
            **_commit(),
            "decisions": evidence["decision_hash"],
            "manifest": bundle.manifest_sha256,
            "signed": bundle.key_name,
        },
        reproduce=(
            _command(workspace, evidence),
            "grandmodel status",
            "grandmodel ledger verify",
        ),
    )


def _command(workspace: Workspace, evidence: Mapping[str, Any]) -> str:
    if workspace.folder == PROJECT / "artifacts":
        return "make run"
    profile = "" if evidence["profile"] == "full" else f" --profile {evidence['profile']}"
    symbols = "".join(f" --symbol {one}" for one in evidence["data"]["instruments"])
    return f"grandmodel run{profile} --data PATH{symbols}"


def _sentence(
    release_id: str,
    reached: str,
    refused: tuple[str, ...],
    waits_for: str,
    ruling: Verdict,
    evidence: Mapping[str, Any],
) -> str:
    kind = "strategic-only release" if evidence["strategic_only"] else "release"
    kind = kind if evidence["profile"] == "full" else f"{evidence['profile']}-profile {kind}"
    market = "simulated data" if evidence["data"]["simulated"] else "real data"
    if reached == "production":
        return f"The {kind} {release_id} ({market}) stands in production. {ruling.sentence}"
    waits = f"Refused: {'; '.join(refused)}." if refused else f"It waits for {waits_for}."
    others = "; ".join(one for one in refused if not one.startswith("gate "))
    besides = f" Besides: {others}." if others else ""
    why = waits if ruling.passed else f"{ruling.sentence}{besides}"
    return f"The {kind} {release_id} ({market}) stays in {reached}. {why}"


def registry_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of ``Registry.status`` as terminal and pages show it."""
    aliases = ", ".join(f"{alias} -> {version}" for alias, version in sorted(row["aliases"].items()))
    return {
        "registry": f"{row['environment']}.grandmodel",
        "version": row["version"] or "-",
        "release_id": row["release_id"] or "-",
        "alias": aliases or "-",
    }


def _figures(evidence: Mapping[str, Any], gates: list[GateResult]) -> dict[str, str]:
    """Return one figure per stage for the terminal."""
    metrics, by_name = evidence["metrics"], {gate.name: gate for gate in gates}
    worst = by_name["g6_risk"].statistic
    share = metrics["oracle_share_captured"]
    sharpe = metrics["annual_sharpe"]
    oracle = "" if share is None else f", {share:.0%} of the simulator's oracle"
    return {
        "ingest": f"{', '.join(evidence['data']['instruments'])}",
        "validate": f"{by_name['g0_data'].n} critical expectations",
        "evaluate": f"{metrics['annual_return_frac']:+.1%} a year after costs over {metrics['days']} days, "
        f"Sharpe {'undefined' if sharpe is None else f'{sharpe:.1f}'}{oracle}",
        "stress": "not judged" if worst is None else f"worst loss {worst:.1%} of equity",
    }


def _metrics(evidence: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in evidence["metrics"].items() if value is not None}


def _released_curves(workspace: Workspace, fold: str) -> dict[str, list[tuple[int, float]]]:
    """Return the learning curves of the released training as (frames, value) by team and name."""
    curves: dict[str, list[tuple[int, float]]] = defaultdict(list)
    with (workspace.train / "curves.csv").open() as stream:
        for row in csv.DictReader(stream):
            fold_of, seed, team, frames = (row.pop(name) for name in ("fold", "seed", "team", "frames"))
            if (fold_of, f"seed_{seed}") == (fold, RELEASED_SEED):
                for name, value in row.items():
                    curves[f"{team}/{name}"].append((round(float(frames)), float(value)))
    return dict(curves)


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, object]:
    flat: dict[str, object] = {}
    for key, value in content.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat


def _commit() -> dict[str, str]:
    commit = commit_of_checkout("dvc.lock")  # which the run itself has just written
    return {"commit": commit} if commit else {}
