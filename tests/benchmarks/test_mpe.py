"""The vectorised particle worlds move, pay and show as mpe2's own do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks.mpe import EPISODE_STEPS, SHAPES, VectorWorlds
from grandmodel.core.random import random_stream

VERSIONS = {"simple_spread": "v3", "simple_speaker_listener": "v4", "simple_reference": "v3"}


def mirrored(worlds: VectorWorlds, game: Any) -> None:
    """Give the first copy of ``worlds`` the state of mpe2's ``game``."""
    source = game.unwrapped.world
    for agent, entity in enumerate(source.agents):
        worlds.world.position[0, agent] = entity.state.p_pos
        if getattr(entity, "_goal_b", None) is not None:
            worlds.world.goal[0, agent] = source.landmarks.index(entity.goal_b)
    for place, entity in enumerate(source.landmarks):
        worlds.world.landmark[0, place] = entity.state.p_pos
    worlds.write()


@pytest.mark.parametrize("name", VERSIONS)
def test_every_step_equals_that_of_mpe2(name: str) -> None:
    module = pytest.importorskip(f"mpe2.{name}_{VERSIONS[name]}")
    game, worlds = module.parallel_env(), VectorWorlds(name, 2)
    random = random_stream(1, "actions")
    touched = 0
    for episode in range(20):
        seen, _ = game.reset(seed=episode)
        worlds.reset(episode)
        mirrored(worlds, game)
        if name == "simple_spread":  # agents close together, so that they collide
            for agent, entity in enumerate(game.unwrapped.world.agents):
                entity.state.p_pos = entity.state.p_pos * 0.3
                worlds.world.position[0, agent] = entity.state.p_pos
        for step in range(EPISODE_STEPS):
            actions = random.integers(0, worlds.action_counts, (2, len(worlds.agents)))
            seen, rewards, _, cuts, _ = game.step(dict(zip(worlds.agents, actions[0].tolist(), strict=True)))
            result = worlds.step(actions)
            assert result.reward[0] == pytest.approx(np.mean([rewards[agent] for agent in worlds.agents]), abs=1e-6)
            touched += name == "simple_spread" and len(set(rewards.values())) > 1
            assert result.truncated.all() == all(cuts.values()) == (step == EPISODE_STEPS - 1)
            if step < EPISODE_STEPS - 1:
                for agent, key in enumerate(worlds.agents):
                    found = worlds.observations[0, agent, : len(seen[key])]
                    np.testing.assert_allclose(found, seen[key], rtol=0, atol=1e-6)
                whole = np.concatenate([seen[key] for key in worlds.agents])
                np.testing.assert_allclose(worlds.states[0], whole, rtol=0, atol=1e-6)
            else:
                whole = np.concatenate([seen[key] for key in worlds.agents])
                np.testing.assert_allclose(result.final_states[0], whole, rtol=0, atol=1e-6)
    assert touched > 20 or name != "simple_spread"


@pytest.mark.parametrize("name", VERSIONS)
def test_equal_seeds_give_equal_worlds_that_end_together(name: str) -> None:
    first, second, other = (VectorWorlds(name, 8) for _ in range(3))
    for worlds, seed in ((first, 1), (second, 1), (other, 2)):
        worlds.reset(seed)
    np.testing.assert_array_equal(first.states, second.states)
    assert not np.array_equal(first.states, other.states)
    assert len(np.unique(first.states[:, :4], axis=0)) > 2
    actions = np.zeros((8, len(first.agents)), np.int64)
    for step in range(2 * EPISODE_STEPS):
        result = first.step(actions)
        assert result.truncated.all() == (step % EPISODE_STEPS == EPISODE_STEPS - 1)
        assert not result.terminated.any()
        assert np.isfinite(result.reward).all()
    assert first.states.shape == (8, sum(SHAPES[first.game].observation_sizes))
