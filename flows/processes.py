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
    """End a process and its descendants.

    A group would not reach them all: a worker starts each flow run, and a flow each stage, in a session of its own.
    """
    end_all(with_descendants([pid]), grace_seconds)


def end_all(processes: Iterable[psutil.Process], grace_seconds: float = GRACE_SECONDS) -> None:
    """Send SIGINT, SIGTERM and SIGKILL in turn to processes and their descendants, until none of them runs.

    Descendants are looked up anew before each signal, because a process that is ending may still start others.
    """
    alive = running(processes)
    for number in ENDING:
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        until = time.monotonic() + grace_seconds
        while (alive := running(alive)) and time.monotonic() < until:
            time.sleep(LOOK_SECONDS)
        if not alive:
            return
        alive = with_descendants([process.pid for process in alive])


def running(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Return those that still run; a zombie has ended, whether or not its parent has noticed."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def with_descendants(pids: Iterable[int]) -> list[psutil.Process]:
    """Return the processes that exist and all below them."""
    found = set()
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            found |= {process, *process.children(recursive=True)}
    return list(found)
