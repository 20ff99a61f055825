"""Run moves that kill themselves with SIGKILL right after a named step; started as a script by the tests.

Reads from standard input a JSON list of {state, configs, operation, step, bundle}; forks one process for each, before
any database is opened, so that one import of MLflow serves them all.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from grandmodel.core.clock import system_clock
from grandmodel.registry.conditions import load_environments
from grandmodel.registry.store import Registry


def walk(job: dict[str, str]) -> None:
    """Carry out one move and die on the way."""

    def die(step: str) -> None:
        if step == job["step"]:
            os.kill(os.getpid(), signal.SIGKILL)

    state = Path(job["state"])
    registry = Registry(
        f"sqlite:///{state / 'mlflow.db'}",
        state / "artifacts",
        state / "ledger.jsonl",
        system_clock,
        load_environments(Path(job["configs"])),
        after_step=die,
    )
    if job["operation"] == "registration":
        registry.register(Path(job["bundle"]), author="trainer", tags={}, metrics={}, params={})
    elif job["operation"] == "promotion":
        selected = {"selection": {"name": "g4_selection", "passed": True}}
        registry.promote("staging", "2", actor="flow", reason="gates passed", evidence=selected)
    else:
        registry.rollback("dev", actor="ann", reason="worse")


def main() -> None:
    """Print one wait status per job."""
    import mlflow.tracking  # noqa: F401  # once, for all children

    statuses = []
    for job in json.load(sys.stdin):
        child = os.fork()
        if child == 0:
            walk(job)
            os._exit(0)
        statuses.append(os.waitpid(child, 0)[1])
    print(json.dumps(statuses))


if __name__ == "__main__":
    main()
