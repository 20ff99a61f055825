"""What the walk-forward over real futures leaves out, it leaves out for a reason that it has just seen."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from benchmarks.futures_portfolio import read_bars
from benchmarks.futures_walk_forward import FOLDS, LEFT_OUT, blocking_sentence
from grandmodel.core.errors import DataError
from grandmodel.stats.folds import walk_forward

pytestmark = pytest.mark.shared


@pytest.mark.parametrize("symbol", LEFT_OUT)
def test_whoever_is_left_out_is_blocked_by_the_suite(shared_data: Path, symbol: str) -> None:
    assert symbol in blocking_sentence(shared_data / "cn_futures_5m", symbol)


def test_nobody_is_left_out_whom_the_suite_lets_pass(shared_data: Path) -> None:
    with pytest.raises(DataError, match=r"SHFE\.rb: what is left out must be blocked"):
        blocking_sentence(shared_data / "cn_futures_5m", "SHFE.rb")


def test_the_tests_are_the_years_2017_to_2020(shared_data: Path) -> None:
    session = read_bars(shared_data / "cn_futures_5m", ["CFFEX.IF"])["CFFEX.IF"].session
    for year, fold in zip((2017, 2018, 2019, 2020), walk_forward(session, FOLDS), strict=True):
        first, stop = (int(day) for day in fold.test_sessions)
        off = abs(first - day_number(year)) + abs(stop - day_number(year + 1))
        assert off < 20, (year, first, stop)


def day_number(year: int) -> int:
    """Return the first of January as a session number."""
    return (date(year, 1, 1) - date(1970, 1, 1)).days
