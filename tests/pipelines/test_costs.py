"""What a replay paid, held against the terms of the instruments."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from grandmodel.core.config import MarketParams
from grandmodel.data.dataset import Dataset
from grandmodel.gates.g5_costs import cost_faults
from grandmodel.market.replay import Replay, simulate_targets
from grandmodel.market.tape import MarketTape
from models.release import Release
from pipelines.costs import cost_rows, joined, paid_fracs
from pipelines.tapes import FoldMarket
from pipelines.workspace import Workspace

MARKET = MarketParams()


@pytest.fixture
def tape(fold: FoldMarket) -> MarketTape:
    return fold.test.traded


@pytest.fixture
def released(workspace: Workspace, fold: FoldMarket) -> Replay:
    release = Release.load(workspace.package, workspace.params.training)
    return release.decide(fold.test, workspace.params.market)


def test_what_was_taken_from_equity_is_what_the_replay_books(tape: MarketTape, released: Replay) -> None:
    churning = simulate_targets(tape, np.where(np.arange(len(tape)) % 7 < 3, 1.0, -0.5), MARKET)
    for run in (churning, released):
        assert run.cost_frac.sum() > 0.0
        for symbol in tape.symbols:
            np.testing.assert_allclose(paid_fracs(tape, run, symbol), run.cost_frac[tape.rows(symbol)], atol=1e-12)


def test_a_replay_pays_its_terms_and_impact_on_top(dataset: Dataset, tape: MarketTape, released: Replay) -> None:
    rows = cost_rows(tape, [released, released], dataset.instruments, dataset.tactical)
    assert [row.symbol for row in rows] == list(tape.symbols)
    assert all(row.traded > 0.0 and row.paid > row.stated > 0.0 for row in rows)
    assert cost_faults(rows, 1.0) == []
    alone = cost_rows(tape, [released], dataset.instruments, dataset.tactical)
    assert rows[0].paid == pytest.approx(2.0 * alone[0].paid)
    for twice, row in zip(joined([alone, alone]), rows, strict=True):
        assert twice[:3] == row[:3]
        assert twice[3:] == pytest.approx(row[3:])


def test_a_tape_without_costs_is_found(dataset: Dataset, tape: MarketTape) -> None:
    free = tape.with_cost_multiple(0.0)
    run = simulate_targets(free, np.where(np.arange(len(tape)) % 50 < 25, 1.0, -1.0), MARKET)
    rows = cost_rows(free, [run], dataset.instruments, dataset.tactical)
    faults = cost_faults(rows, 1.0)
    assert len(faults) == len(tape.symbols)
    assert all("paid" in fault and "of its terms" in fault for fault in faults)


def test_costs_that_are_booked_and_not_taken_are_found(dataset: Dataset, tape: MarketTape, released: Replay) -> None:
    generous = replace(released, log_return=np.log(np.exp(released.log_return) + released.cost_frac))
    assert generous.cost_frac.sum() > 0.0
    faults = cost_faults(cost_rows(tape, [generous], dataset.instruments, dataset.tactical), 1.0)
    assert len(faults) == len(tape.symbols)


def test_terms_of_zero_are_found_by_name(dataset: Dataset, tape: MarketTape, released: Replay) -> None:
    free = {symbol: one.model_copy(update={"half_spread_ticks": 0.0}) for symbol, one in dataset.instruments.items()}
    faults = cost_faults(cost_rows(tape, [released], free, dataset.tactical), 1.0)
    assert faults == [f"the half-spread of {symbol} is 0" for symbol in tape.symbols]


def test_a_multiple_that_multiplies_nothing_is_found(dataset: Dataset, tape: MarketTape, released: Replay) -> None:
    rows = cost_rows(tape, [released], dataset.instruments, dataset.tactical)
    assert cost_faults(rows, 10.0)
