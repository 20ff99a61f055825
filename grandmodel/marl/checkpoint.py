"""A trained team on disk: safetensors, never pickle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save

from grandmodel.core.files import write_bytes_atomic

if TYPE_CHECKING:
    from grandmodel.marl.mappo import TrainedTeam


def save_team(path: Path, trained: TrainedTeam) -> None:
    """Write actor and critic arrays under their own names, atomically; equal teams give equal bytes.

    ``actor.{0,1,2}.weight`` [A, in, out] and ``.bias`` [A, out], ``critic.*`` likewise with one network, and
    ``critic.value_mean`` and ``critic.value_deviation`` [1], the scale of the critic's output.
    """
    write_bytes_atomic(path, save({**trained.actor, **trained.critic}))


def load_team(path: Path) -> dict[str, NDArray[np.float32]]:
    """Read back the arrays of ``save_team``."""
    return load_file(path)
