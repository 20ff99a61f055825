"""What flows share: one writer at a time, proof after a move, the old champion on a failure, pictures on the page."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from prefect import task
from prefect.artifacts import (
    create_image_artifact,
    create_link_artifact,
    create_markdown_artifact,
    create_table_artifact,
)
from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists
from prefect.transactions import Transaction

from grandmodel.core.clock import system_clock
from grandmodel.core.errors import ConfigError, LedgerError
from grandmodel.registry.moves import Outcome
from pipelines import approval
from pipelines.promote import open_registry, registry_row

WAIT_SECONDS = 600.0
RETRIES, RETRY_SECONDS = 2, [2.0, 10.0]  # a move is idempotent: what was begun is finished, what was done is left


@contextmanager
def one_at_a_time(*environments: str) -> Iterator[None]:
    """Hold the only slot of each environment on the Prefect server; the lock of the ledger guards what comes elsewise.

    Raises TimeoutError when another run holds one for ten minutes.
    """
    names = [f"registry-{environment}" for environment in environments]
    with get_client(sync_client=True) as client:
        for name in names:
            with suppress(ObjectAlreadyExists):  # another run has just made it
                client.upsert_global_concurrency_limit_by_name(name, 1)
    with concurrency(names, timeout_seconds=WAIT_SECONDS, strict=True):
        yield


def worth_repeating(_: object, __: object, state: Any) -> bool:
    """Return whether a failed task may succeed on another try: a store out of reach may come back, a rule may not."""
    return not isinstance(state.result(raise_on_failure=False), ConfigError | LedgerError)


@task(task_run_name="prove {environment}", retries=RETRIES, retry_delay_seconds=RETRY_SECONDS)
def prove(state: Path, environment: str, version: str | None) -> None:
    """Refuse unless the move led where it said, and the champion loads."""
    approval.prove(open_registry(state, system_clock), environment, version)


def put_back(transaction: Transaction) -> None:
    """Make the champion from before the transaction that of its environment again; hook of ``on_rollback``."""
    moved = transaction.get("move")
    registry = open_registry(moved["state"], system_clock)
    reason = "what had to follow the move failed"
    approval.put_back(registry, moved["environment"], moved["champion"], actor=moved["actor"], reason=reason)


@task(task_run_name="artifacts")
def publish(state: Path, outcome: Outcome, sentence: str) -> None:
    """Attach the decision, what stands in the registries, and a link to the report to the run's page."""
    rows = open_registry(state, system_clock).status()
    create_markdown_artifact(f"# {sentence}", key="move", description="The decision of this run")
    create_table_artifact([registry_row(row) for row in rows], key="registries", description="What stands where now")
    report = (state / "reports" / f"{outcome.release_id}.html").resolve()
    create_link_artifact(report.as_uri(), link_text=f"Report of release {outcome.release_id}", key="release-report")
    show_episode(report)


def show_episode(report: Path) -> None:
    """Attach the picture of the release at play that lies beside its report, where there is one."""
    picture = report.with_name(f"{report.stem}_strategic.png")
    if picture.exists():
        show_picture(picture.read_bytes(), key="episode", description="The strategic team on unseen bars")


def show_picture(png: bytes, *, key: str, description: str) -> None:
    """Attach a picture itself, for a page from a server may show no file of this machine."""
    content = base64.b64encode(png).decode()
    create_image_artifact(f"data:image/png;base64,{content}", key=key, description=description)
