import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.stats import reference
from grandmodel.stats.overfitting import (
    Overfitting,
    minimum_backtest_years,
    null_p,
    overfitting,
    simulated_searches,
)
from grandmodel.stats.trials import Trials


def _trials(table: np.ndarray) -> Trials:
    names, sessions = tuple(f"trial_{row}" for row in range(len(table))), np.arange(table.shape[1], dtype=np.int32)
    return Trials(names, sessions, table, 0, True, "drawn")


def _noise(trials: int, days: int, seed: int, edge: float = 0.0) -> np.ndarray:
    table = np.random.default_rng(seed).normal(size=(trials, days))
    table[0] += edge
    return table


@settings(max_examples=30, deadline=None)
@given(some.integers(2, 7), some.sampled_from([2, 4, 6, 8]), some.integers(0, 10_000), some.booleans())
def test_the_fast_path_agrees_with_its_slow_twin(trials: int, blocks: int, seed: int, tied: bool) -> None:
    table = _noise(trials, 5 * blocks + seed % blocks, seed, edge=0.2 * (seed % 3))
    if tied:  # copies, and a trial that stands flat for most of the time
        table[-1] = table[0]
        table[1, : len(table[1]) * 3 // 4] = 0.0
    trials_ = _trials(table)
    assert overfitting(trials_, blocks=blocks).probability == reference.overfitting_probability(trials_, blocks=blocks)


def test_a_clear_edge_is_not_overfitting_and_noise_is() -> None:
    clear = overfitting(_trials(_noise(20, 320, 1, edge=0.5)))
    assert clear.probability == 0.0
    assert clear.loss_probability == 0.0
    noise = [overfitting(_trials(_noise(20, 320, seed))) for seed in range(20)]
    assert 0.3 < np.mean([one.probability for one in noise]) < 0.7
    assert np.mean([one.degradation_slope for one in noise]) < -0.3
    assert all(one.choices == 12_870 for one in noise)


@pytest.mark.parametrize(("edge", "frozen"), [(0.0, 38 / 70), (0.1, 38 / 70), (0.2, 12 / 70)])
def test_the_probability_is_exactly_that_of_two_libraries(edge: float, frozen: float) -> None:
    """Frozen from ffn 1.4.1 and purgedcv 0.1.11, which agree to the last digit.

    ``ffn.core.calc_prob_backtest_overfitting(pd.DataFrame(table.T), n_blocks=8)`` and
    ``purgedcv.probability_of_backtest_overfitting(table, n_splits=8).pbo`` of the table below.
    """
    assert overfitting(_trials(_noise(6, 160, 6, edge)), blocks=8).probability == frozen


def test_slope_and_loss_by_hand() -> None:
    # Two blocks and two trials: each half selects once, and is tested on the other.
    table = np.array([[3.0, 1.0, 0.0, -2.0], [1.0, 0.0, 3.0, 2.0]])
    found = overfitting(_trials(table), blocks=2)
    first = np.array([2.0, 0.5]) / np.sqrt([2.0, 0.5])  # Sharpe ratios on days 1 and 2
    second = np.array([-1.0, 2.5]) / np.sqrt([2.0, 0.5])  # and on days 3 and 4
    inside, outside = [first[0], second[1]], [second[0], first[1]]
    slope = (outside[1] - outside[0]) / (inside[1] - inside[0])
    assert found == Overfitting(1.0, 0.5, pytest.approx(slope), 2, 4)


def test_days_beyond_the_last_whole_block_are_left_out() -> None:
    table = _noise(5, 67, 3)
    assert overfitting(_trials(table), blocks=8) == overfitting(_trials(table[:, :64]), blocks=8)
    assert overfitting(_trials(table), blocks=8).days == 64


def test_searches_without_skill_keep_the_size_of_the_test() -> None:
    ps, by_order = [], []
    for seed in range(60):
        trials = _trials(_noise(6, 96, seed))
        null = simulated_searches(trials, seed=seed, draws=99, blocks=8)
        found = overfitting(trials, blocks=8)
        ps.append(null_p((found.probability, found.loss_probability), null))
        by_order.append((1 + np.count_nonzero(null[:, 0] <= found.probability)) / 100)
    assert np.mean(np.array(ps) <= 0.05) <= 0.15  # 10 of 60 at 5 % have a chance below 1 %
    assert np.mean(by_order) == pytest.approx(0.5, abs=0.12)


def test_skill_lowers_the_probability_and_is_seen_by_its_null() -> None:
    trials = _trials(_noise(8, 160, 2))
    null = simulated_searches(trials, seed=1, draws=60, blocks=8)
    skill = np.where(np.arange(8) == 3, 0.4, 0.0)
    skilled = simulated_searches(trials, seed=1, draws=60, blocks=8, skill=skill)
    assert skilled[:, 0].mean() < 0.1 < null[:, 0].mean()
    assert np.mean([null_p((pbo, loss), null) <= 0.05 for pbo, loss in skilled.tolist()]) > 0.8


def test_equally_good_trials_pass_where_equally_worthless_ones_do_not() -> None:
    trials = _trials(_noise(6, 160, 4))
    null = simulated_searches(trials, seed=1, draws=100, blocks=8)
    skilled = simulated_searches(trials, seed=2, draws=40, blocks=8, skill=np.full(6, 0.4))
    worthless = simulated_searches(trials, seed=3, draws=40, blocks=8)
    good, bad = (
        np.mean([null_p((pbo, loss), null) <= 0.05 for pbo, loss in drawn.tolist()]) for drawn in (skilled, worthless)
    )
    assert np.median(skilled[:, 0]) > 0.2  # their order says nothing
    assert good > 0.8
    assert bad < 0.2


def test_draws_repeat_by_seed_alone() -> None:
    trials = _trials(_noise(4, 64, 2))
    drawn = [simulated_searches(trials, seed=seed, draws=5, blocks=4) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert (drawn[0] != drawn[2]).any()


def test_the_p_value_counts_the_search_itself() -> None:
    null = np.array([[0.1, 0.9], [0.2, 0.9], [0.3, 0.9], [0.4, 0.9]])
    assert [null_p((value, 1.0), null) for value in (0.0, 0.1, 0.9)] == [0.4, 0.8, 1.0]
    assert null_p((1.0, 0.0), null) == 0.4


def test_minimum_backtest_length_has_the_published_value() -> None:
    # Bailey, Borwein, Lopez de Prado and Zhu (2014): five years carry at most 45 independent trials at a Sharpe of 1.
    assert minimum_backtest_years(45, 1.0) == pytest.approx(5.0, abs=0.1)
    assert minimum_backtest_years(1, 1.0) == 0.0
    assert minimum_backtest_years(45, 2.0) == pytest.approx(minimum_backtest_years(45, 1.0) / 4)


@pytest.mark.parametrize(
    ("table", "rule"),
    [
        (_noise(1, 64, 1), "needs two trials"),
        (_noise(4, 15, 1), "2 days in each of 8 blocks"),
        (np.vstack([_noise(2, 64, 1), np.full((1, 64), 0.1)]), "earns the same on every day"),
        (np.zeros((3, 64)), "nothing to judge"),
    ],
)
def test_what_cannot_be_judged_is_refused(table: np.ndarray, rule: str) -> None:
    with pytest.raises(DataError, match=rule):
        overfitting(_trials(table), blocks=8)


def test_odd_blocks_and_a_sharpe_ratio_that_is_not_positive_are_refused() -> None:
    with pytest.raises(ConfigError, match="even number"):
        overfitting(_trials(_noise(4, 64, 1)), blocks=7)
    with pytest.raises(DataError, match="positive Sharpe"):
        minimum_backtest_years(10, 0.0)
