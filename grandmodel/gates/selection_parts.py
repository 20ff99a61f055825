"""The four parts of G4, each with its statistic, threshold, power and the days it still needs.

Every part is told as a confidence that must reach a threshold, so that they can be compared: the deflated and the
probabilistic Sharpe ratio are confidences, and a p-value is one taken from 1.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import ceil, sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.random import derive_seed
from grandmodel.gates.result import plain
from grandmodel.gates.text import count, number, percent
from grandmodel.stats.overfitting import null_p, overfitting, simulated_searches
from grandmodel.stats.predictive_ability import predictive_ability
from grandmodel.stats.sharpe import (
    SharpeMoments,
    deflated_sharpe,
    expected_maximum_sharpe,
    minimum_track_record,
    probabilistic_sharpe,
)
from grandmodel.stats.trials import Trials

STATED_SHARPE = 2.0  # annual; the release that the power is stated for
SHARPE_GRID = (STATED_SHARPE, 3.0, 4.0, 6.0, 8.0)  # annual; where the power against overfitting is simulated
POWER_DRAWS = 50
DAYS_TOLD_MAX = 10**9
SPREAD_MIN = 1e-12  # of daily returns; a trial below it stands flat


@dataclass(frozen=True)
class Part:
    """What one part of the gate found. Sharpe ratios are annual."""

    name: str
    passed: bool
    confidence: float
    threshold: float
    power: float  # probability that a release with a true Sharpe ratio of ``STATED_SHARPE`` passes this part
    smallest_sharpe_80: float | None  # true Sharpe ratio that passes this part with 80 %; None beyond the grid
    days_needed: int | None  # record at which this same Sharpe ratio passes this part; None where none is long enough
    sentence: str
    figures: dict[str, Any]

    @property
    def margin(self) -> float:
        """Return by how much the confidence exceeds its threshold."""
        return self.confidence - self.threshold

    def to_dict(self) -> dict[str, Any]:
        """Return the part as plain JSON types."""
        return dict(plain(asdict(self)))


def deflated_part(
    moments: SharpeMoments, effective: int, variance: float, minimum: float, annual: float
) -> Part | None:
    """Return the deflated Sharpe ratio against the best of ``effective`` worthless trials; None where undefined.

    ``variance`` is that of the trials' Sharpe ratios a day. ``annual`` is the square root of sessions a year.
    """
    value = deflated_sharpe(moments, effective, variance)
    if value is None:
        return None
    hurdle = expected_maximum_sharpe(effective, variance)
    quantile, error = NormalDist().inv_cdf(minimum), moments.error_scale() / sqrt(moments.n - 1)
    needed = _days_until_deflated(moments, effective, variance, minimum)
    return Part(
        name="deflated Sharpe ratio",
        passed=value >= minimum,
        confidence=value,
        threshold=minimum,
        power=NormalDist().cdf((STATED_SHARPE / annual - hurdle) / error - quantile),
        smallest_sharpe_80=annual * (hurdle + (quantile + NormalDist().inv_cdf(0.8)) * error),
        days_needed=needed,
        sentence=f"deflated Sharpe ratio {number(value, 3)} ({number(minimum)} needed; the best of "
        f"{count(effective, 'worthless trial')} would show {number(hurdle * annual)})",
        figures={"annual_sharpe_of_best_worthless_trial": hurdle * annual, "trial_sharpe_variance_per_day": variance},
    )


def track_record_part(moments: SharpeMoments, confidence: float, annual: float) -> Part | None:
    """Return whether the record is as long as a Sharpe ratio like this needs to differ from zero; None if undefined."""
    value = probabilistic_sharpe(moments)
    if value is None:
        return None
    record = minimum_track_record(moments, confidence=confidence)
    needed = None if record is None else ceil(min(record, DAYS_TOLD_MAX))
    quantile, error = NormalDist().inv_cdf(confidence), moments.error_scale() / sqrt(moments.n - 1)
    told = f"{count(needed, 'day')} of record needed" if needed else "no record of this Sharpe ratio is long enough"
    return Part(
        name="minimum track record",
        passed=needed is not None and needed <= moments.n,
        confidence=value,
        threshold=confidence,
        power=NormalDist().cdf(STATED_SHARPE / annual / error - quantile),
        smallest_sharpe_80=annual * (quantile + NormalDist().inv_cdf(0.8)) * error,
        days_needed=needed,
        sentence=told,
        figures={"minimum_track_record_days": needed},
    )


def ability_part(trials: Trials, moments: SharpeMoments, p_max: float, annual: float, draws: int, seed: int) -> Part:
    """Return the test of superior predictive ability of all trials over flat. Raises: as ``predictive_ability``."""
    found = predictive_ability(trials, draws=draws, seed=seed, size=p_max)
    return Part(
        name="superior predictive ability",
        passed=found.p_consistent <= p_max,
        confidence=1.0 - found.p_consistent,
        threshold=1.0 - p_max,
        power=found.detection_power(STATED_SHARPE / annual),
        smallest_sharpe_80=annual * found.smallest_sharpe(),
        days_needed=_days_until(found.critical_sharpe, moments.sharpe, found.days),
        sentence=f"{_p(found.p_consistent)} that none of {count(len(trials.names), 'trial')} beats flat (at most "
        f"{number(p_max)} needed)",
        figures=asdict(found),
    )


def overfitting_part(trials: Trials, released: int, annual: float, p_max: float, seed: int) -> Part:
    """Return the probabilities of backtest overfitting and of loss against those of searches without skill.

    Power is simulated: trial ``released`` earns a Sharpe ratio of ``SHARPE_GRID``, the others nothing.
    Raises: as ``stats.overfitting.overfitting``.
    """
    found = overfitting(trials)
    null = simulated_searches(trials, seed=seed)
    p = null_p((found.probability, found.loss_probability), null)
    sharpes = trials.daily_returns.mean(axis=1) / np.maximum(trials.daily_returns.std(axis=1), SPREAD_MIN) * annual
    ahead = float(sharpes[released] - np.median(np.delete(sharpes, released)))
    powers = _overfitting_powers(trials, released, annual, p_max, null, seed)
    smallest = next((stated for stated, power in powers.items() if power >= 0.8), None)
    needed = None if smallest is None else _days_until(smallest, ahead, found.days)
    if p > p_max and needed is not None and needed <= found.days:
        needed = None  # it lies far enough ahead, and still the halves do not agree on it
    return Part(
        name="backtest overfitting",
        passed=p <= p_max,
        confidence=1.0 - p,
        threshold=1.0 - p_max,
        power=powers[STATED_SHARPE],
        smallest_sharpe_80=smallest,
        days_needed=needed,
        sentence=f"probability of overfitting {percent(found.probability, 0)} and of loss "
        f"{percent(found.loss_probability, 0)}, as low without skill with {_p(p)} (at most {number(p_max)} needed)",
        figures={
            **asdict(found),
            "p": p,
            "null_quantiles": np.quantile(null[:, 0], (0.05, 0.5, 0.95)),
            "null_loss_quantiles": np.quantile(null[:, 1], (0.05, 0.5, 0.95)),
        },
    )


def _overfitting_powers(
    trials: Trials, released: int, annual: float, p_max: float, null: NDArray[np.float64], seed: int
) -> dict[float, float]:
    """Return true annual Sharpe ratio -> share of simulated searches that pass, up to the first with 80 %."""
    only = np.arange(len(trials.names)) == released
    deviation = float(trials.daily_returns[released].std())
    powers: dict[float, float] = {}
    for stated in SHARPE_GRID:
        skill = np.where(only, stated / annual * deviation, 0.0)
        drawn = simulated_searches(trials, seed=derive_seed(seed, "power"), skill=skill, draws=POWER_DRAWS)
        powers[stated] = float(np.mean([null_p((pbo, loss), null) <= p_max for pbo, loss in drawn.tolist()]))
        if powers[stated] >= 0.8:
            break
    return powers


def _days_until(wanted: float, found: float, days: int) -> int | None:
    """Return the record at which ``found`` is what ``wanted`` is on ``days``: both shrink with the root of days."""
    return ceil(min(days * (wanted / found) ** 2, DAYS_TOLD_MAX)) if found > 0.0 else None


def _p(value: float) -> str:
    return "p below 0.001" if value < 0.001 else f"p {number(value, 3)}"


def _days_until_deflated(moments: SharpeMoments, trials: int, variance: float, confidence: float) -> int | None:
    """Return the record in days at which this Sharpe ratio passes; None where no record is long enough.

    Where the hurdle is that of worthless trials, it falls with the record too: the Sharpe ratio needed is
    ``(z_max + error_scale z) / sqrt(n - 1)`` with ``z_max`` the expected best of N standard normals.
    """
    if variance > 1.0 / (moments.n - 1):
        record = minimum_track_record(moments, expected_maximum_sharpe(trials, variance), confidence)
    elif moments.sharpe <= 0.0:
        record = None
    else:
        z = expected_maximum_sharpe(trials, 1.0) + moments.error_scale() * NormalDist().inv_cdf(confidence)
        record = 1.0 + (z / moments.sharpe) ** 2
    return None if record is None else ceil(min(record, DAYS_TOLD_MAX))
