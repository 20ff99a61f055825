"""Features: clean bars on both clocks, purged folds, and per fold the columns scaled by its training spans."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from grandmodel.core.bars import Bars
from grandmodel.core.config import Params
from grandmodel.core.errors import DataError
from grandmodel.core.files import write_json_atomic
from grandmodel.core.random import derive_seed
from grandmodel.data.cleaning.adjust import to_bars
from grandmodel.data.dataset import Dataset, RawDataset
from grandmodel.features.scaler import Span
from grandmodel.stats.combinatorial import CombinatorialFold, Range, combinatorial_folds
from grandmodel.stats.folds import Fold, walk_forward
from models.feature_spec import FeatureSpec, fit_symbol
from pipelines.workspace import Workspace, empty_folder, run_stage

AnyFold = Fold | CombinatorialFold
LABEL_HORIZON_BARS = 1  # a decision fills and is rewarded on the bar after it
TRAIN_BARS_MIN = 500  # 30-minute bars: below this neither scalers nor reference windows mean anything


def features(workspace: Workspace) -> None:
    """Write bars, folds, feature specifications and scaled features of every fold."""
    raw = RawDataset.load(workspace.ingest)
    dataset = to_bars(raw)
    for finding in dataset.report[len(raw.report) :]:
        if finding.level == "warning":
            print(f"  {finding.subject}: {finding.text}")
    folder = empty_folder(workspace.features)
    dataset.save(folder / "bars")
    folds = plan_folds(dataset, workspace.params)
    for fold in folds:
        # The last fold is released: it takes all instruments, or refuses.
        kept = dataset if fold is folds[-1] else members(dataset, fold)
        for symbol in sorted(dataset.strategic.keys() - kept.strategic.keys()):
            print(f"  {symbol}: sits out fold {fold.number}, which has fewer than {TRAIN_BARS_MIN} training bars of it")
        write_fold(folder / f"fold_{fold.number}", kept, fold, workspace.params)


def plan_folds(dataset: Dataset, params: Params) -> list[AnyFold]:
    """Return the folds of the chosen scheme over all trading days that any instrument has."""
    sessions = np.unique(np.concatenate([bars.session for bars in dataset.strategic.values()]))
    chosen = params.folds
    if chosen.scheme == "walk_forward":
        return list(walk_forward(sessions, chosen))
    return list(
        combinatorial_folds(
            sessions,
            groups=chosen.groups,
            test_groups=chosen.test_groups,
            embargo_sessions=chosen.embargo_sessions,
            label_horizon_bars=LABEL_HORIZON_BARS,
        )
    )


def members(dataset: Dataset, fold: AnyFold) -> Dataset:
    """Return ``dataset`` without the instruments too new to be trained on in ``fold``; they join a later one.

    Where that would leave none all are returned, and the fold refuses by name.
    """
    kept = {
        symbol
        for symbol, bars in dataset.strategic.items()
        if sum(stop - first for first, stop in fold.on(bars.session).train_rows) >= TRAIN_BARS_MIN
    }
    if not kept:
        return dataset
    strategic = {symbol: bars for symbol, bars in dataset.strategic.items() if symbol in kept}
    tactical = {symbol: bars for symbol, bars in dataset.tactical.items() if symbol in kept}
    return replace(dataset, strategic=strategic, tactical=tactical)


def write_fold(folder: Path, dataset: Dataset, fold: AnyFold, params: Params) -> None:
    """Fit on the training spans; write the specification, the scaled columns and the spans of each part in time."""
    spec = fit_spec(dataset, fold, params)
    columns = {
        f"{clock}/{symbol}": _columns(compute, bars, fold.on(bars.session))
        for clock, compute, clock_bars in (
            ("strategic", spec.strategic, dataset.strategic),
            ("tactical", spec.tactical, dataset.tactical),
        )
        for symbol, bars in clock_bars.items()
    }
    folder.mkdir(parents=True)
    write_json_atomic(folder / "feature_spec.json", spec.to_dict())
    save_file(columns, folder / "features.safetensors")
    write_json_atomic(folder / "fold.json", _spans(dataset, fold))


def _columns(compute: Callable[..., NDArray[np.float32]], bars: Bars, rows: AnyFold) -> NDArray[np.float32]:
    """Return the scaled columns of one instrument up to the last row of the fold.

    A row knows all bars before it, as it would have known them then. A training row behind a test knows those of its
    own stretch alone, so that nothing of a test reaches a training.
    """
    stop = max(last for _, last in (*rows.train_rows, *rows.test_rows))
    columns = compute(bars.rows(0, stop), unseen=rows.test_rows)
    for first, last in rows.train_rows:
        if first > 0:
            columns[first:last] = compute(bars.rows(first, last))
    return columns


def fit_spec(dataset: Dataset, fold: AnyFold, params: Params) -> FeatureSpec:
    """Return what is fitted on the training spans of ``fold``, for every instrument."""
    symbols = {
        symbol: fit_symbol(
            bars30,
            dataset.tactical.get(symbol),
            _train_rows(bars30, fold),
            _train_rows(dataset.tactical[symbol], fold) if dataset.tactical else (),
            dataset.instruments[symbol],
            derive_seed(params.seed, "features", fold.number),
            params.features,
            params.market,
            _holes_ns(bars30, fold),
        )
        for symbol, bars30 in dataset.strategic.items()
    }
    return FeatureSpec(params.features, symbols)


def _train_rows(bars: Bars, fold: AnyFold) -> tuple[Range, ...]:
    rows = fold.on(bars.session).train_rows
    found = sum(stop - first for first, stop in rows)
    if bars.bar_minutes == 30 and found < TRAIN_BARS_MIN:
        rule = f"fold {fold.number} needs at least {TRAIN_BARS_MIN} training bars of 30 minutes"
        raise DataError(bars.symbol, rule, found, "Give more data, or fewer folds in params.yaml")
    return rows


def _holes_ns(bars: Bars, fold: AnyFold) -> tuple[Span, ...]:
    """Return the tested spans of one instrument before its last training bar."""
    rows = fold.on(bars.session)
    _, last_trained = rows.train_rows[-1]
    return tuple(
        (int(bars.start_ns[first]), int(bars.close_ns[stop - 1]))
        for first, stop in rows.test_rows
        if first < stop <= last_trained
    )


def _spans(dataset: Dataset, fold: AnyFold) -> dict[str, object]:
    """Return the sessions and the UTC nanoseconds [start, stop) of each training and test span of all instruments."""
    if isinstance(fold, Fold):
        train, tests = [fold.train_sessions], [fold.test_sessions]
    else:
        train, tests = list(fold.train_sessions), list(fold.test_sessions)
    rows = {symbol: fold.on(bars.session) for symbol, bars in dataset.strategic.items()}
    return {
        "number": fold.number,
        "train_ns": _span_ns(dataset, {symbol: one.train_rows for symbol, one in rows.items()}, train),
        "test_ns": _span_ns(dataset, {symbol: one.test_rows for symbol, one in rows.items()}, tests),
        "train_sessions": train,
        "test_sessions": tests,
    }


def _span_ns(dataset: Dataset, rows: Mapping[str, Sequence[Range]], sessions: Sequence[Range]) -> list[Span]:
    """Return from the first to the last bar that any instrument has in each range of ``sessions``."""
    spans = []
    for first_session, stop_session in sessions:
        inside = [
            (int(bars.start_ns[first]), int(bars.close_ns[stop - 1]))
            for symbol, bars in dataset.strategic.items()
            for first, stop in rows[symbol]
            if first < stop and first_session <= bars.session[first] < stop_session
        ]
        if inside:
            spans.append((min(start for start, _ in inside), max(stop for _, stop in inside)))
    return spans


if __name__ == "__main__":
    run_stage(features)
