"""Environments written in Python, in worker processes over shared memory.

Each worker has some copies. Where the actors are compiled code, it lets them decide by itself: told their weights and
the drawn numbers, it plays a whole rollout and writes it where the learner reads it, and waits for nobody before the
end. Otherwise it steps its copies by the learner's actions. Copies know their number, not their worker: any number of
workers gives the same numbers.
"""

from __future__ import annotations

import gc
import mmap
import multiprocessing
import os
import select
import signal
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import TrainingError
from grandmodel.marl.acting import ActorWeights, compiled_actors
from grandmodel.marl.environment import Step
from grandmodel.marl.pettingzoo_adapter import Copies, MakeParallelEnv, Spaces, end, new_arrays, spaces_of
from grandmodel.marl.rollout import Rollout, new_rollout, play_step

FAREWELL_SECONDS = 5.0  # for a worker to end its step and its environments


class Reset(NamedTuple):
    """Start all copies anew."""

    seed: int


class StepOnce(NamedTuple):
    """Step by the actions in shared memory."""


class Play(NamedTuple):
    """Play a rollout."""

    actors: ActorWeights
    uniforms: NDArray[np.float32]  # [T, A, N] of the worker's copies
    first_step: int


Command = Reset | StepOnce | Play


class Worker(NamedTuple):
    """One process, the line to it, and its copies."""

    process: BaseProcess
    line: Connection
    copies: slice
    at: NDArray[np.int64]  # [2], the copy at work and its step


def parallel_environments(
    make: MakeParallelEnv, copies: int, workers: int, rollout_steps: int, first_copy: int = 0
) -> Copies | ParallelEnvironments:
    """Build ``copies`` environments in ``workers`` processes of about equal shares, or in this one if 0.

    They are numbered from ``first_copy``: a process that has its share of all copies plays its share of the games.

    Raises:
        TrainingError: naming agent and field for a space that cannot be used, or the copy that cannot be built.
    """
    count = check_workers(workers, copies)
    try:
        probe = make()
    except Exception as error:
        raise TrainingError("environment", "it must be built", f"{type(error).__name__}: {error}") from error
    spaces = spaces_of(probe)
    end(probe)
    if count:
        return ParallelEnvironments(make, spaces, copies, count, rollout_steps, first_copy)
    return Copies(make, spaces, new_arrays(spaces, copies), first_copy, np.zeros(2, np.int64))


class ParallelEnvironments:
    """Copies of a parallel environment for the learner, in worker processes; otherwise as ``Copies``."""

    simultaneous = True

    def __init__(
        self,
        make: MakeParallelEnv,
        spaces: Spaces,
        copies: int,
        workers: int,
        rollout_steps: int,
        first_copy: int = 0,
    ) -> None:
        """Build ``copies`` environments in ``workers`` processes, which play rollouts of ``rollout_steps``.

        Workers are forked, so that ``make`` may be any function; they end with this process, however it ends.
        Raises TrainingError naming the copy that cannot be built.
        """
        self.agents, self.action_counts = spaces.agents, spaces.action_counts
        self.n_environments, self.first_copy = copies, first_copy
        self.observation_size, self.state_size = max(spaces.sizes), sum(spaces.sizes)
        arrays = new_arrays(spaces, copies, shared_zeros)
        self.observations, self.states = arrays.observations, arrays.states
        self.rollout = new_rollout(self, rollout_steps, shared_zeros)
        self._arrays, self._actions = arrays, shared_zeros((copies, len(self.agents)), np.int64)
        self._workers: list[Worker] = []
        bounds = np.linspace(0, copies, workers + 1).astype(int).tolist()
        for first, behind in pairwise(bounds):
            self._start(make, spaces, slice(first, behind))
        try:
            self._hear_all()
        except TrainingError:
            self.close()
            raise

    def reset(self, seed: int) -> None:
        """Start all copies anew, each with its own seed."""
        for worker in self._workers:
            _tell(worker, Reset(seed))
        self._hear_all()

    def observe(self, agent_index: int, actions: NDArray[np.int64]) -> None:
        """Do nothing: agents of a parallel environment do not see each other's action of the same step."""

    def step(self, actions: NDArray[np.int64]) -> Step:
        """Step every copy by ``actions`` [N, A], counted from 0; ended copies are reset."""
        self._actions[:] = actions
        for worker in self._workers:
            _tell(worker, StepOnce())
        self._hear_all()
        return self._arrays.result

    def play(self, actors: ActorWeights, uniforms: NDArray[np.float32], first_step: int) -> None:
        """Let every worker play a rollout with its copies, see ``rollout.PlayingEnvironment``."""
        for worker in self._workers:
            _tell(worker, Play(actors, np.ascontiguousarray(uniforms[:, :, worker.copies]), first_step))
        self._hear_all()

    def close(self) -> None:
        """Close the copies and end the workers."""
        for worker in self._workers:
            worker.line.close()  # the worker reads the end and leaves
        for worker in self._workers:
            worker.process.join(FAREWELL_SECONDS)
            if worker.process.exitcode is None:
                worker.process.kill()
                worker.process.join()
        self._workers = []

    def _start(self, make: MakeParallelEnv, spaces: Spaces, copies: slice) -> None:
        fork = multiprocessing.get_context("fork")
        ours, theirs = fork.Pipe()
        above = [worker.line for worker in self._workers] + [ours]
        at = shared_zeros((2,), np.int64)
        first_copy = self.first_copy + copies.start

        def build() -> Copies:
            return Copies(make, spaces, self._arrays.part(copies), first_copy, at)

        share = build, self._actions[copies], self.rollout.part(copies)
        process = fork.Process(target=serve, args=(*share, theirs, above), daemon=True)
        process.start()
        theirs.close()
        self._workers.append(Worker(process, ours, copies, at))

    def _hear_all(self) -> None:
        """Wait for every worker's answer; raise what went wrong first in the games, as one process would.

        A process that dies is told at once.
        """
        waiting: dict[Any, Worker] = {worker.line: worker for worker in self._workers}
        errors: list[tuple[int, int, TrainingError]] = []
        while waiting:
            for line in wait(list(waiting)):
                worker = waiting.pop(line)
                error = _hear(worker)
                if error is not None:
                    errors.append((int(worker.at[1]), int(worker.at[0]), error))
        if errors:
            raise min(errors, key=lambda found: found[:2])[2]


def _tell(worker: Worker, command: Command) -> None:
    try:
        worker.line.send(command)
    except OSError:
        _mourn(worker)


def _hear(worker: Worker) -> TrainingError | None:
    """Take the worker's answer: an error, or nothing where all went well."""
    try:
        answer: TrainingError | None = worker.line.recv()
    except (EOFError, OSError):
        _mourn(worker)
    return answer


def _mourn(worker: Worker) -> NoReturn:
    worker.process.join(FAREWELL_SECONDS)
    subject = f"environment copy {int(worker.at[0])}, step {int(worker.at[1])}"
    do = "A negative code is a signal: -9 is often too little memory, -11 a crash in compiled code"
    found = f"exit code {worker.process.exitcode}"
    raise TrainingError(subject, "its worker process must not die", found, do)


def serve(
    build: Callable[[], Copies],
    actions: NDArray[np.int64],
    rollout: Rollout,
    line: Connection,
    above: list[Connection],
) -> None:
    """Be a worker: do with the copies what is told, by these ``actions`` or into this ``rollout``, until the line ends.

    ``above`` are the learner's ends of all lines so far, which a fork copies; held open here they would hide its end.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the learner hears it and closes the line
    gc.freeze()  # what the fork copied is never garbage, and to look through it takes 5 % of the time
    for connection in above:
        connection.close()
    try:
        copies = build()
    except TrainingError as error:
        line.send(error)
        return
    with suppress(EOFError, OSError):
        line.send(None)
        while True:
            command: Command = line.recv()
            try:
                _obey(copies, command, actions, rollout, line)
            except TrainingError as error:
                line.send(error)
            else:
                line.send(None)
    copies.close()


def _obey(copies: Copies, command: Command, actions: NDArray[np.int64], rollout: Rollout, line: Connection) -> None:
    match command:
        case Reset(seed):
            copies.reset(seed)
        case StepOnce():
            copies.step(actions)
        case Play():
            _play(copies, command, rollout, line)


def _play(copies: Copies, command: Play, rollout: Rollout, line: Connection) -> None:
    """Play a rollout. Raises EOFError where the learner has gone or wants no more of it."""
    actors = compiled_actors(command.actors)
    ended = select.poll()
    ended.register(line, select.POLLIN)
    for step, uniforms in enumerate(command.uniforms):
        if ended.poll(0):  # nothing but its end can come down the line before the answer
            raise EOFError
        play_step(copies, actors, rollout, uniforms, step, command.first_step)


def shared_zeros(shape: tuple[int, ...], kind: Any) -> NDArray[Any]:
    """Return zeros in memory that forked processes share; without a name, so that nothing of it is left behind."""
    count = int(np.prod(shape))
    memory = mmap.mmap(-1, max(count * np.dtype(kind).itemsize, 1))
    return np.frombuffer(memory, kind, count).reshape(shape)


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
