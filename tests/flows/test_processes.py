from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil

from flows.processes import end_tree, running

STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
open(sys.argv[1], "w").write(str(child.pid))
time.sleep(60)
"""


def wait_for_text(path: Path, seconds: float = 10.0) -> str:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if path.exists() and path.read_text():
            return path.read_text()
        time.sleep(0.05)
    raise AssertionError(f"{path} was not written within {seconds} s")


def ends_within(seconds: float, process: psutil.Process) -> bool:
    """Return whether ``process`` ends in time."""
    until = time.monotonic() + seconds
    while running([process]) and time.monotonic() < until:
        time.sleep(0.05)
    return not running([process])


def test_descendants_in_other_sessions_end_with_a_process_that_ignores_the_first_signals(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", STUBBORN, str(tmp_path / "child")])
    child = psutil.Process(int(wait_for_text(tmp_path / "child")))
    assert running([child])
    end_tree(process.pid, grace_seconds=0.3)
    process.wait(timeout=1)
    assert not running([child])


def test_a_process_that_is_gone_already_is_no_error() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    end_tree(process.pid)
