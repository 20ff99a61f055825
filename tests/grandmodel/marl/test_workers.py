"""Worker processes give the numbers of one process, and their ends are told and followed by none of them living on."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import closing, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from grandmodel.core.errors import TrainingError
from grandmodel.core.hashing import hash_arrays
from grandmodel.core.random import random_stream
from grandmodel.marl import train
from grandmodel.marl.advantage import ReturnScale
from grandmodel.marl.mappo import new_learner
from grandmodel.marl.rollout import collect, rollout_for
from grandmodel.marl.workers import check_workers, parallel_environments, usual_workers
from tests.grandmodel.marl.test_pettingzoo_adapter import PARAMS, Signals


class Uneven(Signals):
    """Ends after another number of steps in each episode, in truth or by a cut."""

    def step(self, actions: dict[str, Any]) -> Any:
        observations, rewards, _, _, infos = super().step(actions)
        ended, cut = self.generator.random(2) < 0.1
        return observations, rewards, dict.fromkeys(self.agents, ended), dict.fromkeys(self.agents, cut), infos


def played(workers: int) -> dict[str, np.ndarray[Any, Any]]:
    """All that twenty steps of five copies bring."""
    random = random_stream(1, "actions")
    with closing(parallel_environments(Uneven, 5, workers, 1)) as environment:
        environment.reset(3)
        rows = [(environment.observations.copy(), environment.states.copy())]
        for _ in range(20):
            result = environment.step(random.integers(0, 2, (5, 2)))
            rows.append((*(array.copy() for array in result), environment.observations.copy()))
    arrays = [array for row in rows for array in row]
    return {str(number): array for number, array in enumerate(arrays)}


@pytest.mark.parametrize("workers", [1, 2, 3, 9])
def test_any_number_of_workers_plays_the_same_games(workers: int) -> None:
    alone, spread = played(0), played(workers)
    assert any(array.any() for name, array in alone.items() if array.dtype == np.bool_)
    for name, array in alone.items():
        np.testing.assert_array_equal(spread[name], array)


@pytest.mark.parametrize("workers", [0, 2])
def test_copies_with_numbers_of_their_own_play_their_share_of_the_games(workers: int) -> None:
    random = random_stream(1, "actions")
    with (
        closing(parallel_environments(Uneven, 5, 0, 12)) as everyone,
        closing(parallel_environments(Uneven, 3, workers, 12, first_copy=2)) as share,
    ):
        everyone.reset(3)
        share.reset(3)
        first_alike = 0
        for _ in range(20):
            np.testing.assert_array_equal(share.observations, everyone.observations[2:])
            first_alike += np.array_equal(share.observations, everyone.observations[:3])
            actions = random.integers(0, 2, (5, 2))
            everyone.step(actions)
            share.step(actions[2:].copy())
        assert first_alike < 5  # by chance alone


def collected(workers: int) -> dict[str, np.ndarray[Any, Any]]:
    """All that two rollouts of twelve steps of five copies hold."""
    params = PARAMS.model_copy(update={"environments": 5, "rollout_steps": 12})
    generator, arrays = random_stream(1, "test"), {}
    with closing(parallel_environments(Uneven, 5, workers, 12)) as environment:
        learner, rollout = new_learner(environment, params, generator, "cpu"), rollout_for(environment, 12)
        environment.reset(3)
        for number in range(2):
            collect(environment, learner, rollout, ReturnScale(), generator, 12 * number)
            arrays |= {f"{number} {field.name}": getattr(rollout, field.name).copy() for field in fields(rollout)}
            arrays[f"{number} last_states"] = rollout.last_states[rollout.truncated]
    return arrays


@pytest.mark.parametrize("workers", [1, 2, 3, 9])
def test_workers_that_play_alone_leave_the_rollout_of_one_process(workers: int) -> None:
    alone, spread = collected(0), collected(workers)
    assert len(np.unique(alone["1 states"])) > 1
    assert alone["0 last_states"].any()
    assert alone["1 terminated"].any()
    for name, array in alone.items():
        np.testing.assert_array_equal(spread[name], array, err_msg=name)


@pytest.mark.parametrize("path", ["fused", "torch"])
def test_any_number_of_workers_trains_the_same_team(path: str) -> None:
    params = PARAMS.model_copy(update={"path": path, "environments": 7})
    teams = [train(Uneven, params, steps=1000, seed=1, workers=workers) for workers in (0, 1, 3)]
    hashes = {hash_arrays({**team.actor, **team.critic}) for team in teams}
    assert len(hashes) == 1
    assert teams[0].curves == teams[1].curves == teams[2].curves


def test_copies_play_different_games() -> None:
    with closing(parallel_environments(Uneven, 8, 2, 1)) as environment:
        environment.reset(3)
        seen = {row.tobytes() for row in environment.states}
        assert len(seen) > 2
        again = environment.states.copy()
        environment.reset(3)
        np.testing.assert_array_equal(environment.states, again)


def test_an_error_of_a_worker_is_the_error_of_one_process() -> None:
    class Broken(Signals):
        def step(self, actions: dict[str, Any]) -> Any:
            observations, rewards, *rest = super().step(actions)
            return observations, {**rewards, "large": np.nan if self.clock == 3 else 0.0}, *rest

    found = []
    for workers in (0, 2):
        with pytest.raises(TrainingError, match="agent large, step 2 field reward") as caught:
            train(Broken, PARAMS, steps=100, seed=1, workers=workers)
        found.append(str(caught.value))
    assert found[0] == found[1]


@pytest.mark.parametrize("path", ["fused", "torch"])
@pytest.mark.parametrize("workers", [0, 1, 2, 8])
def test_of_several_errors_the_first_is_told_whoever_plays(path: str, workers: int) -> None:
    class Broken(Signals):
        def reset(self, seed: int | None = None, options: Any = None) -> Any:
            result = super().reset(seed, options)
            if seed is not None:
                self.wait = 3 + int(self.generator.integers(25))
                self.steps = 0
            return result

        def step(self, actions: dict[str, Any]) -> Any:
            self.steps += 1
            if self.steps == self.wait:
                raise ValueError(f"broken after {self.wait}")
            return super().step(actions)

    params = PARAMS.model_copy(update={"path": path})
    with pytest.raises(TrainingError, match=r"environment copy 7, step 2: .* broken after 3 "):
        train(Broken, params, steps=100, seed=4, workers=workers)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_exception_names_copy_step_and_line(workers: int) -> None:
    class Broken(Signals):
        built = 0

        def __init__(self) -> None:
            Broken.built += 1
            self.wait = 2 if Broken.built == 3 + (workers == 0) else 5  # the first one built is only looked at

        def step(self, actions: dict[str, Any]) -> Any:
            if self.clock == self.wait:
                raise ValueError("out of memory")
            return super().step(actions)

    rule = r"environment copy 2, step 2: it must not fail; found 'ValueError: out of memory \(.*test_workers.py:\d+\)'"
    if workers:
        rule = rule.replace("copy 2", "copy [15]")  # the second that each worker builds
    with pytest.raises(TrainingError, match=rule):
        train(Broken, PARAMS, steps=100, seed=1, workers=workers)


def test_a_copy_that_cannot_be_built_is_named() -> None:
    class Broken(Signals):
        built = 0

        def __init__(self) -> None:
            Broken.built += 1
            if Broken.built == 3:
                raise OSError("no such level")

    with pytest.raises(TrainingError, match=r"environment copy [15], step 0: .* no such level"):
        train(Broken, PARAMS, steps=100, seed=1, workers=2)
    assert not multiprocessing.active_children()


def test_a_killed_worker_is_named_by_copy_step_and_signal() -> None:
    class Deadly(Signals):
        def step(self, actions: dict[str, Any]) -> Any:
            if self.clock == 4 and self.copies == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            return super().step(actions)

        copies = 0

        def reset(self, seed: int | None = None, options: Any = None) -> Any:
            Deadly.copies += 1
            self.copies = Deadly.copies - 1
            return super().reset(seed, options)

    with pytest.raises(TrainingError, match=r"environment copy [15], step 4: its worker process .* 'exit code -9'"):
        train(Deadly, PARAMS, steps=100, seed=1, workers=2)
    assert not multiprocessing.active_children()


class Slow(Signals):
    """Takes a quarter of an hour for a rollout of ``ENDLESS``."""

    def step(self, actions: dict[str, Any]) -> Any:
        time.sleep(0.01)
        return super().step(actions)


ENDLESS = PARAMS.model_copy(update={"environments": 2, "rollout_steps": 50_000})


def test_a_death_is_told_while_others_play(tmp_path: Path) -> None:
    class Deadly(Slow):
        def step(self, actions: dict[str, Any]) -> Any:
            result = super().step(actions)
            with suppress(FileExistsError):
                (tmp_path / "victim").touch(exist_ok=False)
                os.kill(os.getpid(), signal.SIGKILL)
            return result

    with pytest.raises(TrainingError, match=r"environment copy [01], step 0: its worker process .* 'exit code -9'"):
        train(Deadly, ENDLESS, steps=100, seed=1, workers=2)
    assert not multiprocessing.active_children()


def test_no_worker_is_left_after_a_training() -> None:
    train(Signals, PARAMS, steps=100, seed=1, workers=2)
    assert not multiprocessing.active_children()


KILLED_BETWEEN = """
environment = parallel_environments(Noted, 2, 2, 1)
os.kill(os.getpid(), signal.SIGKILL)
"""
KILLED_IN_THE_MIDDLE = """
class Deadly(Noted):
    def step(self, actions):
        with suppress(ProcessLookupError):
            if self.clock == 5:
                os.kill(learner, signal.SIGKILL)
        return super().step(actions)

train(Deadly, ENDLESS, steps=100, seed=1, workers=2)
"""


@pytest.mark.parametrize("end", [KILLED_BETWEEN, KILLED_IN_THE_MIDDLE], ids=["between", "in_the_middle"])
def test_workers_die_with_the_learner(end: str, tmp_path: Path) -> None:
    """Kill the learner at once; its workers, who write their numbers to files, must leave by themselves."""
    script = f"""
import os, signal
from contextlib import suppress
from pathlib import Path
from grandmodel.marl import train
from grandmodel.marl.workers import parallel_environments
from tests.grandmodel.marl.test_workers import ENDLESS, Slow

learner = os.getpid()

class Noted(Slow):
    def __init__(self):
        if os.getpid() != learner:
            Path({str(tmp_path)!r}, str(os.getpid())).touch()

{end}
"""
    finished = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[3], check=False, timeout=120)
    assert finished.returncode == -signal.SIGKILL
    numbers = [int(path.name) for path in tmp_path.iterdir()]
    assert len(numbers) == 2
    for _ in range(200):
        if not any(runs(number) for number in numbers):
            return
        time.sleep(0.05)
    pytest.fail("a worker outlived the learner by ten seconds")


def runs(number: int) -> bool:
    """Tell whether process ``number`` is there and no mere record of an ended one."""
    try:
        state = Path(f"/proc/{number}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_workers_are_counted() -> None:
    assert check_workers(5, 3) == 3
    assert check_workers(0, 3) == 0
    assert usual_workers() >= 0
    with pytest.raises(TrainingError, match="workers: there cannot be fewer than none; found -1"):
        check_workers(-1, 3)
