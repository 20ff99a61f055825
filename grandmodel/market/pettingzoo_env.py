"""The market as PettingZoo environments: one agent at a time (AEC), and all at once (parallel).

PettingZoo asks for agent names that end in a number, so agent ``mlmi`` is called ``mlmi_0`` here. Every agent's
observation is padded to one width. All agents of a team share one reward.
"""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from pettingzoo import AECEnv, ParallelEnv

from grandmodel.core.config import MarketParams
from grandmodel.core.errors import ConfigError
from grandmodel.market.accounting import LOG_EQUITY, POSITION
from grandmodel.market.core import VectorMarket
from grandmodel.market.tape import MarketTape
from grandmodel.market.team import TeamSpec

OBSERVATION_ABS_MAX = 100.0
Observation = NDArray[np.float32]


class _Face:
    """One market and the spaces of its agents."""

    def __init__(
        self, tape: MarketTape, spec: TeamSpec, params: MarketParams, window_bars: int, seed: int, simultaneous: bool
    ) -> None:
        largest = float(np.abs(tape.features).max())
        if largest > OBSERVATION_ABS_MAX:
            raise ConfigError("features of the tape", f"must lie within +-{OBSERVATION_ABS_MAX:g}", largest)
        self.market = VectorMarket(
            tape, spec, params, 1, window_bars, seed, simultaneous=simultaneous, auto_reset=False
        )
        self.names = [f"{agent}_0" for agent in spec.agents]
        self.index = {name: k for k, name in enumerate(self.names)}
        self.observation_spaces = {name: _box(spec.observation_size) for name in self.names}
        self.action_spaces = {name: Discrete(count) for name, count in zip(self.names, spec.action_counts, strict=True)}
        self.state_space = _box(spec.state_size)
        self._fresh = True

    def reset(self, seed: int | None) -> None:
        """Start anew from ``seed``, or begin the next episode of the stream."""
        if seed is not None:
            self.market.reset(seed)
        elif not self._fresh:
            self.market.begin_episodes()
        self._fresh = False

    def state(self) -> Observation:
        """Return the central critic's state."""
        return np.array(self.market.states[0])

    def observation(self, agent: str) -> Observation:
        """Return what ``agent`` sees."""
        return np.array(self.market.observations[0, self.index[agent]])

    def text(self) -> str:
        """Return where the market stands, in one line."""
        account = self.market.accounts[0]
        equity = float(np.exp(account[LOG_EQUITY]))
        return f"row {int(self.market.rows[0])}  position {account[POSITION]:+.3f}  equity {equity:.4f}"


class MarketAEC(AECEnv[str, Observation, int]):  # type: ignore[misc]  # PettingZoo ships no types
    """A team acting in turn: a later agent sees the earlier triples, and after the last agent the bar advances."""

    metadata: ClassVar[dict[str, Any]] = {"name": "market_v0", "render_modes": ["ansi"], "is_parallelizable": False}

    def __init__(
        self,
        tape: MarketTape,
        spec: TeamSpec,
        params: MarketParams,
        *,
        window_bars: int = 128,
        seed: int = 0,
        render_mode: str | None = None,
    ) -> None:
        """Build over ``tape``; ``seed`` counts until the first reset with a seed."""
        super().__init__()
        self._face = _Face(tape, spec, params, window_bars, seed, simultaneous=False)
        self._actions = np.zeros((1, len(spec.agents)), np.int64)
        self.render_mode = render_mode
        self.possible_agents = list(self._face.names)
        self.observation_spaces, self.action_spaces = self._face.observation_spaces, self._face.action_spaces
        self.state_space = self._face.state_space

    def observation_space(self, agent: str) -> Box:
        """Return the space of what ``agent`` sees."""
        return self._face.observation_spaces[agent]

    def action_space(self, agent: str) -> Discrete:
        """Return the actions of ``agent``."""
        return self._face.action_spaces[agent]

    def reset(self, seed: int | None = None, options: dict[str, Any] | None = None) -> None:
        """Begin an episode; without a seed the next one of the running stream."""
        self._face.reset(seed)
        self._actions[:] = 0
        self.agents = list(self.possible_agents)
        self.agent_selection = self.agents[0]
        self.rewards = dict.fromkeys(self.agents, 0.0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0.0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos: dict[str, dict[str, Any]] = {agent: {} for agent in self.agents}

    def observe(self, agent: str) -> Observation:
        """Return what ``agent`` sees now."""
        return self._face.observation(agent)

    def state(self) -> Observation:
        """Return the central critic's state."""
        return self._face.state()

    def step(self, action: int | None) -> None:
        """Take the action of the selected agent; an ended agent takes None."""
        agent = self.agent_selection
        if self.terminations[agent] or self.truncations[agent]:
            self._was_dead_step(action)
            return
        assert action is not None, "a living agent must act"
        index = self._face.index[agent]
        self._cumulative_rewards[agent] = 0.0
        self._clear_rewards()
        self._actions[0, index] = action
        if index + 1 < len(self.possible_agents):
            self._face.market.observe(index + 1, self._actions)
        else:
            self._advance_bar()
        self.agent_selection = self.possible_agents[(index + 1) % len(self.possible_agents)]
        self._accumulate_rewards()

    def _advance_bar(self) -> None:
        result = self._face.market.step(self._actions)
        self.rewards = dict.fromkeys(self.agents, float(result.reward[0]))
        self.terminations = dict.fromkeys(self.agents, bool(result.terminated[0]))
        self.truncations = dict.fromkeys(self.agents, bool(result.truncated[0]))

    def render(self) -> str | None:
        """Return one line of text in mode "ansi"."""
        return self._face.text() if self.render_mode == "ansi" else None

    def close(self) -> None:
        """Release nothing: there is nothing to release."""

    def __str__(self) -> str:
        return str(self.metadata["name"])


class MarketParallel(ParallelEnv[str, Observation, int]):  # type: ignore[misc]  # PettingZoo ships no types
    """A team acting all at once; the triples that a later agent sees are those of the previous bar."""

    metadata: ClassVar[dict[str, Any]] = {"name": "market_v0", "render_modes": ["ansi"]}

    def __init__(
        self,
        tape: MarketTape,
        spec: TeamSpec,
        params: MarketParams,
        *,
        window_bars: int = 128,
        seed: int = 0,
        render_mode: str | None = None,
    ) -> None:
        """Build over ``tape``; ``seed`` counts until the first reset with a seed."""
        self._face = _Face(tape, spec, params, window_bars, seed, simultaneous=True)
        self._actions = np.zeros((1, len(spec.agents)), np.int64)
        self.render_mode = render_mode
        self.possible_agents = list(self._face.names)
        self.agents: list[str] = []
        self.observation_spaces, self.action_spaces = self._face.observation_spaces, self._face.action_spaces
        self.state_space = self._face.state_space

    def observation_space(self, agent: str) -> Box:
        """Return the space of what ``agent`` sees."""
        return self._face.observation_spaces[agent]

    def action_space(self, agent: str) -> Discrete:
        """Return the actions of ``agent``."""
        return self._face.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Observation], dict[str, dict[str, Any]]]:
        """Begin an episode; without a seed the next one of the running stream. Returns observations and infos."""
        self._face.reset(seed)
        self.agents = list(self.possible_agents)
        return self._observations(), {agent: {} for agent in self.agents}

    def step(
        self, actions: dict[str, int]
    ) -> tuple[dict[str, Observation], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Let all agents act; returns observations, rewards, terminations, truncations, infos, each by agent."""
        if not self.agents:
            return {}, {}, {}, {}, {}
        for agent, index in self._face.index.items():
            self._actions[0, index] = actions[agent]
        result = self._face.market.step(self._actions)
        terminated, truncated = bool(result.terminated[0]), bool(result.truncated[0])
        lived = self.agents
        outcome = (
            self._observations(),
            dict.fromkeys(lived, float(result.reward[0])),
            dict.fromkeys(lived, terminated),
            dict.fromkeys(lived, truncated),
            {agent: dict[str, Any]() for agent in lived},
        )
        if terminated or truncated:
            self.agents = []
        return outcome

    def _observations(self) -> dict[str, Observation]:
        return {agent: self._face.observation(agent) for agent in self.possible_agents}

    def state(self) -> Observation:
        """Return the central critic's state."""
        return self._face.state()

    def render(self) -> str | None:
        """Return one line of text in mode "ansi"."""
        return self._face.text() if self.render_mode == "ansi" else None

    def close(self) -> None:
        """Release nothing: there is nothing to release."""

    def __str__(self) -> str:
        return str(self.metadata["name"])


def _box(size: int) -> Box:
    return Box(-OBSERVATION_ABS_MAX, OBSERVATION_ABS_MAX, (size,), np.float32)
