"""A fold without faults."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from grandmodel.core.config import FoldParams
from grandmodel.gates.fold_faults import FoldCase
from grandmodel.stats.folds import walk_forward


@dataclass(frozen=True)
class Scaler:
    fit_start_ns: int
    fit_stop_ns: int
    holes_ns: tuple[tuple[int, int], ...] = ()


def clean_fold() -> FoldCase:
    """Return 40 sessions of 10 rows: 29 to train on, 1 of embargo, 10 of test."""
    session = np.repeat(np.arange(100, 140, dtype=np.int32), 10)
    fold = walk_forward(session, FoldParams(count=1, test_frac=0.25, embargo_sessions=1))[0]
    start_ns, rows = np.arange(400, dtype=np.int64) * 1000, np.arange(400)
    return FoldCase(
        name="fold 0",
        start_ns=start_ns,
        session=session,
        trained=rows < fold.train_stop,
        tested=(rows >= fold.test_start) & (rows < fold.test_stop),
        seen_sessions=(frozenset(range(100, 129)),),
        scaler=Scaler(0, int(start_ns[fold.train_stop])),
        label_horizon_bars=1,
        embargo_sessions=1,
    )
