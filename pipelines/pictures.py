"""Evaluation episodes as a person sees them: the released training plays the start of its last test span."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from grandmodel.core.config import MarketParams
from grandmodel.data.dataset import Dataset
from grandmodel.market.pettingzoo_env import MarketAEC
from grandmodel.market.policy import TeamPolicy
from grandmodel.market.render import Pixels
from grandmodel.market.tape import MarketTape
from models.release import Release, strategic_intents
from pipelines.package import RELEASED_SEED
from pipelines.tapes import fold_folders, load_fold
from pipelines.workspace import PROJECT, Workspace, finish, open_workspace

EPISODE_BARS = 96
FILM_FRAMES, FRAME_MS = 12, 400


def write_episodes(workspace: Workspace, folder: Path, stem: str, frames: int = 1) -> list[Path]:
    """Write ``{stem}{team}.png``, or with more than one of ``frames`` a film as ``.gif``, for each team of the release.

    The episode is the first ``EPISODE_BARS`` bars of the first instrument that no training has seen; every agent takes
    its most probable action.
    """
    params = workspace.params
    dataset = Dataset.load(workspace.features / "bars")
    fold = fold_folders(workspace.features)[-1]
    tapes = load_fold(fold, dataset, params.market).test
    release = Release.load(workspace.train / "weights" / fold.name / RELEASED_SEED, params.training)
    teams: list[tuple[TeamPolicy, MarketTape]] = [(release.strategic, tapes.strategic)]
    if release.tactical is not None and tapes.tactical is not None:
        intents = strategic_intents(release.strategic, tapes, params.market)
        teams.append((release.tactical, tapes.tactical.with_intents(intents)))
    paths = []
    for policy, tape in teams:
        pictures = play(policy, tape.only(tape.symbols[0]), params.market, dataset.simulated, frames)
        paths.append(folder / f"{stem}{policy.spec.name}.{'png' if frames == 1 else 'gif'}")
        _save(pictures, paths[-1])
    return paths


def play(
    policy: TeamPolicy, tape: MarketTape, params: MarketParams, simulated: bool | None, frames: int
) -> list[Pixels]:
    """Return ``frames`` pictures uint8 [H, W, 3] at equal distances of one greedy episode; the last shows all of it."""
    bars = min(EPISODE_BARS, len(tape) - 1)
    game = MarketAEC(tape, policy.spec, params, window_bars=bars, render_mode="rgb_array", simulated=simulated)
    game.reset(options={"row": 0})
    shown_at = np.linspace(bars, 0, frames, endpoint=False).round()
    bar, pictures = 0, []
    ended = False
    while not ended:
        for number, agent in enumerate(game.possible_agents):
            game.step(int(np.argmax(policy.logits(game.observe(agent), number))))
        bar += 1
        ended = any(game.terminations.values()) or any(game.truncations.values())
        if ended or bar in shown_at:
            picture = game.render()
            assert isinstance(picture, np.ndarray)
            pictures.append(picture)
    return pictures


def _save(pictures: list[Pixels], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *rest = (Image.fromarray(picture) for picture in pictures)
    if path.suffix == ".png":
        first.save(path)
    else:
        first.save(path, save_all=True, append_images=rest, duration=FRAME_MS, loop=0)


def main() -> None:
    """Write films of the released training from the command line."""
    parser = argparse.ArgumentParser(description="Film an evaluation episode of each team.")
    parser.add_argument("--workspace", type=Path, default=PROJECT / "artifacts")
    parser.add_argument("--folder", type=Path, help="default: episodes/ of the workspace")
    chosen = parser.parse_args()
    folder = chosen.folder or chosen.workspace / "episodes"
    finish(lambda: print(*write_episodes(open_workspace(chosen.workspace), folder, "", FILM_FRAMES), sep="\n"))


if __name__ == "__main__":
    main()
