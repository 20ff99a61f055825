"""The learning study: what it averages, how it plays a trained team, and that it goes on where it stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks import mpe_study, record
from benchmarks.mpe import VectorWorlds
from grandmodel.core.config import TeamParams
from grandmodel.core.random import random_stream
from grandmodel.marl.advantage import ReturnScale
from grandmodel.marl.mappo import new_learner
from grandmodel.marl.rollout import collect, new_rollout

SPREAD = mpe_study.TASKS["spread"]


def test_a_curve_has_the_mean_of_each_hundred_thousand_frames() -> None:
    frames = np.array([50_000.0, 100_000.0, 150_000.0, 200_000.0, 250_000.0])
    found = mpe_study.thinned(frames, np.array([1.0, 3.0, 5.0, 9.0, 4.0]))
    assert found == {"frames": [100_000.0, 200_000.0, 250_000.0], "return": [2.0, 7.0, 4.0]}


def test_the_interval_holds_the_interquartile_mean_and_shrinks_to_it_where_all_seeds_agree() -> None:
    wide = mpe_study.interval_of(np.array([-9.0, -8.0, -8.0, -8.0, -8.0, -7.9, -7.9, -7.0]))
    assert wide["low"] < wide["iqm"] < wide["high"]
    assert wide["iqm"] == pytest.approx(-7.975)
    assert mpe_study.interval_of(np.full(4, -8.0)) == {"iqm": -8.0, "low": -8.0, "high": -8.0}


@pytest.mark.parametrize("name", mpe_study.TASKS)
def test_the_study_draws_the_actions_that_the_learner_would(name: str) -> None:
    task = mpe_study.TASKS[name]
    worlds = VectorWorlds(task.game, 20_000)
    worlds.reset(1)
    params = mpe_study.params_of(task, 1)
    learner = new_learner(worlds, params, random_stream(1, "weights"), "cpu")
    learner.actors.layers.weights[2].mul_(200.0)  # away from equal probabilities
    rollout = new_rollout(worlds, 2)
    collect(worlds, learner, rollout, ReturnScale(), random_stream(2, "draws"), 0)
    actions, shown = rollout.actions[:, 0].T, rollout.observations[:, 0].transpose(1, 0, 2)
    copies, actor = len(actions), learner.actors.export("actor", len(worlds.agents))
    drawn = mpe_study.choice_of(actor, worlds.action_counts, random_stream(3, "draws"))(shown)
    likeliest = mpe_study.choice_of(actor, worlds.action_counts, None)(shown)
    for agent, count in enumerate(worlds.action_counts):
        shares = [np.bincount(found[:, agent], minlength=count) / copies for found in (actions, drawn)]
        np.testing.assert_allclose(shares[0], shares[1], rtol=0, atol=0.02)
        assert np.mean(likeliest[:, agent] == actions[:, agent]) > 1.1 / count


@pytest.mark.parametrize("name", mpe_study.TASKS)
def test_a_team_earns_in_mpe2_what_it_earns_in_the_vectorised_worlds(name: str) -> None:
    task = mpe_study.TASKS[name]
    pytest.importorskip(f"mpe2.{task.game}_{task.version}")
    worlds = VectorWorlds(task.game, 1)
    learner = new_learner(worlds, TeamParams(shared_actors=True), random_stream(1, "weights"), "cpu")
    actor = learner.actors.export("actor", len(worlds.agents))
    choose = mpe_study.choice_of(actor, worlds.action_counts, random_stream(1, "draws"))
    ours, theirs = mpe_study.play(task, choose, 1), mpe_study.play_in_mpe2(task, choose, 1, 100)
    error = np.hypot(ours.std() / np.sqrt(len(ours)), theirs.std() / np.sqrt(len(theirs)))
    assert abs(ours.mean() - theirs.mean()) < 4 * error
    assert ours.mean() == pytest.approx(task.random, abs=1.5)  # fresh weights play nearly at random


def test_a_study_trains_only_what_is_not_there_and_sums_it_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[int] = []

    def fake(name: str, frames: int, seed: int, mpe2_episodes: int) -> dict[str, Any]:
        asked.append(seed)
        worth = {"mean": -float(seed), "standard_error": 0.1, "episodes": 10}
        curve = {"frames": [100_000.0, 200_000.0], "return": [-20.0, -float(seed)]}
        return {"cpu_seconds": 2.0, "settings": {}, "curve": curve, "evaluation": {"greedy": worth, "sampled": worth}}

    monkeypatch.setattr(mpe_study, "RUNS", tmp_path / "mpe")
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    monkeypatch.setattr(mpe_study, "PICTURES", tmp_path / "images")
    page = tmp_path / "page.md"
    page.write_text(f"Before.\n\n{mpe_study.BEGIN}\nold\n{mpe_study.END}\n\nAfter.\n")
    monkeypatch.setattr(mpe_study, "PAGE", page)
    monkeypatch.setitem(mpe_study.TRAINERS, "ours", fake)
    for last in (2, 3):
        for seed in range(1, last + 1):
            mpe_study.run("ours", "spread", 200_000, seed, 0)
    assert asked == [1, 2, 3]
    mpe_study.show()
    row = json.loads((tmp_path / "mpe_study.json").read_text())["rows"][0]
    assert row["seeds"] == [1, 2, 3]
    assert row["sampled"]["iqm"] == -2.0
    assert row["frames_per_cpu_second"] == 100_000
    assert "spread" in capsys.readouterr().out
    text = page.read_text()
    assert text.startswith("Before.")
    assert text.endswith("After.\n")
    assert "old" not in text
    assert "| spread | 0.2 M | GrandModel | 3 | -2.00 (-3.00 to -1.00) |" in text
    assert (tmp_path / "images" / "mpe_spread.png").stat().st_size > 10_000


def test_benchmarl_sees_and_earns_what_the_worlds_show_and_pay() -> None:
    peer = pytest.importorskip("benchmarks.mpe_peer", exc_type=ImportError)
    from torchrl.envs.utils import check_env_specs

    for task in mpe_study.TASKS.values():
        theirs, ours = peer.Worlds(task.game, 3, 5), VectorWorlds(task.game, 3)
        check_env_specs(theirs)
        theirs.set_seed(5)
        ours.reset(theirs.worlds_seed)
        seen = theirs.reset()
        for step in range(mpe_study.EPISODE_STEPS):
            np.testing.assert_array_equal(seen["state"].numpy(), ours.states)
            for name, agents in theirs.groups.items():
                for place, agent in enumerate(agents):
                    size = ours.input_sizes[agent]
                    shown = seen[name, "observation"][:, place].numpy()
                    np.testing.assert_array_equal(shown, ours.observations[:, agent, :size])
            acted = theirs.rand_action(seen)
            after = theirs.step(acted)["next"]
            actions = np.zeros((3, len(ours.agents)), np.int64)
            for name, agents in theirs.groups.items():
                actions[:, agents] = acted[name, "action"].numpy()
            result = ours.step(actions)
            for name in theirs.groups:
                paid = after[name, "reward"].numpy()
                np.testing.assert_array_equal(paid, np.broadcast_to(result.reward[:, None, None], paid.shape))
            over = step == mpe_study.EPISODE_STEPS - 1
            assert bool(after["done"].all()) == bool(after["truncated"].all()) == over
            assert not after["terminated"].any()
            if over:
                np.testing.assert_array_equal(after["state"].numpy(), result.final_states)
            seen = after
        np.testing.assert_array_equal(theirs.reset()["state"].numpy(), ours.states)
