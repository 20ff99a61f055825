"""The tables of docs/simulator.md: a simulated data set, the fitted presets, and real bars where they are at hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from grandmodel.core.bars import Bars
from grandmodel.core.errors import DataError
from grandmodel.data import real_series
from grandmodel.data import return_facts as rf
from grandmodel.data import simulator_model as model
from grandmodel.data.layouts import CHINESE_CORE
from grandmodel.data.real_series import simulated_series
from grandmodel.data.return_facts import FACTS, Series
from grandmodel.data.simulator_earnings import earnings, session_sharpe, thirty_minute_frame
from grandmodel.data.simulator_model import MarketModel
from grandmodel.data.simulator_paths import simulate_bars

FloatArray = NDArray[np.float64]
CLOCKS = (5, 30)
PRESET_SEED, PRESET_SESSIONS = 7, 1000  # of the presets beside real bars, without an edge
SeriesBySymbol = dict[str, Series]


def describe(folder: Path, real: Path | None = None) -> str:
    """Return the facts of a simulated folder as Markdown; ``real`` is the folder of real market data."""
    about, market = read_description(folder)
    symbols = [i.symbol for i in market.instruments]
    five = {s: pd.read_parquet(folder / f"{s}_5m.parquet") for s in symbols}
    thirty = {s: thirty_minute_frame(frame, market) for s, frame in five.items()}
    head = f"SIMULATED, not market data: edge {about['edge']}, seed {about['seed']}, "
    head += f"{about['sessions']} sessions, {about['first_session']} to {about['last_session']}"
    clocks = {clock: _this_set(five, market, about, clock) for clock in CLOCKS}
    parts = [head]
    for clock, columns in clocks.items():
        parts.append(f"{clock}-minute bars of this set\n\n" + table(FACTS, _facts(columns)))
    parts.append("Correlation of 30-minute returns of this set\n\n" + _correlations(_own(clocks[30], symbols)))
    if real is not None:
        parts += _beside_real(real, _own(clocks[30], symbols), market)
    parts.append("Net annual Sharpe ratio from session returns, costs as below\n\n" + _earnings(folder, thirty, market))
    return "\n\n".join(parts)


def read_description(folder: Path) -> tuple[dict[str, object], MarketModel]:
    """Return ``dataset.yaml`` and the market it names. Raises DataError if the folder is no simulated set."""
    path = folder / "dataset.yaml"
    if not path.exists():
        raise DataError(str(path), "the file must exist", do="Point to a folder written by the simulator")
    content: dict[str, object] = yaml.safe_load(path.read_text())
    if content.get("simulated") is not True:
        raise DataError(str(path), "stylised facts are printed for simulated sets", content.get("simulated"))
    like = content.get("like")
    return content, model.preset(None if like is None else str(like))


def table(rows: Sequence[str], columns: Mapping[str, Sequence[float]]) -> str:
    """Return a Markdown table; NaN is shown as a dash."""
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for index, row in enumerate(rows):
        cells = [column[index] for column in columns.values()]
        lines.append(f"| {row} | " + " | ".join(map(_cell, cells)) + " |")
    return "\n".join(lines)


def _cell(number: float) -> str:
    if math.isnan(number):
        return "-"
    return f"{number:,.0f}" if abs(number) >= 1000 else f"{number:.3g}"


def _facts(columns: SeriesBySymbol) -> dict[str, list[float]]:
    return {name: rf.facts(series) for name, series in columns.items()}


def _this_set(
    five: dict[str, pd.DataFrame], market: MarketModel, about: dict[str, object], clock: int
) -> SeriesBySymbol:
    """Return the set's series and those of the same seed without an edge."""
    first = next(iter(five.values()))
    start_ns = first["ts"].astype("datetime64[ns, UTC]").to_numpy(dtype="datetime64[ns]").view(np.int64)
    close = np.array([frame["close"].to_numpy() for frame in five.values()])
    volume = np.array([frame["volume"].to_numpy() for frame in five.values()])
    own = simulated_series(start_ns, close, volume, market, clock)
    if about["edge"] == 0:
        return own
    bare = simulate_bars(edge=0.0, seed=int(str(about["seed"])), sessions=int(str(about["sessions"])), like=market.like)
    without = simulated_series(bare.start_ns, bare.close, bare.volume, market, clock)
    return own | {f"{symbol}, edge 0": series for symbol, series in without.items()}


def _own(columns: SeriesBySymbol, symbols: Sequence[str]) -> SeriesBySymbol:
    return {symbol: columns[symbol] for symbol in symbols}


def _beside_real(real: Path, own: SeriesBySymbol, market: MarketModel) -> list[str]:
    """Return the tables that need real bars: both clocks, correlations, shapes of the session."""
    fitted = {like: _preset_series(like) for like in model.PRESETS}
    nq = {"NQ": real_series.series_of(real_series.read_real(real, "nq")[0]["NQ"], model.TIMEZONE, 46)}
    chinese = real_series.read_chinese(real, real_series.SHOWN)

    def of(bars: Mapping[str, Bars], session: Callable[[str], int]) -> SeriesBySymbol:
        return {s: real_series.series_of(b, "Asia/Shanghai", session(s)) for s, b in bars.items()}

    bars_5m = {symbol: item.session_bars_5m for symbol, item in chinese.instruments.items()}
    five = of(chinese.tactical, lambda s: bars_5m[s])
    thirty = of(chinese.strategic, lambda s: -(-bars_5m[s] // model.BARS_5M_PER_30M))
    es = {"ES": real_series.es_ticks_series(real)}
    shapes = {
        "NQ of this set": (own.get("NQ"), nq["NQ"]),
        "NQ like nq": (fitted["nq"][30]["NQ"], nq["NQ"]),
        "rb like cn": (fitted["cn"][30]["rb"], thirty["SHFE.rb"]),
    }
    ferrous = {symbol: five[symbol] for symbol in real_series.FERROUS}
    core = {symbol: five[symbol] for symbol in CHINESE_CORE}
    return [
        "5-minute bars, real beside fitted\n\n" + _real_table(es, five, fitted, 5),
        "30-minute bars, real beside fitted\n\n" + _real_table(nq, thirty, fitted, 30),
        "Correlation of 5-minute returns, real\n\n" + _correlations(core),
        "Correlation of 5-minute returns, real\n\n" + _correlations(ferrous),
        "Correlation of 5-minute returns, simulated like cn\n\n" + _correlations(fitted["cn"][5]),
        "Shape of the day in half hours: correlation of simulated with real\n\n" + _shapes(shapes),
    ]


def _preset_series(like: str) -> dict[int, SeriesBySymbol]:
    market = model.preset(like)
    bars = simulate_bars(edge=0.0, seed=PRESET_SEED, sessions=PRESET_SESSIONS, like=like)
    return {clock: simulated_series(bars.start_ns, bars.close, bars.volume, market, clock) for clock in CLOCKS}


def _real_table(
    american: SeriesBySymbol, chinese: SeriesBySymbol, fitted: dict[str, dict[int, SeriesBySymbol]], clock: int
) -> str:
    columns: SeriesBySymbol = {}
    for symbol, series in american.items():
        columns |= {f"{symbol} real": series, f"{symbol} like nq": fitted["nq"][clock][symbol]}
    columns |= {"SHFE.rb real": chinese["SHFE.rb"], "rb like cn": fitted["cn"][clock]["rb"]}
    columns |= {f"{s} real": chinese[s] for s in CHINESE_CORE if s != "SHFE.rb"}
    return table(FACTS, _facts(columns))


def _shapes(pairs: Mapping[str, tuple[Series | None, Series]]) -> str:
    columns = {}
    for name, (simulated, real) in pairs.items():
        if simulated is not None:
            both = zip(rf.slot_profile(simulated), rf.slot_profile(real), strict=True)
            columns[name] = [rf.profile_correlation(one, other) for one, other in both]
    return table(("volatility", "volume"), columns)


def _correlations(series: SeriesBySymbol) -> str:
    matrix = rf.correlation(series)
    return table(tuple(series), {symbol: matrix[i].tolist() for i, symbol in enumerate(series)})


def _earnings(folder: Path, thirty: dict[str, pd.DataFrame], market: MarketModel) -> str:
    columns = {}
    for rule, returns in earnings(folder, thirty).items():
        portfolio = np.mean(list(returns.values()), axis=0)
        columns[rule] = [session_sharpe(r, market.bars_30m) for r in (portfolio, *returns.values())]
    return table(("all, equal equity", *thirty), columns)
