import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from grandmodel.core.config import FoldParams
from grandmodel.core.errors import ConfigError, DataError
from grandmodel.stats.folds import walk_forward


def _sessions(count: int, bars: int, first: int = 17_000) -> np.ndarray:
    return np.repeat(np.arange(first, first + count, dtype=np.int32), bars)


def test_windows_expand_and_tests_lie_side_by_side_at_the_end() -> None:
    session = _sessions(10, 4)
    folds = walk_forward(session, FoldParams(count=2, test_frac=0.2, embargo_sessions=1))
    assert [(f.train_start, f.train_stop, f.test_start, f.test_stop) for f in folds] == [
        (0, 20, 24, 32),
        (0, 28, 32, 40),
    ]
    assert [(f.train_sessions, f.test_sessions) for f in folds] == [
        ((17_000, 17_005), (17_006, 17_008)),
        ((17_000, 17_007), (17_008, 17_010)),
    ]


@settings(max_examples=60, deadline=None)
@given(
    lengths=some.lists(some.integers(1, 6), min_size=8, max_size=40),
    gaps=some.lists(some.integers(1, 5), min_size=40, max_size=40),
    count=some.integers(1, 3),
    embargo=some.integers(0, 3),
    horizon=some.integers(0, 9),
)
def test_no_training_label_reaches_the_test_span(
    lengths: list[int], gaps: list[int], count: int, embargo: int, horizon: int
) -> None:
    numbers = np.cumsum(gaps[: len(lengths)])
    session = np.repeat(numbers, lengths).astype(np.int32)
    params = FoldParams(count=count, test_frac=0.15, embargo_sessions=embargo)
    folds = walk_forward(session, params, label_horizon_bars=horizon)
    assert len(folds) == count
    tested: set[int] = set()
    for fold in folds:
        test_rows = set(range(fold.test_start, fold.test_stop))
        assert test_rows
        assert not test_rows & tested
        tested |= test_rows
        for row in range(fold.train_start, fold.train_stop):
            assert not {row + step for step in range(horizon + 1)} & test_rows
        between = set(session[fold.train_stop : fold.test_start].tolist())
        whole = {s for s in between if s not in session[fold.train_start : fold.train_stop]}
        assert len(whole) >= embargo
        assert not set(session[list(test_rows)].tolist()) & set(session[: fold.train_stop].tolist())
    assert max(tested) == len(session) - 1


def test_without_embargo_the_purge_alone_keeps_labels_out_of_the_test() -> None:
    fold = walk_forward(_sessions(10, 4), FoldParams(count=1, test_frac=0.2, embargo_sessions=0), label_horizon_bars=3)[
        0
    ]
    assert (fold.train_stop, fold.test_start) == (29, 32)


def test_a_fold_cuts_another_clock_at_the_same_sessions() -> None:
    fold = walk_forward(_sessions(10, 4), FoldParams(count=1, test_frac=0.2, embargo_sessions=1))[0]
    fast = fold.on(_sessions(10, 24))
    assert (fast.train_stop, fast.test_start, fast.test_stop) == (7 * 24, 8 * 24, 10 * 24)


def test_a_fold_on_an_instrument_listed_later_is_empty_where_it_did_not_trade() -> None:
    fold = walk_forward(_sessions(10, 4), FoldParams(count=1, test_frac=0.2, embargo_sessions=1))[0]
    late = fold.on(_sessions(2, 4, first=17_008))
    assert late.train_start == late.train_stop == 0
    assert (late.test_start, late.test_stop) == (0, 8)


def test_folds_that_leave_nothing_to_train_on_are_refused() -> None:
    with pytest.raises(ConfigError, match="leave sessions to train on"):
        walk_forward(_sessions(10, 4), FoldParams(count=5, test_frac=0.2, embargo_sessions=1))


def test_sessions_that_decrease_or_are_missing_are_refused() -> None:
    for bad in (np.array([2, 1], dtype=np.int32), np.array([], dtype=np.int32)):
        with pytest.raises(DataError, match="never decreases"):
            walk_forward(bad, FoldParams(count=1, test_frac=0.2, embargo_sessions=0))
