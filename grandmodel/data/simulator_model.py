"""The simulated market as numbers: instruments, clock, volatility, volume, and the one planted edge.

The constants below are the default market. ``preset("nq")`` and ``preset("cn")`` are markets whose numbers were fitted
to real bars by ``grandmodel.data.simulator_fit`` and stand in ``simulator_nq.yaml`` and ``simulator_cn.yaml``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from grandmodel.core.errors import ConfigError

FloatArray = NDArray[np.float64]
TIMEZONE = "America/Chicago"
SESSION_OPEN_HOUR = 17  # local, on the calendar day before the trading day; the session ends at 16:00
BARS_5M_PER_SESSION = 276
BARS_5M_PER_30M = 6
BARS_30M_PER_SESSION = BARS_5M_PER_SESSION // BARS_5M_PER_30M
SESSIONS_PER_YEAR = 252
SUB_STEPS_PER_BAR = 6  # trades of a 5-min bar from which high and low are taken


@dataclass(frozen=True)
class SimulatedInstrument:
    """One instrument: contract terms as at the exchange, dynamics in round numbers near the real ones."""

    symbol: str
    multiplier: float
    tick_size: float
    price_decimals: int
    start_price: float
    volatility_annual_frac: float
    factor_loading: float  # correlation of its return with the common factor
    session_volume: float  # contracts
    commission_per_contract: float = 2.0
    commission_frac: float = 0.0
    currency: str = "USD"


INSTRUMENTS = (
    SimulatedInstrument("NQ", 20.0, 0.25, 2, 17_000.0, 0.22, 0.95, 600_000.0),
    SimulatedInstrument("ES", 50.0, 0.25, 2, 4_800.0, 0.17, 0.95, 1_500_000.0),
    SimulatedInstrument("CL", 1000.0, 0.01, 2, 75.0, 0.35, 0.32, 400_000.0),
    SimulatedInstrument("GC", 100.0, 0.10, 1, 2_100.0, 0.16, 0.0, 250_000.0),
)

# Volatility regimes, shared by all instruments: a Markov chain on 30-min bars.
REGIME_NAMES = ("calm", "normal", "stressed")
REGIME_MULTIPLES = (0.75, 1.0, 1.8)  # of volatility, before the mean square is scaled to 1
REGIME_SESSIONS = (10.0, 8.0, 2.5)  # expected stay
REGIME_NEXT = ((0.0, 1.0, 0.0), (0.6, 0.0, 0.4), (0.2, 0.8, 0.0))  # where a stay ends

TAIL_DEGREES_OF_FREEDOM = 5.0
TAIL_SCALE_MAX = 6.0
JUMP_PROBABILITY_PER_BAR = 1 / 2500
JUMP_SIZE_SIGMAS = 6.0
GAP_SIGMAS_30M = 0.35

# Knots of the intraday shapes: (hours since the session opened at 17:00 Chicago, level).
# Asia quiet, Europe from 02:00, US cash open 08:30, lunch, US cash close 15:00.
VOLATILITY_KNOTS = (
    (0.0, 0.75), (1.0, 0.60), (4.0, 0.60), (7.0, 0.55), (9.0, 0.80), (11.0, 0.75), (14.0, 0.85), (15.2, 1.05),
    (15.5, 2.10), (16.5, 1.70), (18.5, 1.15), (20.5, 1.20), (21.9, 1.60), (22.2, 0.85), (23.0, 0.60),
)  # fmt: skip
VOLUME_KNOTS = (
    (0.0, 0.30), (1.0, 0.20), (4.0, 0.18), (7.0, 0.15), (9.0, 0.40), (11.0, 0.40), (14.0, 0.55), (15.2, 1.00),
    (15.5, 4.20), (16.5, 3.00), (18.5, 1.60), (20.5, 1.80), (21.9, 3.50), (22.2, 0.80), (23.0, 0.30),
)  # fmt: skip
VOLUME_RETURN_SLOPE = 0.35  # of log volume on |standardised return|
VOLUME_NOISE = 0.35

# The planted edge: a fade of the recent move.
STATE_DECAY = 0.88  # per 30-min bar; the state is close to nwrqk_deviation and momentum_20 in units of volatility
EDGE_COEFFICIENT = 0.125  # conditional mean at edge 1, in units of the bar's volatility, before hour and tanh
EDGE_PEAK_HOUR = 10.0  # local

PRESETS = ("nq", "cn")


@dataclass(frozen=True)
class Segment:
    """A stretch of a session without a pause."""

    evening: bool  # on the day before the trading day
    open_minute: int  # local, of its day
    bars_5m: int


@dataclass(frozen=True, eq=False)
class MarketModel:
    """All that shapes a simulated market but the edge. B 5-min bars and S 30-min bars (slots) a session, K regimes.

    The last slot of a session may hold fewer than six 5-min bars.
    """

    like: str | None  # name of the preset; None for the default market
    timezone: str
    segments: tuple[Segment, ...]
    evening_follows_weekday: bool  # Monday's session opens on Friday evening, not on Sunday
    instruments: tuple[SimulatedInstrument, ...]
    volatility_shape: FloatArray  # [B] relative to the mean, mean square 1
    volume_shape: FloatArray  # [B] share of the session's volume, sum 1
    pauses: tuple[tuple[int, float], ...]  # 5-min bar before which trading paused, sigma of the move in 30-min sigmas
    regime_multiples: FloatArray  # [K] mean square 1 in the long run
    regime_transition: FloatArray  # [K, K] per 30-min bar
    tail_degrees_of_freedom: float
    tail_scale_max: float
    heavy_pauses: bool = False  # moves over pauses are Student t as those of bars are; else normal
    volatility_spread: float = 0.0  # sd of the fast log volatility, an AR(1) on 30-min bars shared by all
    volatility_memory: float = 0.0  # its autocorrelation from one 30-min bar to the next
    leverage: float = 0.0  # correlation of its innovation with the move of the common factor one bar before
    source: dict[str, Any] = field(default_factory=dict)  # what a preset was fitted on

    @property
    def bars_5m(self) -> int:
        """Return the 5-min bars of a session."""
        return sum(segment.bars_5m for segment in self.segments)

    @property
    def bars_30m(self) -> int:
        """Return the 30-min bars of a session."""
        return -(-self.bars_5m // BARS_5M_PER_30M)

    @property
    def bars_of_slot(self) -> NDArray[np.int64]:
        """Return the 5-min bars in each 30-min bar, int64[S]."""
        starts = np.arange(self.bars_30m) * BARS_5M_PER_30M
        return np.minimum(BARS_5M_PER_30M, self.bars_5m - starts)

    @property
    def bars_30m_per_year(self) -> float:
        """Return the length of a year of sessions in half hours."""
        return SESSIONS_PER_YEAR * self.bars_5m / BARS_5M_PER_30M

    @property
    def slot_sigmas(self) -> FloatArray:
        """Return the sigma of the pauses that fall into each 30-min bar, in 30-min sigmas, float64[S]."""
        squares = np.zeros(self.bars_30m)
        for bar, sigmas in self.pauses:
            squares[bar // BARS_5M_PER_30M] += sigmas**2
        return np.sqrt(squares)

    def base_sigma_30m(self, instrument: SimulatedInstrument) -> float:
        """Return the root mean square 30-min return, as a fraction."""
        return instrument.volatility_annual_frac / math.sqrt(self.bars_30m_per_year)

    def shape_30m(self) -> FloatArray:
        """Return the volatility of each 30-min slot relative to the mean, float64[S]."""
        shape: FloatArray = np.sqrt(np.mean(by_slot(self.volatility_shape[None, :] ** 2, self)[0], axis=1))
        return shape

    def edge_shape(self) -> FloatArray:
        """Return the strength of the edge in each 30-min slot of a session, float64[S], >= 0, mean 1."""
        minutes = [s.open_minute + 5 * bar for s in self.segments for bar in range(s.bars_5m)]
        hours = np.array(minutes[::BARS_5M_PER_30M]) / 60 + 0.25
        shape: FloatArray = 1 + np.cos(2 * np.pi * (hours - EDGE_PEAK_HOUR) / 24)
        shape /= shape.mean()
        return shape


def by_slot(bars: FloatArray, market: MarketModel) -> FloatArray:
    """Return per-bar numbers [n, bars, ...] as [n, slots, 6 x ...], with zeros where a session's last slot is short."""
    rows, sessions = len(bars), bars.shape[1] // market.bars_5m
    whole = bars.reshape(rows, sessions, market.bars_5m, -1)
    missing = market.bars_30m * BARS_5M_PER_30M - market.bars_5m
    if missing:
        whole = np.concatenate([whole, np.zeros((rows, sessions, missing, whole.shape[-1]))], axis=2)
    return whole.reshape(rows, sessions * market.bars_30m, -1)


@cache
def default_market() -> MarketModel:
    """Return the market of the constants above."""
    return MarketModel(
        like=None,
        timezone=TIMEZONE,
        segments=(Segment(True, SESSION_OPEN_HOUR * 60, BARS_5M_PER_SESSION),),
        evening_follows_weekday=False,
        instruments=INSTRUMENTS,
        volatility_shape=volatility_shape(),
        volume_shape=volume_shape(),
        pauses=((0, GAP_SIGMAS_30M),),
        regime_multiples=regime_multiples(),
        regime_transition=regime_transition(),
        tail_degrees_of_freedom=TAIL_DEGREES_OF_FREEDOM,
        tail_scale_max=TAIL_SCALE_MAX,
    )


def preset(like: str | None) -> MarketModel:
    """Return a market by the name of its preset; None gives the default. Raises ConfigError for another name."""
    if like is None:
        return default_market()
    if like not in PRESETS:
        raise ConfigError("like", f"must be one of {PRESETS}", like)
    return market_from(yaml.safe_load(preset_path(like).read_text()))


def preset_path(like: str) -> Path:
    """Return the file that holds the fitted numbers of a preset."""
    return Path(__file__).with_name(f"simulator_{like}.yaml")


def market_from(content: dict[str, Any]) -> MarketModel:
    """Build a market from the content of a preset's file."""
    slots = sum(segment["bars_5m"] for segment in content["segments"]) / BARS_5M_PER_30M
    return MarketModel(
        like=content["like"],
        timezone=content["timezone"],
        segments=tuple(Segment(**segment) for segment in content["segments"]),
        evening_follows_weekday=content["evening_follows_weekday"],
        instruments=tuple(SimulatedInstrument(**instrument) for instrument in content["instruments"]),
        volatility_shape=_mean_square_one(np.array(content["volatility_shape"])),
        volume_shape=np.array(content["volume_shape"]) / np.sum(content["volume_shape"]),
        pauses=tuple((int(bar), float(sigmas)) for bar, sigmas in content["pauses"]),
        regime_multiples=regime_multiples(content["regime_stretch"]),
        regime_transition=regime_transition(content["regime_stay"] * slots),
        tail_degrees_of_freedom=content["tail_degrees_of_freedom"],
        tail_scale_max=content["tail_scale_max"],
        heavy_pauses=True,
        volatility_spread=content["volatility_spread"],
        volatility_memory=content["volatility_memory"],
        leverage=content["leverage"],
        source=content["source"],
    )


def regime_multiples(stretch: float = 1.0) -> FloatArray:
    """Return the volatility multiple of each regime, float64[3], mean square 1 in the long run.

    ``stretch`` draws the regimes apart: it is a power of their multiples.
    """
    multiples = np.array(REGIME_MULTIPLES) ** stretch
    shares = stationary_shares(regime_transition())
    scaled: FloatArray = multiples / math.sqrt(float(shares @ multiples**2))
    return scaled


def regime_transition(bars_30m: float = BARS_30M_PER_SESSION) -> FloatArray:
    """Return the transition matrix of the regimes per 30-min bar, float64[3, 3], rows sum to 1.

    ``bars_30m`` is the length of a session; a multiple of it prolongs every stay by as much.
    """
    leave: FloatArray = 1 / (np.array(REGIME_SESSIONS) * bars_30m)
    transition: FloatArray = np.diag(1 - leave) + leave[:, None] * np.array(REGIME_NEXT)
    return transition


def stationary_shares(transition: FloatArray) -> FloatArray:
    """Return the long-run share of each state of a Markov chain, float64[K]."""
    shares: FloatArray = np.linalg.matrix_power(transition, 1 << 20)[0]
    shares /= shares.sum()
    return shares


def volatility_shape() -> FloatArray:
    """Return the volatility of each 5-min slot of a default session relative to the mean, [276], mean square 1."""
    return _mean_square_one(_shape(VOLATILITY_KNOTS))


def volume_shape() -> FloatArray:
    """Return the share of a default session's volume in each 5-min slot, float64[276], sum 1."""
    shape = _shape(VOLUME_KNOTS)
    shape /= shape.sum()
    return shape


def _mean_square_one(shape: FloatArray) -> FloatArray:
    scaled: FloatArray = shape / math.sqrt(float(np.mean(shape**2)))
    return scaled


def _shape(knots: tuple[tuple[float, float], ...]) -> FloatArray:
    hours = (np.arange(BARS_5M_PER_SESSION) + 0.5) / 12
    levels: FloatArray = np.interp(hours, [k[0] for k in knots], [k[1] for k in knots])
    return levels
