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
from grandmodel.data.adjust import to_bars
from grandmodel.data.dataset import PRICE_COLUMNS, VALUE_COLUMNS, Dataset, Finding, RawDataset
from grandmodel.data.formats import parse_numbers, read_table, rename_columns
from grandmodel.data.instruments import default_instrument, snap_to_ticks
from grandmodel.data.layouts import Layout, find_layout
from grandmodel.data.sessions import days_of_dates, session_days
from grandmodel.data.stamps import DateOrder, parse_stamps, refuse_backward_steps
from grandmodel.data.timezones import StampKind, infer_stamp_kind, infer_zone, localise

CLOCKS_MINUTES = (5, 30)
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


def read_dataset(
    path: Path,
    *,
    symbols: Sequence[str] = (),
    timezone: str = "auto",
    date_order: DateOrder = "auto",
    stamp: StampKind = "auto",
    instruments_max: int = 6,
    instrument: str | None = None,
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
) -> RawDataset:
    """Read the rows at ``path`` onto UTC bar starts, in file order, with file and row beside each.

    Understood are the project's own folder (``instruments.yaml``), a folder of Chinese futures (``instruments.csv`` and
    ``rolls.csv``), and any CSV or Parquet file, or folder of one file per instrument, of 5- or 30-minute bars.

    Args:
        path: file or folder.
        symbols: instruments to read; all when empty.
        timezone: IANA zone of naive stamps in a generic file; ``auto`` finds it by evidence.
        date_order: order of day and month in slashed dates; ``auto`` finds it by evidence.
        stamp: whether stamps of a generic file mark the start or the close of a bar.
        instruments_max: more instruments than this are cut to the folder's core set, unless named.
        instrument: symbol of a single generic file, where its name does not say it.

    Raises:
        DataError: a file cannot be read as bars; names the file, the row, the rule and what to do. Duplicates and
            impossible prices are not judged here: they survive for validation to list.
    """
    layout = find_layout(path, symbols, instruments_max, instrument)
    options = (timezone, date_order, stamp)
    parts = [_read_file(layout, symbol, file, options) for symbol, file in layout.files.items()]
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
        rolls=layout.rolls,
        detect_rolls=not layout.simulated and not layout.rolls and layout.kind != "chinese",
        report=(*layout.findings, *_licence(layout), *(finding for part in parts for finding in part.findings)),
    )


def _licence(layout: Layout) -> tuple[Finding, ...]:
    if layout.licence.strip():
        return ()
    text = (
        "no licence is stated, and gate G0 refuses data without one; state it as `licence:` in a dataset.yaml beside it"
    )
    return (Finding("info", layout.name, text),)


def _read_file(layout: Layout, symbol: str, path: Path, options: tuple[str, DateOrder, StampKind]) -> _Part:
    table, findings = rename_columns(whole := read_table(path), path.name)
    if layout.kind == "chinese":
        return _read_chinese(whole, table, layout.instruments[symbol], path.name, findings)
    values = parse_numbers(table, path.name)
    rows = table["row"].to_numpy(np.int64)
    timezone, date_order, stamp = options
    stamps = parse_stamps(table["ts"], rows, path.name, date_order)
    refuse_backward_steps(stamps.ns, rows, path.name)
    bar_minutes = _bar_minutes(stamps.ns, path.name)
    if layout.kind == "project" and stamps.is_utc:
        start_ns = stamps.ns  # the project's own files hold UTC bar starts
    else:
        start_ns, why = _place_on_utc(stamps.ns, stamps.is_utc, bar_minutes, rows, path.name, timezone, stamp)
        findings += [Finding("info", path.name, stamps.evidence), Finding("info", path.name, why)]
    if symbol in layout.instruments:
        instrument = layout.instruments[symbol]
    else:
        prices = np.concatenate([values[name] for name in PRICE_COLUMNS])
        instrument, terms = default_instrument(symbol, prices)
        findings += [terms]
    refuse_backward_steps(start_ns, rows, path.name)
    _refuse_overlaps(start_ns, bar_minutes, rows, path.name)
    session = session_days(start_ns, instrument.timezone)
    return _Part(path.name, instrument, bar_minutes, start_ns, values, session, rows, findings)


def _read_chinese(
    whole: pd.DataFrame, table: pd.DataFrame, instrument: Instrument, file: str, findings: list[Finding]
) -> _Part:
    """Stamps are bar closes in China Standard Time; the trading day stands in a column of its own."""
    if "trading_day" not in whole.columns:
        do = "Chinese futures need it: the night session belongs to the next day"
        raise DataError(f"{file} row 1", "the file must have a column 'trading_day'", list(whole.columns), do)
    rows = table["row"].to_numpy(np.int64)
    values = parse_numbers(table, file)
    for name in PRICE_COLUMNS:
        if table[name].dtype == np.float32:
            values[name] = snap_to_ticks(table[name].to_numpy(), instrument.tick_size)
    stamps = parse_stamps(table["ts"], rows, file)
    refuse_backward_steps(stamps.ns, rows, file)
    bar_minutes = _bar_minutes(stamps.ns, file)
    close_ns = stamps.ns if stamps.is_utc else localise(stamps.ns, "Asia/Shanghai", rows, file)
    start_ns = close_ns - bar_minutes * NS_PER_MINUTE
    _refuse_overlaps(start_ns, bar_minutes, rows, file)
    session = _trading_days(whole["trading_day"], rows, file)
    if instrument.symbol.split(".")[0] in _DOUBLE_COUNTING and session[0] < _UNIT_BREAK_DAY:
        values["volume"] = np.where(session < _UNIT_BREAK_DAY, values["volume"] / 2, values["volume"])
        findings += [Finding("info", file, "volume before 2020-01-01 is halved: the exchange counted both sides then")]
    return _Part(file, instrument, bar_minutes, start_ns, values, session, rows, findings)


def _trading_days(cells: pd.Series, rows: NDArray[np.int64], file: str) -> NDArray[np.int32]:
    dates = pd.to_numeric(cells, errors="coerce").to_numpy(np.float64)
    wrong = ~((dates > 19000000) & (dates < 22000000))
    if wrong.any():
        index = int(np.argmax(wrong))
        rule = "trading_day must be a date such as 20200131"
        raise DataError(f"{file} row {rows[index]}", rule, str(cells.iloc[index]), "Correct or remove the row")
    return days_of_dates(dates.astype(np.int64))


def _place_on_utc(
    ns: NDArray[np.int64],
    is_utc: bool,
    bar_minutes: int,
    rows: NDArray[np.int64],
    file: str,
    timezone: str,
    stamp: StampKind,
) -> tuple[NDArray[np.int64], str]:
    """Return UTC bar starts and the sentence that says how they were found."""
    if not is_utc and timezone == "auto":
        evidence = infer_zone(ns, bar_minutes, file, stamp)
        zone, kind, text = evidence.zone, evidence.stamp, evidence.text
    else:
        zone = "UTC" if is_utc else timezone
        evidence = infer_stamp_kind(ns, bar_minutes, zone)
        kind, text = (evidence.stamp, evidence.text) if stamp == "auto" else (stamp, f"stamps are {stamp}s in {zone}")
    utc = ns if is_utc else localise(ns, zone, rows, file)
    return utc - (bar_minutes * NS_PER_MINUTE if kind == "close" else 0), text


def _bar_minutes(ns: NDArray[np.int64], file: str) -> int:
    steps = np.diff(ns)
    lengths, counts = np.unique(steps[steps > 0], return_counts=True)
    if len(lengths) == 0:
        raise DataError(file, "the file must hold at least two bars at different times", len(ns), "Export more bars")
    minutes = float(lengths[np.argmax(counts)]) / NS_PER_MINUTE
    if minutes not in CLOCKS_MINUTES:
        raise DataError(file, "bars must be 5 or 30 minutes long", f"{minutes:g} minutes", "Resample the file first")
    return int(minutes)


def _refuse_overlaps(start_ns: NDArray[np.int64], bar_minutes: int, rows: NDArray[np.int64], file: str) -> None:
    steps = np.diff(start_ns)
    overlap = (steps > 0) & (steps < bar_minutes * NS_PER_MINUTE)
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
