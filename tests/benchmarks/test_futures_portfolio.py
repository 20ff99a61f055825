from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from benchmarks.futures_portfolio import inverse_deviation, series_of
from grandmodel.core.bars import Bars

MINUTE, DAY = 60_000_000_000, 86_400_000_000_000
LATER = pd.Timestamp("2018-01-01").value


def _bars(symbol: str, closes: dict[str, float]) -> Bars:
    """Return 5-minute bars by the stamps (UTC) of their closes."""
    close_ns = np.array([pd.Timestamp(stamp).value for stamp in closes])
    price, ones = np.array(list(closes.values())), np.ones(len(closes))
    session = (close_ns // DAY).astype(np.int32)
    return Bars(
        symbol,
        5,
        close_ns - 5 * MINUTE,
        close_ns,
        price,
        price,
        price,
        price,
        ones,
        session,
        ones,
        ones.astype(bool),
    )


def _market() -> dict[str, Bars]:
    """Return A, which trades twice a day, and B, which trades in the second half hour alone and moves over night."""
    early = {f"2017-05-0{day} 01:05": 10.0 for day in range(2, 6)}
    late = {"2017-05-02 01:45": 10.0, "2017-05-03 01:45": 11.0, "2017-05-04 01:45": 10.0, "2017-05-05 01:45": 11.0}
    night = {"2017-05-02 02:00": 20.0, "2017-05-03 02:00": 22.0, "2017-05-04 02:00": 20.0, "2017-05-05 02:00": 22.0}
    return {"A": _bars("A", dict(sorted({**early, **late}.items()))), "B": _bars("B", night)}


def test_a_gap_belongs_to_the_first_bar_after_the_rest() -> None:
    (half_hours,) = series_of(_market(), ["30 minutes"], "Asia/Shanghai", LATER)
    # The table begins where both have a price; a day has the half hours to 9:30 and to 10:00 in Shanghai.
    assert half_hours.slot.tolist() == [570, 600] * 3
    up, down = 0.1 / 2, (10 / 11 - 1) / 2
    night = [0.0, down, 0.0]  # A alone moves in the first half hour: back to 10 from where it closed
    day = [up + up, down, up + up]  # in the second A moves from 10, and B by its night
    np.testing.assert_allclose(half_hours.returns, np.ravel(np.column_stack([night, day])), atol=1e-12)


def test_a_day_runs_from_the_last_bar_of_a_session_to_the_last_of_the_next() -> None:
    (days,) = series_of(_market(), ["1 day"], "Asia/Shanghai", LATER)
    np.testing.assert_allclose(days.returns, [0.1, 10 / 11 - 1, 0.1], atol=1e-12)
    assert [str(pd.Timestamp(stamp)) for stamp in days.close_ns] == [f"2017-05-0{day} 02:00:00" for day in (3, 4, 5)]


def test_weights_are_inverse_to_the_deviation_before_the_date_and_know_nothing_later() -> None:
    closes = pd.DataFrame({"calm": [1.0, 1.01, 1.0, 1.01, 5.0], "wild": [1.0, 1.04, 1.0, 1.04, 1.0]}, index=range(5))
    weights = inverse_deviation(closes, 4)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[0] / weights[1] == pytest.approx(
        closes["wild"][:4].pct_change().std() / closes["calm"][:4].pct_change().std()
    )
    closes.iloc[4] = [900.0, 0.001]
    np.testing.assert_array_equal(inverse_deviation(closes, 4), weights)


def test_one_instrument_alone_has_all_the_weight() -> None:
    assert inverse_deviation(pd.DataFrame({"only": [1.0, 2.0]}), 0).tolist() == [1.0]
