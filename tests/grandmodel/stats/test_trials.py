import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from grandmodel.core.errors import DataError
from grandmodel.stats.trials import (
    UNRELATED,
    Trials,
    correlation_distance,
    effective_trials,
    eigenvalue_count,
    group_count,
    silhouettes,
)


def _trials(table: np.ndarray, unseen: int = 0) -> Trials:
    names, sessions = tuple(f"trial_{row}" for row in range(len(table))), np.arange(table.shape[1], dtype=np.int32)
    return Trials(names, sessions, table, unseen, False, "drawn")


def _families(families: int, members: int, correlation: float, days: int = 400, seed: int = 1) -> np.ndarray:
    """Return [families x members, days] whose members share ``correlation`` and whose families share nothing."""
    stream = np.random.default_rng(seed)
    shared = np.repeat(stream.normal(size=(families, days)), members, axis=0)
    own = stream.normal(size=(families * members, days))
    return np.sqrt(correlation) * shared + np.sqrt(1.0 - correlation) * own


def test_unrelated_trials_all_count_even_where_they_outnumber_the_days() -> None:
    assert effective_trials(_trials(_families(50, 1, 0.0))) == 50
    crowd = _trials(_families(300, 1, 0.0, days=100))
    assert effective_trials(crowd) == 300
    assert eigenvalue_count(np.corrcoef(crowd.daily_returns)) < 100  # which alone could not tell


def test_copies_count_once_and_nearly_copies_a_little_more() -> None:
    one = _families(1, 1, 0.0)
    assert effective_trials(_trials(np.repeat(one, 7, axis=0))) == 1
    assert effective_trials(_trials(np.repeat(one, 7, axis=0) * np.arange(1.0, 8.0)[:, None])) == 1
    assert effective_trials(_trials(_families(1, 50, 0.999))) == 2
    assert effective_trials(_trials(_families(10, 5, 0.9999))) in (10, 11)


@pytest.mark.parametrize("copies", [20, 100, 500])
def test_near_copies_of_one_trial_do_not_make_the_others_fewer(copies: int) -> None:
    generator = np.random.default_rng(3)
    table = generator.normal(0.0, 0.01, (50, 300))
    near = table[7] + generator.normal(0.0, 0.0005, (copies, 300))
    assert effective_trials(_trials(np.vstack([table, near]))) >= effective_trials(_trials(table)) == 50


def test_a_loose_family_is_more_than_its_one_group() -> None:
    table = _families(1, 50, 0.85)
    assert group_count(np.corrcoef(table)) == 1
    assert 8 < effective_trials(_trials(table)) < 20


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.8, 0.9, 0.97])
def test_the_hurdle_of_the_effective_number_is_never_below_the_best_of_the_family(correlation: float) -> None:
    # The expected best of n standard normals that correlate, by drawing, against that of the effective number.
    effective = effective_trials(_trials(_families(1, 50, correlation, days=1000)))
    stream = np.random.default_rng(2)
    shared, own = stream.normal(size=(20_000, 1)), stream.normal(size=(20_000, 50))
    truth = (np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * own).max(axis=1).mean()
    claimed = stream.normal(size=(20_000, effective)).max(axis=1).mean()
    assert claimed >= truth - 0.05


def test_families_are_found_by_the_silhouette() -> None:
    for correlation in (0.85, 0.95):
        assert group_count(np.corrcoef(_families(10, 5, correlation))) == 10
    assert group_count(np.corrcoef(_families(10, 5, 0.3))) == 50  # too loose to convince


def test_one_trial_is_one_and_two_are_one_or_two() -> None:
    table = _families(2, 1, 0.0)
    assert effective_trials(_trials(table[:1])) == 1
    assert effective_trials(_trials(table)) == 2
    assert effective_trials(_trials(table[[0, 0]])) == 1
    assert effective_trials(_trials(np.stack([table[0], -table[0]]))) == 2


def test_trials_that_never_vary_count_one_each_and_unseen_ones_too() -> None:
    table = np.vstack([_families(3, 1, 0.0), np.zeros((2, 400))])
    assert effective_trials(_trials(table)) == 5
    assert effective_trials(_trials(table, unseen=7)) == 12
    assert effective_trials(_trials(np.zeros((4, 30)))) == 4
    assert effective_trials(_trials(table[2:])) == 3


def test_the_count_does_not_depend_on_the_order_of_trials() -> None:
    table = _families(6, 3, 0.9)
    counts = {effective_trials(_trials(np.random.default_rng(seed).permutation(table))) for seed in range(5)}
    assert len(counts) == 1


@settings(max_examples=25, deadline=None)
@given(some.integers(2, 9), some.floats(0.0, 0.95), some.integers(0, 1000))
def test_silhouettes_agree_with_their_definition(n: int, correlation: float, seed: int) -> None:
    table = np.vstack(
        [_families(1, n - n // 2, correlation, 60, seed), _families(1, n // 2, correlation, 60, seed + 1)]
    )
    distance = correlation_distance(np.corrcoef(table))
    found = dict(silhouettes(distance))
    assert sorted(found) == list(range(1, n))
    for count, value in found.items():
        assert value == pytest.approx(_mean_silhouette(distance, _average_linkage(distance, count)), abs=1e-12)


def _average_linkage(distance: np.ndarray, count: int) -> list[list[int]]:
    groups = [[place] for place in range(len(distance))]
    while len(groups) > count:
        pairs = [(a, b) for a in range(len(groups)) for b in range(a)]
        near = min(pairs, key=lambda pair: np.mean([distance[i, j] for i in groups[pair[0]] for j in groups[pair[1]]]))
        groups[near[1]] += groups.pop(near[0])
    return groups


def _mean_silhouette(distance: np.ndarray, groups: list[list[int]]) -> float:
    values = []
    for group in groups:
        for one in group:
            others = [np.mean([distance[one, j] for j in other]) for other in groups if other is not group]
            outside = min([*others, UNRELATED])
            inside = np.mean([distance[one, j] for j in group if j != one]) if len(group) > 1 else outside
            values.append((outside - inside) / max(outside, inside))
    return float(np.mean(values))


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"daily_returns": np.zeros((5, 3))}, "one row for each name"),  # the wrong way round
        ({"daily_returns": np.zeros((3, 4))}, "one row for each name"),
        ({"names": (), "daily_returns": np.zeros((0, 5))}, "one row for each name"),
        ({"names": ("a", "b", "a")}, "must be unique"),
        ({"sessions": np.array([1, 2, 2, 3, 4], dtype=np.int32)}, "increase from day to day"),
        ({"sessions": np.array([5, 4, 3, 2, 1], dtype=np.int32)}, "increase from day to day"),
        ({"daily_returns": np.full((3, 5), np.nan)}, "must be finite"),
        ({"unseen": -1}, "not negative"),
        ({"counted": " "}, "how they were counted"),
    ],
)
def test_trials_that_do_not_belong_together_are_refused(changed: dict[str, object], rule: str) -> None:
    parts = {"names": ("a", "b", "c"), "sessions": np.arange(5, dtype=np.int32), "daily_returns": np.ones((3, 5))}
    whole = {**parts, "unseen": 0, "picked": False, "counted": "three"}
    Trials(**whole)
    with pytest.raises(DataError, match=rule):
        Trials(**{**whole, **changed})
