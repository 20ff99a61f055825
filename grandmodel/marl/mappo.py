"""Multi-agent proximal policy optimisation (MAPPO; Yu et al. 2022, "The surprising effectiveness of PPO").

Each agent has its own actor; one critic sees the whole state and is asked once per environment step; all agents share
one reward and one advantage. Learning rates fall linearly to zero over the training.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from grandmodel.core.config import TeamParams
from grandmodel.core.errors import ConfigError, TrainingError
from grandmodel.core.hashing import hash_json
from grandmodel.core.random import derive_seed, random_stream
from grandmodel.marl import ranks
from grandmodel.marl.advantage import ReturnScale
from grandmodel.marl.autograd import STATISTICS, AutogradLearner
from grandmodel.marl.checkpoint import (
    Checkpoint,
    Training,
    fingerprint,
    hash_training,
    load_training,
    save_training,
)
from grandmodel.marl.environment import (
    NumberedEnvironment,
    SavableEnvironment,
    VectorEnvironment,
    check_environment,
    defaults_of,
)
from grandmodel.marl.fused import FusedLearner
from grandmodel.marl.networks import Stack, lean, new_stack
from grandmodel.marl.pettingzoo_adapter import MakeParallelEnv
from grandmodel.marl.rollout import Batch, Rollout, batch_of, collect, rollout_for, to_device
from grandmodel.marl.workers import parallel_environments, usual_workers

Learner = AutogradLearner | FusedLearner
Progress = Callable[[dict[str, float]], None]

# Share of the first draws that are an agent's default action, where the environment names one: enough of the others to
# learn from, and few enough that an order put off by one draw is made up for by the next.
DEFAULT_SHARE = 0.95


@dataclass(frozen=True)
class TrainedTeam:
    """What a training leaves: weights by name and one row of curves per rollout; equal seeds leave equal teams."""

    actor: dict[str, NDArray[np.float32]]  # actor.{0,1,2}.weight [A, in, out] and .bias [A, out], also where shared
    critic: dict[str, NDArray[np.float32]]  # critic.{0,1,2}.* with one network, and the scale of its output
    curves: list[dict[str, float]]
    frames: int  # environment steps of all agents together


def train(
    make_parallel_env: MakeParallelEnv,
    config: TeamParams,
    *,
    steps: int,
    seed: int,
    device: str = "cpu",
    progress: Progress | None = None,
    threads: int = 1,
    checkpoint: Checkpoint | None = None,
    workers: int | None = None,
) -> TrainedTeam:
    """Train a team on any PettingZoo parallel environment with discrete actions for ``steps`` frames.

    The team's reward is the mean over its agents. ``config.environments`` copies are stepped in ``workers`` processes
    (by default one a core), or in this one if 0; the result is the same, bit for bit. Under ``torchrun`` each process
    steps its share of them, see ``train_vectorised``.

    Raises:
        TrainingError: naming agent, step and field, on other action spaces, a wrong observation shape, a number that
            is not finite, an agent that leaves before the others, or a loss that is not finite; naming the copy and
            the step where an environment fails or its process dies.
        ConfigError: under ``torchrun``, when the processes cannot share the copies equally.
    """
    if steps < 1:
        raise ConfigError("steps", "must be 1 or more", steps)
    share = ranks.share_of(config.environments)
    processes = usual_workers() if workers is None else workers
    params = config.model_copy(update={"frames": steps})
    copies = share.stop - share.start
    built = parallel_environments(make_parallel_env, copies, processes, config.rollout_steps, share.start)
    with closing(built) as environment:
        return train_vectorised(
            environment, params, seed=seed, device=device, progress=progress, threads=threads, checkpoint=checkpoint
        )


def train_vectorised(
    environment: VectorEnvironment,
    params: TeamParams,
    *,
    seed: int,
    device: str = "cpu",
    progress: Progress | None = None,
    threads: int = 1,
    checkpoint: Checkpoint | None = None,
) -> TrainedTeam:
    """Train a team on ``environment`` for at least ``params.frames`` frames, in whole rollouts.

    Deterministic for one seed, device and thread count; also where it was killed and goes on from its ``checkpoint``,
    which it does by itself where that file exists. ``progress`` receives each row of curves together with
    ``frames_per_second``, ``frames_total`` and ``seconds_left``, which are kept out of the result.

    Under ``torchrun`` all processes call with one set of parameters, and ``environment`` holds the caller's share of
    the copies: the training is that of one process with all copies up to rounding, see ``ranks``. All return the same
    team; rank 0 alone reports progress and writes checkpoints, which all read.

    Raises TrainingError on a malformed environment, a number that is not finite (the message names the last good
    checkpoint), a checkpoint that is broken or of another training, or another rank that died or differs; ConfigError
    where the device is absent or the path cannot do what is asked.
    """
    check_environment(environment)
    samples = params.rollout_steps * environment.n_environments * ranks.world().size
    if params.minibatches > samples:
        raise ConfigError("key minibatches", f"must not exceed the {samples} samples of a rollout", params.minibatches)
    ranks.join(device)
    given = [params.model_dump(), seed, device, str(checkpoint)]
    ranks.check_equal("parameters, seed, device and checkpoint", lambda: hash_json(given))
    with _threads(threads):
        generator = random_stream(seed, "marl")
        learner = new_learner(environment, params, generator, device)
        training = Training(environment, learner, new_optimiser(learner, params), ReturnScale(), generator, [])
        if checkpoint is None:
            environment.reset(_seed_of_games(environment, seed))
            _iterate(training, params, device, progress, lambda: None)
        else:
            _iterate_with_checkpoints(training, params, device, progress, checkpoint, seed)
    critic = learner.critic.export("critic", 1)
    critic["critic.value_mean"] = np.array([training.scale.mean], np.float32)
    critic["critic.value_deviation"] = np.array([training.scale.deviation], np.float32)
    actor = learner.actors.export("actor", len(environment.agents))
    return TrainedTeam(actor, critic, training.curves, int(training.curves[-1]["frames"]))


def new_learner(
    environment: VectorEnvironment, params: TeamParams, generator: np.random.Generator, device: str
) -> Learner:
    """Return fresh networks for ``environment`` on the path that ``params`` name; off the CPU it is always torch."""
    fused = device == "cpu" and params.path == "fused"
    if fused and (params.mixture != "none" or params.dropout > 0):
        rule = "mixture and dropout are trained by torch alone"
        raise ConfigError("key path", rule, params.path, "Set path: torch, or mixture: none and dropout: 0")
    if fused and ranks.world().size > 1:
        raise ConfigError("key path", "several processes train by torch alone", params.path, "Set path: torch")
    agents, actions = len(environment.agents), max(environment.action_counts)
    actor_widths = (environment.observation_size, params.hidden, params.hidden, actions)
    critic_widths = (environment.state_size, params.critic_hidden, params.critic_hidden, 1)
    actors = new_stack(
        1 if params.shared_actors else agents,
        actor_widths,
        0.01,
        generator,
        device,
        params.mixture,
        params.dropout,
    )
    defaults = defaults_of(environment)
    if defaults is not None:
        if params.shared_actors and len(set(defaults)) > 1:
            raise ConfigError("key shared_actors", "one actor cannot begin with several default actions", defaults)
        lean(actors, defaults, environment.action_counts, DEFAULT_SHARE)
    # The critic starts at the mean return: value clipping would let a random start fade only slowly.
    critic = new_stack(1, critic_widths, 0.01, generator, device)
    kind = FusedLearner if fused else AutogradLearner
    return kind(actors, critic, environment.action_counts, params)


def _iterate_with_checkpoints(
    training: Training,
    params: TeamParams,
    device: str,
    progress: Progress | None,
    checkpoint: Checkpoint,
    seed: int,
) -> None:
    """Go on from the checkpoint if there is one, and keep it as the training goes on."""
    environment, path, every = training.environment, checkpoint.path, checkpoint.every_rollouts
    savable = isinstance(environment, SavableEnvironment)
    depends_on = {"params": params.model_dump(), "device": device, "restarts_every": None if savable else every}
    identity = fingerprint(environment, seed, **depends_on)

    def begin() -> None:
        number = len(training.curves)
        environment.reset(_seed_of_games(environment, seed, *([number] if number else [])))

    def keep() -> None:
        number = len(training.curves)
        if number % every and number < _rollouts(environment, params):
            return
        save_training(path, training, identity)
        if not savable:
            begin()

    begin()
    if path.exists():
        load_training(path, training, identity)
        if not savable:
            begin()
    try:
        _iterate(training, params, device, progress, keep)
    except TrainingError as error:
        if not path.exists():
            raise
        last = f"The last good checkpoint is {path}, of {len(training.curves) // every * every} rollouts"
        raise TrainingError(error.subject, error.rule, error.found, f"{error.do}. {last}".lstrip(". ")) from error


def _iterate(
    training: Training, params: TeamParams, device: str, progress: Progress | None, keep: Callable[[], None]
) -> None:
    """Collect and improve until all rollouts are done; ``keep`` is called after each."""
    environment, learner, optimiser = training.environment, training.learner, training.optimiser
    rollout = rollout_for(environment, params.rollout_steps)
    frames_per_rollout = params.rollout_steps * environment.n_environments * ranks.world().size
    first, rollouts = len(training.curves), _rollouts(environment, params)
    ranks.check_equal("the training as it begins", lambda: hash_training(training))
    began = time.perf_counter()  # clock-ok: progress display only
    for number in range(first, rollouts):
        started = time.perf_counter()  # clock-ok: progress display only
        _set_learning_rates(optimiser, params, 1 - number / rollouts)
        collect(environment, learner, rollout, training.scale, training.generator, number * params.rollout_steps)
        row = improve(learner, optimiser, rollout, training.scale, params, training.generator, device)
        row = {"frames": float((number + 1) * frames_per_rollout), **row}
        _check_finite(row, learner, number)
        training.curves.append(row)
        if progress is not None and ranks.world().rank == 0:
            now = time.perf_counter()  # clock-ok: progress display only
            progress(
                {
                    **row,
                    "frames_per_second": frames_per_rollout / (now - started),
                    "frames_total": float(rollouts * frames_per_rollout),
                    "seconds_left": (now - began) / (number + 1 - first) * (rollouts - number - 1),
                }
            )
        keep()  # after it was told: a kill between the two repeats a row instead of losing it
    ranks.check_equal("the training as it ends", lambda: hash_training(training))


def _rollouts(environment: VectorEnvironment, params: TeamParams) -> int:
    return -(-params.frames // (params.rollout_steps * environment.n_environments * ranks.world().size))


def _seed_of_games(environment: VectorEnvironment, seed: int, *names: int) -> int:
    """Return the seed of this rank's copies, no two of which may play the same game."""
    rank, size = ranks.world()
    first = environment.first_copy if isinstance(environment, NumberedEnvironment) else 0
    numbered = size == 1 or first == ranks.part_of(environment.n_environments).start
    own: list[str | int] = [] if numbered else ["rank", rank]
    return derive_seed(seed, "marl", "environment", *own, *names)


def improve(
    learner: Learner,
    optimiser: torch.optim.Adam,
    rollout: Rollout,
    scale: ReturnScale,
    params: TeamParams,
    generator: np.random.Generator,
    device: str,
) -> dict[str, float]:
    """Update the team by one rollout: all epochs, all minibatches. Return its row of curves."""
    before = (scale.mean, scale.deviation) if scale.weight else None
    batch, explained = batch_of(rollout, scale, params.gamma, params.gae_lambda)
    if before is not None:
        _keep_values(learner.critic, before, scale)
    copies = rollout.rewards.shape[1]
    statistics = _epochs(learner, optimiser, batch.to(device), copies, params, generator)
    means = dict(zip(STATISTICS, statistics.tolist(), strict=True))
    (reward,) = ranks.mean_over_ranks(float(rollout.rewards.mean(dtype=np.float64)))
    return {
        "return_per_step": reward,
        "explained_variance": explained,
        **means,
    }


def _epochs(
    learner: Learner,
    optimiser: torch.optim.Adam,
    batch: Batch,
    copies: int,
    params: TeamParams,
    generator: np.random.Generator,
) -> Tensor:
    """Take all gradient steps on the rollout of ``copies``; return the mean of their statistics."""
    size, device = len(batch.advantages) * ranks.world().size, batch.advantages.device
    sums = torch.zeros(len(STATISTICS), dtype=torch.float64, device=device)
    for _ in range(params.epochs):
        order = torch.from_numpy(generator.permutation(size))
        order, lengths = ranks.own_minibatches(order, params.minibatches, copies)
        for index in to_device(order, device).split_with_sizes(lengths):
            sums += learner.update(batch, index, optimiser)
    return sums / (params.epochs * params.minibatches)


def new_optimiser(learner: Learner, params: TeamParams) -> torch.optim.Adam:
    """Return Adam over the two flat parameter tensors, its state in place from the start."""
    groups = [
        {"params": [learner.actors.flat], "lr": params.learning_rate},
        {"params": [learner.critic.flat], "lr": params.critic_learning_rate},
    ]
    optimiser = torch.optim.Adam(groups, eps=1e-5, fused=True)
    for flat in (learner.actors.flat, learner.critic.flat):
        step = torch.zeros((), dtype=torch.float32, device=flat.device)
        optimiser.state[flat] = {
            "step": step,
            "exp_avg": torch.zeros_like(flat),
            "exp_avg_sq": torch.zeros_like(flat),
        }
    return optimiser


def _set_learning_rates(optimiser: torch.optim.Adam, params: TeamParams, share: float) -> None:
    rates = (params.learning_rate, params.critic_learning_rate)
    for group, rate in zip(optimiser.param_groups, rates, strict=True):
        group["lr"] = rate * share


def _keep_values(critic: Stack, before: tuple[float, float], scale: ReturnScale) -> None:
    """Rescale the last layer so that a new scale of returns leaves the estimates as they were (PopArt, Hessel 2019)."""
    weights, biases = critic.layers
    weights[2].mul_(before[1] / scale.deviation)
    biases[2].mul_(before[1]).add_(before[0] - scale.mean).div_(scale.deviation)


def _check_finite(row: dict[str, float], learner: Learner, number: int) -> None:
    stacks = {"actor weights": learner.actors, "critic weights": learner.critic}
    weights = {name: float(stack.flat.detach().sum()) for name, stack in stacks.items()}
    broken = {name: value for name, value in {**row, **weights}.items() if not np.isfinite(value)}
    if broken:
        last = f"The last good rollout was {number - 1}" if number else "No rollout was good before it"
        do = f"{last}; lower the learning rate or look at the rewards"
        raise TrainingError(f"rollout {number}", "losses, statistics and weights must be finite", broken, do)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
