"""Contract terms: from the data folder, from the built-in table, or inferred where nothing is known."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray
from pydantic import ValidationError

from grandmodel.core.errors import DataError
from grandmodel.core.instrument import Instrument
from grandmodel.data.asset_classes import asset_class
from grandmodel.data.calendar.sessions import session_bars_5m
from grandmodel.data.dataset import Finding

# For a contract without fees in instruments.csv: the dearest fraction which that table gives a commodity.
DEFAULT_COMMISSION_FRAC = 1e-4
_TICK_GRIDS = (100.0, 50.0, 25.0, 10.0, 5.0, 2.0, 1.0, 0.5, 0.25, 0.2, 0.1, 0.05, 0.025, 0.02, 0.01, 0.005, 0.001)
_FINEST_TICKS = (0.0005, 0.0001, 0.00005, 0.00001, 0.000005, 0.000001)
_ON_GRID_FRAC_MIN = 0.995
_GENERIC = "generic"
_CONTRACT = re.compile(r"([A-Z0-9]{1,3})[FGHJKMNQUVXZ]\d{1,4}")  # root, month letter, year


def read_instruments_yaml(path: Path) -> dict[str, Instrument]:
    """Read a list of Instrument fields. Raises DataError naming the entry and the key."""
    try:
        entries = yaml.safe_load(path.read_text())
        found = [Instrument(**entry) for entry in entries]
    except (OSError, yaml.YAMLError, TypeError, UnicodeDecodeError) as error:
        raise DataError(path.name, "the file must be a YAML list of instruments", str(error)) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise DataError(f"{path.name} key {key}", first["msg"], first.get("input"), "Correct the key") from error
    return {instrument.symbol: instrument for instrument in found}


def read_instruments_csv(path: Path, symbols: Collection[str] = ()) -> tuple[dict[str, Instrument], list[Finding]]:
    """Read symbol, multiplier, tick, session and fees of Chinese futures.

    The commission per side is the mean of the opening fee and the dearer of the two closing fees (closing on the same
    day can cost ten times more), because the teams trade within the day.

    Args:
        path: the table.
        symbols: of whose missing fees to tell; all when empty.

    Raises:
        DataError: the table is unreadable or a column is missing.
    """
    try:
        table = pd.read_csv(path).set_index("symbol", drop=False)
        instruments = {str(symbol): _chinese_instrument(row) for symbol, row in table.iterrows()}
    except (OSError, ValueError, KeyError, SyntaxError) as error:
        rule = "the table must hold symbol, multiplier, tick, session and fees"
        raise DataError(path.name, rule, str(error), "Correct the table") from error
    without_fees = [str(symbol) for symbol in table.index[table["fee_open"].isna()] if not symbols or symbol in symbols]
    text = f"no fees stated for {', '.join(without_fees)}: {DEFAULT_COMMISSION_FRAC:g} of notional per side is assumed"
    return instruments, [Finding("info", path.name, text)] if without_fees else []


def default_instrument(symbol: str, prices: NDArray[np.float64], bar_minutes: int = 5) -> tuple[Instrument, Finding]:
    """Return the built-in terms of ``symbol``, or the generic ones of its class with the tick inferred.

    Args:
        symbol: as in the file name.
        prices: float64[n], for the tick where the table leaves it open; NaN is ignored.
        bar_minutes: daily bars of an unknown symbol are taken for a share.
    """
    table = _default_terms()
    if symbol in table and not symbol.startswith(_GENERIC):
        instrument = _with_tick(symbol, table[symbol], prices)
        tick = "" if table[symbol]["tick_size"] else f", the tick is inferred as {instrument.tick_size:g}"
        text = f"contract terms are the built-in ones{tick}; put an instruments.yaml beside the data to change them"
        return instrument, Finding("info", symbol, text)
    instrument = _with_tick(symbol, {**table[_GENERIC], "tick_size": 0}, prices)
    kind = asset_class(instrument, bar_minutes)
    known = f"{_GENERIC} {kind}"
    if known in table:
        instrument = _with_tick(symbol, table[known], prices)
    assumed = {"fx": "currency", "crypto": "round-the-clock", "equity": "New York stock"}.get(kind, "Globex")
    fee = (
        f"{instrument.commission_frac * 1e4:g} bp"
        if instrument.commission_frac
        else f"{instrument.commission_per_contract:g} {instrument.currency}"
    )
    text = (
        f"the symbol is unknown: multiplier {instrument.multiplier:g}, commission {fee} a side and {assumed} sessions "
        f"are assumed and the tick is inferred as {instrument.tick_size:g}; name a known symbol, or put an "
        "instruments.yaml beside the data to change that"
    )
    return instrument, Finding("warning", symbol, text)


def known_root(name: str) -> str | None:
    """Return the built-in symbol that ``name`` means: itself in any case, or one contract of it as 6EH4 of 6E."""
    table = [symbol for symbol in _default_terms() if not symbol.startswith(_GENERIC)]
    upper = {symbol.upper(): symbol for symbol in table}
    contract = _CONTRACT.fullmatch(name.upper())
    return upper.get(name.upper()) or (upper.get(contract[1]) if contract else None)


@lru_cache(maxsize=1)
def _default_terms() -> dict[str, Any]:
    terms = resources.files(__package__).joinpath("default_instruments.yaml").read_text()
    table: dict[str, Any] = yaml.safe_load(terms)
    return table


def _with_tick(symbol: str, terms: dict[str, Any], prices: NDArray[np.float64]) -> Instrument:
    return Instrument(symbol=symbol, **{**terms, "tick_size": terms["tick_size"] or infer_tick_size(prices)})


def infer_tick_size(prices: NDArray[np.float64]) -> float:
    """Return the coarsest usual tick on which nearly all of float64[n] ``prices`` lie; NaN is ignored."""
    known = prices[np.isfinite(prices)]
    for tick_size in (*_TICK_GRIDS, *_FINEST_TICKS):
        ticks = known / tick_size
        if np.mean(np.abs(ticks - np.rint(ticks)) < 1e-6) >= _ON_GRID_FRAC_MIN:
            return tick_size
    return _FINEST_TICKS[-1]


def snap_to_ticks(prices: NDArray[np.floating], tick_size: float) -> NDArray[np.float64]:
    """Undo rounding: prices within 1 % of a tick of the grid become the grid's float64; others stay."""
    wide = prices.astype(np.float64)
    ticks = wide / tick_size
    nearest = np.rint(ticks)
    decimals = next(places for places in range(12) if abs(round(tick_size, places) - tick_size) < 1e-12)
    return np.where(np.abs(ticks - nearest) < 0.01, np.round(nearest * tick_size, decimals), wide)


def _chinese_instrument(row: pd.Series) -> Instrument:
    fee = (float(row["fee_open"]) + max(float(row["fee_close"]), float(row["fee_closetoday"]))) / 2
    if np.isnan(fee):
        commission = {"commission_frac": DEFAULT_COMMISSION_FRAC}
    else:
        commission = {"commission_per_contract" if str(row["fee_by_lot"]) == "True" else "commission_frac": fee}
    return Instrument(
        symbol=str(row["symbol"]),
        multiplier=float(row["multiplier"]),
        tick_size=float(row["tick"]),
        currency="CNY",
        timezone="Asia/Shanghai",
        session_bars_5m=session_bars_5m(str(row["session"])),
        **commission,
    )
