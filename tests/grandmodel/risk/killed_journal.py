"""Decide and reset in processes that kill themselves with SIGKILL at a named call; started as a script by the tests.

Reads from standard input a JSON list of {folder, operation, call, half}; forks one process for each and prints their
wait statuses. The calls of a record are counted in their order; ``half`` dies in the middle of a write.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from grandmodel.core.config import BreakerLimits, RiskLimits
from grandmodel.risk.guard_inputs import Book, RiskNumbers
from grandmodel.risk.guard_state import GuardState, opened
from grandmodel.risk.journal import Journal

CALLS = ("ftruncate", "write", "fsync", "chmod", "replace")  # of os; the order in which a record makes them first
RECORD = ("ftruncate", "write", "fsync", "fsync", "chmod", "replace")
START_NS = 1_600_000_000_000_000_000


def configured() -> GuardState:
    return opened(("ES", "CL"), (50.0, 1000.0), (100.0, 50.0), 1e6, RiskLimits(), BreakerLimits(), START_NS)


def operate(journal: Journal, operation: str) -> None:
    state = journal.state
    if operation == "reset":
        journal.reset(state.equity, state.clock_ns + 1, actor="ann", reason="looked at it")
        return
    risk = RiskNumbers(0.01, (0.01, 0.01), ((1.0, 0.0), (0.0, 1.0)), "CRITICAL" if operation == "cut" else "NONE")
    journal.decide(Book(1e6, (120.0, -8.0)), (100.0, 50.0), (120.0, -8.0), risk, state.clock_ns + 1)


def die_at(call: int, half: bool) -> None:
    """Count the calls from here on and die before number ``call``, or in its middle."""
    made = 0

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*given: Any) -> Any:
            nonlocal made
            made += 1
            if made == call:
                assert name == RECORD[call - 1], "the calls of a record are not those that the tests name"
                if half:
                    function(given[0], given[1][: len(given[1]) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*given)

        return wrapped

    for name in CALLS:
        setattr(os, name, counted(name, getattr(os, name)))


def main() -> None:
    """Print one wait status per job."""
    statuses = []
    for job in json.load(sys.stdin):
        child = os.fork()
        if child == 0:
            folder = Path(job["folder"])
            journal = Journal.restore(folder, configured())
            die_at(job["call"], job["half"])
            operate(journal, job["operation"])
            (folder / "handed_out").touch()
            os._exit(0)
        statuses.append(os.waitpid(child, 0)[1])
    print(json.dumps(statuses))


if __name__ == "__main__":
    main()
