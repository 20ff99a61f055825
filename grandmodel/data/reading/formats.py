"""Bytes of one file to a frame of text or numbers, with the row in the file kept; nothing is judged here."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from grandmodel.core.errors import DataError
from grandmodel.data.dataset import VALUE_COLUMNS, Finding
from grandmodel.data.reading.encodings import decode, is_comment
from grandmodel.data.reading.headers import SYNONYMS, ends_in_price, normalise

MISSING_NUMBERS = frozenset({"", "nan", "null", "none", "na", "n/a", "#n/a"})
_SEPARATORS = ",;\t|"
_POINT = re.compile(r"[+-]?(\d+|\d{1,3}(,\d{3})+)(\.\d*)?")
_COMMA = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+)(,\d*)?")
_NUMBER_KINDS = "iuf"
_CORRECT = "Correct or remove the row"
_TITLE_LINES_MAX = 3


def read_table(path: Path) -> pd.DataFrame:
    """Return the raw columns of a CSV (text) or Parquet (typed) file plus ``row``, the row in the file.

    Text may be separated by comma, semicolon, tab or bar, with quoted cells, comment lines and empty columns at the
    end; a decimal comma or separators of thousands are read where no other reading is possible, and cells then hold
    plain numbers. What was noticed stands in ``attrs["findings"]``, a list of ``Finding``.

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


def parse_numbers(table: pd.DataFrame, file: str) -> dict[str, NDArray[np.float64]]:
    """Return the value columns that ``table`` has as float64; an empty or ``NaN`` cell is NaN, for validation to judge.

    Raises:
        DataError: a cell is neither a finite number nor empty; names the row.
    """
    present = [name for name in VALUE_COLUMNS if name in table]
    return {name: parse_column(table[name], table["row"].to_numpy(), name, file) for name in present}


def parse_column(cells: pd.Series, rows: NDArray[np.int64], name: str, file: str) -> NDArray[np.float64]:
    """Return one column as float64, as ``parse_numbers`` does; ``name`` is for the message."""
    if cells.dtype.kind not in _NUMBER_KINDS and not pd.api.types.is_string_dtype(cells.dtype):
        found = str(cells.dtype)
        raise DataError(f"{file} column {name}", "the column must hold numbers", found, "Export it as numbers")
    values = pd.to_numeric(cells, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    for index in np.flatnonzero(~np.isfinite(values)):
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
        table: pd.DataFrame = pq.read_table(path, page_checksum_verification=True).to_pandas()
    except (pa.ArrowException, OSError, ValueError, TypeError, ArithmeticError, MemoryError) as error:
        found = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(path.name, "the file must be readable as Parquet", found, "Export it again") from error
    if isinstance(table.index, pd.DatetimeIndex) and table.index.name is None:
        table.index.name = "ts"
    named = [name for name in table.index.names if name is not None]
    if named and not set(named) & set(table.columns):
        table = table.reset_index()
    table["row"] = np.arange(1, len(table) + 1)
    return table


def _read_csv(path: Path) -> pd.DataFrame:
    lines, findings = decode(path.read_bytes(), path.name)
    whole = lines[-1] == ""
    kept = [(row, line) for row, line in enumerate(lines, start=1) if line.strip() and not is_comment(line)]
    if not lines[0].strip():
        raise DataError(f"{path.name} row 1", "the first line must be the header", "a blank line", "Remove it")
    comments = [row for row, line in enumerate(lines, start=1) if is_comment(line) and kept and row > kept[0][0]]
    if comments:
        count = "1 comment below the header" if len(comments) == 1 else f"{len(comments)} comments below the header"
        text = f"{count} (first in row {comments[0]}) {'is' if len(comments) == 1 else 'are'} skipped"
        findings.append(Finding("info", path.name, text))
    if not kept:
        raise DataError(path.name, "the file must hold a header and rows", "only comments", "Export it again")
    kept, found = _without_title(kept, path.name)
    findings += found
    rows = np.array([row for row, _ in kept[1:]], np.int64)
    texts = [line for _, line in kept]
    separator = max(_SEPARATORS, key=texts[0].count)
    cells = _split(texts, [row for row, _ in kept], separator, path.name)
    table = _drop_empty_columns(cells)
    if not whole and len(table):
        table, rows, found = _without_open_end(table, rows, path.name)
        findings = findings + found
    if separator != "," or any('"' in text for text in texts):
        table, found = _plain_numbers(table, rows, path.name)
        findings = findings + found
    table["row"] = rows
    table = table[~_blank(table)]
    table.attrs["findings"] = findings
    return table


def _without_title(kept: list[tuple[int, str]], file: str) -> tuple[list[tuple[int, str]], list[Finding]]:
    """Leave out lines above the header: such as name no column, before one that names four and more."""
    header = next(
        (place for place, (_, text) in enumerate(kept[: _TITLE_LINES_MAX + 1]) if _names_columns(text) > 3), 0
    )
    if not header or any(_names_columns(text) for _, text in kept[:header]):
        return kept, []
    lines = "1 line above the header is" if header == 1 else f"{header} lines above the header are"
    return kept[header:], [Finding("info", file, f"{lines} skipped: {kept[0][1][:60]!r}")]


def _names_columns(text: str) -> int:
    """Return how many cells of a line are known headers."""
    known = {synonym for synonyms in SYNONYMS.values() for synonym in synonyms}
    separator = max(_SEPARATORS, key=text.count)
    return sum(normalise(cell) in known for cell in text.split(separator))


def _split(texts: list[str], rows: list[int], separator: str, file: str) -> pd.DataFrame:
    """Return the cells of each line as text, the header's line as first row; refuse lines of another width."""
    expected = texts[0].count(separator)
    if len(texts) > 1 and all(text.count(separator) == expected + 1 and text.endswith(separator) for text in texts[1:]):
        texts = [texts[0] + separator, *texts[1:]]
    if any('"' in text for text in texts):
        return _split_quoted(texts, rows, separator, file)
    _refuse_ragged_rows([text.count(separator) for text in texts], texts, rows, file)
    source = io.StringIO("\n".join(texts))
    try:
        return pd.read_csv(
            source,
            sep=separator,
            header=None,
            dtype=str,
            keep_default_na=False,
            quoting=csv.QUOTE_NONE,
            na_filter=False,
        )
    except (pd.errors.ParserError, ValueError) as error:
        raise DataError(file, "every row must have the fields of the header", str(error), _CORRECT) from error


def _split_quoted(texts: list[str], rows: list[int], separator: str, file: str) -> pd.DataFrame:
    for row, text in zip(rows, texts, strict=True):
        if text.count('"') % 2:
            raise DataError(f"{file} row {row}", "a quote must be closed on its line", text, _CORRECT)
    try:
        cells = list(csv.reader(texts, delimiter=separator, strict=True))
    except csv.Error as error:
        raise DataError(file, "quotes must enclose whole cells", str(error), _CORRECT) from error
    _refuse_ragged_rows([len(line) - 1 for line in cells], texts, rows, file)
    return pd.DataFrame(cells, dtype=str)


def _refuse_ragged_rows(counts: list[int], texts: list[str], rows: list[int], file: str) -> None:
    """Raise DataError for the first line that has not as many separators as the header."""
    index = next((index for index, count in enumerate(counts) if count != counts[0]), None)
    if index is None:
        return
    if index == len(counts) - 1 and counts[index] < counts[0]:
        rule = "the last row must be whole, the file looks cut off"
        raise DataError(f"{file} row {rows[index]}", rule, texts[index], "Export it again")
    rule = f"every row must have the {counts[0] + 1} fields of the header"
    raise DataError(f"{file} row {rows[index]}", rule, texts[index], _CORRECT)


def _blank(table: pd.DataFrame) -> NDArray[np.bool_]:
    blank = np.ones(len(table), np.bool_)
    for place in range(table.shape[1] - 1):
        if not blank.any():
            break
        blank &= (table.iloc[:, place].str.strip() == "").to_numpy()
    return blank


def _drop_empty_columns(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the rows below their header, without columns at the end that have neither name nor content."""
    width = cells.shape[1]
    while width > 1 and not cells.iloc[:, width - 1].str.strip().any():
        width -= 1
    return cells.iloc[1:, :width].set_axis(cells.iloc[0, :width].tolist(), axis=1).reset_index(drop=True)


def _without_open_end(
    table: pd.DataFrame, rows: NDArray[np.int64], file: str
) -> tuple[pd.DataFrame, NDArray[np.int64], list[Finding]]:
    """Leave out a last line without line end where it ends in a price: digits may be missing and nothing would show."""
    if ends_in_price(table.columns):
        text = f"the last line (row {rows[-1]}) has no line end, so its last price may be cut: it is left out"
        return table.iloc[:-1].copy(), rows[:-1], [Finding("warning", file, text)]
    text = f"the last line (row {rows[-1]}) has no line end: its last cell, {table.columns[-1]!r}, may be cut"
    return table, rows, [Finding("info", file, text)]


def _plain_numbers(table: pd.DataFrame, rows: NDArray[np.int64], file: str) -> tuple[pd.DataFrame, list[Finding]]:
    """Return cells with a decimal point and nothing between thousands, when one way of writing explains all of them.

    Raises:
        DataError: commas could be decimal commas or stand between thousands, or a cell fits neither.
    """
    text = {place: table.iloc[:, place].str.strip() for place in range(table.shape[1])}
    places = [place for place, cells in text.items() if _holds_numbers(cells, table.columns[place])]
    commas = [place for place in places if text[place].str.contains(",", regex=False).any()]
    if not commas:
        return table, []
    fits_point, fits_comma = (_fits(text, places, pattern) for pattern in (_POINT, _COMMA))
    as_point, as_comma = all(map(np.all, fits_point.values())), all(map(np.all, fits_comma.values()))
    if as_point == as_comma:
        wrong = {place: text[place].str.contains(",", regex=False).to_numpy() for place in commas}
        if not as_point:
            neither = {place: ~fits_point[place] & ~fits_comma[place] for place in places}
            wrong = {place: cells for place, cells in neither.items() if cells.any()} or wrong
        place = next(iter(wrong))
        index = int(np.argmax(wrong[place]))
        rule = "it must be evident whether a comma stands before decimals or between thousands"
        subject = f"{file} row {rows[index]} column {table.columns[place]}"
        do = "Write numbers with a decimal point and nothing between thousands"
        raise DataError(subject, rule, text[place].iloc[index], do)
    table = table.copy()
    for place in places:
        plain = text[place].str.replace("," if as_point else ".", "", regex=False)
        table.isetitem(place, plain.str.replace(",", ".", regex=False).array)
    meaning = "stand between thousands" if as_point else "are decimal commas"
    names = ", ".join(str(table.columns[place]) for place in commas)
    return table, [Finding("info", file, f"commas in {names} {meaning}: no other reading fits every cell")]


def _fits(text: dict[int, pd.Series], places: list[int], pattern: re.Pattern[str]) -> dict[int, NDArray[np.bool_]]:
    """Return per column and cell whether it is a number by ``pattern``, or no number at all."""
    return {
        place: (text[place].str.fullmatch(pattern.pattern) | text[place].str.lower().isin(MISSING_NUMBERS)).to_numpy(
            np.bool_
        )
        for place in places
    }


def _holds_numbers(cells: pd.Series, header: object) -> bool:
    """Return whether most cells of a column that is no stamp look like numbers, whichever way they are written."""
    filled = cells[cells != ""]
    if normalise(header) in SYNONYMS["ts"] or not len(filled):
        return False
    return bool(filled.str.fullmatch(r"[+-]?[\d.,]+").mean() > 0.5)
