"""What every test gets: repeatable property tests, no network beyond this machine, the real data where they lie."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

PROJECT = Path(__file__).resolve().parents[1]
SHARED_DATA = PROJECT.parent / "shared" / "data"

# Read by the libraries when a test imports them, which happens after this file.
os.environ.update(
    DO_NOT_TRACK="true",
    DVC_NO_ANALYTICS="1",
    GX_ANALYTICS_ENABLED="false",
    MLFLOW_DISABLE_TELEMETRY="true",
    OMP_NUM_THREADS="1",
    PREFECT_SERVER_ANALYTICS_ENABLED="false",
)

# The same examples on every run; HYPOTHESIS_PROFILE=search draws new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.register_profile("search", deadline=None, print_blob=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the flows, whose files take minutes; skip what needs the real market data where they are absent."""
    items.sort(key=lambda item: "flows" not in item.path.parts)
    if SHARED_DATA.is_dir():
        return
    for item in items:
        if item.get_closest_marker("shared"):
            item.add_marker(pytest.mark.skip(reason="the real market data (../shared/data) are absent"))


@pytest.fixture
def shared_data() -> Path:
    """Return the folder of the real market data; skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip("the real market data (../shared/data) are absent")
    return SHARED_DATA


@pytest.fixture(scope="session")
def tracked_market(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the simulated market of ``data.dvc``, made anew: a fresh clone has no ``data/`` yet."""
    from grandmodel.data.simulator.generate import simulate

    folder = tmp_path_factory.mktemp("tracked") / "data"
    simulate(folder, edge=1.0, seed=7, sessions=400)
    return folder


@pytest.fixture(autouse=True, scope="session")
def _this_machine_alone() -> object:
    """Refuse connections that leave this machine, so that no test depends on a network."""
    connect = socket.socket.connect

    def connect_here(self: socket.socket, address: object) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_here(address):
            raise OSError(f"tests stay on this machine; found a connection to {address!r}")
        connect(self, address)  # type: ignore[arg-type]

    socket.socket.connect = connect_here  # type: ignore[method-assign, assignment]
    yield
    socket.socket.connect = connect  # type: ignore[method-assign]


@pytest.fixture(autouse=True, scope="session")
def _state_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the trials that tests make out of the project's own ledger."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRANDMODEL_STATE", str(tmp_path_factory.mktemp("state")))
        patch.delenv("GRANDMODEL_ANCHOR", raising=False)  # what it names serves one state folder
        patch.delenv("GRANDMODEL_SIGNING_KEY", raising=False)
        patch.delenv("GRANDMODEL_TRACKING_URI", raising=False)
        patch.delenv("GRANDMODEL_ARTIFACTS_URI", raising=False)
        yield


@pytest.fixture(autouse=True)
def _state_put_back() -> Iterator[None]:
    """A flow tells its stages which state folder is meant, in the environment of the process that runs it."""
    before = os.environ["GRANDMODEL_STATE"]
    yield
    os.environ["GRANDMODEL_STATE"] = before


def _is_here(address: object) -> bool:
    host = str(address[0]) if isinstance(address, tuple) else ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
