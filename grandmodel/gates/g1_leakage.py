"""G1: nothing that is known at a bar depends on a later bar, and no fold lets training touch its test.

Truncation: each case is computed again on the bars up to a seeded point and must give the same values there, to the
last digit. Checked are the cases the caller hands in; this gate does not itself build the environment or the agents.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.random import random_stream
from grandmodel.gates.result import GateResult, plain, refused
from grandmodel.gates.text import count, listing, percent
from grandmodel.stats.folds import Fold

NAME = "g1_leakage"
STATED_SHARE = 0.1  # the leak that the power is stated for: it changes one row in ten
SHOWN_MAX = 10


@dataclass(frozen=True)
class TruncationCase:
    """A matrix [rows, columns] and how to compute its row ``stop_row - 1`` from the bars before ``stop_row`` alone."""

    name: str
    compute: Callable[[int], NDArray[Any]]
    matrix: NDArray[Any]


class FitWindow(Protocol):
    """What is asked of a fitted scaler: when its fit ended (bars that start at or after it were not seen)."""

    @property
    def fit_stop_ns(self) -> int:
        """UTC nanoseconds, exclusive."""
        ...


@dataclass(frozen=True)
class FoldCase:
    """One fold on one clock of one instrument, and the scaler that was fitted for it."""

    name: str
    fold: Fold
    session: NDArray[np.int32]  # [rows]
    start_ns: NDArray[np.int64]  # [rows]
    scaler: FitWindow
    label_horizon_bars: int  # bars after a decision until its reward is known
    embargo_sessions: int


def judge(cases: Sequence[TruncationCase], folds: Sequence[FoldCase], *, points_per_case: int, seed: int) -> GateResult:
    """Refuse when any row changes with the future, or a fold's purge, embargo or scaler reaches its test.

    The statistic counts differing rows and fold faults; none may remain. n is the number of rows compared.
    """
    if not cases or not folds:
        return refused(NAME, 0.0, "there is no matrix or no fold to look at")
    differences: list[str] = []
    compared: dict[str, int] = {}
    for case in cases:
        rows = _draw_rows(case.matrix, points_per_case, seed, case.name)
        if len(rows) == 0:
            return refused(NAME, 0.0, f"{case.name} has no row with a value, so the comparison would be empty")
        compared[case.name] = len(rows)
        differences += [found for row in rows if (found := _difference(case, int(row)))]
    used = [case for case in folds if _has_both_spans(case.fold)]
    if not used:
        return refused(NAME, 0.0, "no fold has both training and test rows")
    faults = [fault for case in used for fault in fold_faults(case)]
    return _result(differences, faults, compared, len(used))


def fold_faults(case: FoldCase) -> list[str]:
    """Return what is wrong with one fold, in words; empty when training and test are clean of each other."""
    fold, session = case.fold, case.session
    faults = []
    if fold.train_stop - 1 + case.label_horizon_bars >= fold.test_start:
        faults.append(f"{case.name}: a training label reaches the test at row {fold.test_start}")
    last_trained, first_tested = session[fold.train_stop - 1], session[fold.test_start]
    between = np.unique(session[(session > last_trained) & (session < first_tested)])
    if last_trained >= first_tested or len(between) < case.embargo_sessions:
        faults.append(f"{case.name}: {len(between)} sessions of embargo instead of {case.embargo_sessions}")
    if case.scaler.fit_stop_ns > case.start_ns[fold.test_start]:
        faults.append(f"{case.name}: the scaler was fitted beyond the start of the test")
    return faults


def _draw_rows(matrix: NDArray[Any], points: int, seed: int, name: str) -> NDArray[np.int64]:
    known = np.flatnonzero(np.isfinite(matrix).any(axis=1))  # warm-up rows hold nothing that could differ
    if len(known) <= points:
        return known
    drawn = random_stream(seed, "truncation", name).choice(known, size=points, replace=False)
    return np.sort(drawn)


def _difference(case: TruncationCase, row: int) -> str:
    alone, whole = np.asarray(case.compute(row + 1)), case.matrix[row]
    if alone.shape != whole.shape or alone.dtype != whole.dtype:
        return f"{case.name} row {row}: {alone.dtype}{alone.shape} instead of {whole.dtype}{whole.shape}"
    unequal = ~((alone == whole) | (np.isnan(alone) & np.isnan(whole)))
    return f"{case.name} row {row} columns {np.flatnonzero(unequal).tolist()}" if unequal.any() else ""


def _has_both_spans(fold: Fold) -> bool:
    return fold.train_stop > fold.train_start and fold.test_stop > fold.test_start


def _result(differences: list[str], faults: list[str], compared: dict[str, int], folds: int) -> GateResult:
    fewest = min(compared.values())
    power = 1.0 - (1.0 - STATED_SHARE) ** fewest
    smallest = 1.0 - 0.2 ** (1.0 / fewest)
    statement = (
        f"A look-ahead that changes {percent(STATED_SHARE, 0)} of the rows of one matrix is caught with probability "
        f"{percent(power, 0)}; with 80 % it is caught when it changes {percent(smallest)} of them. Folds are exact."
    )
    n = sum(compared.values())
    evidence = {
        "rows_compared": compared,
        "folds_checked": folds,
        "differences": differences[:SHOWN_MAX],
        "differences_total": len(differences),
        "fold_faults": faults[:SHOWN_MAX],
        "smallest_share_80": smallest,
        "statistic_name": "rows that differ and fold faults",
        "power_statement": statement,
    }
    if differences or faults:
        parts = (
            [f"{count(len(differences), 'row')} of {n:,} changed when the future was cut off"] if differences else []
        )
        shown = listing((differences + faults)[:SHOWN_MAX], 2)
        reason = f"Leak: {', '.join([*parts, count(len(faults), 'fold fault')])} ({shown})."
    else:
        reason = (
            f"{count(n, 'row')} in {count(len(compared), 'matrix', 'matrices')} gave the same values with the future "
            f"cut off, and the purge, embargo and scaler windows of {count(folds, 'fold')} stay clear of the tests."
        )
    statistic = float(len(differences) + len(faults))
    return GateResult(NAME, statistic == 0.0, statistic, 0.0, power, n, reason, plain(evidence))
