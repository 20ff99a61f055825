"""Market calendars: which sessions a market holds, which bars lie outside them, which sessions are missing or cut.

Trading days come from ``exchange_calendars``, hours from ``market_sessions.csv``, because the library has neither the
daily halt of Globex nor the Chinese futures exchanges. Any other code of the library is taken with its own hours.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from grandmodel.core.bars import NS_PER_MINUTE
from grandmodel.core.errors import DataError
from grandmodel.core.instrument import Instrument
from grandmodel.data.calendar.market_hours import (
    CHINESE_EXCHANGES,
    GLOBEX,
    ZONES,
    Market,
    has_own_hours,
    hours_of,
    minutes,
    short_days,
)

__all__ = ["CHINESE_EXCHANGES", "GLOBEX", "ZONES", "Judgement", "Market", "Schedule"]

NS_PER_DAY = 24 * 60 * NS_PER_MINUTE
# Shanghai's stock exchange keeps the same holidays as the Chinese futures exchanges; 24/5 is every weekday.
_DAYS_OF = {"globex": "CMES", "fx": "24/5", "24/7": "24/7", "chinese": "XSHG"}
_ANY_DAYS = (17_897, 18_262)  # 2019, which every calendar knows
_CUT_FRAC = 0.9  # a session with fewer of its expected bars than this is cut


@dataclass(frozen=True, slots=True)
class Schedule:
    """The hours of one market over a range of trading days; a day may have several spans."""

    day: NDArray[np.int32]  # trading days, ascending, as days since 1970-01-01
    certain: NDArray[np.bool_]  # False where the hours of this product are not known, only their widest bounds
    open_ns: NDArray[np.int64]  # UTC, ascending, one per span
    close_ns: NDArray[np.int64]
    span_day: NDArray[np.int32]  # trading day of each span


class Judgement(NamedTuple):
    """Bars and sessions that do not keep to the calendar."""

    outside: NDArray[np.bool_]  # bool[n], True for bars in no session
    astray: NDArray[np.bool_]  # bool[n], True for Chinese bars that carry another trading day than their hours give
    missing: NDArray[np.int32]  # trading days without a bar, between the first and the last with one
    cut: NDArray[np.int32]  # trading days with less than 90 % of their bars
    found: NDArray[np.int64]  # bars of each cut day
    expected: NDArray[np.int64]  # bars that each cut day should have


def market_of(instrument: Instrument) -> Market | None:
    """Return where ``instrument`` trades: by its calendar, its exchange prefix or its zone; None where unknown."""
    exchange, _, name = instrument.symbol.partition(".")
    if instrument.calendar == "chinese" or (not instrument.calendar and name and exchange in CHINESE_EXCHANGES):
        return Market("chinese", instrument.symbol)
    if instrument.calendar:
        return Market(instrument.calendar, instrument.symbol)
    return Market("globex", instrument.symbol) if instrument.timezone == ZONES["globex"] else None


def zone_of(market: Market) -> str:
    """Return the IANA zone of the market. Raises DataError for a calendar that does not exist."""
    return ZONES.get(market.calendar) or str(_library_calendar(market.calendar, *_ANY_DAYS).tz)


def never_closes(market: Market) -> bool:
    """Return whether the market has no halt and no weekend, so that no stamp can contradict a zone."""
    return market.calendar == "24/7"


@lru_cache(maxsize=64)
def schedule(market: Market, first_day: int, last_day: int, *, holidays: bool = True) -> Schedule:
    """Return the hours of ``market`` on its trading days from ``first_day`` to ``last_day`` (days since 1970-01-01).

    Args:
        market: calendar and product.
        first_day: first day asked for.
        last_day: last day asked for, inclusive. Days that the library does not know yet are left out.
        holidays: False gives the plain week instead, without holidays and short days.

    Raises:
        DataError: the calendar does not exist, or its table holds no hours for the product.
    """
    if market.calendar not in ZONES:
        return _library_schedule(market.calendar, first_day, last_day)
    if market.calendar == "24/7":
        day = np.arange(first_day, last_day + 1, dtype=np.int32)
    elif holidays:
        day = _trading_days(market.calendar, first_day - 14, last_day)
    else:
        day = np.arange(first_day - 14, last_day + 1, dtype=np.int32)
        day = day[(day + 3) % 7 < 5]
    evening = _evenings(market.calendar, day)
    kept = day >= first_day
    opens, closes, days = _spans(market, day[kept], evening[kept])
    certain = np.full(int(kept.sum()), market.calendar != "chinese" or has_own_hours(market))
    if market.calendar == "globex" and holidays:
        certain = _shorten(market, day[kept], closes, days)
    held = closes > opens  # a short day may end before its last span begins
    return Schedule(day[kept], certain, opens[held], closes[held], days[held])


def outside(hours: Schedule, start_ns: NDArray[np.int64], bar_minutes: int) -> NDArray[np.bool_]:
    """Return bool[n], True for bars (UTC starts) that touch no span of ``hours``."""
    if len(hours.close_ns) == 0:
        return np.ones(len(start_ns), np.bool_)
    span = np.searchsorted(hours.close_ns, start_ns, side="right")
    inside = span < len(hours.close_ns)
    opens = hours.open_ns[np.minimum(span, len(hours.open_ns) - 1)]
    return np.asarray(~inside | (opens >= start_ns + bar_minutes * NS_PER_MINUTE))


def sessions_of(
    hours: Schedule, start_ns: NDArray[np.int64], *, fallback: NDArray[np.int32] | None = None
) -> NDArray[np.int32]:
    """Return int32[n], the trading day of the span that each bar lies in or, between spans, of the next one.

    Args:
        hours: of the market.
        start_ns: int64[n], UTC starts.
        fallback: int32[n], the day of bars after the last span.

    Raises:
        DataError: a bar starts after the last span and there is no fallback.
    """
    span = np.searchsorted(hours.close_ns, start_ns, side="right")
    beyond = span >= len(hours.span_day)
    if not beyond.any():
        return hours.span_day[span]
    if fallback is None:
        found = str(np.datetime64(int(start_ns[int(np.argmax(beyond))]), "s"))
        raise DataError("market calendar", "bars must lie within the days that the calendar knows", found)
    return np.asarray(np.where(beyond, fallback, np.r_[hours.span_day, 0][np.minimum(span, len(hours.span_day))]))


def expected_bars(hours: Schedule, bar_minutes: int, *, by_count: bool = False) -> NDArray[np.int64]:
    """Return int64[len(hours.day)], how many bars of ``bar_minutes`` a whole session has, short days included.

    Args:
        hours: of the market.
        bar_minutes: length of a bar; a day or more gives 1.
        by_count: True counts minutes of trade, as Chinese bars run on across breaks; False counts the bars of the
            clock that a session touches, so that a halt of 15 minutes costs no 30-minute bar.
    """
    index = np.searchsorted(hours.day, hours.span_day)
    length = bar_minutes * NS_PER_MINUTE
    if length >= NS_PER_DAY:
        return np.ones(len(hours.day), np.int64)
    if by_count:
        spent = np.bincount(index, hours.close_ns - hours.open_ns, len(hours.day))
        return np.ceil(spent / length).astype(np.int64)
    first, last = hours.open_ns // length, (hours.close_ns - 1) // length
    shared = np.r_[False, (first[1:] == last[:-1]) & (index[1:] == index[:-1])][: len(first)]
    return np.bincount(index, last - first + 1 - shared, len(hours.day)).astype(np.int64)


def expected_session_bars(instrument: Instrument, session: NDArray[np.int32], bar_minutes: int) -> NDArray[np.int64]:
    """Return int64[n], the bars that each trading day of ``session`` should have; 0 where none is known.

    An instrument whose full day is shorter than its exchange's (a vendor that leaves out a part of the night) sets the
    bound. An instrument without a known market has its full day every day.
    """
    full = max(1, instrument.session_bars_5m * 5 // bar_minutes)
    market = market_of(instrument)
    if market is None or len(session) == 0:
        return np.full(len(session), full, np.int64)
    hours = schedule(market, int(session.min()), int(session.max()))
    expected = np.minimum(expected_bars(hours, bar_minutes, by_count=market.calendar == "chinese"), full)
    place = np.searchsorted(hours.day, session)
    known = np.r_[hours.day, -1][place] == session
    return np.asarray(np.where(known, np.r_[expected, 0][place], 0))


def judge(
    instrument: Instrument, bar_minutes: int, start_ns: NDArray[np.int64], session: NDArray[np.int32]
) -> Judgement | None:
    """Hold bars against their market's calendar; None where the market is not known.

    Args:
        instrument: says the market.
        bar_minutes: length of a bar.
        start_ns: int64[n], UTC starts; of daily bars the trading day alone is judged.
        session: int32[n], trading day of each bar.

    Raises:
        DataError: the calendar of the instrument does not exist.
    """
    market = market_of(instrument)
    if market is None or len(session) == 0:
        return None
    hours = schedule(market, int(session[0]), int(session[-1]))
    known = session <= (hours.day[-1] if len(hours.day) else -1)
    if bar_minutes * NS_PER_MINUTE >= NS_PER_DAY:
        off_hours = ~np.isin(session, hours.day)
    else:
        off_hours = outside(hours, start_ns, bar_minutes)
    days, counts = np.unique(session, return_counts=True)
    expected = expected_session_bars(instrument, days, bar_minutes)
    is_certain = np.isin(days, hours.day[hours.certain])
    astray = np.zeros(len(session), np.bool_)
    if market.calendar == "chinese" and bar_minutes * NS_PER_MINUTE < NS_PER_DAY:
        astray = known & ~off_hours & (sessions_of(hours, start_ns, fallback=session) != session)
    cut = is_certain & (counts < _CUT_FRAC * expected)
    missing = np.setdiff1d(hours.day, days)
    return Judgement(off_hours & known, astray, missing, days[cut], counts[cut], expected[cut])


@lru_cache(maxsize=32)
def _library_calendar(code: str, first_day: int, last_day: int) -> Any:
    """Return a calendar of the library from ``first_day`` to ``last_day``, or as much of that as it knows."""
    import exchange_calendars  # slow to import, and most data need no calendar

    first, last = (pd.Timestamp(day, unit="D") for day in (first_day, last_day))
    with warnings.catch_warnings():
        # exchange_calendars 4.13 is older than pandas 3.1 and builds its calendars by accesses that will change.
        warnings.simplefilter("ignore", pd.errors.Pandas4Warning)
        try:
            return exchange_calendars.get_calendar(code, start=first, end=last)
        except exchange_calendars.errors.InvalidCalendarName as error:
            do = f"Give one of {', '.join(ZONES)} or a code of exchange_calendars such as XNYS or XEUR"
            raise DataError("calendar of the instrument", "the market must have a calendar", code, do) from error
        except ValueError:  # beyond the days that the library knows
            usual = exchange_calendars.get_calendar(code)
            first = max(first, usual.bound_min() or first)
            last = min(last, usual.bound_max() or last)
            return exchange_calendars.get_calendar(code, start=first, end=last) if first < last else usual


def _trading_days(calendar: str, first_day: int, last_day: int) -> NDArray[np.int32]:
    # A month on both sides, because the library refuses ranges without a session.
    sessions = _library_calendar(_DAYS_OF[calendar], first_day - 31, last_day + 31).sessions
    day = sessions.as_unit("ns").asi8 // NS_PER_DAY
    if calendar == "globex":
        day = np.union1d(day, list(short_days()))
    if calendar == "fx":
        dates = day.astype("datetime64[D]")
        month_day = dates - dates.astype("datetime64[Y]")
        christmas = np.array([str(date).endswith("12-25") for date in dates])
        day = day[~christmas & (month_day.astype(np.int64) != 0)]
    return np.asarray(day[(day >= first_day) & (day <= last_day)], np.int32)


def _evenings(calendar: str, day: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return the day on whose evening each trading day begins; the trading day itself where it has no night."""
    if calendar != "chinese":
        return day - 1
    before = np.r_[day[:1], day[:-1]] if len(day) else day
    over_weekend = (day - before == 3) & ((day + 3) % 7 == 0)
    return np.asarray(np.where((day - before == 1) | over_weekend, before, day), np.int32)


def _spans(
    market: Market, day: NDArray[np.int32], evening: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]:
    """Return opens, closes (UTC nanoseconds) and trading days of all spans, by time."""
    parts: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int32]]] = []
    for hours in hours_of(market):
        dated = (day >= hours.first) & (day <= hours.last)
        has_night = dated & (evening < day)
        for spans, base, chosen in ((hours.night, evening, has_night), (hours.day, day, dated)):
            for opens, closes in spans:
                local = base[chosen].astype(np.int64) * NS_PER_DAY
                parts.append((local + opens * NS_PER_MINUTE, local + closes * NS_PER_MINUTE, day[chosen]))
    opens_ns, closes_ns, days = (np.concatenate([part[k] for part in parts]) for k in range(3))
    order = np.argsort(opens_ns, kind="stable")
    zone = ZONES[market.calendar]
    return _utc(opens_ns[order], zone), _utc(closes_ns[order], zone), days[order]


def _shorten(
    market: Market, day: NDArray[np.int32], closes: NDArray[np.int64], days: NDArray[np.int32]
) -> NDArray[np.bool_]:
    """Move ``closes`` to the early close of short days; return bool[len(day)], False where its hour is not known."""
    early = short_days()
    library = _library_calendar(_DAYS_OF["globex"], int(day[0]) - 31, int(day[-1]) + 31) if len(day) else None
    for stamp in library.early_closes if library is not None else ():
        eve = stamp.month == 12 or (stamp.month == 11 and stamp.weekday() == 4)
        early.setdefault(stamp.value // NS_PER_DAY, minutes("12:15" if eve else "12:00"))  # eves of a holiday last on
    is_short = np.isin(day, list(early))
    if not has_own_hours(market):
        return ~is_short  # the hours of short days are those of equity indices
    for short in day[is_short]:
        at = _utc(np.array([int(short) * NS_PER_DAY + early[int(short)] * NS_PER_MINUTE]), ZONES["globex"])[0]
        of_day = days == short
        closes[of_day] = np.minimum(closes[of_day], at)
    return np.ones(len(day), np.bool_)


def _library_schedule(code: str, first_day: int, last_day: int) -> Schedule:
    """Return the hours of a calendar as the library has them, lunch breaks included."""
    calendar = _library_calendar(code, first_day - 31, last_day + 31)
    table = calendar.schedule
    day = np.asarray(table.index.as_unit("ns").asi8 // NS_PER_DAY, np.int32)
    kept = (day >= first_day) & (day <= last_day)
    table, day = table[kept], day[kept]
    ns = {name: pd.DatetimeIndex(table[name]).as_unit("ns").asi8 for name in table.columns}
    breaks = ~pd.isna(table["break_start"]).to_numpy()
    opens = np.concatenate([ns["open"], ns["break_end"][breaks]])
    closes = np.concatenate([np.where(breaks, ns["break_start"], ns["close"]), ns["close"][breaks]])
    days = np.concatenate([day, day[breaks]])
    order = np.argsort(opens, kind="stable")
    return Schedule(day, np.ones(len(day), np.bool_), opens[order], closes[order], days[order])


def _utc(local_ns: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    index = pd.DatetimeIndex(local_ns.astype("datetime64[ns]"))
    utc = index.tz_localize(zone, ambiguous=np.zeros(len(index), np.bool_), nonexistent="shift_forward")
    return np.asarray(utc.tz_convert("UTC").as_unit("ns").asi8)
