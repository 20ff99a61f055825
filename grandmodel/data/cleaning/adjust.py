"""Raw rows to bars: dead stretches are cut out, rolls and cuts become no return, both clocks are made."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from grandmodel.core.bars import NS_PER_MINUTE, Bars
from grandmodel.core.errors import DataError
from grandmodel.data.calendar.schedules import Schedule, outside
from grandmodel.data.cleaning.consistency import refuse_inconsistent
from grandmodel.data.cleaning.continuity import describe_holes, hours_of, missing_bars, refuse_moved_clock
from grandmodel.data.cleaning.quality import Quality, judge, mended
from grandmodel.data.cleaning.report import Rows
from grandmodel.data.cleaning.resample import STRATEGIC_MINUTES, both_clocks, grouping_of, session_places
from grandmodel.data.cleaning.rolls import find_rolls, price_factors
from grandmodel.data.dataset import PRICE_COLUMNS, VALUE_COLUMNS, Dataset, Finding, RawDataset

_DO = "Correct or remove the row; validation lists all such rows"
_DO_NEGATIVE = "Correct the row; where prices truly were below zero, cut the file before or after those days"


class _Adjusted(NamedTuple):
    bars: Bars
    place: NDArray[np.int64]  # of each bar in its session as read, see ``resample.session_places``
    findings: list[Finding]


def to_bars(raw: RawDataset) -> Dataset:
    """Return the bars of ``raw`` on both clocks; 30-minute sources have no tactical clock, and the report says so.

    Raises:
        DataError: a row is not a possible bar (validation would have named it), nothing is left after masking, or the
            bars are longer than 30 minutes, which no team trades.
    """
    adjusted = _by_symbol(raw)
    tactical: dict[str, Bars] = {}
    strategic: dict[str, Bars] = {}
    for symbol, (bars, place, _) in adjusted.items():
        short, strategic[symbol] = both_clocks(bars, grouping_of(raw.instruments[symbol]), place)
        tactical |= {symbol: short} if short is not None else {}
    return Dataset(
        raw.name,
        raw.simulated,
        raw.licence,
        raw.source,
        raw.raw_hash,
        tactical,
        strategic,
        raw.instruments,
        _report(raw, adjusted),
        raw.universe,
    )


def adjusted_bars(raw: RawDataset) -> tuple[dict[str, Bars], tuple[Finding, ...]]:
    """Return clean, adjusted bars on the clock of the source, by symbol, and the whole report.

    Raises:
        DataError: a row is not a possible bar, or nothing is left after masking.
    """
    adjusted = _by_symbol(raw)
    return {symbol: one.bars for symbol, one in adjusted.items()}, _report(raw, adjusted)


def _by_symbol(raw: RawDataset) -> dict[str, _Adjusted]:
    frames = raw.frame.groupby("symbol", sort=False, observed=True)
    return {str(symbol): _adjusted(raw, str(symbol), frame) for symbol, frame in frames}


def _report(raw: RawDataset, adjusted: dict[str, _Adjusted]) -> tuple[Finding, ...]:
    findings = [*raw.report, *(finding for one in adjusted.values() for finding in one.findings)]
    if raw.bar_minutes == STRATEGIC_MINUTES:
        text = "30-minute bars only: there is no tactical clock, a strategic-only release can be made"
        findings.append(Finding("warning", raw.name, text))
    elif raw.bar_minutes > STRATEGIC_MINUTES:
        text = f"bars of {raw.bar_minutes} minutes: they are read and judged, but no team trades them"
        findings.append(Finding("warning", raw.name, text))
    return tuple(findings)


def rows_of(raw: RawDataset, symbol: str, frame: pd.DataFrame) -> Rows:
    """Return the rows of one instrument, ``frame``, as the quality masks take them."""
    return Rows(
        raw.instruments[symbol],
        raw.bar_minutes,
        str(frame["file"].iloc[0]),
        frame["row"].to_numpy(np.int64),
        pd.DatetimeIndex(frame["ts"]).as_unit("ns").asi8,
        frame["session"].to_numpy(np.int32),
        {name: frame[name].to_numpy(np.float64) for name in VALUE_COLUMNS},
        tuple((roll.session, roll.ratio) for roll in raw.rolls if roll.symbol == symbol),
        raw.simulated,
    )


def _adjusted(raw: RawDataset, symbol: str, frame: pd.DataFrame) -> _Adjusted:
    rows = rows_of(raw, symbol, frame)
    refuse_impossible(rows)
    hours = None if rows.simulated else hours_of(rows.instrument, rows.start_ns)
    _refuse_discontinuous(rows, hours)
    quality = judge(rows)
    kept = quality.kept
    if len(kept) < 2:
        raise DataError(rows.file, "bars must remain after masking", len(kept), "Use another file")
    start_ns, session = rows.start_ns[kept], rows.session[kept]
    values = mended(rows, quality, PRICE_COLUMNS)
    joint_days = frozenset(int(session[joint]) for joint in quality.joints)
    traded = {**values, "volume": rows.values["volume"][kept]}
    rolls, found = find_rolls(rows.instrument, raw.rolls, raw.detect_rolls, session, traded, joint_days)
    steps = price_steps([(roll.session, roll.ratio) for roll in rolls], quality, session, values)
    factor = price_factors(len(kept), steps)
    volume = rows.values["volume"][kept]
    bars = Bars(
        symbol,
        raw.bar_minutes,
        start_ns,
        start_ns + raw.bar_minutes * NS_PER_MINUTE,
        **{name: values[name] * factor for name in PRICE_COLUMNS},
        volume=volume,
        session=session,
        price_factor=factor,
        tradable=(volume > 0) & ~quality.locked,
    )
    return _Adjusted(bars, _places(rows, hours)[kept], [*found, *quality.findings, *_holes(rows, kept, hours)])


def _refuse_discontinuous(rows: Rows, hours: Schedule | None) -> None:
    """Refuse rows that contradict each other or whose clock jumps."""
    start_ns, minutes, volume = rows.start_ns, rows.bar_minutes, rows.values["volume"]
    refuse_inconsistent(rows.file, rows.number, start_ns, minutes, rows.prices, volume, rows.instrument.tick_size)
    refuse_moved_clock(rows.file, rows.number, start_ns, minutes, hours)


def _holes(rows: Rows, kept: NDArray[np.int64], hours: Schedule | None) -> list[Finding]:
    """Return what the report says of the holes before the rows that are kept: what is cut out is no hole."""
    missing = missing_bars(rows.start_ns, rows.session, rows.bar_minutes, hours)[kept]
    return describe_holes(rows.instrument.symbol, rows.file, rows.number[kept], rows.start_ns[kept], missing)


def _places(rows: Rows, hours: Schedule | None) -> NDArray[np.int64]:
    rests = np.zeros(len(rows.session), np.bool_) if hours is None else outside(hours, rows.start_ns, rows.bar_minutes)
    return session_places(rows.start_ns, rows.session, rests)


def impossible_rows(rows: Rows) -> dict[str, NDArray[np.bool_]]:
    """Return, by rule, bool[n] of the rows that are no possible bar."""
    prices, volume = rows.prices, rows.values["volume"]
    open_, high, low, close = prices
    return {
        "prices must be positive numbers": ~(np.isfinite(prices) & (prices > 0)).all(axis=0),
        "volume must be a number of at least 0": ~(np.isfinite(volume) & (volume >= 0)),
        "high must be at least open and close": high < np.maximum(open_, close),
        "low must be at most open and close": low > np.minimum(open_, close),
        "bar starts must strictly increase": np.diff(rows.start_ns, prepend=rows.start_ns[:1] - 1) <= 0,
        "the trading day must not run backwards": np.diff(rows.session, prepend=rows.session[:1]) < 0,
    }


def refuse_impossible(rows: Rows) -> None:
    """Raise DataError about the first row that is no possible bar; validation would have named it."""
    for rule, wrong in impossible_rows(rows).items():
        if wrong.any():
            row = int(np.argmax(wrong))
            values = {name: float(rows.values[name][row]) for name in VALUE_COLUMNS}
            found = {"ts": str(pd.Timestamp(rows.start_ns[row], tz="UTC")), **values}
            prices = [found[name] for name in PRICE_COLUMNS]
            do = _DO_NEGATIVE if any(isinstance(price, float) and price < 0 for price in prices) else _DO
            raise DataError(f"{rows.file} row {rows.number[row]}", rule, found, do)


def price_steps(
    rolls: Iterable[tuple[int, float]],
    quality: Quality,
    session: NDArray[np.int32],
    values: dict[str, NDArray[np.float64]],
) -> list[tuple[int, float]]:
    """Return (bar, ratio) of rolls, joints and splits; a roll that falls on or into a joint is already part of it.

    Args:
        rolls: trading day and ratio of each.
        quality: of the rows.
        session: int32[n], trading day of each bar that is kept.
        values: open and close of those bars, unadjusted.
    """
    steps = {int(np.searchsorted(session, day)): ratio for day, ratio in rolls}
    steps |= {joint: float(values["open"][joint] / values["close"][joint - 1]) for joint in quality.joints}
    return sorted([*((bar, ratio) for bar, ratio in steps.items() if 0 < bar < len(session)), *quality.splits])
