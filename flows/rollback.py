"""Rollback of a registry to an earlier champion, from the Prefect UI; by hand ``grandmodel rollback`` does the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from prefect import flow, task
from prefect.transactions import get_transaction, transaction
from rich.console import Console
from rich.markup import escape

from flows.moves import RETRIES, RETRY_SECONDS, one_at_a_time, prove, publish, put_back, worth_repeating
from flows.promote import told
from grandmodel.core.clock import system_clock
from grandmodel.registry.moves import Outcome
from pipelines.promote import open_registry, standing_in
from pipelines.workspace import state_folder

console = Console()


@task(
    task_run_name="roll {environment} back",
    retries=RETRIES,
    retry_delay_seconds=RETRY_SECONDS,
    retry_condition_fn=worth_repeating,
)
def move_back(
    state: Path, environment: str, champion: str | None, to_version: str | None, actor: str, reason: str
) -> Outcome:
    """Make an earlier champion the champion again."""
    get_transaction().set(  # type: ignore[union-attr]  # a task always runs in one
        "move", {"state": state, "environment": environment, "champion": champion, "actor": actor}
    )
    return open_registry(state, system_clock).rollback(environment, to_version, actor=actor, reason=reason)


move_back.on_rollback(put_back)


@task(task_run_name="target")
def find_target(state: Path, environment: str, to_version: str | None) -> tuple[str | None, str | None]:
    """Return the champion before the move, and the version to return to: a retried move must not go one further."""
    registry = open_registry(state, system_clock)
    registry.reconcile()
    standing = standing_in(registry, environment)
    return standing["version"], to_version or standing["aliases"].get("previous")


@flow(name="rollback", timeout_seconds=600)
def rollback(
    environment: Literal["dev", "staging", "canary", "production"] = "production",
    to_version: str | None = None,
    actor: str = "rollback-flow",
    reason: str = "rolled back from the page of deployments",
    state: str | None = None,
) -> dict[str, Any]:
    """Put the champion before the present one back, or ``to_version``.

    Args:
        environment: registry.
        to_version: version that once was champion there; None means the one before the present champion.
        actor: who asks; shown in the ledger.
        reason: why; shown in the ledger.
        state: folder of registries and ledger; None means that of GRANDMODEL_STATE, else ``state/``.
    """
    folder = Path(state) if state else state_folder()
    with one_at_a_time(environment), transaction():
        champion, target = find_target(folder, environment, to_version)
        outcome = move_back(folder, environment, champion, target, actor, reason)
        prove(folder, environment, outcome.version)
    sentence = told(outcome)
    publish(folder, outcome, sentence)
    console.print(escape(sentence), soft_wrap=True)
    return {"changed": outcome.changed, "sentence": sentence}
