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
from grandmodel.registry.moves import Outcome, begun_rollback, last_move
from pipelines.promote import open_registry
from pipelines.workspace import state_folder

console = Console()


@task(
    task_run_name="roll {environment} back",
    retries=RETRIES,
    retry_delay_seconds=RETRY_SECONDS,
    retry_condition_fn=worth_repeating,
)
def move_back(
    state: Path,
    environment: str,
    champion: str | None,
    to_version: str | None,
    actor: str,
    reason: str,
    expect: str | None,
) -> Outcome:
    """Make an earlier champion the champion again."""
    get_transaction().set(  # type: ignore[union-attr]  # a task always runs in one
        "move", {"state": state, "environment": environment, "champion": champion, "actor": actor}
    )
    registry = open_registry(state, system_clock)
    return registry.rollback(environment, to_version, actor=actor, reason=reason, expect=expect)


move_back.on_rollback(put_back)


@task(task_run_name="champion")
def find_champion(state: Path, environment: str, actor: str, reason: str) -> str | None:
    """Return the champion before the move, after finishing what a kill left open, but for this rollback itself."""
    registry = open_registry(state, system_clock)
    if begun_rollback(registry.ledger.read(), environment, actor, reason) is None:
        registry.reconcile(environment)
    last = last_move(registry.ledger.read(), environment)
    return last.version if last else None


@flow(name="rollback", timeout_seconds=600)
def rollback(
    environment: Literal["dev", "staging", "canary", "production"] = "production",
    to_version: str | None = None,
    actor: str = "rollback-flow",
    reason: str = "rolled back from the page of deployments",
    state: str | None = None,
    expect: str | None = None,
) -> dict[str, Any]:
    """Put the champion before the present one back, or ``to_version``.

    Args:
        environment: registry.
        to_version: version that once was champion there; None means the one before the present champion.
        actor: who asks; shown in the ledger.
        reason: why; shown in the ledger.
        state: folder of registries and ledger; None means that of GRANDMODEL_STATE, else ``state/``.
        expect: version or release id of the champion that is to be left, so that a second run goes no further back;
            None means the champion that this run finds.
    """
    folder = Path(state) if state else state_folder()
    with one_at_a_time(environment), transaction():
        champion = find_champion(folder, environment, actor, reason)
        # Told which champion it leaves, a move that is tried again goes no further back.
        outcome = move_back(folder, environment, champion, to_version, actor, reason, expect or champion)
        prove(folder, environment, outcome.version)
    sentence = told(outcome)
    publish(folder, outcome, sentence)
    console.print(escape(sentence), soft_wrap=True)
    return {"changed": outcome.changed, "sentence": sentence}
