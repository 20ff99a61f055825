"""The ways through the test sessions: one of walk-forward folds, several of combinatorial ones.

Every training of a combinatorial fold tests several groups of sessions, and every group is tested by several folds.
Taking one test of each group gives a path, a whole history out of sample; no two paths share a test.

Source: Lopez de Prado (2018), Advances in Financial Machine Learning, chapter 12.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from grandmodel.gates.text import count
from grandmodel.stats.combinatorial import CombinatorialFold, paths
from grandmodel.stats.performance import annual_sharpe
from pipelines.features import AnyFold

Test = TypeVar("Test")
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def histories(plan: Sequence[AnyFold], tests: Sequence[Sequence[Test]]) -> list[list[Test]]:
    """Return each way through the sessions as its tests in order of time, that of the released training first.

    ``tests[f]`` are those of fold f, in order. The last fold is released, and it is the last that tests each of its
    groups, so the last path holds all its tests.
    """
    splits = [fold for fold in plan if isinstance(fold, CombinatorialFold)]
    if not splits:
        return [[one for fold in tests for one in fold]]
    return [
        [tests[number][splits[number].tested.index(group)] for group, number in enumerate(path)]
        for path in reversed(paths(splits))
    ]


def sharpe_distribution(returns: NDArray[np.float64]) -> dict[str, Any]:
    """Return how the annual Sharpe ratio spreads over trainings and paths, as plain data.

    ``returns`` are daily net log returns float64[seeds, paths, days]; a row that never varies has no Sharpe ratio and
    is counted apart. Paths share their market, and neighbours some trainings: the spread is no standard error.
    """
    seeds, ways, days = returns.shape
    table = [[annual_sharpe(row) for row in seed] for seed in returns]
    known = np.array([value for seed in table for value in seed if value is not None])
    spread = np.quantile(known, QUANTILES).tolist() if len(known) else None
    return {
        "seeds": seeds,
        "paths": ways,
        "days": days,
        "annual_sharpe": table,
        "quantiles": dict(zip(map(str, QUANTILES), spread, strict=True)) if spread else None,
        "below_zero": int((known < 0).sum()),
        "without_sharpe": seeds * ways - len(known),
    }


def in_words(distribution: dict[str, Any]) -> str:
    """Return the distribution as a sentence for the report."""
    rows = distribution["paths"] * distribution["seeds"]
    about = f"{count(distribution['paths'], 'path')} through all {distribution['days']:,} sessions, {rows} histories"
    own = "Figures and gates are those of the path that holds the released training."
    spread = distribution["quantiles"]
    if spread is None:
        return f"Combinatorial purged cross-validation: {about}, none of which ever traded. {own}"
    return (
        f"Combinatorial purged cross-validation: {about}. Annual Sharpe ratio {spread['0.5']:.2f} in the middle, "
        f"{spread['0.05']:.2f} to {spread['0.95']:.2f} between the 5 % and 95 % quantiles; "
        f"{distribution['below_zero']} below zero. {own}"
    )
