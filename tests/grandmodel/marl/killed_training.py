"""Kill trainings with SIGKILL at random moments until one ends, and print what it left; started as a script by tests.

A moment is some time within one of the first rollouts after a start, so that a slow machine is killed as often as a
fast one. Arguments: path of the learner, folder of the checkpoint, number of kills, seed of the moments. Trainings are
forked from this process, so that one import of torch and one compilation serve them all.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from safetensors import safe_open

from grandmodel.core.config import MarketParams, TeamParams
from grandmodel.core.hashing import hash_arrays, hash_json
from grandmodel.market.core import VectorMarket
from grandmodel.market.simulated import simulated_tape
from grandmodel.market.team import TeamSpec
from grandmodel.marl import Checkpoint, TrainedTeam, train_vectorised
from grandmodel.marl.mappo import Progress

ROLLOUTS, ROLLOUTS_BEFORE_KILL = 108, 6  # at most; all kills together leave the training unfinished

TEAM = TeamSpec("pair", ("vote", "size"), ((0, 1), (2,)), (3, 4), n_columns=3, lags=1, uses_intent=False)
PARAMS = TeamParams(
    hidden=32, critic_hidden=32, environments=32, rollout_steps=16, window_bars=40, frames=32 * 16 * ROLLOUTS, epochs=2
)


def trained(path: str, checkpoint: Checkpoint | None, progress: Progress | None = None) -> TrainedTeam:
    tape = simulated_tape(TEAM, seed=3)
    market = VectorMarket(tape, TEAM, MarketParams(), PARAMS.environments, PARAMS.window_bars, seed=5)
    params = PARAMS.model_copy(update={"path": path})
    return train_vectorised(market, params, seed=1, checkpoint=checkpoint, progress=progress)


def identity(team: TrainedTeam) -> list[str]:
    return [hash_arrays({**team.actor, **team.critic}), hash_json(team.curves)]


def child(path: str, folder: Path) -> tuple[int, int]:
    """Fork a training that goes on from the checkpoint in ``folder`` and writes what it left when it ends.

    Returns its process and a pipe from which a byte can be read for each rollout.
    """
    heard, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        checkpoint = Checkpoint(folder / "training.safetensors", every_rollouts=3)

        def tell(row: dict[str, float]) -> None:
            os.write(told, b".")

        left = identity(trained(path, checkpoint, tell))
        (folder / "left.json").write_text(json.dumps(left))
        os._exit(0)
    os.close(told)
    return pid, heard


def rollouts_kept(checkpoint: Path) -> int:
    """Return how many rollouts the checkpoint holds."""
    if not checkpoint.exists():
        return 0
    with safe_open(checkpoint, framework="numpy") as file:
        return len(json.loads(file.metadata()["state"])["curves"])


def main(path: str, folder: Path, kills: int, seed: int) -> dict[str, object]:
    """Return what an uninterrupted training leaves, what a killed one leaves, and where it stood when it was killed."""
    moments = random.Random(seed)
    trained(path, None)  # compiles
    started = time.perf_counter()
    whole = identity(trained(path, None))
    rollout_seconds = (time.perf_counter() - started) / ROLLOUTS
    stood: list[int] = []
    while True:
        pid, heard = child(path, folder)
        if len(stood) < kills:
            for _ in range(moments.randint(0, ROLLOUTS_BEFORE_KILL)):
                os.read(heard, 1)
            time.sleep(moments.uniform(0, 1) * rollout_seconds)
            os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        os.close(heard)
        if os.WIFEXITED(status):
            left = json.loads((folder / "left.json").read_text())
            return {"whole": whole, "left": left, "stood": stood}
        stood.append(rollouts_kept(folder / "training.safetensors"))


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
