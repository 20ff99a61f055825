"""End whole trees of processes, also those that sit in sessions of their own."""

from __future__ import annotations

import signal
from contextlib import suppress

import psutil  # type: ignore[import-untyped]

ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
GRACE_SECONDS = 5.0


def end_tree(pid: int, grace_seconds: float = GRACE_SECONDS) -> None:
    """Send SIGINT, SIGTERM and SIGKILL in turn to a process and its descendants, until none of them is left.

    A group would not reach them all: a worker starts each flow run, and a flow each stage, in a session of its own.
    The tree is looked up anew before each signal, because a process that is ending may still start others.
    """
    alive = _with_descendants([pid])
    for number in ENDING:
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        _, left = psutil.wait_procs(alive, timeout=grace_seconds)
        alive = _with_descendants([process.pid for process in left])
        if not alive:
            return


def _with_descendants(pids: list[int]) -> list[psutil.Process]:
    found = set()
    for pid in pids:
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            found |= {process, *process.children(recursive=True)}
    return list(found)
