"""Statistics of a series of bars that a simulation should share with a market: moments, tails, memory, the clock.

Returns are log returns from close to close. Pauses (nights, weekends, breaks) are part of the series, as they are for
whoever holds a position; how much of the variance they carry is a fact of its own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.bars import NS_PER_MINUTE

FloatArray = NDArray[np.float64]
NAN = float("nan")
TAIL_FRAC = 0.01  # the Hill estimator reads this share of the bars on each side
TAIL_COUNT_MIN = 10
MINUTES_PER_HOUR = 60
PAUSE_MINUTES = 10  # a step between bars longer than the bar by this is a pause
FACTS = (
    "bars",
    "sd, bp",
    "sd a year",
    "skew",
    "excess kurtosis",
    "tail index, losses (Hill, 1 %)",
    "tail index, gains (Hill, 1 %)",
    "ACF r, 1 bar",
    "ACF r, 1 h",
    "ACF r, 1 day",
    "ACF abs r, 1 bar",
    "ACF abs r, 1 h",
    "ACF abs r, 1 day",
    "ACF abs r, 5 days",
    "leverage: corr r, abs r of next day",
    "variance in pauses, %",
    "abs r, busiest to quietest hour",
    "volume, busiest to quietest hour",
)


@dataclass(frozen=True)
class Series:
    """Bars that traded, of one instrument on one clock: T bars; ``session_bars`` is the usual length of a session."""

    bar_minutes: int
    session_bars: int | None  # None where the span is too short for facts by the day
    start_ns: NDArray[np.int64]  # [T]
    close: FloatArray  # [T] adjusted
    volume: FloatArray  # [T]
    minute_of_day: NDArray[np.int64]  # [T] local minute of the exchange at which the bar starts

    @property
    def returns(self) -> FloatArray:
        """Log returns from close to close, float64[T - 1]."""
        moves: FloatArray = np.diff(np.log(self.close))
        return moves

    @property
    def after_pause(self) -> NDArray[np.bool_]:
        """Whether each of ``returns`` spans a pause, bool[T - 1]."""
        pauses: NDArray[np.bool_] = np.diff(self.start_ns) >= (self.bar_minutes + PAUSE_MINUTES) * NS_PER_MINUTE
        return pauses


def facts(series: Series) -> list[float]:
    """Return the numbers named in FACTS; NaN where the span is too short for one."""
    returns, day = series.returns, series.session_bars
    size, hour = np.abs(returns), max(1, MINUTES_PER_HOUR // series.bar_minutes)
    variance = returns.var()
    annual = NAN if day is None else math.sqrt(variance * 252 * day)
    volatility, volume = hourly_profile(series)
    return [
        float(len(returns)),
        float(math.sqrt(variance) * 1e4),
        annual,
        skew(returns),
        excess_kurtosis(returns),
        hill_tail_index(-returns),
        hill_tail_index(returns),
        autocorrelation(returns, 1),
        autocorrelation(returns, hour),
        NAN if day is None else autocorrelation(returns, day),
        autocorrelation(size, 1),
        autocorrelation(size, hour),
        NAN if day is None else autocorrelation(size, day),
        NAN if day is None else autocorrelation(size, 5 * day),
        NAN if day is None else leverage_effect(returns, day),
        100.0 * pause_share(series),
        busiest_to_quietest(volatility),
        busiest_to_quietest(volume),
    ]


def skew(returns: FloatArray) -> float:
    """Return the third standardised moment of float64[T]."""
    centred = returns - returns.mean()
    return float(np.mean(centred**3) / np.mean(centred**2) ** 1.5)


def excess_kurtosis(returns: FloatArray) -> float:
    """Return the fourth standardised moment of float64[T] less 3."""
    centred = returns - returns.mean()
    return float(np.mean(centred**4) / np.mean(centred**2) ** 2 - 3)


def hill_tail_index(values: FloatArray, tail_frac: float = TAIL_FRAC) -> float:
    """Return Hill's estimate of the exponent of the upper tail of float64[T], from its ``tail_frac`` largest values.

    1 / mean(log(x_i / x_k)) over the k largest, x_k being the next one (Hill 1975). Smaller is heavier: 3 is usual in
    markets, a normal sample shows 5 and more at this share. NaN with fewer than 10 values in the tail, or a threshold
    that is not positive.
    """
    count = int(tail_frac * len(values))
    if count < TAIL_COUNT_MIN:
        return NAN
    largest = np.sort(values)[-count - 1 :]
    if largest[0] <= 0:
        return NAN
    return float(1.0 / np.mean(np.log(largest[1:] / largest[0])))


def autocorrelation(values: FloatArray, lag: int) -> float:
    """Return the sample autocorrelation of float64[T] at ``lag`` bars."""
    centred = values - values.mean()
    return float((centred[lag:] * centred[:-lag]).mean() / (centred**2).mean())


def leverage_effect(returns: FloatArray, day_bars: int) -> float:
    """Return the correlation of a return with the mean absolute return of the ``day_bars`` bars after it."""
    total = np.concatenate([[0.0], np.cumsum(np.abs(returns))])
    ahead = total[1 + day_bars :] - total[1:-day_bars]
    return float(np.corrcoef(returns[: len(ahead)], ahead)[0, 1])


def pause_share(series: Series) -> float:
    """Return the share of squared returns that falls into pauses."""
    squares = series.returns**2
    return float(squares[series.after_pause].sum() / squares.sum())


def hourly_profile(series: Series) -> tuple[FloatArray, FloatArray]:
    """Return mean absolute return and mean volume per bar by local hour, float64[24] each; NaN where nothing trades.

    Returns over a pause are left out: they belong to the pause and not to the hour. An hour with less than a tenth of
    the bars of the fullest one is a rest and left out too.
    """
    hour = series.minute_of_day // MINUTES_PER_HOUR
    calm = ~series.after_pause
    return (
        _mean_by(np.abs(series.returns[calm]), hour[1:][calm], 24),
        _mean_by(series.volume, hour, 24),
    )


def busiest_to_quietest(profile: FloatArray) -> float:
    """Return the largest over the smallest number of a profile; NaN where it has fewer than two."""
    known = profile[np.isfinite(profile) & (profile > 0)]
    return float(known.max() / known.min()) if len(known) > 1 else NAN


def slot_profile(series: Series) -> tuple[FloatArray, FloatArray]:
    """Return mean absolute return and mean volume by local 30-minute slot of the day, float64[48] each."""
    slot = series.minute_of_day // 30
    calm = ~series.after_pause
    return (
        _mean_by(np.abs(series.returns[calm]), slot[1:][calm], 48),
        _mean_by(series.volume, slot, 48),
    )


def profile_correlation(one: FloatArray, other: FloatArray) -> float:
    """Return the correlation of two profiles where both are known."""
    known = np.isfinite(one) & np.isfinite(other)
    return float(np.corrcoef(one[known], other[known])[0, 1]) if known.sum() > 2 else NAN


def correlation(series: dict[str, Series]) -> FloatArray:
    """Return the correlation matrix of log returns over the bars that all instruments share, [I, I]."""
    shared = sorted(set.intersection(*(set(s.start_ns.tolist()) for s in series.values())))
    starts = np.array(shared, np.int64)
    closes = np.array([np.log(s.close[np.searchsorted(s.start_ns, starts)]) for s in series.values()])
    return np.asarray(np.corrcoef(np.diff(closes, axis=1)))


def _mean_by(values: FloatArray, group: NDArray[np.int64], groups: int) -> FloatArray:
    counts = np.bincount(group, minlength=groups)
    totals = np.bincount(group, weights=values, minlength=groups)
    few = counts < 0.1 * counts.max()
    return np.where(few, NAN, totals / np.maximum(counts, 1))
