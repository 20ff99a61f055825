"""Stylised facts of a simulated data set, beside real ones where they are at hand, and what its oracle earns."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import yaml
from numpy.typing import NDArray

from grandmodel.core.errors import DataError
from grandmodel.core.instrument import Instrument
from grandmodel.data import oracle
from grandmodel.data import simulator_model as model
from grandmodel.data.readers import read_dataset

FloatArray = NDArray[np.float64]
NAN = float("nan")
EQUITY = 10_000_000.0  # per instrument, at position 1 times leverage
VOLATILITY_TARGET_ANNUAL_FRAC = 0.2
IMPACT_COEFFICIENT = 0.3
BARS_PER_YEAR = model.SESSIONS_PER_YEAR * model.BARS_30M_PER_SESSION
FACTS = (
    "sd, bp",
    "excess kurtosis",
    "ACF r, lag 1",
    "ACF abs r, lag 1",
    "ACF abs r, lag 1 h",
    "ACF abs r, lag 1 day",
    "sd a year",
)


def describe(folder: Path, real: Path | None = None) -> str:
    """Return the stylised facts of a simulated folder as Markdown; ``real`` is the folder of real market data."""
    description = _description(folder)
    symbols: list[str] = description["symbols"]  # type: ignore[assignment]
    five = {s: _read_bars(folder, s) for s in symbols}
    thirty = {s: thirty_minute_frame(frame) for s, frame in five.items()}
    columns_5m = {f"{s} simulated": facts(_returns(f), 12, model.BARS_5M_PER_SESSION) for s, f in five.items()}
    columns_30m = {f"{s} simulated": facts(_returns(f), 2, model.BARS_30M_PER_SESSION) for s, f in thirty.items()}
    if real is not None:
        columns_5m["ES real, 2 days of 2013"] = facts(_real_es_returns(real), 12, None)
        columns_30m["NQ real, 2020-2025"] = facts(_real_nq_returns(real), 2, model.BARS_30M_PER_SESSION)
    head = f"SIMULATED, not market data: edge {description['edge']}, seed {description['seed']}, "
    head += f"{description['sessions']} sessions, {description['first_session']} to {description['last_session']}"
    return "\n\n".join(
        [
            head,
            "5-minute returns\n\n" + _table(FACTS, columns_5m),
            "30-minute returns\n\n" + _table(FACTS, columns_30m),
            "Correlation of 30-minute returns\n\n" + _correlations(thirty),
            "Net annual Sharpe ratio from session returns, costs as below\n\n" + _earnings(folder, thirty),
        ]
    )


def facts(returns: FloatArray, hour_bars: int, session_bars: int | None) -> list[float]:
    """Return the numbers named in FACTS for log returns float64[T]; NaN where the span is too short."""
    size = np.abs(returns)
    day = NAN if session_bars is None else autocorrelation(size, session_bars)
    annual = NAN if session_bars is None else returns.std() * math.sqrt(model.SESSIONS_PER_YEAR * session_bars)
    centred = returns - returns.mean()
    kurtosis = float(np.mean(centred**4) / np.mean(centred**2) ** 2 - 3)
    ordered = [autocorrelation(returns, 1), autocorrelation(size, 1), autocorrelation(size, hour_bars)]
    return [float(returns.std() * 1e4), kurtosis, *ordered, day, float(annual)]


def autocorrelation(values: FloatArray, lag: int) -> float:
    """Return the sample autocorrelation of float64[T] at ``lag`` bars."""
    centred = values - values.mean()
    return float((centred[lag:] * centred[:-lag]).mean() / (centred**2).mean())


def thirty_minute_frame(five: pd.DataFrame) -> pd.DataFrame:
    """Join six 5-min bars of full simulated sessions into each 30-min bar."""
    block = {name: five[name].to_numpy().reshape(-1, model.BARS_5M_PER_30M) for name in five.columns if name != "ts"}
    return pd.DataFrame(
        {
            "ts": five["ts"].to_numpy()[:: model.BARS_5M_PER_30M],
            "open": block["open"][:, 0],
            "high": block["high"].max(axis=1),
            "low": block["low"].min(axis=1),
            "close": block["close"][:, -1],
            "volume": block["volume"].sum(axis=1),
        }
    )


def trading_costs(thirty: pd.DataFrame, instrument: Instrument) -> tuple[FloatArray, FloatArray, float]:
    """Return (half-spread and commission, impact of one unit of position, leverage); fractions of notional [T].

    Leverage brings position 1 to the volatility target. Impact is coefficient * sigma * sqrt(contracts / volume) with
    sigma and volume of the average bar, which comes to the same on 5-min and 30-min bars.
    """
    close, volume = thirty["close"].to_numpy(), thirty["volume"].to_numpy()
    sigma = float(np.diff(np.log(close)).std())
    leverage = VOLATILITY_TARGET_ANNUAL_FRAC / (sigma * math.sqrt(BARS_PER_YEAR))
    notional = close * instrument.multiplier
    half_spread = instrument.half_spread_ticks * instrument.tick_size * instrument.multiplier
    flat = (half_spread + instrument.commission_per_contract) / notional
    impact = IMPACT_COEFFICIENT * sigma * np.sqrt(EQUITY * leverage / notional / volume.mean())
    return flat, impact, leverage


def net_returns(thirty: pd.DataFrame, instrument: Instrument, targets: FloatArray) -> FloatArray:
    """Return simple returns of equity float64[T] for positions decided at each close and filled at the next open."""
    flat, impact, leverage = trading_costs(thirty, instrument)
    close, opening = thirty["close"].to_numpy(), thirty["open"].to_numpy()
    position = np.concatenate([[0.0], targets[:-1]])
    before = np.concatenate([[0.0], position[:-1]])
    turnover = np.abs(position - before)
    gap = np.concatenate([[0.0], opening[1:] / close[:-1] - 1])
    moved = before * gap + position * (close / opening - 1)
    returns: FloatArray = leverage * (moved - turnover * flat - turnover**1.5 * impact)
    return returns


def session_sharpe(returns: FloatArray) -> float:
    """Return the annual Sharpe ratio of 30-min returns added up by session; 0 if nothing was traded."""
    by_session = returns.reshape(-1, model.BARS_30M_PER_SESSION).sum(axis=1)
    spread = float(by_session.std())
    return float(by_session.mean()) / spread * math.sqrt(model.SESSIONS_PER_YEAR) if spread > 0 else 0.0


def earnings(folder: Path, thirty: dict[str, pd.DataFrame]) -> dict[str, dict[str, FloatArray]]:
    """Return net 30-min returns float64[T] by rule (oracle, myopic, buy and hold, moving average) and symbol."""
    rules: dict[str, dict[str, FloatArray]] = {
        "oracle": {},
        "sign of drift": {},
        "buy and hold": {},
        "moving average": {},
    }
    for symbol, frame in thirty.items():
        instrument = load_instrument(folder, symbol)
        flat, impact, _ = trading_costs(frame, instrument)
        close = frame["close"]
        crossed = np.where(close.rolling(20).mean() > close.rolling(50).mean(), 1.0, -1.0)
        targets = {
            "oracle": oracle.oracle_targets(folder, symbol, float(flat.mean()), impact_frac=float(impact.mean()))[1],
            "sign of drift": oracle.myopic_targets(folder, symbol)[1],
            "buy and hold": np.ones(len(frame)),
            "moving average": crossed,
        }
        for rule, target in targets.items():
            rules[rule][symbol] = net_returns(frame, instrument, target)
    return rules


def load_instrument(folder: Path, symbol: str) -> Instrument:
    """Read one instrument of a simulated folder. Raises DataError if it is not listed."""
    path = folder / "instruments.yaml"
    for fields in yaml.safe_load(path.read_text()):
        if fields["symbol"] == symbol:
            return Instrument.model_validate(fields)
    raise DataError(str(path), "the instrument must be listed", symbol)


def _description(folder: Path) -> dict[str, object]:
    path = folder / "dataset.yaml"
    if not path.exists():
        raise DataError(str(path), "the file must exist", do="Point to a folder written by the simulator")
    content: dict[str, object] = yaml.safe_load(path.read_text())
    if content.get("simulated") is not True:
        raise DataError(str(path), "stylised facts are printed for simulated sets", content.get("simulated"))
    return content


def _read_bars(folder: Path, symbol: str) -> pd.DataFrame:
    return pd.read_parquet(folder / f"{symbol}_5m.parquet")


def _returns(frame: pd.DataFrame) -> FloatArray:
    returns: FloatArray = np.diff(np.log(frame["close"].to_numpy()))
    return returns


def _real_nq_returns(real: Path) -> FloatArray:
    bars = read_dataset(real / "futures_30m" / "NQ_30min_2020_2025.csv", instruments_max=1).strategic["NQ"]
    usable = bars.tradable[1:] & bars.tradable[:-1]
    returns: FloatArray = np.diff(np.log(bars.close))[usable]
    return returns


def _real_es_returns(real: Path) -> FloatArray:
    ticks = pd.read_parquet(real / "ticks" / "es_2013-09-01_03_ticks.parquet")
    close = ticks.set_index("ts")["price"].resample("5min").last().dropna()
    return np.diff(np.log(close.to_numpy()))


def _table(rows: tuple[str, ...], columns: dict[str, list[float]]) -> str:
    lines = ["| | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]
    for index, row in enumerate(rows):
        cells = [column[index] for column in columns.values()]
        lines.append(f"| {row} | " + " | ".join("-" if math.isnan(c) else f"{c:.3g}" for c in cells) + " |")
    return "\n".join(lines)


def _correlations(thirty: dict[str, pd.DataFrame]) -> str:
    matrix = np.corrcoef([_returns(frame) for frame in thirty.values()])
    return _table(tuple(thirty), {symbol: [float(v) for v in matrix[i]] for i, symbol in enumerate(thirty)})


def _earnings(folder: Path, thirty: dict[str, pd.DataFrame]) -> str:
    columns = {}
    for rule, returns in earnings(folder, thirty).items():
        portfolio = np.mean(list(returns.values()), axis=0)
        columns[rule] = [session_sharpe(portfolio), *(session_sharpe(r) for r in returns.values())]
    return _table(("all four, equal equity", *thirty), columns)
