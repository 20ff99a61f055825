"""One small release, made once: two simulated instruments, two folds, three tiny trainings each."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

from grandmodel.data.dataset import Dataset
from grandmodel.data.simulator.generate import simulate
from grandmodel.gates.result import GateResult
from pipelines.evaluate import evaluate
from pipelines.features import features
from pipelines.ingest import ingest
from pipelines.package import package
from pipelines.stress import stress
from pipelines.tapes import FoldMarket, fold_folders, load_fold
from pipelines.train import train
from pipelines.validate import validate
from pipelines.workspace import PROJECT, Workspace
from tests.grandmodel.registry.releases import PARAMS as HOUSE

SYMBOLS = ("ES", "NQ")
TOLD = {"power_statement": "A Sharpe ratio of 2 passes."}
SELECTED = GateResult("g4_selection", True, 0.99, 0.95, 0.5, 30, "It survives all trials.", TOLD)
TEAM = {"frames": 4096, "environments": 64, "rollout_steps": 16, "window_bars": 32, "hidden": 16, "critic_hidden": 16}


def write_params(path: Path) -> None:
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params["training"]["seeds"] = 3
    for team in ("strategic", "tactical"):
        params["training"][team] |= TEAM
    params["evaluation"] |= {"bootstrap_draws": 200, "random_baseline_draws": 3}
    params["gates"]["truncation_points"] = 3
    params["stress"] = {"warmup_bars": 1104, "after_bars": 288}
    path.write_text(yaml.safe_dump(params))


def run_all(workspace: Workspace, data: Path) -> Workspace:
    """Run every stage as plain calls, in the order of the flow."""
    ingest(workspace, data, symbols=SYMBOLS)
    for stage in (validate, features, train, evaluate, stress, package):
        stage(workspace)
    return workspace


@pytest.fixture(scope="session")
def market_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("market") / "data"
    simulate(folder, edge=1.0, seed=3, sessions=60)
    return folder


@pytest.fixture(scope="session")
def params_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("params") / "params.yaml"
    write_params(path)
    return path


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory, market_folder: Path, params_path: Path) -> Workspace:
    return run_all(Workspace(tmp_path_factory.mktemp("first"), params_path), market_folder)


@pytest.fixture(scope="session")
def dataset(workspace: Workspace) -> Dataset:
    return Dataset.load(workspace.features / "bars")


@pytest.fixture(scope="session")
def fold(workspace: Workspace, dataset: Dataset) -> FoldMarket:
    return load_fold(fold_folders(workspace.features)[-1], dataset, workspace.params.market)


@pytest.fixture
def passing(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The small release with every verdict set to passed: what is under test is what promotion does with verdicts."""
    monkeypatch.setattr("pipelines.promote.author_of_checkout", lambda: "Grace Hopper")
    monkeypatch.setattr("pipelines.promote.staging_evidence", lambda *_: {"selection": SELECTED.to_dict()})
    copy = Workspace(tmp_path / "work", workspace.params_path)
    shutil.copytree(workspace.folder, copy.folder)
    gates = json.loads((copy.package / "gates.json").read_text())
    for gate in gates:
        gate["passed"] = True
        gate["statistic"], gate["power"] = gate["statistic"] or 0.0, gate["power"] or 0.0
        gate["n"] = max(gate["n"], 1)
        gate["evidence"].setdefault("power_statement", "Nothing is said.")
    (copy.package / "gates.json").write_text(json.dumps(gates))
    # Small trainings, judged by the thresholds of the house as far as the doors look.
    params, house = json.loads((copy.package / "params.json").read_text()), HOUSE.model_dump(mode="json")
    params["gates"] = house["gates"]
    params["evaluation"] = house["evaluation"]
    (copy.package / "params.json").write_text(json.dumps(params))
    return copy
