"""How often g3 and g4 together let worthless releases pass, and how often good ones, on simulated returns."""

import numpy as np

from grandmodel.core.config import GateParams
from grandmodel.core.random import random_stream
from grandmodel.gates import g3_seeds, g4_selection
from grandmodel.stats.trials import Trials

DAYS, SEEDS, DRAWS = 500, 5, 200
COST = 0.00002  # per day of equity, what trading takes from a team without an edge


def _market(stream: np.random.Generator) -> np.ndarray:
    """Return daily returns with fat tails and volatility that clusters, float64[days]; a martingale."""
    log_volatility = np.zeros(DAYS)
    for day in range(1, DAYS):
        log_volatility[day] = 0.95 * log_volatility[day - 1] + 0.1 * stream.normal()
    return 0.01 * np.exp(log_volatility) * stream.standard_t(5, DAYS) / np.sqrt(5 / 3)


def _positions(stream: np.random.Generator, rows: int) -> np.ndarray:
    """Return positions [rows, days] in -1, 0, 1 that persist, half of each row shared between rows."""
    noise = stream.normal(size=(rows, DAYS)) + stream.normal(size=DAYS)
    smooth = np.stack([np.convolve(row, np.ones(5) / 5, mode="same") for row in noise])
    return np.sign(np.where(np.abs(smooth) > 0.3, smooth, 0.0))


def _passes(trial: int, annual_sharpe: float) -> tuple[bool, bool, bool]:
    """Return whether g3 against flat alone, g3 against all, and g3 and g4 together let one draw pass."""
    stream = random_stream(7, "error rates", trial)
    market = _market(stream)
    release = _positions(stream, SEEDS) * market - COST
    release += annual_sharpe / np.sqrt(252) * release.std()
    average = np.sign(np.convolve(market, np.ones(20) / 20, mode="full")[:DAYS])
    baselines = {
        "flat": np.zeros(DAYS),
        "buy_and_hold": market,
        "random": _positions(stream, 20) * market - COST,
        "moving_average": np.append(0.0, average[:-1]) * market - COST,
    }
    options = {"margin": 0.0, "seeds_min": 3, "draws": 400, "confidence": 0.95, "seed": trial}
    alone = g3_seeds.judge(release, {"flat": baselines["flat"]}, required=("flat",), **options).passed
    third = g3_seeds.judge(release, baselines, **options).passed
    return alone, third, third and _fourth(release, trial)


def _fourth(release: np.ndarray, seed: int) -> bool:
    """Return whether g4 lets the first row pass, the other rows being its trials."""
    trials = Trials(tuple(map(str, range(SEEDS))), np.arange(DAYS, dtype=np.int32), release, 0, False, "seeds")
    return g4_selection.judge(release[0], trials=trials, thresholds=GateParams(), draws=400, seed=seed).passed


def rates(draws: int, annual_sharpe: float) -> np.ndarray:
    """Return the pass rates float64[3] over ``draws`` seeded draws."""
    return np.mean([_passes(trial, annual_sharpe) for trial in range(draws)], axis=0)


def test_worthless_releases_pass_rarely() -> None:
    alone, third, both = rates(DRAWS, 0.0)
    assert alone <= 0.055  # nominal 2.5 %: 12 of 200 have a chance below 0.5 %
    assert third <= 0.025
    assert both <= 0.025


def test_strong_releases_pass_nearly_always() -> None:
    both = rates(40, 5.0)[2]
    assert both >= 0.95
