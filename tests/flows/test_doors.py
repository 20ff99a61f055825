"""Three doors, one content: the flow, ``dvc repro`` and a scheduled deployment make the same artefacts."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from grandmodel.core.hashing import hash_folder
from grandmodel.data.simulator import simulate
from pipelines.workspace import PROJECT

COPIED = ("flows", "pipelines", "grandmodel", "models", "great_expectations", "configs")
FILES = ("dvc.yaml", "pyproject.toml", "prefect.yaml", ".dvcignore")
SMALL_TEAM = {"frames": 8192, "environments": 64, "rollout_steps": 32, "hidden": 16, "critic_hidden": 16}


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
    params["gates"]["truncation_points"] = 3
    params["evaluation"] |= {"bootstrap_draws": 200, "random_baseline_draws": 3}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    simulate(root / "data", edge=1.0, seed=3, sessions=90)
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text("[core]\n    no_scm = true\n    analytics = false\n")
    run(root, "dvc", "add", "--quiet", "data")
    return root


def environment(root: Path) -> dict[str, str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    own = {"PYTHONPATH": str(root), "PREFECT_HOME": str(root / ".prefect"), "PATH": path, "OMP_NUM_THREADS": "1"}
    return os.environ | own


def start(root: Path, module: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", module],
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


@pytest.mark.slow
def test_the_flow_and_dvc_repro_make_the_same_artefacts(checkout: Path) -> None:
    said = run(checkout, "flows.release").stdout
    assert "stays in dev" in said or "stands in production" in said
    by_flow = hashes(checkout)
    for folder in ("artifacts", ".dvc/cache", ".dvc/tmp"):
        shutil.rmtree(checkout / folder, ignore_errors=True)
    run(checkout, "dvc", "repro", "--quiet", "--force")
    assert hashes(checkout) == by_flow


@pytest.mark.slow
def test_a_run_killed_while_training_goes_on_with_one_production_version_and_no_lock_left(checkout: Path) -> None:
    shutil.rmtree(checkout / "artifacts", ignore_errors=True)
    shutil.rmtree(checkout / ".dvc" / "cache", ignore_errors=True)
    (checkout / "dvc.lock").unlink(missing_ok=True)
    flow = start(checkout, "flows.release")
    wait_for(lambda: any((checkout / "artifacts" / ".units").glob("*")))
    os.kill(flow.pid, signal.SIGKILL)
    flow.wait()
    assert not (checkout / "artifacts" / "package").exists()
    run(checkout, "flows.release")
    rows = json.loads(run(checkout, "grandmodel.cli", "status", "--json").stdout)
    assert [row["version"] is not None for row in rows if row["environment"] == "dev"] == [True]
    assert all(list(row["aliases"]).count("champion") <= 1 for row in rows)
    assert "entries" in run(checkout, "grandmodel.cli", "ledger", "verify").stdout
