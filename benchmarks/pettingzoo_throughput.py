"""Frames per second of training on mpe2's simple_spread through PettingZoo: ours and four libraries', in turns.

    python -m benchmarks.pettingzoo_throughput --peer sb3=/venvs/sb3/bin/python --peer xuance=/venvs/xuance/bin/python

Everyone is a process of its own, run by its own interpreter, one after the other, for several rounds; each steps the
copies both in one process and in processes of their own, where it can, and the faster way counts. Ours runs with none,
one and as many workers as there are cores. The settings stand in ``benchmarks/pettingzoo_peers.py``; a frame is one
step of all three agents of one copy. Raw stepping with random actions and our collection without learning are measured
beside them. ``docs/performance.md`` says how each interpreter is set up.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import record
from benchmarks.pettingzoo_peers import AGENTS, EPOCHS, MINIBATCHES, STEPS, environment
from grandmodel.core.config import TeamParams
from grandmodel.core.random import random_stream
from grandmodel.marl import train
from grandmodel.marl.advantage import ReturnScale
from grandmodel.marl.mappo import new_learner
from grandmodel.marl.rollout import collect, rollout_for
from grandmodel.marl.workers import parallel_environments

PEERS = Path(__file__).with_name("pettingzoo_peers.py")
HOURGLASS_SECONDS = 150  # for one turn of one contestant
RESULT = '{"frames_per_second"'
ONLY_PROCESSES = {"agilerl"}


def team(copies: int) -> TeamParams:
    """Return what is trained."""
    return TeamParams.model_validate(
        {
            "environments": copies,
            "rollout_steps": STEPS,
            "epochs": EPOCHS,
            "minibatches": MINIBATCHES,
            "critic_hidden": 64,
            "shared_actors": True,
        }
    )


def ours(copies: int, rollouts: int, workers: int) -> list[float]:
    """Train; return the speed of each rollout but the first."""
    rows: list[dict[str, float]] = []
    steps = copies * STEPS * (rollouts + 1)
    train(environment, team(copies), steps=steps, seed=1, progress=rows.append, workers=workers)
    return [row["frames_per_second"] for row in rows[1:]]


def raw(copies: int, rollouts: int, workers: int) -> list[float]:
    """Step PettingZoo's environment in this process as it comes, with random actions."""
    game = environment()
    choices = random_stream(1, "raw").integers(0, 5, (STEPS, AGENTS)).tolist()
    found = []
    for _ in range(rollouts):
        started = time.perf_counter()
        for _ in range(copies):
            game.reset()
            for choice in choices:
                *_, cuts, _ = game.step(dict(zip(game.possible_agents, choice, strict=True)))
                if all(cuts.values()):
                    game.reset()
        found.append(copies * STEPS / (time.perf_counter() - started))
    return found


def played(copies: int, rollouts: int, workers: int) -> list[float]:
    """Collect without learning: the limit of our training."""
    generator, found = random_stream(1, "played"), []
    with closing(parallel_environments(environment, copies, workers, STEPS)) as vector:
        learner, rollout = new_learner(vector, team(copies), generator, "cpu"), rollout_for(vector, STEPS)
        vector.reset(1)
        for _ in range(rollouts + 1):
            started = time.perf_counter()
            collect(vector, learner, rollout, ReturnScale(), generator, 0)
            found.append(copies * STEPS / (time.perf_counter() - started))
    return found[1:]


HERE = {"ours": ours, "raw": raw, "played": played}


def turn(command: list[str]) -> list[float] | str:
    """Run one contestant; return its speeds, or the last line of what it said instead."""
    here = {**os.environ, "OMP_NUM_THREADS": "1"}
    if command[0] != sys.executable:
        here.pop("PYTHONPATH", None)  # it would show a peer the packages of another interpreter
    told: list[str] = []
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=here, start_new_session=True
    ) as process:
        watch = threading.Timer(HOURGLASS_SECONDS, os.killpg, (process.pid, signal.SIGKILL))
        watch.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                told.append(line.strip())
                if line.startswith(RESULT):
                    return list(json.loads(line)["frames_per_second"])
        finally:
            watch.cancel()
            with suppress(ProcessLookupError):  # some peers' own processes never leave by themselves
                os.killpg(process.pid, signal.SIGKILL)
    return (told or [f"nothing within {HOURGLASS_SECONDS} s"])[-1][-300:]


def contestants(peers: dict[str, str], copies: int, rollouts: int, cores: int) -> dict[str, list[str]]:
    """Return the command line of each contestant."""
    size = ["--copies", str(copies), "--rollouts", str(rollouts)]
    module = [sys.executable, "-m", "benchmarks.pettingzoo_throughput", *size]
    found = {"raw, one process": [*module, "--turn", "raw", "--workers", "0"]}
    for workers in dict.fromkeys((0, 1, cores)):
        found[f"ours, {workers} workers"] = [*module, "--turn", "ours", "--workers", str(workers)]
    found[f"played alone, {cores} workers"] = [*module, "--turn", "played", "--workers", str(cores)]
    for name, interpreter in peers.items():
        for how in ("processes",) if name in ONLY_PROCESSES else ("one", "processes"):
            found[f"{name}, {how}"] = [interpreter, "-W", "ignore", str(PEERS), name, *size, "--how", how]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", action="append", default=[], help="name=interpreter, several times")
    parser.add_argument("--copies", type=int, default=16)
    parser.add_argument("--rollouts", type=int, default=2, help="measured ones a turn, of 100 steps a copy")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--skip", action="append", default=[], help="a contestant's name, such as 'xuance, processes'")
    parser.add_argument("--turn", choices=sorted(HERE), help=argparse.SUPPRESS)
    parser.add_argument("--workers", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/pettingzoo_throughput.json")
    arguments = parser.parse_args()
    if arguments.turn:
        speeds = HERE[arguments.turn](arguments.copies, arguments.rollouts, arguments.workers)
        print(json.dumps({"frames_per_second": speeds}))
        return
    peers = dict(item.split("=", 1) for item in arguments.peer)
    commands = contestants(peers, arguments.copies, arguments.rollouts, os.cpu_count() or 1)
    for name in arguments.skip:
        commands.pop(name)
    found: dict[str, list[float]] = {name: [] for name in commands}
    failed: dict[str, str] = {}
    for number in range(arguments.rounds):
        for name, command in commands.items():
            if name in failed:
                continue
            speeds = turn(command)
            if isinstance(speeds, str):
                failed[name] = speeds
            else:
                found[name] += speeds
            print(number, name, speeds, flush=True)
    report(found, failed, arguments)


def report(found: dict[str, list[float]], failed: dict[str, str], arguments: argparse.Namespace) -> None:
    """Print medians and ratios; write them where asked to."""
    medians = {name: statistics.median(speeds) for name, speeds in found.items() if speeds}
    result: dict[str, Any] = {
        "copies": arguments.copies,
        "steps_per_rollout": STEPS,
        "epochs": EPOCHS,
        "minibatches": MINIBATCHES,
        "rounds": arguments.rounds,
        "load_average": list(np.round(os.getloadavg(), 1).tolist()),
        "frames_per_second": medians,
        "best_frames_per_second": {name: max(speeds) for name, speeds in found.items() if speeds},
        "failed": failed,
    }
    rivals = {name: speed for name, speed in medians.items() if name.split(",")[0] not in (*HERE, "played alone")}
    if rivals:
        fastest = max(rivals, key=rivals.__getitem__)
        result["fastest_peer"] = fastest
        mine = {name: speed for name, speed in medians.items() if name.startswith("ours")}
        result["ratio_to_fastest_peer"] = {name: speed / rivals[fastest] for name, speed in mine.items()}
    for name, content in result.items():
        print(name, content)
    if arguments.write:
        record.write("pettingzoo_throughput", result)


if __name__ == "__main__":
    main()
