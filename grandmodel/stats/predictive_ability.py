"""Does the best of all trials beat standing flat, given that it is the best of them? Superior predictive ability.

Hansen (2005), A Test for Superior Predictive Ability, computed by ``arch`` on losses, which are minus the returns. The
null is that no trial earns anything on average. The consistent p-value is the one to judge by; the lower and the upper
one bound it (trials far below zero do not count, or count as if they earned zero).

The statistic must compare trials in units of their scatter, else the wildest one alone decides. ``arch`` 8.0.0
estimates a scatter and compares means as they are all the same, so each trial is divided by its daily standard
deviation beforehand: what is compared are Sharpe ratios a day. Dependence between days enters by the blocks of the
bootstrap alone. Dividing by a long-run deviation over those blocks instead lets through too much: among many trials
the block is long and that deviation a guess, and the best is the one for which it was guessed too small.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import DataError
from grandmodel.core.random import random_stream
from grandmodel.stats.bootstrap import DAYS_MIN, optimal_block_days
from grandmodel.stats.trials import Trials


@dataclass(frozen=True)
class PredictiveAbility:
    """The three p-values that no trial beats flat, and what the test can see. Sharpe ratios are a day."""

    p_lower: float
    p_consistent: float
    p_upper: float
    best: str  # the trial with the largest Sharpe ratio
    best_sharpe: float  # mean over the population's standard deviation
    critical_sharpe: float  # what the best had to exceed at the size asked for, consistent
    days: int
    block_days: float

    def detection_power(self, sharpe: float) -> float:
        """Return the probability that the test rejects when one trial truly has ``sharpe`` and no other earns.

        Normal approximation with the standard error 1 / sqrt(days); what others find by luck would only add to it.
        """
        return NormalDist().cdf((sharpe - self.critical_sharpe) * sqrt(self.days))

    def smallest_sharpe(self, power: float = 0.8) -> float:
        """Return the Sharpe ratio a day that ``detection_power`` gives ``power``."""
        return self.critical_sharpe + NormalDist().inv_cdf(power) / sqrt(self.days)


def predictive_ability(trials: Trials, *, draws: int, seed: int, size: float = 0.05) -> PredictiveAbility:
    """Return the test of superior predictive ability of all ``trials`` over standing flat.

    Days are drawn in blocks of random length; their mean length is the longest of the trials' optimal ones, as in
    ``stats.bootstrap``. Trials that stand flat throughout are left out, and ``unseen`` ones cannot take part.

    Args:
        trials: daily net log returns of all that was tried.
        draws: of the bootstrap.
        seed: of the bootstrap.
        size: of the test; the consistent p-value to which ``critical_sharpe`` belongs.

    Raises:
        DataError: fewer than ``DAYS_MIN`` days, no trial that varies, or one that earns the same on every day.
    """
    from arch.bootstrap import SPA  # loads pandas and statsmodels: two seconds, needed only here

    names, table = _varying(trials)
    block_days = max(optimal_block_days(row) for row in table)
    scaled = table / table.std(axis=1, keepdims=True)
    test = SPA(
        np.zeros(table.shape[1]),
        -scaled.T,
        block_size=block_days,  # type: ignore[arg-type]  # a mean length need not be whole
        reps=draws,
        seed=random_stream(seed, "predictive ability"),
    )
    test.compute()
    best = int(scaled.mean(axis=1).argmax())
    # The sample itself counts among its draws, so that no p-value is zero.
    lower, consistent, upper = (float((1.0 + draws * share) / (1.0 + draws)) for share in test.pvalues)
    return PredictiveAbility(
        p_lower=lower,
        p_consistent=consistent,
        p_upper=upper,
        best=names[best],
        best_sharpe=float(scaled[best].mean()),
        critical_sharpe=float(test.critical_values(size)["consistent"]),
        days=table.shape[1],
        block_days=block_days,
    )


def _varying(trials: Trials) -> tuple[list[str], NDArray[np.float64]]:
    table = trials.daily_returns
    if table.shape[1] < DAYS_MIN:
        raise DataError("predictive ability", f"needs at least {DAYS_MIN} days", table.shape[1])
    varies = np.ptp(table, axis=1) > 0.0
    steady = ~varies & (table[:, 0] != 0.0)
    if steady.any() or not varies.any():
        raise DataError("predictive ability", "needs a trial that varies, and none that earns the same on every day")
    return [name for name, one in zip(trials.names, varies, strict=True) if one], table[varies]
