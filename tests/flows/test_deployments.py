"""``prefect.yaml`` is the one place that says what is deployed and when; it must fit the flows that it names."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import yaml
from prefect.client.schemas.schedules import CronSchedule
from prefect.flows import Flow, load_flow_from_entrypoint

from flows import up
from pipelines.workspace import PROJECT

CONTENT: dict[str, Any] = yaml.safe_load((PROJECT / "prefect.yaml").read_text())
DEPLOYMENTS: list[dict[str, Any]] = CONTENT["deployments"]


@pytest.fixture(scope="module", params=DEPLOYMENTS, ids=lambda item: item["name"])
def deployed(request: pytest.FixtureRequest) -> tuple[dict[str, Any], Flow[..., Any]]:
    path, _, function = request.param["entrypoint"].partition(":")
    return request.param, load_flow_from_entrypoint(f"{PROJECT / path}:{function}")


def test_something_is_deployed_on_a_schedule() -> None:
    assert any(item.get("schedules") for item in DEPLOYMENTS)


def test_the_release_comes_first_and_the_rest_keeps_out_of_its_way() -> None:
    when = {up.full_name(item): [plan["cron"] for plan in item["schedules"]] for item in DEPLOYMENTS}
    assert when == {
        "release/nightly": ["30 17 * * 1-5"],
        "risk_backtest/nightly-risk": ["30 18 * * 1-5"],
        "canary/nightly-canary": ["30 20 * * 1-5"],
        "promote/approval": [],
        "rollback/by-hand": [],
        "retrain_on_drift/nightly-drift": ["30 22 * * 1-5"],
    }


def test_a_flow_has_the_name_of_its_function(deployed: tuple[dict[str, Any], Flow[..., Any]]) -> None:
    assert up.full_name(deployed[0]) == f"{deployed[1].name}/{deployed[0]['name']}"


def test_parameters_are_those_of_the_flow(deployed: tuple[dict[str, Any], Flow[..., Any]]) -> None:
    item, flow = deployed
    signature = inspect.signature(flow.fn).parameters
    required = {name for name, parameter in signature.items() if parameter.default is inspect.Parameter.empty}
    assert signature
    assert required <= set(item["parameters"]) <= set(signature)
    flow.validate_parameters({name: p.default for name, p in signature.items()} | item["parameters"])


def test_schedules_are_possible(deployed: tuple[dict[str, Any], Flow[..., Any]]) -> None:
    for schedule in deployed[0]["schedules"]:
        assert CronSchedule(cron=schedule["cron"], timezone=schedule["timezone"]).cron == schedule["cron"]


def test_a_flow_never_runs_beside_itself_and_what_a_person_asked_for_waits(
    deployed: tuple[dict[str, Any], Flow[..., Any]],
) -> None:
    collision = "CANCEL_NEW" if deployed[0]["schedules"] else "ENQUEUE"
    assert deployed[0]["concurrency_limit"] == {"limit": 1, "collision_strategy": collision}


def test_no_pull_step_leads_away_from_this_checkout() -> None:
    assert "pull" not in CONTENT
    assert not [item for item in DEPLOYMENTS if "pull" in item]


def test_prefect_is_the_locked_one() -> None:
    locked = (PROJECT / "requirements.lock").read_text().splitlines()
    assert f"prefect=={CONTENT['prefect-version']}" in locked
