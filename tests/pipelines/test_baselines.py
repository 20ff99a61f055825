"""What a release is measured against."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from grandmodel.core.config import MarketParams
from grandmodel.data.dataset import Dataset
from grandmodel.market.replay import simulate_targets
from grandmodel.market.tape import MarketTape
from pipelines import baselines
from pipelines.tapes import FoldMarket
from pipelines.workspace import Workspace

FREE = MarketParams()


@pytest.fixture
def tape(fold: FoldMarket) -> MarketTape:
    return fold.test.traded


def test_buy_and_hold_earns_the_leveraged_market(tape: MarketTape) -> None:
    free = tape.with_cost_multiple(0.0)
    run = simulate_targets(free, baselines.buy_and_hold(free), FREE)
    for symbol in tape.symbols:
        rows = tape.rows(symbol)
        body, gap, leverage = tape.body_frac[rows], tape.gap_frac[rows], tape.leverage[rows]
        # Decided at the close of the first bar, filled at the open of the second.
        held = np.log1p(leverage[2:] * gap[2:]) + np.log1p(leverage[2:] * body[2:])
        assert run.log_return[rows][2:].sum() == pytest.approx(held.sum(), rel=1e-6)
        assert (run.position[rows][1:] == 1.0).all()


def test_flat_earns_nothing(tape: MarketTape) -> None:
    run = simulate_targets(tape, np.zeros(len(tape)), FREE)
    assert not run.log_return.any()


def test_a_decision_holds_from_its_moment_until_the_next() -> None:
    decided = np.array([100, 200])
    held = baselines.hold_on_clock(decided, np.array([1.0, -1.0]), np.array([99, 100, 150, 199, 200, 900]))
    assert held.tolist() == [0.0, 1.0, 1.0, 1.0, -1.0, -1.0]


def test_the_moving_average_rule_is_long_above_and_short_below(
    tape: MarketTape, dataset: Dataset, workspace: Workspace
) -> None:
    params = workspace.params.evaluation
    targets = baselines.moving_average_rule(tape, dataset.strategic, params)
    seen = set()
    for symbol in tape.symbols:
        bars, rows = dataset.strategic[symbol], tape.rows(symbol)
        for row in range(rows.start, rows.stop, 97):
            known = bars.close[bars.close_ns <= tape.close_ns[row]]
            fast, slow = known[-params.average_fast_bars :].mean(), known[-params.average_slow_bars :].mean()
            assert targets[row] == np.sign(fast - slow)
            seen.add(targets[row])
    assert seen == {1.0, -1.0}


def test_the_moving_average_rule_is_flat_until_warm(dataset: Dataset, fold: FoldMarket, workspace: Workspace) -> None:
    tape, params = fold.tapes.strategic, workspace.params.evaluation
    targets = baselines.moving_average_rule(tape, dataset.strategic, params)
    for symbol in tape.symbols:
        own = targets[tape.rows(symbol)]
        assert not own[: params.average_slow_bars - 1].any()
        assert own[params.average_slow_bars - 1] != 0.0


def test_the_moving_average_rule_knows_no_later_close(tape: MarketTape, dataset: Dataset, workspace: Workspace) -> None:
    params, symbol = workspace.params.evaluation, tape.symbols[0]
    bars, rows = dataset.strategic[symbol], tape.rows(symbol)
    row = rows.start + 500
    later = bars.close_ns > tape.close_ns[row]
    other = {**dataset.strategic, symbol: replace(bars, close=np.where(later, 2.0 * bars.close, bars.close))}
    before = baselines.moving_average_rule(tape, dataset.strategic, params)[rows.start : row + 1]
    assert later.any()
    np.testing.assert_array_equal(baselines.moving_average_rule(tape, other, params)[rows.start : row + 1], before)


def test_random_keeps_the_turnover_and_loses_the_timing(tape: MarketTape) -> None:
    positions = np.where(np.arange(len(tape)) % 7 < 3, 1.0, -1.0 / 3.0)
    draws = [baselines.random_of_equal_turnover(tape, positions, 7, draw) for draw in range(4)]
    for symbol in tape.symbols:
        rows = tape.rows(symbol)
        own = positions[rows]
        for draw in draws:
            turned = draw[rows]
            assert sorted(np.abs(turned)) == sorted(np.abs(own))
            assert np.abs(np.diff(turned)).sum() == pytest.approx(np.abs(np.diff(own)).sum(), abs=3.0)
            assert not np.array_equal(turned, own)
    assert len({draw.tobytes() for draw in draws}) == 4
    again = baselines.random_of_equal_turnover(tape, positions, 7, 0)
    np.testing.assert_array_equal(again, draws[0])


def test_the_oracle_of_the_simulator_earns_more_than_every_rule(
    tape: MarketTape, dataset: Dataset, workspace: Workspace
) -> None:
    earned = {
        "oracle": baselines.simulator_oracle(tape, workspace.ingest / "truth"),
        "hold": baselines.buy_and_hold(tape),
        "average": baselines.moving_average_rule(tape, dataset.strategic, workspace.params.evaluation),
    }
    net = {name: simulate_targets(tape, targets, FREE).log_return.sum() for name, targets in earned.items()}
    assert net["oracle"] > 0.0
    assert net["oracle"] == max(net.values())
