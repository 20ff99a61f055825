"""The canary: replay the shadow on the bars that came in, judge every day on record, and take it back on a breach."""

from __future__ import annotations

import base64
import os
from datetime import datetime
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.client.schemas import State
from prefect.states import Completed
from rich.console import Console
from rich.markup import escape

from flows.commands import run_stage_module
from flows.lateness import too_late
from flows.moves import RETRIES, RETRY_SECONDS, one_at_a_time, worth_repeating
from flows.retrain import INCOMING, skipped
from grandmodel.core.clock import system_clock
from grandmodel.gates.canary import Course
from grandmodel.gates.canary_record import DAYS, walk_on
from grandmodel.gates.figures import alarms_png
from grandmodel.gates.g8_canary import sharpe_sentence
from grandmodel.registry.trials import open_trials
from pipelines.canary_watch import (
    Canary,
    begin_record,
    rows_of,
    sentence_of,
    standing_canary,
    take_in_shadow,
)
from pipelines.promote import open_registry
from pipelines.workspace import PROJECT, STATE_VARIABLE, state_folder

console = Console()


@task(task_run_name="look", retries=RETRIES, retry_delay_seconds=RETRY_SECONDS, retry_condition_fn=worth_repeating)
def look(state: Path) -> Canary | None:
    """Return the canary that stands, after verifying both bundles."""
    return standing_canary(open_registry(state, system_clock), state)


@task(task_run_name="shadow of {canary.release_id}")
def replay_shadow(canary: Canary, batch: Path, state: Path) -> int:
    """Let both releases decide on the bars that came in since; return how many days that added to the record."""
    plan = begin_record(canary, open_trials(state, system_clock))
    replayed = PROJECT / "runs" / f"canary-{canary.record.name}"
    since = datetime.fromisoformat(canary.since).replace(tzinfo=None).isoformat()
    folders = ("--champion", str(canary.champion), "--challenger", str(canary.challenger), "--out", str(replayed))
    run_stage_module("canary", "--data", str(batch), "--since", since, *folders)
    return take_in_shadow(canary, plan, replayed / "days.json")


@task(task_run_name="judge", retries=RETRIES, retry_delay_seconds=RETRY_SECONDS, retry_condition_fn=worth_repeating)
def judge(canary: Canary, state: Path) -> Course:
    """Write the steps that the record gives into the ledger, and roll the canary back on a breach."""
    registry = open_registry(state, system_clock)
    ids = {"release_id": canary.release_id, "champion_id": canary.champion_id}
    return walk_on(registry, canary.record, **ids)[0]


@task(task_run_name="artifacts")
def publish(canary: Canary, course: Course, sentence: str) -> None:
    """Attach decision, sequences, their course as a picture, and the record to the page of the run."""
    create_markdown_artifact(f"# {sentence}\n\n{sharpe_sentence()}", key="canary", description="Where the canary is")
    create_table_artifact(rows_of(course), key="canary-sequences", description="How much of each bound is used")
    picture = base64.b64encode(alarms_png(course.alarms)).decode()
    create_image_artifact(f"data:image/png;base64,{picture}", key="canary-course", description="Day by day")
    create_link_artifact((canary.record / DAYS).resolve().as_uri(), link_text="Days on record", key="canary-days")


@flow(name="canary", timeout_seconds=3600)
def canary(batch: str = INCOMING, state: str | None = None) -> State[Any]:
    """Judge the canary by the days on record, after the shadow has walked on with the bars that came in.

    Args:
        batch: folder or file of bars below the checkout, or anywhere; without it the record is judged as it stands.
        state: folder of registries and ledger; None means that of GRANDMODEL_STATE, else ``state/``.
    """
    folder = (Path(state) if state else state_folder()).resolve()
    os.environ[STATE_VARIABLE] = str(folder)
    if late := too_late():
        return skipped(late)
    standing = look(folder)
    if standing is None:
        return skipped("Skipped: no release stands in canary beside another one in production.")
    source = PROJECT / batch
    if not source.exists() and not (standing.record / DAYS).exists():
        return skipped(f"Skipped: canary {standing.release_id} has no day yet, and {source} is not there.")
    added = replay_shadow(standing, source, folder) if source.exists() else 0
    with one_at_a_time("canary"):
        course = judge(standing, folder)
    sentence = sentence_of(standing, course, added)
    publish(standing, course, sentence)
    console.print(escape(sentence), soft_wrap=True)
    return Completed(message=sentence)
