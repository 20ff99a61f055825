"""Combinatorial purged cross-validation: every choice of test groups, and the histories that they add up to.

Walk-forward tells one history of the market. Here the sessions are cut into N groups side by side, every k of them are
tested once while all others train, and each group is tested C(N - 1, k - 1) times by models that never saw it. Taking
one test of every group gives a path through all sessions; there are C(N - 1, k - 1) paths that share no test.

Training lies on both sides of a test, so both sides are kept clear: whole sessions of embargo, and the rows whose
label would touch a row or a label of the test.

Source: Lopez de Prado (2018), Advances in Financial Machine Learning, chapters 7 and 12.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.stats.folds import session_numbers

Range = tuple[int, int]  # [first, stop)


@dataclass(frozen=True)
class CombinatorialFold:
    """One choice of test groups: session ranges that all clocks share, and row ranges of one clock."""

    number: int  # from 0, in the order of itertools.combinations
    tested: tuple[int, ...]  # groups, rising
    train_sessions: tuple[Range, ...]  # session numbers [first, stop) of each stretch, rising, embargo taken out
    test_sessions: tuple[Range, ...]  # one range for each of ``tested``, also where two lie side by side
    label_horizon_bars: int
    train_rows: tuple[Range, ...] = ()  # of the clock last given to ``on``; purged, and empty stretches left out
    test_rows: tuple[Range, ...] = ()  # one for each of ``tested``; empty where the instrument did not trade

    def on(self, session: NDArray[np.int32]) -> CombinatorialFold:
        """Return this fold with the rows of another clock or instrument, ``session`` int32[rows], never decreasing.

        Label of row r are the rows r to r + ``label_horizon_bars``. Training rows whose label touches that of a test
        row, before or after it, are purged on this clock.
        Raises: DataError when sessions are empty or decrease.
        """
        numbers = session_numbers(session)
        test_rows = tuple(_rows(numbers, one) for one in self.test_sessions)
        purged = [_purged(_rows(numbers, one), test_rows, self.label_horizon_bars) for one in self.train_sessions]
        return replace(self, test_rows=test_rows, train_rows=tuple(rows for rows in purged if rows[0] < rows[1]))


def combinatorial_folds(
    session: NDArray[np.int32], *, groups: int, test_groups: int, embargo_sessions: int, label_horizon_bars: int
) -> list[CombinatorialFold]:
    """Return C(groups, test_groups) folds, each testing its choice of groups and training on the rest.

    Args:
        session: int32[rows], never decreasing; the clock whose rows the folds name until ``on`` gives another.
        groups: N, groups of sessions side by side, as equal as they can be, the longer ones first.
        test_groups: k, of them tested at once.
        embargo_sessions: sessions dropped from training on either side of each tested group.
        label_horizon_bars: rows after a row until its label is known.

    Raises:
        DataError: sessions are empty or decrease.
        ConfigError: not ``1 <= test_groups < groups``, a negative length, fewer sessions than groups, or a fold is left
            with nothing to train on.
    """
    numbers = session_numbers(session)
    unique = np.unique(numbers)
    _check(len(unique), groups, test_groups, embargo_sessions, label_horizon_bars)
    starts = np.append(unique, unique[-1] + 1)  # session number at which the i-th session starts; half-open ranges
    edges = [int(part[0]) for part in np.array_split(np.arange(len(unique)), groups)] + [len(unique)]
    folds = []
    for number, tested in enumerate(combinations(range(groups), test_groups)):
        near = np.zeros(len(unique), dtype=np.bool_)
        for group in tested:
            near[max(edges[group] - embargo_sessions, 0) : edges[group + 1] + embargo_sessions] = True
        train = tuple((int(starts[first]), int(starts[stop])) for first, stop in _runs(~near))
        test = tuple((int(starts[edges[group]]), int(starts[edges[group + 1]])) for group in tested)
        fold = CombinatorialFold(number, tested, train, test, label_horizon_bars).on(numbers)
        if not fold.train_rows:
            rule = "every fold must keep rows to train on after purge and embargo"
            raise ConfigError("combinatorial folds", rule, f"none where groups {tested} are tested", "Use fewer groups")
        folds.append(fold)
    return folds


def paths(folds: list[CombinatorialFold]) -> list[tuple[int, ...]]:
    """Return the histories: path p names, group by group, the fold whose test of that group it takes.

    Path p takes the p-th fold that tests a group, so every test of every fold stands in exactly one path. There are
    C(groups - 1, test_groups - 1) of them. Raises: DataError unless every group is tested equally often.
    """
    groups = sorted({group for fold in folds for group in fold.tested})
    testing = [[fold.number for fold in folds if group in fold.tested] for group in groups]
    if not testing or len({len(numbers) for numbers in testing}) != 1:
        raise DataError("combinatorial paths", "every group must be tested equally often", [len(n) for n in testing])
    return list(zip(*testing, strict=True))


def _rows(numbers: NDArray[np.int32], sessions: Range) -> Range:
    first, stop = np.searchsorted(numbers, sessions)
    return int(first), int(stop)


def _purged(train: Range, tests: tuple[Range, ...], horizon: int) -> Range:
    """Return the rows of ``train`` whose label touches no label of ``tests``; empty where none is left."""
    first, stop = train
    for test_first, test_stop in tests:
        if test_first == test_stop:
            continue  # no row of this instrument is tested there
        if test_first >= train[1]:
            stop = min(stop, test_first - horizon)
        else:
            first = max(first, test_stop + horizon)
    return first, max(first, stop)


def _runs(flags: NDArray[np.bool_]) -> list[Range]:
    """Return the ranges in which ``flags`` is true."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], flags.astype(np.int8), [0]))))
    return [(int(first), int(stop)) for first, stop in edges.reshape(-1, 2)]


def _check(sessions: int, groups: int, test_groups: int, embargo_sessions: int, label_horizon_bars: int) -> None:
    if not 1 <= test_groups < groups <= sessions:
        rule = "needs 1 <= test_groups < groups <= number of sessions"
        raise ConfigError("combinatorial folds", rule, (test_groups, groups, sessions))
    if embargo_sessions < 0 or label_horizon_bars < 0:
        rule = "embargo and label horizon must not be negative"
        raise ConfigError("combinatorial folds", rule, (embargo_sessions, label_horizon_bars))
