"""Paths of a simulated market in memory: noise, regimes, the planted drift, prices on the tick grid, volumes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.bars import NS_PER_MINUTE
from grandmodel.core.errors import ConfigError
from grandmodel.core.random import random_stream
from grandmodel.data import simulator_model as model
from grandmodel.data.simulator_model import FloatArray, MarketModel

LAST_SESSION = date(2025, 6, 13)
FAST_SIGMAS_MAX = 3.0  # where the fast log volatility is cut


@dataclass(frozen=True)
class SimulatedBars:
    """All instruments together: I instruments, T 30-min bars, N 5-min bars. Prices on the tick grid."""

    start_ns: NDArray[np.int64]  # [N] UTC
    open: FloatArray  # [I, N], likewise high, low, close
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: NDArray[np.int64]  # [I, N]
    regime: NDArray[np.int64]  # [T + 1]; the last entry is that of the bar after the end
    state: FloatArray  # [I, T + 1]; entry t is known at the start of 30-min bar t
    drift: FloatArray  # [I, T + 1]; conditional mean of the simple return of 30-min bar t
    sigma: FloatArray  # [I, T + 1]; conditional standard deviation of the same, given regime and slot


def bar_starts_ns(market: MarketModel, sessions: int, last_session: date = LAST_SESSION) -> NDArray[np.int64]:
    """Return the UTC starts of all 5-min bars of the ``sessions`` weekdays up to ``last_session``, int64[N] ns.

    There are no holidays. Segments are laid out in real time: in the default market clocks change on Sunday mornings,
    between two sessions, so every session is 23 real hours.
    """
    days = _weekdays(sessions, last_session)
    zone = ZoneInfo(market.timezone)
    pieces = []
    for segment in market.segments:
        opens = [_open_of(segment, day, market, zone) for day in days]
        steps = np.arange(segment.bars_5m, dtype=np.int64) * 5 * NS_PER_MINUTE
        pieces.append(np.array(opens, np.int64)[:, None] + steps)
    return np.concatenate(pieces, axis=1).ravel()


def _weekdays(sessions: int, last_session: date) -> list[date]:
    days: list[date] = []
    day = last_session
    while len(days) < sessions:
        if day.weekday() < 5:
            days.append(day)
        day -= timedelta(days=1)
    return days[::-1]


def _open_of(segment: model.Segment, day: date, market: MarketModel, zone: ZoneInfo) -> int:
    if segment.evening:
        day -= timedelta(days=3 if market.evening_follows_weekday and day.weekday() == 0 else 1)
    opened = datetime.combine(day, time(*divmod(segment.open_minute, 60)), zone)
    return int(opened.timestamp()) * 1_000_000_000


def simulate_bars(
    *, edge: float, seed: int, sessions: int, last_session: date = LAST_SESSION, like: str | None = None
) -> SimulatedBars:
    """Simulate every instrument of the default market, or of the preset ``like``, in memory.

    Raises ConfigError if ``edge`` or ``sessions`` is out of range, or there is no such preset.
    """
    if not (math.isfinite(edge) and 0 <= edge <= 3):
        raise ConfigError("edge", "must be between 0 (martingale) and 3", edge)
    if not 1 <= sessions <= 5000:
        raise ConfigError("sessions", "must be between 1 and 5000", sessions)
    return simulate_market(model.preset(like), edge, seed, sessions, last_session)


def simulate_market(
    market: MarketModel, edge: float, seed: int, sessions: int, last_session: date = LAST_SESSION
) -> SimulatedBars:
    """Simulate every instrument of ``market`` in memory."""
    regime = _regimes(seed, market, sessions * market.bars_30m + 1)
    multiple = market.regime_multiples[regime]
    shocks, gaps, slow = _shocks(seed, market, multiple, sessions)
    state, drift, sigma = _plant(edge, market, shocks, gaps, multiple)
    path = _paths(market, shocks, gaps, drift)
    ticks = np.array([i.tick_size for i in market.instruments])[:, None]
    decimals = [i.price_decimals for i in market.instruments]

    def on_grid(prices: FloatArray) -> FloatArray:
        return np.stack([np.round(np.rint(p / t) * t, d) for p, t, d in zip(prices, ticks, decimals, strict=True)])

    return SimulatedBars(
        start_ns=bar_starts_ns(market, sessions, last_session),
        open=on_grid(path[..., 0]),
        high=on_grid(path.max(axis=-1)),
        low=on_grid(path.min(axis=-1)),
        close=on_grid(path[..., -1]),
        volume=_volumes(seed, market, shocks, slow),
        regime=regime,
        state=state,
        drift=drift,
        sigma=sigma,
    )


def _regimes(seed: int, market: MarketModel, bars: int) -> NDArray[np.int64]:
    stream = random_stream(seed, "simulator", "regime")
    cumulative = np.cumsum(market.regime_transition, axis=1)
    draws = stream.random(bars)
    regime = np.empty(bars, dtype=np.int64)
    current = 1
    for t in range(bars):
        current = min(int(np.searchsorted(cumulative[current], draws[t], side="right")), len(cumulative) - 1)
        regime[t] = current
    return regime


def _shocks(
    seed: int, market: MarketModel, multiple: FloatArray, sessions: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return zero-mean simple returns of sub-steps [I, N, M], of the pauses before bars [I, N], and volatility [N].

    The volatility is that of each 5-min bar relative to the mean of its slot.
    """
    bars = sessions * market.bars_5m
    names = ["factor", *(i.symbol for i in market.instruments)]
    sources = [_source(seed, name, bars, market) for name in names]
    counts = np.tile(market.bars_of_slot, sessions)
    slow = np.repeat(multiple[:-1] * _fast_volatility(seed, market, sources[0]), counts)
    shaped = slow * np.tile(market.volatility_shape, sessions)
    shocks = np.empty((len(market.instruments), bars, model.SUB_STEPS_PER_BAR))
    gaps = np.zeros((len(market.instruments), bars))
    pauses = {name: _pause_noise(seed, name, market, sessions) for name in names}
    for row, instrument in enumerate(market.instruments):
        loading, rest = instrument.factor_loading, math.sqrt(1 - instrument.factor_loading**2)
        sigma_30m = market.base_sigma_30m(instrument)
        mixed = loading * sources[0] + rest * sources[row + 1]
        shocks[row] = sigma_30m / math.sqrt(model.BARS_5M_PER_30M) * shaped[:, None] * mixed
        mixed_gap = loading * pauses["factor"] + rest * pauses[instrument.symbol]
        for k, (bar, sigmas) in enumerate(market.pauses):
            gaps[row, bar :: market.bars_5m] = sigma_30m * sigmas * slow[bar :: market.bars_5m] * mixed_gap[:, k]
    gaps[:, 0] = 0.0  # nothing precedes the first session
    return shocks, gaps, slow


def _pause_noise(seed: int, name: str, market: MarketModel, sessions: int) -> FloatArray:
    """Return noise of variance 1 for every pause [sessions, P]: normal in the default market, else as heavy as bars."""
    stream = random_stream(seed, "simulator", "gap", name)
    noise: FloatArray = stream.standard_normal((sessions, len(market.pauses)))
    if not market.heavy_pauses:
        return noise
    freedom = market.tail_degrees_of_freedom
    scale: FloatArray = np.sqrt((freedom - 2) / stream.chisquare(freedom, noise.shape))
    noise *= scale.clip(max=market.tail_scale_max)
    return noise


def _source(seed: int, name: str, bars: int, market: MarketModel) -> FloatArray:
    """Return sub-step noise [bars, M] whose sum over a bar has variance 1: Student t bars and symmetric jumps."""
    stream = random_stream(seed, "simulator", "noise", name)
    freedom, steps = market.tail_degrees_of_freedom, model.SUB_STEPS_PER_BAR
    scale = np.sqrt((freedom - 2) / stream.chisquare(freedom, bars)).clip(max=market.tail_scale_max)
    noise = stream.standard_normal((bars, steps)) * (scale / math.sqrt(steps))[:, None]
    jumps = np.flatnonzero(stream.random(bars) < model.JUMP_PROBABILITY_PER_BAR)
    noise[jumps, stream.integers(steps, size=len(jumps))] += model.JUMP_SIZE_SIGMAS * stream.standard_normal(len(jumps))
    variance = 1 + model.JUMP_PROBABILITY_PER_BAR * model.JUMP_SIZE_SIGMAS**2
    return noise / math.sqrt(variance)


def _fast_volatility(seed: int, market: MarketModel, factor: FloatArray) -> FloatArray:
    """Return the fast part of the volatility of each 30-min bar [T], mean square about 1; ones where it has no spread.

    h' = memory h + sqrt(1 - memory^2) (leverage z + sqrt(1 - leverage^2) e), with z the move of the common factor over
    the bar; volatility is exp(spread h - spread^2). It is set before the bar it scales, so the bars stay martingales.
    """
    moves = _unit_variance(model.by_slot(factor[None, :, :], market)[0].sum(axis=-1))
    if market.volatility_spread == 0:
        return np.ones(len(moves))
    noise = random_stream(seed, "simulator", "fast volatility").standard_normal(len(moves))
    drive = market.leverage * moves.clip(-4, 4) + math.sqrt(1 - market.leverage**2) * noise
    memory, intake = market.volatility_memory, math.sqrt(1 - market.volatility_memory**2)
    level, levels = 0.0, np.empty(len(moves))
    for t, step in enumerate(drive.tolist()):
        levels[t] = level
        level = memory * level + intake * step
    spread = market.volatility_spread
    fast: FloatArray = np.exp(spread * levels.clip(-FAST_SIGMAS_MAX, FAST_SIGMAS_MAX) - spread**2)
    return fast


def _unit_variance(values: FloatArray) -> FloatArray:
    """Return numbers divided by their root mean square."""
    scaled: FloatArray = values / math.sqrt(float(np.mean(values**2)))
    return scaled


def _plant(
    edge: float, market: MarketModel, shocks: FloatArray, gaps: FloatArray, multiple: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Run the recursion of the simulator's head; return state, drift and sigma, each [I, T + 1]."""
    instruments, bars = len(shocks), len(multiple) - 1
    base = np.array([market.base_sigma_30m(i) for i in market.instruments])
    unit = base[:, None] * multiple  # [I, T + 1]
    slot = np.arange(bars + 1) % market.bars_30m
    sigma = unit * market.shape_30m()[slot]
    surprise = model.by_slot(shocks, market).sum(axis=-1)
    surprise += model.by_slot(gaps, market).sum(axis=-1)
    strength = -edge * model.EDGE_COEFFICIENT * sigma * market.edge_shape()[slot]
    decay, intake = model.STATE_DECAY, math.sqrt(1 - model.STATE_DECAY**2)
    state, drift = np.zeros((2, instruments, bars + 1))
    for t in range(bars):
        drift[:, t] = strength[:, t] * np.tanh(state[:, t])
        state[:, t + 1] = decay * state[:, t] + intake * (surprise[:, t] + drift[:, t]) / unit[:, t]
    drift[:, bars] = strength[:, bars] * np.tanh(state[:, bars])
    return state, drift, sigma


def _paths(market: MarketModel, shocks: FloatArray, gaps: FloatArray, drift: FloatArray) -> FloatArray:
    """Return efficient prices [I, N, 1 + M]: at the start of each bar and after each of its sub-steps."""
    instruments, bars, steps = shocks.shape
    counts = np.tile(market.bars_of_slot, bars // market.bars_5m)
    mean = np.repeat(drift[:, :-1], counts, axis=1) / np.repeat(counts * steps, counts)
    growth = np.empty((instruments, bars, 1 + steps))
    growth[..., 0] = gaps
    growth[..., 1:] = shocks + mean[..., None]
    start = np.array([i.start_price for i in market.instruments])[:, None]
    path: FloatArray = start * np.exp(np.cumsum(np.log1p(growth.reshape(instruments, -1)), axis=1))
    return path.reshape(growth.shape)


def _volumes(seed: int, market: MarketModel, shocks: FloatArray, slow: FloatArray) -> NDArray[np.int64]:
    """Return contracts per 5-min bar, int64[I, N], at least 1; they rise with |return| and with volatility."""
    instruments, bars, _ = shocks.shape
    returns = np.abs(shocks.sum(axis=-1))
    shape = np.tile(market.volatility_shape, bars // market.bars_5m)
    share = np.tile(market.volume_shape, bars // market.bars_5m)
    volume = np.empty((instruments, bars), dtype=np.int64)
    for row, instrument in enumerate(market.instruments):
        sigma = market.base_sigma_30m(instrument) / math.sqrt(model.BARS_5M_PER_30M) * slow * shape
        busy = model.VOLUME_RETURN_SLOPE * (np.minimum(returns[row] / sigma, 5.0) - 0.7)
        noise = random_stream(seed, "simulator", "volume", instrument.symbol).standard_normal(bars)
        log_ratio = busy + model.VOLUME_NOISE * noise + 0.5 * np.log(slow)
        volume[row] = np.maximum(1, np.rint(instrument.session_volume * share * np.exp(log_ratio)))
    return volume
