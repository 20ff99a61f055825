import numpy as np
import pytest

from grandmodel.core.errors import DataError
from grandmodel.stats.bootstrap import day_weights, optimal_block_days
from grandmodel.stats.predictive_ability import predictive_ability
from grandmodel.stats.trials import Trials


def _trials(table: np.ndarray) -> Trials:
    names, sessions = tuple(f"trial_{row}" for row in range(len(table))), np.arange(table.shape[1], dtype=np.int32)
    return Trials(names, sessions, table, 0, False, "drawn")


def _noise(trials: int, days: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.0, 0.01, (trials, days))


def test_an_edge_is_found_and_named_and_noise_is_not() -> None:
    table = _noise(10, 300, 1)
    assert predictive_ability(_trials(table), draws=500, seed=1).p_consistent > 0.1
    table[4] += 0.0025
    found = predictive_ability(_trials(table), draws=500, seed=1)
    assert found.best == "trial_4"
    assert found.best_sharpe == pytest.approx(table[4].mean() / table[4].std())
    assert found.p_consistent <= 0.01
    assert found.best_sharpe > found.critical_sharpe


def test_lower_consistent_and_upper_are_in_order_and_never_zero() -> None:
    table = _noise(10, 300, 1)
    table[:5] -= 0.002
    table[7] += 0.0011
    found = predictive_ability(_trials(table), draws=500, seed=1)
    assert found.p_lower <= found.p_consistent <= found.p_upper
    assert found.p_lower < found.p_upper
    table[7] += 0.01
    assert predictive_ability(_trials(table), draws=500, seed=1).p_consistent == 1 / 501


def test_it_agrees_with_the_formulas_of_the_paper() -> None:
    # Hansen (2005), equations 1 to 3, on this project's own stationary bootstrap; both draw, so not to the last digit.
    table = _noise(6, 250, 3) * np.linspace(0.5, 3.0, 6)[:, None]
    table[1] += 0.0008
    table[5] -= 0.01
    found = predictive_ability(_trials(table), draws=4000, seed=1)
    scaled = table / table.std(axis=1, keepdims=True)
    days, mean = 250, scaled.mean(axis=1)
    block_days = max(optimal_block_days(row) for row in table)
    resampled = day_weights(days, block_days, draws=4000, seed=2) @ scaled.T
    kept = mean >= -np.sqrt(2 * np.log(np.log(days)) / days)  # scaled, so the standard error of a mean is days ** -0.5
    for centre, p in (
        (np.maximum(mean, 0.0), found.p_lower),
        (np.where(kept, mean, 0.0), found.p_consistent),
        (mean, found.p_upper),
    ):
        assert p == pytest.approx(np.mean((resampled - centre).max(axis=1) > mean.max()), abs=0.03)


def test_the_wildest_trial_does_not_decide_alone() -> None:
    table = _noise(8, 300, 2)
    table[1] += 0.003
    found = predictive_ability(_trials(table), draws=500, seed=1)
    table[0] *= 30.0
    again = predictive_ability(_trials(table), draws=500, seed=1)
    assert found.p_consistent < 0.03
    assert (again.best, again.p_consistent) == (found.best, found.p_consistent)


def test_worthless_searches_are_rejected_about_as_often_as_said() -> None:
    # 20 of 200 at 5 % have a chance below 0.5 %. Days depend on each other, half of each trial is shared.
    stream, rejected = np.random.default_rng(5), 0
    for seed in range(200):
        own = stream.normal(size=(20, 201)) + stream.normal(size=201)
        table = 0.01 * (own[:, 1:] + 0.1 * own[:, :-1])
        rejected += predictive_ability(_trials(table), draws=200, seed=seed).p_consistent <= 0.05
    assert 1 <= rejected <= 20


def test_the_stated_power_is_about_the_measured_one() -> None:
    base = predictive_ability(_trials(_noise(10, 250, 9)), draws=1000, seed=1)
    smallest = base.smallest_sharpe()
    assert base.detection_power(smallest) == pytest.approx(0.8)
    seen = 0
    for seed in range(150):
        table = _noise(10, 250, 1000 + seed)
        table[3] += smallest * 0.01
        seen += predictive_ability(_trials(table), draws=200, seed=seed).p_consistent <= 0.05
    assert seen / 150 == pytest.approx(0.8, abs=0.1)


def test_a_trial_that_stands_flat_changes_nothing() -> None:
    table = _noise(5, 200, 4)
    found = predictive_ability(_trials(table), draws=300, seed=1)
    assert predictive_ability(_trials(np.vstack([table, np.zeros(200)])), draws=300, seed=1) == found


@pytest.mark.parametrize(
    ("table", "rule"),
    [
        (_noise(3, 19, 1), "at least 20 days"),
        (np.zeros((3, 100)), "a trial that varies"),
        (np.vstack([_noise(3, 100, 1), np.full((1, 100), 0.01)]), "the same on every day"),
    ],
)
def test_what_cannot_be_tested_is_refused(table: np.ndarray, rule: str) -> None:
    with pytest.raises(DataError, match=rule):
        predictive_ability(_trials(table), draws=200, seed=1)
