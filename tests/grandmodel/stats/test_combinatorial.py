from contextlib import suppress
from itertools import chain, combinations
from math import comb

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as some

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.stats.combinatorial import CombinatorialFold, combinatorial_folds, paths


def _sessions(count: int, bars: int, first: int = 17_000) -> np.ndarray:
    return np.repeat(np.arange(first, first + count, dtype=np.int32), bars)


def _inside(ranges: tuple[tuple[int, int], ...]) -> set[int]:
    return set(chain.from_iterable(range(*one) for one in ranges))


def _labels_touch(fold: CombinatorialFold) -> bool:
    """Return, label by label, whether one of training shares a row with one of the test."""
    horizon = fold.label_horizon_bars
    tested = {row + step for row in _inside(fold.test_rows) for step in range(horizon + 1)}
    return any({row + step for step in range(horizon + 1)} & tested for row in _inside(fold.train_rows))


def _folds_or_none(
    session: np.ndarray, groups: int, test_groups: int, embargo: int, horizon: int
) -> list[CombinatorialFold]:
    """Return the folds; none where one of them would have nothing to train on."""
    with suppress(ConfigError):
        return combinatorial_folds(
            session, groups=groups, test_groups=test_groups, embargo_sessions=embargo, label_horizon_bars=horizon
        )
    return []


def test_three_groups_one_tested_by_hand() -> None:
    folds = combinatorial_folds(_sessions(9, 4), groups=3, test_groups=1, embargo_sessions=1, label_horizon_bars=2)
    assert [fold.tested for fold in folds] == [(0,), (1,), (2,)]
    middle = folds[1]
    assert middle.test_sessions == ((17_003, 17_006),)
    assert middle.train_sessions == ((17_000, 17_002), (17_007, 17_009))
    assert middle.test_rows == ((12, 24),)
    assert middle.train_rows == ((0, 8), (28, 36))


def test_the_purge_clears_both_sides_where_there_is_no_embargo() -> None:
    fold = combinatorial_folds(_sessions(9, 4), groups=3, test_groups=1, embargo_sessions=0, label_horizon_bars=3)[1]
    assert fold.test_rows == ((12, 24),)
    assert fold.train_rows == ((0, 9), (27, 36))


@settings(max_examples=60, deadline=None)
@given(
    lengths=some.lists(some.integers(1, 5), min_size=6, max_size=30),
    gaps=some.lists(some.integers(1, 5), min_size=30, max_size=30),
    groups=some.integers(2, 6),
    tested=some.integers(1, 5),
    embargo=some.integers(0, 2),
    horizon=some.integers(0, 12),
)
def test_no_training_label_touches_a_test_label(
    lengths: list[int], gaps: list[int], groups: int, tested: int, embargo: int, horizon: int
) -> None:
    session = np.repeat(np.cumsum(gaps[: len(lengths)]), lengths).astype(np.int32)
    test_groups = min(tested, groups - 1)
    folds = _folds_or_none(session, groups, test_groups, embargo, horizon)
    assume(folds)
    assert len(folds) == comb(groups, test_groups)
    unique = np.unique(session).tolist()
    for fold in folds:
        assert not _labels_touch(fold)
        order = {number: place for place, number in enumerate(unique)}
        tested_places = {order[session[row]] for row in _inside(fold.test_rows)}
        trained_places = {order[session[row]] for row in _inside(fold.train_rows)}
        assert trained_places
        assert all(abs(a - b) > embargo for a in trained_places for b in tested_places)


@settings(max_examples=30, deadline=None)
@given(some.integers(7, 20), some.integers(2, 6), some.integers(1, 5), some.integers(0, 4))
def test_without_embargo_only_rows_whose_labels_touch_are_purged(
    sessions: int, groups: int, tested: int, horizon: int
) -> None:
    session, test_groups = _sessions(sessions, 5), min(tested, groups - 1)
    folds = _folds_or_none(session, groups, test_groups, 0, horizon)
    assume(folds)
    for fold in folds:
        test = _inside(fold.test_rows)
        clear = {row for row in range(len(session)) if all(abs(row - other) > horizon for other in test)}
        assert _inside(fold.train_rows) == clear


@pytest.mark.parametrize(("groups", "test_groups"), [(6, 2), (10, 2), (6, 3), (5, 1), (4, 3)])
def test_splits_and_paths_are_as_many_as_the_formulas_say(groups: int, test_groups: int) -> None:
    session = _sessions(60, 3)
    folds = combinatorial_folds(
        session, groups=groups, test_groups=test_groups, embargo_sessions=1, label_horizon_bars=1
    )
    assert len(folds) == comb(groups, test_groups)
    assert [fold.tested for fold in folds] == list(combinations(range(groups), test_groups))
    found = paths(folds)
    assert len(found) == comb(groups, test_groups) * test_groups // groups == comb(groups - 1, test_groups - 1)
    used = [(number, group) for path in found for group, number in enumerate(path)]
    assert sorted(used) == sorted((fold.number, group) for fold in folds for group in fold.tested)
    for path in found:
        ranges = [folds[number].test_rows[folds[number].tested.index(group)] for group, number in enumerate(path)]
        assert _inside(tuple(ranges)) == set(range(len(session)))
        assert sum(stop - first for first, stop in ranges) == len(session)


def test_folds_are_those_of_skfolio() -> None:
    """Frozen from skfolio 1.12.2, which wants three optimisers installed and is therefore no test dependency.

    ``cv = CombinatorialPurgedCV(n_folds=5, n_test_folds=3, purged_size=2)``, then the ranges of
    ``cv.split(np.zeros((50, 1)))`` and ``cv.get_path_ids()``. It purges by rows, so here a session is one row.
    """
    train = [
        ((32, 50),),
        ((22, 28), (42, 50)),
        ((22, 38),),
        ((12, 18), (42, 50)),
        ((12, 18), (32, 38)),
        ((12, 28),),
        ((0, 8), (42, 50)),
        ((0, 8), (32, 38)),
        ((0, 8), (22, 28)),
        ((0, 18),),
    ]
    path_of_test = [
        [0, 0, 0], [1, 1, 0], [2, 2, 0], [3, 1, 1], [4, 2, 1], [5, 2, 2], [3, 3, 3], [4, 4, 3], [5, 4, 4], [5, 5, 5]
    ]  # fmt: skip
    folds = combinatorial_folds(_sessions(50, 1), groups=5, test_groups=3, embargo_sessions=0, label_horizon_bars=2)
    assert [fold.train_rows for fold in folds] == train
    assert [fold.test_rows for fold in folds] == [
        tuple((10 * group, 10 * group + 10) for group in tested) for tested in combinations(range(5), 3)
    ]
    found = paths(folds)
    assert [[[path[group] for path in found].index(fold.number) for group in fold.tested] for fold in folds] == (
        path_of_test
    )


def test_groups_are_as_equal_as_they_can_be() -> None:
    folds = combinatorial_folds(_sessions(11, 2), groups=3, test_groups=1, embargo_sessions=0, label_horizon_bars=0)
    assert [fold.test_sessions[0][1] - fold.test_sessions[0][0] for fold in folds] == [4, 4, 3]


def test_another_clock_is_cut_at_the_same_sessions_and_purged_by_its_own_rows() -> None:
    fold = combinatorial_folds(_sessions(9, 4), groups=3, test_groups=1, embargo_sessions=0, label_horizon_bars=3)[1]
    fast = fold.on(_sessions(9, 24))
    assert fast.test_rows == ((72, 144),)
    assert fast.train_rows == ((0, 69), (147, 216))
    assert fast.train_sessions == fold.train_sessions


def test_an_instrument_that_did_not_trade_in_the_test_keeps_its_training_rows() -> None:
    fold = combinatorial_folds(_sessions(9, 4), groups=3, test_groups=1, embargo_sessions=0, label_horizon_bars=3)[0]
    late = fold.on(_sessions(5, 4, first=17_004))
    assert late.test_rows == ((0, 0),)
    assert late.train_rows == ((0, 20),)


@pytest.mark.parametrize(
    ("changed", "rule"),
    [
        ({"groups": 1}, "test_groups < groups"),
        ({"test_groups": 0}, "1 <= test_groups"),
        ({"test_groups": 3}, "test_groups < groups"),
        ({"groups": 10}, "number of sessions"),
        ({"embargo_sessions": -1}, "must not be negative"),
        ({"label_horizon_bars": -1}, "must not be negative"),
        ({"embargo_sessions": 6}, "rows to train on"),
        ({"label_horizon_bars": 40}, "rows to train on"),
    ],
)
def test_folds_that_cannot_be_are_refused(changed: dict[str, int], rule: str) -> None:
    asked = {"groups": 3, "test_groups": 1, "embargo_sessions": 0, "label_horizon_bars": 1} | changed
    with pytest.raises(ConfigError, match=rule):
        combinatorial_folds(_sessions(9, 4), **asked)


def test_sessions_that_decrease_or_are_missing_are_refused() -> None:
    for bad in (np.array([2, 1], dtype=np.int32), np.array([], dtype=np.int32)):
        with pytest.raises(DataError, match="never decreases"):
            combinatorial_folds(bad, groups=2, test_groups=1, embargo_sessions=0, label_horizon_bars=1)


def test_paths_of_a_part_of_the_folds_are_refused() -> None:
    folds = combinatorial_folds(_sessions(12, 2), groups=4, test_groups=2, embargo_sessions=0, label_horizon_bars=0)
    with pytest.raises(DataError, match="equally often"):
        paths(folds[:-1])
    with pytest.raises(DataError, match="equally often"):
        paths([])
