"""Bid and ask to mid bars, with the spread measured and no part of a quote lost in silence."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from grandmodel.core.errors import DataError
from grandmodel.core.instrument import Instrument
from grandmodel.data.reading.quotes import mid_prices, one_sided, with_measured_spread

NAMES = ("open", "high", "low", "close")


def _table(bid: float = 91.653, spread: float = 0.003, rows: int = 4) -> pd.DataFrame:
    columns = {f"bid_{name}": np.full(rows, bid + (name == "high") * 0.01 - (name == "low") * 0.01) for name in NAMES}
    columns |= {f"ask_{name}": columns[f"bid_{name}"] + spread for name in NAMES}
    return pd.DataFrame({"ts_utc": range(rows), **columns, "row": range(1, rows + 1)})


def _instrument() -> Instrument:
    return Instrument(symbol="USDJPY", multiplier=1e5, tick_size=0.001, half_spread_ticks=1.0, session_bars_5m=288)


def test_prices_are_the_mid_without_noise():
    table, quotes = mid_prices(_table(), "a.csv")
    assert list(table.columns) == ["ts_utc", "row", *NAMES]
    assert table["close"].tolist() == [91.6545] * 4
    assert (table["high"] >= table["close"]).all()
    assert quotes is not None
    assert quotes.half_spread == pytest.approx(0.0015)
    assert quotes.crossed_frac == 0.0


def test_the_spread_is_the_median_and_crossed_closes_are_counted():
    table = _table()
    table.loc[0, "ask_close"] = table.loc[0, "bid_close"] - 0.02
    quotes = mid_prices(table, "a.csv")[1]
    assert quotes is not None
    assert quotes.half_spread == pytest.approx(0.0015)
    assert quotes.crossed_frac == 0.25


def test_the_instrument_gets_the_measured_spread_on_half_ticks():
    quotes = mid_prices(_table(), "a.csv")[1]
    assert quotes is not None
    instrument, findings = with_measured_spread(_instrument(), quotes, "a.csv")
    assert (instrument.tick_size, instrument.half_spread_ticks) == (0.0005, 3.0)
    assert any("measured from the quotes: 0.0015 points, 3 ticks of 0.0005" in finding.text for finding in findings)


def test_a_spread_that_cannot_be_keeps_the_built_in_cost_and_warns():
    quotes = mid_prices(_table(spread=0.0), "a.csv")[1]
    assert quotes is not None
    instrument, findings = with_measured_spread(_instrument(), quotes, "a.csv")
    assert instrument.half_spread_ticks * instrument.tick_size == 0.001
    assert [finding.level for finding in findings] == ["info", "warning"]


def test_half_a_quote_is_refused():
    with pytest.raises(DataError, match=r"open, high, low and close of bid and of ask.*ask_low"):
        mid_prices(_table().drop(columns="ask_low"), "a.csv")


def test_bars_with_prices_of_their_own_are_left_alone():
    plain = pd.DataFrame({"ts": [1], **{name: [1.0] for name in NAMES}, "bid_open": [0.9], "row": [1]})
    table, quotes = mid_prices(plain, "a.csv")
    assert table is plain
    assert quotes is None


@pytest.mark.parametrize(
    ("stem", "side"), [("EURUSD_2017H1_bid_EST", "bid"), ("X-ask", "ask"), ("GBPUSD_bidask_UTC", None), ("NQ", None)]
)
def test_the_file_name_tells_one_side(stem: str, side: str | None):
    assert one_sided(stem) == side
