"""The controls of the project point at limits and tests that exist; others are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from grandmodel.compliance.controls import Control, limit_value, load_controls, names_a_test
from grandmodel.core.config import BreakerLimits, Environment, RiskLimits, load_environment
from grandmodel.core.errors import ConfigError

PROJECT = Path(__file__).resolve().parents[3]
PRODUCTION = load_environment(PROJECT / "configs" / "production.yaml")
HERE = "tests/grandmodel/compliance/test_controls.py"
# They set sizes and change nothing that was asked for, so nothing fires on them.
SIZING = {"limits.kelly_fraction", "limits.kelly_cap_frac"}


@pytest.fixture(scope="module")
def controls() -> tuple[Control, ...]:
    return load_controls(PROJECT / "configs" / "controls.yaml", PROJECT, PRODUCTION)


def control(**changes: Any) -> dict[str, Any]:
    named = f"{HERE}::test_every_named_test_and_limit_exists"
    trigger = {"record": "journal", "kind": "halt"}
    return {"id": "halt", "rule": "Stop.", "test": named, "triggers": [trigger], "source": "house", **changes}


def load(folder: Path, *listed: dict[str, Any], environment: str = "production") -> tuple[Control, ...]:
    path = folder / "controls.yaml"
    path.write_text(yaml.safe_dump({"environment": environment, "controls": list(listed)}))
    return load_controls(path, PROJECT, PRODUCTION)


def test_every_named_test_and_limit_exists(controls: tuple[Control, ...]) -> None:
    assert len(controls) > 20
    assert all(names_a_test(one.test, PROJECT) for one in controls)
    assert all(limit_value(PRODUCTION, name) is not None for one in controls for name in one.limits)


def test_every_limit_of_the_configuration_stands_in_a_control(controls: tuple[Control, ...]) -> None:
    listed = {name for one in controls for name in one.limits}
    wanted = {f"limits.{name}" for name in RiskLimits.model_fields} - SIZING
    wanted |= {f"breaker.{name}" for name in BreakerLimits.model_fields}
    assert listed >= wanted
    assert {"gates_required", "approval_required"} <= set(Environment.model_fields) & listed


def test_no_control_says_that_a_law_is_fulfilled(controls: tuple[Control, ...]) -> None:
    text = (PROJECT / "configs" / "controls.yaml").read_text().lower()
    assert "rule checks with evidence" in text
    assert "compliant" not in text


def test_a_good_file_is_read_in_its_order(tmp_path: Path) -> None:
    found = load(tmp_path, control(), control(id="loss", limits=["limits.daily_loss_max_frac"]))
    assert [one.id for one in found] == ["halt", "loss"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"test": f"{HERE}::test_that_is_not_there"}, r"control halt: its test must exist; found '.*not_there'"),
        ({"test": "tests/nowhere.py::test_it"}, "its test must exist"),
        ({"test": f"{HERE}::control"}, "its test must exist"),
        ({"test": HERE}, "its test must exist"),
        ({"test": f"tests/../{HERE}::test_a_good_file_is_read_in_its_order"}, "its test must exist"),
        ({"test": "grandmodel/compliance/controls.py::names_a_test"}, "its test must exist"),
        ({"limits": ["limits.daily_loss"]}, "its limit must be one of the environment production; found 'limits.daily"),
        ({"limits": ["limits"]}, "must be a number, a switch or a list; found 'limits'"),
        ({"limits": ["name"]}, "must be a number, a switch or a list; found 'name'"),
        ({"limits": ["limits.daily_loss_max_frac.more"]}, "its limit must be one of"),
        ({"triggers": []}, r"controls\.0\.triggers"),
        ({"triggers": [{"record": "diary", "kind": "halt"}]}, r"triggers\.0\.record"),
        ({"rule": ""}, r"controls\.0\.rule"),
        ({"level": 3}, r"controls\.0\.level"),
        ({"id": "A halt"}, r"controls\.0\.id"),
    ],
)
def test_a_bad_control_is_refused_by_name(tmp_path: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        load(tmp_path, control(**changes))


def test_two_controls_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="control halt: must stand there once"):
        load(tmp_path, control(), control(rule="Stop again."))


def test_limits_of_another_environment_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="key environment: must be 'production'; found 'canary'"):
        load(tmp_path, control(), environment="canary")


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the file must exist"):
        load_controls(tmp_path / "controls.yaml", PROJECT, PRODUCTION)
