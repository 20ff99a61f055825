"""Rolls are adjusted by ratio, and found only where calendar and gap agree."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from grandmodel.core.errors import DataError
from grandmodel.core.instrument import Instrument
from grandmodel.data.cleaning.rolls import (
    detect_interest_rolls,
    detect_quarterly_rolls,
    detect_window_rolls,
    find_rolls,
    is_quarterly_roll_day,
    price_factors,
    read_rolls,
)
from grandmodel.data.dataset import Roll


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


def _window_market(
    symbol: str, gaps: dict[str, float], busy: tuple[str, ...] = ()
) -> tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    session, open_, close = _market(gaps)
    volume = np.full(len(session), 1000.0)
    for text in busy:
        volume[session == _day(text)] = 2000.0
    return symbol, session, open_, close, volume


def test_in_a_window_the_gap_that_stands_out_with_volume_is_a_roll():
    market = _window_market("6E", {"2024-03-11": 0.004, "2024-08-05": 0.02}, ("2024-03-11",))
    rolls, unclear = detect_window_rolls(*market)
    assert [(roll.session, round(roll.ratio, 3)) for roll in rolls] == [(_day("2024-03-11"), 1.004)]
    assert [str(np.datetime64(day, "D")) for day in unclear] == ["2024-06-19", "2024-09-19", "2024-12-19"]


@pytest.mark.parametrize(
    ("gaps", "busy"),
    [
        ({"2024-03-11": 0.004}, ()),  # a move over the weekend brings no new contract's volume
        ({"2024-03-11": 0.004, "2024-03-13": 0.003}, ("2024-03-11",)),  # two gaps: neither stands out
        ({"2024-03-11": 0.04}, ("2024-03-11",)),  # beyond any carry
        ({"2024-03-25": 0.004}, ("2024-03-25",)),  # outside the window
    ],
)
def test_in_a_window_evidence_that_disagrees_is_no_roll(gaps: dict[str, float], busy: tuple[str, ...]):
    assert detect_window_rolls(*_window_market("6E", gaps, busy))[0] == ()


def _with_interest(jumps: dict[str, float]) -> tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    session, open_, close = _market(dict.fromkeys(jumps, 0.01))
    steps = 0.001 * np.sin(np.arange(len(session)))
    for text, jump in jumps.items():
        steps[np.flatnonzero(session == _day(text))[0]] = jump
    return "X", session, open_, close, 1e5 * np.exp(np.cumsum(steps))


def test_open_interest_that_jumps_overnight_is_a_roll():
    rolls = detect_interest_rolls(*_with_interest({"2024-05-06": 0.3, "2024-09-09": -0.2}))
    assert [roll.session for roll in rolls] == [_day("2024-05-06"), _day("2024-09-09")]
    assert rolls[0].ratio == pytest.approx(np.exp(0.01))


def test_open_interest_that_halves_is_another_unit_and_no_roll():
    assert detect_interest_rolls(*_with_interest({"2024-05-06": -np.log(2)})) == ()


def test_unknown_open_interest_is_no_evidence():
    symbol, session, open_, close, interest = _with_interest({"2024-05-06": 0.3})
    assert detect_interest_rolls(symbol, session, open_, close, np.zeros(len(interest))) == ()
    assert detect_interest_rolls(symbol, session, open_, close, np.full(len(interest), np.nan)) == ()


def _instrument(symbol: str, calendar: str) -> Instrument:
    return Instrument(symbol=symbol, multiplier=1, tick_size=0.01, session_bars_5m=276, calendar=calendar)


def _values(gaps: dict[str, float]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    _, session, open_, close, volume = _window_market("", gaps)
    return session, {"open": open_, "close": close, "volume": volume}


def test_a_table_comes_before_detection_and_only_rolls_inside_the_data_count():
    session, values = _values({"2024-09-17": 0.012})
    known = [Roll("NQ", _day("2024-05-06"), 1.01), Roll("NQ", _day("2023-05-08"), 1.02), Roll("ES", 19_800, 1.03)]
    rolls, findings = find_rolls(_instrument("NQ", "globex"), known, True, session, values, frozenset())
    assert rolls == known[:1]
    assert findings[0].text == "1 rolls of the table are adjusted by ratio"


@pytest.mark.parametrize("calendar", ["fx", "24/7", "XNYS"])
def test_a_market_without_contracts_has_nothing_to_roll(calendar: str):
    session, values = _values({"2024-09-17": 0.012})
    assert find_rolls(_instrument("X", calendar), [], True, session, values, frozenset()) == ([], [])


def test_a_future_without_table_and_calendar_is_told_about():
    session, values = _values({})
    rolls, findings = find_rolls(_instrument("FDAX", "XEUR"), [], True, session, values, frozenset())
    assert rolls == []
    assert [finding.level for finding in findings] == ["warning"]


def test_a_roll_that_falls_on_a_cut_is_left_to_the_cut():
    session, values = _values({"2024-09-17": 0.012})
    instrument = _instrument("NQ", "globex")
    assert len(find_rolls(instrument, [], True, session, values, frozenset())[0]) == 1
    assert find_rolls(instrument, [], True, session, values, frozenset({_day("2024-09-17")}))[0] == []
