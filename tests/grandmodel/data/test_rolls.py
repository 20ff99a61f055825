"""Rolls are adjusted by ratio, and found only where calendar and gap agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from grandmodel.core.errors import DataError
from grandmodel.data.rolls import detect_quarterly_rolls, is_quarterly_roll_day, price_factors, read_rolls


def _day(text: str) -> int:
    return int(np.datetime64(text, "D").astype(int))


def test_each_step_multiplies_all_that_lies_before():
    assert price_factors(5, [(2, 1.1), (4, 2.0)]).tolist() == pytest.approx([2.2, 2.2, 2.0, 2.0, 1.0])


def test_the_roll_day_is_the_tuesday_after_the_second_friday_of_a_quarter():
    days = range(_day("2024-01-01"), _day("2025-01-01"))
    found = [str(np.datetime64(day, "D")) for day in days if is_quarterly_roll_day(day)]
    assert found == ["2024-03-12", "2024-06-18", "2024-09-17", "2024-12-17"]


def _market(gaps: dict[str, float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sessions = np.array([d for d in range(_day("2024-01-01"), _day("2024-12-31")) if (d + 3) % 7 < 5], np.int32)
    session = np.repeat(sessions, 2)
    move = np.where(np.arange(len(session)) % 2, 0.0, 2e-4 * np.sin(np.arange(len(session)) + 1))
    for text, gap in gaps.items():
        move[np.flatnonzero(session == _day(text))[0]] = gap
    open_ = 100 * np.exp(np.cumsum(move))
    return session, open_, open_.copy()


def test_a_gap_on_the_calendar_day_is_a_roll_and_elsewhere_is_a_move():
    rolls, unclear = detect_quarterly_rolls("NQ", *_market({"2024-09-17": 0.012, "2024-08-05": -0.02}))
    assert [(roll.session, round(roll.ratio, 3)) for roll in rolls] == [(_day("2024-09-17"), 1.012)]
    assert unclear == [_day("2024-03-12"), _day("2024-06-18"), _day("2024-12-17")]


def test_a_gap_too_large_for_a_carry_is_no_roll():
    assert detect_quarterly_rolls("NQ", *_market({"2024-09-17": 0.06}))[0] == ()


def test_a_first_listing_is_no_roll(tmp_path: Path):
    path = tmp_path / "rolls.csv"
    path.write_text("symbol,date,old_close,new_close\nA,20200102,0.0,5.0\nA,20200202,4.0,5.0\nB,20200302,4.0,5.0\n")
    assert [(roll.symbol, roll.session, roll.ratio) for roll in read_rolls(path, ["A"])] == [
        ("A", _day("2020-02-02"), 1.25)
    ]


def test_a_roll_without_a_price_is_refused(tmp_path: Path):
    path = tmp_path / "rolls.csv"
    path.write_text("symbol,date,old_close,new_close\nA,20200202,4.0,5.0\nA,20200302,4.0,-1\n")
    with pytest.raises(DataError, match=r"rolls\.csv row 3"):
        read_rolls(path, ["A"])
