from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil

from flows.processes import running
from tests.flows.test_processes import ends_within, wait_for_text

PROJECT = Path(__file__).parents[2]
SERVICE = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(60)"
OWNER = """
import subprocess, sys, time
guard = [sys.executable, "-m", "flows.guard", sys.executable, "-c", sys.argv[1], sys.argv[2]]
subprocess.Popen(guard, stdin=subprocess.PIPE, start_new_session=True)
time.sleep(60)
"""


def guarded(*command: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "flows.guard", sys.executable, *command], cwd=PROJECT, stdin=subprocess.PIPE
    )


def test_guard_returns_the_exit_code_of_its_command() -> None:
    with guarded("-c", "raise SystemExit(7)") as guard:
        assert guard.wait(timeout=10) == 7


def test_command_ends_when_the_owner_closes_its_end(tmp_path: Path) -> None:
    guard = guarded("-c", SERVICE, str(tmp_path / "pid"))
    service = psutil.Process(int(wait_for_text(tmp_path / "pid")))
    assert guard.stdin is not None
    guard.stdin.close()
    guard.wait(timeout=10)
    assert not running([service])


def test_command_ends_when_the_owner_is_killed(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", OWNER, SERVICE, str(tmp_path / "pid")], cwd=PROJECT)
    service = psutil.Process(int(wait_for_text(tmp_path / "pid")))
    owner.kill()
    owner.wait()
    assert ends_within(10, service)


LEAVER = """
import subprocess, sys, time
from flows.guard import clear_up_behind_me
guard = clear_up_behind_me()
subprocess.Popen([sys.executable, "-c", sys.argv[1], sys.argv[2]], start_new_session=True)
time.sleep(float(sys.argv[3]))
"""


def test_what_a_killed_owner_leaves_behind_is_ended(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", LEAVER, SERVICE, str(tmp_path / "pid"), "60"], cwd=PROJECT)
    left = psutil.Process(int(wait_for_text(tmp_path / "pid")))
    time.sleep(1.5)  # it is looked for twice a second
    owner.kill()
    owner.wait()
    assert ends_within(10, left)


def test_what_an_owner_that_ends_leaves_behind_is_ended(tmp_path: Path) -> None:
    owner = subprocess.Popen([sys.executable, "-c", LEAVER, SERVICE, str(tmp_path / "pid"), "2"], cwd=PROJECT)
    left = psutil.Process(int(wait_for_text(tmp_path / "pid")))
    assert running([left])
    assert owner.wait(timeout=20) == 0
    assert ends_within(10, left)
