from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from grandmodel.core.config import Environment
from grandmodel.core.errors import ConfigError
from grandmodel.registry.bundle import Bundle
from grandmodel.registry.conditions import environment_before, load_environments, unmet_conditions
from tests.grandmodel.registry.releases import GATES, PARAMS, SELECTED


def bundle_with(
    folder: Path, gates: Any, decision_hash: str | None = "d", profile: str | None = "full", simulated: bool = True
) -> Bundle:
    (folder / "gates.json").write_text(json.dumps(gates))
    (folder / "evidence.json").write_text(
        json.dumps({"data": {"simulated": simulated}, "decision_hash": decision_hash, "profile": profile})
    )
    (folder / "params.json").write_text(PARAMS.model_dump_json())
    files = dict.fromkeys(("gates.json", "evidence.json", "params.json"), "")
    return Bundle(folder, "0" * 12, "0" * 64, files, "development key", "")


def check(environment: Environment, bundle: Bundle, **changes: Any) -> list[str]:
    shown = SELECTED | {"decision_hash": "d"}
    asked: dict[str, Any] = {"author": "ann", "approver": "bob", "evidence": shown, **changes}
    return unmet_conditions(environment, bundle, **asked)


ALL_PASSED = [{"name": name, "passed": True} for name in GATES]


def test_the_configs_ask_for_all_gates_and_one_approval(environments: dict[str, Environment]) -> None:
    assert [environments[name].gates_required for name in ("dev", "staging", "canary", "production")] == [
        (),
        GATES,
        GATES,
        GATES,
    ]
    assert [name for name, found in environments.items() if found.approval_required] == ["production"]
    assert all(found.registered_model == f"{name}.grandmodel" for name, found in environments.items())


def test_a_config_that_names_another_environment_is_refused(
    tmp_path: Path, environments: dict[str, Environment]
) -> None:
    for name, environment in environments.items():
        (tmp_path / f"{name}.yaml").write_text(json.dumps(environment.model_dump(mode="json")))
    assert load_environments(tmp_path) == environments
    (tmp_path / "canary.yaml").write_text((tmp_path / "staging.yaml").read_text())
    with pytest.raises(ConfigError, match="canary"):
        load_environments(tmp_path)


@pytest.mark.parametrize("name", ["staging", "canary", "production"])
def test_a_release_that_shows_everything_is_let_in(
    environments: dict[str, Environment], tmp_path: Path, name: str
) -> None:
    assert check(environments[name], bundle_with(tmp_path, ALL_PASSED)) == []


@pytest.mark.parametrize(("profile", "found"), [("quick", "quick"), (None, "none named")])
def test_a_quick_release_leaves_dev_for_nowhere(
    environments: dict[str, Environment], tmp_path: Path, profile: str | None, found: str
) -> None:
    bundle = bundle_with(tmp_path, ALL_PASSED, profile=profile)
    assert check(environments["dev"], bundle) == []
    for name in ("staging", "canary", "production"):
        assert check(environments[name], bundle) == [f"{name} takes releases of profile full, found {found}"]


def test_dev_asks_for_nothing(environments: dict[str, Environment], tmp_path: Path) -> None:
    assert check(environments["dev"], bundle_with(tmp_path, []), approver=None, evidence={}) == []


@pytest.mark.parametrize("passed", [False, None, 1, "true"])
def test_only_a_true_verdict_passes_a_gate(
    environments: dict[str, Environment], tmp_path: Path, passed: object
) -> None:
    gates = [*ALL_PASSED[:3], {"name": "g3_seeds", "passed": passed, "reason": "no edge"}, *ALL_PASSED[4:]]
    assert check(environments["staging"], bundle_with(tmp_path, gates)) == ["gate g3_seeds did not pass: no edge"]


def test_a_gate_that_failed_once_is_not_mended_by_a_second_line(
    environments: dict[str, Environment], tmp_path: Path
) -> None:
    gates = [*ALL_PASSED, {"name": "g2_sanity", "passed": False, "reason": "placebo profits"}]
    assert check(environments["staging"], bundle_with(tmp_path, gates)) == [
        "gate g2_sanity did not pass: placebo profits"
    ]


def test_a_gate_that_was_not_run_blocks(environments: dict[str, Environment], tmp_path: Path) -> None:
    assert check(environments["staging"], bundle_with(tmp_path, ALL_PASSED[1:])) == ["gate g0_data was not run"]


@pytest.mark.parametrize("gates", [{}, "g0_data", [1]])
def test_gates_of_another_shape_block(environments: dict[str, Environment], tmp_path: Path, gates: object) -> None:
    assert check(environments["staging"], bundle_with(tmp_path, gates))


def test_canary_needs_equal_decisions(environments: dict[str, Environment], tmp_path: Path) -> None:
    bundle = bundle_with(tmp_path, ALL_PASSED)
    assert "decide otherwise" in check(environments["canary"], bundle, evidence={"decision_hash": "e"})[0]
    assert "not measured" in check(environments["canary"], bundle, evidence={})[0]
    assert "not measured" in check(environments["canary"], bundle_with(tmp_path, ALL_PASSED, None))[0]


@pytest.mark.parametrize(
    "shown", [{}, {"selection": None}, {"selection": True}, {"selection": {"name": "g3_seeds", "passed": True}}]
)
def test_staging_needs_a_verdict_over_all_trials(
    environments: dict[str, Environment], tmp_path: Path, shown: dict[str, Any]
) -> None:
    reasons = check(environments["staging"], bundle_with(tmp_path, ALL_PASSED), evidence=shown)
    assert len(reasons) == 1
    assert "over all trials" in reasons[0]


@pytest.mark.parametrize("passed", [False, None, 1, "true"])
def test_only_a_true_verdict_over_all_trials_lets_into_staging(
    environments: dict[str, Environment], tmp_path: Path, passed: object
) -> None:
    bundle = bundle_with(tmp_path, ALL_PASSED)
    shown = {"selection": {"name": "g4_selection", "passed": passed, "reason": "best of 50"}}
    assert check(environments["staging"], bundle, evidence=shown) == [
        "gate g4_selection over all trials did not pass: best of 50"
    ]
    assert check(environments["canary"], bundle, evidence=shown | {"decision_hash": "d"}) == []


def test_a_refused_gate_passes_by_waiver_alone(environments: dict[str, Environment], tmp_path: Path) -> None:
    refusal = {"name": "g3_seeds", "passed": False, "reason": "no edge"}
    bundle = bundle_with(tmp_path, [*ALL_PASSED[:3], refusal, *ALL_PASSED[4:]])
    for name in ("staging", "canary", "production"):
        assert check(environments[name], bundle) == ["gate g3_seeds did not pass: no edge"]
        assert check(environments[name], bundle, is_waived=lambda verdict: verdict == refusal) == []


def test_a_gate_that_was_not_run_cannot_be_waived(environments: dict[str, Environment], tmp_path: Path) -> None:
    bundle = bundle_with(tmp_path, ALL_PASSED[1:])
    assert check(environments["staging"], bundle, is_waived=lambda verdict: True) == ["gate g0_data was not run"]


@pytest.mark.parametrize(
    "approver",
    [
        None,
        "",
        " ",
        "ann",
        " Ann ",
        "ａｎｎ",
        "an\u200bn",
        "release-flow",
        "promote\u2011flow",
        "promote\u2212flow",
        "Ann\ufe0f",
    ],
)
def test_production_needs_another_person(
    environments: dict[str, Environment], tmp_path: Path, approver: str | None
) -> None:
    assert len(check(environments["production"], bundle_with(tmp_path, ALL_PASSED), approver=approver)) == 1


def test_environments_follow_one_another() -> None:
    assert [environment_before(name) for name in ("staging", "canary", "production")] == ["dev", "staging", "canary"]
    for name in ("dev", "prod"):
        with pytest.raises(ConfigError, match="target environment"):
            environment_before(name)


@pytest.mark.parametrize(
    ("upper", "fitted_before", "reasons"), [(-0.01, True, 1), (-0.01, False, 0), (0.01, True, 0), (None, True, 0)]
)
def test_production_refuses_what_is_shown_to_be_worse_than_an_unbiased_champion(
    environments: dict[str, Environment], tmp_path: Path, upper: float | None, fitted_before: bool, reasons: int
) -> None:
    verdict: dict[str, Any] = {"name": "g3_seeds", "passed": False, "reason": "not shown to beat champion"}
    verdict |= {"evidence": {"baselines": {"champion": {"lower": -0.3, "upper": upper}}}}
    shown = {"against_champion": verdict, "champion_fitted_before": fitted_before}
    said = ["the champion is shown to be better on the same days: not shown to beat champion"][:reasons]
    assert check(environments["production"], bundle_with(tmp_path, ALL_PASSED), evidence=shown) == said


@pytest.mark.parametrize(
    ("name", "change", "key"),
    [
        ("staging", {"gates_required": []}, "gates_required"),
        ("canary", {"gates_required": list(GATES[:-1])}, "gates_required"),
        ("staging", {"profiles_admitted": ["full", "quick"]}, "profiles_admitted"),
        ("production", {"profiles_admitted": []}, "profiles_admitted"),
        ("production", {"approval_required": False}, "approval_required"),
    ],
)
def test_a_config_that_would_open_a_door_is_refused(
    environments: dict[str, Environment], tmp_path: Path, name: str, change: dict[str, Any], key: str
) -> None:
    for other, environment in environments.items():
        changed = change if other == name else {}
        (tmp_path / f"{other}.yaml").write_text(json.dumps(environment.model_dump(mode="json") | changed))
    with pytest.raises(ConfigError, match=f"{name}.yaml key {key}.*grandmodel waive"):
        load_environments(tmp_path)


PASSED_CANARY = {"name": "g8_canary", "passed": True, "reason": "walked through"}


@pytest.mark.parametrize(
    ("shown", "reason"),
    [
        ({}, "the canary was not judged: the evidence of this move holds no verdict of it"),
        ({"canary": {"name": "g3_seeds", "passed": True}}, "the canary was not judged"),
        (
            {"canary": PASSED_CANARY | {"passed": False, "reason": "no day yet"}},
            "gate g8_canary did not pass: no day yet",
        ),
        ({"canary": PASSED_CANARY | {"passed": 1}}, "gate g8_canary did not pass"),
    ],
)
def test_a_release_on_real_data_enters_production_by_its_canary_alone(
    environments: dict[str, Environment], tmp_path: Path, shown: dict[str, Any], reason: str
) -> None:
    bundle = bundle_with(tmp_path, ALL_PASSED, simulated=False)
    (found,) = check(environments["production"], bundle, evidence=shown)
    assert found.startswith(reason)
    assert check(environments["production"], bundle, evidence={"canary": PASSED_CANARY}) == []
