"""A release deciding: the strategic team's intents, then the tactical team's trades, over the same tapes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.config import MarketParams, TrainingParams
from grandmodel.market.intent import intents_from_replay, intents_on_clock
from grandmodel.market.policy import TeamPolicy
from grandmodel.market.replay import Replay, replay
from grandmodel.market.tape import MarketTape
from models.strategic.agents import strategic_team
from models.tactical.agents import tactical_team


@dataclass(frozen=True)
class Tapes:
    """The same instruments on both clocks; ``tactical`` is None where only 30-minute bars exist."""

    strategic: MarketTape
    tactical: MarketTape | None

    def window(self, start_ns: int, stop_ns: int) -> Tapes:
        """Return the rows of both clocks that start in [start_ns, stop_ns)."""
        tactical = self.tactical.window(start_ns, stop_ns) if self.tactical else None
        return Tapes(self.strategic.window(start_ns, stop_ns), tactical)

    def only(self, symbol: str) -> Tapes:
        """Return both tapes of one instrument."""
        return Tapes(self.strategic.only(symbol), self.tactical.only(symbol) if self.tactical else None)

    def windows(self, spans_ns: Sequence[tuple[int, int]]) -> Tapes:
        """Return the rows of several spans on both clocks, as ``MarketTape.windows`` lays them."""
        tactical = self.tactical.windows(spans_ns) if self.tactical else None
        return Tapes(self.strategic.windows(spans_ns), tactical)

    def with_cost_multiple(self, multiple: float) -> Tapes:
        """Return both tapes with every cost multiplied."""
        tactical = self.tactical.with_cost_multiple(multiple) if self.tactical else None
        return Tapes(self.strategic.with_cost_multiple(multiple), tactical)

    @property
    def traded(self) -> MarketTape:
        """The tape on which positions are held: the tactical clock, or the strategic one where it is alone."""
        return self.tactical or self.strategic


@dataclass(frozen=True)
class Release:
    """Two cooperating teams; ``tactical`` is None in a strategic-only release."""

    strategic: TeamPolicy
    tactical: TeamPolicy | None

    @classmethod
    def load(cls, folder: Path, training: TrainingParams) -> Release:
        """Read the exported weights of one training. Raises ConfigError when they were made for other teams."""
        tactical = folder / "tactical.safetensors"
        return cls(
            TeamPolicy.load(folder / "strategic.safetensors", strategic_team(training.strategic)),
            TeamPolicy.load(tactical, tactical_team(training.tactical)) if tactical.exists() else None,
        )

    def decide(self, tapes: Tapes, params: MarketParams, *, delay_bars: int = 0) -> Replay:
        """Replay both teams greedily over ``tapes``; the result lies on the traded clock.

        The strategic team sees its own paper book, so intents depend on its bars alone and can be replayed apart.
        """
        if self.tactical is None or tapes.tactical is None:
            return replay(tapes.strategic, self.strategic, params, delay_bars=delay_bars)
        tape = tapes.tactical.with_intents(strategic_intents(self.strategic, tapes, params))
        return replay(tape, self.tactical, params, delay_bars=delay_bars)


def strategic_intents(policy: TeamPolicy, tapes: Tapes, params: MarketParams) -> dict[str, NDArray[np.float32]]:
    """Return per instrument the intent known at each 5-minute close, float32[T, 6]."""
    assert tapes.tactical is not None
    table = intents_from_replay(tapes.strategic, replay(tapes.strategic, policy, params))
    return {
        symbol: intents_on_clock(table[symbol], tapes.tactical.close_ns[tapes.tactical.rows(symbol)])
        for symbol in tapes.tactical.symbols
    }
