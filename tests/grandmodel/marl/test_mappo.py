"""What the learner must learn, and that it does so the same way twice."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from grandmodel.core.config import TeamParams
from grandmodel.core.errors import ConfigError, TrainingError
from grandmodel.core.hashing import hash_arrays
from grandmodel.core.random import random_stream
from grandmodel.marl import TrainedTeam, train_vectorised
from grandmodel.marl.mappo import DEFAULT_SHARE, new_learner
from grandmodel.marl.networks import forward
from tests.grandmodel.marl.games import AnswerGame, CopyGame, DelayGame, Game, MatrixGame

SMALL = TeamParams(hidden=32, critic_hidden=32, rollout_steps=16, learning_rate=3e-3, critic_learning_rate=3e-3)


def trained(game: Game, frames: int, seed: int = 1, device: str = "cpu", **changes: float | str) -> TrainedTeam:
    params = SMALL.model_copy(update={"frames": frames, **changes})
    return train_vectorised(game, params, seed=seed, device=device)


def greedy_return(game: Game, team: TrainedTeam, steps: int = 32) -> float:
    """Mean reward of the exported weights, each agent taking its most probable action."""
    game.reset(999)
    rewards, actions = [], np.zeros((game.n_environments, len(game.agents)), np.int64)
    for _ in range(steps):
        for agent, count in enumerate(game.action_counts):
            game.observe(agent, actions)
            hidden = game.observations[:, agent]
            for layer in range(3):
                weight, bias = (team.actor[f"actor.{layer}.{kind}"][agent] for kind in ("weight", "bias"))
                hidden = hidden @ weight + bias
                hidden = np.tanh(hidden) if layer < 2 else hidden
            actions[:, agent] = np.argmax(hidden[:, :count], axis=1)
        rewards.append(game.step(actions).reward.mean())
    return float(np.mean(rewards))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_two_agents_find_the_best_cell_of_a_matrix_game(seed: int) -> None:
    assert greedy_return(MatrixGame(), trained(MatrixGame(), 10_000, seed)) == 1.0


def test_a_game_that_shows_the_answer_is_learned() -> None:
    game = AnswerGame()
    team = trained(game, 16_000)
    assert team.curves[0]["return_per_step"] < 0.5
    assert greedy_return(game, team) > 0.97


def test_a_later_agent_learns_to_copy_the_action_of_the_same_step() -> None:
    assert greedy_return(CopyGame(), trained(CopyGame(), 16_000)) > 0.97


class DefaultingGame(AnswerGame):
    """The same game, in which the agents begin with one action each, right in a quarter or half of all states."""

    default_actions = (2, 0, 1)


def test_a_fresh_team_takes_its_default_actions_by_their_share() -> None:
    game = DefaultingGame()
    game.reset(1)
    actors = new_learner(game, SMALL, random_stream(1, "fresh"), "cpu").actors
    logits = forward(actors.layers, torch.from_numpy(game.observations).swapaxes(0, 1))
    for agent, (action, count) in enumerate(zip(game.default_actions, game.action_counts, strict=True)):
        shares = torch.softmax(logits[agent, :, :count], dim=1)[:, action]
        assert shares.numpy() == pytest.approx(DEFAULT_SHARE, abs=0.01)


def test_default_actions_are_left_where_they_do_not_pay() -> None:
    assert greedy_return(DefaultingGame(), trained(DefaultingGame(), 64_000)) > 0.97


def test_one_shared_actor_cannot_begin_with_several_default_actions() -> None:
    with pytest.raises(ConfigError, match="several default actions"):
        trained(DefaultingGame(), 100, shared_actors=True)


@pytest.mark.parametrize(("terminate", "expected"), [(True, (4 + 3 + 2 + 1) / 4), (False, 20.0)])
def test_values_stop_at_termination_and_go_on_over_truncation(terminate: bool, expected: float) -> None:
    team = trained(DelayGame(terminate), 24_000, gamma=0.95 if not terminate else 1.0)
    assert team.critic["critic.value_mean"][0] == pytest.approx(expected, rel=0.1)


def test_equal_seeds_give_equal_teams_and_other_seeds_others() -> None:
    first, again, other = (trained(AnswerGame(), 5_000, seed) for seed in (1, 1, 2))
    assert hash_arrays({**first.actor, **first.critic}) == hash_arrays({**again.actor, **again.critic})
    assert first.curves == again.curves
    assert hash_arrays(first.actor) != hash_arrays(other.actor)


def test_the_actor_has_the_layout_of_the_serving_policy() -> None:
    team = trained(AnswerGame(), 1_000)
    shapes = {name: array.shape for name, array in team.actor.items()}
    assert shapes == {
        "actor.0.weight": (3, 6, 32),
        "actor.0.bias": (3, 32),
        "actor.1.weight": (3, 32, 32),
        "actor.1.bias": (3, 32),
        "actor.2.weight": (3, 32, 4),
        "actor.2.bias": (3, 4),
    }
    assert all(array.dtype == np.float32 for array in team.actor.values())


def test_progress_hears_the_speed_and_the_result_does_not() -> None:
    heard: list[dict[str, float]] = []
    team = train_vectorised(AnswerGame(), SMALL.model_copy(update={"frames": 3000}), seed=1, progress=heard.append)
    assert len(heard) == len(team.curves) == 3
    assert team.frames == team.curves[-1]["frames"] == 3 * 16 * 64
    for row, told in zip(team.curves, heard, strict=True):
        assert told.pop("frames_per_second") > 0
        assert told.pop("frames_total") == team.frames
        assert (told.pop("seconds_left") == 0) == (row is team.curves[-1])
        assert told == row


def test_the_thread_count_is_restored() -> None:
    before = torch.get_num_threads()
    trained(AnswerGame(), 100)
    assert torch.get_num_threads() == before


def test_a_loss_that_is_not_finite_stops_with_the_last_good_rollout() -> None:
    class Exploding(AnswerGame):
        steps = 0

        def reward(self, actions: NDArray[np.int64]) -> NDArray[np.float32]:
            self.steps += 1
            return super().reward(actions) * np.float32(3e38 if self.steps > 40 else 1.0)

    with np.errstate(all="ignore"), pytest.raises(TrainingError, match=r"rollout 2: .*last good rollout was 1"):
        trained(Exploding(), 10_000)


def test_an_environment_with_wrong_shapes_is_refused() -> None:
    game = AnswerGame()
    game.observations = game.observations.astype(np.float64)  # type: ignore[assignment]
    with pytest.raises(TrainingError, match=r"field observations: it must be float32 of shape \(64, 3, 6\)"):
        trained(game, 100)


@pytest.mark.parametrize("shared", [False, True])
def test_both_paths_train_alike(shared: bool) -> None:
    fast, slow = (trained(AnswerGame(), 16_000, path=path, shared_actors=shared) for path in ("fused", "torch"))
    assert hash_arrays(fast.actor) != hash_arrays(slow.actor)  # another order of summation: it did take the other path
    for name in ("return_per_step", "value_loss", "entropy"):
        assert slow.curves[-1][name] == pytest.approx(fast.curves[-1][name], rel=1e-3)
    assert greedy_return(AnswerGame(), slow) > 0.97


def test_shared_actors_are_exported_for_every_agent() -> None:
    team = trained(AnswerGame(), 1_000, shared_actors=True)
    weights = team.actor["actor.0.weight"]
    assert weights.shape == (3, 6, 32)
    np.testing.assert_array_equal(weights[0], weights[2])
    assert not np.array_equal(*trained(AnswerGame(), 1_000).actor["actor.0.weight"][:2])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
def test_the_same_game_is_learned_on_cuda() -> None:
    game = AnswerGame()
    assert greedy_return(game, trained(game, 16_000, device="cuda")) > 0.97
