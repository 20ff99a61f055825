"""Where a run keeps its files, and how a stage starts and fails."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from grandmodel.core.errors import ConfigError, DataError
from pipelines import workspace as house
from pipelines.workspace import OWNER_VARIABLE, PROJECT, STAGES, Workspace

FAILING = """
import sys
from grandmodel.core.errors import DataError
from pipelines.workspace import finish
def work():
    {body}
finish(work)
"""


def run(body: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", FAILING.format(body=body)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)


def test_every_stage_has_a_folder_of_its_own_below_the_workspace(tmp_path: Path) -> None:
    folders = {getattr(Workspace(tmp_path), stage) for stage in STAGES}
    assert folders == {tmp_path / stage for stage in STAGES}


def test_parameters_are_read_once_and_from_the_given_file(tmp_path: Path) -> None:
    given = Workspace(tmp_path)
    assert given.params is given.params
    with pytest.raises(ConfigError, match=r"absent\.yaml: the file must exist"):
        _ = Workspace(tmp_path, tmp_path / "absent.yaml").params


def test_a_workspace_follows_the_parameters_that_it_carries(tmp_path: Path) -> None:
    plain = house.profile_params("full")
    assert house.open_workspace(tmp_path).params == plain
    house.write_params(tmp_path, quick := house.profile_params("quick"))
    assert house.open_workspace(tmp_path).params == quick
    assert (plain.profile, quick.profile) == ("full", "quick")
    assert quick.training.strategic.frames < plain.training.strategic.frames


def test_parameters_under_the_name_of_another_profile_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("params.yaml", "params.quick.yaml"):
        (tmp_path / name).write_text((PROJECT / name).read_text().replace("profile: quick", "profile: full"))
    monkeypatch.setattr(house, "PROJECT", tmp_path)
    assert house.profile_params("full").profile == "full"
    with pytest.raises(ConfigError, match=r"params\.quick\.yaml key profile: must be quick; found 'full'"):
        house.profile_params("quick")


def test_an_emptied_folder_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "made" / "deep").mkdir(parents=True)
    (tmp_path / "made" / "deep" / "file").write_text("old")
    assert list(house.empty_folder(tmp_path / "made").iterdir()) == []
    assert house.empty_folder(tmp_path / "new" / "folder").is_dir()


def test_an_operating_error_is_one_sentence_and_exit_code_1() -> None:
    done = run('raise DataError("bars.csv row 3", "high must be at least low", 1.0, "Correct it")')
    assert done.returncode == 1
    assert done.stderr == "error: bars.csv row 3: high must be at least low; found 1.0. Correct it\n"
    assert done.stdout == ""


def test_a_programming_error_keeps_its_traceback() -> None:
    done = run("raise ZeroDivisionError")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_work_that_succeeds_says_nothing() -> None:
    done = run("pass")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_stage_ends_soon_after_its_owner() -> None:
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    script = FAILING.format(body="import time; print('working', flush=True); time.sleep(60)")
    stage = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=PROJECT,
        env=os.environ | {OWNER_VARIABLE: str(owner.pid)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert stage.stdout is not None
    with stage.stdout:
        assert stage.stdout.readline() == "working\n"
        assert stage.poll() is None
        owner.kill()
        owner.wait()
        began = time.monotonic()
        assert stage.wait(timeout=10) == 1
    assert time.monotonic() - began < 5


def test_a_stage_run_without_its_predecessor_says_what_is_missing(tmp_path: Path) -> None:
    from pipelines.validate import validate

    with pytest.raises(DataError, match=r"the folder must hold ingested rows.*Run ingest again"):
        validate(Workspace(tmp_path))
    assert list(tmp_path.iterdir()) == []
