from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from grandmodel.core.files import write_json_atomic
from grandmodel.data.simulator.generate import simulate
from grandmodel.registry.trials import open_trials
from pipelines.drift import drift
from pipelines.trials import record_evidence
from pipelines.workspace import Workspace
from tests.grandmodel.registry.releases import ticking_clock
from tests.pipelines.conftest import SYMBOLS


@pytest.mark.slow
def test_bars_are_measured_and_their_hash_is_looked_up_among_the_trainings(
    workspace: Workspace, market_folder: Path, tmp_path: Path
) -> None:
    trained_on = tmp_path / "data"
    chosen = {f"{symbol}_5m.parquet" for symbol in SYMBOLS}
    shutil.copytree(
        market_folder,
        trained_on,
        ignore=lambda _, names: [name for name in names if name.endswith("_5m.parquet") and name not in chosen],
    )
    trials = open_trials(tmp_path / "state", ticking_clock())
    simulate(tmp_path / "other", edge=0.0, seed=99, sessions=60)
    same = drift(trained_on, trained_on, workspace, trials, tmp_path / "docs")
    assert (same["drifted"], same["trained"], same["simulated"]) == (False, False, True)
    assert max(row["psi"] for row in same["measures"]) < 0.01
    other = drift(tmp_path / "other", trained_on, workspace, trials, tmp_path / "docs")
    assert other["raw_hash"] != same["raw_hash"]
    write_json_atomic(tmp_path / "drift.json", other)
    assert json.loads((tmp_path / "drift.json").read_text())["batch"] == other["batch"]
    assert Path(other["pages"]).exists()
    record_evidence(workspace, trials)
    again = drift(trained_on, trained_on, workspace, trials, tmp_path / "docs")
    assert again["trained"]
