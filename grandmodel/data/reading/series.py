"""Tables of daily series: one date column, any number of named columns, holes where a series has no value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from grandmodel.core.errors import DataError
from grandmodel.data.reading.formats import parse_column, read_table
from grandmodel.data.reading.stamps import parse_stamps

_DATE_NAMES = ("date", "day", "ts", "observation_date")
_NS_PER_DAY = 86_400_000_000_000


@dataclass(frozen=True, slots=True)
class DailySeries:
    """Daily values side by side; NaN is the one sign of a missing value, whatever the reason."""

    day: NDArray[np.int32]  # days since 1970-01-01, strictly increasing
    columns: dict[str, NDArray[np.float64]]  # each as long as ``day``


def read_series(path: Path) -> DailySeries:
    """Read a CSV or Parquet file of daily series.

    Nothing is filled: a day on which a series was not published is NaN. A column whose every value is missing stays.

    Args:
        path: file with a column date (or day, ts, observation_date) and numeric columns.

    Raises:
        DataError: the file cannot be read, has no date column or nothing beside it, a cell is no number, a date is not
            a whole day, or dates repeat or run backwards; names file, row and column.
    """
    table = read_table(path)
    rows = table["row"].to_numpy(np.int64)
    date = next((column for column in table.columns if str(column).strip().lower() in _DATE_NAMES), None)
    if date is None:
        found = [str(column) for column in table.columns if column != "row"]
        do = f"Name it date; one of {', '.join(_DATE_NAMES)} is understood"
        raise DataError(f"{path.name} row 1", "the table must have a column of dates", found, do)
    names = [column for column in table.columns if column not in (date, "row")]
    if not names:
        raise DataError(f"{path.name} row 1", "the table must have a series beside its dates", do="Add a column")
    stamps = parse_stamps(table[date], rows, path.name)
    day, rest = np.divmod(stamps.ns, _NS_PER_DAY)
    _refuse(rest != 0, table[date], rows, path.name, "a date must be a whole day")
    _refuse(np.diff(day, prepend=day[:1] - 1) <= 0, table[date], rows, path.name, "dates must strictly increase")
    columns = {str(name): parse_column(table[name], rows, str(name), path.name) for name in names}
    return DailySeries(day.astype(np.int32), columns)


def _refuse(wrong: NDArray[np.bool_], cells: pd.Series, rows: NDArray[np.int64], file: str, rule: str) -> None:
    if wrong.any():
        index = int(np.argmax(wrong))
        raise DataError(f"{file} row {rows[index]}", rule, str(cells.iloc[index]), "Correct or remove the row")
