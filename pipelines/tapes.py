"""Market tapes of one fold: the same rows for training, evaluation and the sanity checks."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from grandmodel.core.bars import Bars
from grandmodel.core.config import MarketParams
from grandmodel.core.errors import DataError
from grandmodel.core.files import write_json_atomic
from grandmodel.data.dataset import Dataset
from grandmodel.features.scaler import Span
from grandmodel.market.tape import MarketTape, build_tape
from models.feature_spec import FeatureSpec
from models.release import Tapes


@dataclass(frozen=True)
class FoldMarket:
    """One fold's market up to its last bar, and the spans [start, stop) of training and test in UTC nanoseconds.

    A walk-forward fold has one span of each. The last combinatorial fold, whose training is released, trains on all
    before its tests too, and these lie side by side.
    """

    number: int
    spec: FeatureSpec
    tapes: Tapes
    train_spans_ns: tuple[Span, ...]
    test_spans_ns: tuple[Span, ...]

    @property
    def train(self) -> Tapes:
        """The rows that training may see, laid as ``MarketTape.windows`` does."""
        return self.tapes.windows(self.train_spans_ns)

    @property
    def trains(self) -> list[Tapes]:
        """The rows that training may see, one pair of tapes for each span."""
        return [self.tapes.window(*span) for span in self.train_spans_ns]

    @property
    def tests(self) -> list[Tapes]:
        """The rows out of sample, one pair of tapes for each span."""
        return [self.tapes.window(*span) for span in self.test_spans_ns]

    @property
    def test(self) -> Tapes:
        """The rows out of sample of a fold whose test spans lie side by side."""
        return self.tapes.window(*self.test_ns)

    @property
    def train_ns(self) -> Span:
        """The span of a fold that is trained in one."""
        (only,) = self.train_spans_ns
        return only

    @property
    def test_ns(self) -> Span:
        """From the first to the last bar of test spans that lie side by side."""
        start, stop = self.test_spans_ns[0][0], self.test_spans_ns[-1][1]
        assert not any(start < first < stop for first, _ in self.train_spans_ns), "a training lies between the tests"
        return start, stop


def fold_folders(features: Path) -> list[Path]:
    """Return the folders of all folds, oldest first."""
    return sorted(features.glob("fold_*"), key=lambda path: int(path.name.removeprefix("fold_")))


def write_trained_on(weights: Path, team: str, tape: MarketTape) -> None:
    """Write beside the weights of a team which sessions its training was given, for gate G1."""
    write_json_atomic(weights / f"{team}_trained_on.json", {"sessions": np.unique(tape.session).tolist()})


def trained_on(weights: Path, team: str) -> frozenset[int]:
    """Return the sessions that the training of a team was given. Raises DataError when it left no record."""
    path = weights / f"{team}_trained_on.json"
    if not path.exists():
        raise DataError(str(path), "a training must say which sessions it was given", "no file", "Train again")
    return frozenset(json.loads(path.read_text())["sessions"])


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
        train_spans_ns=tuple((start, stop) for start, stop in about["train_ns"]),
        test_spans_ns=tuple((start, stop) for start, stop in about["test_ns"]),
    )
