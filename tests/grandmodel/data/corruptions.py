"""Seeded ways to damage the rows of a good file: each says what was done and what may still come out.

The truth never changes: it is the prices of the good file by UTC bar start. ``corruptions_of_text`` damages bytes.

What cannot be caught by any reader, and is therefore not here: one price moved within the range of its bar; a file cut
off exactly at the end of a line; rows dropped at an end of the file; the whole file in another unit, or moved in time
by whole days; a clock that jumps forward in a market that never closes (it reads as a hole, and is told as one), or
that moves one or two bars into the market's rest (told as bars outside its hours, which vendors print too); all prices
moved by one row in a file with fewer than twelve pauses; a stretch moved by one row that begins with a bar of fewer
than five ticks; a flipped bit in Parquet that was written without page checksums.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from tests.grandmodel.data.good_files import MINUTE_NS, PRICES, Good, Rows

HOUR_NS = 60 * MINUTE_NS
Generator = np.random.Generator
# What may come out: "blocked" nothing, it must be refused. Besides a refusal: "whole" all true bars; "told" true bars,
# and the report says what is missing or mended; "part" any true bars.
Allowed = Literal["blocked", "whole", "told", "part"]


@dataclass(frozen=True)
class Damaged:
    """The content of the damaged file, what was done to it and what may come out of it."""

    content: bytes
    what: str
    allowed: Allowed


Corruption = Callable[[Good, Generator], Damaged]


# -- rows -------------------------------------------------------------------------------------------------------------


def _place(good: Good, generator: Generator, length: int = 1, margin: int = 5) -> int:
    """Return a row from which ``length`` rows follow, ``margin`` rows away from both ends."""
    return int(generator.integers(margin, len(good.rows) - length - margin))


def _inside_session(good: Good, generator: Generator, length: int) -> int:
    """Return a row such that ``length`` rows, the one before and the one after follow each other without a pause."""
    step = np.diff(good.true_starts) == good.bar_minutes * MINUTE_NS
    smooth = np.convolve(step, np.ones(length + 1), "valid") == length + 1
    return 1 + int(generator.choice(np.flatnonzero(smooth)))


def _written(good: Good, rows: Rows, what: str, allowed: Allowed) -> Damaged:
    return Damaged(good.write(rows.reset_index(drop=True)), what, allowed)


def _objects(good: Good) -> Rows:
    return good.rows.astype(dict.fromkeys((*PRICES, "volume"), object))


def drop_one_row(good: Good, generator: Generator) -> Damaged:
    row = _place(good, generator)
    return _written(good, good.rows.drop(index=row), f"bar {row} is missing", "part")


def drop_stretch(good: Good, generator: Generator) -> Damaged:
    length = int(generator.integers(6, 19))
    row = _inside_session(good, generator, length)
    rows = good.rows.drop(index=range(row, row + length))
    return _written(good, rows, f"{length} bars from {row} on are missing within a session", "told")


def drop_edge(good: Good, generator: Generator) -> Damaged:
    count = int(generator.integers(1, 100))
    rows = good.rows.iloc[count:] if generator.random() < 0.5 else good.rows.iloc[:-count]
    return _written(good, rows, f"{count} bars at one end are missing", "part")


def swap_rows(good: Good, generator: Generator) -> Damaged:
    first = _place(good, generator, length=40)
    second = first + int(generator.integers(1, 40))
    order = np.arange(len(good.rows))
    order[[first, second]] = order[[second, first]]
    return _written(good, good.rows.iloc[order], f"lines {first} and {second} are swapped", "blocked")


def shuffle_rows(good: Good, generator: Generator) -> Damaged:
    return _written(good, good.rows.iloc[generator.permutation(len(good.rows))], "all lines are shuffled", "blocked")


def reverse_rows(good: Good, generator: Generator) -> Damaged:
    return _written(good, good.rows.iloc[::-1], "the newest line comes first", "blocked")


def repeat_row(good: Good, generator: Generator) -> Damaged:
    row = _place(good, generator)
    order = np.insert(np.arange(len(good.rows)), row, row)
    return _written(good, good.rows.iloc[order], f"bar {row} stands twice", "blocked")


def repeat_row_with_other_prices(good: Good, generator: Generator) -> Damaged:
    row = _place(good, generator)
    rows = good.rows.iloc[np.insert(np.arange(len(good.rows)), row, row)].reset_index(drop=True)
    rows.loc[row, list(PRICES)] = rows.loc[row, list(PRICES)].astype(float) * 1.01
    return _written(good, rows, f"bar {row} stands twice, with other prices", "blocked")


def repeat_block(good: Good, generator: Generator) -> Damaged:
    length = int(generator.integers(2, 60))
    row = _place(good, generator, length)
    order = np.insert(np.arange(len(good.rows)), row + length, np.arange(row, row + length))
    return _written(good, good.rows.iloc[order], f"{length} lines from {row} on stand twice", "blocked")


def paste_block(good: Good, generator: Generator) -> Damaged:
    length = int(generator.integers(8, 60))
    row = _place(good, generator, 3 * length)
    rows, names = good.rows.copy(), [*PRICES, "volume"]
    later = row + length + int(generator.integers(0, length))
    rows.loc[later : later + length - 1, names] = good.rows.loc[row : row + length - 1, names].to_numpy()
    return _written(good, rows, f"the {length} bars from {row} on are pasted over those from {later} on", "blocked")


def freeze_block(good: Good, generator: Generator) -> Damaged:
    length = int(generator.integers(12, 40))
    row = _place(good, generator, length)
    rows, names = good.rows.copy(), [*PRICES, "volume"]
    rows.loc[row : row + length - 1, names] = good.rows.loc[row - 1, names].to_numpy(float)
    return _written(good, rows, f"the feed repeats bar {row - 1} for {length} bars", "told")


def scale_row(good: Good, generator: Generator) -> Damaged:
    factor = float(generator.choice([10.0, 0.1, 100.0, 0.01, 1.5, 2.0]))
    row = _place(good, generator, margin=1)
    rows = good.rows.copy()
    rows.loc[row, list(PRICES)] = rows.loc[row, list(PRICES)].astype(float) * factor
    return _written(good, rows, f"the prices of bar {row} are times {factor:g}", "told")


def scale_first_or_last_row(good: Good, generator: Generator) -> Damaged:
    factor = float(generator.choice([10.0, 0.1, 100.0, 2.0]))
    row = 0 if generator.random() < 0.5 else len(good.rows) - 1
    rows = good.rows.copy()
    rows.loc[row, list(PRICES)] = rows.loc[row, list(PRICES)].astype(float) * factor
    return _written(good, rows, f"the prices of bar {row} (at the end) are times {factor:g}", "told")


def scale_stretch(good: Good, generator: Generator) -> Damaged:
    factor = float(generator.choice([10.0, 0.1, 100.0, 0.01]))
    length = int(generator.integers(20, 200))
    row = _place(good, generator, length, margin=30)
    rows = good.rows.copy()
    part = slice(row, row + length - 1)
    rows.loc[part, list(PRICES)] = rows.loc[part, list(PRICES)].astype(float) * factor
    return _written(good, rows, f"the prices of {length} bars from {row} on are times {factor:g}", "told")


def scale_rest(good: Good, generator: Generator) -> Damaged:
    factor = float(generator.choice([10.0, 0.1, 100.0, 0.01, 1000.0]))
    row = _place(good, generator, margin=100)
    rows = good.rows.copy()
    rows.loc[row:, list(PRICES)] = rows.loc[row:, list(PRICES)].astype(float) * factor
    return _written(good, rows, f"the prices from bar {row} on are times {factor:g}", "told")


def scale_column(good: Good, generator: Generator) -> Damaged:
    name, factor = str(generator.choice(PRICES)), float(generator.choice([10.0, 0.1, 1.5]))
    rows = good.rows.copy()
    rows[name] = rows[name].astype(float) * factor
    return _written(good, rows, f"all of {name} is times {factor:g}", "blocked")


def move_decimal_point(good: Good, generator: Generator) -> Damaged:
    name, factor = str(generator.choice(PRICES)), float(generator.choice([10.0, 0.1, 100.0]))
    row = _place(good, generator, margin=1)
    rows = good.rows.copy()
    rows.loc[row, name] = float(rows.loc[row, name]) * factor
    return _written(good, rows, f"{name} of bar {row} is times {factor:g}", "told")


def flip_sign(good: Good, generator: Generator) -> Damaged:
    name, row = str(generator.choice([*PRICES, "volume"])), _place(good, generator, margin=0)
    rows = good.rows.copy()
    rows.loc[row, name] = -max(1.0, float(rows.loc[row, name]))
    return _written(good, rows, f"{name} of bar {row} has the other sign", "blocked")


def zero_price(good: Good, generator: Generator) -> Damaged:
    names = list(PRICES) if generator.random() < 0.5 else [str(generator.choice(PRICES))]
    row = _place(good, generator, margin=0)
    rows = good.rows.copy()
    rows.loc[row, names] = 0.0
    return _written(good, rows, f"{', '.join(names)} of bar {row} is 0", "blocked")


def no_number(good: Good, generator: Generator) -> Damaged:
    word = str(generator.choice(["NaN", "", "null", "N/A", "#N/A", "-", "inf", "-inf", "1e999", "12x", "1 2", "0x1f"]))
    if not good.is_text:
        word = str(generator.choice(["nan", "inf", "-inf"]))
    name, row = str(generator.choice([*PRICES, "volume"])), _place(good, generator, margin=0)
    rows = _objects(good)
    rows.loc[row, name] = word if good.is_text else float(word)
    return _written(good, rows, f"{name} of bar {row} is {word!r}", "blocked")


def swap_columns(good: Good, generator: Generator) -> Damaged:
    first, second = (str(name) for name in generator.permutation(PRICES)[:2])
    rows = good.rows.copy()
    rows[[first, second]] = good.rows[[second, first]].to_numpy()
    return _written(good, rows, f"{first} and {second} are swapped in all rows", "blocked")


def swap_open_and_close(good: Good, generator: Generator) -> Damaged:
    rows = good.rows.copy()
    rows[["open", "close"]] = good.rows[["close", "open"]].to_numpy()
    return _written(good, rows, "open and close are swapped in all rows", "blocked")


def swap_with_volume(good: Good, generator: Generator) -> Damaged:
    name = str(generator.choice(PRICES))
    rows = good.rows.copy()
    rows[[name, "volume"]] = good.rows[["volume", name]].to_numpy()
    return _written(good, rows, f"{name} and volume are swapped in all rows", "blocked")


def shift_prices(good: Good, generator: Generator) -> Damaged:
    """Shift the prices of a stretch down by one row; the row at its top repeats or is left empty."""
    names, length = [*PRICES, "volume"], int(generator.integers(20, 200))
    wide = (good.rows["high"] - good.rows["low"]).to_numpy(np.float64) > 4.5 * good.tick_size
    row = int(generator.choice(np.flatnonzero(wide[: len(wide) - length])))
    rows = _objects(good)
    rows.loc[row + 1 : row + length - 1, names] = good.rows.loc[row : row + length - 2, names].to_numpy()
    empty = generator.random() < 0.5
    if empty:
        rows.loc[row, names] = "" if good.is_text else float("nan")
    how = "the first is left empty" if empty else "the first stands twice"
    return _written(good, rows, f"the prices of {length} bars from {row} on stand one row too low; {how}", "blocked")


def shift_all_prices(good: Good, generator: Generator) -> Damaged:
    """Shift all prices against the stamps; a stamp and a price at the ends are lost."""
    names, down = [*PRICES, "volume"], bool(generator.random() < 0.5)
    stamps, prices = (good.rows.iloc[1:], good.rows.iloc[:-1]) if down else (good.rows.iloc[:-1], good.rows.iloc[1:])
    rows = stamps.reset_index(drop=True)
    rows[names] = prices[names].to_numpy()
    return _written(good, rows, f"all prices stand one row too {'low' if down else 'high'}", "blocked")


# -- stamps -----------------------------------------------------------------------------------------------------------


def wrong_year(good: Good, generator: Generator) -> Damaged:
    years = int(generator.choice([-10, -1, 1, 10]))
    row = int(generator.choice([0, len(good.rows) - 1, _place(good, generator)]))
    rows = good.rows.copy()
    stamp = pd.Timestamp(int(rows.loc[row, "start_ns"])) + pd.DateOffset(years=years)
    rows.loc[row, "start_ns"] = stamp.as_unit("ns").value
    return _written(good, rows, f"the stamp of bar {row} is {years:+d} years off", "blocked")


def wrong_minute(good: Good, generator: Generator) -> Damaged:
    minutes = int(generator.choice([-2, -1, 1, 2, 3]))
    row = _inside_session(good, generator, 1)
    rows = good.rows.copy()
    rows.loc[row, "start_ns"] += minutes * MINUTE_NS
    return _written(good, rows, f"the stamp of bar {row} is {minutes:+d} minutes off", "blocked")


def clock_jump(good: Good, generator: Generator) -> Damaged:
    """Move the clock by an hour for some sessions, as a clock change that only one side knows does."""
    hours = int(generator.choice([-1, 1]))
    pauses = np.flatnonzero(np.diff(good.true_starts) >= 45 * MINUTE_NS) + 1
    at_session = generator.random() < 0.5 and len(pauses) > 1
    start = int(generator.choice(pauses)) if at_session else _place(good, generator, 40)
    later = pauses[pauses > start + 2]  # one or two bars in the halt are told, but prove no jump
    to_end = generator.random() < 0.3 or not len(later)
    stop = len(good.rows) if to_end else int(generator.choice(later))
    rows = good.rows.copy()
    rows.loc[start : stop - 1, "start_ns"] += hours * HOUR_NS
    return _written(good, rows, f"the clock of bars {start} to {stop} is {hours:+d} hour off", "blocked")


def repeated_stamp(good: Good, generator: Generator) -> Damaged:
    row = _place(good, generator)
    rows = good.rows.copy()
    rows.loc[row, "start_ns"] = rows.loc[row - 1, "start_ns"]
    return _written(good, rows, f"bar {row} has the stamp of the one before", "blocked")


TABLE: tuple[Corruption, ...] = (
    drop_one_row,
    drop_stretch,
    drop_edge,
    swap_rows,
    shuffle_rows,
    reverse_rows,
    repeat_row,
    repeat_row_with_other_prices,
    repeat_block,
    paste_block,
    freeze_block,
    scale_row,
    scale_first_or_last_row,
    scale_stretch,
    scale_rest,
    scale_column,
    move_decimal_point,
    flip_sign,
    zero_price,
    no_number,
    swap_columns,
    swap_open_and_close,
    swap_with_volume,
    shift_prices,
    wrong_year,
    wrong_minute,
    clock_jump,
    repeated_stamp,
)
PAUSED: tuple[Corruption, ...] = (shift_all_prices,)  # seen by the gaps over pauses alone
