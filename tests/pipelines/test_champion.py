"""A new release beside the champion it would replace."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from pipelines.champion import champion_daily_returns, champion_evidence, spans_tested_ns
from pipelines.tapes import FoldMarket
from pipelines.workspace import Workspace


def test_the_release_as_its_own_champion_earns_what_was_evaluated(workspace: Workspace, fold: FoldMarket) -> None:
    returns, fitted_on_test = champion_daily_returns(workspace, workspace.package, spans_tested_ns(workspace))
    days = len(np.unique(fold.test.traded.session))
    evaluated = load_file(workspace.evaluate / "evidence" / "daily.safetensors")["release"][0]
    np.testing.assert_allclose(returns[-days:], evaluated[-days:], atol=1e-12)
    assert len(returns) == len(evaluated)
    assert fitted_on_test  # the weights are those of the last fold, which trained on the test of the first


def test_the_comparison_is_that_of_the_seeds_gate_with_one_baseline(workspace: Workspace) -> None:
    found = champion_evidence(workspace, workspace.package)
    verdict = found["against_champion"]
    assert verdict["name"] == "g3_seeds"
    assert list(verdict["evidence"].get("baselines", {"champion": None})) == ["champion"]
    assert found["champion"] == "fitted on some of the days compared"


def test_a_first_release_has_nothing_to_be_compared_with(workspace: Workspace) -> None:
    found = champion_evidence(workspace, None)
    assert found == {"against_champion": None, "champion": "production has no champion yet"}


def test_a_champion_of_other_instruments_is_told_with_the_reason(workspace: Workspace, tmp_path: Path) -> None:
    other = Path(shutil.copytree(workspace.package, tmp_path / "champion"))
    spec = json.loads((other / "feature_spec.json").read_text())
    spec["symbols"].pop("NQ")
    (other / "feature_spec.json").write_text(json.dumps(spec))
    found = champion_evidence(workspace, other)
    assert found["against_champion"] is None
    assert "cannot decide on these bars: NQ" in found["champion"]
