"""The simulated market as numbers: instruments, clock, volatility, volume, and the one planted edge."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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


def regime_multiples() -> FloatArray:
    """Return the volatility multiple of each regime, float64[3], mean square 1 in the long run."""
    multiples = np.array(REGIME_MULTIPLES)
    shares = stationary_shares(regime_transition())
    scaled: FloatArray = multiples / math.sqrt(float(shares @ multiples**2))
    return scaled


def regime_transition() -> FloatArray:
    """Return the transition matrix of the regimes per 30-min bar, float64[3, 3], rows sum to 1."""
    leave: FloatArray = 1 / (np.array(REGIME_SESSIONS) * BARS_30M_PER_SESSION)
    transition: FloatArray = np.diag(1 - leave) + leave[:, None] * np.array(REGIME_NEXT)
    return transition


def stationary_shares(transition: FloatArray) -> FloatArray:
    """Return the long-run share of each state of a Markov chain, float64[K]."""
    shares: FloatArray = np.linalg.matrix_power(transition, 1 << 20)[0]
    shares /= shares.sum()
    return shares


def volatility_shape() -> FloatArray:
    """Return the volatility of each 5-min slot of a session relative to the mean, float64[276], mean square 1."""
    shape = _shape(VOLATILITY_KNOTS)
    return shape / math.sqrt(float(np.mean(shape**2)))


def volume_shape() -> FloatArray:
    """Return the share of the session's volume in each 5-min slot, float64[276], sum 1."""
    shape = _shape(VOLUME_KNOTS)
    shape /= shape.sum()
    return shape


def edge_shape() -> FloatArray:
    """Return the strength of the edge in each 30-min slot of a session, float64[46], >= 0, mean 1."""
    hours = SESSION_OPEN_HOUR + (np.arange(BARS_30M_PER_SESSION) + 0.5) / 2
    shape: FloatArray = 1 + np.cos(2 * np.pi * (hours - EDGE_PEAK_HOUR) / 24)
    shape /= shape.mean()
    return shape


def _shape(knots: tuple[tuple[float, float], ...]) -> FloatArray:
    hours = (np.arange(BARS_5M_PER_SESSION) + 0.5) / 12
    levels: FloatArray = np.interp(hours, [k[0] for k in knots], [k[1] for k in knots])
    return levels
