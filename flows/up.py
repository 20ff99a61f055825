"""``grandmodel up``: Prefect server, schedules with their worker, and MLflow UI on loopback, until Ctrl-C.

Each service runs under a guard (see ``guard.py``), so that none outlives this process, however it ends. What is
deployed, and when it runs, stands in ``prefect.yaml`` alone. The decision engine and the console are not part of this
version.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from grandmodel.core.errors import ConfigError, GrandModelError
from grandmodel.registry.backends import backends
from pipelines.workspace import PROJECT

HOST = "127.0.0.1"
STATE = PROJECT / "state"
PREFECT_PORT, MLFLOW_PORT = 4200, 5000
START_SECONDS = 180.0
END_SECONDS = 30.0
LOOK_SECONDS = 0.3
console = Console()


class ServiceFailed(RuntimeError):
    """A service did not start, or ended while it was needed."""


@dataclass(frozen=True)
class Service:
    """A service under its guard, and the file with what it prints."""

    name: str
    guard: subprocess.Popen[bytes]
    log: Path

    def refuse_ended(self) -> None:
        """Raise ServiceFailed with the last line of the log when the service is no longer there."""
        if self.guard.poll() is not None:
            lines = self.log.read_text(errors="replace").split("\n")
            last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing was printed")
            raise ServiceFailed(f"{self.name}: ended with exit code {self.guard.returncode}; {last}. See {self.log}")

    def end(self) -> None:
        """End the service and all that it started."""
        assert self.guard.stdin is not None
        self.guard.stdin.close()
        try:
            self.guard.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.guard.kill()


def up(prefect_port: int = PREFECT_PORT, mlflow_port: int = MLFLOW_PORT) -> None:
    """Start all services, print where they are, and stay until one ends or this process is told to end.

    Raises:
        ConfigError: a port is taken.
        ServiceFailed: a service did not start, or ended.
    """
    refuse_taken(prefect_port, "the Prefect server", "--prefect-port")
    refuse_taken(mlflow_port, "the MLflow UI", "--mlflow-port")
    prefect, mlflow = f"http://{HOST}:{prefect_port}", f"http://{HOST}:{mlflow_port}"
    environment = service_environment(f"{prefect}/api")
    deployments = yaml.safe_load((PROJECT / "prefect.yaml").read_text())["deployments"]
    with running(environment, STATE / "logs") as start:
        with console.status("Starting Prefect and MLflow"):
            server = start("prefect-server", prefect_server(prefect_port))
            ui = start("mlflow", mlflow_server(mlflow_port))
            wait_for(f"{prefect}/api/health", server)
            end_lost_runs(f"{prefect}/api")
            for pool in sorted({item["work_pool"]["name"] for item in deployments}):
                worker = start(f"worker-{pool}", prefect_worker(pool))
                wait_for(f"{prefect}/api/work_pools/{pool}", worker)
            deploy(environment)
            found = {name: answer(f"{prefect}/api/deployments/name/{name}") for name in map(full_name, deployments)}
            wait_for(f"{mlflow}/health", ui)
        print_links(prefect, mlflow, found)
        stay(start.services)


def full_name(deployment: Mapping[str, Any]) -> str:
    """Return flow and name of a deployment of ``prefect.yaml``; flows are named after their functions."""
    return f"{deployment['entrypoint'].rpartition(':')[2]}/{deployment['name']}"


def prefect_server(port: int) -> list[str]:
    """Return the command of the Prefect server."""
    return [sys.executable, "-m", "prefect", "server", "start", "--host", HOST, "--port", str(port)]


def prefect_worker(pool: str) -> list[str]:
    """Return the command of the worker that runs what is due in ``pool``, as processes; it makes the pool if needed."""
    return [sys.executable, "-m", "prefect", "worker", "start", "--pool", pool, "--type", "process"]


def mlflow_server(port: int) -> list[str]:
    """Return the command of the MLflow server over the registries."""
    stores = backends(STATE, os.environ)
    store = ["--backend-store-uri", stores.tracking_uri, "--artifacts-destination", stores.artifacts_uri]
    return [sys.executable, "-m", "mlflow", "server", *store, "--host", HOST, "--port", str(port), "--workers", "1"]


def service_environment(api: str) -> dict[str, str]:
    """Return the environment of all services: one Prefect home and API, one thread, and nothing reports home."""
    return {
        **os.environ,
        "PATH": os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", "")]),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH", "")])),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        "DO_NOT_TRACK": "true",
        "DVC_NO_ANALYTICS": "1",
        "GX_ANALYTICS_ENABLED": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # eight more processes, for jobs that nothing here starts
        "PREFECT_API_URL": api,
        "PREFECT_HOME": str(PROJECT / ".prefect"),
        "PREFECT_LOGGING_LEVEL": "INFO",  # a run's log is on its page
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",  # only the server's log tells when its scheduler fails
    }


@dataclass(frozen=True)
class Starter:
    """Starts services and remembers them in order."""

    environment: Mapping[str, str]
    logs: Path
    services: list[Service]

    def __call__(self, name: str, command: Sequence[str]) -> Service:
        """Start ``command`` under a guard; its log begins anew."""
        log = self.logs / f"{name}.log"
        with log.open("wb") as stream:
            guard = subprocess.Popen(
                [sys.executable, "-m", "flows.guard", *command],
                cwd=PROJECT,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.services.append(Service(name, guard, log))
        return self.services[-1]


@contextmanager
def running(environment: Mapping[str, str], logs: Path) -> Iterator[Starter]:
    """Give a starter of services; at the end, end them all, the last one first, so that a worker can still report."""
    logs.mkdir(parents=True, exist_ok=True)
    starter = Starter(environment, logs, [])
    try:
        yield starter
    finally:
        # A second Ctrl-C would leave the first one's work half done; the guards take 15 seconds at most.
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        for service in reversed(starter.services):
            service.end()


def refuse_taken(port: int, purpose: str, option: str) -> None:
    """Raise ConfigError when something listens on ``port`` of this machine."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a server that has just ended does not count
        try:
            probe.bind((HOST, port))
        except OSError as error:
            do = f"End what listens there or give {option}"
            raise ConfigError(f"port {port}", f"must be free for {purpose}", error.strerror, do) from error


def wait_for(url: str, service: Service, seconds: float = START_SECONDS) -> None:
    """Return once ``url`` answers. Raises ServiceFailed when the service ends first or the time is over."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        service.refuse_ended()
        try:
            answer(url)
            return
        except OSError:
            time.sleep(LOOK_SECONDS)
    raise ServiceFailed(f"{service.name}: must answer at {url} within {seconds:.0f} s. See {service.log}")


def answer(url: str, question: object = None) -> Any:
    """Return what ``url`` answers, to ``question`` as JSON if one is given. Raises OSError on an error or no answer."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy cannot reach this loopback
    body = None if question is None else json.dumps(question).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with direct.open(request, timeout=10) as response:
        content = response.read().decode()
    return json.loads(content) if "json" in response.headers.get_content_type() else content


def end_lost_runs(api: str) -> None:
    """Write down as crashed what an earlier worker left running: it ended with it, and would block its deployment."""
    lost = {"state": {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}, "deployment_id": {"is_null_": False}}
    for run in answer(f"{api}/flow_runs/filter", {"flow_runs": lost}):
        state = {"type": "CRASHED", "message": "The servers ended while it ran"}
        answer(f"{api}/flow_runs/{run['id']}/set_state", {"state": state, "force": True})


def deploy(environment: Mapping[str, str]) -> None:
    """Deploy all that ``prefect.yaml`` names, with its schedules. Raises ServiceFailed with what Prefect said."""
    command = [sys.executable, "-m", "prefect", "deploy", "--no-prompt", "--all"]
    completed = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
    if completed.returncode != 0:
        said = (completed.stderr.strip() or completed.stdout.strip())[-500:]
        raise ServiceFailed(f"prefect.yaml: the deployments must be accepted by the server; it said {said}")


def print_links(prefect: str, mlflow: str, deployments: Mapping[str, Mapping[str, Any]]) -> None:
    """Print where everything is, and the schedules as the server has them."""
    table = Table(title="GrandModel is up", title_justify="left")
    for column in ("what", "where", "when"):
        table.add_column(column, no_wrap=True)
    table.add_row("Prefect", prefect, "")
    for name, item in deployments.items():
        plans = [plan["schedule"] for plan in item["schedules"] if plan["active"]]
        when = ", ".join(f"{plan['cron']} {plan['timezone']}" for plan in plans)
        table.add_row(name, f"{prefect}/deployments/deployment/{item['id']}", when or "by hand")
    table.add_row("MLflow", mlflow, "")
    table.add_row("logs", str(STATE / "logs"), "")
    Console(width=max(console.width, 160)).print(table)  # an address cut by a narrow terminal cannot be followed
    now = f"PREFECT_API_URL={prefect}/api prefect deployment run {next(iter(deployments))}"
    console.print(f"Release now: {now}", soft_wrap=True)
    console.print("Ctrl-C ends them all, and a release that is being made.")


def stay(services: Sequence[Service]) -> None:
    """Wait for ever. Raises ServiceFailed as soon as a service has ended."""
    while True:
        for service in services:
            service.refuse_ended()
        time.sleep(LOOK_SECONDS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(prog="grandmodel up", description=__doc__)
    parser.add_argument("--prefect-port", type=int, default=PREFECT_PORT)
    parser.add_argument("--mlflow-port", type=int, default=MLFLOW_PORT)
    options = parser.parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        up(options.prefect_port, options.mlflow_port)
    except KeyboardInterrupt:
        console.print("Ended.")
        return 0
    except (GrandModelError, ServiceFailed) as error:
        Console(stderr=True).print(f"[bold red]error:[/bold red] {escape(str(error))}", soft_wrap=True)
        return 1
    return 0


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
