"""Does the trial that looks best on one half of the days stay good on the other? Probability of backtest overfitting.

Combinatorially symmetric cross-validation: days are cut into S blocks, and every half of them selects once while the
other half tests. PBO is the share of the choices in which the selected trial lands at or below the median of all trials
on the other half. On worthless trials it scatters widely around something below one half, so a fixed threshold says
little: the value is held against its own distribution on trials without skill.

Source: Bailey, Borwein, Lopez de Prado and Zhu (2017), The Probability of Backtest Overfitting, section 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.core.random import random_stream
from grandmodel.stats.sharpe import expected_maximum_sharpe
from grandmodel.stats.trials import Trials

BLOCKS = 16  # the paper's S: 12 870 choices of half of the blocks
BLOCK_DAYS_MIN = 2
NULL_DRAWS = 200
CHOICES_AT_ONCE = 1024  # so many stay in the cache of a core: three times as fast as all at once
_ROUNDING = 1e-12  # variance over mean square; below it a half varies by rounding alone

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Overfitting:
    """What combinatorially symmetric cross-validation says of a choice among trials."""

    probability: float  # PBO: the selected trial lands at or below the median of the other half
    loss_probability: float  # share of the choices in which the selected trial loses on the other half
    degradation_slope: float  # of the selected trial's Sharpe ratio on the other half over that on the selecting half
    choices: int
    days: int  # used; what does not fill the blocks is left out at the end


def overfitting(trials: Trials, *, blocks: int = BLOCKS) -> Overfitting:
    """Return the probability of backtest overfitting of choosing the trial with the largest Sharpe ratio.

    Ties of the selecting half go to the first trial, those of the other half share their ranks. A trial that stands
    flat through a half has a Sharpe ratio of zero there. ``unseen`` trials cannot take part.

    Raises:
        DataError: fewer than two trials, fewer than ``BLOCK_DAYS_MIN`` days a block, a trial that earns the same on
            every day without standing flat, or nothing that any half could select by.
        ConfigError: blocks are odd or fewer than two.
    """
    table = _usable(trials, blocks)
    selecting = half_sharpes(table, blocks)
    return _judged(selecting, table.shape[1])


def simulated_searches(
    trials: Trials, *, seed: int, skill: Floats | None = None, draws: int = NULL_DRAWS, blocks: int = BLOCKS
) -> Floats:
    """Return PBO and probability of loss, float64[draws, 2], of searches like this one that truly earn ``skill`` a day.

    ``skill`` is float64[trials]; None is the null, in which no trial earns anything. Each trial keeps its distribution
    around its mean, all trials keep what they share on a day, and days come in random order: drawn with replacement,
    the same for all. A permutation would not do, because the halves of a series that sums to zero are opposite: who
    wins one half loses the other, and PBO would be near one.

    Raises: as ``overfitting``.
    """
    table = _usable(trials, blocks)
    centred, days = table - table.mean(axis=1, keepdims=True), table.shape[1]
    centred += 0.0 if skill is None else skill[:, None]
    stream = random_stream(seed, "overfitting")
    found = np.empty((draws, 2))
    for draw in range(draws):
        sample = np.take(centred, stream.integers(0, days, size=days), axis=1)
        found[draw] = _shares(half_sharpes(sample, blocks))
    return found


def null_p(shares: tuple[float, float], null: Floats) -> float:
    """Return how often searches without skill look as good, by PBO or by probability of loss.

    ``shares`` and ``null`` (float64[draws, 2]) hold both. The smaller of the two shares of draws that are as low,
    (1 + count) / (1 + draws), counts twice, because it is the better of two looks (Bonferroni). Two looks, because
    among equally good trials the order of one half says nothing about the other: PBO is then what it is without skill,
    while the one that was picked still earns.
    """
    as_low = (1 + np.count_nonzero(null <= np.asarray(shares), axis=0)) / (1 + len(null))
    return float(min(1.0, 2.0 * as_low.min()))


def minimum_backtest_years(trials: int, annual_sharpe: float) -> float:
    """Return the years below which the best of ``trials`` worthless trials is expected to show ``annual_sharpe``.

    ``(expected maximum of N standard normals / annual_sharpe)^2``; 0 for one trial.
    Source: Bailey, Borwein, Lopez de Prado and Zhu (2014), Pseudo-Mathematics and Financial Charlatanism, theorem 1.
    Raises: DataError when trials < 1 or the Sharpe ratio is not positive.
    """
    if not annual_sharpe > 0.0:
        raise DataError("minimum backtest length", "needs a positive Sharpe ratio", annual_sharpe)
    return float((expected_maximum_sharpe(trials, 1.0) / annual_sharpe) ** 2)


def half_sharpes(table: Floats, blocks: int) -> Floats:
    """Return the Sharpe ratio a day of float64[trials, days] on every half of the blocks, float64[choices, trials].

    Mean over the population's standard deviation: the factor to the sample's is the same for all and changes neither
    rank nor slope. Choices in the order of itertools.combinations, so that the complement of the i-th is the i-th from
    the end. Sums of a half are sums over its blocks below the middle plus those above it, of which all subsets are made
    once.
    """
    parts = table.reshape(len(table), blocks, -1)
    means, squares = (_sums_of_halves(values.mean(axis=2).T * (2 / blocks)) for values in (parts, parts**2))
    lower, upper = _halves(blocks)
    found = np.zeros((len(lower), len(table)))
    for first in range(0, len(lower), CHOICES_AT_ONCE):
        piece = slice(first, first + CHOICES_AT_ONCE)
        mean = means[0][lower[piece]] + means[1][upper[piece]]
        square = squares[0][lower[piece]] + squares[1][upper[piece]]
        variance = square - mean**2
        np.divide(mean, np.sqrt(np.abs(variance)), out=found[piece], where=variance > _ROUNDING * square)
    return found


def _judged(selecting: Floats, days: int) -> Overfitting:
    best, others = selecting.argmax(axis=1), selecting[::-1]
    rows = np.arange(len(selecting))
    inside, outside = selecting[rows, best], others[rows, best]
    spread = inside - inside.mean()
    squares = float(np.sum(spread**2))
    if squares == 0.0:
        raise DataError("overfitting", "every half selects by the same Sharpe ratio, so there is nothing to judge")
    slope = float(np.sum(spread * outside)) / squares
    return Overfitting(*_shares(selecting), slope, len(selecting), days)


def _shares(selecting: Floats) -> tuple[float, float]:
    """Return the shares of rows whose best trial ranks at or below the middle, or loses, in the mirrored row."""
    others = selecting[::-1]
    chosen = others[np.arange(len(others)), selecting.argmax(axis=1)][:, None]
    # Average rank among n at or below (n + 1) / 2 is the same as: no more trials below than above.
    low = (others < chosen).sum(axis=1) <= (others > chosen).sum(axis=1)
    return float(np.mean(low)), float(np.mean(chosen < 0.0))


@lru_cache(maxsize=8)
def _halves(blocks: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return, for every half of the blocks, which subset of the lower and of the upper blocks it holds, as bits."""
    weights = np.array([sum(1 << block for block in half) for half in combinations(range(blocks), blocks // 2)])
    middle = blocks // 2
    return weights & ((1 << middle) - 1), weights >> middle


def _sums_of_halves(values: Floats) -> tuple[Floats, Floats]:
    """Return the sums over all subsets of the lower blocks and of the upper ones of ``values`` [blocks, trials]."""
    middle = len(values) // 2
    return _all_subsets(values[:middle]), _all_subsets(values[middle:])


def _all_subsets(values: Floats) -> Floats:
    """Return float64[2^n, trials]: row b is the sum of the rows of ``values`` [n, trials] whose bit is set in b."""
    sums = np.zeros((1, values.shape[1]))
    for row in values:
        sums = np.concatenate([sums, sums + row])
    return sums


def _usable(trials: Trials, blocks: int) -> Floats:
    if blocks < 2 or blocks % 2:
        raise ConfigError("overfitting", "blocks must be an even number, two at least", blocks)
    count, days = trials.daily_returns.shape
    if count < 2 or days < blocks * BLOCK_DAYS_MIN:
        rule = f"needs two trials and {BLOCK_DAYS_MIN} days in each of {blocks} blocks"
        raise DataError("overfitting", rule, (count, days))
    table = trials.daily_returns[:, : days - days % blocks]
    steady = (np.ptp(table, axis=1) == 0.0) & (table[:, 0] != 0.0)
    if steady.any():
        name = trials.names[int(steady.argmax())]
        raise DataError(f"trial {name}", "earns the same on every day, so it has no Sharpe ratio", table[steady][0, 0])
    return table
