"""What no single row shows: columns swapped, rows pasted twice, prices moved against their stamps.

Each check looks for evidence that chance cannot give. None of them fires on any of 2.4 million real bars of futures,
currencies, coins and shares (5-minute, 30-minute, 1-minute and daily); the margins stand beside the thresholds.
``swapped_share`` and ``pasted_rows`` have their slow, obvious twins in the test.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.bars import NS_PER_MINUTE
from grandmodel.core.errors import DataError

SWAPPED_BARS_MIN = 50
SWAPPED_SHARE_MIN = 0.5  # real bars: at most 0.29
PASTED_BARS_MIN = 6  # real bars: no five in a row that all differ ever come back
REPEATED_RANGE_TICKS_MIN = 5.0  # real bars with volume: a bar that repeats itself is at most 3 ticks high
REPEATS_MAX = 4  # more are a stale feed, which is cut
WICK_MULTIPLE_MAX = 5.0  # real bars: at most 0.4
SHIFTED_PAUSES_MIN = 12
SHIFTED_SHARE_MIN = 0.7  # real bars: at most 0.27
_PAUSE_MINUTES = 30
_DAY_MINUTES = 24 * 60
_MULTIPLIER = np.uint64(6364136223846793005)

Column = NDArray[np.float64]


def refuse_inconsistent(
    file: str,
    rows: NDArray[np.int64],
    start_ns: NDArray[np.int64],
    bar_minutes: int,
    prices: NDArray[np.float64],
    volume: Column,
    tick_size: float,
) -> None:
    """Raise DataError where the rows of one instrument contradict each other.

    Args:
        file: for messages.
        rows: int64[n], row in the file.
        start_ns: int64[n], UTC starts, strictly increasing.
        bar_minutes: length of a bar.
        prices: float64[4, n], open, high, low, close; positive.
        volume: float64[n]; one constant where it is unknown.
        tick_size: of the instrument.
    """
    open_, high, low, close = prices
    follows = np.diff(start_ns) == bar_minutes * NS_PER_MINUTE
    share = swapped_share(open_, close, follows)
    if share > SWAPPED_SHARE_MIN:
        rule = "a bar must open near the close of the one before; open and close seem to be swapped"
        found = f"in {share:.0%} of the bars the close is nearer to the open of the bar before"
        raise DataError(file, rule, found, "Correct the header: swap open and close")
    for name, multiple in wick_multiples(prices, tick_size).items():
        if multiple > WICK_MULTIPLE_MAX:
            rule = f"{name} must lie near open and close; its usual distance is {multiple:.3g} times that of the others"
            raise DataError(file, rule, do=f"Export the file again: {name} is in another unit or another column")
    pasted = pasted_rows(prices, volume)
    if pasted is not None:
        first, again = pasted
        rule = (
            f"no {PASTED_BARS_MIN} bars in a row may come back; prices and volume are those from row {rows[first]} on"
        )
        raise DataError(f"{file} row {rows[again]}", rule, do="One of the two is pasted: export the file again")
    repeated = repeated_row(prices, volume, tick_size)
    if repeated is not None:
        rule = (
            "no bar with a range may repeat price for price and volume for volume; rows may have slipped from here on"
        )
        bar = {"high": float(high[repeated]), "low": float(low[repeated]), "volume": float(volume[repeated])}
        raise DataError(f"{file} row {rows[repeated]}", rule, bar, "Export the file again")
    offset = shifted_rows(start_ns, bar_minutes, open_, close)
    if offset:
        rule = "prices must move over a pause of the market at its end, not one bar beside it"
        found = f"the gaps stand one bar too {'late' if offset > 0 else 'early'}"
        do = "The prices stand one row off their stamps, or the clock is off by one bar: export the file again"
        raise DataError(file, rule, found, do)


def swapped_share(open_: Column, close: Column, follows: NDArray[np.bool_]) -> float:
    """Return in which share of bars the close is nearer to the open before than the open to the close before.

    ``follows`` is bool[n - 1]: the bar follows the one before it without a pause. Undecided bars do not count; 0 where
    fewer than ``SWAPPED_BARS_MIN`` are decided.
    """
    gap = np.abs(open_[1:] - close[:-1])[follows]
    reverse = np.abs(close[1:] - open_[:-1])[follows]
    wrong, right = int((reverse < gap).sum()), int((gap < reverse).sum())
    return wrong / (wrong + right) if wrong + right >= SWAPPED_BARS_MIN else 0.0


def wick_multiples(prices: NDArray[np.float64], tick_size: float) -> dict[str, float]:
    """Return how far high and low usually stand off open and close, against body and other side, by name.

    Distances are medians in log price; two ticks are added to what they are compared with.
    """
    open_, high, low, close = prices
    if not len(open_):
        return {}
    top, bottom = np.maximum(open_, close), np.minimum(open_, close)
    over, under, body = (
        float(np.median(np.log(upper / lower))) for upper, lower in ((high, top), (bottom, low), (top, bottom))
    )
    ticks = 2 * tick_size / float(np.median(bottom))
    return {"high": over / (under + body + ticks), "low": under / (over + body + ticks)}


def pasted_rows(prices: NDArray[np.float64], volume: Column) -> tuple[int, int] | None:
    """Return the first row of a block of six bars and of the same block later on, or None.

    Bars are the same in all prices and in volume; within a block each differs from the one before.
    """
    values = np.ascontiguousarray(np.vstack([prices, volume]).T)
    count = len(values) - PASTED_BARS_MIN + 1
    if count < 2:
        return None
    bits = values.view(np.uint64)
    with np.errstate(over="ignore"):
        code = np.zeros(len(values), np.uint64)
        for column in bits.T:
            code = (code ^ column) * _MULTIPLIER
            code ^= code >> np.uint64(29)
        block = np.zeros(count, np.uint64)
        for step in range(PASTED_BARS_MIN):
            block = block * _MULTIPLIER + code[step : step + count]
    changes = np.r_[0, np.cumsum((np.diff(values, axis=0) != 0).any(axis=1))]
    moving = np.flatnonzero(changes[PASTED_BARS_MIN - 1 :] - changes[:count] == PASTED_BARS_MIN - 1)
    _, first, inverse = np.unique(block[moving], return_index=True, return_inverse=True)
    again = np.flatnonzero(first[inverse] != np.arange(len(moving)))
    for later in again:
        early, late = int(moving[first[inverse[later]]]), int(moving[later])
        same = values[early : early + PASTED_BARS_MIN] == values[late : late + PASTED_BARS_MIN]
        if same.all():  # equal hashes alone prove nothing
            return early, late
    return None


def repeated_row(prices: NDArray[np.float64], volume: Column, tick_size: float) -> int | None:
    """Return the first bar that repeats the one before it although it has range and volume, or None."""
    if not len(volume) or volume.min() == volume.max():
        return None
    same = (np.diff(prices) == 0).all(axis=0) & (np.diff(volume) == 0) & (volume[1:] > 0)
    wide = (prices[1] - prices[2])[1:] > (REPEATED_RANGE_TICKS_MIN - 0.5) * tick_size
    edges = np.flatnonzero(np.diff(np.r_[False, same, False].astype(np.int8)))
    for start, stop in zip(edges[::2], edges[1::2], strict=True):
        if stop - start <= REPEATS_MAX and wide[start]:
            return int(start) + 1
    return None


def shifted_rows(start_ns: NDArray[np.int64], bar_minutes: int, open_: Column, close: Column) -> int:
    """Return 1 where the gaps over pauses stand one bar late, -1 one bar early, 0 where they stand right or unclear.

    A market that rests opens elsewhere. Where the bar after (before) the first of a session opens with the larger gap
    in most sessions, prices stand one row too low (high) beside their stamps. Daily bars know no pause.
    """
    length = bar_minutes * NS_PER_MINUTE
    first = np.flatnonzero(np.diff(start_ns) >= length + _PAUSE_MINUTES * NS_PER_MINUTE) + 1
    first = first[(first > 1) & (first < len(close) - 1)]
    if len(first) < SHIFTED_PAUSES_MIN or bar_minutes >= _DAY_MINUTES:
        return 0
    gap = np.abs(np.log(open_[1:] / close[:-1]))  # gap[i] opens bar i + 1
    for offset in (1, -1):
        if np.mean(gap[first - 1 + offset] > gap[first - 1]) >= SHIFTED_SHARE_MIN:
            return offset
    return 0
