"""The state that every case of chaos begins with, made once for each kind of database and copied for each case.

dev holds versions 1, 2 and 3 with 3 as champion, staging version 1. Bundles are shared by all copies and never changed.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

from grandmodel.core.clock import system_clock
from grandmodel.registry.conditions import load_environments
from grandmodel.registry.store import Registry
from tests.grandmodel.registry.releases import CONFIGS, SELECTED, make_bundle, register
from tests.postgres import Server

ROOT = Path(__file__).parents[2]
DATABASE = "shelf"


@dataclass(frozen=True)
class Place:
    """Where one case's registry lies; plain data, so that it travels to another process."""

    tracking_uri: str
    folder: str
    artifacts_uri: str

    def open(self, **options: object) -> Registry:
        """Return the registry, opened anew as another process would."""
        folder = Path(self.folder)
        environments = load_environments(CONFIGS)
        ledger = folder / "ledger.jsonl"
        return Registry(
            self.tracking_uri,
            folder / "artifacts",
            ledger,
            system_clock,
            environments,
            artifacts_uri=self.artifacts_uri,
            **options,  # type: ignore[arg-type]
        )


class Shelf:
    """Gives each case a copy of its own: a file of SQLite, or a database of ``server``."""

    def __init__(self, folder: Path, server: Server | None) -> None:
        self._folder = folder
        self._server = server
        self._copies = 0
        if server is not None:
            server.sql(f"CREATE DATABASE {DATABASE}")
        self._first = Place(self._uri(folder, DATABASE), str(folder), (folder / "artifacts").as_uri())
        # Another process, for PostgreSQL copies no database that somebody is connected to.
        subprocess.run([sys.executable, "-m", "tests.chaos.shelf"], input=json.dumps(asdict(self._first)), **_QUIET)

    def copy(self) -> Place:
        """Return a registry as on the shelf, that nobody has touched."""
        self._copies += 1
        folder = self._folder / f"case-{self._copies}"
        folder.mkdir()
        if self._server is None:
            shutil.copy(self._folder / "mlflow.db", folder)
        else:
            self._server.sql(f"CREATE DATABASE case_{self._copies} TEMPLATE {DATABASE}")
        for name in ("ledger.jsonl", "ledger.jsonl.head"):
            shutil.copy(self._folder / name, folder)
        return Place(self._uri(folder, f"case_{self._copies}"), str(folder), self._first.artifacts_uri)

    def _uri(self, folder: Path, database: str) -> str:
        return f"sqlite:///{folder / 'mlflow.db'}" if self._server is None else self._server.uri(database)


_QUIET = {"check": True, "text": True, "cwd": ROOT, "timeout": 180}


def fill(place: Place) -> None:
    """Register three releases and promote the first."""
    folder, registry = Path(place.folder), place.open()
    register(registry, make_bundle(folder / "bundle-1", folder, weight=1.0))
    registry.promote("staging", "1", actor="flow", reason="gates passed", evidence=SELECTED)
    register(registry, make_bundle(folder / "bundle-2", folder, weight=2.0))
    register(registry, make_bundle(folder / "bundle-3", folder, weight=3.0))


if __name__ == "__main__":
    fill(Place(**json.load(sys.stdin)))
