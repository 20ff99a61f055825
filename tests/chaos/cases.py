"""Cases of chaos, each in processes of its own; started as a module with jobs on standard input, one row out for each.

Every row tells what befell the move, what stood at that moment, and what a second try of the same move led to.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from grandmodel.core.errors import GrandModelError
from grandmodel.registry.moves import Outcome, open_intents
from grandmodel.registry.store import Registry
from tests.chaos.shelf import ROOT, Place, Shelf
from tests.grandmodel.registry.releases import SELECTED

STEPS = ("intent", "version", "tags", "previous", "champion", "completion")
OPERATIONS = ("promotion", "rollback", "unnamed rollback")
WAIT_S = 120.0
STEP_S = 0.08  # about what one step takes: a kill falls anywhere between two of them
REACHED, DOWN = "reached", "down"

fork = multiprocessing.get_context("fork")
Row = dict[str, Any]


@dataclass(frozen=True)
class Aim:
    """Where an operation begins and leads to."""

    environment: str
    kind: str  # of the line that completes it
    before: str  # champion
    champion: str
    previous: str | None
    versions: int


AIMS = {
    "promotion": Aim("staging", "promotion", "1", "2", "1", 2),
    "rollback": Aim("dev", "rollback", "3", "1", None, 3),
    "unnamed rollback": Aim("dev", "rollback", "3", "2", "1", 3),
}


def move(registry: Registry, operation: str, actor: str = "flow") -> Outcome:
    """Carry out the move that the case is about."""
    if operation == "promotion":
        return registry.promote("staging", "2", actor=actor, reason="gates passed", evidence=SELECTED)
    if operation == "rollback":
        return registry.rollback("dev", "1", actor=actor, reason="worse")
    return registry.rollback("dev", actor=actor, reason="worse", expect="3")


def killed(place: Place, operation: str, step: str, seed: int) -> Row:
    """Kill the mover after ``step``: right there with seed 0, else a while later."""
    wait_s = random.Random(f"{operation} {step} {seed}").uniform(0, STEP_S) if seed else 0.0

    def die(done: str) -> None:
        if done == step and not wait_s:
            os.kill(os.getpid(), signal.SIGKILL)
        elif done == step:
            threading.Timer(wait_s, os.kill, (os.getpid(), signal.SIGKILL)).start()

    def act() -> Row:
        move(place.open(after_step=die), operation)
        signal.pause()  # a kill that falls behind the last step finds it here
        raise AssertionError("it must be killed")

    return {"befell": in_child(act)} | in_child(lambda: aftermath(place, operation))


def disk_full(place: Place, operation: str, step: str, seed: int) -> Row:
    """Let no file grow beyond the ledger's size and a little from ``step`` on: EFBIG where a full disk says ENOSPC."""
    little = random.Random(f"{operation} {step} {seed}").randrange(800)  # less than a line: it is torn
    ledger = Path(place.folder) / "ledger.jsonl"

    def fill(done: str) -> None:
        if done == step:
            limit = ledger.stat().st_size + little
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    def act() -> Row:
        registry = place.open(after_step=fill)
        fill("start")
        return {"changed": move(registry, operation).changed}

    return {"befell": in_child(act)} | in_child(lambda: aftermath(place, operation))


def race(place: Place, operation: str, step: str, seed: int) -> Row:
    """Let two movers go at once; who holds the lock waits at ``step`` until the other was seen to be kept out."""
    barrier, kept_out = fork.Barrier(2), fork.Event()

    def act(name: str) -> Row:
        waited = []
        registry = place.open(after_step=lambda done: waited.append(kept_out.wait(WAIT_S)) if done == step else None)
        registry.tracking.client  # noqa: B018  # opened before the start, so that both come to the lock at once
        watch_lock(registry, kept_out.set)
        barrier.wait(WAIT_S)
        outcome = move(registry, operation, name)
        return {"changed": outcome.changed, "version": outcome.version, "held_while_other_waited": waited}

    rows = in_children([lambda: act("first"), lambda: act("second")])
    return {"befell": rows} | in_child(lambda: aftermath(place, operation))


def watch_lock(registry: Registry, kept_out: Callable[[], None]) -> None:
    """Call ``kept_out`` whenever the ledger's lock was tried and another process held it."""
    lock = registry.ledger._lock
    try_once = lock._acquire

    def observed() -> None:
        try_once()
        if not lock.is_locked:
            kept_out()

    lock._acquire = observed  # type: ignore[method-assign]


def outage(place: Place, operation: str, step: str, seed: int, door: str) -> Row:
    """Tell at ``step`` that the server may fall, and go on once it is down; who ends and starts it holds ``door``."""
    reached, down = Path(door, REACHED), Path(door, DOWN)

    def fall(done: str) -> None:
        if done == step:
            reached.touch()
            wait_for(down)

    def act() -> Row:
        began = time.monotonic()
        try:
            changed = move(place.open(after_step=fall), operation).changed
        except GrandModelError as error:
            return {"refused": str(error), "took_s": round(time.monotonic() - began, 1)}
        return {"changed": changed, "took_s": round(time.monotonic() - began, 1)}

    return {"befell": in_child(act)} | in_child(lambda: aftermath(place, operation))


def wait_for(path: Path) -> None:
    """Return once ``path`` is there. Raises TimeoutError after two minutes."""
    until = time.monotonic() + WAIT_S
    while not path.exists():
        if time.monotonic() > until:
            raise TimeoutError(f"{path} never came")
        time.sleep(0.02)


CASES: dict[str, Callable[..., Row]] = {"killed": killed, "disk_full": disk_full, "race": race, "outage": outage}


def aftermath(place: Place, operation: str) -> Row:
    """Look at what stands, try the move again, and look again."""
    aim = AIMS[operation]
    model = f"{aim.environment}.grandmodel"
    registry = place.open()
    at_once = registry.tracking.aliases(model).get("champion")
    move(registry, operation, "again")
    entries = registry.ledger.read()
    done = [entry for entry in entries if entry.kind == aim.kind and entry.subject["environment"] == aim.environment]
    aliases = {"champion": aim.champion} | ({"previous": aim.previous} if aim.previous else {})
    return {
        "one_champion_at_once": at_once in (aim.before, aim.champion),
        "champion_right": registry.tracking.aliases(model) == aliases,
        "versions_right": len(registry.tracking.client.search_model_versions(f"name = '{model}'")) == aim.versions,
        "completions": [entry.subject["champion_before"] for entry in done].count(aim.before),
        "open_intents": len(open_intents(entries)),
        "torn_bytes": registry.ledger.verify().torn_bytes,
        "loaded": registry.load_champion(aim.environment).is_dir(),
    }


def sound(row: Row) -> bool:
    """Return whether there was one champion throughout and the second try completed one move, once."""
    return (
        row["one_champion_at_once"]
        and row["champion_right"]
        and row["versions_right"]
        and row["completions"] == 1
        and row["open_intents"] == row["torn_bytes"] == 0
        and row["loaded"]
    )


def raced(row: Row) -> bool:
    """Return whether one mover held the lock until the other was seen to be kept out, and alone changed anything."""
    return sorted((one["changed"], one["held_while_other_waited"]) for one in row["befell"]) == [
        (False, []),
        (True, [True]),
    ]


def in_child(act: Callable[[], Row]) -> Row:
    """Return what ``act`` returned in a fork, or ``signal`` or ``error`` where it ended otherwise."""
    return in_children([act])[0]


def in_children(acts: Sequence[Callable[[], Row]]) -> list[Row]:
    """Return what each of ``acts`` returned in a fork of its own, all at once."""

    def child(act: Callable[[], Row], end: Any) -> None:
        try:
            end.send(act())
        except Exception as error:
            end.send({"error": f"{type(error).__name__}: {error}"})

    started = []
    for act in acts:
        ours, theirs = fork.Pipe(duplex=False)
        process = fork.Process(target=child, args=(act, theirs))
        process.start()
        theirs.close()
        started.append((process, ours))
    rows: list[Row] = []
    for process, ours in started:
        try:
            rows.append(ours.recv())
        except EOFError:
            rows.append({})
        process.join()
        if process.exitcode and process.exitcode < 0:
            rows[-1] = {"signal": signal.Signals(-process.exitcode).name}
    return rows


def run(shelf: Shelf, jobs: Sequence[Row]) -> list[Row]:
    """Run ``jobs`` in a fresh process, each on a copy of ``shelf`` unless it names its own ``place``."""
    rehearsal = asdict(shelf.copy())
    work = {
        "rehearsal": rehearsal,
        "jobs": [job if "place" in job else job | {"place": asdict(shelf.copy())} for job in jobs],
    }
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.cases"],
        input=json.dumps(work),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=3600,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def main() -> None:
    """Print one row per job."""
    work = json.load(sys.stdin)
    # What MLflow imports on its way takes seconds; done here, no fork does it again. No fork opens this registry.
    move(Place(**work["rehearsal"]).open(), "promotion")
    for job in work["jobs"]:
        name, place = job.pop("case"), Place(**job.pop("place"))
        print(json.dumps({"case": name} | job | CASES[name](place, **job)), flush=True)


if __name__ == "__main__":
    main()
