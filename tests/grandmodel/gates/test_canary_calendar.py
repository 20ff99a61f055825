"""The sessions of which a canary must have a day."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from grandmodel.core.instrument import Instrument
from grandmodel.gates.canary_calendar import markets_of, sessions_due
from tests.grandmodel.gates.canaries import MONDAY, at, weekdays

NEW_YORK = (("XNYS", "AAPL"),)


def day(text: str) -> int:
    return int(np.datetime64(text, "D").astype(int))


def instrument(symbol: str, calendar: str = "") -> Instrument:
    return Instrument(symbol=symbol, multiplier=1.0, tick_size=0.01, session_bars_5m=78, calendar=calendar)


def test_weekdays_are_due_once_the_next_one_has_closed() -> None:
    assert sessions_due((), MONDAY, MONDAY, at(MONDAY + 1)) == [MONDAY]
    assert sessions_due((), MONDAY, MONDAY, at(MONDAY + 2)) == [MONDAY]
    assert sessions_due((), MONDAY, MONDAY, at(MONDAY + 3)) == weekdays(2)
    assert sessions_due((), MONDAY, MONDAY, at(MONDAY + 7)) == weekdays(4)
    assert sessions_due((), MONDAY, MONDAY, at(MONDAY + 8)) == weekdays(5)


def test_what_is_on_record_is_due_whatever_the_clock_says() -> None:
    for now in (None, at(MONDAY - 300)):
        assert sessions_due((), MONDAY, MONDAY + 11, now) == weekdays(10)


def test_a_known_market_has_its_holidays() -> None:
    found = sessions_due(NEW_YORK, day("2024-12-23"), day("2024-12-23"), datetime(2024, 12, 31, 15, tzinfo=UTC))
    assert found == [day(f"2024-12-{one}") for one in (23, 24, 26, 27)]
    evening = sessions_due(NEW_YORK, day("2024-12-23"), day("2024-12-23"), datetime(2024, 12, 31, 22, tzinfo=UTC))
    assert evening == [*found, day("2024-12-30")]


def test_several_markets_hold_all_their_sessions() -> None:
    both = (*NEW_YORK, ("24/7", "BTC"))
    found = sessions_due(both, day("2024-12-23"), day("2024-12-29"), None)
    assert found == [day(f"2024-12-{one}") for one in range(23, 30)]


@pytest.mark.parametrize(
    ("instruments", "simulated", "wanted"),
    [
        ([instrument("AAPL", "XNYS"), instrument("MSFT", "XNYS")], False, (("XNYS", "AAPL"), ("XNYS", "MSFT"))),
        ([instrument("AAPL", "XNYS"), instrument("unheard of")], False, ()),
        ([instrument("AAPL", "XNYS")], True, ()),
    ],
)
def test_a_market_that_is_not_known_or_simulated_has_weekdays(
    instruments: list[Instrument], simulated: bool, wanted: tuple[tuple[str, str], ...]
) -> None:
    assert markets_of(instruments, simulated=simulated) == wanted
