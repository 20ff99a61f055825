"""Train anew when the stream of bars has drifted away from those a release was trained on, and only on new bars."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.client.schemas import State
from prefect.states import Completed
from rich.console import Console
from rich.markup import escape

from flows.commands import run_stage_module
from flows.lateness import too_late
from flows.moves import show_picture
from flows.release import release
from grandmodel.data.validation.drift import PSI_BLOCKING
from grandmodel.gates.figures import drift_png
from pipelines.promote import Outcome
from pipelines.workspace import PROJECT, STATE_VARIABLE, state_folder

INCOMING = "incoming"
console = Console()


@task(task_run_name="drift")
def measure(batch: Path, against: Path) -> dict[str, Any]:
    """Compare the bars and return the result of the stage."""
    target = PROJECT / "runs" / f"drift-{batch.stem}" / "drift.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    run_stage_module("drift", "--batch", str(batch.resolve()), "--against", str(against.resolve()), "--to", str(target))
    result: dict[str, Any] = json.loads(target.read_text())
    return result


@task(task_run_name="artifacts")
def publish(found: dict[str, Any], sentence: str) -> None:
    """Attach sentence, measures and pages to the page of the run."""
    create_markdown_artifact(f"# {sentence}", key="drift", description="Whether the market has changed")
    create_table_artifact(found["measures"], key="drift-measures", description="PSI and D of each measure")
    create_link_artifact(Path(found["pages"]).as_uri(), link_text="Data Docs", key="drift-pages")
    show_picture(drift_png(found["measures"], PSI_BLOCKING), key="drift-picture", description="How far each strayed")


@flow(name="retrain_on_drift", timeout_seconds=8 * 3600)
def retrain_on_drift(batch: str = INCOMING, against: str = "data", state: str | None = None) -> State[Any]:
    """Release anew on ``batch`` if it drifted from ``against`` and no release was trained on it yet.

    Args:
        batch: folder or file of bars below the checkout, or anywhere; nothing happens while it is not there.
        against: the bars that the present release was trained on.
        state: folder of registries and ledger; None means that of GRANDMODEL_STATE, else ``state/``.
    """
    # The stage looks into the trial ledger beside the registries.
    os.environ[STATE_VARIABLE] = str((Path(state) if state else state_folder()).resolve())
    if late := too_late():
        return skipped(late)
    source = PROJECT / batch
    if not source.exists():
        return skipped(f"Skipped: no bars came in; {source} is not there.")
    found = measure(source, PROJECT / against)
    sentence, wanted = decided(found)
    publish(found, sentence)
    console.print(escape(sentence), soft_wrap=True)
    if not wanted:
        return skipped(sentence)
    outcome = release(data=str(source), state=state)
    assert isinstance(outcome, Outcome)  # a flow within a flow is never late
    return Completed(message=f"{sentence} {outcome.sentence}")


def decided(found: dict[str, Any]) -> tuple[str, bool]:
    """Return the decision in one sentence, and whether to train."""
    kind = "simulated bars" if found["simulated"] else "bars"
    subject = f"The {kind} {found['batch']} (hash {found['raw_hash'][:12]})"
    failed = [check["name"] for check in found["checks"] if not check["passed"]]
    if not found["drifted"]:
        return f"{subject} have not drifted from {found['reference']}: nothing is trained.", False
    drifted = f"{subject} have drifted from {found['reference']} ({', '.join(failed)})"
    if found["trained"]:
        return f"{drifted}, but a release was trained on them already: one hash is trained once.", False
    return f"{drifted}: a release is trained.", True


def skipped(sentence: str) -> State[Any]:
    """Return the final state of a run that rightly did nothing."""
    return Completed(name="Skipped", message=sentence)
