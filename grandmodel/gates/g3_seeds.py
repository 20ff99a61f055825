"""G3: over training seeds and days together, the release beats every baseline by more than the margin.

For each baseline: interquartile mean over seeds of the mean daily net return, minus the baseline's, with a bootstrap
over days in blocks jointly with seeds (``stats.bootstrap``). All baselines must be beaten, so the false pass rate is
at most that of the hardest one. The champion in production is a baseline like any other when the caller hands it in,
and the only one that is required where ``required`` says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import DataError
from grandmodel.gates.result import GateResult, days_words, interval_dict, interval_text, plain, power_evidence, refused
from grandmodel.gates.text import count, listing, percent, plain_name
from grandmodel.stats.bootstrap import Interval, bootstrap_difference
from grandmodel.stats.performance import SESSIONS_PER_YEAR, annual_volatility_frac

NAME = "g3_seeds"
REQUIRED = ("flat", "buy_and_hold", "moving_average", "random")  # baselines of a release
STATED_RATIO = 1.0  # the advantage that the power is stated for: this annual information ratio


def judge(
    returns: NDArray[np.float64],
    baselines: Mapping[str, NDArray[np.float64]],
    *,
    margin: float,
    seeds_min: int,
    draws: int,
    confidence: float,
    seed: int,
    sessions_per_year: float = SESSIONS_PER_YEAR,
    required: Sequence[str] = REQUIRED,
) -> GateResult:
    """Refuse unless the lower bound of the advantage over each baseline exceeds ``margin``.

    Args:
        returns: daily net log returns float64[seeds, days] out of sample.
        baselines: name to float64[days] or float64[runs, days] on the same days.
        margin: annual log return, a fraction of equity.
        seeds_min: fewest trainings; with fewer, nothing is known about the next one. Equal rows that trade are one.
        draws: bootstrap draws.
        confidence: of the two-sided interval; the false pass rate per baseline is half of what is left.
        seed: of the bootstrap.
        sessions_per_year: trading days in a year.
        required: baselines that must be among ``baselines``.
    """
    table = np.asarray(returns, dtype=np.float64)
    missing = [plain_name(name) for name in required if name not in baselines]
    if missing or not baselines:
        return refused(NAME, margin, f"there is no baseline to compare with: {listing(missing)}")
    if table.ndim != 2 or len(table) < seeds_min:
        return refused(NAME, margin, f"it needs at least {seeds_min} trained seeds, found shape {table.shape}")
    distinct = _distinct_trainings(table)
    if distinct < seeds_min:
        why = f"it needs at least {seeds_min} trained seeds, and {len(table)} rows of returns hold {distinct}"
        return refused(NAME, margin, f"{why}: the others are equal to the last digit")
    try:
        intervals = bootstrap_difference(
            table, dict(baselines), draws=draws, confidence=confidence, seed=seed, sessions_per_year=sessions_per_year
        )
    except DataError as error:
        return refused(NAME, margin, str(error))
    hardest = min(intervals, key=lambda name: intervals[name].lower)
    difference = table.mean(axis=0) - np.atleast_2d(baselines[hardest]).mean(axis=0)
    stated = margin + STATED_RATIO * annual_volatility_frac(difference, sessions_per_year)
    return _result(intervals, hardest, stated, table.shape, margin)


def _distinct_trainings(table: NDArray[np.float64]) -> int:
    """Return how many trainings the rows can be: equal rows are one, but any number of them may never trade."""
    traded = table[table.any(axis=1)]
    return len(table) - len(traded) + len(np.unique(traded, axis=0))


def _result(
    intervals: dict[str, Interval], hardest: str, stated: float, shape: tuple[int, ...], margin: float
) -> GateResult:
    seeds, days = shape
    worst, hardest_words = intervals[hardest], plain_name(hardest)
    lost = [name for name, interval in intervals.items() if not interval.lower > margin]
    power, smallest = worst.detection_power(stated, margin), worst.smallest_effect(margin=margin)
    needed = worst.days_needed(days, margin=margin)
    evidence = {
        "baselines": {name: interval_dict(interval) for name, interval in intervals.items()},
        "hardest_baseline": hardest,
        "not_beaten": lost,
        "seeds": seeds,
        "days": days,
        "statistic_name": "lower bound of the annual advantage over the hardest baseline",
    } | power_evidence(
        f"A true advantage over {hardest_words} with an annual information ratio of {STATED_RATIO:g} passes with "
        f"probability {percent(power, 0)}; with 80 % an advantage of {percent(smallest)} a year passes. Not seen: a "
        "market that changes after the test.",
        smallest=f"an advantage of {percent(smallest)} a year over {hardest_words}",
        data=days_words(needed, days),
        smallest_effect_80=smallest,
        days_needed_80=needed,
    )
    sample = f"{count(seeds, 'seed')} and {count(days, 'day')}"
    if not lost:
        reason = (
            f"Over {sample} the release beats {count(len(intervals), 'baseline')}; closest is {hardest_words}, by "
            f"{interval_text(worst)}, and the lower end exceeds {percent(margin)}."
        )
    else:
        data = f"{needed:,} days would show an advantage of this size" if needed else "more days would not help"
        lost_words = listing([plain_name(name) for name in lost])
        reason = (
            f"Over {sample} the release is not shown to beat {lost_words}: over {hardest_words} it earns "
            f"{interval_text(worst)}, and the lower end does not exceed {percent(margin)}; {data}."
        )
    return GateResult(NAME, not lost, worst.lower, margin, power, days, reason, plain(evidence))
