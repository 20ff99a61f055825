"""What is wrong with a fold: training and test must keep clear of each other (part of gate G1).

Source: Lopez de Prado (2018), Advances in Financial Machine Learning, chapter 7 (purging and embargo). Rows are marked
one by one, so that any split can be asked about, and every rule is the plain reading of its words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from grandmodel.features.scaler import inside
from grandmodel.gates.text import count


class FitWindow(Protocol):
    """What is asked of a fitted scaler: the span of bar starts that it was fitted on, and the holes in it."""

    @property
    def fit_start_ns(self) -> int:
        """UTC nanoseconds."""
        ...

    @property
    def fit_stop_ns(self) -> int:
        """UTC nanoseconds, exclusive."""
        ...

    @property
    def holes_ns(self) -> tuple[tuple[int, int], ...]:
        """Spans [start, stop) that were left out."""
        ...


@dataclass(frozen=True)
class FoldCase:
    """One fold on one clock of one instrument: its rows by what they were used for."""

    name: str  # such as "fold 1 strategic IF"
    start_ns: NDArray[np.int64]  # [rows]
    session: NDArray[np.int32]  # [rows]
    trained: NDArray[np.bool_]  # [rows] given to the training
    tested: NDArray[np.bool_]  # [rows] of the test
    seen_sessions: tuple[frozenset[int], ...]  # by finished training: those that it says it was given
    scaler: FitWindow
    label_horizon_bars: int  # bars after a decision until its reward is known
    embargo_sessions: int


def fold_faults(case: FoldCase) -> list[str]:
    """Return what is wrong with one fold, in words; empty when its training and its test are clean of each other.

    Both must have rows.
    """
    faults = [
        *(_trained_on_test(case), _label_in_test(case), _short_embargo(case)),
        *(_seen(case), _scaler_in_test(case), _not_told(case)),
    ]
    return [f"{case.name}: {fault}" for fault in faults if fault]


def _trained_on_test(case: FoldCase) -> str:
    both = np.flatnonzero(case.trained & case.tested)
    return f"{count(len(both), 'test row')} were trained on, from row {both[0]} on" if len(both) else ""


def _label_in_test(case: FoldCase) -> str:
    # A decision is rewarded up to so many bars later: no such span of the training may touch one of the test.
    touching = np.flatnonzero(case.trained & ~case.tested & _near(case.tested, case.label_horizon_bars))
    return f"the label of training row {touching[0]} touches the test" if len(touching) else ""


def _near(marked: NDArray[np.bool_], rows: int) -> NDArray[np.bool_]:
    """Return which rows have a marked one at most ``rows`` before or after them."""
    near = marked.copy()
    for distance in range(1, min(rows, len(marked) - 1) + 1):
        near[distance:] |= marked[:-distance]
        near[:-distance] |= marked[distance:]
    return near


def _short_embargo(case: FoldCase) -> str:
    numbers = np.unique(case.session)
    trained, tested = (np.searchsorted(numbers, case.session[rows]) for rows in (case.trained, case.tested))
    nearest = int(np.abs(np.subtract.outer(np.unique(trained), np.unique(tested))).min())
    between = max(nearest - 1, 0)
    short = between < case.embargo_sessions
    return f"{between} sessions of embargo instead of {case.embargo_sessions}" if short else ""


def _seen(case: FoldCase) -> str:
    seen = frozenset().union(*case.seen_sessions) & _sessions(case, case.tested)
    return f"a finished training was given {count(len(seen), 'session')} of the test" if seen else ""


def _not_told(case: FoldCase) -> str:
    # A training that tells of no session, or of others, is no evidence that it kept clear of the test.
    trained = _sessions(case, case.trained)
    told = trained.intersection(*case.seen_sessions) if case.seen_sessions else frozenset()
    missing = count(len(trained - told), "session")
    return f"the trainings do not say that they were given {missing} of the training" if trained > told else ""


def _sessions(case: FoldCase, rows: NDArray[np.bool_]) -> frozenset[int]:
    return frozenset(np.unique(case.session[rows]).tolist())


def _scaler_in_test(case: FoldCase) -> str:
    starts = case.start_ns[case.tested]
    fitted = inside(starts, [(case.scaler.fit_start_ns, case.scaler.fit_stop_ns)]) & ~inside(
        starts, case.scaler.holes_ns
    )
    held = count(int(fitted.sum()), "test row")
    return f"the scaler was fitted on a window that holds {held}" if fitted.any() else ""
