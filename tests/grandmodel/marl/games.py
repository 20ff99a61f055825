"""Small vectorised games whose best possible return is known."""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.random import random_stream
from grandmodel.marl import Step

MOVING = ("observations", "states", "clock", "answers")


class Game:
    """Base: N copies, episodes cut after ``length`` steps, observations and states zero unless a subclass writes."""

    simultaneous = True

    def __init__(
        self,
        action_counts: tuple[int, ...] = (3, 3),
        copies: int = 64,
        observation_size: int = 4,
        state_size: int = 4,
        length: int = 8,
    ) -> None:
        self.agents = tuple(f"agent_{index}" for index in range(len(action_counts)))
        self.action_counts, self.n_environments, self.length = action_counts, copies, length
        self.observation_size, self.state_size = observation_size, state_size
        self.observations = np.zeros((copies, len(action_counts), observation_size), np.float32)
        self.states = np.zeros((copies, state_size), np.float32)
        self.clock = np.zeros(copies, np.int64)

    def reset(self, seed: int) -> None:
        self.generator = random_stream(seed, "game")
        self.clock[:] = 0
        self.draw()

    def observe(self, agent_index: int, actions: NDArray[np.int64]) -> None:
        pass

    def draw(self) -> None:
        """Write the next observations and states."""

    def reward(self, actions: NDArray[np.int64]) -> NDArray[np.float32]:
        raise NotImplementedError

    def step(self, actions: NDArray[np.int64]) -> Step:
        reward = self.reward(actions).astype(np.float32)
        self.clock += 1
        ended = self.clock == self.length
        final_states = self.states.copy()
        self.clock[ended] = 0
        self.draw()
        return Step(reward, *self.endings(ended), final_states)

    def endings(self, ended: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        return np.zeros_like(ended), ended


class MatrixGame(Game):
    """One-step common-payoff game with two equilibria: (0, 0) pays 1 and needs both agents, (1, 1) pays half."""

    PAYOFF = np.array([[1.0, 0.0, 0.0], [0.0, 0.5, 0.3], [0.0, 0.3, 0.2]])

    def __init__(self) -> None:
        super().__init__((3, 3), length=1)

    def reward(self, actions: NDArray[np.int64]) -> NDArray[np.float32]:
        return self.PAYOFF[actions[:, 0], actions[:, 1]]

    def endings(self, ended: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        return ended, np.zeros_like(ended)


class AnswerGame(Game):
    """Each agent sees its own right answer as one-hot among noise; the reward is the share of right agents: best 1."""

    def __init__(self, copies: int = 64) -> None:
        super().__init__((3, 2, 4), copies, observation_size=6, state_size=18)

    def draw(self) -> None:
        self.answers = self.generator.integers(0, self.action_counts, (self.n_environments, 3))
        self.observations[:] = 0
        self.observations[:, :, 4:] = self.generator.standard_normal((self.n_environments, 3, 2))
        np.put_along_axis(self.observations, self.answers[:, :, None], 1, axis=2)
        self.states[:] = self.observations.reshape(self.n_environments, -1)

    def reward(self, actions: NDArray[np.int64]) -> NDArray[np.float32]:
        return (actions == self.answers).mean(axis=1)


class SavableGame(AnswerGame):
    """The answer game that keeps its place, as JSON in an array of bytes."""

    def save_state(self) -> dict[str, NDArray[np.generic]]:
        stream = np.frombuffer(json.dumps(self.generator.bit_generator.state).encode(), np.uint8)
        return {"stream": stream, **{name: getattr(self, name).copy() for name in MOVING}}

    def load_state(self, state: dict[str, NDArray[np.generic]]) -> None:
        self.generator.bit_generator.state = json.loads(state["stream"].tobytes())
        for name in MOVING:
            getattr(self, name)[:] = state[name]


class CopyGame(Game):
    """Agent 1 must repeat the action that agent 0 draws in the same step; agent 0 must follow its coin: best 1.

    Without the same-step observation agent 1 is right in one case of three.
    """

    simultaneous = False

    def __init__(self) -> None:
        super().__init__((3, 3), observation_size=3, state_size=3)

    def draw(self) -> None:
        self.coin = self.generator.integers(0, 3, self.n_environments)
        self.observations[:] = 0
        self.observations[np.arange(self.n_environments), 0, self.coin] = 1
        self.states[:] = self.observations[:, 0]

    def observe(self, agent_index: int, actions: NDArray[np.int64]) -> None:
        if agent_index == 1:
            self.observations[:, 1] = np.eye(3, dtype=np.float32)[actions[:, 0]]

    def reward(self, actions: NDArray[np.int64]) -> NDArray[np.float32]:
        return ((actions[:, 1] == actions[:, 0]) & (actions[:, 0] == self.coin)).astype(np.float32)


class DelayGame(Game):
    """A reward of 1 each step whatever is done; ends by ``terminate`` or by truncation after four steps."""

    def __init__(self, terminate: bool) -> None:
        super().__init__((2,), copies=16, length=4)
        self.terminate = terminate

    def draw(self) -> None:
        self.states[:, 0] = 1.0
        self.states[:, 1] = self.clock / 4

    def reward(self, actions: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.ones(self.n_environments, np.float32)

    def endings(self, ended: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        never = np.zeros_like(ended)
        return (ended, never) if self.terminate else (never, ended)
