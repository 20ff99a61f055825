"""Other libraries' training on mpe2's simple_spread, each run by an interpreter that has it installed.

    python benchmarks/pettingzoo_peers.py sb3 --copies 16 --rollouts 4 --how processes

Prints one line of JSON: frames per second of each rollout with its update, the first one left out. A frame is one step
of all three agents of one copy. All learn with proximal policy optimisation, 4 epochs of 4 minibatches, two hidden
layers of 64, one torch thread, and either step the copies in processes of their own or in one process (``--how``).
Nothing of this project is imported: the interpreters have only the peer, mpe2 and torch.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

AGENTS, EPISODE_STEPS, EPOCHS, MINIBATCHES = 3, 25, 4, 4
STEPS = 100  # of each copy in a rollout


def environment() -> Any:
    from mpe2 import simple_spread_v3

    return simple_spread_v3.parallel_env(N=AGENTS, max_cycles=EPISODE_STEPS, local_ratio=0.5)


def alias_mpe() -> None:
    """Let libraries that look for ``pettingzoo.mpe`` find mpe2, which it became."""
    import mpe2
    from mpe2 import simple_reference_v3, simple_speaker_listener_v4, simple_spread_v3

    sys.modules["pettingzoo.mpe"] = mpe2
    for module in (simple_reference_v3, simple_speaker_listener_v4, simple_spread_v3):
        sys.modules[f"pettingzoo.mpe.{module.__name__.rsplit('.', 1)[-1]}"] = module


def speeds(marks: list[float], frames: int) -> list[float]:
    """Return frames per second between marks, without the first rollout, which warms up."""
    return [frames / (end - start) for start, end in pairwise(marks[1:])]


def sb3(copies: int, rollouts: int, processes: int) -> list[float]:
    import supersuit
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import BaseCallback

    class Marks(BaseCallback):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.marks: list[float] = []

        def _on_rollout_start(self) -> None:
            self.marks.append(time.perf_counter())

        def _on_step(self) -> bool:
            return True

        def _on_training_end(self) -> None:
            self.marks.append(time.perf_counter())

    vector = supersuit.pettingzoo_env_to_vec_env_v1(environment())
    vector = supersuit.concat_vec_envs_v1(vector, copies, num_cpus=processes, base_class="stable_baselines3")
    network = {"net_arch": {"pi": [64, 64], "vf": [64, 64]}, "activation_fn": torch.nn.Tanh}
    size = copies * AGENTS * STEPS
    learner = PPO(
        "MlpPolicy",
        vector,
        n_steps=STEPS,
        batch_size=size // MINIBATCHES,
        n_epochs=EPOCHS,
        policy_kwargs=network,
        device="cpu",
    )
    marks = Marks()
    learner.learn(size * (rollouts + 1), callback=marks)
    return speeds(marks.marks, copies * STEPS)


def benchmarl(copies: int, rollouts: int, processes: int) -> list[float]:
    alias_mpe()
    import torch
    from benchmarl.algorithms import MappoConfig
    from benchmarl.environments import PettingZooTask
    from benchmarl.experiment import Callback, Experiment, ExperimentConfig
    from benchmarl.models.mlp import MlpConfig

    marks = [time.perf_counter()]

    class Clock(Callback):  # type: ignore[misc]
        def __reduce__(self) -> tuple[type, tuple[()]]:  # BenchMARL pickles its callbacks, which this one cannot bear
            return object, ()

        def on_train_end(self, training: Any, group: str) -> None:
            marks.append(time.perf_counter())

    frames = copies * STEPS
    with tempfile.TemporaryDirectory() as folder:
        config = ExperimentConfig.get_from_yaml()
        settings = {
            "max_n_iters": rollouts + 1,
            "max_n_frames": None,
            "parallel_collection": processes > 0,
            "on_policy_collected_frames_per_batch": frames,
            "on_policy_n_envs_per_worker": copies,
            "on_policy_n_minibatch_iters": EPOCHS,
            "on_policy_minibatch_size": frames // MINIBATCHES,
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
        network = MlpConfig(num_cells=[64, 64], layer_class=torch.nn.Linear, activation_class=torch.nn.Tanh)
        task = PettingZooTask.SIMPLE_SPREAD.get_from_yaml()
        task.config.update({"N": AGENTS, "max_cycles": EPISODE_STEPS, "local_ratio": 0.5})
        Experiment(
            task=task,
            algorithm_config=MappoConfig.get_from_yaml(),
            model_config=network,
            critic_model_config=network,
            seed=0,
            config=config,
            callbacks=[Clock()],
        ).run()
    return speeds(marks, frames)


def xuance(copies: int, rollouts: int, processes: int) -> list[float]:
    alias_mpe()
    from argparse import Namespace

    from xuance.common import get_arguments
    from xuance.environment import make_envs
    from xuance.torch.agents import MAPPO_Agents

    config = vars(get_arguments("mappo", "mpe", "simple_spread_v3", parser_args=Namespace()))
    frames = copies * STEPS
    with tempfile.TemporaryDirectory() as folder:
        config.update(
            {
                "vectorize": "SubprocVecMultiAgentEnv" if processes else "DummyVecMultiAgentEnv",
                "continuous_action": False,
                "policy": "Categorical_MAAC_Policy",
                "representation": "Basic_Identical",
                "activation": "relu",
                "actor_hidden_size": [64, 64],
                "critic_hidden_size": [64, 64],
                "parallels": copies,
                "buffer_size": frames,
                "n_epochs": EPOCHS,
                "n_minibatch": MINIBATCHES,
                "device": "cpu",
                "dl_toolbox": "torch",
                "distributed_training": False,
                "logger": "tensorboard",
                "log_dir": folder,
                "model_dir": folder,
                "render": False,
                "render_mode": "rgb_array",
                "running_steps": frames * (rollouts + 1),
                "test_mode": False,
            }
        )
        settings = Namespace(**config)
        environments = make_envs(settings)
        agents = MAPPO_Agents(config=settings, envs=environments)
        marks = [time.perf_counter()]
        for _ in range(rollouts + 1):
            agents.train(STEPS)
            marks.append(time.perf_counter())
        agents.finish()
        environments.close()
    return speeds(marks, frames)


def agilerl(copies: int, rollouts: int, processes: int) -> list[float]:
    from agilerl.algorithms import IPPO
    from agilerl.training.train_multi_agent_on_policy import train_multi_agent_on_policy
    from agilerl.vector.pz_async_vec_env import AsyncPettingZooVecEnv

    vector = AsyncPettingZooVecEnv([environment for _ in range(copies)])  # it steps several copies no other way
    example = environment()
    agents = list(example.possible_agents)
    frames = copies * STEPS
    network = {
        "encoder_config": {"hidden_size": [64, 64], "activation": "Tanh"},
        "head_config": {"hidden_size": [64], "activation": "Tanh"},
    }
    learner = IPPO(
        [example.observation_space(agent) for agent in agents],
        [example.action_space(agent) for agent in agents],
        agent_ids=agents,
        net_config=network,
        batch_size=frames // MINIBATCHES,
        learn_step=frames,
        update_epochs=EPOCHS,
        device="cpu",
    )
    marks = [time.perf_counter()]
    learn = learner.learn

    def marked(*arguments: Any, **named: Any) -> Any:
        result = learn(*arguments, **named)
        marks.append(time.perf_counter())
        return result

    learner.learn = marked
    total = frames * (rollouts + 1)
    train_multi_agent_on_policy(
        vector, "simple_spread", "IPPO", [learner], max_steps=total, evo_steps=total, eval_steps=1, verbose=False
    )
    vector.close()
    return speeds(marks, frames)


PEERS: dict[str, Callable[[int, int, int], list[float]]] = {
    "benchmarl": benchmarl,
    "sb3": sb3,
    "xuance": xuance,
    "agilerl": agilerl,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=sorted(PEERS))
    parser.add_argument("--copies", type=int, default=16)
    parser.add_argument("--rollouts", type=int, default=3)
    parser.add_argument("--how", choices=("one", "processes"), default="processes")
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    processes = (os.cpu_count() or 1) if arguments.how == "processes" else 0
    found = PEERS[arguments.peer](arguments.copies, arguments.rollouts, processes)
    print(json.dumps({"frames_per_second": found}), flush=True)


if __name__ == "__main__":
    main()
