"""What gate G1 looks at: every scaled feature and market column again from the past alone, and every fold's borders."""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from grandmodel.core.bars import Bars
from grandmodel.core.config import Params
from grandmodel.data.dataset import Dataset
from grandmodel.gates.g1_leakage import FoldCase, TruncationCase
from grandmodel.market.tape import build_tape
from models.feature_spec import FeatureSpec
from pipelines.features import members, plan_folds
from pipelines.tapes import FoldMarket
from pipelines.workspace import Workspace


def truncation_cases(workspace: Workspace, dataset: Dataset, fold: FoldMarket) -> list[TruncationCase]:
    """Return one case per clock and instrument: its scaled features and market columns as one matrix."""
    columns = load_file(workspace.features / f"fold_{fold.number}" / "features.safetensors")
    spec = FeatureSpec.from_dict(
        json.loads((workspace.features / f"fold_{fold.number}" / "feature_spec.json").read_text())
    )
    cases = []
    for clock, bars_by_symbol in (("strategic", dataset.strategic), ("tactical", dataset.tactical)):
        for symbol, bars in bars_by_symbol.items():
            known = columns[f"{clock}/{symbol}"]
            whole = _rows(bars.rows(0, len(known)), known, spec, workspace.params)
            cases.append(TruncationCase(f"{clock} {symbol}", _Recompute(bars, clock, spec, workspace.params), whole))
    return cases


class _Recompute:
    """Compute the last row of one instrument's columns from the bars before ``stop_row`` alone."""

    def __init__(self, bars: Bars, clock: str, spec: FeatureSpec, params: Params) -> None:
        self._bars, self._clock, self._spec, self._params = bars, clock, spec, params

    def __call__(self, stop_row: int) -> NDArray[np.float64]:
        past = self._bars.rows(0, stop_row)
        compute = self._spec.strategic if self._clock == "strategic" else self._spec.tactical
        last: NDArray[np.float64] = _rows(past, compute(past), self._spec, self._params)[-1]
        return last


def _rows(bars: Bars, features: NDArray[np.float32], spec: FeatureSpec, params: Params) -> NDArray[np.float64]:
    """Return features and market columns side by side, float64[T, ...]."""
    tape = build_tape({bars.symbol: bars}, {bars.symbol: features}, spec.instruments, params.market, spec.leverage)
    return np.column_stack([tape.features, tape.arrays.market, tape.session_left]).astype(np.float64)


def fold_cases(dataset: Dataset, folds: list[FoldMarket], params: Params) -> list[FoldCase]:
    """Return one case per fold, clock and instrument."""
    cases = []
    for fold, market in zip(plan_folds(dataset, params), folds, strict=True):
        kept = members(dataset, fold)
        for clock, bars_by_symbol in (("strategic", kept.strategic), ("tactical", kept.tactical)):
            for symbol, bars in bars_by_symbol.items():
                spec = market.spec.symbols[symbol]
                scaler = spec.strategic if clock == "strategic" else spec.tactical
                assert scaler is not None
                cases.append(
                    FoldCase(
                        name=f"fold {fold.number} {clock} {symbol}",
                        fold=fold.on(bars.session),
                        session=bars.session,
                        start_ns=bars.start_ns,
                        scaler=scaler,
                        label_horizon_bars=fold.label_horizon_bars,
                        embargo_sessions=params.folds.embargo_sessions,
                    )
                )
    return cases
