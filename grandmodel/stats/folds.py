"""Purged walk-forward folds: train on all that came before, test on what follows, never let the two touch.

Source: Lopez de Prado (2018), Advances in Financial Machine Learning, chapter 7 (purging and embargo).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.config import FoldParams
from grandmodel.core.errors import ConfigError, DataError


@dataclass(frozen=True)
class Fold:
    """One fold as row ranges ``[start, stop)`` of one clock, cut by the session ranges that all clocks share."""

    number: int  # from 0
    train_start: int  # rows
    train_stop: int
    test_start: int
    test_stop: int
    train_sessions: tuple[int, int]  # session numbers [first, stop)
    test_sessions: tuple[int, int]
    label_horizon_bars: int

    @property
    def train_rows(self) -> tuple[tuple[int, int], ...]:
        """The training rows as ranges [first, stop): one, or none where it is empty. As a combinatorial fold has it."""
        return ((self.train_start, self.train_stop),) if self.train_start < self.train_stop else ()

    @property
    def test_rows(self) -> tuple[tuple[int, int], ...]:
        """The test rows as one range, also where it is empty."""
        return ((self.test_start, self.test_stop),)

    def on(self, session: NDArray[np.int32]) -> Fold:
        """Return this fold as rows of another clock or instrument with ``session`` int32[rows], never decreasing.

        Training rows whose label would need a bar of the test span are purged here too. A span without rows is empty.
        Raises: DataError when sessions are empty or decrease.
        """
        numbers = session_numbers(session)
        bounds = [*self.train_sessions, *self.test_sessions]
        train_start, train_stop, test_start, test_stop = (int(row) for row in np.searchsorted(numbers, bounds))
        train_stop = max(train_start, min(train_stop, test_start - self.label_horizon_bars))
        return replace(self, train_start=train_start, train_stop=train_stop, test_start=test_start, test_stop=test_stop)


def walk_forward(session: NDArray[np.int32], params: FoldParams, *, label_horizon_bars: int = 1) -> list[Fold]:
    """Return ``params.count`` expanding-window folds over ``session`` int32[rows], oldest first.

    The tests are the last ``count x floor(test_frac x sessions)`` sessions, side by side; training is everything before
    a test less ``embargo_sessions`` sessions, and less the rows whose label, known ``label_horizon_bars`` bars later,
    would reach the test. Raises: DataError when sessions are empty or decrease; ConfigError when nothing is left to
    train on.
    """
    numbers = session_numbers(session)
    unique = np.unique(numbers)
    test_count = max(1, int(params.test_frac * len(unique)))
    first_train_count = len(unique) - params.count * test_count - params.embargo_sessions
    if first_train_count < 1:
        rule = "count x test_frac plus the embargo must leave sessions to train on"
        found = f"{len(unique)} sessions, count {params.count}, test_frac {params.test_frac}"
        raise ConfigError("params.yaml folds", rule, found, "Use fewer or smaller test folds, or more data")
    stops = [*map(int, unique), int(unique[-1]) + 1]  # session number at which the i-th unique session starts
    folds = []
    for number in range(params.count):
        test_first = len(unique) - (params.count - number) * test_count
        train = (stops[0], stops[test_first - params.embargo_sessions])
        test = (stops[test_first], stops[test_first + test_count])
        folds.append(Fold(number, 0, 0, 0, 0, train, test, label_horizon_bars).on(numbers))
    return folds


def session_numbers(session: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return ``session`` int32[rows] as it is. Raises DataError when it is empty, or decreases."""
    numbers = np.asarray(session)
    if numbers.ndim != 1 or len(numbers) == 0 or bool(np.any(np.diff(numbers) < 0)):
        raise DataError("sessions", "they must be a non-empty column that never decreases", numbers.shape)
    return numbers
