"""Where episodes begin and end: windows of a fixed length, or trading sessions, drawn from seeded streams.

Draws are numbers of a counter-based stream per environment, so an episode depends on seed, environment and its number
alone, never on how many environments stand beside it or on what was done in it.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from grandmodel.core.errors import ConfigError
from grandmodel.market.tape import MarketTape

# Episodes start in a drawdown of up to this share of ruin, so that deep drawdowns are no news in a long replay.
INITIAL_DRAWDOWN_OF_RUIN = 0.5
DRAWS_PER_EPISODE = 4  # instrument, first row, initial drawdown, and one to spare
EPISODE_KINDS = ("window", "session")


class Sessions(NamedTuple):
    """The sessions of a tape that have two rows or more, in which alone a team can trade."""

    first: NDArray[np.int64]  # [K] first row
    last: NDArray[np.int64]  # [K] last row
    offsets: NDArray[np.int64]  # [I + 1] the sessions of each instrument


class Beginning(NamedTuple):
    """What was drawn for one episode."""

    instrument: int
    row: int  # at whose close the team acts first
    last: int  # row that truncates the episode; it may lie beyond the data
    log_equity: float


@njit(cache=True)
def uniform_draw(seed: np.uint64, index: int) -> float:
    """Return number ``index`` of the stream of ``seed``, in [0, 1): SplitMix64 (Steele, Lea, Flood 2014)."""
    z = seed + np.uint64(index + 1) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return np.float64(z >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@njit(cache=True)
def initial_log_equity(seed: np.uint64, draw: int, ruin_drawdown_frac: float) -> float:
    """Return the log equity, against its peak, with which an episode begins."""
    return math.log1p(-uniform_draw(seed, draw) * INITIAL_DRAWDOWN_OF_RUIN * ruin_drawdown_frac)


@njit(cache=True)
def draw_beginning(
    seed: np.uint64,
    episode: int,
    offsets: NDArray[np.int64],
    sessions: Sessions,
    by_session: bool,
    window_bars: int,
    ruin_drawdown_frac: float,
) -> Beginning:
    """Draw episode number ``episode`` of the stream of ``seed`` over instruments that begin at ``offsets`` [I + 1]."""
    draw = episode * DRAWS_PER_EPISODE
    instrument = int(uniform_draw(seed, draw) * (len(offsets) - 1))
    place = uniform_draw(seed, draw + 1)
    if by_session:
        first, stop = sessions.offsets[instrument], sessions.offsets[instrument + 1]
        session = first + int(place * (stop - first))
        row, last = sessions.first[session], sessions.last[session]
    else:
        first, stop = offsets[instrument], offsets[instrument + 1]
        row = first + int(place * max(stop - first - window_bars, 1))
        last = row + window_bars
    return Beginning(instrument, row, last, initial_log_equity(seed, draw + 2, ruin_drawdown_frac))


def sessions_of(tape: MarketTape) -> Sessions:
    """Return the sessions of ``tape`` in which a team can trade."""
    changed = np.diff(tape.session, prepend=tape.session[:1] - 1) != 0
    changed[tape.offsets[:-1]] = True
    first = np.flatnonzero(changed)
    last = np.append(first[1:], len(tape)) - 1
    playable = last > first
    first, last = first[playable].astype(np.int64), last[playable].astype(np.int64)
    return Sessions(first, last, np.searchsorted(first, tape.offsets).astype(np.int64))


def check_sessions(tape: MarketTape, sessions: Sessions) -> None:
    """Raise ConfigError naming the instrument that has no session in which a team can trade."""
    for number, symbol in enumerate(tape.symbols):
        if sessions.offsets[number] == sessions.offsets[number + 1]:
            rule = "episodes by session need a session of two rows or more"
            raise ConfigError(f"instrument {symbol}", rule, do='Use episodes="window"')


def instruments_at(tape: MarketTape, rows: NDArray[np.int64], environments: int) -> NDArray[np.int64]:
    """Return the instrument [N] of each of ``rows`` [N]. Raises ConfigError when they are not N rows of the tape."""
    if not isinstance(rows, np.ndarray):
        raise ConfigError("rows to begin at", f"must be an array of integers [{environments}]", type(rows).__name__)
    if rows.shape != (environments,) or not np.issubdtype(rows.dtype, np.integer):
        raise ConfigError("rows to begin at", f"must be integers [{environments}]", f"{rows.dtype} {rows.shape}")
    if rows.min() < 0 or rows.max() >= len(tape):
        raise ConfigError("rows to begin at", f"must lie in 0..{len(tape) - 1}", rows.tolist())
    return np.asarray(np.searchsorted(tape.offsets, rows, side="right") - 1, np.int64)


def check_beginnings(rows: NDArray[np.int64], last: NDArray[np.int64]) -> None:
    """Raise ConfigError naming a row at which no episode can begin, because it would already be its ``last``."""
    if (rows >= last).any():
        row = int(rows[np.argmax(rows >= last)])
        raise ConfigError("rows to begin at", "must have a bar of the same instrument and episode after them", row)


def last_rows_of_sessions(tape: MarketTape, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the last row of the session in which each of ``rows`` lies."""
    ends = np.union1d(np.flatnonzero(np.diff(tape.session) != 0), tape.offsets[1:] - 1)
    return np.asarray(ends[np.searchsorted(ends, rows)], np.int64)
