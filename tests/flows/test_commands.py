from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from flows import commands
from flows.processes import running
from pipelines.workspace import OWNER_VARIABLE, PROJECT
from tests.flows.test_processes import STUBBORN, ends_within, wait_for_text

STAGE = """
import os, sys, time
from pathlib import Path
from pipelines.workspace import finish
Path(sys.argv[1]).write_text(str(os.getpid()))
finish(lambda: time.sleep(60))
"""
FLOW = """
import sys
from flows import commands
commands._run("stage", [sys.executable, "-c", sys.argv[1], sys.argv[2]])
"""


class Interrupted(Exception):
    """Stands in for whatever ends a flow while a stage runs."""


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def test_a_stage_that_succeeds_says_nothing() -> None:
    commands._run("ingest", python(""))


def test_a_failed_stage_gives_its_last_error_line_as_the_reason() -> None:
    said = "noise\nerror: first\nerror: bars.csv row 3: low is above high\nERROR: failed to reproduce"
    with pytest.raises(commands.StageFailed, match=r"^ingest: bars\.csv row 3: low is above high$"):
        commands._run("ingest", python(f"import sys; sys.exit({said!r})"))


def test_a_failed_stage_without_an_error_line_gives_what_it_wrote() -> None:
    with pytest.raises(commands.StageFailed, match="ZeroDivisionError"):
        commands._run("train", python("1 / 0"))


def test_a_silent_failure_gives_its_exit_code() -> None:
    with pytest.raises(commands.StageFailed, match="train: ended with exit code 9"):
        commands._run("train", python("raise SystemExit(9)"))


def test_a_busy_repository_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "BUSY_WAIT_SECONDS", 0.0)
    code = """
import sys
from pathlib import Path
count = Path(sys.argv[1])
count.write_text(count.read_text() + "." if count.exists() else ".")
sys.exit(0 if len(count.read_text()) == 3 else "ERROR: '.dvc' is busy, it is being blocked by: (PID 1)")
"""
    commands._run("train", python(code, str(tmp_path / "count")))
    assert (tmp_path / "count").read_text() == "..."


def test_a_command_of_dvc_that_fails_says_what_dvc_said() -> None:
    with pytest.raises(commands.StageFailed, match=r"dvc frobnicate: .*invalid choice"):
        commands.dvc("frobnicate")


def test_a_stage_finds_python_the_project_and_its_owner() -> None:
    environment = commands._environment()
    assert environment["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    assert environment["PYTHONPATH"].split(os.pathsep)[0] == str(PROJECT)
    assert environment[OWNER_VARIABLE] == str(os.getpid())


def test_an_exception_in_the_flow_ends_the_stage_and_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands.end_tree, "__defaults__", (0.3,))
    before = set(psutil.Process().children(recursive=True))
    started: list[psutil.Process] = []

    def interrupt(*_: object) -> None:
        wait_for_text(tmp_path / "child")
        started.extend(set(psutil.Process().children(recursive=True)) - before)
        raise Interrupted

    previous = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.5)
    try:
        with pytest.raises(Interrupted):
            commands._run("train", python(STUBBORN, str(tmp_path / "child")))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)
    assert len(started) == 2
    assert not running(started)
    assert not running(set(psutil.Process().children(recursive=True)) - before)


def test_a_stage_ends_when_its_flow_is_killed(tmp_path: Path) -> None:
    flow = subprocess.Popen(python(FLOW, STAGE, str(tmp_path / "pid")), cwd=PROJECT)
    stage = psutil.Process(int(wait_for_text(tmp_path / "pid")))
    assert running([stage])
    flow.kill()
    flow.wait()
    assert ends_within(5, stage)
