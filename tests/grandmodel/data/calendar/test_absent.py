import numpy as np

from grandmodel.core.instrument import Instrument
from grandmodel.data.calendar.absent import absent_sessions

GLOBEX = Instrument(symbol="NQ", multiplier=20, tick_size=0.25, timezone="America/Chicago", session_bars_5m=276)
UNKNOWN = GLOBEX.model_copy(update={"symbol": "X", "timezone": "UTC"})


def _days(first: str, last: str) -> np.ndarray:
    return np.arange(np.datetime64(first), np.datetime64(last) + 1).astype(np.int32)


WEEK = _days("2024-03-25", "2024-04-05")  # Good Friday was on 29 March
TRADED = WEEK[(WEEK + 3) % 7 < 5]
GOOD_FRIDAY = int(np.datetime64("2024-03-29").astype(int))


def test_a_holiday_of_the_market_is_not_absent_and_a_lost_day_is() -> None:
    without_holiday = TRADED[TRADED != GOOD_FRIDAY]
    expected, absent = absent_sessions(GLOBEX, np.repeat(without_holiday, 3), simulated=False)
    assert (expected, absent.tolist()) == (9, [])
    lost = absent_sessions(GLOBEX, np.delete(without_holiday, 2), simulated=False)
    assert (lost.expected, lost.absent.tolist()) == (9, [int(without_holiday[2])])


def test_where_the_market_is_simulated_or_unknown_every_weekday_counts() -> None:
    for instrument, simulated in ((GLOBEX, True), (UNKNOWN, False)):
        expected, absent = absent_sessions(instrument, TRADED[TRADED != GOOD_FRIDAY], simulated=simulated)
        assert (expected, absent.tolist()) == (10, [GOOD_FRIDAY])


def test_no_bars_expect_nothing() -> None:
    assert absent_sessions(GLOBEX, np.empty(0, np.int32), simulated=False).expected == 0
