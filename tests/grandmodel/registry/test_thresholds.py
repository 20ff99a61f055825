"""No door opens for gates that were asked less than the house asks."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from grandmodel.core.config import GateParams, load_environment
from grandmodel.registry.bundle import seal, verify
from grandmodel.registry.conditions import unmet_conditions
from grandmodel.registry.signing import development_key
from grandmodel.registry.thresholds import AT_LEAST, AT_MOST, looser_thresholds
from tests.grandmodel.registry.releases import CONFIGS, PARAMS, SELECTED, make_bundle

CONTENT: dict[str, Any] = PARAMS.model_dump(mode="json")
PROBABILITY_OF_THE_QUESTION = {"risk_level"}  # neither side is the stricter one: it is which number is judged


def changed(key: str, value: object) -> dict[str, Any]:
    content = copy.deepcopy(CONTENT)
    section, name = key.split(".")
    content[section][name] = value
    return content


def test_the_parameters_of_the_house_pass_and_every_threshold_of_a_gate_is_watched() -> None:
    assert looser_thresholds(CONTENT) == []
    watched = {key.removeprefix("gates.") for key in (*AT_LEAST, *AT_MOST) if key.startswith("gates.")}
    assert watched == set(GateParams.model_fields) - PROBABILITY_OF_THE_QUESTION


@pytest.mark.parametrize("key", [*AT_LEAST, *AT_MOST])
def test_looser_absent_and_nameless_thresholds_are_told_and_stricter_ones_pass(key: str) -> None:
    bound = (AT_LEAST | AT_MOST)[key]
    loose, strict = (bound - 0.01, bound + 0.01) if key in AT_LEAST else (bound + 0.01, bound - 0.01)
    side = "least" if key in AT_LEAST else "most"
    assert looser_thresholds(changed(key, loose)) == [f"{key} must be at {side} {bound:g} here, found {loose:g}"]
    assert looser_thresholds(changed(key, strict)) == []
    for nothing in (None, "0.95", True, float("nan")):
        assert looser_thresholds(changed(key, nothing)) == [f"{key} must be at {side} {bound:g} here, found none"]


def test_parameters_that_are_absent_are_all_too_loose() -> None:
    assert len(looser_thresholds(None)) == len(looser_thresholds({"gates": 1})) == len(AT_LEAST) + len(AT_MOST)


@pytest.mark.parametrize(("environment", "reasons"), [("dev", 0), ("staging", 1), ("production", 1)])
def test_a_release_judged_with_a_looser_threshold_stays_in_dev(tmp_path: Path, environment: str, reasons: int) -> None:
    folder = make_bundle(tmp_path / "bundle", tmp_path)
    (folder / "params.json").write_text(json.dumps(changed("gates.deflated_sharpe_min", 0.5)))
    seal(folder, development_key(tmp_path))
    found = unmet_conditions(
        load_environment(CONFIGS / f"{environment}.yaml"),
        verify(folder),
        author="trainer",
        approver="Ada Lovelace",
        evidence=SELECTED,
    )
    assert (
        found
        == ["the gates were asked too little: gates.deflated_sharpe_min must be at least 0.95 here, found 0.5"][
            :reasons
        ]
    )
