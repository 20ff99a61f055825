"""The best of fifty seeds picked: gate G4 refuses it, though the same returns would pass had there been one trial.

The fifty have random weights, so none is better than luck, and they trade on the strategic clock alone, which is quick.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from grandmodel.core.clock import system_clock
from grandmodel.core.config import GateParams
from grandmodel.core.random import random_stream
from grandmodel.data.simulator.generate import simulate
from grandmodel.gates import g4_selection
from grandmodel.gates.result import GateResult
from grandmodel.gates.selection import trials_of
from grandmodel.market.policy import random_policy
from grandmodel.registry.trials import Returns, open_trials, record
from grandmodel.stats.performance import annual_sharpe
from grandmodel.stats.trials import Trials
from models.release import Release
from models.strategic.agents import strategic_team
from pipelines.evaluate import daily
from pipelines.features import plan_folds, write_fold
from pipelines.tapes import load_fold
from tests.grandmodel.registry.test_trials import trial
from tests.sabotage.conftest import SHARED, read_market, told

TRIALS = 50


@dataclass(frozen=True)
class Search:
    """What fifty worthless trials earned out of sample."""

    sessions: NDArray[np.int32]
    daily_returns: NDArray[np.float64]  # [trials, days]

    @property
    def best(self) -> int:
        """The trial with the largest Sharpe ratio."""
        return int(np.argmax([annual_sharpe(row) or 0.0 for row in self.daily_returns]))

    def verdict(self, counted: list[int], *, picked: bool) -> GateResult:
        """Return the verdict of gate G4 on the best trial, where the gate knows of the trials ``counted``."""
        trials = Trials(
            names=tuple(f"seed_{seed}" for seed in counted),
            sessions=self.sessions,
            daily_returns=self.daily_returns[counted],
            unseen=0,
            picked=picked,
            counted="seeds of one configuration",
        )
        returns = self.daily_returns[self.best]
        return told(g4_selection.judge(returns, trials=trials, thresholds=GateParams(), draws=1000, seed=7))


@pytest.fixture(scope="module", params=["simulated", pytest.param("real", marks=pytest.mark.shared)])
def search(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Search:
    """Return fifty teams of random weights over half of a market without any edge, then of a real one."""
    folder = tmp_path_factory.mktemp(f"search_{request.param}")
    if request.param == "simulated":
        simulate(folder / "data", edge=0.0, seed=2, sessions=600)
        market = read_market(folder, folder / "data", ("NQ",), sessions=600)
    else:
        market = read_market(folder, SHARED / "cn_futures_5m", ("SHFE.rb",), sessions=1200)
    dataset, params = replace(market.dataset, tactical={}), market.params
    (fold,) = plan_folds(dataset, params)
    write_fold(folder / "fold_0", dataset, fold, params)
    test = load_fold(folder / "fold_0", dataset, params.market).test
    team = strategic_team(params.training.strategic)
    teams = [Release(random_policy(team, 4, random_stream(k, "noise"), scale=0.5), None) for k in range(TRIALS)]
    returns = [daily(test.strategic, one.decide(test, params.market).log_return) for one in teams]
    return Search(np.unique(test.strategic.session), np.stack(returns))


def test_the_best_would_pass_had_it_been_the_only_trial(search: Search) -> None:
    result = search.verdict([search.best], picked=False)
    assert result.passed, result.reason


def test_the_best_of_fifty_is_refused(search: Search) -> None:
    result = search.verdict(list(range(TRIALS)), picked=True)
    assert not result.passed
    assert f"{TRIALS} trials" in result.reason
    assert "refused by deflated Sharpe ratio" in result.reason


def test_a_comment_in_a_file_does_not_begin_a_new_search(search: Search, tmp_path: Path) -> None:
    ledger = open_trials(tmp_path, system_clock)
    made = [
        replace(trial(f"seed {seed}", configuration=f"c{seed}"), data_hash="before" if seed != search.best else "after")
        for seed in range(TRIALS)
    ]
    measured = [(one, Returns(search.sessions, row)) for one, row in zip(made, search.daily_returns, strict=True)]
    record(ledger, measured, actor="test", reason="measured")
    trials = trials_of(ledger, made[search.best], search.sessions)
    returns = search.daily_returns[search.best]
    result = told(g4_selection.judge(returns, trials=trials, thresholds=GateParams(), draws=1000, seed=7))
    assert not result.passed
    distinct = len(np.unique(search.daily_returns, axis=0))
    assert distinct > 0.9 * TRIALS
    assert f"{distinct} trials" in result.reason


def test_the_best_is_refused_where_only_the_number_of_the_others_is_known(search: Search) -> None:
    trials = Trials(
        ("seed_0",), search.sessions, search.daily_returns[[search.best]], TRIALS - 1, False, "the others were deleted"
    )
    returns = search.daily_returns[search.best]
    result = told(g4_selection.judge(returns, trials=trials, thresholds=GateParams(), draws=1000, seed=7))
    assert not result.passed
    assert "refused by deflated Sharpe ratio" in result.reason
