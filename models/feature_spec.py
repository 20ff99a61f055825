"""The feature specification of a release: all that was fitted on its training span, per instrument.

The same object scales features in training, in out-of-sample replay and in serving; it travels in the bundle as JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.bars import Bars
from grandmodel.core.config import FeatureParams, MarketParams
from grandmodel.core.errors import DataError
from grandmodel.core.instrument import Instrument
from grandmodel.features.columns import STRATEGIC_COLUMNS, TACTICAL_COLUMNS, feature_fingerprint
from grandmodel.features.mmd import MmdReference, fit_mmd_reference
from grandmodel.features.scaler import FittedScaler, fit_scaler
from grandmodel.features.strategic import strategic_features
from grandmodel.features.tactical import tactical_features
from grandmodel.market.tape import bars_per_year, leverage_of


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

    def strategic(self, bars: Bars, *, unseen_from: int | None = None) -> NDArray[np.float32]:
        """Return the scaled strategic columns float32[T, 13]; rows that are not warm yet are 0.

        Raises LeakageError when a row from ``unseen_from`` on lies inside the fitted span.
        """
        spec = self._of(bars.symbol)
        columns = strategic_features(bars, self.params, spec.reference, spec.instrument.tick_size)
        return _scaled(spec.strategic, columns, bars, unseen_from)

    def tactical(self, bars: Bars, *, unseen_from: int | None = None) -> NDArray[np.float32]:
        """Return the scaled tactical columns float32[T, 7]. Raises as ``strategic``."""
        scaler = self._of(bars.symbol).tactical
        if scaler is None:
            raise DataError(bars.symbol, "this release has no tactical team: it was trained on 30-minute bars")
        return _scaled(scaler, tactical_features(bars, self.params), bars, unseen_from)

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
    scaler: FittedScaler, columns: NDArray[np.float64], bars: Bars, unseen_from: int | None
) -> NDArray[np.float32]:
    row = len(bars) if unseen_from is None else unseen_from
    seen = scaler.transform(columns[:row], bars.start_ns[:row], unseen=False)
    return np.concatenate([seen, scaler.transform(columns[row:], bars.start_ns[row:], unseen=True)])


def fit_symbol(
    bars30: Bars,
    bars5: Bars | None,
    train_stop30: int,
    train_stop5: int,
    instrument: Instrument,
    seed: int,
    params: FeatureParams,
    market: MarketParams,
) -> SymbolSpec:
    """Fit leverage, reference windows and scalers of one instrument on its training rows alone."""
    reference = fit_mmd_reference(bars30, train_stop30, params, seed)
    train30 = bars30.rows(0, train_stop30)
    strategic = fit_scaler(
        strategic_features(train30, params, reference, instrument.tick_size),
        train30.start_ns,
        train_stop30,
        STRATEGIC_COLUMNS,
        params.scaled_abs_max,
    )
    tactical = None
    if bars5 is not None:
        train5 = bars5.rows(0, train_stop5)
        values = tactical_features(train5, params)
        tactical = fit_scaler(values, train5.start_ns, train_stop5, TACTICAL_COLUMNS, params.scaled_abs_max)
    leverage = leverage_of(bars30, train_stop30, bars_per_year(instrument, bars30.bar_minutes), market)
    return SymbolSpec(instrument, leverage, reference, strategic, tactical)
