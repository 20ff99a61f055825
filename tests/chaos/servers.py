"""Servers that fall while a move is on its way and stand up again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Protocol

from tests.chaos.cases import DOWN, REACHED, Row, run, wait_for
from tests.chaos.shelf import Shelf
from tests.postgres import Server

START_SECONDS = 120.0


class Falls(Protocol):
    """What can be ended at once and started again."""

    def start(self) -> None:
        """Start it and wait until it answers."""

    def kill(self) -> None:
        """End it at once."""


class MlflowServer:
    """An MLflow server over one database, on a free port."""

    def __init__(self, backend_uri: str, folder: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", backend_uri]
        self._command += ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        self._log = folder / "mlflow-server.log"

    def start(self) -> None:
        """Start it and wait until it answers."""
        environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        until = time.monotonic() + START_SECONDS
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < until, self._log.read_text()
            time.sleep(0.1)

    def kill(self) -> None:
        """End it and its workers at once."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(30)

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.uri}/health", timeout=5).close()
        except OSError:
            return False
        return True


def outage(shelf: Shelf, server: Server | None, operation: str, step: str, down_s: float) -> Row:
    """Return the row of a move whose server falls after ``step`` for ``down_s``: PostgreSQL, or MLflow over SQLite."""
    place = shelf.copy()
    job = {"case": "outage", "operation": operation, "step": step, "seed": 0, "door": place.folder}
    if server is not None:
        return moved_while_falling(shelf, job | {"place": asdict(place)}, server, down_s)
    mlflow = MlflowServer(place.tracking_uri, Path(place.folder))
    mlflow.start()
    try:
        return moved_while_falling(
            shelf, job | {"place": asdict(replace(place, tracking_uri=mlflow.uri))}, mlflow, down_s
        )
    finally:
        mlflow.kill()


def moved_while_falling(shelf: Shelf, job: Row, server: Falls, down_s: float) -> Row:
    """Run ``job``; end ``server`` when the move has come as far as the job says, and start it ``down_s`` later."""
    door = Path(job["door"])
    with ThreadPoolExecutor(1) as aside:  # the server belongs to this thread: PostgreSQL ends with the one it is of
        row = aside.submit(run, shelf, [job])
        wait_for(door / REACHED)
        server.kill()
        (door / DOWN).touch()
        time.sleep(down_s)
        server.start()
        return row.result()[0]
