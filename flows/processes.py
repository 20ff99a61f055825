"""End whole trees of processes, also those that sit in sessions of their own."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterable
from contextlib import suppress

import psutil  # type: ignore[import-untyped]

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
GRACE_SECONDS = 5.0
LOOK_SECONDS = 0.05


def end_tree(pid: int, grace_seconds: float = GRACE_SECONDS) -> None:
    """Send SIGINT, SIGTERM and SIGKILL in turn to a process and its descendants, until none of them runs.

    A group would not reach them all: a worker starts each flow run, and a flow each stage, in a session of its own.
    The tree is looked up anew before each signal, because a process that is ending may still start others.
    """
    alive = _with_descendants([pid])
    for number in ENDING:
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        until = time.monotonic() + grace_seconds
        while (alive := running(alive)) and time.monotonic() < until:
            time.sleep(LOOK_SECONDS)
        if not alive:
            return
        alive = _with_descendants([process.pid for process in alive])


def running(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Return those that still run; a zombie has ended, whether or not its parent has noticed."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _with_descendants(pids: list[int]) -> list[psutil.Process]:
    found = set()
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            found |= {process, *process.children(recursive=True)}
    return list(found)
