"""Market tapes of one fold: the same rows for training, evaluation and the sanity checks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from safetensors.numpy import load_file

from grandmodel.core.bars import Bars
from grandmodel.core.config import MarketParams
from grandmodel.data.dataset import Dataset
from grandmodel.market.tape import MarketTape, build_tape
from models.feature_spec import FeatureSpec
from models.release import Tapes


@dataclass(frozen=True)
class FoldMarket:
    """One fold's market from the first training bar to the last test bar, and where training ends and test starts."""

    number: int
    spec: FeatureSpec
    tapes: Tapes
    train_ns: tuple[int, int]
    test_ns: tuple[int, int]

    @property
    def train(self) -> Tapes:
        """The rows that training may see."""
        return self.tapes.window(*self.train_ns)

    @property
    def test(self) -> Tapes:
        """The rows out of sample."""
        return self.tapes.window(*self.test_ns)


def fold_folders(features: Path) -> list[Path]:
    """Return the folders of all folds, oldest first."""
    return sorted(features.glob("fold_*"), key=lambda path: int(path.name.removeprefix("fold_")))


def load_fold(folder: Path, dataset: Dataset, params: MarketParams) -> FoldMarket:
    """Build the tapes of one fold from its scaled features and the bars."""
    about = json.loads((folder / "fold.json").read_text())
    spec = FeatureSpec.from_dict(json.loads((folder / "feature_spec.json").read_text()))
    columns = load_file(folder / "features.safetensors")

    def tape(clock: str, bars: dict[str, Bars]) -> MarketTape:
        values = {symbol: columns[f"{clock}/{symbol}"] for symbol in bars if symbol in spec.symbols}
        seen = {symbol: bars[symbol].rows(0, len(rows)) for symbol, rows in values.items()}
        return build_tape(seen, values, spec.instruments, params, spec.leverage)

    return FoldMarket(
        number=about["number"],
        spec=spec,
        tapes=Tapes(
            tape("strategic", dataset.strategic), tape("tactical", dataset.tactical) if dataset.tactical else None
        ),
        train_ns=(about["train_start_ns"], about["train_stop_ns"]),
        test_ns=(about["test_start_ns"], about["test_stop_ns"]),
    )
