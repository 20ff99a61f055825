"""Costs at zero: gate G5 refuses a release that traded for nothing, or for less than its instruments' terms say.

The release is one with a real edge, made so by showing it the next bars, so that nothing but its costs can refuse it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import grandmodel.market.tape
from grandmodel.core.config import MarketParams
from grandmodel.gates.result import GateResult
from grandmodel.market.replay import Replay, simulate_targets
from grandmodel.market.tape import MarketTape
from models.release import Release, Tapes
from tests.sabotage.conftest import Attempt

BARS_SHOWN = 40  # of five minutes, so that one bar of delay leaves most of the edge


def decide_by_the_next_bars(release: Release, tapes: Tapes, params: MarketParams, *, delay_bars: int = 0) -> Replay:
    """Hold the side on which the next bars move, changed only as often as they end."""
    tape = tapes.traded
    targets = np.zeros(len(tape))
    for symbol in tape.symbols:
        rows = tape.rows(symbol)
        parts = np.arange(rows.stop - rows.start) // BARS_SHOWN
        moves = np.bincount(parts, weights=np.append(tape.body_frac[rows][1:], 0.0))
        targets[rows] = np.sign(moves)[parts]
    return simulate_targets(tape, targets, params, delay_bars=delay_bars)


@pytest.fixture
def costs_gate(attempt: Callable[[], Attempt], monkeypatch: pytest.MonkeyPatch) -> Callable[[], GateResult]:
    """Return what replays that release out of sample and gives the verdict of gate G5."""
    monkeypatch.setattr(Release, "decide", decide_by_the_next_bars)

    def judge() -> GateResult:
        return attempt().verdicts(monkeypatch)["g5_costs"]

    return judge


def test_an_edge_that_pays_its_costs_passes(costs_gate: Callable[[], GateResult]) -> None:
    result = costs_gate()
    assert result.passed, result.reason


def test_costs_that_are_not_taken_are_caught(
    costs_gate: Callable[[], GateResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = grandmodel.market.tape._instrument_columns

    def free(*args: Any) -> dict[str, Any]:
        columns = honest(*args)
        costs = ("half_spread_frac", "commission_frac", "impact_frac")
        return columns | {name: np.zeros_like(columns[name]) for name in costs}

    monkeypatch.setattr(grandmodel.market.tape, "_instrument_columns", free)
    result = costs_gate()
    assert not result.passed
    assert "costs were not paid in full" in result.reason
    assert "paid 0.00 bp of what it traded, not the" in result.reason


def test_terms_without_costs_are_caught(
    market: Any, costs_gate: Callable[[], GateResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    free = {"half_spread_ticks": 0.0, "commission_per_contract": 0.0, "commission_frac": 0.0}
    instruments = {symbol: one.model_copy(update=free) for symbol, one in market.dataset.instruments.items()}
    monkeypatch.setitem(market.__dict__, "dataset", replace(market.dataset, instruments=instruments))
    result = costs_gate()
    assert not result.passed
    symbol = min(instruments)
    assert f"the half-spread of {symbol} is 0" in result.reason
    assert f"the commission of {symbol} is 0" in result.reason


def test_twice_the_cost_that_is_only_once_is_caught(
    costs_gate: Callable[[], GateResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MarketTape, "with_cost_multiple", lambda tape, multiple: tape)
    result = costs_gate()
    assert not result.passed
    assert "costs were not paid in full" in result.reason
