"""Run one command for an owner, and end it with the owner: ``python -m flows.guard COMMAND ARGUMENT...``.

The owner holds the other end of this process's standard input and writes nothing. When that end closes, because the
owner closed it, ended, or was killed with SIGKILL, the command and all that it started are ended.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from contextlib import suppress

from flows.processes import end_tree

LOOK_SECONDS = 0.5


def main(command: list[str]) -> int:
    """Run ``command`` until it ends or the owner is gone; return its exit code."""
    # A handler rather than SIG_IGN: the command would inherit SIG_IGN, and a server that ignores SIGINT ends late.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: None)
    service = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    while service.poll() is None:
        readable, _, _ = select.select([sys.stdin], [], [], LOOK_SECONDS)
        if readable:
            end_tree(service.pid)
            break
    with suppress(ProcessLookupError):
        os.killpg(service.pid, signal.SIGKILL)  # what a command that died alone left behind
    return service.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
