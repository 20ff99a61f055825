"""The canary: judge every day on record, replay the shadow on the bars that came in, and take it back on a breach."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.client.schemas import State
from prefect.runtime import deployment
from prefect.states import Completed
from rich.console import Console
from rich.markup import escape

from flows.commands import run_stage_module
from flows.lateness import too_late
from flows.moves import RETRIES, RETRY_SECONDS, one_at_a_time, show_picture, worth_repeating
from flows.promote import ask_for_approval
from flows.retrain import INCOMING, skipped
from grandmodel.core.clock import system_clock
from grandmodel.gates.canary import Course
from grandmodel.gates.canary_ledger import plan_of
from grandmodel.gates.canary_record import walk_on
from grandmodel.gates.figures import alarms_png
from grandmodel.gates.g8_canary import sharpe_sentence
from grandmodel.registry.trials import open_trials
from pipelines.canary_watch import (
    Canary,
    begin_record,
    bundles_of,
    is_simulated,
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
    """Return the canary that stands."""
    return standing_canary(open_registry(state, system_clock))


@task(task_run_name="shadow of {canary.pair.release_id}")
def replay_shadow(canary: Canary, batch: Path, state: Path) -> int:
    """Let both releases decide on the bars that came in since; return how many days that added to the record."""
    registry = open_registry(state, system_clock)
    challenger, champion = bundles_of(registry, canary.pair)
    plan = begin_record(registry, canary.pair, challenger, open_trials(state, system_clock))
    replayed = PROJECT / "runs" / f"canary-{'-'.join(canary.pair)}"
    since = datetime.fromisoformat(canary.since).replace(tzinfo=None).isoformat()
    folders = ("--champion", str(champion), "--challenger", str(challenger), "--out", str(replayed))
    run_stage_module("canary", "--data", str(batch), "--since", since, *folders)
    simulated = is_simulated(challenger)
    found, now = replayed / "days.json", system_clock()
    return take_in_shadow(registry, state, canary.pair, plan, found, simulated=simulated, now=now)


@task(task_run_name="judge", retries=RETRIES, retry_delay_seconds=RETRY_SECONDS, retry_condition_fn=worth_repeating)
def judge(canary: Canary, state: Path, *, until_now: bool) -> Course | None:
    """Write the steps that the record gives into the ledger, and roll the canary back on a breach.

    With ``until_now`` sessions that closed without a day count as not known. None where the canary has not begun.
    """
    registry = open_registry(state, system_clock)
    if plan_of(registry.ledger, canary.pair) is None:
        return None
    with one_at_a_time("canary"):
        return walk_on(registry, state, canary.pair, now=system_clock() if until_now else None).course


@task(task_run_name="artifacts")
def publish(canary: Canary, course: Course, sentence: str, state: Path) -> None:
    """Attach decision, sequences, their course as a picture, and the record to the page of the run."""
    create_markdown_artifact(f"# {sentence}\n\n{sharpe_sentence()}", key="canary", description="Where the canary is")
    create_table_artifact(rows_of(course), key="canary-sequences", description="How much of each bound is used")
    show_picture(alarms_png(course.alarms), key="canary-course", description="Day by day")
    days = canary.pair.days_file(state).resolve().as_uri()
    create_link_artifact(days, link_text="Days on record", key="canary-days")


@flow(name="canary", timeout_seconds=3600)
def canary(batch: str = INCOMING, state: str | None = None) -> State[Any]:
    """Judge the canary by the days on record, before and after the shadow has walked on with the bars that came in.

    Once it is walked through, a deployed run has a person asked.

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
    source, added = PROJECT / batch, 0
    course = judge(standing, folder, until_now=False)
    if course is None and not source.exists():
        return skipped(f"Skipped: canary {standing.pair.release_id} has no day yet, and {source} is not there.")
    if course is None or course.status == "running":
        try:
            added = replay_shadow(standing, source, folder) if source.exists() else 0
        finally:  # what the shadow could not tell is not known, and must not keep a share in place
            course = judge(standing, folder, until_now=True)
    assert course is not None, "a canary whose shadow was replayed has begun"
    if course.status == "completed" and deployment.id is not None:
        ask_for_approval(standing.pair.release_id, folder)
    sentence = sentence_of(standing, course, added)
    publish(standing, course, sentence, folder)
    console.print(escape(sentence), soft_wrap=True)
    return Completed(message=sentence)
