"""How often the synergy rule fires: ``python -m benchmarks.synergy_counts [FOLDER]``.

Needs the recorded Chinese futures beside the checkout, or another folder of 5-minute bars. Per instrument: signals of
each kind and patterns of each type, a year, and how many stand on each side.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from benchmarks.record import write
from grandmodel.core.config import FeatureParams
from grandmodel.data.dataset import Dataset
from grandmodel.data.readers import read_dataset
from grandmodel.features.mmd import fit_mmd_reference
from grandmodel.features.strategic import strategic_features
from grandmodel.features.synergy import find_synergy, gap_signals, strategic_signals
from pipelines.workspace import PROJECT

YEAR_NS = 365.25 * 86_400e9


def counts(dataset: Dataset, symbol: str) -> dict[str, float]:
    """Return signals and patterns a year, patterns of each type and side in all."""
    params = FeatureParams()
    tactical, strategic = dataset.tactical[symbol], dataset.strategic[symbol]
    reference = fit_mmd_reference(strategic, 1000, params, seed=1)
    columns = strategic_features(strategic, params, reference, dataset.instruments[symbol].tick_size)
    found = find_synergy(tactical, strategic.close_ns, columns, params)
    signals = strategic_signals(columns)
    years = float(tactical.close_ns[-1] - tactical.start_ns[0]) / YEAR_NS
    types = np.bincount(found.kind, minlength=5)
    return {
        "years": years,
        "mlmi_a_year": np.count_nonzero(signals[:, 0]) / years,
        "nwrqk_a_year": np.count_nonzero(signals[:, 1]) / years,
        "fvg_a_year": np.count_nonzero(gap_signals(tactical, params)) / years,
        "patterns_a_year": np.count_nonzero(found.kind) / years,
        **{f"type_{kind}": int(types[kind]) for kind in range(1, 5)},
        "long": int((found.direction > 0).sum()),
        "short": int((found.direction < 0).sum()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=PROJECT.parent / "shared/data/cn_futures_5m")
    folder = parser.parse_args().folder
    dataset = read_dataset(folder)
    table = {symbol: counts(dataset, symbol) for symbol in dataset.tactical}
    print("instrument  mlmi/y nwrqk/y  fvg/y  patterns/y   types 1..4          long short")
    for symbol, row in table.items():
        types = " ".join(f"{row[f'type_{kind}']:4.0f}" for kind in range(1, 5))
        print(
            f"{symbol:11s} {row['mlmi_a_year']:6.0f} {row['nwrqk_a_year']:7.0f} {row['fvg_a_year']:6.0f}"
            f" {row['patterns_a_year']:11.1f}   {types}  {row['long']:8.0f} {row['short']:5.0f}"
        )
    print(write(f"synergy_{dataset.name}", {"instruments": table}))


if __name__ == "__main__":
    main()
