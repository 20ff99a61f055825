"""A saved team reads back bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from grandmodel.core.config import TeamParams
from grandmodel.marl import load_team, save_team, train_vectorised
from tests.grandmodel.marl.games import AnswerGame


def test_a_saved_team_reads_back_equal(tmp_path: Path) -> None:
    team = train_vectorised(AnswerGame(), TeamParams(frames=500, rollout_steps=8), seed=1)
    save_team(tmp_path / "team.safetensors", team)
    arrays = load_team(tmp_path / "team.safetensors")
    expected = {**team.actor, **team.critic}
    assert arrays.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(arrays[name], array)


def test_equal_teams_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("first", "second"):
        team = train_vectorised(AnswerGame(), TeamParams(frames=500, rollout_steps=8), seed=1)
        save_team(tmp_path / name, team)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
