"""Champion and challenger decide on bars that neither was fitted on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from grandmodel.core.config import Environment, load_environment
from grandmodel.core.errors import DataError
from grandmodel.data.dataset import Dataset
from grandmodel.gates.canary import follow
from grandmodel.gates.canary_days import CanaryDay, fault_of
from pipelines.canary import Shadow, bar_records, fitted_until_ns, shadow_days, spec_of
from pipelines.workspace import PROJECT, Workspace
from tests.grandmodel.gates.canaries import PLAN


@pytest.fixture(scope="module")
def rules() -> Environment:
    return load_environment(PROJECT / "configs" / "canary.yaml")


@pytest.fixture(scope="module")
def alike(workspace: Workspace, dataset: Dataset, rules: Environment) -> tuple[list[CanaryDay], dict[str, Shadow]]:
    return shadow_days(workspace.package, workspace.package, dataset, workspace.params, rules)


def test_a_release_beside_itself_does_the_same_on_every_day(
    workspace: Workspace, alike: tuple[list[CanaryDay], dict[str, Shadow]]
) -> None:
    days, shadows = alike
    assert days
    assert all(day.champion == day.challenger for day in days)
    assert any(day.champion.fills for day in days)
    assert {fault_of(day) for day in days} == {""}
    course = follow(PLAN, days[: PLAN.days_per_step])
    assert set(course.alarms["slippage"]) == {0.0}
    records = bar_records(shadows)
    assert records["champion/asked"].shape == (len(records["moment_ns"]), len(shadows["champion"].symbols))


def test_no_bar_that_was_fitted_on_is_counted(
    workspace: Workspace, alike: tuple[list[CanaryDay], dict[str, Shadow]]
) -> None:
    days, shadows = alike
    moments = shadows["challenger"].moment_ns[np.isin(shadows["challenger"].session, [day.session for day in days])]
    assert len(moments)
    assert moments.min() > fitted_until_ns(spec_of(workspace.package))


def test_the_money_of_the_days_is_that_of_the_walk(alike: tuple[list[CanaryDay], dict[str, Shadow]]) -> None:
    days, shadows = alike
    shadow = shadows["champion"]
    last = np.flatnonzero(shadow.session == days[-1].session)[-1]
    total = sum(day.champion.log_return or 0.0 for day in days)
    before = np.flatnonzero(shadow.session == days[0].session)[0] - 1
    assert total == pytest.approx(float(np.log(shadow.passage.equity[last] / shadow.passage.equity[max(before, 0)])))


def test_bars_older_than_the_day_that_is_named_are_left_out(
    workspace: Workspace,
    dataset: Dataset,
    rules: Environment,
    alike: tuple[list[CanaryDay], dict[str, Shadow]],
) -> None:
    days, shadows = alike
    later_ns = int(shadows["champion"].moment_ns[np.flatnonzero(shadows["champion"].session == days[2].session)[0]])
    later, _ = shadow_days(workspace.package, workspace.package, dataset, workspace.params, rules, since_ns=later_ns)
    assert later[0].session > days[1].session
    assert later[-1].session == days[-1].session


def test_data_without_an_unseen_bar_are_refused(workspace: Workspace, dataset: Dataset, rules: Environment) -> None:
    newest_ns = max(int(one.close_ns[-1]) for one in dataset.tactical.values())
    with pytest.raises(DataError, match="newer bars"):
        shadow_days(workspace.package, workspace.package, dataset, workspace.params, rules, since_ns=newest_ns)


def test_bars_of_an_instrument_that_a_release_does_not_know_are_refused(
    workspace: Workspace, dataset: Dataset, rules: Environment, tmp_path: Path
) -> None:
    renamed = {f"X{symbol}": replace(one, symbol=f"X{symbol}") for symbol, one in dataset.tactical.items()}
    other = replace(dataset, tactical=renamed)
    with pytest.raises(DataError):
        shadow_days(workspace.package, workspace.package, other, workspace.params, rules)
