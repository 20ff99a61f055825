"""The trainings of a run as lines of the trial ledger: one for each seed, over all folds."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from grandmodel.core.hashing import hash_folder, hash_json
from grandmodel.data.dataset import Dataset
from grandmodel.registry.ledger import Ledger
from grandmodel.registry.trials import Returns, Trial, record
from grandmodel.stats.performance import annual_sharpe
from pipelines.train import Unit, code_of_training, plan_units
from pipelines.workspace import Workspace


def record_run(
    workspace: Workspace, trials: Ledger, sessions: NDArray[np.int32], daily_returns: NDArray[np.float64]
) -> int:
    """Enter the trainings of a run into the ledger; return how many lines that added, none when it was repeated.

    Args:
        workspace: the run, with features and weights.
        trials: the trial ledger.
        sessions: test days int32[days] of all folds, increasing.
        daily_returns: daily net log returns float64[seeds, days].

    Raises:
        DataError: the returns cannot be recorded.
        LedgerError: the ledger does not verify.
    """
    by_seed: dict[int, list[Unit]] = defaultdict(list)
    for unit in plan_units(workspace):
        by_seed[unit.seed_number].append(unit)
    dataset = Dataset.load(workspace.features / "bars")
    code = hash_json(code_of_training())
    measured = [
        (
            Trial(
                id=hash_json([unit.key for unit in units]),
                data_hash=dataset.raw_hash,
                bars_hash=dataset.bars_hash(),
                symbols=tuple(sorted(dataset.strategic)),
                data=dataset.name,
                simulated=dataset.simulated,
                configuration=hash_json([unit.configuration for unit in units]),
                code=code,
                weights=hash_folder(workspace.train / "weights" / units[-1].name),
                seed_number=seed_number,
                sharpe=annual_sharpe(daily_returns[seed_number]),
                releasable=workspace.params.profile == "full",
            ),
            Returns(sessions, daily_returns[seed_number]),
        )
        for seed_number, units in sorted(by_seed.items())
    ]
    return record(trials, measured, actor="evaluate", reason="replayed out of sample after costs")


def record_evidence(workspace: Workspace, trials: Ledger) -> int:
    """Enter the trainings of a run as its evidence holds them: evaluated elsewhere, or taken from DVC's cache."""
    tables = load_file(workspace.evaluate / "evidence" / "daily.safetensors")
    return record_run(workspace, trials, tables["sessions"], tables["release"])
