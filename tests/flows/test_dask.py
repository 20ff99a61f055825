"""The same trainings on a Dask cluster of two local workers as one after the other here, also where a worker dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path

import psutil
import pytest
import yaml
from distributed import Client, LocalCluster
from prefect.testing.utilities import prefect_test_harness

from flows.cluster import refuse_unreachable, train_on
from flows.commands import StageFailed
from grandmodel.core.hashing import hash_folder
from grandmodel.data.simulator.generate import simulate
from pipelines import train
from pipelines.features import features
from pipelines.ingest import ingest
from pipelines.workspace import PROJECT, Workspace, write_params

pytestmark = pytest.mark.slow

TEAM = {"frames": 20_000, "environments": 16, "rollout_steps": 16, "window_bars": 32, "hidden": 8, "critic_hidden": 8}
PATIENCE_SECONDS = 300.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with (
        prefect_test_harness(server_startup_timeout=120),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as workers,
    ):
        yield workers


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Return a workspace whose two folds were trained one after the other in this process."""
    folder = tmp_path_factory.mktemp("serial")
    simulate(folder / "data", edge=1.0, seed=7, sessions=60)
    params = Workspace(folder).params
    small = {name: getattr(params.training, name).model_copy(update=TEAM) for name in ("strategic", "tactical")}
    training = params.training.model_copy(update={"seeds": 1, **small})
    write_params(folder, params.model_copy(update={"training": training}))
    workspace = Workspace(folder, folder / "params.yaml")
    ingest(workspace, folder / "data", symbols=("NQ",))
    features(workspace)
    for unit in train.plan_units(workspace):
        train.train_unit(workspace, unit)
    return workspace


@pytest.fixture
def untrained(serial: Workspace, tmp_path: Path) -> Workspace:
    """Return a workspace with the same features and parameters, and no training."""
    (tmp_path / "features").symlink_to(serial.features)
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(serial.params.model_dump()))
    return Workspace(tmp_path, tmp_path / "params.yaml")


def trained(workspace: Workspace) -> dict[str, tuple[str, bytes]]:
    """Return weights and curves of each unit."""
    folders = {unit.name: workspace.units / unit.key for unit in train.plan_units(workspace)}
    return {
        name: (hash_folder(folder / "weights"), b"".join(p.read_bytes() for p in sorted(folder.glob("*_curves.json"))))
        for name, folder in folders.items()
    }


def test_two_workers_train_what_one_process_trains(
    cluster: LocalCluster, serial: Workspace, untrained: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len(train.missing_units(untrained)) == 2
    train_on(cluster.scheduler_address, untrained)
    assert train.missing_units(untrained) == []
    assert trained(untrained) == trained(serial)
    assert "train 2/2" in capsys.readouterr().out


def test_a_unit_whose_worker_is_killed_is_trained_by_another(
    cluster: LocalCluster, serial: Workspace, untrained: Workspace
) -> None:
    context = copy_context()  # with the address of the server
    with Client(cluster) as client, ThreadPoolExecutor(1) as beside:
        running = beside.submit(context.run, train_on, cluster.scheduler_address, untrained)
        victim, unit = first_at_work(client, untrained)
        os.kill(victim, signal.SIGKILL)
        assert not (untrained.units / unit / "done.json").exists()
        assert (untrained.units / f"{unit}.part").exists()
        running.result(timeout=PATIENCE_SECONDS)
        assert victim not in client.run(os.getpid).values()
    assert not psutil.pid_exists(victim)
    assert trained(untrained) == trained(serial)


def first_at_work(client: Client, workspace: Workspace) -> tuple[int, str]:
    """Return the process id of a worker in the middle of a unit, and the key of that unit."""
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        for log in workspace.units.glob("*.part/strategic_curves.jsonl"):
            holders = [pid for pid in client.run(os.getpid).values() if holds(pid, log)]
            if holders:
                return holders[0], log.parent.name.removesuffix(".part")
        time.sleep(0.01)
    raise AssertionError("no worker began a unit")


def holds(pid: int, path: Path) -> bool:
    """Return whether the process has the lock of the unit open that ``path`` belongs to."""
    lock = path.parent.with_suffix(".lock")
    return str(lock) in {entry.path for entry in psutil.Process(pid).open_files()}


@pytest.mark.parametrize("address", ["foo:bar", "http://127.0.0.1:1"])
def test_an_address_that_is_none_is_refused_before_the_first_stage(address: str) -> None:
    with pytest.raises(StageFailed, match=f"dask {address}: a scheduler must answer"):
        refuse_unreachable(address)


def test_an_address_without_a_scheduler_is_refused_with_what_to_do(
    untrained: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.cluster.CONNECT_SECONDS", 1)
    with pytest.raises(StageFailed, match=r"dask tcp://127\.0\.0\.1:1: a scheduler must answer.*dask scheduler"):
        train_on("tcp://127.0.0.1:1", untrained)


def test_without_an_address_nothing_of_dask_is_imported() -> None:
    script = "import flows.release, sys; print(sorted({'dask', 'distributed', 'prefect_dask'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
