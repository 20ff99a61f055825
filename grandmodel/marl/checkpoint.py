"""A trained team on disk, and a training that goes on after a kill as if it had never stopped: safetensors, no pickle.

A checkpoint is taken between two rollouts. It holds all that the rest of the training depends on: parameters, Adam's
moments, the scale of returns, the random stream, the environment and the curves so far.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save

from grandmodel.core.errors import TrainingError
from grandmodel.core.files import write_bytes_atomic
from grandmodel.core.hashing import canonical_json, hash_arrays, hash_json
from grandmodel.marl import ranks
from grandmodel.marl.advantage import ReturnScale
from grandmodel.marl.environment import SavableEnvironment, VectorEnvironment, defaults_of

if TYPE_CHECKING:
    from grandmodel.marl.mappo import Learner, TrainedTeam

FORMAT = 1
STATE_KEY = "state"
Arrays = dict[str, NDArray[np.generic]]


@dataclass(frozen=True)
class Checkpoint:
    """Where a training keeps its state, and after how many rollouts it does so again; it does so at its end too.

    An environment without ``save_state`` begins anew at each checkpoint, so the number then changes what is learned.
    """

    path: Path
    every_rollouts: int = 10

    def __post_init__(self) -> None:
        if self.every_rollouts < 1:
            raise TrainingError("field every_rollouts of the checkpoint", "must be 1 or more", self.every_rollouts)


@dataclass
class Training:
    """All that changes while a team is trained."""

    environment: VectorEnvironment
    learner: Learner
    optimiser: torch.optim.Adam
    scale: ReturnScale
    generator: np.random.Generator
    curves: list[dict[str, float]]  # one row per finished rollout

    @property
    def keeps_environment(self) -> bool:
        """Whether the environment can be saved in the middle of its episodes."""
        return isinstance(self.environment, SavableEnvironment)


def fingerprint(environment: VectorEnvironment, seed: int, **depends_on: object) -> str:
    """Return the hash of what must be equal for a training to go on from a checkpoint."""
    shape = {
        name: getattr(environment, name)
        for name in ("agents", "n_environments", "observation_size", "state_size", "action_counts", "simultaneous")
    }
    shape["default_actions"] = defaults_of(environment)
    size = ranks.world().size
    together = {"ranks": size} if size > 1 else {}  # each has its share of the copies, with games of its own
    return hash_json({"format": FORMAT, "environment": shape, "seed": seed, **together, **depends_on})


def hash_training(training: Training) -> str:
    """Return the hash of what all ranks must have in common, whatever game each of their copies plays."""
    tensors = {name: tensor.detach().cpu().numpy() for name, tensor in _tensors(training).items()}
    common = {
        "copies": training.environment.n_environments,
        "rollouts": len(training.curves),
        "scale": asdict(training.scale),
        "generator": training.generator.bit_generator.state,
        "tensors": hash_arrays(tensors),
    }
    return hash_json(common)


def save_training(path: Path, training: Training, identity: str) -> None:
    """Write ``training`` to ``path``: whole or not at all, whatever kills the process.

    Rank 0 writes, with the environments of all ranks in it; all ranks must call.
    """
    environment = training.environment
    saved = ranks.gathered(environment.save_state() if isinstance(environment, SavableEnvironment) else {})
    if ranks.world().rank > 0:
        return
    state = {
        "identity": identity,
        "scale": asdict(training.scale),
        "generator": training.generator.bit_generator.state,
        "curves": training.curves,
    }
    arrays = {name: tensor.detach().cpu().reshape(-1).numpy() for name, tensor in _tensors(training).items()}
    for rank, part in enumerate(saved):
        arrays |= {f"{_of_environment(rank)}{name}": np.ascontiguousarray(array) for name, array in part.items()}
    state["arrays"] = hash_arrays(arrays)
    write_bytes_atomic(path, save(arrays, {STATE_KEY: canonical_json(state)}))


def load_training(path: Path, training: Training, identity: str) -> None:
    """Bring a freshly built ``training`` to where ``save_training`` wrote it.

    Raises TrainingError naming ``path`` when the file is broken or belongs to another training.
    """
    state, arrays = _read(path)
    if state["identity"] != identity:
        do = "Delete the file to start this training anew, or give it another path"
        raise TrainingError(str(path), "the checkpoint must be of this training", "other parameters or seed", do)
    with torch.no_grad():
        for name, tensor in _tensors(training).items():
            tensor.copy_(torch.from_numpy(arrays[name]).reshape(tensor.shape))
    training.scale = ReturnScale(**state["scale"])
    training.generator.bit_generator.state = state["generator"]
    training.curves[:] = state["curves"]
    if isinstance(training.environment, SavableEnvironment):
        head = _of_environment(ranks.world().rank)
        training.environment.load_state({n[len(head) :]: a for n, a in arrays.items() if n.startswith(head)})


def save_team(path: Path, trained: TrainedTeam) -> None:
    """Write actor and critic arrays under their own names, atomically; equal teams give equal bytes.

    ``actor.{0,1,2}.weight`` [A, in, out] and ``.bias`` [A, out], ``critic.*`` likewise with one network, and
    ``critic.value_mean`` and ``critic.value_deviation`` [1], the scale of the critic's output.
    """
    write_bytes_atomic(path, save({**trained.actor, **trained.critic}))


def load_team(path: Path) -> dict[str, NDArray[np.float32]]:
    """Read back the arrays of ``save_team``."""
    return load_file(path)


def _of_environment(rank: int) -> str:
    """Return what the names of the arrays of this rank's environment begin with."""
    return "environment." if rank == 0 else f"environment@{rank}."


def _tensors(training: Training) -> dict[str, torch.Tensor]:
    """Return by name the tensors that hold parameters and Adam's state; they are written to in place."""
    tensors: dict[str, torch.Tensor] = {}
    for number, group in enumerate(training.optimiser.param_groups):
        (flat,) = group["params"]
        tensors[f"parameters.{number}"] = flat
        tensors |= {f"adam.{number}.{name}": tensor for name, tensor in training.optimiser.state[flat].items()}
    return tensors


def _read(path: Path) -> tuple[Mapping[str, Any], Arrays]:
    try:
        with safe_open(path, framework="numpy") as file:
            state = json.loads(file.metadata()[STATE_KEY])
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
        if hash_arrays(arrays) != state["arrays"]:
            raise ValueError("its arrays are not those that were written")
        return state, arrays
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        do = "Delete the file to start the training anew"
        raise TrainingError(str(path), "the checkpoint must be whole", str(error), do) from error
