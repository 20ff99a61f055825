"""The two shapes of data in this room: raw rows as read, and bars ready to learn from."""

from __future__ import annotations

import io
import json
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from grandmodel.core.bars import Bars
from grandmodel.core.errors import DataError
from grandmodel.core.files import write_bytes_atomic, write_json_atomic
from grandmodel.core.hashing import hash_arrays, hash_json
from grandmodel.core.instrument import Instrument

PRICE_COLUMNS = ("open", "high", "low", "close")
VALUE_COLUMNS = (*PRICE_COLUMNS, "volume")
SYMBOL_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
ROWS_MAX = 20
_BAR_COLUMNS = tuple(f.name for f in fields(Bars)[2:])


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing the reader noticed, decided or repaired, in a sentence.

    ``rows`` are the first ``ROWS_MAX`` rows of ``file`` that it is about, numbered as in ``RawDataset.frame``;
    ``row_count`` is how many there are. A finding about no single row leaves them empty.
    """

    level: Literal["info", "warning"]
    subject: str
    text: str
    file: str = ""
    rows: tuple[int, ...] = ()
    row_count: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple(int(row) for row in self.rows[:ROWS_MAX]))  # JSON brings a list


@dataclass(frozen=True, slots=True)
class Roll:
    """A change of contract: everything before the first bar of ``session`` is multiplied by ``ratio``."""

    symbol: str
    session: int  # days since 1970-01-01
    ratio: float


@dataclass(frozen=True, slots=True)
class Listing:
    """One instrument that could have been chosen; its days (since 1970-01-01) are None where they are not known."""

    symbol: str
    first_session: int | None
    last_session: int | None
    is_member: bool  # whether its bars were taken
    dated_by: str  # file that the days come from


@dataclass(frozen=True, slots=True)
class RawDataset:
    """Rows as they stand in the files, with clocks and units made one; prices are neither adjusted nor judged.

    ``frame`` has the columns symbol, ts (bar start, UTC), open, high, low, close, volume (float64, NaN where the file
    has no number), session (int32, days since 1970-01-01), file and row (line of the file from 1, the header line
    included; for Parquet the row from 1). ``universe`` is what the instruments were chosen from.
    """

    name: str
    simulated: bool
    licence: str
    source: str
    raw_hash: str
    bar_minutes: int
    frame: pd.DataFrame
    instruments: dict[str, Instrument]
    rolls: tuple[Roll, ...]
    detect_rolls: bool
    report: tuple[Finding, ...]
    universe: tuple[Listing, ...] = ()

    def save(self, folder: Path) -> None:
        """Write ``raw.json`` and ``rows.parquet``; equal data give equal bytes."""
        about = {
            "name": self.name,
            "simulated": self.simulated,
            "licence": self.licence,
            "source": self.source,
            "raw_hash": self.raw_hash,
            "bar_minutes": self.bar_minutes,
            "instruments": [i.model_dump() for i in self.instruments.values()],
            "rolls": [asdict(roll) for roll in self.rolls],
            "detect_rolls": self.detect_rolls,
            "report": [asdict(finding) for finding in self.report],
            "universe": [asdict(listing) for listing in self.universe],
        }
        write_json_atomic(folder / "raw.json", about)
        _write_table(folder / "rows.parquet", _arrow_table(self.frame))

    @classmethod
    def load(cls, folder: Path) -> RawDataset:
        """Read what ``save`` wrote. Raises DataError when the folder does not hold it."""
        try:
            about = json.loads((folder / "raw.json").read_text())
            frame = pq.read_table(folder / "rows.parquet").to_pandas()
        except (OSError, ValueError, pa.ArrowException) as error:
            raise DataError(
                str(folder), "the folder must hold ingested rows", str(error), "Run ingest again"
            ) from error
        return cls(
            about["name"],
            about["simulated"],
            about["licence"],
            about["source"],
            about["raw_hash"],
            about["bar_minutes"],
            frame,
            {item["symbol"]: Instrument(**item) for item in about["instruments"]},
            tuple(Roll(**item) for item in about["rolls"]),
            about["detect_rolls"],
            tuple(Finding(**item) for item in about["report"]),
            tuple(Listing(**item) for item in about.get("universe", ())),
        )


@dataclass(frozen=True, slots=True)
class Dataset:
    """Bars of several instruments on both clocks, adjusted at rolls; ``tactical`` is empty for 30-minute sources."""

    name: str
    simulated: bool
    licence: str
    source: str
    raw_hash: str
    tactical: dict[str, Bars]
    strategic: dict[str, Bars]
    instruments: dict[str, Instrument]
    report: tuple[Finding, ...]
    universe: tuple[Listing, ...] = ()

    def bars_hash(self) -> str:
        """Return the hex SHA-256 of the bars alone; other names, notes or terms leave it as it is."""
        bars = (self.tactical or self.strategic).values()
        return hash_json(sorted(hash_arrays({name: getattr(one, name) for name in _BAR_COLUMNS}) for one in bars))

    def save(self, folder: Path) -> None:
        """Write ``dataset.json`` and one Parquet file per clock and symbol; equal data give equal bytes."""
        for clock, bars_by_symbol in (("tactical", self.tactical), ("strategic", self.strategic)):
            for symbol, bars in bars_by_symbol.items():
                _write_bars(folder / clock / f"{symbol}.parquet", bars)
        about = {
            "name": self.name,
            "simulated": self.simulated,
            "licence": self.licence,
            "source": self.source,
            "raw_hash": self.raw_hash,
            "tactical": {s: b.bar_minutes for s, b in self.tactical.items()},
            "strategic": {s: b.bar_minutes for s, b in self.strategic.items()},
            "instruments": [i.model_dump() for i in self.instruments.values()],
            "report": [asdict(finding) for finding in self.report],
            "universe": [asdict(listing) for listing in self.universe],
        }
        write_json_atomic(folder / "dataset.json", about)

    @classmethod
    def load(cls, folder: Path) -> Dataset:
        """Read what ``save`` wrote. Raises DataError when the folder does not hold it."""
        try:
            about = json.loads((folder / "dataset.json").read_text())
            clocks = {
                clock: {s: _read_bars(folder / clock / f"{s}.parquet", s, m) for s, m in about[clock].items()}
                for clock in ("tactical", "strategic")
            }
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            raise DataError(str(folder), "the folder must hold saved bars", str(error), "Run ingest again") from error
        return cls(
            about["name"],
            about["simulated"],
            about["licence"],
            about["source"],
            about["raw_hash"],
            clocks["tactical"],
            clocks["strategic"],
            {item["symbol"]: Instrument(**item) for item in about["instruments"]},
            tuple(Finding(**item) for item in about["report"]),
            tuple(Listing(**item) for item in about.get("universe", ())),
        )


def _write_bars(path: Path, bars: Bars) -> None:
    _write_table(path, pa.table({name: pa.array(getattr(bars, name)) for name in _BAR_COLUMNS}))


def _arrow_table(frame: pd.DataFrame) -> pa.Table:
    # pyarrow 25 converts zoned stamps in a way that pandas 3.1 warns of: the zone is taken off and put on again.
    table = pa.Table.from_pandas(frame.assign(ts=frame["ts"].dt.tz_convert(None)), preserve_index=False)
    stamps = table["ts"].cast(pa.timestamp("ns", tz="UTC"))
    return table.set_column(table.schema.get_field_index("ts"), "ts", stamps).replace_schema_metadata(None)


def _write_table(path: Path, table: pa.Table) -> None:
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd")
    write_bytes_atomic(path, buffer.getvalue())


def _read_bars(path: Path, symbol: str, bar_minutes: int) -> Bars:
    table = pq.read_table(path, columns=list(_BAR_COLUMNS))
    columns = {name: np.ascontiguousarray(table.column(name).to_numpy()) for name in _BAR_COLUMNS}
    return Bars(symbol, bar_minutes, **columns)
