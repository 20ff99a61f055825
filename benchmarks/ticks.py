"""Ticks to bars and features per second, beside pandas and polars in the same process.

Half a million ES trades (``../shared/data/ticks``; a simulated stream, labelled so, where they are absent) become
5-minute bars with VWAP, realised variance, EMA, RSI and ATR. All contenders compute the same numbers: they are compared
before anything is timed. One thread each, turn by turn, the best of three runs in a turn, in processor time, so that
a busy neighbour costs the least; medians over the turns and ratios are recorded.

Which ratio is which: ``batch`` stands against pandas and polars over the same columns in memory, ``csv`` against
pyarrow and polars over the same bytes. Micro-batches and single calls have no such peer, because a data frame library
is not made for them: they stand beside its batch figure and, for single calls, beside a plain Python class.
"""

from __future__ import annotations

import os

os.environ.update(POLARS_MAX_THREADS="1", OMP_NUM_THREADS="1", NUMBA_NUM_THREADS="1")  # read when they are imported

import argparse
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.csv

from benchmarks.record import write
from grandmodel.core.errors import ConfigError
from grandmodel.data.ticks import TickRules, TickStream, whole_lots
from grandmodel.data.ticks_bars import TickBars
from grandmodel.data.ticks_csv import csv_tick_bars
from grandmodel.data.ticks_files import read_ticks
from pipelines.workspace import PROJECT

try:
    import polars as pl
except ImportError as error:
    raise ConfigError("benchmarks", "polars is needed", do="pip install -r benchmarks/requirements.txt") from error

ES_TICKS = PROJECT.parent / "shared" / "data" / "ticks" / "es_2013-09-01_03_ticks.parquet"
RULES = TickRules("ES", 0.25)
MICRO_BATCH = 256
NAMES = ("open", "high", "low", "close", "volume", "vwap", "realised_variance", "ema", "rsi", "atr")
Columns = tuple[np.ndarray, np.ndarray, np.ndarray]


def real_or_simulated() -> tuple[str, Columns]:
    """Return the name of the stream and its stamps, prices and lots."""
    if ES_TICKS.is_file():
        # The stamps stay on the file's clock, so that all contenders bin alike.
        ticks = read_ticks(ES_TICKS, timezone="UTC")
        return ES_TICKS.name, (ticks.stamps_ns, ticks.price, whole_lots(ticks.volume))
    print(f"{ES_TICKS} is absent: a simulated stream takes its place")
    generator = np.random.default_rng(1)
    count = 500_000
    stamps = np.cumsum(np.where(generator.random(count) < 0.83, 0, generator.integers(1, 1600, count))) * 1_000_000
    prices = 1640.0 + 0.25 * np.cumsum((generator.random(count) < 0.05) * generator.choice([-1, 1], count))
    return "simulated", (stamps + 1_378_000_000_000_000_000, prices, generator.integers(1, 9, count))


def as_csv(columns: Columns) -> bytes:
    stamps, prices, lots = columns
    text = np.datetime_as_string(stamps.astype("datetime64[ns]"), unit="ms")
    rows = zip(text.tolist(), prices.tolist(), lots.tolist(), strict=True)
    return ("ts,price,volume\n" + "".join(f"{ts.replace('T', ' ')},{p},{v}\n" for ts, p, v in rows)).encode()


def batch(columns: Columns) -> TickBars:
    stream = TickStream(RULES)
    stream.update(*columns)
    stream.flush()
    return stream.take()


def micro_batches(batches: list[Columns]) -> TickBars:
    stream = TickStream(RULES)
    update = stream.update
    for stamps, prices, lots in batches:
        update(stamps, prices, lots)
    stream.flush()
    return stream.take()


def single_calls(ticks: list[tuple[int, float, int]]) -> TickBars:
    stream = TickStream(RULES)
    push = stream.push
    for stamp, price, lots in ticks:
        push(stamp, price, lots)
    stream.flush()
    return stream.take()


def with_pandas(frame: pd.DataFrame) -> pd.DataFrame:
    """Compute the same with pandas: bins as numbers (faster than resampling), exponential averages."""
    price = frame["price"]
    bin_ns = frame["ts"].astype(np.int64) // 300_000_000_000
    change = np.log(price).diff().where(bin_ns == bin_ns.shift(), 0.0)
    work = pd.DataFrame({"price": price, "volume": frame["volume"], "traded": price * frame["volume"]})
    work["squared"] = change * change
    groups = work.groupby(bin_ns, sort=False)
    bars = groups["price"].ohlc()
    sums = groups[["volume", "traded", "squared"]].sum()
    bars["volume"], bars["vwap"], bars["realised_variance"] = (
        sums["volume"],
        sums["traded"] / sums["volume"],
        sums["squared"],
    )
    close, before = bars["close"], bars["close"].shift()
    bars["ema"] = close.ewm(span=RULES.ema_bars, adjust=False, min_periods=RULES.ema_bars).mean()
    reach = np.maximum(bars["high"], before.fillna(bars["high"])) - np.minimum(bars["low"], before.fillna(bars["low"]))
    bars["atr"] = _wilder_pandas(reach, RULES.atr_bars)
    change = close.diff().iloc[1:]
    gain = _wilder_pandas(change.clip(lower=0.0), RULES.rsi_bars)
    loss = _wilder_pandas(-change.clip(upper=0.0), RULES.rsi_bars)
    bars["rsi"] = 100.0 * gain / (gain + loss)
    return bars


def _wilder_pandas(values: pd.Series, window: int) -> pd.Series:
    seeded = values.iloc[window - 1 :].copy()
    seeded.iloc[0] = values.iloc[:window].mean()
    return seeded.ewm(alpha=1.0 / window, adjust=False).mean()


def with_polars(frame: pl.DataFrame) -> pl.DataFrame:
    """Compute the same with polars: bins declared sorted (faster than a dynamic grouping), exponential averages."""
    price, volume, bin_ns = pl.col("price"), pl.col("volume"), pl.col("bin")
    within = bin_ns == bin_ns.shift()
    bars = (
        frame.lazy()
        .with_columns(bin=pl.col("ts").cast(pl.Int64) // 300_000_000_000)
        .with_columns(
            bin_ns.set_sorted(),
            traded=price * volume,
            squared=pl.when(within).then(price.log().diff().pow(2)).otherwise(0.0),
        )
        .group_by("bin", maintain_order=True)
        .agg(
            open=price.first(),
            high=price.max(),
            low=price.min(),
            close=price.last(),
            volume=volume.sum(),
            vwap=pl.col("traded").sum() / volume.sum(),
            realised_variance=pl.col("squared").sum(),
        )
        .collect()
    )
    close, before = bars["close"], bars["close"].shift()
    high, low = pl.col("high"), pl.col("low")
    reach = bars.select(
        pl.max_horizontal(high, before.alias("before")) - pl.min_horizontal(low, before.alias("before"))
    ).to_series()
    change = close.diff().slice(1)
    gain = _wilder_polars(change.clip(lower_bound=0.0), RULES.rsi_bars)
    loss = _wilder_polars(-change.clip(upper_bound=0.0), RULES.rsi_bars)
    return bars.with_columns(
        ema=close.ewm_mean(span=RULES.ema_bars, adjust=False, min_samples=RULES.ema_bars),
        atr=_padded(_wilder_polars(reach, RULES.atr_bars), len(bars)),
        rsi=_padded(100.0 * gain / (gain + loss), len(bars)),
    )


def _wilder_polars(values: pl.Series, window: int) -> pl.Series:
    seed = pl.Series([values.slice(0, window).mean()], dtype=pl.Float64)
    return seed.append(values.slice(window)).ewm_mean(alpha=1.0 / window, adjust=False)


def _padded(values: pl.Series, length: int) -> pl.Series:
    return pl.Series([None] * (length - len(values)), dtype=pl.Float64).append(values)


def csv_with_arrow(content: bytes) -> pl.DataFrame:
    types = {"ts": pa.timestamp("ns"), "price": pa.float64(), "volume": pa.int64()}
    table = pa.csv.read_csv(
        pa.BufferReader(content),
        read_options=pa.csv.ReadOptions(use_threads=False),
        convert_options=pa.csv.ConvertOptions(column_types=types),
    )
    return with_polars(pl.DataFrame(pl.from_arrow(table)))


class PlainBars:
    """The class one writes first: bars and running features, a tick a call, without any rule about bad ticks."""

    __slots__ = ("bars", "close", "high", "last", "low", "open", "stop", "traded", "variance", "volume")

    def __init__(self) -> None:
        self.bars: list[tuple[float, ...]] = []
        self.stop = 0

    def push(self, stamp: int, price: float, lots: int) -> None:
        if stamp >= self.stop:
            if self.stop:
                self.end()
            self.stop = stamp // 300_000_000_000 * 300_000_000_000 + 300_000_000_000
            self.open = self.high = self.low = self.last = price
            self.volume, self.traded, self.variance = 0, 0.0, 0.0
        if price != self.last:
            change = math.log(price / self.last)
            self.variance += change * change
            self.last = price
            if price > self.high:
                self.high = price
            elif price < self.low:
                self.low = price
        self.volume += lots
        self.traded += price * lots

    def end(self) -> None:
        bar = (self.open, self.high, self.low, self.last, self.volume, self.traded / self.volume, self.variance)
        self.bars.append(bar)


def plain_class(ticks: list[tuple[int, float, int]]) -> list[tuple[float, ...]]:
    plain = PlainBars()
    push = plain.push
    for stamp, price, lots in ticks:
        push(stamp, price, lots)
    plain.end()
    return plain.bars


def compare(ours: TickBars, theirs: Any, who: str) -> None:
    """Refuse to time contenders that compute something else."""
    for name in NAMES:
        values = np.asarray(theirs[name], np.float64)
        np.testing.assert_allclose(values, getattr(ours, name), rtol=1e-9, atol=1e-12, err_msg=f"{who} {name}")


def timed(contenders: dict[str, Callable[[], object]], repeats: int) -> dict[str, list[float]]:
    """Return the processor seconds of each contender, turn by turn; in its turn the best of three runs counts."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeats):
        for name, run in contenders.items():
            seconds[name].append(min(_processor_seconds(run) for _ in range(3)))
    return seconds


def _processor_seconds(run: Callable[[], object]) -> float:
    began = time.process_time()
    run()
    return time.process_time() - began


def streamed_growth_mb(batches: list[Columns], ticks: list[tuple[int, float, int]]) -> float:
    """Return by how many MB the process grows while a warm stream takes a day of ticks in both faces."""
    micro, single = TickStream(RULES), TickStream(RULES)
    micro.update(*batches[0])
    single.push(*ticks[0])
    before = psutil.Process().memory_info().rss
    for columns in batches[1:]:
        micro.update(*columns)
    for tick in ticks[1:]:
        single.push(*tick)
    return float(psutil.Process().memory_info().rss - before) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    repeats = parser.parse_args().repeats
    name, columns = real_or_simulated()
    count = len(columns[0])
    batches = [
        (columns[0][i : i + MICRO_BATCH], columns[1][i : i + MICRO_BATCH], columns[2][i : i + MICRO_BATCH])
        for i in range(0, count, MICRO_BATCH)
    ]
    ticks = list(zip(*(column.tolist() for column in columns), strict=True))
    zigzag = columns[1] + 0.25 * (np.arange(count) % 2)
    content = as_csv(columns)
    frame = pd.DataFrame(
        {"ts": columns[0].astype("datetime64[ns]"), "price": columns[1], "volume": columns[2].astype(np.int64)}
    )
    polars_frame = pl.from_pandas(frame)

    growth_mb = streamed_growth_mb(batches, ticks)
    ours = batch(columns)
    compare(ours, with_pandas(frame), "pandas")
    compare(ours, with_polars(polars_frame), "polars")
    compare(csv_tick_bars(content, RULES, timezone="UTC")[0], csv_with_arrow(content), "pyarrow and polars")

    seconds = timed(
        {
            "batch": lambda: batch(columns),
            "batch_every_tick_moves": lambda: batch((columns[0], zigzag, columns[2])),
            "micro_batches_256": lambda: micro_batches(batches),
            "single_calls": lambda: single_calls(ticks),
            "csv": lambda: csv_tick_bars(content, RULES, timezone="UTC"),
            "pandas": lambda: with_pandas(frame),
            "polars": lambda: with_polars(polars_frame),
            "pyarrow_polars_csv": lambda: csv_with_arrow(content),
            "plain_python_class": lambda: plain_class(ticks),
        },
        repeats,
    )
    median = {who: count / statistics.median(times) / 1e6 for who, times in seconds.items()}
    best = {who: count / min(times) / 1e6 for who, times in seconds.items()}
    pairs = {
        "batch / pandas": ("batch", "pandas"),
        "batch / polars": ("batch", "polars"),
        "csv / pyarrow and polars": ("csv", "pyarrow_polars_csv"),
        "micro-batches / pandas in batch": ("micro_batches_256", "pandas"),
        "micro-batches / polars in batch": ("micro_batches_256", "polars"),
        "single calls / plain Python class": ("single_calls", "plain_python_class"),
    }
    ratios = {
        text: statistics.median([b / a for a, b in zip(seconds[one], seconds[other], strict=True)])
        for text, (one, other) in pairs.items()
    }
    for who in seconds:
        print(f"{who:>24} {median[who]:8.1f} M ticks/s median, {best[who]:8.1f} best")
    for text, ratio in ratios.items():
        print(f"{text:>36} {ratio:6.2f}")
    print(f"streaming {count} ticks in both faces grows the process by {growth_mb:.2f} MB")
    versions = {"pandas": pd.__version__, "polars": pl.__version__, "pyarrow": pa.__version__}
    content_json = {
        "ticks": {"file": name, "count": count, "price_moves_frac": float((np.diff(columns[1]) != 0).mean())},
        "repeats": repeats,
        "clock": "processor time, one thread, best of three runs in each turn",
        "million_ticks_per_second": {"median": median, "best": best},
        "ratios": ratios,
        "streaming_growth_mb": growth_mb,
        "peers": versions,
    }
    print(write("ticks", content_json))


if __name__ == "__main__":
    main()
