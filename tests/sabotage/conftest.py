"""Two small markets to cheat on: a simulated one without any edge, and two of the real futures.

Teams have random weights: a cheat in the data is as visible to a team that has learnt nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import yaml

import pipelines.sanity
from grandmodel.core.bars import Bars
from grandmodel.core.config import Params
from grandmodel.core.files import write_json_atomic
from grandmodel.core.random import random_stream
from grandmodel.data.cleaning.adjust import to_bars
from grandmodel.data.dataset import Dataset, RawDataset
from grandmodel.data.simulator.generate import simulate
from grandmodel.gates.result import GateResult
from grandmodel.market.policy import random_policy
from models.strategic.agents import strategic_team
from models.tactical.agents import tactical_team
from pipelines.evaluate import join, judge, replay_fold
from pipelines.features import plan_folds, write_fold
from pipelines.ingest import ingest
from pipelines.leakage import judge_leakage
from pipelines.tapes import FoldMarket, fold_folders, load_fold, write_trained_on
from pipelines.workspace import PROJECT, Workspace

SHARED = PROJECT.parent / "shared" / "data"
TEAM = {"frames": 4096, "environments": 64, "rollout_steps": 16, "window_bars": 32, "hidden": 16, "critic_hidden": 16}


@dataclass(frozen=True)
class Market:
    """Bars to cheat on."""

    dataset: Dataset
    params_path: Path
    params: Params  # small trainings, one seed, one fold, few cuts


@dataclass(frozen=True)
class Attempt:
    """One pass through the pipeline up to the gates; what is patched meanwhile takes part."""

    market: Market
    workspace: Workspace

    @property
    def folds(self) -> list[FoldMarket]:
        """All folds as every stage after the features loads them."""
        params = self.market.params.market
        return [load_fold(folder, self.market.dataset, params) for folder in fold_folders(self.workspace.features)]

    def leakage(self) -> GateResult:
        """Return the verdict of gate G1."""
        return told(judge_leakage(self.workspace, self.market.dataset, self.folds))

    def verdicts(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, GateResult]:
        """Return the verdicts of all gates of the evaluation, but for the trainings of G2 and the suite of G0."""
        monkeypatch.setattr(pipelines.sanity, "foresight_share", lambda *args: float("nan"))
        monkeypatch.setattr(pipelines.sanity, "placebo_daily_returns", lambda *args: {})
        suite = {"checks": [{"name": "stands for the suite", "passed": True, "level": "critical"}]}
        write_json_atomic(self.workspace.validate / "report.json", suite)
        dataset, folds = self.market.dataset, self.folds
        out = join([part for fold in folds for part in replay_fold(self.workspace, fold, dataset, None)])
        return {gate.name: told(gate) for gate in judge(self.workspace, dataset, folds, out)}


def told(result: GateResult) -> GateResult:
    """Return a verdict after printing its sentence, which ``pytest -rP`` shows."""
    print(f"{result.name}: {result.reason}")
    return result


@pytest.fixture(scope="session", params=["simulated", pytest.param("real", marks=pytest.mark.shared)])
def market(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Market:
    """Return the simulated market, then the real one."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "simulated":
        simulate(folder / "data", edge=0.0, seed=3, sessions=40)
        return read_market(folder, folder / "data", ("ES", "NQ"), sessions=40)
    return read_market(folder, SHARED / "cn_futures_5m", ("CFFEX.IF", "SHFE.rb"), sessions=250)


def read_market(folder: Path, data: Path, symbols: tuple[str, ...], *, sessions: int) -> Market:
    """Read ``symbols`` at ``data`` by the ingest stage, and keep the last trading days of each."""
    params = yaml.safe_load((PROJECT / "params.yaml").read_text())
    params["training"] = {"seeds": 1} | {team: params["training"][team] | TEAM for team in ("strategic", "tactical")}
    params["folds"] |= {"count": 1, "test_frac": 0.5}
    params["gates"] |= {"truncation_points": 6, "shuffle_points": 1}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    workspace = Workspace(folder, folder / "params.yaml")
    ingest(workspace, data, symbols=symbols)
    dataset = to_bars(RawDataset.load(workspace.ingest))
    days = np.unique(np.concatenate([bars.session for bars in dataset.strategic.values()]))
    strategic, tactical = (
        {symbol: since(bars, int(days[-sessions:][0])) for symbol, bars in clock.items()}
        for clock in (dataset.strategic, dataset.tactical)
    )
    cut = replace(dataset, strategic=strategic, tactical=tactical)
    return Market(cut, workspace.params_path, workspace.params)


def since(bars: Bars, session: int) -> Bars:
    """Return the bars from a trading day on."""
    return bars.rows(int(np.searchsorted(bars.session, session)), len(bars))


@pytest.fixture
def attempt(market: Market, tmp_path: Path) -> Callable[[], Attempt]:
    """Return what writes features and weights anew, under whatever is patched by then."""
    return lambda: lay_out(market, tmp_path)


def lay_out(market: Market, folder: Path) -> Attempt:
    """Write features and, as if they had been trained, random weights of every fold."""
    workspace, params = Workspace(folder, market.params_path), market.params
    for fold in plan_folds(market.dataset, params):
        write_fold(workspace.features / f"fold_{fold.number}", market.dataset, fold, params)
    one = Attempt(market, workspace)
    for fold in one.folds:
        weights = workspace.train / "weights" / f"fold_{fold.number}" / "seed_0"
        for team, tape in (
            (strategic_team(params.training.strategic), fold.train.strategic),
            (tactical_team(params.training.tactical), fold.train.tactical),
        ):
            random_policy(team, 8, random_stream(1, team.name), scale=1.0).save(weights / f"{team.name}.safetensors")
            write_trained_on(weights, team.name, tape)
    return one
