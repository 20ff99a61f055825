"""The market as PettingZoo environments: one agent at a time (AEC), and all at once (parallel).

PettingZoo asks for agent names that end in a number, so agent ``mlmi`` is called ``mlmi_0`` here. Every agent's
observation is padded to one width. All agents of a team share one reward. Termination is ruin or the end of the data,
truncation the end of a window or session; an episode never ends as both.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from gymnasium.spaces import Box, Discrete
from numpy.typing import NDArray
from pettingzoo import AECEnv, ParallelEnv

from grandmodel.core.config import MarketParams
from grandmodel.core.errors import ConfigError, TrainingError
from grandmodel.market.accounting import LOG_EQUITY, POSITION
from grandmodel.market.core import VectorMarket
from grandmodel.market.render import Episode, Pixels, action_in_words, frame_pixels, frame_text, price_index
from grandmodel.market.tape import MarketTape
from grandmodel.market.team import TeamSpec

OBSERVATION_ABS_MAX = 100.0
RENDER_MODES = ("ansi", "rgb_array")
Observation = NDArray[np.float32]
Frame = str | Pixels | None


@dataclass(frozen=True)
class FaceOptions:
    """What a user may choose about a face."""

    window_bars: int = 128  # length of an episode
    episodes: Literal["window", "session"] = "window"  # or "session": an episode ends with the trading day
    seed: int = 0  # counts until the first reset with a seed
    render_mode: str | None = None  # "ansi" or "rgb_array"
    simulated: bool | None = None  # whether the bars are simulated, for the picture's title; None: not stated


class _Face:
    """One market, the spaces of its agents, and what a picture needs of the episode so far."""

    def __init__(
        self, tape: MarketTape, spec: TeamSpec, params: MarketParams, options: FaceOptions, *, simultaneous: bool
    ) -> None:
        largest = float(np.abs(tape.features).max())
        if largest > OBSERVATION_ABS_MAX:
            raise ConfigError("features of the tape", f"must lie within +-{OBSERVATION_ABS_MAX:g}", largest)
        if options.render_mode not in (None, *RENDER_MODES):
            raise ConfigError("render_mode", f"must be None or one of {RENDER_MODES}", options.render_mode)
        self.options = options
        self.market = VectorMarket(
            tape,
            spec,
            params,
            1,
            options.window_bars,
            options.seed,
            simultaneous=simultaneous,
            auto_reset=False,
            episodes=options.episodes,
        )
        self.names = [f"{agent}_0" for agent in spec.agents]
        self.index = {name: k for k, name in enumerate(self.names)}
        self.observation_spaces = {name: _box(spec.observation_size) for name in self.names}
        self.action_spaces = {name: Discrete(count) for name, count in zip(self.names, spec.action_counts, strict=True)}
        self.state_space = _box(spec.state_size)
        self.actions = np.zeros((1, len(spec.agents)), np.int64)
        self._fresh = True
        self._start_record()

    def reset(self, seed: int | None, options: dict[str, Any] | None) -> None:
        """Start anew from ``seed``, or begin the next episode of the stream; ``options["row"]`` names its first row.

        Other options are left alone, as PettingZoo asks. Raises ConfigError when no episode can begin at the row;
        nothing has moved then.
        """
        row = None if options is None else _row(options)
        if row is not None:
            self.market.episodes_from(row)
        if seed is not None:
            self.market.reset(seed)
        elif not self._fresh:
            self.market.begin_episodes()
        if row is not None:
            self.market.begin_at(row)
        self._fresh = False
        self.actions[:] = 0
        self._start_record()

    def possible_action(self, agent: str, action: object) -> int:
        """Return ``action`` as an int. Raises TrainingError, naming the agent, when it is none of the agent's."""
        count = self.market.action_counts[self.index[agent]]
        try:
            number = operator.index(action)  # type: ignore[arg-type]  # what is no integer is refused below
        except TypeError:
            number = -1
        if not 0 <= number < count:
            raise TrainingError(f"agent {agent}", f"its action must be an integer in 0..{count - 1}", action)
        return number

    def take_all(self, actions: Mapping[str, int]) -> None:
        """Take one action for each agent. Raises TrainingError, nothing having moved, when they are not that."""
        if not isinstance(actions, Mapping):
            raise TrainingError("actions", "must be a dict of one action for each agent", type(actions).__name__)
        for agent in self.names:
            if agent not in actions:
                raise TrainingError(f"agent {agent}", "needs an action at every step", sorted(map(str, actions)))
        if len(actions) > len(self.names):
            unknown = next(agent for agent in actions if agent not in self.index)
            raise TrainingError(f"agent {unknown}", f"must be one of {self.names}")
        self.actions[0] = [self.possible_action(agent, actions[agent]) for agent in self.names]

    def advance(self) -> tuple[float, bool, bool]:
        """Trade on the next bar; return reward, terminated, truncated."""
        result = self.market.step(self.actions)
        reward, terminated, truncated = float(result.reward[0]), bool(result.terminated[0]), bool(result.truncated[0])
        if self.options.render_mode is not None:
            self._end = "terminated" if terminated else "truncated" if truncated else "running"
            self._spoken[:] = self.actions[0].tolist()
            self._record(reward)
        return reward, terminated, truncated

    def state(self) -> Observation:
        """Return the central critic's state."""
        return np.array(self.market.states[0])

    def observation(self, agent: str) -> Observation:
        """Return what ``agent`` sees."""
        return np.array(self.market.observations[0, self.index[agent]])

    def render(self) -> Frame:
        """Return a page of text, a picture uint8 [H, W, 3], or None, by the render mode."""
        if self.options.render_mode is None:
            return None
        episode = self.episode()
        return frame_text(episode) if self.options.render_mode == "ansi" else frame_pixels(episode)

    def episode(self) -> Episode:
        """Return the episode so far."""
        tape, spec, options = self.market.tape, self.market.spec, self.options
        rows = slice(self._first_row, self._first_row + len(self._rewards))
        return Episode(
            team=spec.name,
            symbol=tape.symbols[int(np.searchsorted(tape.offsets, self._first_row, side="right")) - 1],
            simulated=options.simulated,
            bar_minutes=tape.bar_minutes,
            bars_max=options.window_bars if options.episodes == "window" else None,
            close_ns=tape.close_ns[rows],
            price=price_index(tape.gap_frac[rows], tape.body_frac[rows]),
            position=np.array(self._positions),
            equity=np.exp(self._log_equities),
            reward=np.array(self._rewards),
            actions={
                spec.agents[k]: action_in_words(action, k, spec.action_counts, spec.uses_intent)
                for k, action in enumerate(self._spoken)
            },
            end=self._end,
        )

    def _start_record(self) -> None:
        self._first_row, self._end = int(self.market.rows[0]), "running"
        self._positions: list[float] = []
        self._log_equities: list[float] = []
        self._rewards: list[float] = []
        self._spoken: list[int] = []
        self._record(0.0)

    def _record(self, reward: float) -> None:
        account = self.market.accounts[0]
        self._positions.append(float(account[POSITION]))
        self._log_equities.append(float(account[LOG_EQUITY]))
        self._rewards.append(reward)


class MarketAEC(AECEnv[str, Observation, int]):  # type: ignore[misc]  # PettingZoo ships no types
    """A team acting in turn: a later agent sees the earlier triples, and after the last agent the bar advances."""

    metadata: ClassVar[dict[str, Any]] = {
        "name": "market_v0",
        "render_modes": list(RENDER_MODES),
        "is_parallelizable": False,
    }

    def __init__(self, tape: MarketTape, spec: TeamSpec, params: MarketParams, **options: Any) -> None:
        """Build over ``tape``; ``options`` are the fields of FaceOptions."""
        super().__init__()
        self._face = _Face(tape, spec, params, FaceOptions(**options), simultaneous=False)
        self.render_mode = self._face.options.render_mode
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
        """Begin an episode; without a seed the next one of the stream; ``options["row"]`` is a row of the tape."""
        self._face.reset(seed, options)
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
        """Take the action of the selected agent; an ended agent takes None.

        Raises TrainingError, naming the agent, when the action is none of its own; nothing has moved then.
        """
        agent = self.agent_selection
        if self.terminations[agent] or self.truncations[agent]:
            self._was_dead_step(action)
            return
        index, number = self._face.index[agent], self._face.possible_action(agent, action)
        self._cumulative_rewards[agent] = 0.0
        self._clear_rewards()
        self._face.actions[0, index] = number
        if index + 1 < len(self.possible_agents):
            self._face.market.observe(index + 1, self._face.actions)
        else:
            self._advance_bar()
        self.agent_selection = self.possible_agents[(index + 1) % len(self.possible_agents)]
        self._accumulate_rewards()

    def _advance_bar(self) -> None:
        reward, terminated, truncated = self._face.advance()
        self.rewards = dict.fromkeys(self.agents, reward)
        self.terminations = dict.fromkeys(self.agents, terminated)
        self.truncations = dict.fromkeys(self.agents, truncated)

    def render(self) -> Frame:
        """Return the episode so far as a page of text ("ansi") or a picture uint8 [H, W, 3] ("rgb_array")."""
        return self._face.render()

    def close(self) -> None:
        """Release nothing: there is nothing to release."""

    def __str__(self) -> str:
        return str(self.metadata["name"])


class MarketParallel(ParallelEnv[str, Observation, int]):  # type: ignore[misc]  # PettingZoo ships no types
    """A team acting all at once; the triples that a later agent sees are those of the previous bar."""

    metadata: ClassVar[dict[str, Any]] = {"name": "market_v0", "render_modes": list(RENDER_MODES)}

    def __init__(self, tape: MarketTape, spec: TeamSpec, params: MarketParams, **options: Any) -> None:
        """Build over ``tape``; ``options`` are the fields of FaceOptions."""
        self._face = _Face(tape, spec, params, FaceOptions(**options), simultaneous=True)
        self.render_mode = self._face.options.render_mode
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
        """Begin an episode and return observations and infos.

        Without a seed it is the next one of the stream; ``options["row"]`` starts it at that row of the tape.
        """
        self._face.reset(seed, options)
        self.agents = list(self.possible_agents)
        return self._observations(), {agent: {} for agent in self.agents}

    def step(
        self, actions: dict[str, int]
    ) -> tuple[dict[str, Observation], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Let all agents act; returns observations, rewards, terminations, truncations, infos, each by agent.

        Raises TrainingError, naming the agent, when one has no action, an impossible one, or is none of the team;
        nothing has moved then.
        """
        if not self.agents:
            return {}, {}, {}, {}, {}
        self._face.take_all(actions)
        reward, terminated, truncated = self._face.advance()
        lived = self.agents
        outcome = (
            self._observations(),
            dict.fromkeys(lived, reward),
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

    def render(self) -> Frame:
        """Return the episode so far as a page of text ("ansi") or a picture uint8 [H, W, 3] ("rgb_array")."""
        return self._face.render()

    def close(self) -> None:
        """Release nothing: there is nothing to release."""

    def __str__(self) -> str:
        return str(self.metadata["name"])


def _row(options: dict[str, Any]) -> NDArray[np.int64] | None:
    """Return the row asked for, int64 [1], or None. Raises ConfigError when it is no integer."""
    if "row" not in options:
        return None
    row = options["row"]
    if isinstance(row, bool) or not isinstance(row, int | np.integer) or abs(int(row)) >= 2**62:
        raise ConfigError("row to begin at", "must be an integer", row, "Give a row of the tape")
    return np.array([row], np.int64)


def _box(size: int) -> Box:
    return Box(-OBSERVATION_ABS_MAX, OBSERVATION_ABS_MAX, (size,), np.float32)
