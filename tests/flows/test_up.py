from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows import up
from flows.processes import end_tree, running
from grandmodel.core.errors import ConfigError
from tests import postgres
from tests.flows.test_processes import ends_within

PROJECT = Path(__file__).parents[2]
SMALL_FLOW = '''
from pathlib import Path
from prefect import flow

@flow(name="release")
def release(word: str = "nothing") -> str:
    """Stand in for the release."""
    Path("word.txt").write_text(word)
    return word
'''


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((up.HOST, 0))
        return int(probe.getsockname()[1])


def test_a_taken_port_is_refused_with_the_option_that_changes_it() -> None:
    with socket.socket() as other:
        other.bind((up.HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ConfigError, match=rf"port {port}: must be free for the MLflow UI; .* give --mlflow-port"):
            up.refuse_taken(port, "the MLflow UI", "--mlflow-port")


def test_a_free_port_is_taken_as_it_is() -> None:
    up.refuse_taken(free_port(), "the MLflow UI", "--mlflow-port")


def test_a_taken_port_ends_the_command_with_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind((up.HOST, 0))
        other.listen()
        assert up.main(["--prefect-port", str(other.getsockname()[1])]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: port ")
    assert said.count("\n") == 1


def test_a_service_that_ends_at_once_gives_the_last_line_of_its_log(tmp_path: Path) -> None:
    with up.running(os.environ, tmp_path / "logs") as start:
        service = start("broken", [sys.executable, "-c", "print('first'); raise SystemExit('no such database')"])
        with pytest.raises(
            up.ServiceFailed, match=r"broken: ended with exit code 1; no such database\. See .*broken\.log"
        ):
            up.wait_for(f"http://{up.HOST}:{free_port()}/health", service, seconds=20)


def test_a_service_that_never_answers_is_given_up_and_ended(tmp_path: Path) -> None:
    with up.running(os.environ, tmp_path) as start:
        service = start("silent", [sys.executable, "-c", "import time; time.sleep(60)"])
        with pytest.raises(up.ServiceFailed, match=r"silent: must answer at .* within 1 s"):
            up.wait_for(f"http://{up.HOST}:{free_port()}/health", service, seconds=1)
    assert service.guard.returncode is not None


def test_services_share_one_home_report_nothing_and_write_to_the_state_folder() -> None:
    environment = up.service_environment("http://127.0.0.1:1/api")
    assert environment["PREFECT_HOME"] == str(PROJECT / ".prefect")
    assert environment["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == environment["DO_NOT_TRACK"] == "true"
    command = up.mlflow_server(5000)
    assert f"sqlite:///{PROJECT / 'state' / 'mlflow.db'}" in command
    assert command[command.index("--host") + 1] == up.prefect_server(4200)[-3] == "127.0.0.1"


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """Put the handlers of this process back: ``up`` changes them at its end."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a copy of what ``up`` needs, with a small flow in place of the release."""
    for name in ("flows", "pipelines", "grandmodel", "models"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("prefect.yaml", "pyproject.toml"):
        shutil.copy(PROJECT / name, tmp_path / name)
    (tmp_path / "flows" / "release.py").write_text(SMALL_FLOW)
    return tmp_path


def wait_until_up(process: subprocess.Popen[bytes], said: Path, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while "Ctrl-C" not in said.read_text():
        assert process.poll() is None, said.read_text()
        assert time.monotonic() < until, said.read_text()
        time.sleep(0.3)


def states(api: str) -> set[str]:
    runs = up.answer(f"{api}/flow_runs/filter", {"flow_runs": {"tags": {"all_": ["by-test"]}}})
    return {run["state_name"] for run in runs}


@pytest.mark.slow
def test_the_schedule_is_served_runs_by_hand_complete_and_a_kill_leaves_nothing(checkout: Path) -> None:
    prefect, mlflow = free_port(), free_port()
    api = f"http://{up.HOST}:{prefect}/api"
    command = [sys.executable, "-m", "flows.up", "--prefect-port", str(prefect), "--mlflow-port", str(mlflow)]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    with (checkout / "said.txt").open("wb") as said:
        process = subprocess.Popen(command, cwd=checkout, env=environment, stdout=said, stderr=said)
    try:
        wait_until_up(process, checkout / "said.txt")
        deployment: dict[str, Any] = up.answer(f"{api}/deployments/name/release/nightly")
        assert [plan["schedule"]["cron"] for plan in deployment["schedules"] if plan["active"]] == ["30 17 * * 1-5"]
        risk: dict[str, Any] = up.answer(f"{api}/deployments/name/risk_backtest/nightly-risk")
        assert [plan["schedule"]["cron"] for plan in risk["schedules"] if plan["active"]] == ["30 18 * * 1-5"]
        assert "risk_backtest/nightly-risk" in (checkout / "said.txt").read_text()
        assert up.answer(f"http://{up.HOST}:{mlflow}/health") == "OK"
        run = {"parameters": {"word": "released"}, "tags": ["by-test"], "state": {"type": "SCHEDULED"}}
        up.answer(f"{api}/deployments/{deployment['id']}/create_flow_run", run)
        until = time.monotonic() + 60
        while states(api) != {"Completed"} and time.monotonic() < until:
            time.sleep(0.5)
        assert states(api) == {"Completed"}
        assert (checkout / "word.txt").read_text() == "released"
        started = psutil.Process(process.pid).children(recursive=True)
        assert len(running(started)) >= 6
        process.kill()
        process.wait()
        assert all(ends_within(25, child) for child in started)
    finally:
        end_tree(process.pid)
        process.wait()
    with pytest.raises(urllib.error.URLError):
        up.answer(f"{api}/health")


@pytest.mark.slow
@pytest.mark.skipif(postgres.programs() is None, reason="PostgreSQL is not installed")
def test_the_prefect_server_keeps_its_tables_in_postgresql_where_its_variable_names_it(tmp_path: Path) -> None:
    port = free_port()
    api = f"http://{up.HOST}:{port}/api"
    with postgres.running() as database:
        database.sql("CREATE DATABASE prefect")
        environment = up.service_environment(api) | {
            "PREFECT_HOME": str(tmp_path / "prefect"),
            "PREFECT_SERVER_DATABASE_CONNECTION_URL": database.uri("prefect", "asyncpg"),
        }
        with up.running(environment, tmp_path / "logs") as start:
            up.wait_for(f"{api}/health", start("prefect-server", up.prefect_server(port)))
            up.answer(f"{api}/work_pools/", {"name": "elsewhere", "type": "process"})
        assert database.sql("SELECT name FROM work_pool", "prefect") == "elsewhere"
    assert not list(tmp_path.rglob("prefect.db"))
