"""Promotion into production: the run waits, without a process, until a person has filled in the form on its page.

A run that waits survives worker and server: it is suspended, and a resumed run begins anew in another process, finds
its answer, and moves the release. By hand and at once: ``python -m flows.promote --auto-approve NAME``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.deployments import run_deployment
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from prefect.runtime import deployment
from prefect.transactions import get_transaction, transaction
from pydantic import Field
from rich.console import Console
from rich.markup import escape

from flows.commands import StageFailed
from flows.moves import RETRIES, RETRY_SECONDS, one_at_a_time, prove, publish, put_back, worth_repeating
from grandmodel.core.clock import system_clock
from grandmodel.core.errors import GrandModelError
from grandmodel.registry.moves import Outcome
from pipelines.approval import TARGET, Answer, Request, request_for, settle
from pipelines.promote import ACTOR as RELEASE_FLOW
from pipelines.promote import open_registry
from pipelines.workspace import PROJECT, open_workspace, state_folder

ACTOR = "promote-flow"
ANSWER_SECONDS = 7 * 24 * 3600  # after that the run fails, and nothing has moved
console = Console()


class Approval(RunInput):
    """The form that a person fills in."""

    approver: str = Field(
        description="Your name, as the ledger shall show it; the author may not approve", min_length=1
    )
    approve: bool = Field(False, description="Let the release into production")
    reason: str = Field(description="Why, or why not", min_length=1)


@task(task_run_name="request", retries=RETRIES, retry_delay_seconds=RETRY_SECONDS, retry_condition_fn=worth_repeating)
def look_up(state: Path, workspace: Path, version: str | None) -> Request:
    """Read what is asked for, and show it on the page of the run."""
    request = request_for(open_registry(state, system_clock), state, open_workspace(workspace), version, system_clock)
    create_markdown_artifact(described(request), key="request", description="What a person is asked to approve")
    create_table_artifact([*request.gates], key="request-gates", description="Gate verdicts of the release")
    return request


@task(
    task_run_name="move into production",
    retries=RETRIES,
    retry_delay_seconds=RETRY_SECONDS,
    retry_condition_fn=worth_repeating,
)
def move(state: Path, request: Request, answer: Answer, actor: str) -> Outcome:
    """Move the release as answered, or write down the refusal."""
    get_transaction().set(  # type: ignore[union-attr]  # a task always runs in one
        "move", {"state": state, "environment": TARGET, "champion": request.champion, "actor": actor}
    )
    return settle(open_registry(state, system_clock), request, answer, actor=actor)


move.on_rollback(put_back)


@task(task_run_name="ask for approval of {release_id}")
def ask_for_approval(release_id: str, state: Path, workspace: Path | None = None) -> None:
    """Have a person asked to let the champion of canary into production, once a release; a server must serve it.

    ``workspace`` is that of the run that made the release, where it is still there to compare with the champion.
    """
    parameters = {"asked_by": RELEASE_FLOW, "state": str(state.resolve())}
    if workspace is not None:
        parameters["workspace"] = str(workspace.resolve())
    run_deployment(
        "promote/approval",
        parameters=parameters,
        timeout=0,
        as_subflow=False,
        idempotency_key=f"approve-{release_id}",
    )


@flow(name="promote", timeout_seconds=3600)
def promote(
    version: str | None = None,
    asked_by: str = ACTOR,
    auto_approve: str | None = None,
    state: str | None = None,
    workspace: str | None = None,
) -> dict[str, Any]:
    """Ask a person to let a release into production, and move it if they do.

    Args:
        version: version in the canary registry; None means its champion.
        asked_by: who asks; shown in the ledger.
        auto_approve: name in which to approve at once, without a form; the ledger says that nobody looked.
        state: folder of registries and ledger; None means that of GRANDMODEL_STATE, else ``state/``.
        workspace: folder of the run that made the release; None means ``artifacts/``.
    """
    folder = Path(state) if state else state_folder()
    request = look_up(folder, Path(workspace) if workspace else PROJECT / "artifacts", version)
    answer = Answer(auto_approve, True, "", automatic=True) if auto_approve else ask(request)
    with one_at_a_time(TARGET), transaction():
        outcome = move(folder, request, answer, asked_by)
        if outcome.accepted:
            prove(folder, TARGET, outcome.version)
    sentence = told(outcome)
    publish(folder, outcome, sentence)
    console.print(escape(sentence), soft_wrap=True)
    return {"accepted": outcome.accepted, "sentence": sentence}


def ask(request: Request) -> Answer:
    """Suspend the run until its form is filled in, then return what it says.

    The form belongs to one release: should another have come to canary meanwhile, that one is asked for anew.
    """
    if deployment.id is None:
        do = "Run the deployment promote/approval under `grandmodel up`, or name --auto-approve NAME"
        raise StageFailed(f"promote: a form needs a server that keeps it. {do}")
    form = Approval.with_initial_data(description=described(request))
    given = suspend_flow_run(wait_for_input=form, key=f"approve-{request.release_id}", timeout=ANSWER_SECONDS)
    return Answer(given.approver, given.approve, given.reason)


def described(request: Request) -> str:
    """Return the request as the form and the page show it, in markdown."""
    market = "simulated data" if request.simulated else "real data"
    failed = [str(gate["name"]) for gate in request.gates if gate["passed"] is not True]
    gates = f"Not passed: {', '.join(failed)}." if failed else f"All {len(request.gates)} gates passed."
    against = request.evidence["against_champion"]
    compared = str(request.evidence["champion"] if against is None else against["reason"])
    canary = "not asked on simulated data." if request.simulated else request.evidence["canary"]["reason"]
    lines = [
        f"**Release {request.release_id}** ({market}), version {request.version} in canary, by {request.author}.",
        gates,
        f"Beside the champion of production: {compared}.",
        f"Canary: {canary}",
        *(f"WAIVED: {sentence}" for sentence in request.waivers),
    ]
    return "\n\n".join(lines)


def told(outcome: Outcome) -> str:
    """Return the outcome in one sentence."""
    if not outcome.accepted:
        return f"Release {outcome.release_id} is refused in {outcome.environment}: {'; '.join(outcome.reasons)}."
    verb = "is now" if outcome.changed else "already was"
    return f"Release {outcome.release_id} {verb} the champion of {outcome.environment}, version {outcome.version}."


def main() -> int:
    """Approve at once from the command line; return the exit code: 0 let in, 3 refused, 1 for an operating error."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--version")
    parser.add_argument("--auto-approve", metavar="NAME", required=True)
    parser.add_argument("--state")
    parser.add_argument("--workspace")
    try:
        result = promote(**vars(parser.parse_args()))
    except (StageFailed, GrandModelError) as error:
        Console(stderr=True).print(f"[bold red]error:[/bold red] {escape(str(error))}", soft_wrap=True)
        return 1
    return 0 if result["accepted"] else 3


if __name__ == "__main__":
    sys.exit(main())
