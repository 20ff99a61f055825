"""Contract rolls: read from a table, or found where two pieces of evidence agree; a roll is never a return.

Without a table there are three ways, from the strongest. Open interest cannot change while the exchange is shut: where
it jumps between two sessions, the contract changed. Index futures roll on one day of the quarter: there an opening gap
beyond the usual is a roll. Other products roll within a known part of the month: there the one gap that stands out and
comes with a jump in volume is a roll. A market without contracts (spot currencies, shares, perpetuals) has none.

Adjusted prices stand in ``Bars``; unadjusted ones are ``price / price_factor``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from grandmodel.core.errors import DataError
from grandmodel.core.instrument import Instrument
from grandmodel.data.calendar.schedules import market_of
from grandmodel.data.calendar.sessions import days_of_dates
from grandmodel.data.dataset import Finding, Roll

# Index futures that move to the next quarterly contract in the week after the second Friday.
QUARTERLY_SYMBOLS = frozenset({"NQ", "ES", "YM", "RTY", "MNQ", "MES", "MYM", "M2K"})
_GAP_MULTIPLE_MIN = 20.0
_GAP_FRAC_MAX = 0.03
_SESSIONS_MIN = 60
_VOLUME_JUMP_MIN = 1.5  # the session of a roll against the one before, when the old contract has been left
_STAND_OUT_MIN = 2.0  # the gap of a roll against the next largest of its window
_INTEREST_JUMP_MIN = 0.05
_INTEREST_MULTIPLE_MIN = 3.0  # of the 95 % quantile of the change between two sessions
_UNIT_TOLERANCE = 0.06
_WITHOUT_CONTRACTS = ("fx", "24/7", "XNYS")


@dataclass(frozen=True, slots=True)
class RollWindow:
    """When a product rolls: in these months, between two days counted from the first of the month (which is 0)."""

    months: tuple[int, ...]
    first: int
    last: int
    gap_frac_max: float = _GAP_FRAC_MAX


_QUARTERS = (3, 6, 9, 12)
_EVERY_MONTH = tuple(range(1, 13))
# From the exchanges' contract months and last trading days; traders leave a contract in the days before.
_WINDOWS: dict[str, RollWindow] = {
    **dict.fromkeys(("6E", "6J", "6B", "6A", "6C", "6S"), RollWindow(_QUARTERS, 4, 18)),
    **dict.fromkeys(("ZN", "ZB", "ZF", "ZT", "UB", "TN"), RollWindow(_QUARTERS, -9, 2)),
    "CL": RollWindow(_EVERY_MONTH, 9, 22, 0.06),
    **dict.fromkeys(("NG", "RB", "HO"), RollWindow(_EVERY_MONTH, 17, 30, 0.06)),
    "GC": RollWindow((2, 4, 6, 8, 12), -9, 0),
    **dict.fromkeys(("SI", "HG"), RollWindow((3, 5, 7, 9, 12), -9, 0)),
}


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


def find_rolls(
    instrument: Instrument,
    known: Sequence[Roll],
    detect: bool,
    session: NDArray[np.int32],
    values: Mapping[str, NDArray[np.float64]],
    joint_days: frozenset[int],
) -> tuple[list[Roll], list[Finding]]:
    """Return the rolls of one instrument inside its data, and what the report says of them.

    Args:
        instrument: whose rolls.
        known: rolls of the table or of open interest, of any instrument.
        detect: whether to look for rolls where none of the instrument is known.
        session: int32[n], trading day of each bar.
        values: open, close and volume as float64[n], unadjusted.
        joint_days: days that follow a cut; the change of level across it is dealt with there.
    """
    symbol = instrument.symbol
    own = [roll for roll in known if roll.symbol == symbol]
    if own or not detect:
        rolls = [roll for roll in own if int(session[0]) < roll.session <= int(session[-1])]
        text = f"{len(rolls)} rolls of the table are adjusted by ratio"
        return rolls, [Finding("info", symbol, text)] if known else []
    market = market_of(instrument)
    if market is not None and market.calendar in _WITHOUT_CONTRACTS:
        return [], []
    if symbol in QUARTERLY_SYMBOLS:
        found, unclear = detect_quarterly_rolls(symbol, session, values["open"], values["close"])
        evidence = "calendar and opening gap agree"
    elif symbol in _WINDOWS:
        found, unclear = detect_window_rolls(symbol, session, values["open"], values["close"], values["volume"])
        evidence = "calendar, opening gap and volume agree"
    else:
        text = "no table of rolls and no calendar to detect them: prices are taken as they are"
        return [], [Finding("warning", symbol, text)]
    rolls = [roll for roll in found if roll.session not in joint_days]
    texts = [f"{len(rolls)} rolls are detected ({evidence}) and adjusted by ratio{_listed(rolls)}"]
    if unclear:
        days = ", ".join(map(_date, unclear))
        texts.append(f"on {len(unclear)} expected roll days no gap stands out, prices are left as they are: {days}")
    return rolls, [Finding("info", symbol, text) for text in texts]


def detect_window_rolls(
    symbol: str,
    session: NDArray[np.int32],
    open_: NDArray[np.float64],
    close: NDArray[np.float64],
    volume: NDArray[np.float64],
) -> tuple[tuple[Roll, ...], list[int]]:
    """Find rolls of a product that rolls within a part of the month: calendar, gap and volume must agree.

    Of the sessions of a window, the one that opens with the largest gap is a roll when that gap is more than 20 times
    the median opening gap, more than twice the next largest and not beyond a carry, and its session trades at least
    half as much again as the one before.

    Args:
        symbol: one of the products with a window.
        session: int32[n], trading day of each bar.
        open_: float64[n], unadjusted.
        close: float64[n], unadjusted.
        volume: float64[n].

    Returns:
        The rolls, and the last days of windows in which none stands out.
    """
    window = _WINDOWS[symbol]
    first = np.flatnonzero(np.diff(session)) + 1
    if len(first) < _SESSIONS_MIN:
        return (), []
    ratio = open_[first] / close[first - 1]
    gap = np.abs(np.log(ratio))
    total = np.add.reduceat(volume, np.r_[0, first])
    jumped = total[1:] >= _VOLUME_JUMP_MIN * total[:-1]
    threshold = _GAP_MULTIPLE_MIN * float(np.median(gap))
    rolls, unclear = [], []
    for members in _windows(window, session[first]):
        ranked = members[np.argsort(-gap[members])]
        best = int(ranked[0])
        second = float(gap[ranked[1]]) if len(ranked) > 1 else 0.0
        stands_out = gap[best] > max(threshold, _STAND_OUT_MIN * second)
        if stands_out and gap[best] <= window.gap_frac_max and jumped[best]:
            rolls.append(Roll(symbol, int(session[first[best]]), float(ratio[best])))
        else:
            unclear.append(int(session[first[members[-1]]]))
    return tuple(rolls), unclear


def detect_interest_rolls(
    symbol: str,
    session: NDArray[np.int32],
    open_: NDArray[np.float64],
    close: NDArray[np.float64],
    open_interest: NDArray[np.float64],
) -> tuple[Roll, ...]:
    """Find rolls by open interest, which cannot change overnight unless the contract does.

    A roll is a session whose first open interest differs from the last of the session before by more than 5 % and more
    than three times the 95 % quantile of all such changes. A halving or doubling is a change of unit instead (the
    Chinese exchanges counted both sides until 2020). Held against the tables of 24 Chinese futures, 19 of 20 rolls so
    found are in the table and two in three of the table's are found; the rest change less than a busy first bar does.

    Args:
        symbol: for the rolls.
        session: int32[n], trading day of each bar.
        open_: float64[n], unadjusted.
        close: float64[n], unadjusted.
        open_interest: float64[n], at the end of each bar; NaN or 0 where it is not known.
    """
    first = np.flatnonzero(np.diff(session)) + 1
    if len(first) < _SESSIONS_MIN:
        return ()
    after, before = open_interest[first], open_interest[first - 1]
    known = (after > 0) & (before > 0)
    if not known.any():
        return ()
    change = np.zeros(len(first))
    change[known] = np.abs(np.log(after[known] / before[known]))
    bound = max(_INTEREST_JUMP_MIN, _INTEREST_MULTIPLE_MIN * float(np.quantile(change[known], 0.95)))
    is_roll = (change > bound) & (np.abs(change - np.log(2)) > _UNIT_TOLERANCE)
    return tuple(Roll(symbol, int(session[row]), float(open_[row] / close[row - 1])) for row in first[is_roll])


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


def _windows(window: RollWindow, days: NDArray[np.int32]) -> list[NDArray[np.int64]]:
    """Return the positions in ascending ``days`` that lie in each whole window, without windows that hold none."""
    members = []
    first, last = (int(np.datetime64(int(day), "D").astype("datetime64[M]").astype(int)) for day in (days[0], days[-1]))
    for month in range(first, last + 2):
        if month % 12 + 1 in window.months:
            day = int(np.datetime64(month, "M").astype("datetime64[D]").astype(int))
            start, stop = day + window.first, day + window.last
            if int(days[0]) <= start and stop <= int(days[-1]):
                members.append(np.flatnonzero((days >= start) & (days <= stop)))
    return [positions for positions in members if len(positions)]


def _listed(rolls: Sequence[Roll]) -> str:
    return "".join(f", {_date(roll.session)} {roll.ratio - 1:+.2%}" for roll in rolls)


def _date(day: int) -> str:
    return str(np.datetime64(day, "D"))
