"""The feature specification of a release: all that was fitted on its training span, per instrument.

The same object scales features in training, in out-of-sample replay and in serving; it travels in the bundle as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.bars import Bars
from grandmodel.core.config import FeatureParams, MarketParams
from grandmodel.core.errors import DataError
from grandmodel.core.instrument import Instrument
from grandmodel.features.columns import STRATEGIC_COLUMNS, TACTICAL_COLUMNS, feature_fingerprint
from grandmodel.features.mmd import MmdReference, fit_mmd_reference_over
from grandmodel.features.scaler import FittedScaler, Span, fit_scaler
from grandmodel.features.strategic import strategic_features
from grandmodel.features.tactical import tactical_features
from grandmodel.market.tape import bars_per_year, leverage_over

Range = tuple[int, int]  # rows [first, stop)


@dataclass(frozen=True)
class SymbolSpec:
    """What was fitted for one instrument. ``tactical`` is None where only 30-minute bars exist."""

    instrument: Instrument
    leverage: float  # notional over equity at position 1
    reference: MmdReference
    strategic: FittedScaler
    tactical: FittedScaler | None


@dataclass(frozen=True)
class FeatureSpec:
    """Fitted state of every instrument, and the windows the columns were computed with."""

    params: FeatureParams
    symbols: dict[str, SymbolSpec]

    def strategic(self, bars: Bars, *, unseen: Sequence[Range] = ()) -> NDArray[np.float32]:
        """Return the scaled strategic columns float32[T, 13]; rows that are not warm yet are 0.

        Raises LeakageError when a row of the ranges ``unseen`` [first, stop) was fitted on.
        """
        spec = self._of(bars.symbol)
        columns = strategic_features(bars, self.params, spec.reference, spec.instrument.tick_size)
        return _scaled(spec.strategic, columns, bars, unseen)

    def tactical(self, bars: Bars, *, unseen: Sequence[Range] = ()) -> NDArray[np.float32]:
        """Return the scaled tactical columns float32[T, 7]. Raises as ``strategic``."""
        scaler = self._of(bars.symbol).tactical
        if scaler is None:
            raise DataError(bars.symbol, "this release has no tactical team: it was trained on 30-minute bars")
        return _scaled(scaler, tactical_features(bars, self.params), bars, unseen)

    @property
    def leverage(self) -> dict[str, float]:
        """Notional over equity at position 1, per instrument."""
        return {symbol: spec.leverage for symbol, spec in self.symbols.items()}

    @property
    def instruments(self) -> dict[str, Instrument]:
        """Every instrument of the release."""
        return {symbol: spec.instrument for symbol, spec in self.symbols.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for ``feature_spec.json``."""
        return {
            "fingerprint": feature_fingerprint(),
            "params": self.params.model_dump(),
            "symbols": {
                symbol: {
                    "instrument": spec.instrument.model_dump(),
                    "leverage": spec.leverage,
                    "reference": spec.reference.to_dict(),
                    "strategic": spec.strategic.to_dict(),
                    "tactical": spec.tactical.to_dict() if spec.tactical else None,
                }
                for symbol, spec in self.symbols.items()
            },
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> FeatureSpec:
        """Rebuild a specification. Raises DataError when it was made by other feature definitions."""
        if content["fingerprint"] != feature_fingerprint():
            rule = f"it must be made by this version's features ({feature_fingerprint()[:12]})"
            raise DataError("feature specification", rule, content["fingerprint"][:12], "Train the release again")
        symbols = {
            symbol: SymbolSpec(
                Instrument(**item["instrument"]),
                float(item["leverage"]),
                MmdReference.from_dict(item["reference"]),
                FittedScaler.from_dict(item["strategic"]),
                FittedScaler.from_dict(item["tactical"]) if item["tactical"] else None,
            )
            for symbol, item in content["symbols"].items()
        }
        return cls(FeatureParams(**content["params"]), symbols)

    def _of(self, symbol: str) -> SymbolSpec:
        if symbol not in self.symbols:
            raise DataError(symbol, "it must be an instrument of the release", sorted(self.symbols))
        return self.symbols[symbol]


def _scaled(
    scaler: FittedScaler, columns: NDArray[np.float64], bars: Bars, unseen: Sequence[Range]
) -> NDArray[np.float32]:
    table = scaler.transform(columns, bars.start_ns, unseen=False)
    for first, stop in unseen:
        table[first:stop] = scaler.transform(columns[first:stop], bars.start_ns[first:stop], unseen=True)
    return table


def fit_symbol(
    bars30: Bars,
    bars5: Bars | None,
    train_rows30: Sequence[Range],
    train_rows5: Sequence[Range],
    instrument: Instrument,
    seed: int,
    params: FeatureParams,
    market: MarketParams,
    holes_ns: tuple[Span, ...] = (),
) -> SymbolSpec:
    """Fit leverage, reference windows and scalers of one instrument on its training rows alone.

    Rows are ranges [first, stop) of the bars, oldest first; nothing is computed across the gap between two of them.
    ``holes_ns`` are the tested spans before or between the ranges.
    """
    train30 = [bars30.rows(first, stop) for first, stop in train_rows30]
    reference = fit_mmd_reference_over(train30, params, seed)
    values = [strategic_features(bars, params, reference, instrument.tick_size) for bars in train30]
    strategic = _fit_scaler(values, train30, STRATEGIC_COLUMNS, params, holes_ns)
    tactical = None
    if bars5 is not None:
        train5 = [bars5.rows(first, stop) for first, stop in train_rows5]
        values = [tactical_features(bars, params) for bars in train5]
        tactical = _fit_scaler(values, train5, TACTICAL_COLUMNS, params, holes_ns)
    leverage = leverage_over(train30, bars_per_year(instrument, bars30.bar_minutes), market)
    return SymbolSpec(instrument, leverage, reference, strategic, tactical)


def _fit_scaler(
    values: Sequence[NDArray[np.float64]],
    stretches: Sequence[Bars],
    names: Sequence[str],
    params: FeatureParams,
    holes_ns: tuple[Span, ...],
) -> FittedScaler:
    table, start_ns = np.concatenate(values), np.concatenate([bars.start_ns for bars in stretches])
    return fit_scaler(table, start_ns, len(table), names, params.scaled_abs_max, holes_ns)
