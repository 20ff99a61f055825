"""What gate G1 looks at: the stack of every instrument, every fit, what decisions earn, and every fold's borders."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.bars import Bars
from grandmodel.core.config import Params
from grandmodel.core.random import random_stream
from grandmodel.data.dataset import Dataset
from grandmodel.gates import g1_leakage
from grandmodel.gates.fold_faults import FoldCase
from grandmodel.gates.g1_leakage import EarningCase, FitCase, StackCase
from grandmodel.gates.result import GateResult
from grandmodel.market.replay import simulate_targets
from grandmodel.market.tape import MarketTape
from grandmodel.stats.folds import Fold
from models.feature_spec import FeatureSpec
from models.release import Release, Tapes
from pipelines.features import AnyFold, fit_spec, members, plan_folds
from pipelines.stack import Stack, known, rows_with_future
from pipelines.tapes import FoldMarket, trained_on
from pipelines.workspace import Workspace


def judge_leakage(workspace: Workspace, dataset: Dataset, folds: list[FoldMarket]) -> GateResult:
    """Return the verdict of gate G1: the stack of the last fold under its first training, and the borders of all."""
    params, last = workspace.params, folds[-1]
    released = Release.load(_weights(workspace, last.number, 0), params.training)
    return g1_leakage.judge(
        stack_cases(dataset, last, released, params),
        fit_cases(dataset, folds, params),
        earning_cases(dataset, last, params),
        fold_cases(workspace, dataset, folds),
        cuts_per_case=params.gates.truncation_points,
        shuffles_per_case=params.gates.shuffle_points,
        seed=params.seed,
        without_rows=cases_without_rows(dataset, params),
    )


def _weights(workspace: Workspace, fold: int, seed: int) -> Path:
    return workspace.train / "weights" / f"fold_{fold}" / f"seed_{seed}"


def stack_cases(dataset: Dataset, fold: FoldMarket, release: Release, params: Params) -> list[StackCase]:
    """Return one case per instrument of ``fold``, on which ``release`` decides."""
    cases = []
    for symbol, bars in dataset.strategic.items():
        tapes = fold.tapes.only(symbol)
        tactical = None if tapes.tactical is None else dataset.tactical[symbol].rows(0, len(tapes.tactical))
        stack = Stack(symbol, bars.rows(0, len(tapes.strategic)), tactical, tapes, fold.spec, release, params)
        cases.append(StackCase(symbol, rows_with_future(stack), partial(known, stack)))
    return cases


def fit_cases(dataset: Dataset, folds: list[FoldMarket], params: Params) -> list[FitCase]:
    """Return one case per fold: scalers, reference windows and leverage, and again from the bars before its test."""
    return [
        FitCase(f"what fold {fold.number} fitted", _fitted(market.spec), partial(_fitted_before, dataset, fold, params))
        for fold, market in zip(plan_folds(dataset, params), folds, strict=True)
    ]


def _fitted_before(dataset: Dataset, fold: AnyFold, params: Params) -> dict[str, object]:
    kept = members(dataset, fold)
    strategic, tactical = (
        {symbol: _without_test(bars, fold) for symbol, bars in clock.items()}
        for clock in (kept.strategic, kept.tactical)
    )
    return _fitted(fit_spec(replace(dataset, strategic=strategic, tactical=tactical), fold, params))


def _without_test(bars: Bars, fold: AnyFold) -> Bars:
    """Return the bars before the test; where training goes on behind it, all bars, those of the test made wilder.

    Every return within the test, in logarithms, is then five times what it was.
    """
    if isinstance(fold, Fold):
        return bars.rows(0, fold.on(bars.session).test_start)
    prices = {name: getattr(bars, name).copy() for name in ("open", "high", "low", "close")}
    for first, stop in fold.on(bars.session).test_rows:
        for price in prices.values():
            price[first:stop] = bars.open[first] * (price[first:stop] / bars.open[first]) ** 5
    return replace(bars, **prices)


def _fitted(spec: FeatureSpec) -> dict[str, object]:
    parts = ("strategic", "tactical", "reference", "leverage")
    symbols = spec.to_dict()["symbols"]
    return {f"{part} {symbol}": symbols[symbol][part] for symbol in sorted(symbols) for part in parts}


def earning_cases(dataset: Dataset, fold: FoldMarket, params: Params) -> list[EarningCase]:
    """Return one case per clock and instrument: seeded targets, replayed without costs and counted from the bars."""
    cases = []
    for clock, tape, bars_by_symbol in _clocks(dataset, fold.tapes.strategic, fold.tapes.tactical):
        for symbol in tape.symbols:
            alone = tape.only(symbol).with_cost_multiple(0.0)
            targets = random_stream(params.seed, "earnings", clock, symbol).choice([-1.0, 0.0, 1.0], len(alone))
            earned = simulate_targets(alone, targets, params.market).log_return
            due = earned_by(targets, bars_by_symbol[symbol].rows(0, len(alone)), fold.spec.leverage[symbol])
            cases.append(EarningCase(f"account of {clock} {symbol}", earned, due))
    return cases


def earned_by(targets: NDArray[np.float64], bars: Bars, leverage: float) -> NDArray[np.float64]:
    """Return the log returns float64[T] that ``targets`` [T] earn by market orders without costs, plainly counted.

    What was decided at the close of a bar is filled at the next open, where that bar can be traded: the position from
    before carries the gap, the new one open to close. It is the slow twin of ``grandmodel/market/accounting.py``.
    """
    rows = np.arange(len(bars))
    filled = np.maximum.accumulate(np.where(bars.tradable & (bars.volume > 0.0), rows, 0))  # the last bar that filled
    after = np.where(filled > 0, targets[np.maximum(filled, 1) - 1], 0.0)
    before = np.concatenate([[0.0], after[:-1]])
    gap = bars.open / np.concatenate([bars.open[:1], bars.close[:-1]]) - 1.0
    body = np.where(rows > 0, bars.close / bars.open - 1.0, 0.0)  # nothing is decided before the first bar
    return np.asarray(np.log1p(leverage * before * gap) + np.log1p(leverage * after * body), np.float64)


def fold_cases(workspace: Workspace, dataset: Dataset, folds: list[FoldMarket]) -> list[FoldCase]:
    """Return one case per fold, clock and instrument, with what its trainings say they were given."""
    params, cases = workspace.params, []
    for fold, market in zip(plan_folds(dataset, params), folds, strict=True):
        weights = [_weights(workspace, fold.number, seed) for seed in range(params.training.seeds)]
        for clock, _, bars_by_symbol in _clocks(members(dataset, fold), market.tapes.strategic, market.tapes.tactical):
            seen = tuple(trained_on(folder, clock) for folder in weights)
            for symbol, bars in bars_by_symbol.items():
                spec = market.spec.symbols[symbol]
                scaler = spec.strategic if clock == "strategic" else spec.tactical
                assert scaler is not None
                cases.append(
                    FoldCase(
                        name=_case_name(fold, clock, symbol),
                        start_ns=bars.start_ns,
                        session=bars.session,
                        trained=_held(market.trains, bars),
                        tested=_held(market.tests, bars),
                        seen_sessions=seen,
                        scaler=scaler,
                        label_horizon_bars=fold.label_horizon_bars,
                        embargo_sessions=params.folds.embargo_sessions,
                    )
                )
    return cases


def cases_without_rows(dataset: Dataset, params: Params) -> frozenset[str]:
    """Return the names of the fold cases to which the plan gives no training or no test rows.

    Such is an instrument that ended before the test, or whose faster bars begin after the training. The plan is made
    of the bars alone: spans of a fold that were changed afterwards excuse nothing.
    """
    found = []
    for fold in plan_folds(dataset, params):
        kept = members(dataset, fold)
        for clock, bars_by_symbol in (("strategic", kept.strategic), ("tactical", kept.tactical)):
            for symbol, bars in bars_by_symbol.items():
                rows = fold.on(bars.session)
                if not all(any(first < stop for first, stop in part) for part in (rows.train_rows, rows.test_rows)):
                    found.append(_case_name(fold, clock, symbol))
    return frozenset(found)


def _case_name(fold: AnyFold, clock: str, symbol: str) -> str:
    return f"fold {fold.number} {clock} {symbol}"


def _clocks(
    dataset: Dataset, strategic: MarketTape, tactical: MarketTape | None
) -> Iterator[tuple[str, MarketTape, dict[str, Bars]]]:
    yield "strategic", strategic, dataset.strategic
    if tactical is not None:
        yield "tactical", tactical, dataset.tactical


def _held(spans: list[Tapes], bars: Bars) -> NDArray[np.bool_]:
    """Return which of ``bars`` stand on the tapes of any of ``spans``."""
    held = np.zeros(len(bars), np.bool_)
    for tapes in spans:
        tape = tapes.strategic if bars.bar_minutes == tapes.strategic.bar_minutes else tapes.traded
        if bars.symbol in tape.symbols:
            held |= np.isin(bars.start_ns, tape.start_ns[tape.rows(bars.symbol)])
    return held
