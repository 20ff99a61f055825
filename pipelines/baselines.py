"""What a release is measured against: flat, buy and hold, random of equal turnover, a moving average, the oracle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.bars import Bars
from grandmodel.core.config import EvaluationParams
from grandmodel.core.random import random_stream
from grandmodel.data.simulator.oracle import oracle_targets
from grandmodel.market.tape import MarketTape

THIRTY_MINUTES_NS = 30 * 60 * 1_000_000_000
Targets = NDArray[np.float64]


def buy_and_hold(tape: MarketTape) -> Targets:
    """Return a full long position in every row."""
    return np.ones(len(tape))


def moving_average_rule(tape: MarketTape, bars30: Mapping[str, Bars], params: EvaluationParams) -> Targets:
    """Return +1 where the fast average of 30-minute closes is above the slow one, else -1; 0 until warm."""
    targets = np.zeros(len(tape))
    for symbol in tape.symbols:
        bars = bars30[symbol]
        fast = _trailing_mean(bars.close, params.average_fast_bars)
        slow = _trailing_mean(bars.close, params.average_slow_bars)
        side = np.nan_to_num(np.sign(fast - slow))
        rows = tape.rows(symbol)
        targets[rows] = hold_on_clock(bars.close_ns, side, tape.close_ns[rows])
    return targets


def random_of_equal_turnover(tape: MarketTape, positions: Targets, seed: int, draw: int) -> Targets:
    """Return the release's own positions, turned in time and possibly in sign: same turnover, no information."""
    generator = random_stream(seed, "random_baseline", draw)
    targets = np.zeros(len(tape))
    for symbol in tape.symbols:
        rows = tape.rows(symbol)
        length = rows.stop - rows.start
        shift = int(generator.integers(length // 10, length - length // 10)) if length >= 10 else 0
        targets[rows] = generator.choice([-1.0, 1.0]) * np.roll(positions[rows], shift)
    return targets


def simulator_oracle(tape: MarketTape, truth: Path) -> Targets:
    """Return the positions of the simulator's known optimal policy under the tape's own costs."""
    targets = np.zeros(len(tape))
    for symbol in tape.symbols:
        rows = tape.rows(symbol)
        cost_frac = float(np.mean(tape.half_spread_frac[rows] + tape.commission_frac[rows]))
        impact_frac = float(np.mean(tape.impact_frac[rows]))
        starts, decided = oracle_targets(truth, symbol, cost_frac, impact_frac=impact_frac)
        targets[rows] = hold_on_clock(starts + THIRTY_MINUTES_NS, decided, tape.close_ns[rows])
    return targets


def hold_on_clock(decided_ns: NDArray[np.int64], decisions: Targets, close_ns: NDArray[np.int64]) -> Targets:
    """Return at each close the latest decision taken at or before it; 0 before the first."""
    index = np.searchsorted(decided_ns, close_ns, side="right") - 1
    return np.where(index >= 0, decisions[np.maximum(index, 0)], 0.0)


def _trailing_mean(values: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    """Return the mean of the last ``window`` values; NaN until there are as many."""
    total = np.concatenate([[0.0], np.cumsum(values)])
    mean = np.full(len(values), np.nan)
    mean[window - 1 :] = (total[window:] - total[:-window]) / window
    return mean
