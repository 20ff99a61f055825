"""Environments written in Python, stepped in worker processes over shared memory.

Each worker steps some copies; observations, actions and rewards lie in one block of memory that all processes see, so
that nothing but a wake-up passes between them. Copies know their number, not their worker: any number of workers gives
the same numbers.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import pickle
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import TrainingError
from grandmodel.marl.environment import Step
from grandmodel.marl.pettingzoo_adapter import Arrays, Copies, MakeParallelEnv, Spaces, end, spaces_of

LINE = 64  # bytes of a cache line: arrays begin on one
STEP, DONE = b"step", b"done"
FAREWELL_SECONDS = 5.0  # for a worker to end its step and its environments


class Worker(NamedTuple):
    """One process and the line to it."""

    process: BaseProcess
    line: Connection


class ParallelEnvironments:
    """N copies of a parallel environment for the learner, in this process or in workers.

    The critic's state is all observations side by side; the team's reward is the mean over its agents.
    """

    simultaneous = True

    def __init__(self, make: MakeParallelEnv, copies: int, workers: int = 0, first_copy: int = 0) -> None:
        """Build ``copies`` environments in ``workers`` processes of about equal shares, or in this one if 0.

        They are numbered from ``first_copy``: a process that has its share of all copies plays its share of the games.

        Workers are forked, so that ``make`` may be any function; they end with this process, however it ends.

        Raises:
            TrainingError: naming agent and field for a space that cannot be used, or the copy that cannot be built.
        """
        count = check_workers(workers, copies)
        probe = make()
        spaces = spaces_of(probe)
        end(probe)
        self.agents, self.action_counts = spaces.agents, spaces.action_counts
        self.n_environments, self.first_copy = copies, first_copy
        self.observation_size, self.state_size = max(spaces.sizes), sum(spaces.sizes)
        bounds = np.linspace(0, copies, max(count, 1) + 1).astype(int).tolist()
        self.groups = tuple(slice(*bounds[number : number + 2]) for number in range(max(count, 1)))
        self._arrays, self._at = shared_arrays(spaces, copies, len(self.groups))
        self.observations, self.states = self._arrays.observations, self._arrays.states
        self.actions = self._arrays.actions
        self._here: Copies | None = None
        self._workers: list[Worker] = []
        self._began = [0] * len(self.groups)

        def build(group: int) -> Copies:
            part = self.groups[group]
            first = first_copy + part.start
            return Copies(make, spaces, self._arrays.part(part), first, self._at[group : group + 1])

        if count:
            self._start(build, count)
        else:
            self._here = build(0)

    def reset(self, seed: int) -> None:
        """Start all copies anew, each with its own seed."""
        self._began = [0] * len(self.groups)
        if self._here:
            self._here.reset(seed)
        for group in range(len(self._workers)):
            self._tell(group, str(seed).encode())
        for group in range(len(self._workers)):
            self._hear(group)

    def observe(self, agent_index: int, actions: NDArray[np.int64]) -> None:
        """Do nothing: agents of a parallel environment do not see each other's action of the same step."""

    def begin(self, group: int) -> None:
        """Let the copies ``groups[group]`` step by their ``actions``."""
        self._began[group] += 1
        if self._here:
            self._here.step()
        else:
            self._tell(group, STEP)

    def finished(self, groups: set[int]) -> list[int]:
        """Wait until at least one of the begun ``groups`` has ended its step; return all that have."""
        if self._here:
            return sorted(groups)
        lines: list[Any] = [self._workers[group].line for group in sorted(groups)]
        ready = wait(lines)
        ended = [group for group in sorted(groups) if self._workers[group].line in ready]
        for group in ended:
            self._hear(group)
        return ended

    @property
    def result(self) -> Step:
        """Outcome of the last step of each copy."""
        arrays = self._arrays
        return Step(arrays.reward, arrays.terminated, arrays.truncated, arrays.final_states)

    def step(self, actions: NDArray[np.int64]) -> Step:
        """Step every copy; ended copies are reset."""
        self.actions[:] = actions
        waiting = set(range(len(self.groups)))
        for group in sorted(waiting):
            self.begin(group)
        while waiting:
            waiting -= set(self.finished(waiting))
        return self.result

    def close(self) -> None:
        """Close the copies and end the workers."""
        if self._here:
            self._here.close()
        for worker in self._workers:
            worker.line.close()  # the worker reads the end and leaves
        for worker in self._workers:
            worker.process.join(FAREWELL_SECONDS)
            if worker.process.exitcode is None:
                worker.process.kill()
                worker.process.join()
        self._workers = []

    def _start(self, build: Callable[[int], Copies], count: int) -> None:
        fork = multiprocessing.get_context("fork")
        for group in range(count):
            ours, theirs = fork.Pipe()
            above = [worker.line for worker in self._workers]
            process = fork.Process(target=serve, args=(build, group, theirs, [*above, ours]), daemon=True)
            process.start()
            theirs.close()
            self._workers.append(Worker(process, ours))
        try:
            for group in range(count):
                self._hear(group)
        except TrainingError:
            self.close()
            raise

    def _tell(self, group: int, command: bytes) -> None:
        try:
            self._workers[group].line.send_bytes(command)
        except OSError:
            self._mourn(group)

    def _hear(self, group: int) -> None:
        """Take the worker's answer, which is DONE or an error."""
        try:
            answer = self._workers[group].line.recv_bytes()
        except (EOFError, OSError):
            self._mourn(group)
        else:
            if answer != DONE:
                raise pickle.loads(answer)  # written by our own worker

    def _mourn(self, group: int) -> None:
        process = self._workers[group].process
        process.join(FAREWELL_SECONDS)
        subject = f"environment copy {int(self._at[group])}, step {max(self._began[group] - 1, 0)}"
        do = "A negative code is a signal: -9 is often too little memory, -11 a crash in compiled code"
        raise TrainingError(subject, "its worker process must not die", f"exit code {process.exitcode}", do)


def serve(build: Callable[[int], Copies], group: int, line: Connection, above: list[Connection]) -> None:
    """Be a worker: step the copies of ``group`` whenever told to, until the line from above ends.

    ``above`` are the learner's ends of all lines so far, which a fork copies; held open here they would hide its end.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the learner hears it and closes the line
    for connection in above:
        connection.close()
    try:
        copies = build(group)
    except TrainingError as error:
        line.send_bytes(pickle.dumps(error))
        return
    with suppress(EOFError, OSError):
        line.send_bytes(DONE)
        while True:
            line.send_bytes(_obey(copies, line.recv_bytes()))
    copies.close()


def _obey(copies: Copies, command: bytes) -> bytes:
    """Do as told; return DONE, or the error."""
    try:
        if command == STEP:
            copies.step()
        else:
            copies.reset(int(command))
    except TrainingError as error:
        return pickle.dumps(error)
    return DONE


def shared_arrays(spaces: Spaces, copies: int, groups: int) -> tuple[Arrays, NDArray[np.int64]]:
    """Return zeroed arrays for ``copies`` in memory that forked processes share, and [groups] numbers of copies."""
    agents, width, size = len(spaces.agents), max(spaces.sizes), sum(spaces.sizes)
    fields: list[tuple[tuple[int, ...], Any]] = [
        ((copies, agents, width), np.float32),
        ((copies, size), np.float32),
        ((copies, size), np.float32),
        ((copies, agents), np.int64),
        ((copies,), np.float32),
        ((copies,), np.bool_),
        ((copies,), np.bool_),
        ((groups,), np.int64),
    ]
    lengths = [int(np.prod(shape)) * np.dtype(kind).itemsize for shape, kind in fields]
    starts = np.cumsum([0, *(-(-length // LINE) * LINE for length in lengths)]).tolist()
    memory = mmap.mmap(-1, starts[-1])  # without a name, so that nothing is left behind; zeroed by the system
    views = [
        np.frombuffer(memory, kind, int(np.prod(shape)), start).reshape(shape)
        for (shape, kind), start in zip(fields, starts, strict=False)
    ]
    return Arrays(*views[:-1]), views[-1]


def check_workers(workers: int, copies: int) -> int:
    """Return how many workers to start, at most one a copy. Raises TrainingError where they cannot be started."""
    if workers < 0:
        raise TrainingError("workers", "there cannot be fewer than none", workers)
    if workers and "fork" not in multiprocessing.get_all_start_methods():
        raise TrainingError("workers", "they need a system that can fork", workers, "Train with workers=0")
    return min(workers, copies)


def usual_workers() -> int:
    """Return one worker a usable core, shared with the ranks beside this one; none where one would gain nothing."""
    forks = "fork" in multiprocessing.get_all_start_methods()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores //= int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return cores if forks and cores > 1 and not multiprocessing.current_process().daemon else 0
