import json
import re

import pytest

from grandmodel.core.config import GateParams
from grandmodel.gates.gate_report import gate_report, gate_rows, thresholds_of
from grandmodel.gates.result import GateResult, power_evidence, refused

PARAMS = GateParams(stress_loss_max_frac=0.3)
TOLD = power_evidence("Exact.", smallest="one fault", data="none")
PASSED = GateResult("g6_risk", True, 0.1, 0.3, 1.0, 12, "All is well.", TOLD)
REFUSED = refused("g2_sanity", 0.5, "no team was trained")


def test_each_verdict_is_a_sentence_with_its_power_and_thresholds() -> None:
    good, bad = gate_rows([PASSED, REFUSED], PARAMS)
    assert (good.title, good.passed, good.sentence) == ("G6 risk", True, "All is well.")
    assert (good.smallest_defect, good.data_needed, good.power) == ("one fault", "none", "Exact.")
    limit = next(one for one in good.thresholds if one.key == "stress_loss_max_frac")
    assert (limit.value, limit.source) == (0.3, "house rule above the halt at 20 %")
    assert not bad.passed
    assert "no team was trained" in bad.sentence
    assert bad.smallest_defect == "not known"


def test_the_report_is_plain_json_and_names_who_refuses() -> None:
    content = json.loads(json.dumps(gate_report([PASSED, REFUSED], PARAMS)))
    assert content["refused"] == ["g2_sanity"]
    assert [row["name"] for row in content["gates"]] == ["g6_risk", "g2_sanity"]


@pytest.mark.parametrize("key", GateParams.model_fields)
def test_every_threshold_belongs_to_a_gate_and_names_its_source(key: str) -> None:
    told = GateParams.model_fields[key].description or ""
    number = re.fullmatch(r"(G\d): .*; .+", told)
    assert number, f"the description of {key} must read `G3: meaning; source`"
    assert key in [one.key for one in thresholds_of(f"{number[1].lower()}_x", PARAMS)]
