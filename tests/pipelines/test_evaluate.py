"""Out of sample: what is written is what was replayed."""

from __future__ import annotations

import csv
import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file

from grandmodel.core.config import MarketParams
from grandmodel.gates.g5_costs import CostRow
from grandmodel.market.replay import Replay, simulate_targets
from grandmodel.market.tape import MarketTape
from grandmodel.risk.held_book import HeldBook
from models.release import Release
from pipelines.books import held_book
from pipelines.evaluate import OutOfSample, captured_share, daily, join, trials_of_run
from pipelines.tapes import FoldMarket
from pipelines.workspace import Workspace

MARKET = MarketParams()
RULES = {"flat", "buy_and_hold", "moving_average", "random"}


@pytest.fixture
def tables(workspace: Workspace) -> dict[str, NDArray[Any]]:
    return load_file(workspace.evaluate / "evidence" / "daily.safetensors")


def part(first: int, oracle: float | None, days: int = 4) -> OutOfSample:
    def row(value: float) -> NDArray[np.float64]:
        return np.full(days, value)

    return OutOfSample(
        sessions=np.arange(first, first + days, dtype=np.int32),
        release=np.full((3, days), 0.5 * first),
        at_cost_multiple=np.zeros((3, days)),
        with_delay=np.zeros((3, days)),
        baselines={"flat": row(0.0), "random": np.zeros((2, days))},
        oracle=None if oracle is None else row(oracle),
        strategic_alone=None,
        released_book=HeldBook(np.arange(first, first + days), np.zeros((days, 1)), np.zeros((days, 1))),
        costs=(CostRow("NQ", 0.5, 2.0, 1.0, 0.2, 0.1),),
        costs_at_multiple=(CostRow("NQ", 0.5, 2.0, 1.0, 0.4, 0.1),),
        turnover={"release": float(first)},
        decision_hashes={f"fold_{first}/seed_0": "x"},
    )


def test_folds_are_joined_in_time() -> None:
    whole = join([part(0, 1.0), part(4, 3.0)])
    assert whole.sessions.tolist() == list(range(8))
    assert whole.release.shape == (3, 8)
    assert whole.baselines["random"].shape == (2, 8)
    assert whole.turnover == {"release": 2.0}
    assert whole.released_book.half_hour.tolist() == list(range(8))
    assert whole.costs == (CostRow("NQ", 0.5, 2.0, 2.0, 0.4, 0.2),)
    assert set(whole.decision_hashes) == {"fold_0/seed_0", "fold_4/seed_0"}
    assert captured_share(whole, whole.release) == pytest.approx(1.0 / 2.0)


def test_the_seeds_of_a_run_are_its_trials_and_the_first_was_named_before() -> None:
    run = join([part(0, None), part(4, None)])
    trials = trials_of_run(run)
    assert trials.names == ("seed_0", "seed_1", "seed_2")
    assert trials.daily_returns is run.release
    assert trials.sessions is run.sessions
    assert (trials.unseen, trials.picked) == (0, False)


@pytest.mark.parametrize("oracle", [None, 0.0, -1.0])
def test_without_an_oracle_that_earns_there_is_no_share(oracle: float | None) -> None:
    silent = join([part(0, oracle)])
    assert captured_share(silent, silent.release) is None


def test_days_are_equal_capital_in_every_instrument(fold: FoldMarket) -> None:
    tape = fold.test.traded
    alone = [only.log_return for only in _each_alone(tape)]
    days = np.unique(tape.session)
    expected = []
    for day in days:
        sums = [run[tape.session[tape.rows(s)] == day].sum() for s, run in zip(tape.symbols, alone, strict=True)]
        expected.append(np.log1p(np.expm1(sums).mean()))
    whole = simulate_targets(tape, np.ones(len(tape)), MARKET)
    np.testing.assert_allclose(daily(tape, whole.log_return), expected, rtol=1e-12)


def test_the_evidence_holds_the_book_of_the_released_training(workspace: Workspace, fold: FoldMarket) -> None:
    release = Release.load(workspace.package, workspace.params.training).decide(fold.test, workspace.params.market)
    own = held_book(fold.test.traded, release.position, sorted(fold.test.traded.symbols))
    written = HeldBook(**load_file(workspace.evaluate / "evidence" / "book_30m.safetensors"))
    for name, column in vars(own).items():
        np.testing.assert_array_equal(getattr(written, name)[-len(column) :], column)


def test_evidence_holds_every_seed_day_and_rule(workspace: Workspace, tables: dict[str, NDArray[Any]]) -> None:
    seeds, days = workspace.params.training.seeds, len(tables["sessions"])
    assert (np.diff(tables["sessions"]) > 0).all()
    for name in ("release", "at_cost_multiple", "with_delay"):
        assert tables[name].shape == (seeds, days)
        assert tables[name].std() > 0
    assert {name.removeprefix("baseline/") for name in tables if name.startswith("baseline/")} == RULES
    assert tables["baseline/random"].shape == (workspace.params.evaluation.random_baseline_draws, days)
    assert tables["oracle"].mean() > tables["release"].mean()


def test_dearer_trading_never_earns_more(tables: dict[str, NDArray[Any]]) -> None:
    assert tables["at_cost_multiple"].sum() < tables["release"].sum()


def test_the_written_days_are_those_of_the_released_weights(
    workspace: Workspace, fold: FoldMarket, tables: dict[str, NDArray[Any]]
) -> None:
    release = Release.load(workspace.package, workspace.params.training)
    decided = release.decide(fold.test, workspace.params.market)
    own = daily(fold.test.traded, decided.log_return)
    np.testing.assert_array_equal(tables["release"][0, -len(own) :], own)


def test_random_trades_as_much_as_the_seeds_of_the_release(workspace: Workspace) -> None:
    rows = json.loads((workspace.evaluate / "evidence" / "strategies.json").read_text())
    turnover = {row["name"]: row["turnover_per_year"] for row in rows}
    assert set(turnover) == RULES | {"release", "oracle", "strategic_alone"}
    assert turnover["flat"] == 0.0
    assert turnover["release"] > 0.0
    assert turnover["random"] == pytest.approx(turnover["release"], rel=0.05)


def test_the_equity_table_starts_after_the_first_day(workspace: Workspace, tables: dict[str, NDArray[Any]]) -> None:
    with (workspace.evaluate / "equity.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(tables["sessions"])
    assert float(rows[-1]["buy_and_hold"]) == pytest.approx(np.exp(tables["baseline/buy_and_hold"].sum()), abs=1e-7)
    assert {row["flat"] for row in rows} == {"1.00000000"}


def _each_alone(tape: MarketTape) -> list[Replay]:
    assert len(tape.symbols) == 2
    parts = [tape.only(symbol) for symbol in tape.symbols]
    return [simulate_targets(one, np.ones(len(one)), MARKET) for one in parts]
