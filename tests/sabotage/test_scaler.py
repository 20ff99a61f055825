"""A scaler fitted on all data: gate G1 refuses it, whether or not it admits to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import pipelines.features
from grandmodel.core.bars import Bars
from grandmodel.core.errors import LeakageError
from grandmodel.features.scaler import FittedScaler
from grandmodel.gates.result import GateResult
from models.feature_spec import SymbolSpec, fit_symbol
from tests.sabotage.conftest import Attempt

Rows = tuple[tuple[int, int], ...]


def fit_on_all(bars30: Bars, bars5: Bars, train_rows30: Rows, train_rows5: Rows, *rest: Any) -> SymbolSpec:
    """Fit on every bar there is."""
    return fit_symbol(bars30, bars5, [(0, len(bars30))], [(0, len(bars5))], *rest)


def fit_on_all_and_deny_it(bars30: Bars, bars5: Bars, train_rows30: Rows, train_rows5: Rows, *rest: Any) -> SymbolSpec:
    """Fit on every bar, and claim the window of an honest fit."""
    spec = fit_on_all(bars30, bars5, train_rows30, train_rows5, *rest)

    def denying(scaler: FittedScaler | None, bars: Bars, rows: Rows) -> FittedScaler:
        assert scaler is not None
        return replace(scaler, fit_stop_ns=int(bars.start_ns[rows[-1][1] - 1]) + 1)

    return replace(
        spec,
        strategic=denying(spec.strategic, bars30, train_rows30),
        tactical=denying(spec.tactical, bars5, train_rows5),
    )


def test_a_scaler_fitted_on_all_data_does_not_even_scale_its_test(
    attempt: Callable[[], Attempt], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines.features, "fit_symbol", fit_on_all)
    with pytest.raises(LeakageError, match="unseen rows must start at"):
        attempt()


def test_a_scaler_fitted_on_all_data_in_secret_is_caught(
    attempt: Callable[[], Attempt], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipelines.features, "fit_symbol", fit_on_all_and_deny_it)
    result = attempt().leakage()
    assert not result.passed
    assert "what fold 0 fitted changes when the test is cut off (strategic " in result.reason


def test_a_scaler_whose_window_reaches_into_the_test_is_caught(attempt: Callable[[], Attempt]) -> None:
    one = attempt()
    test_rows = len(one.folds[0].test.strategic)
    _move_window(one)
    result = one.leakage()
    assert not result.passed
    assert _named(result) == test_rows


def _move_window(attempt: Attempt) -> None:
    path = attempt.workspace.features / "fold_0" / "feature_spec.json"
    spec = json.loads(path.read_text())
    for symbol in spec["symbols"].values():
        symbol["strategic"]["fit_stop_ns"] = attempt.folds[0].test_ns[1]
    path.write_text(json.dumps(spec))


def _named(result: GateResult) -> int:
    """Return over how many test rows the scalers' windows reach, as the evidence says."""
    faults = [fault for fault in result.evidence["faults"] if "the scaler was fitted on a window" in fault]
    assert all("strategic" in fault for fault in faults)
    return sum(int(fault.split("holds ")[1].split()[0].replace(",", "")) for fault in faults)
