"""Frames per second of training, end to end, ours and BenchMARL's, taken in turns in one process with one thread.

    python -m benchmarks.marl_throughput --rounds 41 --epochs 4 --write

All train MAPPO on simple_spread, vectorised (three agents, 25 steps, shared actors and critic 2x64 tanh, 4 minibatches
a rollout, the same number of copies): the fused path, the torch path, and BenchMARL on VMAS's own simple_spread. The
fused path also trains the strategic team (four actors of their own) on the simulated market; its ratio is to BenchMARL
on simple_spread. A frame is one step of all agents of one copy.
BenchMARL is optional: ``docs/performance.md`` names its versions.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks import record
from benchmarks.mpe import EPISODE_STEPS, VectorWorlds
from grandmodel.core.config import MarketParams, TeamParams
from grandmodel.core.random import derive_seed, random_stream
from grandmodel.market.core import VectorMarket
from grandmodel.market.simulated import simulated_tape
from grandmodel.marl.advantage import ReturnScale
from grandmodel.marl.environment import VectorEnvironment
from grandmodel.marl.mappo import improve, new_learner, new_optimiser
from grandmodel.marl.rollout import batch_of, collect, new_rollout
from models.strategic.agents import strategic_team

COPIES = 512
Turn = Callable[[], dict[str, float]]


def params_of(epochs: int, path: str, **changes: Any) -> TeamParams:
    content = {"epochs": epochs, "path": path, "minibatches": 4, "rollout_steps": EPISODE_STEPS, "critic_hidden": 64}
    return TeamParams.model_validate({**content, "shared_actors": True, "gradient_norm_max": 10.0, **changes})


def trainer(environment: VectorEnvironment, params: TeamParams) -> Turn:
    """Return a function that trains for one rollout and tells speed and shares.

    ``share_of_limit`` is the time that the gradients alone would have taken over the time that all took.
    """
    generator = random_stream(1, "throughput")
    environment.reset(derive_seed(1, "environment"))
    learner = new_learner(environment, params, generator, "cpu")
    rollout, scale = new_rollout(environment, params.rollout_steps), ReturnScale()
    optimiser = new_optimiser(learner, params)
    frames = params.rollout_steps * environment.n_environments

    def turn() -> dict[str, float]:
        started = time.perf_counter()
        collect(environment, learner, rollout, scale, generator, 0)
        collected = time.perf_counter()
        improve(learner, optimiser, rollout, scale, params, generator, "cpu")
        ended = time.perf_counter()
        batch, _ = batch_of(rollout, ReturnScale(), params.gamma, params.gae_lambda)
        kernel = time.perf_counter()
        learner.gradients(batch, torch.arange(frames))
        kernel = time.perf_counter() - kernel
        return {
            "frames_per_second": frames / (ended - started),
            "collection_frac": (collected - started) / (ended - started),
            "share_of_limit": params.epochs * kernel / (ended - started),
            "kernel_samples_per_second": frames * len(environment.agents) / kernel,
        }

    turn()
    return turn


def ours(epochs: int) -> dict[str, Turn]:
    """Return the trainers that are measured."""
    team = strategic_team(TeamParams())
    market = VectorMarket(simulated_tape(team, rows=5000), team, MarketParams(), COPIES, window_bars=128, seed=1)
    separate = params_of(epochs, "fused", shared_actors=False, rollout_steps=32)
    return {
        "spread, fused": trainer(VectorWorlds("simple_spread", COPIES), params_of(epochs, "fused")),
        "spread, torch": trainer(VectorWorlds("simple_spread", COPIES), params_of(epochs, "torch")),
        "market, fused": trainer(market, separate),
    }


def with_benchmarl(epochs: int, rounds: int, turn: Callable[[], None], folder: str) -> list[float]:
    """Train BenchMARL for ``rounds`` rollouts, calling ``turn`` after each; return its frames per second."""
    try:
        from benchmarl.algorithms import MappoConfig
        from benchmarl.environments import VmasTask
        from benchmarl.experiment import Callback, Experiment, ExperimentConfig
        from benchmarl.models.mlp import MlpConfig
    except ImportError as error:
        raise SystemExit(f"{error}: install it as docs/performance.md says or pass --alone") from error

    speeds: list[float] = []
    frames = COPIES * EPISODE_STEPS

    class Clock(Callback):  # type: ignore[misc]
        started = 0.0

        def __reduce__(self) -> tuple[type, tuple[()]]:  # BenchMARL pickles its callbacks, which this one cannot bear
            return object, ()

        def on_train_end(self, training: Any, group: str) -> None:
            if self.started:
                speeds.append(frames / (time.perf_counter() - self.started))
            turn()
            self.started = time.perf_counter()

    config = ExperimentConfig.get_from_yaml()
    settings = {
        "max_n_iters": rounds + 1,
        "max_n_frames": None,
        "on_policy_collected_frames_per_batch": frames,
        "on_policy_n_envs_per_worker": COPIES,
        "on_policy_n_minibatch_iters": epochs,
        "on_policy_minibatch_size": frames // 4,
        "prefer_continuous_actions": False,
        "sampling_device": "cpu",
        "train_device": "cpu",
        "buffer_device": "cpu",
        "loggers": [],
        "evaluation": False,
        "create_json": False,
        "render": False,
        "save_folder": folder,
    }
    for name, value in settings.items():
        setattr(config, name, value)
    task = VmasTask.SIMPLE_SPREAD.get_from_yaml()
    task.config["max_steps"] = EPISODE_STEPS
    network = MlpConfig(num_cells=[64, 64], layer_class=torch.nn.Linear, activation_class=torch.nn.Tanh)
    Experiment(
        task=task,
        algorithm_config=MappoConfig.get_from_yaml(),
        model_config=network,
        critic_model_config=network,
        seed=0,
        config=config,
        callbacks=[Clock()],
    ).run()
    return speeds


def profile(trainers: dict[str, Turn], rounds: int) -> None:
    """Print the milliseconds of a rollout by function; each row holds the rows of what it calls."""
    for name, train in trainers.items():
        profiler = cProfile.Profile()
        profiler.enable()
        for _ in range(rounds):
            train()
        profiler.disable()
        print(name)
        stats = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
        for (path, _, function), (_, calls, _, seconds, _) in sorted(stats.items(), key=lambda row: -row[1][3]):
            if "grandmodel" in path or "benchmarks" in path:
                print(f"  {seconds / rounds * 1000:8.2f} ms  {calls // rounds:5d} calls  {function}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--alone", action="store_true", help="without BenchMARL")
    parser.add_argument(
        "--write",
        action="store_true",
        help="write benchmarks/results; epochs but 4 in the file's name",
    )
    parser.add_argument("--profile", action="store_true", help="print where the time of a rollout goes, and no more")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    trainers = ours(arguments.epochs)
    if arguments.profile:
        profile(trainers, arguments.rounds)
        return
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in trainers}

    def turn() -> None:
        for name, train in trainers.items():
            rows[name].append(train())

    peer: list[float] = []
    if arguments.alone:
        for _ in range(arguments.rounds):
            turn()
    else:
        with tempfile.TemporaryDirectory() as folder:
            peer = with_benchmarl(arguments.epochs, arguments.rounds, turn, folder)
    result: dict[str, Any] = {
        name: {key: statistics.median(row[key] for row in found) for key in found[0]} for name, found in rows.items()
    }
    if peer:
        result["spread, BenchMARL"] = {"frames_per_second": statistics.median(peer)}
        speeds = np.array([row["frames_per_second"] for row in rows["spread, fused"][1:]])
        middle = statistics.median(peer)
        result["ratio"] = {name: result[name]["frames_per_second"] / middle for name in rows}
        result["ratio by round"] = sorted(float(value) for value in speeds[: len(peer)] / np.array(peer))
    for name, content in result.items():
        print(name, content)
    if arguments.write:
        name = "marl_throughput" if arguments.epochs == 4 else f"marl_throughput_{arguments.epochs}_epochs"
        record.write(name, {"epochs": arguments.epochs, "copies": COPIES, **result})


if __name__ == "__main__":
    main()
