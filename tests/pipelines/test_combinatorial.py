"""Combinatorial folds through the stages: no training hears of its tests, and every session is tested on every path."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from grandmodel.core.bars import Bars
from grandmodel.core.config import Params
from grandmodel.core.errors import ConfigError, LeakageError
from grandmodel.data.dataset import Dataset
from grandmodel.gates.fold_faults import fold_faults
from pipelines.features import fit_spec, plan_folds, write_fold
from pipelines.leakage import fit_cases, fold_cases
from pipelines.paths import histories, in_words, sharpe_distribution
from pipelines.sweep import sweep
from pipelines.tapes import FoldMarket, load_fold, write_trained_on
from pipelines.workspace import Workspace, write_params

GROUPS, TEST_GROUPS = 4, 2


@pytest.fixture(scope="module")
def params(workspace: Workspace) -> Params:
    folds = {"scheme": "combinatorial", "groups": GROUPS, "test_groups": TEST_GROUPS}
    training = workspace.params.training.model_copy(update={"seeds": 1})
    chosen = workspace.params.folds.model_copy(update=folds)
    return workspace.params.model_copy(update={"folds": chosen, "training": training})


@pytest.fixture(scope="module")
def markets(dataset: Dataset, params: Params, tmp_path_factory: pytest.TempPathFactory) -> list[FoldMarket]:
    """Return the markets of all folds as the features stage leaves them."""
    folder = tmp_path_factory.mktemp("combinatorial")
    found = []
    for fold in plan_folds(dataset, params):
        write_fold(folder / f"fold_{fold.number}", dataset, fold, params)
        found.append(load_fold(folder / f"fold_{fold.number}", dataset, params.market))
    return found


def loud(bars: Bars, start_ns: int, stop_ns: int) -> Bars:
    """Return ``bars`` with every other price doubled from ``start_ns`` to ``stop_ns``."""
    inside = (bars.start_ns >= start_ns) & (bars.start_ns < stop_ns)
    factor = np.where(inside & (np.arange(len(bars)) % 2 == 0), 2.0, 1.0)
    return replace(bars, **{name: getattr(bars, name) * factor for name in ("open", "high", "low", "close")})


def test_every_choice_of_groups_is_a_fold_and_every_group_lies_in_each_path(dataset: Dataset, params: Params) -> None:
    plan = plan_folds(dataset, params)
    assert [fold.tested for fold in plan] == list(combinations(range(GROUPS), TEST_GROUPS))
    tests = [[(fold.number, group) for group in fold.tested] for fold in plan]
    ways = histories(plan, tests)
    assert len(ways) == 3
    assert all([group for _, group in way] == [0, 1, 2, 3] for way in ways)
    assert sorted(test for way in ways for test in way) == sorted(test for fold in tests for test in fold)
    assert ways[0][-2:] == tests[-1], "the first way holds all tests of the released training"


def test_what_a_training_is_given_does_not_change_with_its_tests(
    dataset: Dataset, params: Params, markets: list[FoldMarket], tmp_path: Path
) -> None:
    between = next(fold for fold in plan_folds(dataset, params) if fold.tested == (0, 2))
    market = markets[between.number]
    assert len(market.train_spans_ns) == 2
    louder = dataset
    for start_ns, stop_ns in market.test_spans_ns:
        clocks = {
            name: {symbol: loud(bars, start_ns, stop_ns) for symbol, bars in getattr(louder, name).items()}
            for name in ("strategic", "tactical")
        }
        louder = replace(louder, **clocks)
    write_fold(tmp_path / "fold", louder, between, params)
    other = load_fold(tmp_path / "fold", louder, params.market)
    assert other.spec.to_dict() == market.spec.to_dict()
    for clock in ("strategic", "tactical"):
        np.testing.assert_array_equal(getattr(other.train, clock).features, getattr(market.train, clock).features)
    first, again = (one.tests[0].strategic.features for one in (market, other))
    assert (first != again).any(), "the change reached the tests"


def test_no_episode_can_cross_a_hole(markets: list[FoldMarket]) -> None:
    market = next(one for one in markets if len(one.train_spans_ns) == 2)
    tape = market.train.strategic
    assert tape.symbols == ("ES#0", "NQ#0", "ES#1", "NQ#1")
    for symbol in tape.symbols:
        own = tape.start_ns[tape.rows(symbol)]
        start_ns, stop_ns = market.train_spans_ns[int(symbol[-1])]
        assert own.min() >= start_ns
        assert own.max() < stop_ns


def test_the_folds_are_without_fault_and_a_training_on_its_test_is_found(
    dataset: Dataset, params: Params, markets: list[FoldMarket], tmp_path: Path
) -> None:
    write_params(tmp_path, params)
    workspace = Workspace(tmp_path, tmp_path / "params.yaml")
    for market in markets:
        weights = workspace.train / "weights" / f"fold_{market.number}" / "seed_0"
        for clock in ("strategic", "tactical"):
            write_trained_on(weights, clock, getattr(market.train, clock))
    cases = fold_cases(workspace, dataset, markets)
    assert len(cases) == 6 * 2 * 2
    assert [fault for case in cases for fault in fold_faults(case)] == []
    for fit in fit_cases(dataset, markets, params):
        assert fit.fitted == fit.fitted_again()
    swapped = replace(markets[1], train_spans_ns=markets[1].test_spans_ns)
    found = fold_faults(fold_cases(workspace, dataset, [markets[0], swapped, *markets[2:]])[4])
    assert "test rows were trained on" in found[0]


def test_a_scaler_of_both_sides_refuses_its_training_rows_as_unseen(dataset: Dataset, params: Params) -> None:
    fold = next(fold for fold in plan_folds(dataset, params) if fold.tested == (1, 2))
    bars = dataset.strategic["NQ"]
    spec, rows = fit_spec(dataset, fold, params), fold.on(bars.session)
    assert spec.strategic(bars, unseen=rows.test_rows).shape == (len(bars), 13)
    with pytest.raises(LeakageError, match="or in a hole"):
        spec.strategic(bars, unseen=[rows.train_rows[0]])
    with pytest.raises(LeakageError, match="or in a hole"):
        spec.strategic(bars, unseen=[rows.train_rows[1]])


def test_the_spread_of_the_sharpe_ratio_counts_histories_without_one() -> None:
    days = np.tile([0.01, -0.005], 50)
    found = sharpe_distribution(np.stack([[days, -days], [days, np.zeros(100)]]))
    assert (found["seeds"], found["paths"], found["days"]) == (2, 2, 100)
    assert (found["below_zero"], found["without_sharpe"]) == (1, 1)
    up = found["annual_sharpe"][0][0]
    assert found["annual_sharpe"] == [[up, -up], [up, None]]
    assert found["quantiles"]["0.5"] == up > 0
    assert "2 paths through all 100 sessions, 4 histories" in in_words(found)
    assert "none of which ever traded" in in_words(sharpe_distribution(np.zeros((1, 2, 100))))


def test_a_sweep_is_refused_because_every_session_is_tested(params: Params, tmp_path: Path) -> None:
    write_params(tmp_path, params)
    with pytest.raises(ConfigError, match="a sweep needs walk-forward folds"):
        sweep(Workspace(tmp_path, tmp_path / "params.yaml"), team="strategic", trials=1, folder=tmp_path)
