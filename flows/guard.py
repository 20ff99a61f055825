"""End what an owner started once the owner is gone, even by SIGKILL, which lets it end nothing itself.

- ``python -m flows.guard COMMAND ARGUMENT...`` runs one command for its owner and ends it with the owner;
- ``python -m flows.guard --behind PID`` runs nothing, and ends what the owner has left behind.

The owner holds the other end of this process's standard input and writes nothing: that end closes when the owner
closes it, ends, or is killed.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from flows.processes import end_all, end_tree, running, with_descendants

LOOK_SECONDS = 0.5
BEHIND = "--behind"


def clear_up_behind_me() -> subprocess.Popen[bytes]:
    """Have all that this process starts from now on ended when it is gone; hold the returned object as long."""
    command = [sys.executable, "-m", "flows.guard", BEHIND, str(os.getpid())]
    return subprocess.Popen(
        command, cwd=Path(__file__).parents[1], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True
    )


def main(arguments: list[str]) -> int:
    """Do as the arguments say; return the exit code of the command, or 0."""
    # A handler rather than SIG_IGN: the command would inherit SIG_IGN, and a server that ignores SIGINT ends late.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    if arguments[0] == BEHIND:
        _end_left_behind(int(arguments[1]))
        return 0
    return _run(arguments)


def _run(command: list[str]) -> int:
    service = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    while service.poll() is None:
        if _owner_is_gone():
            end_tree(service.pid)
            break
    with suppress(ProcessLookupError):
        os.killpg(service.pid, signal.SIGKILL)  # what a command that died alone left behind
    return service.wait()


def _end_left_behind(owner_pid: int) -> None:
    """Remember who descends from the owner, because nothing tells it any more once the owner is gone."""
    seen: set[psutil.Process] = set()
    while not _owner_is_gone():
        seen = {*running(seen), *with_descendants([owner_pid])}
    end_all(process for process in seen if process.pid not in (os.getpid(), owner_pid))


def _owner_is_gone() -> bool:
    readable, _, _ = select.select([sys.stdin], [], [], LOOK_SECONDS)
    return bool(readable)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
