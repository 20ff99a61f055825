"""Deployments on a real Prefect server with a real worker: a schedule that fires, an approval that survives a kill."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from flows import up
from tests.flows.test_moves import add_release, champion, last_line
from tests.flows.test_up import free_port

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Served:
    """A Prefect server with the project's deployments, and a worker that a test may kill."""

    api: str
    start: up.Starter

    def worker(self) -> up.Service:
        return self.start("worker", up.prefect_worker("local"))

    def deployment(self, name: str) -> str:
        return str(up.answer(f"{self.api}/deployments/name/{name}")["id"])

    def run(self, identity: str) -> Any:
        return up.answer(f"{self.api}/flow_runs/{identity}")

    def wait_for(self, identity: str, state: str) -> Any:
        until(lambda: self.run(identity)["state_name"] == state)
        return self.run(identity)

    def order(self, name: str, **parameters: str) -> str:
        order = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return str(up.answer(f"{self.api}/deployments/{self.deployment(name)}/create_flow_run", order)["id"])

    def resume(self, identity: str, **answers: object) -> Any:
        return up.answer(f"{self.api}/flow_runs/{identity}/resume", {"run_input": answers})


def until(happened: Callable[[], bool], seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.2)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = tmp_path_factory.mktemp("prefect")
    port = free_port()
    api = f"http://{up.HOST}:{port}/api"
    environment = up.service_environment(api) | {"PREFECT_HOME": str(home)}
    environment |= {"PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "2"}  # else a schedule waits a minute to be seen
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("flows.up.signal.signal", lambda *_: None)  # its end leaves this process's handlers alone
        with up.running(environment, home / "logs") as start:
            server = start("server", up.prefect_server(port))
            up.wait_for(f"{api}/health", server)
            found = Served(api, start)
            up.wait_for(f"{api}/work_pools/local", found.worker())
            up.deploy(environment)
            yield found


@pytest.fixture
def waiting(served: Served, tmp_path: Path) -> tuple[str, Path]:
    """A run of the approval that waits for its form, and the state folder that it is about."""
    state = tmp_path / "state"
    add_release(state, 1.0, "production")
    add_release(state, 2.0, "canary")
    identity = served.order("promote/approval", state=str(state), workspace=str(tmp_path))
    served.wait_for(identity, "Suspended")
    return identity, state


def test_a_schedule_fires_and_says_why_there_was_nothing_to_do(served: Served, tmp_path: Path) -> None:
    deployment = served.deployment("retrain_on_drift/nightly-drift")
    plan: dict[str, Any] = {"schedule": {"interval": 10}, "active": True}
    plan["parameters"] = {"batch": str(tmp_path / "nothing")}
    [made] = up.answer(f"{served.api}/deployments/{deployment}/schedules", [plan])

    def completed() -> list[Any]:
        chosen = {
            "deployments": {"id": {"any_": [deployment]}},
            "flow_runs": {"state": {"type": {"any_": ["COMPLETED"]}}},
        }
        return list(up.answer(f"{served.api}/flow_runs/filter", chosen))

    until(lambda: bool(completed()))
    run = completed()[0]
    assert run["auto_scheduled"]
    assert run["created_by"]["type"] == "SCHEDULE"
    assert (run["state_name"], run["parameters"]) == ("Skipped", plan["parameters"])
    assert "no bars came in" in run["state"]["message"]
    assert made["active"]
    up.answer(f"{served.api}/deployments/{deployment}/pause_deployment", {})


def test_the_form_asks_for_a_name_and_shows_the_release(served: Served, waiting: tuple[str, Path]) -> None:
    identity, state = waiting

    def kept(name: str) -> list[str]:
        wanted = {"prefix": "suspended-approve", "limit": 10}
        inputs = up.answer(f"{served.api}/flow_runs/{identity}/input/filter", wanted)
        return [one["value"] for one in inputs if one["key"].endswith(name)]

    until(lambda: bool(kept("-description")))  # written last, after the state
    assert "simulated data" in kept("-description")[0]
    [schema] = [json.loads(text) for text in kept("-schema")]
    assert {"approver", "approve", "reason"} <= set(schema["properties"])
    assert {"approver", "reason"} <= set(schema["required"])
    refused = served.resume(identity, approver="Ada", approve="perhaps", reason="a look")
    assert refused["status"] == "REJECT"
    served.resume(identity, approver="Ada", approve=False, reason="the drawdown")
    served.wait_for(identity, "Completed")
    assert champion(state) == "first"
    assert (last_line(state).kind, last_line(state).actor) == ("refusal", "Ada")
    assert last_line(state).reason == "Ada did not approve: the drawdown"


def test_an_approval_by_the_api_resumes_a_run_whose_worker_was_killed(
    served: Served, waiting: tuple[str, Path]
) -> None:
    identity, state = waiting
    worker = served.start.services[-1]
    for process in psutil.Process(worker.guard.pid).children(recursive=True):
        process.kill()
    worker.guard.wait(30)
    served.resume(identity, approver="Ada", approve=True, reason="all gates passed")
    assert champion(state) == "first"
    served.worker()
    served.wait_for(identity, "Completed")
    assert champion(state) == "second"
    line = last_line(state)
    assert (line.kind, line.subject["approver"]) == ("promotion", "Ada")
    assert line.reason == "approved in the form: all gates passed"


@pytest.fixture
def page() -> Iterator[Any]:
    """A page of a real browser; its time limits are for a busy machine."""
    api = pytest.importorskip("playwright.sync_api", reason="no driver: pip install -r tests/requirements.txt")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no browser: apt-get install chromium")
    with api.sync_playwright() as playwright, playwright.chromium.launch(executable_path=chromium) as browser:
        page = browser.new_page()
        page.set_default_timeout(60_000)
        yield page


def test_an_approval_by_the_form_of_the_page_moves_the_release(
    served: Served, waiting: tuple[str, Path], page: Any
) -> None:
    identity, state = waiting
    page.goto(f"{served.api.removesuffix('/api')}/runs/flow-run/{identity}")
    page.get_by_role("button", name="Resume", exact=True).click()
    form = page.get_by_role("dialog")  # approver, approve, reason; Prefect ties no label to its field
    form.get_by_role("textbox").nth(0).fill("Ada")
    form.get_by_role("switch").click()
    form.get_by_role("textbox").nth(1).fill("seen in the browser")
    form.get_by_role("button", name="Submit").click()
    served.wait_for(identity, "Completed")
    assert champion(state) == "second"
    line = last_line(state)
    assert (line.kind, line.subject["approver"]) == ("promotion", "Ada")
    assert line.reason == "approved in the form: seen in the browser"
