"""One seed on one machine gives one team, in whatever process and with whatever number of threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]
SCRIPT = """
import sys
from grandmodel.core.config import TeamParams
from grandmodel.core.hashing import hash_arrays
from grandmodel.marl import train_vectorised
from tests.grandmodel.marl.games import AnswerGame
params = TeamParams(frames=12_000, rollout_steps=32, hidden=32, critic_hidden=32, path=sys.argv[1])
team = train_vectorised(AnswerGame(256), params, seed=1, threads=int(sys.argv[2]))
print(hash_arrays({**team.actor, **team.critic}))
"""


def hash_of_training(path: str, threads: int) -> str:
    """Train in a process of its own; return the hash of all weights."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "NUMBA_NUM_THREADS": str(threads)}
    command = [sys.executable, "-c", SCRIPT, path, str(threads)]
    finished = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=True)
    return finished.stdout.strip()


def test_the_fused_path_gives_one_hash_for_one_and_two_threads() -> None:
    first = hash_of_training("fused", 1)
    assert len(first) == 64
    assert hash_of_training("fused", 1) == first
    assert hash_of_training("fused", 2) == first


@pytest.mark.slow
@pytest.mark.parametrize("threads", [1, 2])
def test_the_torch_path_gives_one_hash_for_one_number_of_threads(threads: int) -> None:
    """For another number torch promises nothing: it may split sums over samples, and floats add in order only."""
    assert hash_of_training("torch", threads) == hash_of_training("torch", threads)
