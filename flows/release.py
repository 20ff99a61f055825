"""The release flow: raw bars in, a gated release in four registries, or a refusal with its figures.

All doors run the same stage modules as child processes: the project's own data through DVC, which skips what has not
changed; data of the user's, and a quick look at any data, through plain calls into a folder of their own below
``runs/``, which carries their parameters.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any, get_args

from prefect import flow, task
from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from prefect.client.schemas import State
from prefect.runtime import deployment
from prefect.states import Completed
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from flows.commands import StageFailed, dvc, one_run_at_a_time, repro, run_stage_module
from flows.guard import clear_up_behind_me
from flows.lateness import too_late
from flows.moves import RETRIES, RETRY_SECONDS, one_at_a_time, show_episode, worth_repeating
from flows.promote import ask_for_approval
from grandmodel.core.clock import system_clock
from grandmodel.core.config import Profile
from grandmodel.core.errors import GrandModelError
from grandmodel.core.hashing import hash_json
from grandmodel.registry.conditions import ENVIRONMENTS
from pipelines.promote import PERSON, Outcome, promote
from pipelines.workspace import (
    PROJECT,
    STAGES,
    STATE_VARIABLE,
    open_workspace,
    profile_params,
    state_folder,
    write_params,
)

HOURS_MAX = 8.0
console = Console()


@task(task_run_name="fetch data", retries=RETRIES, retry_delay_seconds=RETRY_SECONDS)
def fetch_tracked_data() -> None:
    """Fetch the tracked bars when they are absent."""
    if not (PROJECT / "data").exists():
        dvc("pull", "data.dvc")


@task(task_run_name="data")
def check_tracked_data() -> None:
    """Refuse bars that differ from what ``data.dvc`` names."""
    changes = json.loads(dvc("data", "status", "--json")).get("uncommitted", {})
    own = {kind: names for kind, paths in changes.items() if (names := [p for p in paths if p.split("/")[0] == "data"])}
    if own:
        raise StageFailed(
            f"data/: the bars must be those that data.dvc names; found changes {own}. "
            "Run `dvc checkout --force data.dvc` to restore them, or `grandmodel run --data PATH` for other data"
        )


@task(task_run_name="{stage}")
def run_stage(stage: str, arguments: tuple[str, ...] | None) -> None:
    """Run one stage, through DVC when ``arguments`` is None."""
    if arguments is None:
        repro(stage)
    else:
        run_stage_module(stage, *arguments)


@task(task_run_name="promote", retries=RETRIES, retry_delay_seconds=RETRY_SECONDS, retry_condition_fn=worth_repeating)
def promote_release(folder: Path, state: Path, approver: str | None) -> Outcome:
    """Move the packaged release as far as its evidence lets it."""
    with one_at_a_time(*ENVIRONMENTS):
        return promote(open_workspace(folder), state, approver=approver, clock=system_clock)


@task(task_run_name="artifacts")
def publish(outcome: Outcome) -> None:
    """Attach verdict, gates and the report to the run's page in the Prefect UI."""
    create_markdown_artifact(f"# {outcome.sentence}", key="verdict", description="The decision of this run")
    create_table_artifact(outcome.gates, key="gates", description="Gate verdicts")
    create_link_artifact(outcome.report.as_uri(), link_text="Release report", key="report")
    show_episode(outcome.report)


@flow(name="release", timeout_seconds=HOURS_MAX * 3600)
def release(
    data: str | None = None,
    symbols: list[str] | None = None,
    timezone: str = "auto",
    date_order: str = "auto",
    approver: str | None = None,
    state: str | None = None,
    profile: Profile = "full",
    dask: str | None = None,
) -> Outcome | State[Any]:
    """Run all stages on the tracked data, or on ``data``, and promote what passes.

    Args:
        data: folder or file of raw bars; None means the project's own tracked data, through DVC.
        symbols: instruments to use; None means all, or the core set of a large folder.
        timezone: IANA zone of naive stamps, or "auto" to infer it by evidence.
        date_order: "auto", "day-first" or "month-first".
        approver: name in which production is approved although nobody looked, as the ledger says; None means that the
            release waits in canary, and a deployed run has a person asked.
        state: folder of registry, artefacts and ledger; None means that of GRANDMODEL_STATE, else ``state/``.
        profile: "quick" for a look with the parameters of ``params.quick.yaml``, which stays in dev.
        dask: address of the scheduler of a Dask cluster that trains; None means this machine.
    """
    if late := too_late():
        return Completed(name="Skipped", message=late)
    # Stages hear of it through their environment, so that the trials they record stand beside the registries.
    kept = (Path(state) if state else state_folder()).resolve()
    os.environ[STATE_VARIABLE] = str(kept)
    if dask:
        from flows.cluster import refuse_unreachable  # nothing of Dask loads without an address

        refuse_unreachable(dask)
    with one_run_at_a_time():
        if data is None:
            fetch_tracked_data()
            check_tracked_data()
        if data is None and profile == "full":
            folder, seconds = PROJECT / "artifacts", _run_tracked(dask)
        else:
            source = Path(data) if data else PROJECT / "data"
            folder = run_folder(source, symbols, timezone, date_order, profile)
            write_params(folder, profile_params(profile))
            seconds = _run_apart(folder, source, symbols, timezone, date_order, dask)
        outcome = promote_release(folder, kept, approver)
        publish(outcome)
        if outcome.waits_for == PERSON and deployment.id is not None:
            ask_for_approval(outcome.release_id, kept, folder)
        _print_summary(outcome, seconds)
        return outcome


def _run_tracked(dask: str | None) -> dict[str, float]:
    """Bring ``artifacts/`` up to date through DVC; return the seconds of each stage, 0 where nothing had changed."""
    stale, folder = _stale_stages(), PROJECT / "artifacts"
    return {stage: _shown(stage, folder, None, dask) if stage in stale else 0.0 for stage in STAGES}


def _run_apart(
    folder: Path, data: Path, symbols: list[str] | None, timezone: str, date_order: str, dask: str | None
) -> dict[str, float]:
    """Run every stage into ``folder``; return the seconds of each."""
    chosen = [option for symbol in symbols or [] for option in ("--symbol", symbol)]
    source = ["--data", str(data.resolve()), "--timezone", timezone, "--date-order", date_order, *chosen]
    return {
        stage: _shown(stage, folder, ("--workspace", str(folder), *(source if stage == "ingest" else ())), dask)
        for stage in STAGES
    }


def _shown(stage: str, folder: Path, arguments: tuple[str, ...] | None, dask: str | None) -> float:
    """Run one stage with its name on the terminal, training on the cluster where there is one; return the seconds."""
    console.print(f"[bold]{stage}[/bold]")
    began = time.monotonic()
    if stage == "train" and dask:
        from flows.cluster import train_on

        train_on(dask, open_workspace(folder))
    run_stage(stage, arguments)
    return time.monotonic() - began


def _stale_stages() -> set[str]:
    """Return the stages that DVC would run: those whose inputs changed, and all that follow them."""
    stale = set(json.loads(dvc("status", "--json")))
    first = min((STAGES.index(stage) for stage in STAGES if stage in stale), default=len(STAGES))
    return set(STAGES[first:])


def run_folder(data: Path, symbols: list[str] | None, timezone: str, date_order: str, profile: Profile) -> Path:
    """Return the folder of runs over ``data`` with these choices of how to read it. Raises StageFailed without data."""
    if not data.exists():
        raise StageFailed(f"{data}: the data must exist. Give a folder or a file of bars")
    choices = [str(data.resolve()), symbols, timezone, date_order]
    name = f"{data.resolve().stem}-{hash_json(choices)[:8]}"
    return PROJECT / "runs" / (name if profile == "full" else f"{name}-{profile}")


def _print_summary(outcome: Outcome, seconds: dict[str, float]) -> None:
    stages = Table(title="Stages", title_justify="left")
    stages.add_column("stage")
    stages.add_column("seconds", justify="right")
    stages.add_column("figure")
    for stage, taken in seconds.items():
        stages.add_row(stage, f"{taken:.1f}" if taken else "unchanged", outcome.figures.get(stage, ""))
    console.print(stages)
    gates = Table(title="Gates", title_justify="left")
    for column in ("gate", "verdict", "why"):
        gates.add_column(column)
    for row in outcome.gates:
        verdict = "[green]pass[/green]" if row["passed"] else "[red]refuse[/red]"
        gates.add_row(str(row["name"]), verdict, escape(str(row["reason"])))
    console.print(gates)
    registries = Table(title="Registries", title_justify="left")
    for column in ("registry", "version", "release", "alias"):
        registries.add_column(column)
    for row in outcome.registries:
        registries.add_row(*(str(row[key]) for key in ("registry", "version", "release_id", "alias")))
    console.print(registries)
    for warning in outcome.warnings:
        console.print(f"[bold red]{escape(warning)}[/bold red]", soft_wrap=True)
    colour = "green" if outcome.promoted else "yellow"
    console.print(f"[bold {colour}]{escape(outcome.sentence)}[/bold {colour}]")
    console.print(f"report  {outcome.report}", soft_wrap=True)
    console.print(f"ledger  {outcome.ledger}", soft_wrap=True)


def main() -> int:
    """Run the flow from the command line; return the exit code: 0 for a decision, 1 for an operating error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data")
    parser.add_argument("--symbol", action="append", dest="symbols")
    parser.add_argument("--timezone", default="auto")
    parser.add_argument("--date-order", default="auto", choices=("auto", "day-first", "month-first"))
    parser.add_argument("--profile", default="full", choices=get_args(Profile))
    parser.add_argument("--dask", metavar="ADDRESS", default=os.environ.get("GRANDMODEL_DASK") or None)
    parser.add_argument("--auto-approve", metavar="NAME", default="auto-approver", dest="approver")
    parser.add_argument("--state", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    # An operating error is told below, in one sentence; the page of the run in the Prefect UI keeps its traceback.
    for name in ("prefect.flow_runs", "prefect.task_runs"):
        logging.getLogger(name).propagate = False
    try:
        release(**vars(arguments))
    except (StageFailed, GrandModelError) as error:
        console.print(f"[bold red]error:[/bold red] {escape(str(error))}", soft_wrap=True)
        return 1
    return 0


def stop_at_once(number: int, _: object) -> None:
    """End a run that a person interrupts: its guard ends stages and servers, and the next run goes on from here."""
    console.print("stopped; run again to go on where this run was")
    os._exit(128 + number)


if __name__ == "__main__":
    # Left to itself, Prefect asks a server that the same Ctrl-C has ended, for a minute.
    signal.signal(signal.SIGINT, stop_at_once)
    guard = clear_up_behind_me()  # held to the end: kill -9 leaves no server and no stage behind
    code = main()
    gc.disable()
    gc.freeze()
    sys.exit(code)
