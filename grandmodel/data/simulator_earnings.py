"""What rules earn after costs on a simulated set: the oracle, what ignores costs, what knows nothing."""

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

FloatArray = NDArray[np.float64]
EQUITY = 10_000_000.0  # per instrument, at position 1 times leverage, in its currency
VOLATILITY_TARGET_ANNUAL_FRAC = 0.2
IMPACT_COEFFICIENT = 0.3


def thirty_minute_frame(five: pd.DataFrame, market: model.MarketModel) -> pd.DataFrame:
    """Join six 5-min bars of full simulated sessions into each 30-min bar; the last of a session may be shorter."""
    sessions = len(five) // market.bars_5m
    opens = np.arange(0, market.bars_5m, model.BARS_5M_PER_30M)
    starts = (np.arange(sessions)[:, None] * market.bars_5m + opens).ravel()
    ends = np.append(starts[1:], len(five)) - 1
    return pd.DataFrame(
        {
            "ts": five["ts"].to_numpy()[starts],
            "open": five["open"].to_numpy()[starts],
            "high": np.maximum.reduceat(five["high"].to_numpy(), starts),
            "low": np.minimum.reduceat(five["low"].to_numpy(), starts),
            "close": five["close"].to_numpy()[ends],
            "volume": np.add.reduceat(five["volume"].to_numpy(), starts),
        }
    )


def trading_costs(thirty: pd.DataFrame, instrument: Instrument) -> tuple[FloatArray, FloatArray, float]:
    """Return (half-spread and commission, impact of one unit of position, leverage); fractions of notional [T].

    Leverage brings position 1 to the volatility target. Impact is coefficient * sigma * sqrt(contracts / volume) with
    sigma and volume of the average bar, which comes to the same on 5-min and 30-min bars.
    """
    close, volume = thirty["close"].to_numpy(), thirty["volume"].to_numpy()
    sigma = float(np.diff(np.log(close)).std())
    leverage = VOLATILITY_TARGET_ANNUAL_FRAC / (sigma * math.sqrt(_bars_per_year(instrument)))
    notional = close * instrument.multiplier
    half_spread = instrument.half_spread_ticks * instrument.tick_size * instrument.multiplier
    flat = (half_spread + instrument.commission_per_contract) / notional + instrument.commission_frac
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


def session_sharpe(returns: FloatArray, session_bars: int = model.BARS_30M_PER_SESSION) -> float:
    """Return the annual Sharpe ratio of 30-min returns added up by session; 0 if nothing was traded."""
    by_session = returns.reshape(-1, session_bars).sum(axis=1)
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


def _bars_per_year(instrument: Instrument) -> float:
    return model.SESSIONS_PER_YEAR * instrument.session_bars_5m / model.BARS_5M_PER_30M
