"""Features: clean bars on both clocks, walk-forward folds, and per fold the columns scaled by its training span."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from grandmodel.core.bars import Bars
from grandmodel.core.config import Params
from grandmodel.core.errors import DataError
from grandmodel.core.files import write_json_atomic
from grandmodel.core.random import derive_seed
from grandmodel.data.cleaning.adjust import to_bars
from grandmodel.data.dataset import Dataset, RawDataset
from grandmodel.stats.folds import Fold, walk_forward
from models.feature_spec import FeatureSpec, fit_symbol
from pipelines.workspace import Workspace, empty_folder, run_stage

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


def plan_folds(dataset: Dataset, params: Params) -> list[Fold]:
    """Return walk-forward folds over all trading days that any instrument has."""
    sessions = np.unique(np.concatenate([bars.session for bars in dataset.strategic.values()]))
    return walk_forward(sessions, params.folds)


def members(dataset: Dataset, fold: Fold) -> Dataset:
    """Return ``dataset`` without the instruments too new to be trained on in ``fold``; they join a later one.

    Where that would leave none all are returned, and the fold refuses by name.
    """
    kept = {s for s, bars in dataset.strategic.items() if fold.on(bars.session).train_stop >= TRAIN_BARS_MIN}
    if not kept:
        return dataset
    strategic = {symbol: bars for symbol, bars in dataset.strategic.items() if symbol in kept}
    tactical = {symbol: bars for symbol, bars in dataset.tactical.items() if symbol in kept}
    return replace(dataset, strategic=strategic, tactical=tactical)


def write_fold(folder: Path, dataset: Dataset, fold: Fold, params: Params) -> None:
    """Fit on the training span; write the specification, the scaled columns and the span of each part in time."""
    spec = FeatureSpec(
        params.features,
        {
            symbol: fit_symbol(
                bars30,
                dataset.tactical.get(symbol),
                _train_stop(bars30, fold),
                _train_stop(dataset.tactical[symbol], fold) if dataset.tactical else 0,
                dataset.instruments[symbol],
                derive_seed(params.seed, "features", fold.number),
                params.features,
                params.market,
            )
            for symbol, bars30 in dataset.strategic.items()
        },
    )
    columns = {}
    for clock, bars_by_symbol in (("strategic", dataset.strategic), ("tactical", dataset.tactical)):
        compute = spec.strategic if clock == "strategic" else spec.tactical
        for symbol, bars in bars_by_symbol.items():
            rows = fold.on(bars.session)
            columns[f"{clock}/{symbol}"] = compute(bars.rows(0, rows.test_stop), unseen_from=rows.train_stop)
    folder.mkdir(parents=True)
    write_json_atomic(folder / "feature_spec.json", spec.to_dict())
    save_file(columns, folder / "features.safetensors")
    write_json_atomic(folder / "fold.json", _spans(dataset, fold))


def _train_stop(bars: Bars, fold: Fold) -> int:
    stop = fold.on(bars.session).train_stop
    if bars.bar_minutes == 30 and stop < TRAIN_BARS_MIN:
        rule = f"fold {fold.number} needs at least {TRAIN_BARS_MIN} training bars of 30 minutes"
        raise DataError(bars.symbol, rule, stop, "Give more data, or fewer folds in params.yaml")
    return stop


def _spans(dataset: Dataset, fold: Fold) -> dict[str, object]:
    """Return when training and test start and stop, in UTC nanoseconds, over all instruments."""
    rows = {symbol: fold.on(bars.session) for symbol, bars in dataset.strategic.items()}
    bars = dataset.strategic
    return {
        "number": fold.number,
        "train_start_ns": min(int(bars[s].start_ns[0]) for s in rows),
        "train_stop_ns": max(int(bars[s].close_ns[r.train_stop - 1]) for s, r in rows.items()),
        "test_start_ns": min(
            int(bars[s].start_ns[r.test_start]) for s, r in rows.items() if r.test_start < r.test_stop
        ),
        "test_stop_ns": max(int(bars[s].close_ns[r.test_stop - 1]) for s, r in rows.items()),
        "train_sessions": list(fold.train_sessions),
        "test_sessions": list(fold.test_sessions),
    }


if __name__ == "__main__":
    run_stage(features)
