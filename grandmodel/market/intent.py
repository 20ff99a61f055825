"""The intent: the strategic team's typed, timed, immutable message to the tactical team.

An intent counts from the close of the 30-minute bar on which it was decided until two more such bars have closed: stale
means that the strategic team has missed its turns, and a pause of the market is no turn. What was decided on the last
bar of a session holds into the next one, as the position does; by wall time it would go stale in every pause, and the
tactical team would trade to flat and back though nobody had changed his mind. What the tactical team gets in place of
an intent otherwise is a rule, not an accident:

* missing or stale: flat, size 0, confidence 0, age 1;
* contradicting (as much vote for short as for long, and some): flat, and half its size.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.bars import NS_PER_MINUTE
from grandmodel.core.errors import ConfigError, DataError
from grandmodel.market.replay import Replay
from grandmodel.market.tape import FLAT_INTENT, MarketTape
from grandmodel.market.team import FLAT, INTENT_SIZE, LONG, SHORT, TeamSpec

VALID_BARS = 2  # an intent lives until this many more bars of the strategic clock have closed
STRATEGIC_BAR_MINUTES = 30
# Age is counted in wall time alone: as a share of its own lifetime it would tell of a hole in the data before it comes.
AGE_UNIT_NS = VALID_BARS * STRATEGIC_BAR_MINUTES * NS_PER_MINUTE
CONTRADICTION_SIZE_FRAC = 0.5
FLAT_TRIPLE = (0.0, 1.0, 0.0)
REGIME_AGENT = "regime"
NO_REGIME = -1


@dataclass(frozen=True, slots=True)
class Intent:
    """One decision of the strategic team for one instrument."""

    symbol: str
    decided_ns: int  # close of the bar it was decided on
    valid_until_ns: int  # stale from this moment on
    direction: tuple[float, float, float]  # mean vote: short, flat, long; sums to 1
    size: float  # 0..1 of the risk budget
    confidence: float  # the largest share of the vote
    regime: int  # vote of the regime agent: 0 short, 1 flat, 2 long; -1 where a team has none

    def __post_init__(self) -> None:
        if not (min(self.direction) >= 0.0 and abs(sum(self.direction) - 1.0) < 1e-5):
            raise ConfigError(f"intent for {self.symbol}", "direction must be shares that sum to 1", self.direction)
        if not (0.0 <= self.size <= 1.0 and 0.0 <= self.confidence <= 1.0):
            raise ConfigError(f"intent for {self.symbol}", "size and confidence in 0..1", (self.size, self.confidence))
        if self.valid_until_ns <= self.decided_ns:
            raise ConfigError(f"intent for {self.symbol}", "must be valid for some time", self.valid_until_ns)


@dataclass(frozen=True)
class IntentTable:
    """All intents of one instrument as equally long columns, in order of time."""

    symbol: str
    decided_ns: NDArray[np.int64]
    valid_until_ns: NDArray[np.int64]
    direction: NDArray[np.float32]  # [n, 3]
    size: NDArray[np.float32]
    confidence: NDArray[np.float32]
    regime: NDArray[np.int8]

    def __post_init__(self) -> None:
        if len(self.decided_ns) > 1 and not bool(np.all(np.diff(self.decided_ns) > 0)):
            raise DataError(f"intents for {self.symbol}", "must be in strictly rising order of decision")

    def __len__(self) -> int:
        return len(self.decided_ns)

    def at(self, index: int) -> Intent:
        """Return one intent as a message."""
        short, flat, long = (float(share) for share in self.direction[index])
        return Intent(
            symbol=self.symbol,
            decided_ns=int(self.decided_ns[index]),
            valid_until_ns=int(self.valid_until_ns[index]),
            direction=(short, flat, long),
            size=float(self.size[index]),
            confidence=float(self.confidence[index]),
            regime=int(self.regime[index]),
        )


def intent_of(spec: TeamSpec, actions: NDArray[np.int8], symbol: str, decided_ns: int, valid_until_ns: int) -> Intent:
    """Return the intent that one bar's ``actions`` [A] of a strategic team mean; the timetable says until when."""
    times = np.array([[decided_ns], [valid_until_ns]], np.int64)
    return _table(spec, actions[None, :], symbol, times[0], times[1]).at(0)


def valid_until(decided_ns: NDArray[np.int64], bar_minutes: int) -> NDArray[np.int64]:
    """Return int64[T], until when the intents decided at the closes ``decided_ns`` [T] of one instrument hold.

    That is the close of the second bar after it, and no sooner than two bars of wall time, which is also all that the
    last ones have. It takes no more from the future than the timetable of the market, when bars close.
    """
    until = decided_ns + VALID_BARS * bar_minutes * NS_PER_MINUTE
    until[:-VALID_BARS] = np.maximum(until[:-VALID_BARS], decided_ns[VALID_BARS:])
    return until


def intents_from_replay(tape: MarketTape, replay: Replay) -> dict[str, IntentTable]:
    """Return the intents of a strategic replay of ``tape``, per symbol.

    Raises ConfigError when the replay was not made by a team or does not belong to the tape.
    """
    if replay.spec is None or len(replay) != len(tape) or replay.symbols != tape.symbols:
        raise ConfigError("replay", "must be one of a team over this very tape", (len(replay), len(tape)))
    tables = {}
    for symbol in tape.symbols:
        part = tape.rows(symbol)
        decided_ns = tape.close_ns[part]
        until = valid_until(decided_ns, tape.bar_minutes)
        tables[symbol] = _table(replay.spec, replay.actions[part], symbol, decided_ns, until)
    return tables


def encode_intent(intent: Intent | None, now_ns: int) -> NDArray[np.float32]:
    """Return the six numbers short, flat, long, size, confidence, age_frac that hold at ``now_ns``, by the rules."""
    if intent is None or not intent.decided_ns <= now_ns < intent.valid_until_ns:
        return np.array(FLAT_INTENT, np.float32)
    age_frac = min((now_ns - intent.decided_ns) / AGE_UNIT_NS, 1.0)
    direction, size = intent.direction, intent.size
    if direction[SHORT] == direction[LONG] and direction[LONG] > 0.0:
        direction, size = FLAT_TRIPLE, size * CONTRADICTION_SIZE_FRAC
    return np.array([*direction, size, intent.confidence, age_frac], np.float32)


def intents_on_clock(table: IntentTable, close_ns: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return [T, 6], what holds at each of ``close_ns``: the last intent decided at or before that moment."""
    encoded = np.tile(np.array(FLAT_INTENT, np.float32), (len(close_ns), 1))
    latest = np.searchsorted(table.decided_ns, close_ns, side="right") - 1
    valid = np.flatnonzero(latest >= 0)
    valid = valid[close_ns[valid] < table.valid_until_ns[latest[valid]]]
    chosen = latest[valid]
    decided_ns, direction = table.decided_ns[chosen], table.direction[chosen].copy()
    contradicting = (direction[:, SHORT] == direction[:, LONG]) & (direction[:, LONG] > 0.0)
    direction[contradicting] = FLAT_TRIPLE
    encoded[valid, :3] = direction
    encoded[valid, 3] = table.size[chosen] * np.where(contradicting, np.float32(CONTRADICTION_SIZE_FRAC), np.float32(1))
    encoded[valid, 4] = table.confidence[chosen]
    encoded[valid, 5] = np.minimum((close_ns[valid] - decided_ns) / AGE_UNIT_NS, 1.0)
    assert encoded.shape == (len(close_ns), INTENT_SIZE)
    return encoded


def _table(
    spec: TeamSpec,
    actions: NDArray[np.int8],
    symbol: str,
    decided_ns: NDArray[np.int64],
    valid_until_ns: NDArray[np.int64],
) -> IntentTable:
    votes = actions[:, :-1]
    direction = np.stack([(votes == side).mean(axis=1) for side in (SHORT, FLAT, LONG)], axis=1).astype(np.float32)
    regime = np.full(len(actions), NO_REGIME, np.int8)
    if REGIME_AGENT in spec.agents:
        regime = actions[:, spec.agents.index(REGIME_AGENT)].astype(np.int8)
    return IntentTable(
        symbol=symbol,
        decided_ns=decided_ns,
        valid_until_ns=valid_until_ns,
        direction=direction,
        size=(actions[:, -1] / (spec.action_counts[-1] - 1)).astype(np.float32),
        confidence=direction.max(axis=1),
        regime=regime,
    )
