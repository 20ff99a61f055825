"""Train the units of a run on a Dask cluster, each as a Prefect task. Imported only where an address is given.

Workers share the file system and the checkout with the flow. A unit is kept under a key of all it depends on and
trained under a lock, from its checkpoints where it has any: one whose worker died is given to another by Dask's
scheduler, and goes on to the same weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext

from distributed import KilledWorker
from prefect import task, unmapped
from prefect.context import FlowRunContext
from prefect_dask.task_runners import DaskTaskRunner
from rich.console import Console

from flows.commands import StageFailed
from flows.release import release
from grandmodel.core.errors import ConfigError
from pipelines.train import Unit, missing_units, plan_units, train_unit
from pipelines.workspace import Workspace

CONNECT_SECONDS = 10
console = Console()


@task(task_run_name="train {unit.name}")
def train_there(workspace: Workspace, unit: Unit) -> str:
    """Train one unit in the process of a worker; return its line.

    Raises ConfigError where the worker plans another unit: the key holds data, features, parameters and sources, so one
    with another disk or another checkout is found out.
    """
    if unit not in plan_units(workspace):
        rule = "a worker must see the files of the flow under the same path, and run the same sources"
        raise ConfigError(unit.name, rule, str(workspace.folder), "Start workers in the checkout of the flow")
    return train_unit(workspace, unit)


def train_on(address: str, workspace: Workspace) -> None:
    """Train what ``workspace`` is missing on the cluster at ``address``, so that the stage finds all units done.

    Raises StageFailed when no scheduler answers, workers keep dying on a unit, or its files cannot be written.
    """
    units = missing_units(workspace)
    if not units:
        return
    with connected(address) as runner, flow_by_module():
        futures = runner.map(train_there, {"workspace": unmapped(workspace), "unit": units})
        try:
            for number, (unit, future) in enumerate(zip(units, futures, strict=True), start=1):
                console.print(f"  train {number}/{len(units)}  {unit.name}  {future.result()}", highlight=False)
        except KilledWorker as error:
            raise StageFailed(f"dask {address}: a unit must outlive its workers; found {error}") from error
        except OSError as error:
            raise StageFailed(f"dask {address}: a unit could not be kept; found {error}") from error


@contextmanager
def flow_by_module() -> Iterator[None]:
    """Let Dask send the flow of this run by name: workers import neither ``__main__`` nor what was loaded by a path."""
    context = FlowRunContext.get()
    with context.model_copy(update={"flow": release}) if context else nullcontext():
        yield


def refuse_unreachable(address: str) -> None:
    """Raise StageFailed when no scheduler answers at ``address``: before the first stage rather than after three."""
    with connected(address):
        pass


@contextmanager
def connected(address: str) -> Iterator[DaskTaskRunner]:
    """Give a task runner on the cluster at ``address``. Raises StageFailed when no scheduler answers there."""
    with ExitStack() as stack:
        try:
            runner = stack.enter_context(DaskTaskRunner(address=address, client_kwargs={"timeout": CONNECT_SECONDS}))
            runner.client  # noqa: B018  the runner connects when it is first asked
        except (OSError, ValueError) as error:
            do = "Start one with `dask scheduler`, and workers with `dask worker ADDRESS --nthreads 1`"
            raise StageFailed(f"dask {address}: a scheduler must answer; found {error}. {do}") from error
        yield runner
