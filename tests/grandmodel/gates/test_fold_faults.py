from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grandmodel.core.config import FoldParams
from grandmodel.gates.fold_faults import FoldCase, fold_faults
from grandmodel.stats.folds import walk_forward
from tests.grandmodel.gates.folds import Scaler, clean_fold

ROWS = np.arange(400)


def labels_touch(case: FoldCase) -> bool:
    """Return, pair by pair, whether a training label's span meets one of the test."""
    horizon = case.label_horizon_bars
    spans = [set(range(row, row + horizon + 1)) for row in np.flatnonzero(case.trained)]
    tested = set().union(*(range(row, row + horizon + 1) for row in np.flatnonzero(case.tested)))
    return any(span & tested for span in spans)


def test_a_clean_fold_has_no_faults() -> None:
    assert fold_faults(clean_fold()) == []


def test_training_rows_up_to_the_test_touch_it_and_leave_no_embargo() -> None:
    given = (frozenset(range(100, 130)),)
    faults = fold_faults(replace(clean_fold(), trained=ROWS < 300, seen_sessions=given))
    assert faults == [
        "fold 0: the label of training row 299 touches the test",
        "fold 0: 0 sessions of embargo instead of 1",
    ]


def test_test_rows_that_were_trained_on_are_counted() -> None:
    faults = fold_faults(replace(clean_fold(), trained=ROWS < 310))
    assert faults[0] == "fold 0: 10 test rows were trained on, from row 300 on"


def test_an_embargo_shorter_than_asked_is_a_fault() -> None:
    assert fold_faults(replace(clean_fold(), embargo_sessions=2)) == ["fold 0: 1 sessions of embargo instead of 2"]


def test_a_label_horizon_longer_than_the_embargo_is_a_fault() -> None:
    assert fold_faults(replace(clean_fold(), label_horizon_bars=10)) == []
    (fault,) = fold_faults(replace(clean_fold(), label_horizon_bars=11))
    assert fault == "fold 0: the label of training row 289 touches the test"


def test_training_after_the_test_is_held_to_the_same_distance() -> None:
    later = replace(clean_fold(), tested=(ROWS >= 300) & (ROWS < 350), trained=(ROWS < 290) | (ROWS >= 360))
    later = replace(later, seen_sessions=(frozenset([*range(100, 129), *range(136, 140)]),))
    assert fold_faults(later) == []
    assert fold_faults(replace(later, trained=later.trained | (ROWS >= 350)))[0] == (
        "fold 0: the label of training row 350 touches the test"
    )


def test_sessions_of_the_test_that_a_training_was_given_are_a_fault() -> None:
    honest, leaking = frozenset(range(100, 129)), frozenset(range(100, 133))
    for seen_sessions in ((leaking,), (honest, leaking), (leaking, honest)):
        seen = replace(clean_fold(), seen_sessions=seen_sessions)
        assert fold_faults(seen) == ["fold 0: a finished training was given 3 sessions of the test"]


@pytest.mark.parametrize(
    ("told", "missing"),
    [
        ((), "29 sessions"),
        ((frozenset(),), "29 sessions"),
        ((frozenset({-1}),), "29 sessions"),
        ((frozenset(range(101, 129)),), "1 session"),
        ((frozenset(range(100, 129)), frozenset(range(100, 120))), "9 sessions"),
    ],
)
def test_a_training_that_does_not_tell_all_it_was_given_is_a_fault(
    told: tuple[frozenset[int], ...], missing: str
) -> None:
    (fault,) = fold_faults(replace(clean_fold(), seen_sessions=told))
    assert fault == f"fold 0: the trainings do not say that they were given {missing} of the training"


def test_a_training_on_other_instruments_too_may_be_given_more_sessions() -> None:
    assert fold_faults(replace(clean_fold(), seen_sessions=(frozenset(range(90, 129)),))) == []


@pytest.mark.parametrize(("window", "rows"), [((0, 300_001), 1), ((0, 400_000), 100), ((350_000, 360_000), 10)])
def test_a_scaler_window_that_holds_test_rows_is_a_fault(window: tuple[int, int], rows: int) -> None:
    (fault,) = fold_faults(replace(clean_fold(), scaler=Scaler(*window)))
    assert fault.startswith(f"fold 0: the scaler was fitted on a window that holds {rows} test row")


@given(
    horizon=st.integers(1, 15),
    embargo=st.integers(0, 3),
    train_stop=st.integers(250, 300),
    sessions=st.lists(st.integers(1, 12), min_size=40, max_size=40),
)
def test_purging_agrees_with_every_pair_of_labels(
    horizon: int, embargo: int, train_stop: int, sessions: list[int]
) -> None:
    case = replace(clean_fold(), trained=np.arange(400) < train_stop, label_horizon_bars=horizon, embargo_sessions=0)
    assert any("label of training row" in fault for fault in fold_faults(case)) == labels_touch(case)
    session = np.repeat(np.arange(40, dtype=np.int32), sessions)
    params = FoldParams(count=2, test_frac=0.2, embargo_sessions=embargo)
    for fold in walk_forward(session, params, label_horizon_bars=horizon):
        rows = np.arange(len(session))
        given = frozenset(session[: fold.train_stop].tolist())
        planned = FoldCase(
            name="planned",
            start_ns=rows * 1000,
            session=session,
            trained=rows < fold.train_stop,
            tested=(rows >= fold.test_start) & (rows < fold.test_stop),
            seen_sessions=(given,),
            scaler=Scaler(0, fold.train_stop * 1000),
            label_horizon_bars=horizon,
            embargo_sessions=embargo,
        )
        assert not planned.trained.any() or fold_faults(planned) == []
        assert not labels_touch(planned)
