from __future__ import annotations

import itertools

import numpy as np
import pytest

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.core.random import random_stream
from grandmodel.stats.clustering import (
    Chain,
    Transitions,
    asymptotic_p,
    conditional_coverage,
    conditional_coverage_power,
    conditional_coverage_statistic,
    independence,
    independence_power,
    independence_statistic,
    transitions,
)
from grandmodel.stats.coverage import Verdict, chi_square_p, exact_binomial, kupiec_statistic

N, LEVEL = 11, 0.8
EVERY = [np.array(hits, np.bool_) for hits in itertools.product([0, 1], repeat=N)]  # all sequences of eleven
COUNTS = np.array([hits.sum() for hits in EVERY])


def _probability(hits: np.ndarray, chain: Chain) -> float:
    """Return the probability of one sequence, one bar after the other."""
    probability = chain.rate if hits[0] else 1 - chain.rate
    for before, now in itertools.pairwise(hits):
        risk = chain.after_one if before else chain.after_none
        probability *= risk if now else 1 - risk
    return probability


def _adjacent(n: int, *places: int) -> np.ndarray:
    hits = np.zeros(n, np.bool_)
    hits[list(places)] = True
    return hits


def test_transitions_by_hand() -> None:
    assert transitions(np.array([0, 1, 1, 0, 0, 1], np.bool_)) == (1, 2, 1, 1)


def test_published_example() -> None:
    # The example of a commercial toolbox: 57 exceptions in 1,043 days at 95 %.
    counts = Transitions(*np.array([932, 53, 53, 4]))
    ratio = float(independence_statistic(counts))
    assert (round(ratio, 5), round(chi_square_p(ratio, 1), 5)) == (0.25866, 0.61104)
    both = ratio + kupiec_statistic(57, 1043, 0.95)
    assert (round(both, 5), round(chi_square_p(both, 2), 5)) == (0.72013, 0.69763)


def test_exact_p_of_independence_is_the_share_of_arrangements_as_extreme() -> None:
    statistics = np.array([float(independence_statistic(transitions(hits))) for hits in EVERY])
    for hits, count, statistic in zip(EVERY, COUNTS, statistics, strict=True):
        if count >= 2:
            share = np.mean(statistics[count == COUNTS] >= statistic - 1e-9)
            assert independence(hits, LEVEL).p == pytest.approx(share, abs=1e-12)


def test_exact_p_of_conditional_coverage_is_the_probability_of_sequences_as_extreme() -> None:
    statistics = np.array([conditional_coverage_statistic(hits, LEVEL) for hits in EVERY])
    weights = 0.2**COUNTS * 0.8 ** (N - COUNTS)
    assert weights.sum() == pytest.approx(1.0)
    for hits, statistic in zip(EVERY, statistics, strict=True):
        expected = weights[statistics >= statistic - 1e-9].sum()
        assert conditional_coverage(hits, LEVEL).p == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("chain", [Chain.of(0.2, 0.5), Chain.of(0.2, 0.2), Chain(0.4, 0.1)])
def test_power_is_the_probability_of_the_sequences_that_are_rejected(chain: Chain) -> None:
    chances = np.array([_probability(hits, chain) for hits in EVERY])
    assert chances.sum() == pytest.approx(1.0)
    alone = [independence(hits, LEVEL).verdict is Verdict.REJECTED for hits in EVERY]
    both = [conditional_coverage(hits, LEVEL).verdict is Verdict.REJECTED for hits in EVERY]
    assert independence_power(N, chain) == pytest.approx(chances[alone].sum(), abs=1e-12)
    assert conditional_coverage_power(N, LEVEL, chain) == pytest.approx(chances[both].sum(), abs=1e-12)
    assert 0 < independence_power(N, chain) < 1


def test_power_at_a_usual_length_is_the_frequency_of_rejections() -> None:
    n, chain, stream = 500, Chain.of(0.01, 0.1), random_stream(3, "clustered exceptions")
    rejected = np.zeros(2)
    hits = np.zeros((2000, n), np.bool_)
    hits[:, 0] = stream.random(2000) < chain.rate
    for t in range(1, n):
        hits[:, t] = stream.random(2000) < np.where(hits[:, t - 1], chain.after_one, chain.after_none)
    for one in hits:
        results = (independence(one, 0.99), conditional_coverage(one, 0.99))
        rejected += [result.verdict is Verdict.REJECTED for result in results]
        stated = [result.power for result in results]
    np.testing.assert_allclose(rejected / len(hits), stated, atol=0.03)


@pytest.mark.parametrize("n", [250, 731, 3000])
def test_neither_test_is_oversized(n: int) -> None:
    independent = Chain(0.01, 0.01)
    assert independence_power(n, independent) <= 0.05
    assert conditional_coverage_power(n, 0.99, independent) <= 0.05


def test_two_in_a_row_in_a_year_of_days_are_rare_though_the_chi_square_law_says_otherwise() -> None:
    pair = independence(_adjacent(250, 100, 101), 0.99)
    # 248 + 1 neighbouring pairs of places among 250 x 249 / 2.
    assert pair.p == pytest.approx(249 / (250 * 249 / 2))
    assert pair.verdict is Verdict.REJECTED
    apart = independence(_adjacent(250, 20, 60, 140, 200), 0.99)
    assert apart.verdict is Verdict.PASSED
    assert asymptotic_p(apart) < apart.p


def test_exceptions_that_avoid_each_other_are_rejected_too() -> None:
    hits = np.zeros(200, np.bool_)
    hits[::3] = True
    result = independence(hits, 0.7)
    assert result.verdict is Verdict.REJECTED
    assert transitions(hits).n11 == 0


@pytest.mark.parametrize("places", [(), (0,), (50,), (249,)])
def test_fewer_than_two_exceptions_leave_independence_unknown_and_coverage_judged(places: tuple[int, ...]) -> None:
    hits = _adjacent(250, *places)
    alone, both = independence(hits, 0.99), conditional_coverage(hits, 0.99)
    assert alone.verdict is Verdict.UNKNOWN
    assert 0 <= alone.statistic < 0.01
    assert both.verdict is Verdict.PASSED
    assert conditional_coverage(np.zeros(2500, np.bool_), 0.99).verdict is Verdict.REJECTED


def test_nothing_but_exceptions_is_rejected_and_defined() -> None:
    hits = np.ones(250, np.bool_)
    assert independence_statistic(transitions(hits)) == 0.0
    assert independence(hits, 0.99).verdict is Verdict.UNKNOWN  # one arrangement only: it says nothing of order
    assert conditional_coverage(hits, 0.99).p == 0.0


def test_right_count_in_one_heap_passes_the_count_and_fails_the_order() -> None:
    hits = _adjacent(1000, *range(500, 510))
    assert exact_binomial(10, 1000, 0.99).p > 0.9
    assert independence(hits, 0.99).p < 1e-9
    assert conditional_coverage(hits, 0.99).verdict is Verdict.REJECTED


def test_a_long_series_is_judged_as_fast_sums() -> None:
    hits = random_stream(5, "independent exceptions").random(50_000) < 0.01
    result = conditional_coverage(hits, 0.99)
    assert 0.05 < result.p < 1
    assert result.p == pytest.approx(asymptotic_p(result), abs=0.05)


def test_one_observation_is_refused_and_ninety_nine_are_not_judged() -> None:
    for test_of in (independence, conditional_coverage):
        with pytest.raises(DataError, match="at least two observations"):
            test_of(np.ones(1, np.bool_), 0.99)
    assert conditional_coverage(np.ones(99, np.bool_), 0.99).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(("level", "clustered"), [(0.4, 0.1), (1.0, 0.1), (0.99, 0.0), (0.99, 1.0)])
def test_impossible_levels_and_alternatives_are_refused(level: float, clustered: float) -> None:
    hits = _adjacent(250, 10, 11)
    for test_of in (independence, conditional_coverage):
        with pytest.raises(ConfigError):
            test_of(hits, level, clustered=clustered)
