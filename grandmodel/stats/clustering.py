"""Do exceptions come alone? Christoffersen's tests of independence and conditional coverage, with exact p-values.

Both statistics depend on the exceptions only through the four counts of transitions, and how many sequences have given
counts is a product of two binomial coefficients: r runs of ones split x exceptions in C(x - 1, r - 1) ways, the runs of
zeros between and around them likewise. So p and power are sums, not simulations, and hold at any n, where the
chi-square law of the papers fails at 99 % and a few hundred observations (there, one adjacent pair decides).

Degenerate counts: 0 ln 0 = 0 throughout, so a missing kind of transition (no exception at all, or none next to another)
leaves the likelihood defined. With fewer than two exceptions nothing can cluster, and independence is UNKNOWN;
conditional coverage is then judged all the same, by its count. The first observation is taken as given in the
likelihood of the chain and counted in the coverage, as in most programs. Sessions follow one another without a break:
the last bar of one is the predecessor of the first bar of the next.

Source: Christoffersen (1998), Evaluating Interval Forecasts, equations 3 to 7.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, xlogy

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.stats.coverage import (
    SIZE,
    CoverageResult,
    Floats,
    Verdict,
    chi_square_p,
    forecasts_min,
    kupiec_statistic,
    verdict_of,
)

CLUSTERED = 0.10  # of the alternative: one exception in ten is followed by another on the next bar
_TIE = 1e-9  # statistics closer than this are the same number, rounded differently
_NEGLIGIBLE = 40.0  # a sequence count e^-40 below certainty adds nothing to a p-value


class Transitions(NamedTuple):
    """How often which pair stands side by side; 1 is an exception. Numbers, or arrays of one length."""

    n00: NDArray[np.int64]
    n01: NDArray[np.int64]
    n10: NDArray[np.int64]
    n11: NDArray[np.int64]


class Chain(NamedTuple):
    """First-order Markov chain of exceptions, started in its stationary state."""

    after_none: float  # probability of an exception after none
    after_one: float  # probability of an exception after an exception

    @classmethod
    def of(cls, tail: float, after_one: float) -> Chain:
        """Return the chain with exceptions at rate ``tail`` in the long run; equal rates are independence."""
        return cls(tail * (1.0 - after_one) / (1.0 - tail), after_one)

    @property
    def rate(self) -> float:
        """Return the share of exceptions in the long run."""
        return self.after_none / (1.0 + self.after_none - self.after_one)


def transitions(hits: NDArray[np.bool_]) -> Transitions:
    """Return the counts of bool[n], n at least two. Raises: DataError on fewer."""
    if hits.ndim != 1 or len(hits) < 2:
        raise DataError("exceptions", "a chain needs at least two observations", hits.shape)
    pairs = np.bincount(2 * hits[:-1].astype(np.int64) + hits[1:], minlength=4)
    return Transitions(*pairs)


def independence_statistic(counts: Transitions) -> Floats:
    """Return the likelihood ratio of a first-order chain against independence, chi-square with 1 degree in the limit.

    LR = 2 ln[(1 - p01)^n00 p01^n01 (1 - p11)^n10 p11^n11] - 2 ln[(1 - p)^(n00 + n10) p^(n01 + n11)].
    """
    n00, n01, n10, n11 = (np.asarray(count, np.float64) for count in counts)
    chain = _log_likelihood(n01, n00) + _log_likelihood(n11, n10)
    return np.asarray(np.maximum(2.0 * (chain - _log_likelihood(n01 + n11, n00 + n10)), 0.0))


def independence(hits: NDArray[np.bool_], level: float, *, clustered: float = CLUSTERED) -> CoverageResult:
    """Test whether an exception makes the next one likelier (or rarer).

    p is exact under independence, given the number of exceptions. Power is that against a chain whose exceptions are as
    frequent as promised in the long run, but follow an exception with probability ``clustered``.

    Args:
        hits: bool[n], in order of time.
        level: confidence of the forecasts, in (0.5, 1); it only enters the alternative.
        clustered: of the alternative, in (0, 1).

    Returns:
        UNKNOWN below two exceptions, and where there is nothing else.

    Raises:
        DataError: fewer than two observations.
        ConfigError: level outside (0.5, 1), or ``clustered`` outside (0, 1).
    """
    counts, alternative = transitions(hits), _alternative(level, clustered)
    n, count = len(hits), int(hits.sum())
    statistic = float(independence_statistic(counts))
    p = _independence_p(n, count, statistic)
    verdict = verdict_of(p) if 2 <= count < n else Verdict.UNKNOWN
    power = independence_power(n, alternative)
    return CoverageResult("independence", statistic, p, n, count, verdict, power, _in_words(level, clustered))


def conditional_coverage_statistic(hits: NDArray[np.bool_], level: float) -> float:
    """Return Kupiec's ratio plus that of independence, chi-square with 2 degrees in the limit."""
    return kupiec_statistic(int(hits.sum()), len(hits), level) + float(independence_statistic(transitions(hits)))


def conditional_coverage(hits: NDArray[np.bool_], level: float, *, clustered: float = CLUSTERED) -> CoverageResult:
    """Test number and order of exceptions in one; p is exact under independent exceptions at the promised rate.

    Arguments, alternative and errors as ``independence``; UNKNOWN below ``forecasts_min`` observations.
    """
    alternative = _alternative(level, clustered)
    n, count, statistic = len(hits), int(hits.sum()), conditional_coverage_statistic(hits, level)
    p = float(_null_law(n, level).p_of(np.array([statistic]))[0])
    verdict = verdict_of(p) if n >= forecasts_min(level) else Verdict.UNKNOWN
    power = conditional_coverage_power(n, level, alternative)
    return CoverageResult("conditional coverage", statistic, p, n, count, verdict, power, _in_words(level, clustered))


def asymptotic_p(result: CoverageResult) -> float:
    """Return the p-value of the chi-square law that the papers give for one of this file's statistics."""
    return chi_square_p(result.statistic, 1 if result.test == "independence" else 2)


@lru_cache(maxsize=64)
def independence_power(n: int, chain: Chain, size: float = SIZE) -> float:
    """Return the probability that the exact test of ``n`` observations from ``chain`` rejects."""
    total = 0.0
    for count, counts, first, log_ways in _sequences(n, *_range_of(n, chain)):
        if count < 2:
            continue
        p = _conditional_law(n, count, counts, log_ways).p_of(independence_statistic(counts))
        total += float(np.exp(log_ways + _log_probability(counts, first, chain))[p <= size].sum())
    return total


@lru_cache(maxsize=64)
def conditional_coverage_power(n: int, level: float, chain: Chain, size: float = SIZE) -> float:
    """Return the probability that the exact test of ``n`` observations from ``chain`` rejects."""
    law, total = _null_law(n, level), 0.0
    for count, counts, first, log_ways in _sequences(n, *_range_of(n, chain)):
        statistic = kupiec_statistic(count, n, level) + independence_statistic(counts)
        rejected = law.p_of(statistic) <= size
        total += float(np.exp(log_ways + _log_probability(counts, first, chain))[rejected].sum())
    return total


class _Law(NamedTuple):
    """A discrete law: rising values, and the probability of each value or a larger one."""

    values: Floats
    at_least: Floats

    @classmethod
    def of(cls, values: Floats, weights: Floats) -> _Law:
        order = np.argsort(values)
        return cls(values[order], np.cumsum(weights[order][::-1])[::-1])

    def p_of(self, statistic: Floats) -> Floats:
        """Return the probability of each statistic or a larger one."""
        place = np.searchsorted(self.values, statistic - _TIE)
        return np.asarray(np.minimum(np.append(self.at_least, 0.0)[place], 1.0))


def _independence_p(n: int, count: int, statistic: float) -> float:
    (_, counts, _, log_ways), *_ = _sequences(n, count, count)
    return float(_conditional_law(n, count, counts, log_ways).p_of(np.array([statistic]))[0])


def _conditional_law(n: int, count: int, counts: Transitions, log_ways: Floats) -> _Law:
    return _Law.of(independence_statistic(counts), np.exp(log_ways - _log_choose(n, count)))


@lru_cache(maxsize=64)
def _null_law(n: int, level: float) -> _Law:
    """Return the law of the statistic of conditional coverage when exceptions are independent at the promised rate."""
    tail = 1.0 - level
    values, weights = [], []
    for count, counts, _, log_ways in _sequences(n, *_range_of(n, Chain(tail, tail))):
        log_weight = log_ways + count * math.log(tail) + (n - count) * math.log1p(-tail)
        kept = log_weight > -_NEGLIGIBLE
        statistic = kupiec_statistic(count, n, level) + independence_statistic(counts)
        values.append(statistic[kept])
        weights.append(np.exp(log_weight[kept]))
    return _Law.of(np.concatenate(values), np.concatenate(weights))


def _sequences(n: int, count_min: int, count_max: int) -> Iterator[tuple[int, Transitions, NDArray[np.int64], Floats]]:
    """Yield for each number of exceptions all kinds of sequences of length ``n`` that have it.

    One yield is the number, the transition counts of each kind, whether it begins with an exception, and the logarithm
    of how many sequences are of that kind.
    """
    for count in range(count_min, count_max + 1):
        runs, first, last = _kinds(n, count)
        gaps = runs + 1 - first - last  # runs of zeros
        possible = (gaps >= 1) & (gaps <= n - count) if 0 < count < n else np.ones(len(runs), np.bool_)
        runs, first, last, gaps = (column[possible] for column in (runs, first, last, gaps))
        counts = Transitions(n - count - gaps, runs - first, runs - last, count - runs)
        log_ways = _log_compositions(count, runs) + _log_compositions(n - count, gaps)
        yield count, counts, first, log_ways


def _kinds(n: int, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return runs of exceptions, and whether the first and the last observation is one, of all kinds of sequences."""
    if count in (0, n):
        only = np.array([int(count > 0)])
        return only, only, only
    runs = np.arange(1, min(count, n - count + 1) + 1)
    first, last = np.repeat([0, 0, 1, 1], len(runs)), np.repeat([0, 1, 0, 1], len(runs))
    return np.tile(runs, 4), first, last


def _range_of(n: int, chain: Chain) -> tuple[int, int]:
    """Return the numbers of exceptions between which all but a negligible part of the chain's sequences lies."""
    rate, memory = chain.rate, chain.after_one - chain.after_none
    deviation = math.sqrt(n * rate * (1.0 - rate) * (1.0 + memory) / (1.0 - memory))
    return max(0, math.floor(n * rate - 8 * deviation - 5)), min(n, math.ceil(n * rate + 8 * deviation + 30))


def _log_probability(counts: Transitions, first: NDArray[np.int64], chain: Chain) -> Floats:
    """Return the logarithm of the chain's probability of one sequence of each kind."""
    start = np.where(first == 1, math.log(chain.rate), math.log1p(-chain.rate))
    after_none = xlogy(counts.n01, chain.after_none) + xlogy(counts.n00, 1.0 - chain.after_none)
    after_one = xlogy(counts.n11, chain.after_one) + xlogy(counts.n10, 1.0 - chain.after_one)
    return np.asarray(start + after_none + after_one)


def _log_likelihood(ones: Floats, zeros: Floats) -> Floats:
    """Return the largest log likelihood of so many ones and zeros, 0 where there are none."""
    total = np.maximum(ones + zeros, 1.0)
    return np.asarray(xlogy(ones, ones / total) + xlogy(zeros, zeros / total))


def _log_compositions(total: int, parts: NDArray[np.int64]) -> Floats:
    """Return the logarithm of the number of ways to split ``total`` into so many parts of one or more."""
    if total == 0:
        return np.zeros(len(parts))
    return _log_choose(total - 1, parts - 1)


def _log_choose(n: int, k: NDArray[np.int64] | int) -> Floats:
    return np.asarray(gammaln(n + 1) - gammaln(np.add(k, 1)) - gammaln(np.subtract(n, k) + 1))


def _alternative(level: float, clustered: float) -> Chain:
    if not 0.5 < level < 1 or not 0 < clustered < 1:
        rule = "needs a level in (0.5, 1) and a probability after an exception in (0, 1)"
        raise ConfigError("clustering", rule, (level, clustered))
    return Chain.of(1.0 - level, clustered)


def _in_words(level: float, clustered: float) -> str:
    return f"coverage {level:g}, {clustered:g} after an exception"
