from __future__ import annotations

from typing import Any

import pytest

from flows.retrain import decided

CHECKS = [{"name": "psi_below_bound", "level": "critical", "passed": False, "rule": "PSI must stay below .25"}]


def found(**changes: Any) -> dict[str, Any]:
    common = {"batch": "june", "reference": "may", "raw_hash": "ab" * 32, "simulated": True, "checks": CHECKS}
    return common | {"drifted": True, "trained": False} | changes


def test_new_bars_that_drifted_are_trained_on() -> None:
    sentence, wanted = decided(found())
    assert wanted
    assert sentence.startswith("The simulated bars june (hash abababababab) have drifted from may (psi_below_bound)")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"drifted": False, "checks": []}, "have not drifted from may"),
        ({"trained": True}, "one hash is trained once"),
    ],
)
def test_bars_that_did_not_drift_or_were_trained_on_are_left_alone(changes: dict[str, Any], why: str) -> None:
    sentence, wanted = decided(found(**changes))
    assert not wanted
    assert why in sentence
