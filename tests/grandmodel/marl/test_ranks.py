"""Several processes train the team that one process trains, and none waits for ever for another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from grandmodel.core.errors import ConfigError
from grandmodel.core.random import random_stream
from grandmodel.marl import load_team, ranks, train_vectorised
from grandmodel.marl.mappo import _seed_of_games, new_learner
from tests.grandmodel.marl.games import AnswerGame
from tests.grandmodel.marl.training_ranks import CASES, COPIES, PARAMS, STEPS, NumberedGame, trained

PROJECT = Path(__file__).resolve().parents[3]
SCRIPT = "tests.grandmodel.marl.training_ranks"
BeRank = Callable[[int, int], None]
FAILURES = ("dies", "hangs", "differs", "absent")


@pytest.fixture
def as_rank(monkeypatch: pytest.MonkeyPatch) -> BeRank:
    """Return a function that makes this process believe to be one of several."""

    def be(rank: int, size: int) -> None:
        monkeypatch.setenv("RANK", str(rank))
        monkeypatch.setenv("WORLD_SIZE", str(size))

    return be


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what two ranks of torchrun left, of which one killed itself once."""
    folder = tmp_path_factory.mktemp("ranks")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    command = [*torchrun, "-m", SCRIPT, str(folder)]
    finished = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=300)
    assert finished.returncode == 0, finished.stderr
    assert "Signal 9" in finished.stderr or "SIGKILL" in finished.stderr or "exitcode: -9" in finished.stderr
    return folder


@pytest.fixture(scope="module")
def failed() -> dict[str, dict[str, str]]:
    """Return by mode of failure the error of each rank."""
    command = [sys.executable, "-m", SCRIPT, *FAILURES]
    finished = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=True, timeout=300)
    found: dict[str, dict[str, str]] = json.loads(finished.stdout)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_two_ranks_train_the_team_of_one_process(together: Path, case: str) -> None:
    first, second = ((together / f"{case}.{rank}").read_bytes() for rank in range(2))
    assert first == second
    alone, pooled = trained(case), load_team(together / f"{case}.0")
    start = trained(case, seed=2)
    for name, array in {**alone.actor, **alone.critic}.items():
        np.testing.assert_allclose(pooled[name], array, rtol=0, atol=1e-5, err_msg=name)
    assert not np.allclose(start.actor["actor.0.weight"], alone.actor["actor.0.weight"], atol=1e-5)
    rows = json.loads((together / f"{case}.curves.0").read_text())
    assert rows == json.loads((together / f"{case}.curves.1").read_text())
    for row, expected in zip(rows, alone.curves, strict=True):
        assert row == pytest.approx(expected, rel=1e-4, abs=1e-5)


@pytest.mark.slow
def test_ranks_that_were_killed_go_on_to_the_same_weights(together: Path) -> None:
    whole = (together / "separate actors.0").read_bytes()
    assert (together / "killed.0").read_bytes() == (together / "killed.1").read_bytes() == whole


@pytest.mark.slow
def test_rank_0_alone_reports_progress(together: Path) -> None:
    # The second life begins at the last checkpoint, of four rollouts.
    assert json.loads((together / "heard.0").read_text()) == [COPIES * STEPS * number for number in (5, 6)]
    assert json.loads((together / "heard.1").read_text()) == []


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["dies", "hangs"])
def test_a_rank_that_dies_or_hangs_ends_the_other(failed: dict[str, dict[str, str]], mode: str) -> None:
    assert failed[mode]["0"].startswith("rank 0 of 2: all ranks must come to the same step; found ")
    assert "Look for the first error of another rank" in failed[mode]["0"]
    assert failed[mode]["1"] == ""


@pytest.mark.slow
def test_ranks_of_different_trainings_refuse_to_train_together(failed: dict[str, dict[str, str]]) -> None:
    for rank in ("0", "1"):
        assert failed["differs"][rank].startswith(
            "parameters, seed, device and checkpoint: must be equal on all ranks; found ["
        )


@pytest.mark.slow
def test_a_rank_that_stays_alone_ends(failed: dict[str, dict[str, str]]) -> None:
    assert failed["absent"]["0"].startswith("rank 0 of 2: all ranks must meet; found ")


@pytest.mark.parametrize("count", [1, 4, 7])
def test_the_minibatches_of_all_ranks_are_those_of_one_process(as_rank: BeRank, count: int) -> None:
    copies, size, steps = 2, 3, 5
    order = torch.from_numpy(random_stream(1, "order").permutation(copies * size * steps))
    found: list[list[int]] = [[] for _ in range(count)]
    for rank in range(size):
        as_rank(rank, size)
        own, lengths = ranks.own_minibatches(order, count, copies)
        assert sorted(own.tolist()) == list(range(copies * steps))
        for minibatch, part in zip(found, own.split(lengths), strict=True):
            step, copy = part // copies, part % copies
            minibatch += (step * copies * size + rank * copies + copy).tolist()
    assert [sorted(one) for one in found] == [sorted(one.tolist()) for one in order.tensor_split(count)]


def test_copies_are_shared_equally(as_rank: BeRank) -> None:
    assert ranks.share_of(10) == slice(0, 10)
    as_rank(1, 3)
    assert ranks.share_of(9) == slice(3, 6)
    with pytest.raises(
        ConfigError, match="key environments: must be a multiple of the number of processes, 3; found 10"
    ):
        ranks.share_of(10)


def test_no_two_ranks_play_the_same_games(as_rank: BeRank) -> None:
    alone = _seed_of_games(AnswerGame(), 1)
    seeds = []
    for rank in range(3):
        as_rank(rank, 3)
        assert _seed_of_games(NumberedGame(6), 1) == alone  # its copies play by their numbers
        careless = NumberedGame(6)
        careless.first_copy = 0
        seeds.append(_seed_of_games(careless, 1))
        assert _seed_of_games(AnswerGame(), 1) == seeds[-1]
    assert len(set(seeds)) == 3


def test_the_fused_path_refuses_several_processes(as_rank: BeRank) -> None:
    as_rank(0, 2)
    params = PARAMS.model_copy(update={"path": "fused"})
    with pytest.raises(ConfigError, match="key path: several processes train by torch alone; found 'fused'"):
        new_learner(AnswerGame(), params, random_stream(1, "marl"), "cpu")


def test_a_rank_without_launcher_is_refused(as_rank: BeRank, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    as_rank(0, 2)
    with pytest.raises(ConfigError, match=r"rank 0 of 2: all ranks must meet; found .*MASTER_ADDR"):
        train_vectorised(AnswerGame(), PARAMS, seed=1)


def test_a_rank_number_alone_makes_no_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "3")
    assert ranks.world() == (0, 1)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a CUDA device")
def test_a_device_that_is_absent_is_refused() -> None:
    with pytest.raises(ConfigError, match="device: torch must find it on this machine; found 'cuda'"):
        train_vectorised(AnswerGame(), PARAMS, seed=1, device="cuda")


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="fewer than two CUDA devices on this machine")
def test_two_ranks_train_on_two_devices(tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "--max-restarts=1"]
    environment = {**os.environ, "TRAINING_RANKS_DEVICE": "cuda"}
    command = [*torchrun, "-m", SCRIPT, str(tmp_path)]
    subprocess.run(command, cwd=PROJECT, env=environment, check=True, timeout=300)
    for case in CASES:
        assert (tmp_path / f"{case}.0").read_bytes() == (tmp_path / f"{case}.1").read_bytes()
