"""Files in, rows on one clock out (``read_raw``); ``read_dataset`` goes on to bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from grandmodel.core.bars import NS_PER_MINUTE
from grandmodel.core.errors import DataError
from grandmodel.core.hashing import hash_file, hash_json
from grandmodel.core.instrument import Instrument
from grandmodel.data.asset_classes import asset_class
from grandmodel.data.calendar.sessions import days_of_dates
from grandmodel.data.cleaning.adjust import to_bars
from grandmodel.data.cleaning.rolls import detect_interest_rolls
from grandmodel.data.dataset import (
    PRICE_COLUMNS,
    SYMBOL_PATTERN,
    VALUE_COLUMNS,
    Dataset,
    Finding,
    Listing,
    RawDataset,
    Roll,
)
from grandmodel.data.instruments import default_instrument, known_root, snap_to_ticks
from grandmodel.data.reading.extra_columns import left_out, stated_symbol, stated_zone
from grandmodel.data.reading.formats import parse_column, parse_numbers, read_table
from grandmodel.data.reading.headers import rename_columns
from grandmodel.data.reading.layouts import Layout, find_layout
from grandmodel.data.reading.placing import DAY_MINUTES, STOCKS, Source, keeps_stock_hours, place, trading_days
from grandmodel.data.reading.quotes import constant_volume, mid_prices, one_sided, with_measured_spread
from grandmodel.data.reading.stamps import DateOrder, parse_stamps, refuse_backward_steps
from grandmodel.data.reading.timezones import StampKind
from grandmodel.data.reading.universe import find_universe

LENGTHS_MINUTES = (1, 5, 30, DAY_MINUTES)
_UNIT_BREAK_DAY = int(days_of_dates(np.array([20200101]))[0])  # double-counted volume before, single after
_DOUBLE_COUNTING = ("SHFE", "INE", "DCE", "CZCE")


@dataclass(frozen=True, slots=True)
class _Part:
    """One file, read."""

    file: str
    instrument: Instrument
    bar_minutes: int
    start_ns: NDArray[np.int64]
    values: dict[str, NDArray[np.float64]]
    session: NDArray[np.int32]
    rows: NDArray[np.int64]
    findings: list[Finding]
    rolls: tuple[Roll, ...]


@dataclass(frozen=True, slots=True)
class _Options:
    timezone: str
    date_order: DateOrder
    stamp: StampKind
    now_ns: int | None
    is_named: bool  # whether the instrument of a generic file was given by hand


def read_dataset(
    path: Path,
    *,
    symbols: Sequence[str] = (),
    timezone: str = "auto",
    date_order: DateOrder = "auto",
    stamp: StampKind = "auto",
    instruments_max: int = 6,
    instrument: str | None = None,
    now_ns: int | None = None,
) -> Dataset:
    """Read, adjust and resample the bars at ``path``: ``read_raw`` and ``to_bars`` in one, without validation."""
    raw = read_raw(
        path,
        symbols=symbols,
        timezone=timezone,
        date_order=date_order,
        stamp=stamp,
        instruments_max=instruments_max,
        instrument=instrument,
        now_ns=now_ns,
    )
    return to_bars(raw)


def read_raw(
    path: Path,
    *,
    symbols: Sequence[str] = (),
    timezone: str = "auto",
    date_order: DateOrder = "auto",
    stamp: StampKind = "auto",
    instruments_max: int = 6,
    instrument: str | None = None,
    now_ns: int | None = None,
) -> RawDataset:
    """Read the rows at ``path`` onto UTC bar starts, in file order, with file and row beside each.

    Understood are the project's own folder (``instruments.yaml``), a folder of Chinese futures (``instruments.csv`` and
    ``rolls.csv``), and any CSV or Parquet file, or folder of one file per instrument, of bars of 1, 5 or 30 minutes or
    a day. Bars of bid and ask become bars of their mid. Volume may be missing; it is then 1 in every bar, and said.

    Args:
        path: file or folder.
        symbols: instruments to read; all when empty.
        timezone: IANA zone of naive stamps in a generic file, followed unless the bars contradict it; ``auto`` finds
            it by evidence.
        date_order: order of day and month in slashed dates; ``auto`` finds it by evidence.
        stamp: whether stamps of a generic file mark the start or the close of a bar.
        instruments_max: more instruments than this are cut to the folder's core set, unless named.
        instrument: symbol of a single generic file, where its name does not say it.
        now_ns: UTC nanoseconds of the clock; stamps in the future are then refused. None: not asked.

    Raises:
        DataError: a file cannot be read as bars; names the file, the row, the rule and what to do. Duplicates and
            impossible prices are not judged here: they survive for validation to list.
    """
    layout = find_layout(path, symbols, instruments_max, instrument)
    is_named = instrument is not None or (path.is_file() and len(symbols) == 1)
    options = _Options(timezone, date_order, stamp, now_ns, is_named)
    parts = [_read_file(layout, symbol, file, options) for symbol, file in layout.files.items()]
    _refuse_twins(parts)
    bar_minutes = parts[0].bar_minutes
    for part in parts:
        if part.bar_minutes != bar_minutes:
            found = {p.file: p.bar_minutes for p in parts}
            raise DataError(part.file, "all files must hold bars of one length in minutes", found, "Read them apart")
    used = [*layout.files.values(), *layout.side_files]
    return RawDataset(
        name=layout.name,
        simulated=layout.simulated,
        licence=layout.licence,
        source=layout.source,
        raw_hash=hash_json({file.name: hash_file(file) for file in used}),
        bar_minutes=bar_minutes,
        frame=_join(parts),
        instruments={part.instrument.symbol: part.instrument for part in parts},
        rolls=(*layout.rolls, *(roll for part in parts for roll in part.rolls)),
        detect_rolls=not layout.simulated and not layout.rolls and layout.kind != "chinese",
        report=(*layout.findings, *_licence(layout), *(finding for part in parts for finding in part.findings)),
        universe=find_universe(layout, [_listing(part) for part in parts], date_order),
    )


def _listing(part: _Part) -> Listing:
    first, last = int(part.session.min()), int(part.session.max())
    return Listing(part.instrument.symbol, first, last, is_member=True, dated_by=part.file)


def _licence(layout: Layout) -> tuple[Finding, ...]:
    if layout.licence.strip():
        return ()
    text = (
        "no licence is stated, and gate G0 refuses data without one; state it as `licence:` in a dataset.yaml beside it"
    )
    return (Finding("info", layout.name, text),)


def _read_file(layout: Layout, symbol: str, path: Path, options: _Options) -> _Part:
    """Read one file of any layout; the layout says what is known of its stamps and terms beforehand."""
    file = path.name
    whole = read_table(path)
    priced, quotes = mid_prices(whole, file)
    table, findings = rename_columns(priced, file, optional=frozenset({"volume"}))
    stated_by_column = None
    if layout.kind == "generic":
        symbol, found = _named_symbol(symbol, whole, file, options.is_named)
        findings += [*found, *left_out(whole, file)]
        stated_by_column = stated_zone(whole, file)
    rows = table["row"].to_numpy(np.int64)
    values = parse_numbers(table, file)
    if "volume" not in values:
        values["volume"] = constant_volume(len(rows))
        text = "the file has no volume: it is unknown, 1 stands for it in every bar and each counts as tradable"
        findings.append(Finding("info", file, text))
    stamps = parse_stamps(table["ts"], rows, file, options.date_order, options.now_ns)
    refuse_backward_steps(stamps.ns, rows, file)
    bar_minutes = _bar_minutes(stamps.ns, file)
    is_share = layout.kind == "generic" and keeps_stock_hours(stamps, bar_minutes)
    instrument, found = _instrument(layout, symbol, values, bar_minutes, is_share)
    findings += found
    findings += _settle_empty_volume(values, instrument, bar_minutes, file)
    if quotes is not None:
        instrument, found = with_measured_spread(instrument, quotes, file)
        findings += found
    elif layout.kind == "generic" and (side := one_sided(path.stem)):
        findings.append(Finding("info", file, f"prices are {side}s alone: the mid is half a spread away"))
    _undo_single_precision(values, table, instrument)
    source = Source(layout.kind, file, whole, rows, stamps, values, bar_minutes, instrument, stated_by_column)
    start_ns, found = place(source, timezone=options.timezone, stamp=options.stamp, now_ns=options.now_ns)
    findings += found
    refuse_backward_steps(start_ns, rows, file)
    _refuse_overlaps(start_ns, bar_minutes, rows, file)
    session, found = trading_days(source, start_ns, simulated=layout.simulated)
    findings += found
    if layout.kind == "chinese":
        findings += _halve_double_counted(instrument.symbol, session, values, file)
    rolls = _interest_rolls(source, session) if layout.kind == "generic" else ()
    if rolls:
        text = f"open interest jumps between sessions: {len(rolls)} rolls are found by it and adjusted by ratio"
        findings.append(Finding("info", file, f"{text}; one roll in three does not show so, a table is better"))
    return _Part(file, instrument, bar_minutes, start_ns, values, session, rows, findings, rolls)


def _named_symbol(symbol: str, whole: pd.DataFrame, file: str, is_named: bool) -> tuple[str, list[Finding]]:
    """Return the symbol that a column names where neither an option nor the file name does, and what is to be said."""
    stated = stated_symbol(whole, file)
    if stated is None or stated == symbol or is_named or not SYMBOL_PATTERN.fullmatch(stated):
        return symbol, []
    if known_root(symbol) is not None:
        text = f"a column names {stated}, the file name {symbol}: the file name is followed"
        return symbol, [Finding("warning", file, text)]
    return stated, [Finding("info", file, f"a column names the instrument: {stated}")]


def _settle_empty_volume(
    values: dict[str, NDArray[np.float64]], instrument: Instrument, bar_minutes: int, file: str
) -> list[Finding]:
    """Put 1 in place of a volume of 0 in every bar where the class has none; refuse it where nothing would trade."""
    if (values["volume"] != 0).any():
        return []
    if asset_class(instrument, bar_minutes) != "fx":
        rule = "some bar must have volume, nothing trades without"
        do = "Export the file with volume, or remove the column: volume then counts as unknown"
        raise DataError(f"{file} column volume", rule, f"0 in all {len(values['volume'])} bars", do)
    values["volume"] = constant_volume(len(values["volume"]))
    text = "volume is 0 in every bar: it counts as unknown, 1 stands for it and each bar counts as tradable"
    return [Finding("info", file, text)]


def _refuse_twins(parts: list[_Part]) -> None:
    """Raise DataError where the columns of two files name one instrument."""
    by_symbol: dict[str, str] = {}
    for part in parts:
        symbol = part.instrument.symbol
        if symbol in by_symbol:
            found = [by_symbol[symbol], part.file]
            raise DataError(part.file, f"one file per instrument; two name {symbol}", found, "Leave one of them")
        by_symbol[symbol] = part.file


def _instrument(
    layout: Layout, symbol: str, values: dict[str, NDArray[np.float64]], bar_minutes: int, is_share: bool
) -> tuple[Instrument, list[Finding]]:
    """Return the terms of ``symbol``; an unknown one whose bars keep New York's hours (``is_share``) is a share."""
    if symbol in layout.instruments:
        return layout.instruments[symbol], []
    prices = np.concatenate([values[name] for name in PRICE_COLUMNS])
    instrument, terms = default_instrument(symbol, prices, DAY_MINUTES if is_share else bar_minutes)
    if not is_share or instrument.calendar != STOCKS:
        return instrument, [terms]
    text = "all bars lie between 09:30 and 16:00 in New York: the unknown symbol is taken for a share"
    return instrument.model_copy(update={"asset_class": "equity"}), [terms, Finding("warning", symbol, text)]


def _undo_single_precision(values: dict[str, NDArray[np.float64]], table: pd.DataFrame, instrument: Instrument) -> None:
    """Put prices that a file holds in single precision back on the tick grid, in place."""
    for name in PRICE_COLUMNS:
        if table[name].dtype == np.float32:
            values[name] = snap_to_ticks(table[name].to_numpy(), instrument.tick_size)


def _halve_double_counted(
    symbol: str, session: NDArray[np.int32], values: dict[str, NDArray[np.float64]], file: str
) -> list[Finding]:
    if symbol.split(".")[0] not in _DOUBLE_COUNTING or session[0] >= _UNIT_BREAK_DAY:
        return []
    values["volume"] = np.where(session < _UNIT_BREAK_DAY, values["volume"] / 2, values["volume"])
    return [Finding("info", file, "volume before 2020-01-01 is halved: the exchange counted both sides then")]


def _interest_rolls(source: Source, session: NDArray[np.int32]) -> tuple[Roll, ...]:
    if "open_interest" not in source.columns:
        return ()
    interest = parse_column(source.columns["open_interest"], source.rows, "open_interest", source.file)
    values = source.values
    return detect_interest_rolls(source.instrument.symbol, session, values["open"], values["close"], interest)


def _bar_minutes(ns: NDArray[np.int64], file: str) -> int:
    steps = np.diff(ns)
    lengths, counts = np.unique(steps[steps > 0], return_counts=True)
    if len(lengths) == 0:
        raise DataError(file, "the file must hold at least two bars at different times", len(ns), "Export more bars")
    minutes = float(lengths[np.argmax(counts)]) / NS_PER_MINUTE
    if minutes not in LENGTHS_MINUTES:
        rule = "bars must be 1, 5 or 30 minutes or a day long"
        raise DataError(file, rule, f"{minutes:g} minutes", "Resample the file first")
    return int(minutes)


def _refuse_overlaps(start_ns: NDArray[np.int64], bar_minutes: int, rows: NDArray[np.int64], file: str) -> None:
    steps = np.diff(start_ns)
    shortest = bar_minutes if bar_minutes < DAY_MINUTES else bar_minutes - 60  # a day may lack the hour of the spring
    overlap = (steps > 0) & (steps < shortest * NS_PER_MINUTE)
    if overlap.any():
        index = int(np.argmax(overlap)) + 1
        found = f"{steps[index - 1] / NS_PER_MINUTE:g} minutes after the bar before"
        rule = f"bars of {bar_minutes} minutes must not overlap"
        raise DataError(f"{file} row {rows[index]}", rule, found, "Remove the row or resample the file")


def _join(parts: list[_Part]) -> pd.DataFrame:
    lengths = [len(part.rows) for part in parts]
    codes = np.repeat(np.arange(len(parts)), lengths)
    symbols, files = (pd.Index([part.instrument.symbol for part in parts]), pd.Index([part.file for part in parts]))
    columns: dict[str, object] = {
        "symbol": pd.Categorical.from_codes(codes, symbols),
        "ts": pd.DatetimeIndex(np.concatenate([p.start_ns for p in parts]).astype("datetime64[ns]"), tz="UTC"),
    }
    columns |= {name: np.concatenate([part.values[name] for part in parts]) for name in VALUE_COLUMNS}
    columns["session"] = np.concatenate([part.session for part in parts])
    columns["file"] = pd.Categorical.from_codes(codes, files)
    columns["row"] = np.concatenate([part.rows for part in parts])
    return pd.DataFrame(columns)
