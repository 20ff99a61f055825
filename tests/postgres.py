"""A real PostgreSQL for tests: a server of its own on a free port, with a data folder of its own, never as root."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER = "postgres"
START_SECONDS = 60.0


def programs() -> Path | None:
    """Return the folder of ``initdb`` and ``postgres``, the newest one; None where there is none."""
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return installed[-1].parent if installed else None


class Server:
    """One server, which can be ended and started again on its port and data."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder = folder
        self.port = port
        self._process: subprocess.Popen[bytes] | None = None
        _as_nobody(["initdb", "--auth=trust", "--no-sync", "-U", USER, "-E", "UTF8", "-D", str(folder / "data")])

    def start(self) -> None:
        """Start it and wait until it answers."""
        address = ["-h", "127.0.0.1", "-p", str(self.port), "-k", str(self.folder)]
        command = ["postgres", *address, "-D", str(self.folder / "data"), "-F"]
        with (self.folder / "log").open("ab") as log:
            # It ends with this process, however that ends.
            self._process = subprocess.Popen(
                _command(command, "--pdeathsig", "INT"), stdout=log, stderr=log, start_new_session=True
            )
        until = time.monotonic() + START_SECONDS
        while _run(["pg_isready", "-h", "127.0.0.1", "-p", str(self.port)]) != 0:
            assert self._process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < until, (self.folder / "log").read_text()
            time.sleep(0.1)

    def kill(self) -> None:
        """End it at once, with every connection, as a fall of the machine would."""
        assert self._process is not None
        self._process.send_signal(signal.SIGQUIT)
        self._process.wait(30)

    def sql(self, statement: str, database: str = USER) -> str:
        """Return what ``statement`` answers."""
        where = ["-h", "127.0.0.1", "-p", str(self.port), "-U", USER, "-d", database]
        command = [str(_folder() / "psql"), *where, "-qtAX", "-v", "ON_ERROR_STOP=1", "-c", statement]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def uri(self, database: str, driver: str = "psycopg") -> str:
        """Return the address of a database."""
        return f"postgresql+{driver}://{USER}@127.0.0.1:{self.port}/{database}"


@contextmanager
def running() -> Iterator[Server]:
    """Give a running server with an empty data folder, and remove both."""
    folder = Path(tempfile.mkdtemp(prefix="grandmodel-postgres-"))  # a test's own folder is closed to other users
    if os.getuid() == 0:
        shutil.chown(folder, USER, USER)
    try:
        server = Server(folder, _free_port())
        server.start()
        try:
            yield server
        finally:
            server.kill()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _folder() -> Path:
    folder = programs()
    assert folder is not None, "PostgreSQL is not installed"
    return folder


def _command(command: list[str], *options: str) -> list[str]:
    program = [str(_folder() / command[0]), *command[1:]]
    other = ["--reuid", USER, "--regid", USER, "--clear-groups"] if os.getuid() == 0 else []
    return ["setpriv", *other, *options, *program]


def _as_nobody(command: list[str]) -> None:
    subprocess.run(_command(command), check=True, capture_output=True, cwd="/")


def _run(command: list[str]) -> int:
    return subprocess.run([str(_folder() / command[0]), *command[1:]], capture_output=True, check=False).returncode


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
