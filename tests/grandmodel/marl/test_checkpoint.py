"""A saved team reads back bit for bit, and a killed training leaves the team of an uninterrupted one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from grandmodel.core.config import TeamParams
from grandmodel.core.errors import TrainingError
from grandmodel.core.hashing import hash_arrays
from grandmodel.marl import Checkpoint, TrainedTeam, load_team, save_team, train_vectorised
from tests.grandmodel.marl.games import AnswerGame, SavableGame

PARAMS = TeamParams(hidden=16, critic_hidden=16, rollout_steps=8, frames=8 * 64 * 7)


class Interrupted(Exception):
    """Stands for whatever ends a process."""


def trained(
    game: AnswerGame, checkpoint: Checkpoint | None = None, stop_after: int = 0, seed: int = 1, path: str = "fused"
) -> TrainedTeam:
    heard: list[object] = []

    def progress(row: object) -> None:
        heard.append(row)
        if len(heard) == stop_after:
            raise Interrupted

    params = PARAMS.model_copy(update={"path": path})
    return train_vectorised(game, params, seed=seed, progress=progress, checkpoint=checkpoint)


def identity(team: TrainedTeam) -> tuple[str, list[dict[str, float]]]:
    return hash_arrays({**team.actor, **team.critic}), team.curves


def test_a_saved_team_reads_back_equal(tmp_path: Path) -> None:
    team = trained(AnswerGame())
    save_team(tmp_path / "team.safetensors", team)
    arrays = load_team(tmp_path / "team.safetensors")
    expected = {**team.actor, **team.critic}
    assert arrays.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(arrays[name], array)


def test_equal_teams_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        save_team(tmp_path / name, trained(AnswerGame()))
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()


@pytest.mark.parametrize(("path", "kills"), [("fused", 12), ("torch", 3)])
def test_a_training_killed_at_any_moment_leaves_the_weights_of_an_uninterrupted_one(
    tmp_path: Path, path: str, kills: int
) -> None:
    command = [sys.executable, "-m", "tests.grandmodel.marl.killed_training", path, str(tmp_path), str(kills), "1"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert found["left"] == found["whole"]
    assert len(found["stood"]) == kills, "it ended before it was killed as often as asked"
    assert max(found["stood"]) > 0, "no kill came after a checkpoint"


@pytest.mark.parametrize("stop_after", [1, 3, 4, 7])
@pytest.mark.parametrize("path", ["fused", "torch"])
def test_an_interrupted_training_goes_on_in_the_middle_of_episodes(tmp_path: Path, stop_after: int, path: str) -> None:
    whole = identity(trained(SavableGame(), path=path))
    checkpoint = Checkpoint(tmp_path / "training", every_rollouts=2)
    with pytest.raises(Interrupted):
        trained(SavableGame(), checkpoint, stop_after, path=path)
    assert identity(trained(SavableGame(), checkpoint, path=path)) == whole


def test_an_environment_that_cannot_be_saved_begins_anew_at_each_checkpoint(tmp_path: Path) -> None:
    whole = identity(trained(AnswerGame(), Checkpoint(tmp_path / "whole", every_rollouts=2)))
    checkpoint = Checkpoint(tmp_path / "training", every_rollouts=2)
    with pytest.raises(Interrupted):
        trained(AnswerGame(), checkpoint, stop_after=5)
    assert identity(trained(AnswerGame(), checkpoint)) == whole
    assert identity(trained(AnswerGame())) != whole  # the price, which the documentation names


def test_a_finished_training_is_read_back_and_not_repeated(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "training", every_rollouts=100)
    whole = identity(trained(SavableGame(), checkpoint))
    assert identity(trained(SavableGame(), checkpoint, stop_after=1)) == whole  # no rollout: nothing is heard


def test_the_checkpoint_of_another_training_is_refused(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "training")
    trained(SavableGame(), checkpoint)
    with pytest.raises(TrainingError, match=r"training: the checkpoint must be of this training"):
        trained(SavableGame(), checkpoint, seed=2)


@pytest.mark.parametrize("content", [b"", b"no safetensors", "cut"])
def test_a_broken_checkpoint_is_refused(tmp_path: Path, content: bytes | str) -> None:
    checkpoint = Checkpoint(tmp_path / "training")
    trained(SavableGame(), checkpoint)
    whole = checkpoint.path.read_bytes()
    checkpoint.path.write_bytes(whole[: len(whole) // 2] if isinstance(content, str) else content)
    with pytest.raises(TrainingError, match=r"training: the checkpoint must be whole; .* Delete the file"):
        trained(SavableGame(), checkpoint)


def test_one_changed_bit_of_a_checkpoint_is_noticed(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "training")
    trained(SavableGame(), checkpoint)
    changed = bytearray(checkpoint.path.read_bytes())
    changed[-37] ^= 0x40
    checkpoint.path.write_bytes(changed)
    with pytest.raises(TrainingError, match=r"must be whole; found .its arrays are not those that were written"):
        trained(SavableGame(), checkpoint)


def test_a_number_that_is_not_finite_names_the_last_good_checkpoint(tmp_path: Path) -> None:
    class Breaking(SavableGame):
        steps = 0

        def reward(self, actions: NDArray[np.int64]) -> NDArray[np.float32]:
            self.steps += 1
            return super().reward(actions) * np.float32(np.nan if self.steps > 5 * 8 else 1.0)

    checkpoint = Checkpoint(tmp_path / "training", every_rollouts=2)
    with pytest.raises(TrainingError, match=r"step 40 field reward: .* last good checkpoint is .*training, of 4 roll"):
        trained(Breaking(), checkpoint)
    assert identity(trained(SavableGame(), checkpoint)) == identity(trained(SavableGame()))


def test_a_checkpoint_after_no_rollouts_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="every_rollouts of the checkpoint: must be 1 or more; found 0"):
        Checkpoint(tmp_path / "training", every_rollouts=0)
