"""From scenarios to instruments: the move of every instrument in every scenario, and how it was found.

In this order: what the scenario states for every price; a change in points stated for the symbol; a listed move that
the symbol follows; its factor betas; a listed move that its class follows. A hole is NaN with the reason, never zero.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import DataError
from grandmodel.core.instrument import AssetClass
from grandmodel.risk.betas import FactorBetas, TrainingMoves, estimate_betas
from grandmodel.risk.historical import Library, StressScenario

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ShockTable:
    """Moves of N instruments in S scenarios."""

    scenarios: tuple[StressScenario, ...]
    symbols: tuple[str, ...]
    move_frac: Floats  # float64[S, N]; below -1 only where a stated change in points crosses zero; NaN: not known
    error_frac: Floats  # float64[S, N], standard error from the betas; 0 where the move is stated
    how: tuple[tuple[str, ...], ...]  # S x N: "stated", "points", "follows oil_frac", "beta", "beta of ES", "class ..."
    crosses_zero: NDArray[np.bool_] = field(repr=False)  # bool[S, N], moves in points, for which -1 is no floor

    def holes(self, scenario: int) -> list[str]:
        """Return the symbols without a move in one scenario."""
        return [symbol for symbol, move in zip(self.symbols, self.move_frac[scenario], strict=True) if math.isnan(move)]


@dataclass(frozen=True)
class _Move:
    frac: float
    error_frac: float
    how: str


def map_shocks(
    library: Library,
    symbols: Sequence[str],
    *,
    classes: Mapping[str, AssetClass | None] | None = None,
    prices: Mapping[str, float] | None = None,
    training: TrainingMoves | None = None,
    proxies: Mapping[str, str] | None = None,
) -> ShockTable:
    """Return the move of every instrument in every scenario.

    Args:
        library: scenarios and what follows which move.
        symbols: the instruments of the book, each once.
        classes: symbol to asset class, for moves that hold for a class.
        prices: symbol to price in points, where a scenario states a change in points.
        training: for factor betas; without it there are none. Instruments that are not in it have none.
        proxies: see ``estimate_betas``.

    Raises:
        DataError: no symbol, one named twice, one that moves in no scenario, a price that is not positive and finite,
            training data from which the betas of a symbol in it cannot be estimated.
    """
    names = tuple(symbols)
    if not names or len(set(names)) < len(names):
        raise DataError("stress book", "needs symbols, each once", names)
    for symbol, price in (prices or {}).items():
        if not (math.isfinite(price) and price > 0):
            raise DataError(f"{symbol} price", "must be positive and finite", price)
    estimated: dict[tuple[str, ...], FactorBetas] = {}
    rows: list[list[_Move]] = []
    for scenario in library.scenarios:
        betas = _betas(scenario, names, training, proxies, estimated)
        rows.append(
            [_move(scenario, library, symbol, (classes or {}).get(symbol), prices or {}, betas) for symbol in names]
        )
    table = ShockTable(
        library.scenarios,
        names,
        np.array([[move.frac for move in row] for row in rows]),
        np.array([[move.error_frac for move in row] for row in rows]),
        tuple(tuple(move.how for move in row) for row in rows),
        np.array([[move.how == "points" for move in row] for row in rows]),
    )
    _refuse_strangers(table)
    return table


def _betas(
    scenario: StressScenario,
    symbols: tuple[str, ...],
    training: TrainingMoves | None,
    proxies: Mapping[str, str] | None,
    estimated: dict[tuple[str, ...], FactorBetas],
) -> dict[str, tuple[float, float, str]]:
    """Return move, error and proxy by betas on the factors that this scenario knows."""
    known = tuple(name for name in (training.factors if training else ()) if name in scenario.moves)
    kept = [symbol for symbol in symbols if training and symbol in training.symbols]
    if training is None or not known or not kept:
        return {}
    if known not in estimated:
        estimated[known] = estimate_betas(training, known, symbols=kept, proxies=proxies)
    betas = estimated[known]
    moves: dict[str, float] = {name: value for name, value in scenario.moves.items() if name in known}
    expected, error = betas.expected(moves)
    # A linear model knows no floor; a price does.
    floored = np.maximum(expected, -1.0)
    return {symbol: (float(floored[i]), float(error[i]), betas.proxy[i]) for i, symbol in enumerate(kept)}


def _move(
    scenario: StressScenario,
    library: Library,
    symbol: str,
    kind: AssetClass | None,
    prices: Mapping[str, float],
    betas: Mapping[str, tuple[float, float, str]],
) -> _Move:
    if scenario.all_prices_frac is not None:
        return _Move(scenario.all_prices_frac, 0.0, "stated")
    if symbol in scenario.absolute:
        if symbol not in prices:
            return _Move(math.nan, math.nan, "moves in points, and its price is not known")
        return _Move(scenario.absolute[symbol] / prices[symbol], 0.0, "points")
    follows = library.follows.get("symbols", {}).get(symbol)
    if follows and follows.move in scenario.moves:
        return _Move(follows.price_frac(scenario.moves[follows.move]), 0.0, f"follows {follows.move}")
    if symbol in betas:
        frac, error, proxy = betas[symbol]
        return _Move(frac, error, "beta" if proxy == symbol else f"beta of {proxy}")
    follows = library.follows.get("classes", {}).get(kind or "")
    if follows and follows.move in scenario.moves:
        return _Move(follows.price_frac(scenario.moves[follows.move]), 0.0, f"class {kind} follows {follows.move}")
    return _Move(math.nan, math.nan, "neither stated nor estimated")


def _refuse_strangers(table: ShockTable) -> None:
    """Refuse symbols of which only a shock of every price knows anything."""
    partial = [index for index, scenario in enumerate(table.scenarios) if scenario.all_prices_frac is None]
    if not partial:
        return
    unknown = np.asarray(np.isnan(table.move_frac[partial]).all(axis=0))
    if unknown.any():
        strangers = [symbol for symbol, nothing in zip(table.symbols, unknown, strict=True) if nothing]
        raise DataError("stress book", "no scenario says what happens to", strangers, "Give class or training returns")
