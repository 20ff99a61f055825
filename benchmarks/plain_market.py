"""The same market as a PettingZoo parallel environment in ordinary Python and numpy, written as its users write them.

The peer of the vectorised core in ``benchmarks/environment.py``: equal observations and rewards, no compiled code.
Nothing is slow on purpose: columns are looked up once, what never changes is computed when the tape is taken, numbers
of one bar are plain floats, and a step makes no array but the observations it returns.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from grandmodel.core.config import MarketParams
from grandmodel.market.tape import MarketTape
from grandmodel.market.team import AGGRESSIVE, EXECUTE, FLAT, LONG, SHORT, WAIT, TeamSpec

INITIAL_DRAWDOWN_OF_RUIN = 0.5
RETURN_FRAC_MIN = -0.999
THROUGH_FRAC = 1e-9
COSTS = ("gap_frac", "body_frac", "high_frac", "low_frac", "half_spread_frac", "commission_frac", "impact_frac")
ONE_HOT = np.eye(3, dtype=np.float32)
Observations = dict[str, NDArray[np.float32]]
Infos = dict[str, dict[str, Any]]


class PlainMarket(ParallelEnv[str, NDArray[np.float32], int]):  # type: ignore[misc]  # PettingZoo ships no types
    """One team on one instrument at a time; all agents act at once and share the reward."""

    metadata: ClassVar[dict[str, Any]] = {"name": "plain_market_v0", "render_modes": []}

    def __init__(
        self, tape: MarketTape, spec: TeamSpec, params: MarketParams, *, window_bars: int = 128, seed: int = 0
    ) -> None:
        self.tape, self.spec, self.params, self.window_bars = tape, spec, params, window_bars
        self.possible_agents = [f"{agent}_0" for agent in spec.agents]
        self.agents: list[str] = []
        self.observation_spaces = dict.fromkeys(
            self.possible_agents, Box(-100.0, 100.0, (spec.observation_size,), np.float32)
        )
        self.action_spaces = {
            name: Discrete(count) for name, count in zip(self.possible_agents, spec.action_counts, strict=True)
        }
        self._bars = list(zip(*(getattr(tape, name).tolist() for name in COSTS), strict=True))
        self._leverage, self._scale = tape.leverage.tolist(), tape.reward_scale.tolist()
        self._tradable, self._rolled = tape.tradable.tolist(), tape.rolled.tolist()
        self._session_left, self._intent = tape.session_left.tolist(), tape.intent.tolist()
        self._columns = {name: list(own) for name, own in zip(self.possible_agents, spec.columns, strict=True)}
        self._random = np.random.default_rng(seed)

    def observation_space(self, agent: str) -> Box:
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> Discrete:
        return self.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Observations, Infos]:
        """Begin an episode on a random instrument and window, in a random drawdown."""
        if seed is not None:
            self._random = np.random.default_rng(seed)
        instrument = int(self._random.integers(len(self.tape.symbols)))
        first, last = int(self.tape.offsets[instrument]), int(self.tape.offsets[instrument + 1]) - 1
        row = first + int(self._random.integers(max(last - first - self.window_bars + 1, 1)))
        depth_frac = self._random.random() * INITIAL_DRAWDOWN_OF_RUIN * self.params.ruin_drawdown_frac
        return self.begin_at(row, math.log1p(-depth_frac)), {name: {} for name in self.agents}

    def begin_at(self, row: int, log_equity: float) -> Observations:
        """Begin an episode at the close of tape row ``row`` with a given log equity, its high being 0."""
        instrument = int(np.searchsorted(self.tape.offsets, row, side="right")) - 1
        self.row, self.first, self.last = (
            row,
            int(self.tape.offsets[instrument]),
            int(self.tape.offsets[instrument + 1]),
        )
        self.last -= 1
        self.window_last = row + self.window_bars
        self.position, self.log_equity, self.log_peak, self.open_return = 0.0, log_equity, 0.0, 0.0
        self.agents = list(self.possible_agents)
        return self._observe(None)

    def step(
        self, actions: dict[str, int]
    ) -> tuple[Observations, dict[str, float], dict[str, bool], dict[str, bool], Infos]:
        """Let all agents act on the next bar."""
        agents = self.agents
        votes = [actions[name] for name in agents]
        target, order = self._decide(votes)
        self.row += 1
        log_return = self._trade(target, order)
        scaled = log_return * self._scale[self.row]
        reward = scaled - self.params.downside_penalty * min(scaled, 0.0) ** 2
        terminated = self._drawdown_frac() >= self.params.ruin_drawdown_frac or self.row >= self.last
        truncated = self.row >= self.window_last and not terminated
        observations = self._observe(votes)
        if terminated or truncated:
            self.agents = []
        return (
            observations,
            dict.fromkeys(agents, reward),
            dict.fromkeys(agents, terminated),
            dict.fromkeys(agents, truncated),
            {name: {} for name in agents},
        )

    def _decide(self, votes: list[int]) -> tuple[float, int]:
        """Return target position and order style."""
        mean_vote = sum(vote - FLAT for vote in votes[:-1]) / (len(votes) - 1)
        if not self.spec.uses_intent:
            return mean_vote * (votes[-1] / (self.spec.action_counts[-1] - 1)), AGGRESSIVE
        intent = self._intent[self.row]
        wish = (intent[LONG] - intent[SHORT]) * intent[3]
        vetoed = mean_vote == -1.0 if wish >= 0.0 else mean_vote == 1.0
        return (0.0 if vetoed else wish), votes[-1]

    def _trade(self, target: float, order: int) -> float:
        """Carry the account over the bar; return the log return after costs."""
        gap, body, high, low, half_spread, commission, impact = self._bars[self.row]
        leverage, before = self._leverage[self.row], self.position
        after, at_limit = before, False
        if self._tradable[self.row] and order != WAIT:
            at_limit = order == EXECUTE
            through = low < -THROUGH_FRAC if target > before else high > THROUGH_FRAC
            if not at_limit or through:
                after = target
        turnover = abs(after - before)
        growth = (1 + leverage * (after if at_limit else before) * gap) * (1 + leverage * after * body) - 1
        if at_limit:
            cost = leverage * turnover * commission
        else:
            cost = leverage * (turnover * (half_spread + commission) + impact * turnover**1.5)
        if self._rolled[self.row]:
            held = abs(before)
            cost += 2 * leverage * (held * (half_spread + commission) + impact * held**1.5)
        log_return = math.log1p(max(growth - cost, RETURN_FRAC_MIN))
        kept_side = before * after > 0
        self.open_return = 0.0 if after == 0 else (self.open_return if kept_side else 0.0) + log_return
        self.position = after
        self.log_equity += log_return
        self.log_peak = max(self.log_peak, self.log_equity)
        return log_return

    def _drawdown_frac(self) -> float:
        return -math.expm1(self.log_equity - self.log_peak)

    def _observe(self, votes: list[int] | None) -> Observations:
        """Return each agent's columns, own state, intent, and the votes of the agents before it on the last bar."""
        spec, row = self.spec, self.row
        recent = self.tape.features[max(row - spec.lags + 1, self.first) : row + 1][::-1]
        shared = [
            self.position,
            min(max(self.open_return * self._scale[row], -5.0), 5.0),
            min(self._drawdown_frac() / 0.1, 5.0),
            self._session_left[row],
        ]
        if spec.uses_intent:
            shared += self._intent[row]
        observations = {}
        for agent, (name, columns) in enumerate(self._columns.items()):
            observation = np.zeros(spec.observation_size, np.float32)
            seen = recent[:, columns].ravel()
            observation[: len(seen)] = seen
            at = len(columns) * spec.lags
            observation[at : at + len(shared)] = shared
            at += len(shared)
            if votes is not None and agent > 0:
                observation[at : at + 3 * agent] = ONE_HOT[votes[:agent]].ravel()
            observations[name] = observation
        return observations
