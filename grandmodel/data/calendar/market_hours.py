"""The packaged tables of market hours: which market, which hours on which dates, which days are short."""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from grandmodel.core.errors import DataError

CHINESE_EXCHANGES = ("SHFE", "INE", "DCE", "CZCE", "CFFEX", "GFEX")
ZONES = {"globex": "America/Chicago", "fx": "America/New_York", "24/7": "UTC", "chinese": "Asia/Shanghai"}


class Market(NamedTuple):
    """A calendar and, where hours differ by product, the product."""

    calendar: str
    product: str = "*"


GLOBEX = Market("globex")


class Hours(NamedTuple):
    """Hours of one market between two dates; spans are (open, close) in minutes after midnight of their first day."""

    first: int  # days since 1970-01-01, inclusive
    last: int
    night: tuple[tuple[int, int], ...]  # from the evening before
    day: tuple[tuple[int, int], ...]


@lru_cache(maxsize=64)
def hours_of(market: Market) -> tuple[Hours, ...]:
    """Return the dated hours of ``market``. Raises DataError where the table holds none for the product."""
    table = _table("market_sessions.csv")
    named = table[_names_product(market)]
    found = named if len(named) else table[(table["calendar"] == market.calendar) & (table["products"] == "*")]
    if len(found) == 0:
        do = "Add its hours to market_sessions.csv, or give the instrument another calendar"
        raise DataError(market.product, f"the calendar {market.calendar!r} must hold hours for the product", do=do)
    dates = [_days(found[name]) for name in ("first", "last")]
    return tuple(
        Hours(int(first), int(last), _parse_spans(night), _parse_spans(day))
        for first, last, night, day in zip(*dates, found["night"], found["day"], strict=True)
    )


@lru_cache(maxsize=64)
def has_own_hours(market: Market) -> bool:
    """Return whether the table names the product, so that its short days are known too."""
    return bool(_names_product(market).any())


def short_days() -> dict[int, int]:
    """Return, by day since 1970-01-01, the close in minutes after midnight in Chicago."""
    table = _table("market_days.csv")
    return {int(day): minutes(close) for day, close in zip(_days(table["date"]), table["close"], strict=True)}


def minutes(clock: str) -> int:
    """Return ``hh:mm`` in minutes after midnight."""
    hour, minute = clock.split(":")
    return 60 * int(hour) + int(minute)


def _parse_spans(text: str) -> tuple[tuple[int, int], ...]:
    """Return the spans of a cell such as ``09:00-10:15 10:30-11:30``; one that ends no later ends the next day."""
    found = []
    for span in text.split():
        opens, closes = (minutes(clock) for clock in span.split("-"))
        found.append((opens, closes + (24 * 60 if closes <= opens else 0)))
    return tuple(found)


def _names_product(market: Market) -> NDArray[np.bool_]:
    table = _table("market_sessions.csv")
    return np.array(
        [
            calendar == market.calendar and market.product in products.split()
            for calendar, products in zip(table["calendar"], table["products"], strict=True)
        ],
        np.bool_,
    )


def _days(dates: pd.Series) -> NDArray[np.int64]:
    return dates.to_numpy(dtype="datetime64[D]").astype(np.int64)


@lru_cache(maxsize=2)
def _table(name: str) -> pd.DataFrame:
    with resources.files(__package__).joinpath(name).open() as lines:
        return pd.read_csv(lines, comment="#", keep_default_na=False, dtype=str)
