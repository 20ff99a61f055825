import json

import numpy as np
import pytest

from grandmodel.gates.result import GateResult, days_words, plain, power_evidence, refused
from grandmodel.gates.text import count, listing, number, percent


def test_a_result_survives_json() -> None:
    evidence = {"rows": [1, 2], "words": "x", "none": None, "power_statement": "Exact."}
    result = GateResult("g", True, 1.5, 1.0, 0.8, 10, "Because.", evidence)
    assert GateResult.from_dict(json.loads(json.dumps(result.to_dict()))) == result


@pytest.mark.parametrize(
    "change",
    [
        {"statistic": float("nan")},
        {"threshold": float("inf")},
        {"power": 1.2},
        {"passed": np.bool_(True)},
        {"statistic": None},
        {"reason": ""},
        {"n": 0},
        {"power": None},
        {"evidence": {}},
        {"evidence": {"power_statement": ""}},
    ],
)
def test_a_result_with_a_hole_in_it_cannot_be_built(change: dict[str, object]) -> None:
    whole = {"name": "g", "passed": True, "statistic": 1.0, "threshold": 0.0, "power": 0.5, "n": 1, "reason": "r"}
    told = {"power_statement": "Exact."}
    GateResult(**whole, evidence=told)  # type: ignore[arg-type]
    with pytest.raises(AssertionError):
        GateResult(**{**whole, "evidence": told, **change})  # type: ignore[arg-type]


def test_a_refusal_may_have_no_power() -> None:
    assert not GateResult("g", False, 1.0, 0.0, None, 0, "r", {}).passed


def test_evidence_with_nan_cannot_be_stored() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        GateResult("g", False, 1.0, 0.0, None, 1, "r", {"x": float("nan")})


def test_plain_turns_numpy_into_json_types() -> None:
    value = plain({"a": np.float64(1.5), "b": np.array([1, 2]), "c": (np.int32(3), True), "d": np.nan})
    assert value == {"a": 1.5, "b": [1, 2], "c": [3, True], "d": "nan"}
    json.dumps(value, allow_nan=False)


def test_what_cannot_be_computed_is_refused_with_its_reason() -> None:
    result = refused("g", 0.5, "no days.")
    assert not result.passed
    assert result.statistic is None
    assert result.threshold == 0.5
    assert result.reason == "Refused because the statistic cannot be computed: no days."


def test_every_verdict_speaks_of_its_power_under_the_same_names() -> None:
    names = {"power_statement", "smallest_defect", "data_needed", "smallest_effect_80", "days_needed_80"}
    told = power_evidence("Exact.", smallest="one fault", data="none", smallest_effect_80=0.2, days_needed_80=30)
    assert set(told) == names
    assert set(refused("g", 0.5, "no days").evidence) == names
    assert refused("g", 0.5, "no days", evidence={"trials": 3}).evidence["trials"] == 3


def test_days_that_are_needed_are_told_beside_those_that_are_there() -> None:
    assert days_words(None, 200) == "more days would not help"
    assert days_words(200, 200) == "none"
    assert days_words(1450, 200) == "1,250 more days (1,450 in all)"


def test_figures_are_spelt_one_way() -> None:
    assert percent(0.1234) == "12.3 %"
    assert percent(-0.05, 0) == "\N{MINUS SIGN}5 %"
    assert percent(0.02, signed=True) == "+2.0 %"
    assert number(-0.0001) == "0.00"
    assert number(12345.678) == "12,345.68"
    assert count(1, "day") == "1 day"
    assert count(2, "matrix", "matrices") == "2 matrices"
    assert listing(["a"]) == "a"
    assert listing(["a", "b", "c"]) == "a, b and c"
    assert listing(["a", "b", "c"], 2) == "a, b and 1 more"
    assert listing([]) == "none"
