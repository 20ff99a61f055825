"""What befalls the registries and what it does to them, on SQLite and on PostgreSQL (``make bench-chaos``).

Kills after each step of promotion and rollback with 20 seeds each, a disk that fills at each step, races at a barrier,
a server that is down for 30 s; and how long it takes from the move of the alias to the verified champion. Cases and the
rule by which a row is sound are those of ``tests/chaos``.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from benchmarks.record import commit, write
from tests import postgres
from tests.chaos.cases import OPERATIONS, STEPS, Row, raced, run, sound
from tests.chaos.servers import outage
from tests.chaos.shelf import Shelf

DOWN_S = 30.0
DRILLS = 20


def jobs(case: str, steps: tuple[str, ...], seeds: int) -> list[Row]:
    """Return one job for each operation, step and seed."""
    return [
        {"case": case, "operation": operation, "step": step, "seed": seed}
        for operation in OPERATIONS
        for step in steps
        for seed in range(seeds)
    ]


def told(row: Row) -> bool:
    """Return whether what was to befall the move befell it."""
    befell = row["befell"]
    if row["case"] == "race":
        return raced(row)
    if row["case"] == "outage":
        return bool(befell.get("changed")) or "MLflow at" in befell.get("refused", "")
    return "error" in befell if row["case"] == "disk_full" else bool(befell == {"signal": "SIGKILL"})


def counts(rows: list[Row]) -> dict[str, Any]:
    """Return how many cases there were, in how many it took place, how many were sound, and those that were not."""
    return {
        "cases": len(rows),
        "took_place": sum(map(told, rows)),
        "sound": sum("loaded" in row and sound(row) for row in rows),
        "not_sound": [row for row in rows if not ("loaded" in row and sound(row))],
    }


def rollback_s(shelf: Shelf) -> list[float]:
    """Return the seconds from the move of the alias to the verified champion of rollbacks there and back."""
    moved_at = [0.0]

    def note(step: str) -> None:
        if step == "champion":
            moved_at[0] = time.perf_counter()

    registry = shelf.copy().open(after_step=note)
    seconds = []
    for number in range(DRILLS):
        registry.rollback("dev", "12"[number % 2], actor="ann", reason="drill")
        registry.load_champion("dev")
        seconds.append(time.perf_counter() - moved_at[0])
    return seconds


def measure(folder: Path, server: postgres.Server | None, seeds: int) -> dict[str, Any]:
    """Return the figures on one kind of database."""
    shelf = Shelf(folder, server)
    began = time.monotonic()
    found = {
        "killed": counts(run(shelf, jobs("killed", STEPS, seeds))),
        "disk_full": counts(run(shelf, jobs("disk_full", ("start", *STEPS[:-1]), max(1, seeds // 4)))),
        "race": counts(run(shelf, jobs("race", STEPS, max(1, seeds // 4)))),
    }
    falls = [outage(shelf, server, operation, "tags", DOWN_S) for operation in OPERATIONS]
    seconds = rollback_s(shelf)
    return found | {
        "outage": counts(falls) | {"down_s": DOWN_S, "moves": [row["befell"] for row in falls]},
        "alias_to_champion_ms": {
            "median": round(1000 * statistics.median(seconds), 1),
            "longest": round(1000 * max(seconds), 1),
            "drills": DRILLS,
        },
        "took_s": round(time.monotonic() - began),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    seeds = parser.parse_args().seeds
    measured_commit = commit()
    found: dict[str, Any] = {}
    for kind in ("sqlite", "postgresql"):
        with (
            tempfile.TemporaryDirectory() as folder,
            postgres.running() if kind == "postgresql" else nullcontext() as server,
        ):
            found[kind] = measure(Path(folder), server, seeds)
            print(kind, found[kind], flush=True)
            write("chaos", {"seeds": seeds, **found, "commit": measured_commit})


if __name__ == "__main__":
    main()
