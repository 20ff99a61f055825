from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import pytest
from matplotlib.dates import date2num

from grandmodel.gates.figures import alarms_png, date_locator, drift_png, spark_line

FIRST = datetime(2018, 7, 5, tzinfo=UTC)


@pytest.mark.parametrize("narrow", [True, False])
def test_records_of_every_length_get_a_few_date_ticks_and_no_warning(narrow: bool) -> None:
    seen = 0
    for length in [*range(20, 1500, 7), *range(1500, 6000, 91)]:  # the library warns where it finds no step
        ticks = date_locator(narrow).tick_values(FIRST, FIRST + timedelta(days=length))
        inside = [tick for tick in ticks if 0 <= tick - date2num(FIRST) <= length]
        assert 1 <= len(inside) <= 12, (length, len(inside))
        seen += 1
    assert seen > 200


def test_a_line_that_never_moves_is_drawn_flat() -> None:
    assert spark_line([0.0, 0.0, 0.0]).count("polyline") == 1
    assert "nan" not in spark_line([0.0, 0.0, 0.0])
    assert spark_line([1.0]) == ""
    assert math.isfinite(float(spark_line([0.0, 1.0]).split('cy="')[1].split('"')[0]))


def test_pictures_for_a_page_are_png_that_follow_their_numbers() -> None:
    def drift(psi: float) -> bytes:
        rows = [{"symbol": "ES", "measure": name, "psi": psi, "ks_excess": 0.4} for name in ("log_return", "range")]
        return drift_png(rows, psi_max=0.25)

    def alarms(slippage: float) -> bytes:
        return alarms_png({"slippage": (0.0, slippage), "drawdown": (0.1, 0.1)})

    for draw in (drift, alarms):
        assert draw(0.3).startswith(b"\x89PNG")
        assert draw(0.3) == draw(0.3) != draw(0.1)
    assert alarms_png({"slippage": ()}).startswith(b"\x89PNG")
