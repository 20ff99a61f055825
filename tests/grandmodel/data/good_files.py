"""Good files to damage: how each is written, and the bars in it, known from elsewhere than the reader."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from numpy.typing import NDArray

from grandmodel.core.random import random_stream
from grandmodel.data.simulator.generate import simulate_bars
from grandmodel.data.simulator.model import INSTRUMENTS

MINUTE_NS = 60_000_000_000
PRICES = ("open", "high", "low", "close")
VALUES = (*PRICES, "volume")
Rows = pd.DataFrame  # start_ns int64, open, high, low, close, volume; the cells may hold words


@dataclass(frozen=True)
class Good:
    """A good file, how it is written, and the bars in it."""

    name: str
    given: str  # what is given to the reader, below the folder: a file, or "." for the folder
    main: str  # the file that is damaged
    beside: dict[str, bytes]  # the files that stay
    rows: Rows
    write: Callable[[Rows], bytes]
    is_text: bool
    bar_minutes: int
    tick_size: float

    @cached_property
    def content(self) -> bytes:
        return self.write(self.rows)

    @property
    def true_prices(self) -> NDArray[np.float64]:
        return self.rows[list(PRICES)].to_numpy(np.float64)

    @property
    def true_starts(self) -> NDArray[np.int64]:
        return self.rows["start_ns"].to_numpy(np.int64)


def simulated_csv() -> Good:
    """Return 5-minute bars as ISO text in UTC."""

    def write(rows: Rows) -> bytes:
        stamps = pd.DatetimeIndex(rows["start_ns"].to_numpy("datetime64[ns]")).strftime("%Y-%m-%dT%H:%M:%SZ")
        return _lines("timestamp,open,high,low,close,volume", stamps, rows, "\n")

    return Good("5-min CSV", "NQ.csv", "NQ.csv", {}, _simulated(2, date(2022, 3, 10)), write, True, 5, 0.25)


def price_last_csv() -> Good:
    """Return 5-minute bars with the close in the last column, and Chicago stamps without offset."""

    def write(rows: Rows) -> bytes:
        stamps = _local(rows, "America/Chicago").strftime("%Y%m%d %H%M%S")
        order = rows[["start_ns", "volume", *PRICES]]
        return _lines("time,vol,o,h,l,c", stamps, order, "\n")

    return Good("close last", "NQ.csv", "NQ.csv", {}, _simulated(2, date(2022, 6, 10)), write, True, 5, 0.25)


def half_hour_csv() -> Good:
    """Return 30-minute bars as one real export writes them: two day-first spellings, Jerusalem time, CRLF."""

    def write(rows: Rows) -> bytes:
        return _lines("Timestamp,Open,High,Low,Close,Volume", _two_spellings(rows), rows, "\r\n")

    bars = _half_hours(_simulated(16, date(2022, 4, 5)))
    return Good("30-min CSV", "NQ_30min.csv", "NQ_30min.csv", {}, bars, write, True, 30, 0.25)


def project_folder() -> Good:
    """Return a project's own folder: Parquet beside its table of instruments."""

    def write(rows: Rows) -> bytes:
        return _parquet({"ts": pa.array(_stamps(rows), pa.timestamp("ns", tz="UTC")), **_values(rows, np.float64)})

    terms = next(i for i in INSTRUMENTS if i.symbol == "NQ")
    listing = [
        {
            "symbol": "NQ",
            "multiplier": float(terms.multiplier),
            "tick_size": float(terms.tick_size),
            "commission_per_contract": 2.25,
            "timezone": "America/Chicago",
            "session_bars_5m": 276,
        }
    ]
    beside = {"instruments.yaml": yaml.safe_dump(listing).encode(), "dataset.yaml": b"name: made\nlicence: CC0-1.0\n"}
    rows = _simulated(3, date(2022, 9, 9))
    return Good("project folder", ".", "NQ_5m.parquet", beside, rows, write, False, 5, 0.25)


def chinese_folder() -> Good:
    """Return a folder as of Chinese futures: single precision, closes in China time, night sessions, its tables."""
    rows, trading_day = _chinese_rows(12)
    header = "symbol,multiplier,tick,session,fee_open,fee_close,fee_closetoday,fee_by_lot\n"
    spans = [(900, 1015), (1030, 1130), (1330, 1500), (2100, 2300)]
    session = str([{"from": start, "to": stop} for start, stop in spans])
    tables = {
        "instruments.csv": f'{header}SHFE.rb,10,1,"{session}",1e-4,1e-4,1e-4,False\n'.encode(),
        "rolls.csv": b"symbol,date,old_close,new_close\nSHFE.rb,20160104,0,2000\n",
    }
    return Good(
        "Chinese folder", ".", "SHFE.rb.parquet", tables, rows, chinese_writer(rows, trading_day), False, 5, 1.0
    )


def chinese_writer(rows: Rows, trading_day: NDArray[np.int64]) -> Callable[[Rows], bytes]:
    """Return a writer of float32 Parquet stamped by closes in China time; the trading day follows the true start."""
    days = dict(zip(rows["start_ns"].to_numpy(), trading_day, strict=True))

    def write(damaged: Rows) -> bytes:
        close = _stamps(damaged) + np.timedelta64(8 * 60 + 5, "m")
        # A moved stamp keeps the day that stood beside it: the nearest true one.
        known = np.array(sorted(days))
        place = np.clip(np.searchsorted(known, damaged["start_ns"].to_numpy(np.int64), "right") - 1, 0, len(known) - 1)
        day = np.array([days[start] for start in known[place]], np.int32)
        return _parquet({"ts": pa.array(close), "trading_day": pa.array(day), **_values(damaged, np.float32)})

    return write


def real_half_hours(folder: Path) -> Good:
    """Return 1000 bars of the real NQ export, parsed by hand."""
    lines = (folder / "futures_30m" / "NQ_30min_2020_2025.csv").read_text().splitlines()[20_001:21_001]
    cells = pd.DataFrame([line.split(",") for line in lines], columns=["ts", *VALUES])
    local = pd.DatetimeIndex([_by_hand(cell) for cell in cells["ts"]])
    rows = cells[list(VALUES)].astype(np.float64)
    rows.insert(0, "start_ns", local.tz_localize("Asia/Jerusalem").tz_convert("UTC").as_unit("ns").asi8)

    def write(damaged: Rows) -> bytes:
        return _lines("Timestamp,Open,High,Low,Close,Volume", _two_spellings(damaged), damaged, "\r\n")

    return Good("real NQ", "NQ_30min.csv", "NQ_30min.csv", {}, rows, write, True, 30, 0.25)


def real_chinese(folder: Path, symbol: str, first: int) -> Good:
    """Return 1000 bars of a real Chinese future from row ``first`` on, with no roll among them."""
    place = folder / "cn_futures_5m"
    table = pq.read_table(place / f"{symbol}.parquet").slice(first, 1000).to_pandas()
    close_ns = table["ts"].to_numpy("datetime64[ns]").astype(np.int64)
    tick = float(pd.read_csv(place / "instruments.csv").set_index("symbol")["tick"][symbol])
    rows = pd.DataFrame({"start_ns": close_ns - (8 * 60 + 5) * MINUTE_NS})
    for name in PRICES:
        rows[name] = [round(round(float(price) / tick) * tick, 6) for price in table[name]]
    rows["volume"] = table["volume"].astype(np.float64)
    beside = {name: (place / name).read_bytes() for name in ("instruments.csv", "rolls.csv")}
    write = chinese_writer(rows, table["trading_day"].to_numpy(np.int64))
    return Good(f"real {symbol}", ".", f"{symbol}.parquet", beside, rows, write, False, 5, tick)


def _simulated(sessions: int, last_session: date) -> Rows:
    market = simulate_bars(edge=1.0, seed=7, sessions=sessions, last_session=last_session)
    place = [instrument.symbol for instrument in INSTRUMENTS].index("NQ")
    columns = {name: getattr(market, name)[place].astype(np.float64) for name in VALUES}
    return pd.DataFrame({"start_ns": market.start_ns, **columns})


def _half_hours(rows: Rows) -> Rows:
    grouped = rows.groupby(np.arange(len(rows)) // 6)
    how = {"start_ns": "first", "open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
    return grouped.agg(how).reset_index(drop=True)


def _chinese_rows(days: int) -> tuple[Rows, NDArray[np.int64]]:
    """Return 5-minute bars with gaps over pauses, and their trading days as yyyymmdd."""
    dates = pd.bdate_range("2020-06-01", periods=days)
    spans = [(-180, 24), (540, 15), (630, 12), (810, 18)]  # minutes from midnight of the day, and bars; night before
    starts, trading_day = [], []
    for day, before in zip(dates[1:], dates[:-1], strict=True):
        for minute, count in spans:
            first = (before + pd.Timedelta(days=1) if minute < 0 else day) + pd.Timedelta(minutes=minute)
            starts += [first + pd.Timedelta(minutes=5 * bar) for bar in range(count)]
            trading_day += [int(day.strftime("%Y%m%d"))] * count
    start_ns = pd.DatetimeIndex(starts).tz_localize("Asia/Shanghai").tz_convert("UTC").as_unit("ns").asi8
    generator, count = random_stream(7, "chinese folder"), len(start_ns)
    pause = np.r_[True, np.diff(start_ns) > 5 * MINUTE_NS]
    gap = np.where(pause, generator.integers(-12, 13, count), generator.integers(-1, 2, count))
    path = 3500 + np.cumsum(np.stack([gap, *generator.integers(-3, 4, (4, count))], axis=1), axis=None)
    inside = path.reshape(count, 5).astype(np.float64)
    rows = pd.DataFrame({"start_ns": start_ns, "open": inside[:, 0], "high": inside.max(axis=1)})
    rows["low"], rows["close"] = inside.min(axis=1), inside[:, -1]
    rows["volume"] = generator.integers(500, 9000, count).astype(np.float64)
    return rows, np.array(trading_day, np.int64)


def _stamps(rows: Rows) -> NDArray[np.datetime64]:
    return rows["start_ns"].to_numpy(np.int64).astype("datetime64[ns]")


def _local(rows: Rows, zone: str) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(_stamps(rows), tz="UTC").tz_convert(zone)


def _two_spellings(rows: Rows) -> list[str]:
    return [
        f"{t.day:02}/{t.month:02}/{t.year} {t:%H:%M:%S}"
        if t.day >= 13
        else f"{t.day}/{t.month}/{t.year} {t.hour}:{t:%M}"
        for t in _local(rows, "Asia/Jerusalem")
    ]


def _by_hand(cell: str) -> pd.Timestamp:
    (day, month, year), clock = (int(part) for part in cell.split()[0].split("/")), cell.split()[1].split(":")
    return pd.Timestamp(year, month, day, int(clock[0]), int(clock[1]))


def _lines(header: str, stamps: object, rows: Rows, end: str) -> bytes:
    columns = [[_cell(value) for value in rows[name]] for name in rows.columns if name != "start_ns"]
    lines = [header, *(",".join(cells) for cells in zip(list(stamps), *columns, strict=True)), ""]
    return end.join(lines).encode()


def _cell(value: object) -> str:
    return value if isinstance(value, str) else repr(float(value)).removesuffix(".0")


def _values(rows: Rows, dtype: type) -> dict[str, pa.Array]:
    return {name: pa.array(rows[name].to_numpy(dtype)) for name in VALUES}


def _parquet(columns: dict[str, pa.Array]) -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer, write_page_checksum=True)
    return buffer.getvalue()
