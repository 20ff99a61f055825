"""Three particle worlds of mpe2, vectorised: simple_spread v3, simple_speaker_listener v4 and simple_reference v3.

The dynamics are those of mpe2 1.1.1 (25 steps, discrete actions, local_ratio 0.5, positions moved by the old velocity);
``tests/benchmarks/test_mpe.py`` compares every step with it where mpe2 is installed. The reward is the mean over the
agents.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from grandmodel.core.random import random_stream
from grandmodel.marl import Step

EPISODE_STEPS = 25
TIME_STEP, DAMPING, SENSITIVITY = 0.1, 0.25, 5.0
CONTACT_FORCE, CONTACT_MARGIN = 1e2, 1e-3
SPREAD_DISTANCE = 0.3  # two agents of size 0.15 touch
SPREAD, SPEAKER_LISTENER, REFERENCE = range(3)
GAMES = {"simple_spread": SPREAD, "simple_speaker_listener": SPEAKER_LISTENER, "simple_reference": REFERENCE}
MOVES = np.array([[0.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])
LANDMARKS = 3


class Shape(NamedTuple):
    """What differs between the games."""

    agents: tuple[str, ...]
    action_counts: tuple[int, ...]
    observation_sizes: tuple[int, ...]


SHAPES = {
    SPREAD: Shape(("agent_0", "agent_1", "agent_2"), (5, 5, 5), (18, 18, 18)),
    SPEAKER_LISTENER: Shape(("speaker_0", "listener_0"), (3, 5), (3, 11)),
    REFERENCE: Shape(("agent_0", "agent_1"), (50, 50), (21, 21)),
}


class World(NamedTuple):
    """N worlds of A agents."""

    position: NDArray[np.float64]  # [N, A, 2]
    velocity: NDArray[np.float64]  # [N, A, 2]
    landmark: NDArray[np.float64]  # [N, 3, 2]
    goal: NDArray[np.int64]  # [N, A] the landmark that an agent knows of and another one has to reach
    said: NDArray[np.int64]  # [N, A] the symbol of the last step, -1 before the first


# Kernels loop over the worlds themselves and index whole arrays: handing a world to an inner function costs more than
# the arithmetic on it.


@njit(cache=True)
def _distance(x: float, y: float, to_x: float, to_y: float) -> float:
    return math.sqrt((x - to_x) ** 2 + (y - to_y) ** 2)


@njit(cache=True)
def _overlap(distance: float) -> float:
    """Return how deep two agents of simple_spread are in each other, softened."""
    depth = (SPREAD_DISTANCE - distance) / CONTACT_MARGIN
    if depth < -60.0:  # a force below 1e-25
        return 0.0
    return (max(depth, 0.0) + math.log1p(math.exp(-abs(depth)))) * CONTACT_MARGIN


@njit(cache=True)
def _push(position: NDArray[np.float64], force: NDArray[np.float64]) -> None:
    """Add to ``force`` what agents that touch do to each other."""
    worlds, agents, _ = position.shape
    for e in range(worlds):
        for a in range(agents):
            for b in range(a + 1, agents):
                x, y = position[e, a, 0] - position[e, b, 0], position[e, a, 1] - position[e, b, 1]
                distance = math.sqrt(x * x + y * y)
                overlap = _overlap(distance)
                if overlap > 0.0:
                    strength = CONTACT_FORCE * overlap / distance
                    force[e, a, 0] += strength * x
                    force[e, a, 1] += strength * y
                    force[e, b, 0] -= strength * x
                    force[e, b, 1] -= strength * y


@njit(cache=True)
def _move(position: NDArray[np.float64], velocity: NDArray[np.float64], force: NDArray[np.float64]) -> None:
    """Move by the old velocity, then change it."""
    worlds, agents, _ = position.shape
    for e in range(worlds):
        for agent in range(agents):
            for axis in range(2):
                position[e, agent, axis] += velocity[e, agent, axis] * TIME_STEP
                slower = velocity[e, agent, axis] * (1 - DAMPING)
                velocity[e, agent, axis] = slower + force[e, agent, axis] * TIME_STEP


@njit(cache=True)
def _spread_reward(position: NDArray[np.float64], landmark: NDArray[np.float64], reward: NDArray[np.float32]) -> None:
    """Write half the negative distances of the landmarks to their nearest agents, less half of each contact."""
    worlds, agents, _ = position.shape
    for e in range(worlds):
        total, touching = 0.0, 0
        for place in range(LANDMARKS):
            nearest = np.inf
            for a in range(agents):
                x, y = position[e, a, 0] - landmark[e, place, 0], position[e, a, 1] - landmark[e, place, 1]
                nearest = min(nearest, x * x + y * y)
            total -= math.sqrt(nearest)
        for a in range(agents):
            for b in range(a + 1, agents):
                apart = _distance(position[e, a, 0], position[e, a, 1], position[e, b, 0], position[e, b, 1])
                touching += apart < SPREAD_DISTANCE
        reward[e] = 0.5 * total - touching / agents  # each contact counts for two agents


@njit(cache=True)
def _goal_reward(
    position: NDArray[np.float64],
    landmark: NDArray[np.float64],
    goal: NDArray[np.int64],
    squared: bool,
    reward: NDArray[np.float32],
) -> None:
    """Write the negative distance of the last agent to the first one's goal, or the mean of both ways round."""
    for e in range(len(position)):
        total = 0.0
        for knows in range(1 if squared else 2):
            goes, place = 1 - knows, goal[e, knows]
            x, y = position[e, goes, 0] - landmark[e, place, 0], position[e, goes, 1] - landmark[e, place, 1]
            total += x * x + y * y if squared else 0.5 * math.sqrt(x * x + y * y)
        reward[e] = -total


@njit(cache=True)
def _show_landmarks(
    position: NDArray[np.float64], landmark: NDArray[np.float64], agent: int, at: int, out: NDArray[np.float32]
) -> None:
    for e in range(len(out)):
        for place in range(LANDMARKS):
            for axis in range(2):
                out[e, agent, at + 2 * place + axis] = landmark[e, place, axis] - position[e, agent, axis]


@njit(cache=True)
def _show_others(position: NDArray[np.float64], agent: int, at: int, out: NDArray[np.float32]) -> None:
    for e in range(len(out)):
        column = at
        for other in range(position.shape[1]):
            if other != agent:
                for axis in range(2):
                    out[e, agent, column + axis] = position[e, other, axis] - position[e, agent, axis]
                column += 2


@njit(cache=True)
def _show_one_of(
    number: NDArray[np.int64], kinds: int, low: float, high: float, agent: int, at: int, out: NDArray[np.float32]
) -> None:
    for e in range(len(out)):
        for kind in range(kinds):
            out[e, agent, at + kind] = high if number[e] == kind else low


@njit(cache=True)
def _advance(game: int, world: World, actions: NDArray[np.int64], reward: NDArray[np.float32]) -> None:
    """Carry all worlds over one step and write the mean rewards of their agents."""
    worlds, agents = actions.shape
    force = np.empty((worlds, agents, 2))
    for e in range(worlds):
        for agent in range(agents):
            action = actions[e, agent]
            mute = game == SPEAKER_LISTENER and agent == 0  # the speaker does not move, it names a symbol
            move = 0 if mute else action % 5
            world.said[e, agent] = action if mute else action // 5
            force[e, agent, 0] = SENSITIVITY * MOVES[move, 0]
            force[e, agent, 1] = SENSITIVITY * MOVES[move, 1]
    if game == SPREAD:
        _push(world.position, force)
    _move(world.position, world.velocity, force)
    if game == SPREAD:
        _spread_reward(world.position, world.landmark, reward)
    else:
        _goal_reward(world.position, world.landmark, world.goal, game == SPEAKER_LISTENER, reward)


@njit(cache=True)
def _show(game: int, world: World, out: NDArray[np.float32]) -> None:
    """Write the observations ``out`` [N, A, D]; in simple_spread with four zeros for the silent others."""
    for agent in range(world.position.shape[1]):
        if game == SPEAKER_LISTENER and agent == 0:
            _show_one_of(world.goal[:, 0], 3, 0.15, 0.65, 0, 0, out)
            continue
        out[:, agent, 0:2] = world.velocity[:, agent]
        if game == SPREAD:
            out[:, agent, 2:4] = world.position[:, agent]
            _show_landmarks(world.position, world.landmark, agent, 4, out)
            _show_others(world.position, agent, 10, out)
            continue
        _show_landmarks(world.position, world.landmark, agent, 2, out)
        if game == REFERENCE:
            _show_one_of(world.goal[:, agent], 3, 0.25, 0.75, agent, 8, out)
            _show_one_of(world.said[:, 1 - agent], 10, 0.0, 1.0, agent, 11, out)
        else:
            _show_one_of(world.said[:, 0], 3, 0.0, 1.0, agent, 8, out)


class VectorWorlds:
    """N copies of one particle world as ``grandmodel.marl.VectorEnvironment``; all copies end and begin together."""

    simultaneous = True

    def __init__(self, name: str, copies: int) -> None:
        self.game = GAMES[name]
        self.agents, self.action_counts, sizes = SHAPES[self.game]
        self.input_sizes = sizes
        self.n_environments = copies
        self.observation_size, self.state_size = max(sizes), sum(sizes)
        agents = len(self.agents)
        self.observations = np.zeros((copies, agents, self.observation_size), np.float32)
        self.states = np.zeros((copies, self.state_size), np.float32)
        self._ends = np.cumsum(sizes)
        self.world = World(
            position=np.zeros((copies, agents, 2)),
            velocity=np.zeros((copies, agents, 2)),
            landmark=np.zeros((copies, LANDMARKS, 2)),
            goal=np.zeros((copies, agents), np.int64),
            said=np.full((copies, agents), -1, np.int64),
        )
        self._reward = np.zeros(copies, np.float32)
        self._never, self._always = np.zeros(copies, np.bool_), np.ones(copies, np.bool_)
        self._final_states = np.zeros_like(self.states)
        self._clock = 0

    def reset(self, seed: int) -> None:
        self._generator = random_stream(seed, "particle worlds")
        self._begin()

    def _begin(self) -> None:
        self._clock = 0
        world = self.world
        world.position[:] = self._generator.uniform(-1, 1, world.position.shape)
        world.landmark[:] = self._generator.uniform(-1, 1, world.landmark.shape)
        world.goal[:] = self._generator.integers(LANDMARKS, size=world.goal.shape)
        world.velocity[:] = 0
        world.said[:] = -1
        self.write()

    def write(self) -> None:
        """Write observations and states of the worlds as they stand."""
        _show(self.game, self.world, self.observations)
        for agent, size in enumerate(self.input_sizes):
            end = self._ends[agent]
            self.states[:, end - size : end] = self.observations[:, agent, :size]

    def observe(self, agent_index: int, actions: NDArray[np.int64]) -> None:
        raise AssertionError("agents of a particle world act at once")

    def step(self, actions: NDArray[np.int64]) -> Step:
        _advance(self.game, self.world, actions, self._reward)
        self.write()
        self._clock += 1
        if self._clock < EPISODE_STEPS:
            return Step(self._reward, self._never, self._never, self._final_states)
        self._final_states[:] = self.states
        self._begin()
        return Step(self._reward, self._never, self._always, self._final_states)
