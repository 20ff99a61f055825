"""Trainings that are killed go on, and a person can watch them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

from grandmodel.core.hashing import hash_folder
from grandmodel.marl.curves import EVENT_FILE, CurveLog, Row, read_rows
from pipelines import train
from pipelines.workspace import PROJECT, Workspace

STAGE = """
import sys
from pathlib import Path
from pipelines.train import train
from pipelines.workspace import Workspace
train(Workspace(Path(sys.argv[1]), Path(sys.argv[2])))
"""


class Killed(BaseException):
    """Stands for SIGKILL."""


def finished_units(workspace: Workspace) -> dict[str, Path]:
    """Return the folder of each finished unit by its name."""
    return {json.loads(path.read_text())["unit"]: path.parent for path in workspace.units.glob("*/done.json")}


@pytest.fixture
def fresh(workspace: Workspace, tmp_path: Path) -> Workspace:
    """Return a workspace with the same features and no training."""
    (tmp_path / "features").symlink_to(workspace.features)
    return Workspace(tmp_path, workspace.params_path)


@pytest.mark.parametrize(("rows_heard", "checkpoints"), [(1, 0), (3, 1), (7, 2)])
def test_a_killed_unit_goes_on_from_its_checkpoints(
    workspace: Workspace, fresh: Workspace, monkeypatch: pytest.MonkeyPatch, rows_heard: int, checkpoints: int
) -> None:
    unit = train.plan_units(fresh)[0]
    assert unit.key == train.plan_units(workspace)[0].key
    heard: list[float] = []

    def listen(self: CurveLog, row: Row) -> None:
        heard.append(row["frames"])
        if len(heard) == rows_heard:
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(train, "CHECKPOINT_ROLLOUTS", 2)
        patched.setattr(CurveLog, "__call__", listen)
        with pytest.raises(Killed):
            train.train_unit(fresh, unit)
    part = fresh.units / f"{unit.key}.part"
    assert len(list(part.glob("*.checkpoint"))) == checkpoints
    train.train_unit(fresh, unit)
    assert not part.exists()
    kept = fresh.units / unit.key
    whole = finished_units(workspace)[unit.name]
    assert hash_folder(kept / "weights") == hash_folder(whole / "weights")
    for team in ("strategic", "tactical"):
        name = f"{team}_curves.json"
        assert (kept / name).read_bytes() == (whole / name).read_bytes()
    assert not [path.name for path in kept.iterdir() if path.suffix == ".checkpoint" or path.name.startswith(".")]


def test_curves_lie_beside_the_weights_and_in_event_files(workspace: Workspace) -> None:
    units = finished_units(workspace)
    assert len(units) == 6
    for name, folder in units.items():
        for team in ("strategic", "tactical"):
            rows = read_rows(folder / f"{team}_curves.jsonl")
            told = json.loads((folder / f"{team}_curves.json").read_text())
            assert [{key: row[key] for key in told[0]} for row in rows] == told
            assert (workspace.tensorboard / name / team / EVENT_FILE).stat().st_size > 100 * len(rows)


def test_running_units_say_speed_and_time_left(fresh: Workspace) -> None:
    unit = train.plan_units(fresh)[0]
    assert train._standing(fresh, [unit]) == ""
    log = CurveLog(fresh.units / f"{unit.key}.part" / "strategic_curves.jsonl", None, train.system_clock)
    log({"frames": 250.0, "frames_total": 1000.0, "frames_per_second": 210_000.0, "seconds_left": 12.4})
    assert train._standing(fresh, [unit]) == "fold_0/seed_0 25%, 210k frames/s, 12 s left"


@pytest.mark.slow
def test_two_processes_train_the_teams_of_one(fresh: Workspace, workspace: Workspace, tmp_path: Path) -> None:
    params = yaml.safe_load(workspace.params_path.read_text())
    params["training"]["seeds"], params["folds"]["count"] = 1, 2
    for team in ("strategic", "tactical"):
        params["training"][team] |= {"path": "torch", "frames": 2048}
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(params))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    launcher = {**os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    command = [sys.executable, "-c", STAGE, str(tmp_path), str(path)]
    running = [
        subprocess.Popen(command, cwd=PROJECT, env={**launcher, "RANK": rank}, stdout=subprocess.PIPE, text=True)
        for rank in ("0", "1")
    ]
    shown = [process.communicate(timeout=300)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0]
    assert "train 2/2" in shown[0]
    assert shown[1] == ""
    together = Workspace(tmp_path, path)
    (alone := Workspace(tmp_path / "alone", path)).folder.mkdir()
    (alone.folder / "features").symlink_to(workspace.features)
    unit = train.plan_units(alone)[0]
    train.train_unit(alone, unit)
    for name in ("strategic", "tactical"):
        one = load_file(alone.units / unit.key / "weights" / f"{name}.safetensors")
        both = load_file(together.train / "weights" / unit.name / f"{name}.safetensors")
        for key, array in one.items():
            np.testing.assert_allclose(both[key], array, rtol=0, atol=1e-4, err_msg=key)
