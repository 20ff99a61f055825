"""Imported bars in the project's own raw format, tracked by DVC."""

from __future__ import annotations

import csv
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from grandmodel.core.bars import Bars
from grandmodel.core.errors import ConfigError, DataError
from grandmodel.core.files import write_text_atomic
from grandmodel.core.hashing import hash_folder
from grandmodel.data.cleaning.adjust import to_bars
from grandmodel.data.dataset import SYMBOL_PATTERN, VALUE_COLUMNS, Dataset, RawDataset, Roll
from grandmodel.data.reading.layouts import UNIVERSE_FILE
from grandmodel.data.reading.readers import read_raw
from grandmodel.data.reading.universe import universe_table


def track(raw: RawDataset, source: Path, checkout: Path) -> Path:
    """Write ``raw``, read from ``source``, to ``imported/<name>`` of the checkout, and add it to DVC.

    What is written is read back and must give the same bars. A folder of Chinese futures is kept in its own format,
    cut to the instruments of ``raw``: its trading days stand in a column that the project's own format does not have.
    Equal data again change nothing. The folder appears whole or not at all.

    Raises:
        ConfigError: the name is no plain name or stands for other data already, or DVC fails.
        DataError: the bars read back differ from those of the source, or no team trades bars of that length.
    """
    dataset = to_bars(raw)
    if not SYMBOL_PATTERN.fullmatch(raw.name):
        raise ConfigError("--name", "must be letters, digits, dots, dashes and underscores", raw.name)
    folder = checkout / "imported" / raw.name
    partial = folder.with_name(f".{raw.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        folder_of_source = source if source.is_dir() else source.parent
        if (folder_of_source / "instruments.csv").is_file():
            copy_chinese_format(raw, dataset, folder_of_source, partial)
        else:
            write_raw_format(raw, dataset, partial)
        _refuse_other_bars(dataset, to_bars(read_raw(partial, instruments_max=len(raw.instruments))))
        if not folder.exists():
            partial.rename(folder)
        elif hash_folder(folder) != hash_folder(partial):
            raise ConfigError(str(folder), "must not hold other data already", do="Give another --name, or remove it")
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _add_to_dvc(folder, checkout, {"simulated": raw.simulated, "licence": raw.licence, "source": raw.source})
    return folder


def write_raw_format(raw: RawDataset, dataset: Dataset, folder: Path) -> None:
    """Write bars, instruments, rolls and provenance in the project's own raw format; prices stay unadjusted."""
    for symbol, rows in raw.frame.groupby("symbol", sort=False, observed=True):
        columns = {name: rows[name].to_numpy() for name in VALUE_COLUMNS}
        if np.array_equal(columns["volume"], np.rint(columns["volume"])):
            columns["volume"] = columns["volume"].astype(np.int64)
        start_ns = pd.DatetimeIndex(rows["ts"]).as_unit("ns").asi8
        table = pa.table({"ts": pa.array(start_ns, pa.timestamp("ns", "UTC")), **columns})
        pq.write_table(table, folder / f"{symbol}_{raw.bar_minutes}m.parquet", compression="zstd")
    listing = [instrument.model_dump(mode="json") for instrument in raw.instruments.values()]
    write_text_atomic(folder / "instruments.yaml", yaml.safe_dump(listing, sort_keys=False))
    rolls = _detected_rolls(raw, dataset) if raw.detect_rolls else [(roll, 1.0, roll.ratio) for roll in raw.rolls]
    if rolls:
        lines = [f"{r.symbol},{_yyyymmdd(r.session)},{old!r},{new!r}" for r, old, new in rolls]
        write_text_atomic(folder / "rolls.csv", "\n".join(["symbol,date,old_close,new_close", *lines]) + "\n")
    _write_about(raw, dataset, folder)


def copy_chinese_format(raw: RawDataset, dataset: Dataset, source: Path, folder: Path) -> None:
    """Copy the files of the instruments of ``raw``, and the lines of both tables that speak of them."""
    for file in raw.frame["file"].unique():
        shutil.copyfile(source / str(file), folder / str(file))
    for name in ("instruments.csv", "rolls.csv"):
        header, *lines = (source / name).read_text().splitlines(keepends=True)
        column = header.strip().split(",").index("symbol")
        kept = [line for line in lines if line.strip() and _cell(line, column) in raw.instruments]
        write_text_atomic(folder / name, "".join([header, *kept]))
    _write_about(raw, dataset, folder)


def _cell(line: str, column: int) -> str:
    return next(csv.reader([line]))[column]


def _write_about(raw: RawDataset, dataset: Dataset, folder: Path) -> None:
    about = {
        "name": raw.name,
        "simulated": raw.simulated,
        "licence": raw.licence,
        "source": raw.source,
        "source_hash": raw.raw_hash,
        "findings": [f"{finding.subject}: {finding.text}" for finding in dataset.report],
    }
    write_text_atomic(folder / "dataset.yaml", yaml.safe_dump(about, sort_keys=False, allow_unicode=True))
    left_out = universe_table(raw.universe)  # whoever reads the copy must still see what was not taken
    if left_out:
        write_text_atomic(folder / UNIVERSE_FILE, left_out)


def _detected_rolls(raw: RawDataset, dataset: Dataset) -> list[tuple[Roll, float, float]]:
    """Return each roll with the close before it and the open after it, as they were traded."""
    found = []
    for symbol, bars in (dataset.tactical or dataset.strategic).items():
        rows = raw.frame[raw.frame["symbol"] == symbol]
        place = np.searchsorted(pd.DatetimeIndex(rows["ts"]).as_unit("ns").asi8, bars.start_ns)
        opening, close = (rows[name].to_numpy(np.float64)[place] for name in ("open", "close"))
        is_step = (np.diff(bars.price_factor) != 0) & (
            np.diff(place) == 1
        )  # what joins a cut is found again at reading
        for row in np.flatnonzero(is_step) + 1:
            old, new = float(close[row - 1]), float(opening[row])
            found.append((Roll(symbol, int(bars.session[row]), new / old), old, new))
    return found


def _yyyymmdd(day: int) -> str:
    return str(np.datetime64(day, "D")).replace("-", "")


def _refuse_other_bars(wanted: Dataset, found: Dataset) -> None:
    for clock in ("tactical", "strategic"):
        for symbol, bars in getattr(wanted, clock).items():
            other: Bars | None = getattr(found, clock).get(symbol)
            if other is None or not all(_alike(bars, other, field.name) for field in fields(Bars)):
                rule = "bars read back from the project's own format must equal those of the source"
                raise DataError(symbol, rule, f"a difference in the {clock} bars", "Track the source with `dvc add`")


def _alike(bars: Bars, other: Bars, column: str) -> bool:
    return bool(np.array_equal(getattr(bars, column), getattr(other, column)))


def _add_to_dvc(folder: Path, checkout: Path, meta: dict[str, object]) -> None:
    command = [sys.executable, "-m", "dvc", "add", "--quiet", folder.relative_to(checkout).as_posix()]
    completed = subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False)
    if completed.returncode != 0:
        said = (completed.stderr.strip() or completed.stdout.strip()).splitlines()[-1]
        raise ConfigError(
            str(folder), "DVC must accept the folder", said, "Install the pipeline extra, or see dvc doctor"
        )
    pointer = folder.with_name(f"{folder.name}.dvc")
    content = {
        "meta": meta,
        **{key: part for key, part in yaml.safe_load(pointer.read_text()).items() if key != "meta"},
    }
    write_text_atomic(pointer, yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
