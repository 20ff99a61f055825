"""Contract rolls: read from a table, or detected where the calendar and a clear gap agree; never a return."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from grandmodel.core.errors import DataError
from grandmodel.data.dataset import Roll
from grandmodel.data.sessions import days_of_dates

# Index futures that move to the next quarterly contract in the week after the second Friday.
QUARTERLY_SYMBOLS = frozenset({"NQ", "ES", "YM", "RTY", "MNQ", "MES", "MYM", "M2K"})
_GAP_MULTIPLE_MIN = 20.0
_GAP_FRAC_MAX = 0.03
_SESSIONS_MIN = 60


def read_rolls(path: Path, symbols: Iterable[str]) -> tuple[Roll, ...]:
    """Read symbol, date, old_close and new_close; a first listing (old_close 0) is no roll.

    Raises:
        DataError: the table is unreadable, a column is missing or a close is not positive.
    """
    try:
        table = pd.read_csv(path)
        table = table[table["symbol"].isin(set(symbols)) & (table["old_close"] != 0)]
        ratios = (table["new_close"] / table["old_close"]).to_numpy(np.float64)
        days = days_of_dates(table["date"].to_numpy(np.int64))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(path.name, "the table must hold symbol, date, old_close and new_close", str(error)) from error
    wrong = ~(np.isfinite(ratios) & (ratios > 0))
    if wrong.any():
        row = int(table.index.to_numpy()[np.argmax(wrong)]) + 2
        raise DataError(f"{path.name} row {row}", "both closes of a roll must be positive", do="Correct the row")
    return tuple(Roll(str(s), int(d), float(r)) for s, d, r in zip(table["symbol"], days, ratios, strict=True))


def detect_quarterly_rolls(
    symbol: str, session: NDArray[np.int32], open_: NDArray[np.float64], close: NDArray[np.float64]
) -> tuple[tuple[Roll, ...], list[int]]:
    """Find rolls by two pieces of evidence that must agree: the calendar and the size of the opening gap.

    A roll opens the Tuesday session after the second Friday of March, June, September or December with a gap of more
    than 20 times the median opening gap, but of at most 3 % (a quarter's carry is below that, a wrong contract is not).

    Args:
        symbol: for the rolls.
        session: int32[n], trading day of each bar.
        open_: float64[n], unadjusted.
        close: float64[n], unadjusted.

    Returns:
        The rolls, and the expected roll days on which the gap was too small to tell from noise.
    """
    first = np.flatnonzero(np.diff(session)) + 1
    if len(first) < _SESSIONS_MIN:
        return (), []
    ratio = open_[first] / close[first - 1]
    gap = np.abs(np.log(ratio))
    expected = [index for index, day in enumerate(session[first]) if is_quarterly_roll_day(int(day))]
    threshold = _GAP_MULTIPLE_MIN * float(np.median(gap))
    clear = [index for index in expected if threshold < gap[index] <= _GAP_FRAC_MAX]
    rolls = tuple(Roll(symbol, int(session[first[index]]), float(ratio[index])) for index in clear)
    return rolls, [int(session[first[index]]) for index in expected if index not in clear]


def is_quarterly_roll_day(day: int) -> bool:
    """Return whether ``day`` (days since 1970-01-01) is the Tuesday after a second Friday of a quarter's last month."""
    friday = day - 4
    month = int(np.datetime64(friday, "D").astype("datetime64[M]").astype(int))
    first_of_month = int(np.datetime64(month, "M").astype("datetime64[D]").astype(int))
    is_friday = (friday + 3) % 7 == 4
    return is_friday and 7 <= friday - first_of_month < 14 and month % 12 in (2, 5, 8, 11)


def price_factors(count: int, steps: Iterable[tuple[int, float]]) -> NDArray[np.float64]:
    """Return float64[count] where each step (row, ratio) multiplies all rows before it; the last rows have 1."""
    ratios = np.ones(count + 1)
    for row, ratio in steps:
        ratios[row] *= ratio
    return np.ascontiguousarray(np.cumprod(ratios[::-1])[::-1][1:])
