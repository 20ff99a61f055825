"""Three doors, one content: the flow, ``dvc repro`` and a scheduled deployment make the same artefacts.

On a Dask cluster of two local workers too, from the command line as well as from a deployment.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from flows import up
from flows.processes import end_tree
from grandmodel.core.hashing import hash_folder
from grandmodel.data.simulator.generate import simulate
from pipelines.workspace import PROJECT
from tests.flows.test_up import free_port, states, wait_until_up

COPIED = ("flows", "pipelines", "grandmodel", "models", "great_expectations", "configs")
FILES = ("dvc.yaml", "pyproject.toml", "requirements.lock", "prefect.yaml", ".dvcignore")
SMALL_TEAM = {"frames": 4096, "environments": 64, "rollout_steps": 32, "hidden": 16, "critic_hidden": 16}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with a small market and tiny trainings, in a folder whose name has a space."""
    root = tmp_path_factory.mktemp("a checkout")
    for name in COPIED:
        shutil.copytree(PROJECT / name, root / name, ignore=shutil.ignore_patterns("__pycache__", "uncommitted"))
    for name in FILES:
        shutil.copy(PROJECT / name, root / name)
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params["training"]["seeds"] = 3
    for team in ("strategic", "tactical"):
        params["training"][team] |= SMALL_TEAM
    params["gates"]["truncation_points"] = 1
    params["folds"]["count"] = 1
    params["stress"] = {"warmup_bars": 1104, "after_bars": 288}
    params["evaluation"] |= {"bootstrap_draws": 200, "random_baseline_draws": 3}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    simulate(root / "data", edge=1.0, seed=3, sessions=100)
    for symbol in ("CL", "GC"):
        (root / "data" / f"{symbol}_5m.parquet").unlink()
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    run(root, "dvc", "add", "--quiet", "data")
    return root


def environment(root: Path) -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    own = {"PYTHONPATH": str(root), "PREFECT_HOME": str(root / ".prefect"), "PATH": path, "OMP_NUM_THREADS": "1"}
    return os.environ | own | {"GRANDMODEL_STATE": str(root / "state")}


def start(root: Path, module: str, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=root,
        env=environment(root),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def wait_for(happened: Callable[[], bool], seconds: float = 300.0) -> None:
    until = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


def run(root: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments], cwd=root, env=environment(root), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def hashes(root: Path) -> dict[str, str]:
    artifacts = root / "artifacts"
    found = {name: hash_folder(artifacts / name) for name in ("package", "features", "train", "evaluate", "stress")}
    assert len(list((artifacts / "package").glob("*.safetensors"))) == 2
    return found | json.loads((artifacts / "evaluate" / "evidence" / "decisions.json").read_text())


def forget(root: Path) -> None:
    """Remove all that stages made, DVC's memory of it included."""
    for folder in ("artifacts", ".dvc/cache", ".dvc/tmp"):
        shutil.rmtree(root / folder, ignore_errors=True)
    (root / "dvc.lock").unlink(missing_ok=True)


def run_deployment(root: Path, **parameters: str) -> list[str]:
    """Serve the deployment, start a run of it through the API, wait until it is Completed; return its tasks' names."""
    prefect, mlflow = free_port(), free_port()
    api = f"http://{up.HOST}:{prefect}/api"
    with (root / "said.txt").open("wb") as said:
        command = [sys.executable, "-m", "flows.up", "--prefect-port", str(prefect), "--mlflow-port", str(mlflow)]
        served = subprocess.Popen(command, cwd=root, env=environment(root), stdout=said, stderr=said)
    try:
        wait_until_up(served, root / "said.txt")
        deployment = up.answer(f"{api}/deployments/name/release/nightly")
        order = {"tags": ["by-test"], "state": {"type": "SCHEDULED"}, "parameters": parameters}
        run = up.answer(f"{api}/deployments/{deployment['id']}/create_flow_run", order)
        wait_for(lambda: bool(states(api) & {"Completed", "Failed", "Crashed"}))
        assert states(api) == {"Completed"}, (root / "said.txt").read_text()
        asked = {"flow_runs": {"id": {"any_": [run["id"]]}}}
        return [task["name"] for task in up.answer(f"{api}/task_runs/filter", asked)]
    finally:
        end_tree(served.pid)
        served.wait()


@pytest.fixture(scope="module")
def by_flow(checkout: Path) -> dict[str, str]:
    """What the flow makes, killed with SIGKILL while it trains and then simply run again."""
    flow = start(checkout, "flows.release")
    wait_for(lambda: any((checkout / "artifacts" / ".units").glob("*")))
    os.kill(flow.pid, signal.SIGKILL)
    flow.wait()
    assert not (checkout / "artifacts" / "package").exists()
    said = run(checkout, "flows.release").stdout
    assert "stays in dev" in said or "stands in production" in said
    return hashes(checkout)


@pytest.mark.slow
def test_a_killed_run_is_finished_by_the_next_with_one_version_and_no_lock_left(
    checkout: Path, by_flow: dict[str, str]
) -> None:
    rows = json.loads(run(checkout, "grandmodel.cli", "status", "--json").stdout)
    assert [row["version"] for row in rows if row["environment"] == "dev"] == ["1"]
    assert all(list(row["aliases"]).count("champion") <= 1 for row in rows)
    assert "entries" in run(checkout, "grandmodel.cli", "ledger", "verify").stdout


@pytest.mark.slow
def test_dvc_repro_makes_the_same_artefacts_as_the_flow(checkout: Path, by_flow: dict[str, str]) -> None:
    forget(checkout)
    run(checkout, "dvc", "repro", "--quiet")
    assert hashes(checkout) == by_flow


@pytest.fixture(scope="module")
def dask(checkout: Path) -> Iterator[str]:
    """The address of a scheduler with two workers, started as docs/operations.md says."""
    port = str(free_port())
    address = f"tcp://127.0.0.1:{port}"
    scheduler = start(checkout, "dask", "scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard")
    workers = start(checkout, "dask", "worker", address, "--nthreads", "1", "--nworkers", "2", "--no-dashboard")
    yield address
    for process in (workers, scheduler):
        end_tree(process.pid)
        process.wait()


@pytest.mark.slow
def test_a_run_on_a_cluster_makes_the_same_artefacts_as_the_flow(
    checkout: Path, by_flow: dict[str, str], dask: str
) -> None:
    forget(checkout)
    assert "train 3/3" in run(checkout, "flows.release", "--dask", dask).stdout
    assert hashes(checkout) == by_flow


@pytest.mark.slow
def test_a_run_of_the_deployment_on_a_cluster_makes_the_same_artefacts_as_the_flow(
    checkout: Path, by_flow: dict[str, str], dask: str
) -> None:
    forget(checkout)
    tasks = run_deployment(checkout, dask=dask)
    assert sum(name.startswith("train fold") for name in tasks) == 3, tasks
    assert hashes(checkout) == by_flow
