"""The drill: a release that broke while it served is rolled back, and what serves follows without losing a request."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import threading
import time
from itertools import groupby
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from grandmodel.core.clock import system_clock
from grandmodel.core.config import Params
from grandmodel.core.errors import RegistryError
from grandmodel.market.replay import decision_hash
from grandmodel.registry.following import Following
from models.release import Release, Tapes
from pipelines.promote import open_registry, promote
from pipelines.tapes import FoldMarket
from pipelines.workspace import Workspace

LOOK_SECONDS = 0.05
ALIAS_TO_SERVED_SECONDS = 1.0
fork = multiprocessing.get_context("fork")
Answer = tuple[str, str, float]  # version, hash of its decisions, when


def serve(state: Path, window: Tapes, params: Params, line: Connection) -> None:
    """Answer every request on ``line`` with the champion's decisions over ``window``, until ``None`` comes."""
    following = Following(
        open_registry(state, system_clock), "production", lambda folder: Release.load(folder, params.training)
    )
    ended = threading.Event()

    def follow() -> None:
        while not ended.wait(LOOK_SECONDS):
            following.look()

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    while line.recv() is not None:
        served = following.served
        decided = decision_hash(served.loaded.decide(window, params.market))
        line.send((str(served.move.version), decided, time.monotonic()))
    ended.set()
    line.send(thread.is_alive())  # a look that failed would have ended it


class Client:
    """Asks without pause, in a thread of its own."""

    def __init__(self, line: Connection) -> None:
        self._line = line
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)
        self.asked, self.answers = 0, list[Answer]()

    def start(self) -> None:
        self._thread.start()

    def _ask(self) -> None:
        while not self._ended.is_set():
            self.asked += 1
            self._line.send(self.asked)
            self.answers.append(self._line.recv())

    def answered_by(self, version: str, since: float) -> Answer:
        """Return the first answer of ``version`` after ``since``, a monotonic time."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            for answer in list(self.answers):
                if answer[0] == version and answer[2] > since:
                    return answer
            time.sleep(0.005)
        raise TimeoutError(f"version {version} never answered")

    def stop(self) -> bool:
        """Return whether the server followed the registry without an error to the end."""
        self._ended.set()
        self._thread.join(60)
        self._line.send(None)
        return bool(self._line.recv())


def test_a_release_that_broke_is_rolled_back_and_what_serves_follows(
    passing: Workspace, fold: FoldMarket, tmp_path: Path
) -> None:
    state, params = tmp_path / "state", passing.params
    moved_at = [0.0]

    def note(step: str) -> None:
        if step == "champion":
            moved_at[0] = time.monotonic()

    registry = open_registry(state, system_clock, after_step=note)

    def decided(bundle: Path, tapes: Tapes) -> str:
        return decision_hash(Release.load(bundle, params.training).decide(tapes, params.market))

    def rolled_back(to_version: str | None) -> tuple[Answer, float]:
        assert registry.rollback("production", to_version, actor="Ada", reason="it broke").changed
        answer = client.answered_by(str(registry.champion_alias("production")), moved_at[0])
        return answer, answer[2] - moved_at[0]

    assert promote(passing, state, approver="Ada", clock=system_clock).promoted
    window = fold.test.window(int(fold.test.strategic.start_ns[0]), int(fold.test.strategic.start_ns[96]))
    first = registry.load_champion("production")
    before, before_in_window = decided(first, fold.test), decided(first, window)
    for path in (passing.train / "weights" / f"fold_{fold.number}" / "seed_1").glob("*.safetensors"):
        shutil.copy(path, passing.package / path.name)
    evidence = json.loads((passing.package / "evidence.json").read_text())
    (passing.package / "evidence.json").write_text(
        json.dumps(evidence | {"decision_hash": decided(passing.package, fold.test)})
    )
    assert promote(passing, state, approver="Ada", clock=system_clock).promoted
    second = registry.load_champion("production")
    in_window = {"1": before_in_window, "2": decided(second, window)}
    assert len(set(in_window.values())) == 2

    ours, theirs = fork.Pipe()
    server = fork.Process(target=serve, args=(state, window, params, theirs), daemon=True)
    server.start()
    client = Client(ours)
    client.start()
    client.answered_by("2", 0.0)
    (answer, first_s), (_, second_s) = rolled_back("1"), rolled_back("2")
    (second / "limits.json").write_text("{}")
    with pytest.raises(RegistryError, match="limits"):
        registry.load_champion("production")
    answer, third_s = rolled_back("1")
    assert client.stop()
    server.join(60)

    print(f"alias to served: {first_s:.3f}, {second_s:.3f}, {third_s:.3f} s; {client.asked} requests")
    assert min(first_s, second_s, third_s) < ALIAS_TO_SERVED_SECONDS
    assert answer[1] == before_in_window
    assert decided(registry.load_champion("production"), fold.test) == before
    assert len(client.answers) == client.asked
    assert {(version, digest) for version, digest, _ in client.answers} == set(in_window.items())
    assert [version for version, _ in groupby(answer[0] for answer in client.answers)] == ["2", "1", "2", "1"]
    assert registry.ledger.verify().torn_bytes == 0
