"""Bytes of one file to a frame of text or numbers, with the row in the file kept; nothing is judged here."""

from __future__ import annotations

import difflib
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from grandmodel.core.errors import DataError
from grandmodel.data.dataset import VALUE_COLUMNS, Finding

SYNONYMS: dict[str, tuple[str, ...]] = {
    "ts": ("ts", "timestamp", "datetime", "date_time", "date time", "date", "time", "bar_start", "start"),
    "open": ("open", "o", "first"),
    "high": ("high", "h", "max"),
    "low": ("low", "l", "min"),
    "close": ("close", "c", "last"),
    "volume": ("volume", "vol", "v", "qty"),
}
MISSING_NUMBERS = frozenset({"", "nan", "null", "none", "na", "n/a"})
_MISSPELT_SIMILARITY_MIN = 0.75


def read_table(path: Path) -> pd.DataFrame:
    """Return the raw columns of a CSV (text) or Parquet (typed) file plus ``row``, the row in the file.

    Raises:
        DataError: the file is missing, empty, binary, cut off or not of the form its name says.
    """
    if not path.is_file():
        raise DataError(str(path), "the file must exist", do="Check the path given as data")
    if path.stat().st_size == 0:
        raise DataError(path.name, "the file must not be empty", "0 bytes", "Export it again")
    table = _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    if len(table) == 0:
        raise DataError(path.name, "the file must hold at least one bar below its header", "0 rows", "Export it again")
    return table


def rename_columns(table: pd.DataFrame, file: str) -> tuple[pd.DataFrame, list[Finding]]:
    """Return ts, open, high, low, close, volume and row under those names, and a warning per misspelt header.

    Raises:
        DataError: a column is missing or cannot be told from another.
    """
    headers = {str(column).strip().lower(): str(column) for column in table.columns if column != "row"}
    table, headers = _join_date_and_time(table, headers)
    chosen, findings = {}, []
    for name, synonyms in SYNONYMS.items():
        match = next((s for s in synonyms if s in headers), None)
        if match is None:
            match = _misspelt(name, headers)
            text = f"column {headers[match]!r} is read as {name!r}" if match else ""
            findings += [Finding("warning", file, f"{text}; correct the header if that is wrong")] if match else []
        if match is None:
            do = f"Name it {name!r}; one of {', '.join(synonyms)} is understood too"
            found = [column for column in map(str, table.columns) if column != "row"]
            raise DataError(f"{file} row 1", f"the header must have a column {name!r}", found, do)
        chosen[name] = headers.pop(match)
    renamed = table[[*chosen.values(), "row"]].set_axis([*chosen, "row"], axis=1)
    return renamed, findings


def parse_numbers(table: pd.DataFrame, file: str) -> dict[str, NDArray[np.float64]]:
    """Return the five value columns as float64; an empty or ``NaN`` cell is NaN and left for validation to judge.

    Raises:
        DataError: a cell is neither a finite number nor empty; names the row.
    """
    return {name: _parse_column(table[name], table["row"].to_numpy(), name, file) for name in VALUE_COLUMNS}


def _parse_column(cells: pd.Series, rows: NDArray[np.int64], name: str, file: str) -> NDArray[np.float64]:
    values = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    suspect = np.flatnonzero(~np.isfinite(values))
    for index in suspect:
        text = str(cells.iloc[index]).strip()
        if text.lower() not in MISSING_NUMBERS and text != "<NA>":
            raise DataError(
                f"{file} row {rows[index]} column {name}",
                "the cell must be a finite number with a decimal point",
                text,
                "Correct or remove the row",
            )
    return values


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        table: pd.DataFrame = pq.read_table(path).to_pandas()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(
            path.name, "the file must be readable as Parquet", str(error).splitlines()[0], "Export it again"
        ) from error
    if table.index.name:
        table = table.reset_index()
    table["row"] = np.arange(1, len(table) + 1)
    return table


def _read_csv(path: Path) -> pd.DataFrame:
    text = _decode(path)
    separator = max(",;\t", key=text.split("\n", 1)[0].count)
    if '"' not in text:
        _refuse_ragged_rows(text, separator, path.name)
    try:
        table = pd.read_csv(
            io.StringIO(text), sep=separator, dtype=str, keep_default_na=False, skip_blank_lines=False, index_col=False
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, ValueError) as error:
        rule = "every row must have the fields of the header"
        raise DataError(path.name, rule, str(error), "Correct or remove the row") from error
    table["row"] = np.arange(2, len(table) + 2)
    blank = (table.drop(columns="row") == "").all(axis=1)
    return table[~blank]


def _decode(path: Path) -> str:
    content = path.read_bytes()
    if b"\x00" in content:
        raise DataError(
            path.name, "the file must be text with a header and comma-separated rows", "binary content", "Export as CSV"
        )
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = content[: error.start].count(b"\n") + 1
        found = content[error.start : error.start + 4]
        raise DataError(
            f"{path.name} row {row}", "the file must be UTF-8 text", found, "Export as CSV in UTF-8"
        ) from error
    if not text.strip():
        raise DataError(path.name, "the file must not be empty", "only blank lines", "Export it again")
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text.startswith("\n"):
        raise DataError(f"{path.name} row 1", "the first line must be the header", "a blank line", "Remove it")
    return text


def _refuse_ragged_rows(text: str, separator: str, file: str) -> None:
    lines = text.rstrip("\n").split("\n")
    expected = lines[0].count(separator)
    for row, line in enumerate(lines, start=1):
        found = line.count(separator)
        if found == expected or not line:
            continue
        if row == len(lines) and found < expected:
            rule = "the last row must be whole, the file looks cut off"
            raise DataError(f"{file} row {row}", rule, line, "Export it again")
        rule = f"every row must have the {expected + 1} fields of the header"
        raise DataError(f"{file} row {row}", rule, line, "Correct or remove the row")


def _join_date_and_time(table: pd.DataFrame, headers: dict[str, str]) -> tuple[pd.DataFrame, dict[str, str]]:
    if "date" not in headers or "time" not in headers:
        return table, headers
    joined = table[headers["date"]].astype(str) + " " + table[headers["time"]].astype(str)
    rest = {key: column for key, column in headers.items() if key not in ("date", "time")}
    return table.assign(ts=joined), {"ts": "ts", **rest}


def _misspelt(name: str, headers: Iterable[str]) -> str | None:
    """Return the header that most looks like ``name``, when no known synonym claims it."""
    known = {synonym for synonyms in SYNONYMS.values() for synonym in synonyms}
    free = [header for header in headers if header not in known]
    spellings = [spelling for spelling in SYNONYMS[name] if len(spelling) >= 3]
    close = [
        (difflib.SequenceMatcher(None, header, spelling).ratio(), header) for header in free for spelling in spellings
    ]
    best = max(close, default=(0.0, ""))
    return best[1] if best[0] >= _MISSPELT_SIMILARITY_MIN else None
