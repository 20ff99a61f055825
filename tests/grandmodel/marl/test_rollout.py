"""Collection: what is drawn, what is remembered, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from grandmodel.core.config import TeamParams
from grandmodel.core.errors import TrainingError
from grandmodel.core.random import random_stream
from grandmodel.marl.advantage import ReturnScale
from grandmodel.marl.environment import Step
from grandmodel.marl.mappo import Learner, new_learner
from grandmodel.marl.rollout import Rollout, collect, new_rollout
from tests.grandmodel.marl.games import AnswerGame, CopyGame, DelayGame, Game

PATHS = ["fused", "torch"]


def started(game: Game, path: str) -> Learner:
    game.reset(5)
    params = TeamParams.model_validate({"path": path})
    learner = new_learner(game, params, random_stream(5, "test"), "cpu")
    learner.begin_rollout(1, random_stream(0, "masks"))
    return learner


def acted(learner: Learner, game: Game, uniforms: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Let all agents act at once; return their actions [N, A] and log-probabilities [A, N]."""
    agents, copies = uniforms.shape
    actions, log_probs = np.zeros((copies, agents), np.int64), np.zeros((agents, copies), np.float32)
    seen = np.zeros((agents, copies, game.observation_size), np.float32)
    learner.act(range(agents), game.observations, uniforms, seen, actions, log_probs)
    np.testing.assert_array_equal(seen, game.observations.swapaxes(0, 1))
    return actions, log_probs


def played(game: Game, steps: int = 16, scale: ReturnScale | None = None) -> Rollout:
    generator = random_stream(5, "test")
    learner, rollout = new_learner(game, TeamParams(), generator, "cpu"), new_rollout(game, steps)
    game.reset(5)
    collect(game, learner, rollout, scale or ReturnScale(), generator, 0)
    return rollout


@pytest.mark.parametrize("path", PATHS)
def test_uniform_numbers_draw_the_softmax(path: str) -> None:
    game = AnswerGame(copies=20_000)
    learner = started(game, path)
    learner.actors.layers.weights[2].mul_(100)  # far from even odds
    learner.begin_rollout(1, random_stream(0, "masks"))
    game.observations[:] = game.observations[0]
    uniforms = random_stream(1, "uniforms").random((3, 20_000), dtype=np.float32)
    actions, log_probs = acted(learner, game, uniforms)
    for agent, count in enumerate(game.action_counts):
        shares = np.bincount(actions[:, agent], minlength=count) / len(actions)
        probs = np.exp([log_probs[agent, actions[:, agent] == action].mean() for action in range(count)])
        assert probs.sum() == pytest.approx(1, abs=1e-5)
        assert np.ptp(probs) > 0.05
        np.testing.assert_allclose(shares, probs, atol=0.012)


@pytest.mark.parametrize("path", PATHS)
def test_the_last_action_is_drawn_at_the_upper_end(path: str) -> None:
    game = AnswerGame(copies=4)
    learner = started(game, path)
    top = np.float32(1.0) - np.finfo(np.float32).epsneg
    assert (acted(learner, game, np.full((3, 4), top))[0] == np.array([2, 1, 3])).all()
    assert (acted(learner, game, np.zeros((3, 4), np.float32))[0] == 0).all()


def test_both_paths_draw_the_same_actions() -> None:
    game = AnswerGame(copies=300)
    fast, slow = started(game, "fused"), started(game, "torch")
    uniforms = random_stream(2, "uniforms").random((3, 300), dtype=np.float32)
    (actions, log_probs), (slow_actions, slow_log_probs) = acted(fast, game, uniforms), acted(slow, game, uniforms)
    np.testing.assert_array_equal(actions, slow_actions)
    np.testing.assert_allclose(log_probs, slow_log_probs, rtol=1e-5, atol=1e-6)


def test_no_agent_takes_an_action_it_does_not_have() -> None:
    rollout = played(AnswerGame(copies=128))
    for agent, count in enumerate((3, 2, 4)):
        assert set(np.unique(rollout.actions[agent])) == set(range(count))


def test_log_probs_belong_to_the_taken_actions() -> None:
    game = AnswerGame()
    learner, rollout = started(game, "torch"), new_rollout(game, 16)
    collect(game, learner, rollout, ReturnScale(), random_stream(5, "test"), 0)
    agent, step, copy = 1, 3, 7
    hidden = torch.from_numpy(rollout.observations[agent, step, copy]).double()
    for layer, (weights, biases) in enumerate(zip(*learner.actors.layers, strict=True)):
        hidden = hidden @ weights[agent].double() + biases[agent].double()
        hidden = torch.tanh(hidden) if layer < 2 else hidden
    expected = torch.log_softmax(hidden[:2], 0)[rollout.actions[agent, step, copy]]
    assert rollout.log_probs[agent, step, copy] == pytest.approx(float(expected), rel=1e-5)
    assert (rollout.log_probs < 0).all()


def test_a_later_agent_sees_the_earlier_action_of_the_same_step() -> None:
    rollout = played(CopyGame())
    np.testing.assert_array_equal(np.argmax(rollout.observations[1], axis=2), rollout.actions[0])
    assert len(np.unique(rollout.actions[0])) == 3


@pytest.mark.parametrize("terminate", [True, False])
def test_a_cut_step_bootstraps_from_the_state_before_the_reset(terminate: bool) -> None:
    class Marked(DelayGame):
        def step(self, actions: NDArray[np.int64]) -> Step:
            return super().step(actions)._replace(final_states=np.full_like(self.states, 3.0))

    game = Marked(terminate)
    generator = random_stream(5, "test")
    learner, rollout = new_learner(game, TeamParams(), generator, "cpu"), new_rollout(game, 6)
    game.reset(5)
    collect(game, learner, rollout, ReturnScale(), generator, 0)
    assert rollout.terminated[3].all() == terminate
    assert rollout.truncated[3].all() != terminate
    before_reset = learner.values(np.full((1, 4), 3.0, np.float32))[0]
    after_last = learner.values(game.states[:1])[0]
    if not terminate:
        np.testing.assert_allclose(rollout.bootstrap[3], before_reset, rtol=1e-5)
    np.testing.assert_allclose(rollout.bootstrap[5], after_last, rtol=1e-5)
    assert before_reset != pytest.approx(after_last, rel=1e-3)


def test_a_reward_that_is_not_finite_names_step_and_field() -> None:
    class Broken(AnswerGame):
        def reward(self, actions: NDArray[np.int64]) -> NDArray[np.float32]:
            return np.where(self.clock == 2, np.nan, super().reward(actions))

    with pytest.raises(TrainingError, match=r"step 2 field reward: it must be finite; found 'nan"):
        played(Broken())


def test_an_observation_that_is_not_finite_names_agent_step_and_field() -> None:
    class Broken(AnswerGame):
        def draw(self) -> None:
            super().draw()
            if self.clock[0] == 4:
                self.observations[3, 1, 0] = np.inf

    with pytest.raises(TrainingError, match=r"agent agent_1, step 4 field observations"):
        played(Broken())
