"""Collection: what is drawn, what is remembered, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from grandmodel.core.config import TeamParams
from grandmodel.core.errors import TrainingError
from grandmodel.core.random import random_stream
from grandmodel.marl.advantage import ReturnScale
from grandmodel.marl.environment import Step
from grandmodel.marl.mappo import new_learner
from grandmodel.marl.rollout import Rollout, collect, gumbel_noise, new_rollout, taken_log_probs
from tests.grandmodel.marl.games import AnswerGame, CopyGame, DelayGame, Game


def played(game: Game, steps: int = 16, scale: ReturnScale | None = None) -> Rollout:
    generator = random_stream(5, "test")
    learner, rollout = new_learner(game, TeamParams(), generator, "cpu"), new_rollout(game, steps)
    game.reset(5)
    collect(game, learner, rollout, scale or ReturnScale(), generator, 0)
    return rollout


def test_noise_draws_the_softmax() -> None:
    logits = np.array([0.5, -0.5, 1.0, 9.0], np.float32)
    noise = gumbel_noise(random_stream(1, "noise"), (50, 1, 2000), (3,))
    assert noise.shape == (50, 1, 2000, 3)
    drawn = np.bincount(np.argmax(logits[:3] + noise, axis=-1).reshape(-1), minlength=3) / 100_000
    expected = np.exp(logits[:3]) / np.exp(logits[:3]).sum()
    np.testing.assert_allclose(drawn, expected, atol=0.006)


def test_no_agent_takes_an_action_it_does_not_have() -> None:
    rollout = played(AnswerGame(copies=128))
    for agent, count in enumerate((3, 2, 4)):
        assert set(np.unique(rollout.actions[agent])) == set(range(count))


def test_log_probs_belong_to_the_taken_actions() -> None:
    game = AnswerGame()
    rollout = played(game)
    found = taken_log_probs(rollout, game.action_counts).reshape(rollout.actions.shape)
    agent, step, copy = 1, 3, 7
    weights = np.exp(rollout.logits[agent, step, copy, :2].astype(np.float64))
    expected = np.log(weights[rollout.actions[agent, step, copy]] / weights.sum())
    assert found[agent, step, copy] == pytest.approx(expected, rel=1e-5)
    assert (found < 0).all()


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
