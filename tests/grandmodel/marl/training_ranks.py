"""Ranks of one training, started as a script by tests.

``torchrun ... training_ranks.py FOLDER``: train every case and leave the weights of each rank in FOLDER. In its first
life rank 1 kills itself in the middle of a training, so that torchrun starts all ranks a second time.

``python -m ... training_ranks MODE...``: fork for each MODE two ranks that fail in its way; print as JSON how they end.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.config import TeamParams
from grandmodel.core.errors import GrandModelError
from grandmodel.marl import Checkpoint, TrainedTeam, ranks, save_team, train_vectorised
from tests.grandmodel.marl.games import SavableGame

COPIES, STEPS = 16, 8
DEVICE = os.environ.get("TRAINING_RANKS_DEVICE", "cpu")
PARAMS = TeamParams(
    path="torch", hidden=16, critic_hidden=16, rollout_steps=STEPS, environments=COPIES, frames=COPIES * STEPS * 6
)
CASES: dict[str, dict[str, Any]] = {
    "separate actors": {},
    "shared actor with dropout": {"shared_actors": True, "dropout": 0.2},
    "minibatches of one sample": {"environments": 2, "rollout_steps": 4, "minibatches": 8, "frames": 2 * 4 * 3},
}


class NumberedGame(SavableGame):
    """The answer game of copies that play by their numbers: each process draws for all and takes its own."""

    def __init__(self, everyone: int) -> None:
        share = ranks.share_of(everyone)
        self.everyone, self.share, self.first_copy = everyone, share, share.start
        self.steps = 0
        super().__init__(share.stop - share.start)

    def draw(self) -> None:
        self.answers = self.generator.integers(0, self.action_counts, (self.everyone, 3))[self.share]
        self.observations[:] = 0
        self.observations[:, :, 4:] = self.generator.standard_normal((self.everyone, 3, 2))[self.share]
        np.put_along_axis(self.observations, self.answers[:, :, None], 1, axis=2)
        self.states[:] = self.observations.reshape(self.n_environments, -1)

    def reward(self, actions: NDArray[np.int64]) -> NDArray[np.float32]:
        self.steps += 1
        self.happens()
        return super().reward(actions)

    def happens(self) -> None:
        """Stand in for whatever an environment may do to its process."""


class Killed(NumberedGame):
    def happens(self) -> None:
        if self.steps == STEPS * 5 + 3 and ranks.world().rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)


class Hanging(NumberedGame):
    def happens(self) -> None:
        if self.steps == STEPS + 3 and ranks.world().rank == 1:
            time.sleep(60)


def trained(case: str, game: type[NumberedGame] = NumberedGame, seed: int = 1, **more: Any) -> TrainedTeam:
    params = PARAMS.model_copy(update=CASES[case])
    return train_vectorised(game(params.environments), params, seed=seed, device=DEVICE, **more)


def rank_of_torchrun(folder: Path) -> None:
    """Train all cases, the one that is killed and goes on before the others."""
    first_life = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    rank = ranks.world().rank
    heard: list[float] = []
    checkpoint = Checkpoint(folder / "checkpoint", every_rollouts=2)
    game = Killed if first_life else NumberedGame
    team = trained("separate actors", game, checkpoint=checkpoint, progress=lambda row: heard.append(row["frames"]))
    save_team(folder / f"killed.{rank}", team)
    (folder / f"heard.{rank}").write_text(json.dumps(heard))
    for case in CASES:
        team = trained(case)
        save_team(folder / f"{case}.{rank}", team)
        (folder / f"{case}.curves.{rank}").write_text(json.dumps(team.curves))


def failing_rank(mode: str) -> str:
    """Return the error that this rank ends with."""
    try:
        ranks.join(timeout_seconds=3 if mode in ("hangs", "absent") else 60)
        game = {"dies": Killed, "hangs": Hanging}.get(mode, NumberedGame)
        trained("separate actors", game, seed=ranks.world().rank if mode == "differs" else 1)
    except GrandModelError as error:
        return str(error)
    return "no error"


def forked(rank: int, mode: str, port: int) -> tuple[int, int]:
    """Fork a rank; return its process and where to read its error."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.environ.update(RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
        os.write(write, failing_rank(mode).encode())
        os._exit(0)
    os.close(write)
    return pid, read


def start(mode: str) -> list[tuple[int, int]]:
    """Fork the ranks that fail in the way of ``mode``."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return [forked(rank, mode, port) for rank in ((0,) if mode == "absent" else (0, 1))]


def errors(mode: str, children: list[tuple[int, int]]) -> dict[str, str]:
    """Return how rank 0 ended, and rank 1 unless it dies or hangs."""
    ended = {}
    for rank, (pid, read) in enumerate(children):
        if mode == "hangs" and rank == 1:
            os.kill(pid, signal.SIGKILL)
        with os.fdopen(read, "rb") as stream:
            ended[str(rank)] = stream.read().decode()
        os.waitpid(pid, 0)
    return ended


if __name__ == "__main__":
    if "RANK" in os.environ:
        rank_of_torchrun(Path(sys.argv[1]))
    else:
        trained("minibatches of one sample")  # what torch loads late is loaded once for all
        children = {mode: start(mode) for mode in sys.argv[1:]}
        print(json.dumps({mode: errors(mode, started) for mode, started in children.items()}))
