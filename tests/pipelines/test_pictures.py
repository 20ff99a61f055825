"""One picture, or a film, of each team's evaluation episode."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from pipelines.pictures import write_episodes
from pipelines.workspace import Workspace


def test_each_team_has_one_picture(workspace: Workspace, tmp_path: Path) -> None:
    paths = write_episodes(workspace, tmp_path, "release_")
    assert [path.name for path in paths] == ["release_strategic.png", "release_tactical.png"]
    for path in paths:
        with Image.open(path) as picture:
            assert picture.size == (960, 640)
            assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 10
    again = write_episodes(workspace, tmp_path / "again", "release_")
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in paths]


def test_a_film_grows_with_the_episode(workspace: Workspace, tmp_path: Path) -> None:
    path, _ = write_episodes(workspace, tmp_path, "", frames=3)
    with Image.open(path) as film:
        assert film.n_frames == 3
        frames = []
        for number in range(film.n_frames):
            film.seek(number)
            frames.append(np.asarray(film.convert("RGB")))
    assert not np.array_equal(frames[0], frames[1])
    assert not np.array_equal(frames[1], frames[2])
