"""What lies at the path a user gives: which of three layouts, which files, which instruments."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import yaml

from grandmodel.core.errors import DataError
from grandmodel.core.instrument import Instrument
from grandmodel.data.calendar.schedules import CHINESE_EXCHANGES
from grandmodel.data.cleaning.rolls import read_rolls
from grandmodel.data.dataset import SYMBOL_PATTERN, Finding, Roll
from grandmodel.data.instruments import known_root, read_instruments_csv, read_instruments_yaml

# One index of large and one of small stocks, a bond, two metals and oil: six that span the folder's markets.
CHINESE_CORE = ("CFFEX.IF", "CFFEX.IC", "CFFEX.T", "SHFE.cu", "SHFE.rb", "INE.sc")
SUFFIXES = (".csv", ".parquet")
UNIVERSE_FILE = "universe.csv"
_SIDE_FILES = ("instruments.yaml", "instruments.csv", "rolls.csv", "dataset.yaml", UNIVERSE_FILE)
_CLOCK_SUFFIX = re.compile(r"_(1|5|30|1440)m(in)?$")


@dataclass(frozen=True, slots=True)
class Layout:
    """The files to read and all that stands beside them; ``generic`` files bring no instruments."""

    kind: Literal["project", "chinese", "generic"]
    name: str
    simulated: bool
    licence: str
    source: str
    files: dict[str, Path]  # by symbol
    side_files: tuple[Path, ...]
    instruments: dict[str, Instrument]
    rolls: tuple[Roll, ...]
    findings: tuple[Finding, ...]
    others: dict[str, Path]  # by symbol: files that could have been read as well


def find_layout(path: Path, symbols: Sequence[str], instruments_max: int, instrument: str | None) -> Layout:
    """Recognise the layout at ``path`` and choose the instruments.

    A file in a folder with an instrument table is read as that folder cut to the file. ``instrument``, or the one
    symbol asked for, names the instrument of any other single file, whatever the file is called.

    Raises:
        DataError: nothing is there, no file can be read, or a symbol asked for is not there.
    """
    if not path.exists():
        raise DataError(str(path), "the data file or folder must exist", do="Check the path given as data")
    folder = path if path.is_dir() else path.parent
    if (folder / "instruments.yaml").is_file():
        return _with_table(path, folder, "project", symbols, instruments_max)
    if (folder / "instruments.csv").is_file():
        return _with_table(path, folder, "chinese", symbols, instruments_max)
    files = _data_files(path) if path.is_dir() else [path]
    if path.is_file() and len(symbols) == 1:
        instrument = instrument or symbols[0]
    by_symbol: dict[str, Path] = {}
    for file in files:
        symbol = instrument or guess_symbol(file.stem)
        if symbol in by_symbol:
            found = [by_symbol[symbol].name, file.name]
            raise DataError(str(path), f"one file per instrument; two seem to be {symbol}", found, "Rename one of them")
        by_symbol[symbol] = file
    chosen, findings = _choose(by_symbol, symbols, instruments_max, (), path)
    about = _about(folder, path.stem, path.name)
    sides, others = _side_files(folder, "dataset.yaml", UNIVERSE_FILE), _without(by_symbol, chosen)
    return Layout("generic", *about, chosen, sides, {}, (), tuple(findings), others)


def guess_symbol(stem: str) -> str:
    """Return the symbol in a file name: ``NQ_30min_2020_2025`` is NQ, ``cffex_IF_2021`` CFFEX.IF, ``6EH4_2024`` 6E."""
    words = stem.replace(" ", "_").split("_")
    if words[0].upper() in CHINESE_EXCHANGES and len(words) > 1:
        words = [f"{words[0].upper()}.{words[1]}", *words[2:]]
    symbol = known_root(words[0]) or words[0].split("-")[0]
    symbol = known_root(symbol) or symbol
    return symbol if SYMBOL_PATTERN.fullmatch(symbol) else "UNKNOWN"


def _with_table(
    path: Path, folder: Path, kind: Literal["project", "chinese"], symbols: Sequence[str], instruments_max: int
) -> Layout:
    findings: list[Finding] = []
    files = _data_files(folder) if path.is_dir() else [path]
    by_symbol = _by_stem(files)
    core = CHINESE_CORE if kind == "chinese" else ()
    chosen, choice = _choose(by_symbol, symbols, instruments_max, core, folder)
    if kind == "project":
        instruments = read_instruments_yaml(folder / "instruments.yaml")
    else:
        instruments, findings = read_instruments_csv(folder / "instruments.csv", chosen)
    for symbol, file in chosen.items():
        if symbol not in instruments:
            do = f"Add {symbol} to the instrument table of the folder"
            raise DataError(file.name, "every file must have an entry in the instrument table", symbol, do)
    rolls = _rolls(folder, kind, chosen)
    about = _about(folder, folder.name, folder.name)
    kept = {symbol: instruments[symbol] for symbol in chosen}
    sides, others = _side_files(folder, *_SIDE_FILES), _without(_by_stem(_data_files(folder)), chosen)
    return Layout(kind, *about, chosen, sides, kept, rolls, tuple(findings + choice), others)


def _by_stem(files: list[Path]) -> dict[str, Path]:
    return {_CLOCK_SUFFIX.sub("", file.stem): file for file in files}


def _without(files: dict[str, Path], chosen: dict[str, Path]) -> dict[str, Path]:
    return {symbol: file for symbol, file in files.items() if symbol not in chosen}


def _rolls(folder: Path, kind: str, symbols: dict[str, Path]) -> tuple[Roll, ...]:
    path = folder / "rolls.csv"
    if path.is_file():
        return read_rolls(path, symbols)
    if kind == "chinese":
        raise DataError(str(path), "unadjusted prices need a table of rolls", do="Put rolls.csv beside the data")
    return ()


def _side_files(folder: Path, *names: str) -> tuple[Path, ...]:
    return tuple(folder / name for name in names if (folder / name).is_file())


def _about(folder: Path, name: str, source: str) -> tuple[str, bool, str, str]:
    """Return name, whether it is simulated, licence and source: from ``dataset.yaml``, else as given."""
    path = folder / "dataset.yaml"
    about: object = {}
    if path.is_file():
        try:
            about = yaml.safe_load(path.read_text())
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise DataError(path.name, "the file must be YAML", str(error)) from error
    if not isinstance(about, dict):
        raise DataError(path.name, "the file must hold name, licence, source and simulated", about)
    simulated = about.get("simulated", False)
    if not isinstance(simulated, bool):
        do = "Write true or false without quotes"
        raise DataError(f"{path.name} key simulated", "the value must be true or false", simulated, do)
    return (
        str(about.get("name", name)),
        simulated,
        str(about.get("licence") or ""),
        str(about.get("source", source)),
    )


def _data_files(folder: Path) -> list[Path]:
    files = sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES and p.name not in _SIDE_FILES)
    if not files:
        raise DataError(str(folder), "the folder must hold .csv or .parquet files of bars", do="Check the path")
    return files


def _choose(
    files: dict[str, Path], symbols: Sequence[str], instruments_max: int, core: Sequence[str], path: Path
) -> tuple[dict[str, Path], list[Finding]]:
    missing = [symbol for symbol in symbols if symbol not in files]
    if missing:
        raise DataError(str(path), f"the folder must hold {missing[0]}", sorted(files), "Ask for one of these")
    if symbols:
        return {symbol: files[symbol] for symbol in symbols}, []
    if len(files) <= instruments_max:
        return files, []
    kept = ([symbol for symbol in core if symbol in files] or sorted(files))[:instruments_max]
    text = f"{len(files)} instruments found, {', '.join(kept)} are used: at most {instruments_max} unless named"
    return {symbol: files[symbol] for symbol in kept}, [Finding("info", path.name, text)]
