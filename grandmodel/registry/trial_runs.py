"""The trials in MLflow: one run each, and a line in the trial ledger that says which.

MLflow is where people look; the ledger is what counts. A run that somebody deletes is missed by its line, and its trial
counts as before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from grandmodel.core.clock import Clock
from grandmodel.core.errors import LedgerError
from grandmodel.registry.ledger import GENESIS, Ledger
from grandmodel.registry.trials import TRACKED, Trial, read_trials, verify_trials

if TYPE_CHECKING:
    from grandmodel.registry.store import Registry

ACTOR = "trial-ledger"
HEAD_KEY = "trials_head"  # in the evidence of a move into staging: the hash of the last line that it rested on


@dataclass(frozen=True)
class TrialsReport:
    """What verification of the trial ledger saw."""

    trials: int
    tracked: int  # of them with a run in MLflow
    head: str  # hash of the last line


def track(trials: Ledger, registry: Registry, clock: Clock) -> int:
    """Make an MLflow run for each trial that has none, and write its line; return how many were made.

    A kill between run and line leaves a run that the next call finds by its tag.

    Raises:
        RegistryError: MLflow fails.
        LedgerError: the trial ledger does not verify.
    """
    with registry.ledger.locked(), trials.locked():
        done = tracked_runs(trials)
        missing = [trial for trial in read_trials(trials) if trial.id not in done]
        for trial in missing:
            run_id = registry.tracking.log_trial(
                trial.id,
                tags=_tags(trial),
                metrics={"days": float(trial.days)} | ({} if trial.sharpe is None else {"sharpe": trial.sharpe}),
                now_ms=int(clock().timestamp() * 1000),
            )
            trials.append(TRACKED, actor=ACTOR, reason="logged to MLflow", subject={"id": trial.id, "run_id": run_id})
    return len(missing)


def tracked_runs(trials: Ledger) -> dict[str, str]:
    """Return trial id -> MLflow run id of every trial that was tracked. Raises LedgerError."""
    return {entry.subject["id"]: entry.subject["run_id"] for entry in trials.read() if entry.kind == TRACKED}


def lost_runs(trials: Ledger, registry: Registry) -> list[str]:
    """Return one sentence for each tracked run that MLflow no longer shows, oldest first."""
    with registry.ledger.locked():
        shown = registry.tracking.trial_runs()
    return [
        f"MLflow no longer shows run {run_id} of trial {trial_id[:12]}; the trial counts all the same"
        for trial_id, run_id in tracked_runs(trials).items()
        if run_id not in shown
    ]


def verify_promised(trials: Ledger, registry: Registry) -> None:
    """Check the chain, and that no line is gone that a move into staging rested on. Raises LedgerError."""
    lines = {GENESIS, *(entry.hash for entry in trials.read())}
    for shown in registry.shown_for_moves():
        if shown.get(HEAD_KEY, GENESIS) not in lines:
            rule = "must hold every line that a move rested on; it was cut, or another was put in its place"
            raise LedgerError(str(trials.path), rule, shown[HEAD_KEY], "Restore the trial ledger from its copy")


def verify_all(trials: Ledger, registry: Registry | None) -> TrialsReport:
    """Check chain, files of returns, the lines that moves rested on, and that MLflow shows every tracked run.

    Args:
        trials: the trial ledger.
        registry: None where nothing was released yet; then there are no moves and no runs.

    Raises:
        LedgerError: naming the first fault.
        RegistryError: MLflow fails.
    """
    found = verify_trials(trials)
    if registry is not None:
        verify_promised(trials, registry)
        for lost in lost_runs(trials, registry):
            raise LedgerError(
                str(trials.path),
                lost,
                do="`mlflow runs restore --run-id` brings a deleted one back, with MLFLOW_TRACKING_URI of this state",
            )
    return TrialsReport(len(found), len(tracked_runs(trials)), head_of(trials))


def head_of(trials: Ledger) -> str:
    """Return the hash of the last line. Raises LedgerError."""
    return trials.verify().head


def _tags(trial: Trial) -> dict[str, str]:
    return {
        "data_hash": trial.data_hash,
        "bars_hash": trial.bars_hash,
        "symbols": " ".join(trial.symbols),
        "data": trial.data,
        "simulated": str(trial.simulated).lower(),
        "configuration": trial.configuration,
        "code": trial.code,
        "weights": trial.weights,
        "seed_number": str(trial.seed_number),
        "returns_sha256": trial.returns_sha256,
    }
