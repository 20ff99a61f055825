"""How much a market usually moves at each time of day, so that the open does not count as a shock.

A bar's return over the scale known before it is close to a series without a daily pattern; a risk number of that
series times the scale of the coming bar is one of the market. The gap over a night, a weekend or a halt belongs to the
first bar after it, and so to the scale of that bar.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import ConfigError, DataError

Floats = NDArray[np.float64]
OCCURRENCES, OCCURRENCES_MIN = 250, 20  # a year of days, a month of them


def time_of_day_scale(
    returns: Floats, slot: NDArray[np.int64], occurrences: int = OCCURRENCES, occurrences_min: int = OCCURRENCES_MIN
) -> Floats:
    """Return the mean absolute return of the last bars in the same slot, known before each bar.

    The mean absolute return, not the root of the mean square: one crash would otherwise hold its slot's scale up for a
    year. The scale follows occurrences, not days, so a slot that was suspended comes back with what it was.

    Args:
        returns: float64[n], oldest first, finite.
        slot: int64[n], time of day of each bar, such as its minute; no slot twice a day, so that all before are past
            days.
        occurrences: how many earlier bars of the slot count, newest first.
        occurrences_min: fewer give NaN.

    Returns:
        float64[n], in the unit of ``returns``; entry t uses bars before t alone. NaN where a slot is too new, or never
        moved.

    Raises:
        DataError: lengths differ or a return is not finite.
        ConfigError: not ``1 <= occurrences_min <= occurrences``.
    """
    if returns.shape != slot.shape or returns.ndim != 1 or not np.isfinite(returns).all():
        raise DataError("time of day", "needs one finite return a slot", (returns.shape, slot.shape))
    if not 1 <= occurrences_min <= occurrences:
        raise ConfigError("time of day", "needs 1 <= occurrences_min <= occurrences", (occurrences_min, occurrences))
    scale = np.full(len(returns), np.nan)
    for one in np.unique(slot):
        rows = np.flatnonzero(slot == one)
        sums = np.concatenate([[0.0], np.cumsum(np.abs(returns[rows]))])
        stop = np.arange(occurrences_min, len(rows))
        start = np.maximum(stop - occurrences, 0)
        scale[rows[occurrences_min:]] = (sums[stop] - sums[start]) / (stop - start)
    return np.where(scale > 0, scale, np.nan)
