"""Tables of daily series: holes stay holes, everything else is refused by name."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from grandmodel.core.errors import DataError
from grandmodel.data.reading.series import read_series


def _write(folder: Path, text: str) -> Path:
    path = folder / "macro.csv"
    path.write_text(text)
    return path


def test_columns_stand_beside_their_days_and_holes_are_nan(tmp_path: Path):
    series = read_series(_write(tmp_path, "date,SPX,VIX\n2020-01-02,3257.85,\n2020-01-03,3234.85,14.02\n"))
    assert series.day.astype("datetime64[D]").astype(str).tolist() == ["2020-01-02", "2020-01-03"]
    np.testing.assert_array_equal(series.columns["SPX"], [3257.85, 3234.85])
    np.testing.assert_array_equal(series.columns["VIX"], [np.nan, 14.02])


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("when,SPX\n2020-01-02,1\n", r"row 1: the table must have a column of dates"),
        ("date\n2020-01-02\n2020-01-03\n", r"row 1: the table must have a series beside its dates"),
        ("date,SPX\n2020-01-02,1\n2020-01-02,2\n", r"row 3: dates must strictly increase"),
        ("date,SPX\n2020-01-03,1\n2020-01-02,2\n", r"row 3"),
        ("date,SPX\n2020-01-02,1\n2020-01-03,high\n", r"row 3 column SPX: .*number"),
        ("date,SPX\n2020-01-02 00:00,1\n2020-01-03 12:30,2\n", r"row 3: a date must be a whole day"),
    ],
)
def test_what_is_no_daily_series_is_refused(tmp_path: Path, text: str, sentence: str):
    with pytest.raises(DataError, match=sentence):
        read_series(_write(tmp_path, text))
