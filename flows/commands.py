"""Run stages as child processes that never outlive the flow and never leave a lock behind."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from filelock import FileLock, Timeout

from flows.processes import end_tree
from pipelines.workspace import OWNER_VARIABLE, PROJECT

BUSY_RETRIES = 20
BUSY_WAIT_SECONDS = 1.0


class StageFailed(RuntimeError):
    """A stage ended with an error; its one-sentence reason is already on the terminal."""


@contextmanager
def one_run_at_a_time(wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold the checkout's run lock, by whichever door the run came.

    Raises StageFailed when another run still holds it after ``wait_seconds``.
    """
    try:
        with FileLock(PROJECT / ".run.lock").acquire(timeout=wait_seconds):
            yield
    except Timeout:
        raise StageFailed("the checkout: another run is in progress. Wait for it, or stop it, and run again") from None


def run_stage_module(stage: str, *arguments: str) -> None:
    """Run ``python -m pipelines.<stage>``. Raises StageFailed."""
    _run(stage, [sys.executable, "-m", f"pipelines.{stage}", *arguments])


def dvc(*arguments: str) -> str:
    """Run a DVC command and return its standard output. Raises StageFailed with what it said."""
    completed = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=PROJECT, env=_environment(), capture_output=True, text=True
    )
    if completed.returncode != 0:
        raise StageFailed(f"dvc {' '.join(arguments)}: {completed.stderr.strip() or completed.stdout.strip()}")
    return completed.stdout


def repro(stage: str) -> None:
    """Bring one DVC stage up to date. Raises StageFailed."""
    _run(stage, [sys.executable, "-m", "dvc", "repro", "--quiet", "--single-item", stage])


def _run(stage: str, command: Sequence[str]) -> None:
    for _ in range(BUSY_RETRIES):
        code, errors = _wait(command)
        # A killed run's last stage notices within a second that its owner is gone; until then DVC's lock is taken.
        if code == 0 or "is busy" not in errors:
            break
        time.sleep(BUSY_WAIT_SECONDS)
    if code != 0:
        raise StageFailed(f"{stage}: {_reason(errors) or f'ended with exit code {code}'}")


def _wait(command: Sequence[str]) -> tuple[int, str]:
    with subprocess.Popen(
        command, cwd=PROJECT, env=_environment(), start_new_session=True, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            _, errors = process.communicate()
        except BaseException:
            end_tree(process.pid)
            raise
    return process.returncode, errors


def _reason(errors: str) -> str:
    lines = [line for line in errors.splitlines() if line.startswith("error: ")]
    return lines[-1].removeprefix("error: ") if lines else errors.strip()[-2000:]


def _environment() -> dict[str, str]:
    # DVC finds `python` of a stage's command through PATH; the stage finds its owner through the variable.
    path = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")])
    return {
        **os.environ,
        "PATH": path,
        OWNER_VARIABLE: str(os.getpid()),
        "DVC_NO_ANALYTICS": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH", "")])),
    }
