"""Trading spans: when ticks count, to which bar and to which trading day.

Spans are int64[n, 5]: accept, open, close, stop (UTC nanoseconds) and trading day (days since 1970-01-01). Bars are
counted from ``open`` and the last ends at ``close``. A tick in [accept, open) is the auction's and belongs to the first
bar; one in [close, stop) is the end of session's and belongs to the last; any other outside [open, close) is rejected.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from grandmodel.core.bars import NS_PER_MINUTE
from grandmodel.core.errors import DataError
from grandmodel.data.kernels_ticks import S_ACCEPT_NS, S_CLOSE_NS, S_DAY, S_OPEN_NS, S_STOP_NS, SPAN_SIZE

Integers = NDArray[np.int64]

NO_DAY: Final = -(2**31)
"""Trading day of a span that is open for ever; the day is then taken from the start of the bar."""

_FOR_EVER_NS: Final = 2**62


def continuous_spans() -> Integers:
    """Return one span that is always open, whose bars start at whole multiples of their length since 1970 UTC."""
    return np.array([[0, 0, _FOR_EVER_NS, _FOR_EVER_NS, NO_DAY]], np.int64)


def trading_spans(
    open_ns: Integers, close_ns: Integers, day: ArrayLike, auction_ns: ArrayLike = 0, closing_ns: ArrayLike = 0
) -> Integers:
    """Return spans for given openings and closings, such as an exchange calendar lists them.

    Args:
        open_ns: int64[n], UTC nanoseconds, increasing.
        close_ns: int64[n], UTC nanoseconds, later than ``open_ns``.
        day: int[n], trading day as days since 1970-01-01.
        auction_ns: how long before the opening a tick belongs to the first bar; one number or int[n].
        closing_ns: how long from the closing on a tick belongs to the last bar; one number or int[n].

    Raises:
        DataError: a span is empty or begins before the one before it ends; names the span.
    """
    spans = np.empty((len(open_ns), SPAN_SIZE), np.int64)
    spans[:, S_OPEN_NS], spans[:, S_CLOSE_NS], spans[:, S_DAY] = open_ns, close_ns, day
    spans[:, S_ACCEPT_NS] = spans[:, S_OPEN_NS] - np.asarray(auction_ns, np.int64)
    spans[:, S_STOP_NS] = spans[:, S_CLOSE_NS] + np.asarray(closing_ns, np.int64)
    check_spans(spans)
    return spans


def check_spans(spans: Integers) -> None:
    """Raise DataError unless spans are int64[n, 5], not empty, each in order and one after the other."""
    if spans.dtype != np.int64 or spans.ndim != 2 or spans.shape[1:] != (SPAN_SIZE,) or len(spans) == 0:
        found = (str(spans.dtype), spans.shape)
        raise DataError("trading spans", f"must be int64[n, {SPAN_SIZE}] with n > 0", found, "Use trading_spans(...)")
    disordered = (spans[:, S_ACCEPT_NS] > spans[:, S_OPEN_NS]) | (spans[:, S_OPEN_NS] >= spans[:, S_CLOSE_NS])
    disordered |= spans[:, S_CLOSE_NS] > spans[:, S_STOP_NS]
    disordered[1:] |= spans[1:, S_ACCEPT_NS] < spans[:-1, S_STOP_NS]
    if disordered.any():
        index = int(np.argmax(disordered))
        rule = "must open before it closes, and begin after the one before it has stopped"
        raise DataError(f"trading span {index}", rule, spans[index].tolist(), "Correct the table of sessions")


def daily_spans(
    days: Iterable[str],
    hours: Sequence[tuple[str, str]],
    zone: str,
    *,
    auction_minutes: int = 0,
    closing_ms: int = 0,
) -> Integers:
    """Return spans of equal days, such as ``[("09:30", "11:30"), ("13:00", "15:00")]`` in Asia/Shanghai.

    The auction belongs to the first span of a day alone. Hours that cross midnight are refused, because the evening
    that belongs to a Monday differs between exchanges: give ``trading_spans`` the openings of a calendar instead.

    Args:
        days: trading days as ISO dates, increasing.
        hours: opening and closing of each span on the exchange's clock, in order.
        zone: IANA name of the exchange's zone.
        auction_minutes: how long before the first opening a tick belongs to the first bar.
        closing_ms: how long from a closing on a tick belongs to the last bar.

    Raises:
        DataError: hours cross midnight, or the spans are not in order.
    """
    for start, stop in hours:
        if start >= stop:
            raise DataError("trading hours", "must not cross midnight", (start, stop), "Use trading_spans(...)")
    dates = list(days)
    opens = _instants(dates, [start for start, _ in hours], zone)
    closes = _instants(dates, [stop for _, stop in hours], zone)
    number = pd.DatetimeIndex(dates).as_unit("ns").asi8 // (24 * 60 * NS_PER_MINUTE)
    auction = np.tile([auction_minutes * NS_PER_MINUTE] + [0] * (len(hours) - 1), len(dates))
    return trading_spans(opens, closes, np.repeat(number, len(hours)), auction, closing_ms * 1_000_000)


def _instants(dates: list[str], times: list[str], zone: str) -> Integers:
    local = pd.DatetimeIndex([f"{date} {time}" for date in dates for time in times])
    return np.asarray(local.tz_localize(zone).as_unit("ns").asi8)
