"""The trials of a search: what was tried on the same days, and how many independent trials that amounts to.

A Sharpe ratio means nothing without the number of trials it was picked from. Trials that trade alike are no independent
chances, so three counts are made and the largest holds:

* Groups of like trials by average linkage on the correlation distance sqrt((1 - rho) / 2), their number by the
  silhouette (Lopez de Prado and Lewis 2019, Detection of False Investment Strategies Using Unsupervised Learning
  Methods; Rousseeuw 1987). Where no grouping is convincing every trial counts.
* Galwey (2009, A New Measure of the Effective Number of Tests): (sum of sqrt(lambda))^2 / sum of lambda over the
  eigenvalues of the correlation matrix. A family of fifty trials that correlate at 0.8 is one group, and still gives
  its best member more than one chance; the group alone would not see that.
* Chains of trials of which each correlates with the next by more than one half. Near-copies of one trial blur the other
  two counts, and a search must not seem smaller for what was tried besides; the number of chains they cannot lower.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import linkage
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial.distance import squareform

from grandmodel.core.errors import DataError

STRUCTURE_MIN = 0.5  # mean silhouette; below it structure is weak or none (Kaufman and Rousseeuw 1990, chapter 2)
ALIKE = 0.5  # correlation; above it two trials share more than a quarter of their variance
UNRELATED = sqrt(0.5)  # correlation distance of two trials that have nothing in common
_ROUNDING = 1e-9  # an eigenvalue below it is zero; an effective number so little above a whole one is the whole one


@dataclass(frozen=True)
class Trials:
    """All that was tried on one stretch of days. Raises DataError when its parts do not belong together."""

    names: tuple[str, ...]  # one for each trial
    sessions: NDArray[np.int32]  # [days], rising
    daily_returns: NDArray[np.float64]  # [trials, days], net log returns out of sample on those days
    unseen: int  # further trials on this data whose returns on these days are not known; one effective trial each
    picked: bool  # whether the release was chosen by looking at these returns
    counted: str  # how they were counted, in words

    def __post_init__(self) -> None:
        shape = (len(self.names), len(self.sessions))
        if self.daily_returns.shape != shape or 0 in shape:
            rule = "daily returns must have one row for each name and one column for each session"
            raise DataError("trials", rule, (self.daily_returns.shape, shape))
        if len(set(self.names)) != len(self.names):
            raise DataError("trials", "their names must be unique", self.names)
        if bool(np.any(np.diff(self.sessions) <= 0)):
            raise DataError("trials", "sessions must increase from day to day", self.sessions[:8].tolist())
        if not np.isfinite(self.daily_returns).all():
            row, day = (int(place) for place in np.argwhere(~np.isfinite(self.daily_returns))[0])
            raise DataError(f"trial {self.names[row]}", "every daily return must be finite", f"day {day}")
        if self.unseen < 0 or not self.counted.strip():
            rule = "needs a number of unseen trials that is not negative, and how they were counted"
            raise DataError("trials", rule, (self.unseen, self.counted))


def effective_trials(trials: Trials) -> int:
    """Return how many independent trials these amount to: the effective number of the seen ones plus the unseen.

    A trial that never varies has no correlation and counts as one. A single trial is one; two are one or two.
    """
    table = trials.daily_returns
    varying = table[np.ptp(table, axis=1) > 0.0]
    constant = len(table) - len(varying)
    if len(varying) < 2:
        return len(table) + trials.unseen
    correlation = np.clip(np.corrcoef(varying), -1.0, 1.0)
    seen = max(group_count(correlation), ceil(eigenvalue_count(correlation) - _ROUNDING), chain_count(correlation))
    return seen + constant + trials.unseen


def eigenvalue_count(correlation: NDArray[np.float64]) -> float:
    """Return Galwey's effective number of float64[n, n] correlated trials, 1 (all the same) to n (unrelated)."""
    eigenvalues = np.linalg.eigvalsh(correlation)
    kept = eigenvalues[eigenvalues > _ROUNDING]
    return float(np.sqrt(kept).sum() ** 2 / kept.sum())


def group_count(correlation: NDArray[np.float64]) -> int:
    """Return the number of groups of float64[n, n] correlated trials, n at least 2; n where no grouping convinces.

    The grouping with the largest mean silhouette wins, the one with more groups among equals, if it reaches
    ``STRUCTURE_MIN``.
    """
    best, number = max((value, count) for count, value in silhouettes(correlation_distance(correlation)))
    return number if best >= STRUCTURE_MIN else len(correlation)


def chain_count(correlation: NDArray[np.float64]) -> int:
    """Return how many sets of float64[n, n] correlated trials no correlation above ``ALIKE`` joins, 1 to n."""
    return int(connected_components(csr_array(correlation > ALIKE), directed=False, return_labels=False))


def correlation_distance(correlation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sqrt((1 - rho) / 2) float64[n, n]: 0 for the same, 1 for the opposite; zero on the diagonal."""
    distance = np.sqrt(np.maximum(1.0 - correlation, 0.0) / 2.0)
    np.fill_diagonal(distance, 0.0)
    return np.asarray((distance + distance.T) / 2.0)


def silhouettes(distance: NDArray[np.float64]) -> Iterator[tuple[int, float]]:
    """Yield (number of groups, mean silhouette) along the tree of average linkage, from n - 1 groups down to one.

    The silhouette of a trial is (b - a) / max(a, b): a its mean distance to its own group, b that to the nearest other
    one; 0 where it is alone. An unrelated trial always stands by: b is ``UNRELATED`` at most, which also gives the
    grouping into a single group a value.
    """
    n = len(distance)
    own = np.arange(n)  # group of each trial, as a column of the table below
    sums, sizes = distance.copy(), np.ones(n)  # [trial, group] summed distances; dissolved groups have size 0
    columns = {place: place for place in range(n)}  # node of the tree -> column
    for step, (left, right, *_) in enumerate(linkage(squareform(distance, checks=False), "average")):
        kept, dissolved = columns[int(left)], columns[int(right)]
        columns[n + step] = kept
        sums[:, kept] += sums[:, dissolved]
        sizes[kept] += sizes[dissolved]
        sizes[dissolved] = 0.0
        own[own == dissolved] = kept
        yield n - 1 - step, float(_silhouette(sums, sizes, own).mean())


def _silhouette(sums: NDArray[np.float64], sizes: NDArray[np.float64], own: NDArray[np.int64]) -> NDArray[np.float64]:
    rows, alive = np.arange(len(own)), sizes > 0
    means = np.full(sums.shape, np.inf)
    means[:, alive] = sums[:, alive] / sizes[alive]
    means[rows, own] = np.inf
    other = np.minimum(means.min(axis=1), UNRELATED)
    together = sizes[own] > 1
    inside = sums[rows, own] / np.maximum(sizes[own] - 1.0, 1.0)
    larger = np.maximum(np.maximum(inside, other), np.finfo(np.float64).tiny)
    return np.asarray(np.where(together, (other - inside) / larger, 0.0))
