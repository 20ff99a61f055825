"""What a team of agents is: who acts in which order, what each sees, and how many actions each has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import ConfigError

OWN_STATE_SIZE = 4  # position, unrealised P&L, drawdown, fraction of the session left
INTENT_SIZE = 6  # short, flat, long, size, confidence, age_frac
TRIPLE_SIZE = 3  # short, flat, long
SHORT, FLAT, LONG = 0, 1, 2
WAIT, EXECUTE, AGGRESSIVE = 0, 1, 2


class Layout(NamedTuple):
    """A team as plain arrays, the form in which compiled code takes it."""

    triples_at: NDArray[np.uintp]  # [A] where the triples of the earlier agents start in what each agent sees
    action_counts: NDArray[np.int64]  # [A]
    targets: NDArray[np.float64]  # [2 A - 1, K] by the sum of the votes (short 0, flat 1, long 2) and the last action
    uses_intent: bool


@dataclass(frozen=True)
class TeamSpec:
    """A team in acting order.

    All agents but the last vote short, flat or long. The last one turns the votes into a trade: with an intent it picks
    the order style (wait, execute, aggressive), without one it picks the size (its action / (its actions - 1)).
    ``default_actions`` are where training begins.
    """

    name: str
    agents: tuple[str, ...]
    columns: tuple[tuple[int, ...], ...]  # per agent: which feature columns it sees
    action_counts: tuple[int, ...]
    n_columns: int
    lags: int  # bars of its columns that an agent sees, the newest first
    uses_intent: bool
    default_actions: tuple[int, ...] | None = None  # per agent: what it does before it has learned; None: no default

    def __post_init__(self) -> None:
        subject = f"team {self.name}"
        if len(self.agents) < 2 or not len(self.agents) == len(self.columns) == len(self.action_counts):
            raise ConfigError(subject, "agents, columns and action_counts must have one length, 2 or more", self.agents)
        if any(not 0 <= column < self.n_columns for own in self.columns for column in own):
            raise ConfigError(subject, f"columns must lie in 0..{self.n_columns - 1}", self.columns)
        if any(count != TRIPLE_SIZE for count in self.action_counts[:-1]):
            raise ConfigError(subject, "every agent but the last has 3 actions: short, flat, long", self.action_counts)
        if self.action_counts[-1] < 2 or (self.uses_intent and self.action_counts[-1] != 3):
            raise ConfigError(subject, "the last agent has 3 order styles, or 2 and more sizes", self.action_counts)
        if self.lags < 1:
            raise ConfigError(subject, "lags must be 1 or more", self.lags)
        if self.default_actions is not None:
            pairs = zip(self.default_actions, self.action_counts, strict=False)
            if len(self.default_actions) != len(self.agents) or not all(0 <= action < count for action, count in pairs):
                rule = f"default_actions must be one action an agent, below {self.action_counts}, or None"
                raise ConfigError(subject, rule, self.default_actions)

    @property
    def actions_max(self) -> int:
        """Return the largest number of actions of any agent."""
        return max(self.action_counts)

    @property
    def observation_sizes(self) -> tuple[int, ...]:
        """Return how many numbers each agent sees, before padding."""
        shared = OWN_STATE_SIZE + INTENT_SIZE * self.uses_intent
        return tuple(len(own) * self.lags + shared + TRIPLE_SIZE * k for k, own in enumerate(self.columns))

    @property
    def observation_size(self) -> int:
        """Return the width to which every agent's observation is padded with zeros."""
        return max(self.observation_sizes)

    @property
    def state_size(self) -> int:
        """Return the width of the central critic's state."""
        return self.n_columns * self.lags + OWN_STATE_SIZE + INTENT_SIZE * self.uses_intent

    @cached_property
    def layout(self) -> Layout:
        """Return the team as plain arrays for compiled code."""
        sizes = [size - TRIPLE_SIZE * agent for agent, size in enumerate(self.observation_sizes)]
        voters, size_max = len(self.agents) - 1, self.action_counts[-1] - 1
        mean_vote = (np.arange(2 * voters + 1) - FLAT * voters) / voters
        return Layout(
            triples_at=np.array(sizes, np.uintp),
            action_counts=np.array(self.action_counts, np.int64),
            targets=mean_vote[:, None] * (np.arange(size_max + 1) / size_max),
            uses_intent=self.uses_intent,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return plain data that ``from_dict`` turns back into an equal team."""
        return {
            "name": self.name,
            "agents": list(self.agents),
            "columns": [list(own) for own in self.columns],
            "action_counts": list(self.action_counts),
            "n_columns": self.n_columns,
            "lags": self.lags,
            "uses_intent": self.uses_intent,
            "default_actions": None if self.default_actions is None else list(self.default_actions),
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> TeamSpec:
        """Build a team from ``to_dict`` data. Raises ConfigError when a key is missing or unknown."""
        try:
            defaults = content["default_actions"]
            return cls(
                **{
                    **content,
                    "agents": tuple(content["agents"]),
                    "columns": tuple(tuple(own) for own in content["columns"]),
                    "action_counts": tuple(content["action_counts"]),
                    "default_actions": None if defaults is None else tuple(defaults),
                }
            )
        except (KeyError, TypeError) as error:
            raise ConfigError("team", "must have exactly the fields of TeamSpec", sorted(content)) from error
