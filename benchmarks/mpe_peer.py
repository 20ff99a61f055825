"""BenchMARL's MAPPO in the vectorised particle worlds, with the settings that ours has.

Networks, copies, epochs, minibatches, learning rate with its decay, discount, clipping and entropy bonus are those of
``TeamParams``; losses, estimates of advantage and steps are BenchMARL's own. Needs ``benchmarks/requirements.txt``.
"""

from __future__ import annotations

import sys
import tempfile
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.mpe import EPISODE_STEPS, VectorWorlds
from grandmodel.core.config import TeamParams
from grandmodel.core.random import derive_seed

try:
    import mpe2

    sys.modules.setdefault("pettingzoo.mpe", mpe2)  # BenchMARL imports it from where it was
    from benchmarl.algorithms import MappoConfig
    from benchmarl.environments.common import TaskClass
    from benchmarl.experiment import Callback, Experiment, ExperimentConfig
    from benchmarl.models.mlp import MlpConfig
    from tensordict import TensorDict
    from torchrl.data import Categorical, Composite, Unbounded
    from torchrl.envs import EnvBase
    from torchrl.envs.utils import ExplorationType, set_exploration_type
except ImportError as error:
    raise ImportError(f"{error}: install benchmarks/requirements.txt") from error


def groups_of(worlds: VectorWorlds) -> dict[str, list[int]]:
    """Return the indices of the agents by group; agents of one group have equally many inputs and actions."""
    shapes: dict[tuple[int, int], list[int]] = {}
    for agent, shape in enumerate(zip(worlds.action_counts, worlds.input_sizes, strict=True)):
        shapes.setdefault(shape, []).append(agent)
    return {worlds.agents[indices[0]]: indices for indices in shapes.values()}


class Worlds(EnvBase):  # type: ignore[misc]
    """``VectorWorlds`` as torchrl wants it: groups of agents, all paid the mean reward, and the state."""

    def __init__(self, game: str, copies: int, seed: int) -> None:
        super().__init__(device="cpu", batch_size=torch.Size([copies]))
        self.worlds = VectorWorlds(game, copies)
        self.groups = groups_of(self.worlds)
        self.ends = np.cumsum(self.worlds.input_sizes)
        self.worlds.reset(seed)
        seen, chosen, paid = (Composite(shape=(copies,)) for _ in range(3))
        for name, agents in self.groups.items():
            shape = (copies, len(agents))
            size, count = self.worlds.input_sizes[agents[0]], self.worlds.action_counts[agents[0]]
            seen[name] = Composite(observation=Unbounded((*shape, size)), shape=shape)
            chosen[name] = Composite(action=Categorical(count, shape), shape=shape)
            paid[name] = Composite(reward=Unbounded((*shape, 1)), shape=shape)
        seen["state"] = Unbounded((copies, self.worlds.state_size))
        flag = Categorical(2, (copies, 1), dtype=torch.bool)
        flags = {name: flag.clone() for name in ("done", "terminated", "truncated")}
        self.observation_spec, self.action_spec, self.reward_spec = seen, chosen, paid
        self.done_spec = Composite(flags, shape=(copies,))

    def _shown(self, states: NDArray[np.float32]) -> dict[str, Any]:
        """Return observations and state by ``states`` [N, S], in which those of all agents follow one another."""
        state = torch.from_numpy(states.copy())
        shown: dict[str, Any] = {"state": state}
        for name, agents in self.groups.items():
            parts = [state[:, self.ends[a] - self.worlds.input_sizes[a] : self.ends[a]] for a in agents]
            shown[name] = TensorDict({"observation": torch.stack(parts, 1)}, (len(states), len(agents)))
        return shown

    def _flags(self, over: bool) -> dict[str, Any]:
        flag = torch.full((*self.batch_size, 1), over)
        return {"done": flag, "truncated": flag.clone(), "terminated": torch.zeros_like(flag)}

    def _reset(self, _: Any = None, **__: Any) -> Any:
        # All copies end together, and the worlds have begun anew by themselves.
        return TensorDict({**self._shown(self.worlds.states), **self._flags(False)}, self.batch_size)

    def _step(self, given: Any) -> Any:
        actions = np.zeros((*self.batch_size, len(self.worlds.agents)), np.int64)
        for name, agents in self.groups.items():
            actions[:, agents] = given[name, "action"].numpy()
        result = self.worlds.step(actions)
        over = bool(result.truncated[0])
        shown = self._shown(result.final_states if over else self.worlds.states)
        reward = torch.from_numpy(result.reward.copy())
        for name, agents in self.groups.items():
            shown[name]["reward"] = reward[:, None, None].expand(-1, len(agents), 1).clone()
        return TensorDict({**shown, **self._flags(over)}, self.batch_size)

    def _set_seed(self, seed: int | None) -> None:
        self.worlds_seed = seed or 0
        self.worlds.reset(self.worlds_seed)


class WorldsTask(TaskClass):  # type: ignore[misc]
    """What BenchMARL asks about the game; ``config`` has its name."""

    def get_env_fun(self, num_envs: int, continuous_actions: bool, seed: int | None, device: Any) -> Any:
        return lambda: Worlds(self.config["game"], num_envs, derive_seed(seed or 0, "peer", num_envs))

    def supports_continuous_actions(self) -> bool:
        return False

    def supports_discrete_actions(self) -> bool:
        return True

    def max_steps(self, env: Any) -> int:
        return EPISODE_STEPS

    def has_render(self, env: Any) -> bool:
        return False

    def group_map(self, env: Any) -> dict[str, list[str]]:
        worlds = VectorWorlds(self.config["game"], 1)
        return {name: [worlds.agents[agent] for agent in agents] for name, agents in groups_of(worlds).items()}

    def observation_spec(self, env: Any) -> Any:
        specification = env.observation_spec[0].clone()
        del specification["state"]
        return specification

    def state_spec(self, env: Any) -> Any:
        return Composite(state=env.observation_spec[0]["state"].clone())

    def action_spec(self, env: Any) -> Any:
        return env.full_action_spec[0].clone()

    def info_spec(self, env: Any) -> None:
        return None

    def action_mask_spec(self, env: Any) -> None:
        return None

    @staticmethod
    def env_name() -> str:
        return "particle_worlds"


class Watch(Callback):  # type: ignore[misc]
    """Notes the return of each rollout and lets the learning rate fall linearly, as ours does."""

    def __init__(self, rate: float, rollouts: int) -> None:
        super().__init__()
        self.rate, self.rollouts, self.returns = rate, rollouts, []

    def on_batch_collected(self, batch: Any) -> None:
        group = next(iter(self.experiment.group_map))
        self.returns.append(EPISODE_STEPS * float(batch["next", group, "reward"].mean()))
        share = 1 - (len(self.returns) - 1) / self.rollouts
        for optimisers in self.experiment.optimizers.values():
            for optimiser in optimisers.values():
                for group_of_parameters in optimiser.param_groups:
                    group_of_parameters["lr"] = self.rate * share


def configuration(params: TeamParams, rollouts: int, episodes: int, folder: str) -> Any:
    """Return BenchMARL's settings of an experiment that equal ``params``."""
    frames = params.environments * params.rollout_steps
    settings = {
        "max_n_iters": rollouts,
        "max_n_frames": None,
        "on_policy_collected_frames_per_batch": frames,
        "on_policy_n_envs_per_worker": params.environments,
        "on_policy_n_minibatch_iters": params.epochs,
        "on_policy_minibatch_size": frames // params.minibatches,
        "share_policy_params": params.shared_actors,
        "gamma": params.gamma,
        "lr": params.learning_rate,
        "adam_eps": 1e-5,
        "clip_grad_val": params.gradient_norm_max,
        "prefer_continuous_actions": False,
        "evaluation_episodes": episodes,
        "evaluation": False,
        "loggers": [],
        "create_json": False,
        "render": False,
        "save_folder": folder,
    }
    config = ExperimentConfig.get_from_yaml()
    for name, value in settings.items():
        setattr(config, name, value)
    return config


def train_benchmarl(
    game: str, params: TeamParams, seed: int, episodes: int
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.float64]]]:
    """Train on ``game``; return frames and return of each rollout, and returns of ``episodes`` episodes by policy."""
    frames = params.environments * params.rollout_steps
    rollouts = -(-params.frames // frames)
    algorithm = MappoConfig.get_from_yaml()
    algorithm.entropy_coef, algorithm.lmbda, algorithm.clip_epsilon = params.entropy, params.gae_lambda, params.clip
    algorithm.critic_coef = params.value_coefficient
    networks = [
        MlpConfig(num_cells=[width, width], layer_class=torch.nn.Linear, activation_class=torch.nn.Tanh)
        for width in (params.hidden, params.critic_hidden)
    ]
    watch = Watch(params.learning_rate, rollouts)
    with tempfile.TemporaryDirectory() as folder:
        experiment = Experiment(
            task=WorldsTask(game, {"game": game}),
            algorithm_config=algorithm,
            model_config=networks[0],
            critic_model_config=networks[1],
            seed=seed,
            config=configuration(params, rollouts, episodes, folder),
            callbacks=[watch],
        )
        experiment.run()
    group = next(iter(experiment.group_map))
    found = {}
    kinds = {"greedy": ExplorationType.DETERMINISTIC, "sampled": ExplorationType.RANDOM}
    for name, kind in kinds.items():
        with torch.no_grad(), set_exploration_type(kind):
            played = experiment.test_env.rollout(EPISODE_STEPS, experiment.policy)
        found[name] = played["next", group, "reward"].mean(dim=(2, 3)).sum(dim=1).double().numpy()
    steps = frames * np.arange(1, rollouts + 1)
    return np.column_stack([steps, watch.returns]), found
