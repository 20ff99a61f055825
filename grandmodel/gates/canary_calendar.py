"""Which sessions of a canary must have a day on record, so that a record that is no longer fed is noticed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np

from grandmodel.core.instrument import Instrument
from grandmodel.data.calendar.schedules import NS_PER_DAY, Market, market_of, schedule

SECONDS_PER_DAY = 86_400
LOOK_BACK_DAYS = 31  # in which every market holds two sessions


def markets_of(instruments: Sequence[Instrument], *, simulated: bool) -> tuple[tuple[str, str], ...]:
    """Return calendar and product of every market of ``instruments``; none, which means weekdays, where one is unknown.

    A simulated market knows no holidays.
    """
    found = [None if simulated else market_of(one) for one in instruments]
    return () if None in found else tuple(sorted({(one.calendar, one.product) for one in found if one is not None}))


def sessions_due(
    markets: Sequence[tuple[str, str]], first_session: int, last_session: int, now: datetime | None
) -> list[int]:
    """Return the sessions, days since 1970-01-01, of which a day must be on record, ascending.

    These are all from ``first_session`` through ``last_session``, and through those that had closed at ``now`` but the
    newest, whose day comes with the session after it. Several markets hold all their sessions together.

    Args:
        markets: calendar and product of each; empty for every weekday, closed at midnight UTC.
        first_session: of the record.
        last_session: newest that is on record, or was judged.
        now: UTC; None where the record alone is looked at.

    Raises:
        DataError: a calendar does not exist.
    """
    now_ns = 0 if now is None else int(now.timestamp() * 1e9)
    until = max(last_session, now_ns // NS_PER_DAY + 1)
    closes_ns = _closes_ns(markets, min(first_session, until - LOOK_BACK_DAYS), until)
    closed = sorted(day for day, close_ns in closes_ns.items() if close_ns <= now_ns)
    last_due = max(last_session, *closed[-2:-1], first_session)
    return sorted(day for day in closes_ns if first_session <= day <= last_due)


def is_over(markets: Sequence[tuple[str, str]], session: int, now: datetime) -> bool:
    """Return whether ``session`` had closed in every market at ``now``, UTC; one of no market at its midnight."""
    close_ns = _closes_ns(markets, session, session).get(session, (session + 1) * NS_PER_DAY)
    return close_ns <= int(now.timestamp() * 1e9)


def session_at(moment: datetime) -> int:
    """Return the day of ``moment``, UTC, since 1970-01-01."""
    return int(moment.timestamp()) // SECONDS_PER_DAY


def _closes_ns(markets: Sequence[tuple[str, str]], first: int, last: int) -> dict[int, int]:
    closes: dict[int, int] = {}
    for day, close_ns in _sessions(markets, first, last):
        closes[day] = max(close_ns, closes.get(day, 0))
    return closes


def _sessions(markets: Sequence[tuple[str, str]], first: int, last: int) -> list[tuple[int, int]]:
    """Return (session, UTC nanoseconds of its close) of every market and span."""
    if not markets:
        day = np.arange(first, last + 1)
        return [(int(one), int(one + 1) * NS_PER_DAY) for one in day[(day + 3) % 7 < 5]]  # day 0 was a Thursday
    spans = []
    for market in markets:
        hours = schedule(Market(*market), first, last)
        spans += list(zip(hours.span_day.tolist(), hours.close_ns.tolist(), strict=True))
    return spans
