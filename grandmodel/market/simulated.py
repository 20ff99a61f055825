"""A small simulated tape: seeded random walks, for tests and for environments that are asked for without data."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.bars import NS_PER_MINUTE, Bars
from grandmodel.core.config import MarketParams
from grandmodel.core.instrument import Instrument
from grandmodel.core.random import random_stream
from grandmodel.market.tape import MarketTape, bars_per_year, build_tape, leverage_of
from grandmodel.market.team import INTENT_SIZE, TeamSpec

SESSION_BARS_5M = 96
ANNUAL_VOLATILITY_FRAC = 0.2
INTENT_BARS = 6  # 5-minute bars for which a simulated intent stands


def simulated_bars(symbol: str, bar_minutes: int, rows: int, seed: int) -> Bars:
    """Return a driftless random walk on a tick grid of 0.01, one session a day; one bar in 50 has no volume."""
    random = random_stream(seed, "simulated bars", symbol)
    per_session = SESSION_BARS_5M * 5 // bar_minutes
    sigma = ANNUAL_VOLATILITY_FRAC / np.sqrt(252 * per_session)
    moves = random.normal(0.0, sigma, (rows, 4))  # open to close in three parts, and the gap before the open
    moves[:, 3] *= 0.1
    log_close = np.cumsum(moves.sum(axis=1))
    log_open = log_close - moves[:, :3].sum(axis=1)
    path = np.stack([log_open + part for part in np.cumsum(np.c_[np.zeros(rows), moves[:, :3]], axis=1).T])
    prices = np.round(100.0 * np.exp(path), 2)
    session, place = np.divmod(np.arange(rows), per_session)
    start_ns = (session * 24 * 60 + place * bar_minutes) * NS_PER_MINUTE
    volume = np.where(random.random(rows) < 0.02, 0.0, random.integers(50, 500, rows).astype(np.float64))
    return Bars(
        symbol=symbol,
        bar_minutes=bar_minutes,
        start_ns=start_ns.astype(np.int64),
        close_ns=(start_ns + bar_minutes * NS_PER_MINUTE).astype(np.int64),
        open=prices[0],
        high=prices.max(axis=0),
        low=prices.min(axis=0),
        close=prices[-1],
        volume=volume,
        session=session.astype(np.int32),
        price_factor=np.ones(rows),
        tradable=volume > 0,
    )


def simulated_instrument(symbol: str) -> Instrument:
    """Return a contract with a spread of one tick and a small commission."""
    return Instrument(
        symbol=symbol,
        multiplier=1000.0,
        tick_size=0.01,
        commission_per_contract=2.0,
        session_bars_5m=SESSION_BARS_5M,
    )


def simulated_tape(
    spec: TeamSpec, seed: int = 0, rows: int = 600, instruments: int = 2, params: MarketParams | None = None
) -> MarketTape:
    """Return a tape that ``spec`` fits, of ``rows`` bars for each of ``instruments`` random walks.

    Feature k is the return over the last k + 1 bars in units of its standard deviation; a team with intents gets random
    ones that change every 30 minutes.
    """
    params = params or MarketParams()
    bar_minutes = 5 if spec.uses_intent else 30
    symbols = [f"SIM{number}" for number in range(instruments)]
    bars = {symbol: simulated_bars(symbol, bar_minutes, rows, seed) for symbol in symbols}
    contracts = {symbol: simulated_instrument(symbol) for symbol in symbols}
    leverage = {
        symbol: leverage_of(bars[symbol], rows, bars_per_year(contracts[symbol], bar_minutes), params)
        for symbol in symbols
    }
    features = {symbol: _trailing_returns(bars[symbol], spec.n_columns) for symbol in symbols}
    intents = {symbol: _random_intents(symbol, rows, seed) for symbol in symbols} if spec.uses_intent else None
    return build_tape(bars, features, contracts, params, leverage, intents)


def _trailing_returns(bars: Bars, columns: int) -> NDArray[np.float32]:
    log_close = np.log(bars.close)
    features = np.zeros((len(bars), columns), np.float32)
    for k in range(min(columns, len(bars) - 2)):
        returns = log_close[k + 1 :] - log_close[: -k - 1]
        features[k + 1 :, k] = np.clip(returns / max(float(returns.std()), 1e-12), -5.0, 5.0)
    return features


def _random_intents(symbol: str, rows: int, seed: int) -> NDArray[np.float32]:
    random = random_stream(seed, "simulated intents", symbol)
    decisions = -(-rows // INTENT_BARS)
    votes = random.integers(0, 3, (decisions, 3))
    intents = np.zeros((decisions, INTENT_SIZE), np.float32)
    for side in range(3):
        intents[:, side] = (votes == side).mean(axis=1)
    intents[:, 3] = random.integers(0, 4, decisions) / 3
    intents[:, 4] = intents[:, :3].max(axis=1)
    table = np.repeat(intents, INTENT_BARS, axis=0)[:rows]
    table[:, 5] = (np.arange(rows) % INTENT_BARS) / (2 * INTENT_BARS)
    return table
