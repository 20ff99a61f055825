"""Factor betas: what an instrument does when the factors move, estimated on the training fold with its uncertainty.

Ordinary least squares with an intercept; standard errors are White's, robust to changing variance (White 1980; the
factor T / (T - K) is HC1 of MacKinnon and White 1985). They are too small where one bar decides the fit, so such a fit
is refused. The sign of every beta is what the training fold says: nothing makes bonds rise when shares fall. A beta of
a calm fold is not that of a panic, and the error does not know that.

A scenario rarely knows all factors. Then betas are estimated on those that it knows, which gives the instrument its
expected move with the unknown factors moving as they did in training, not standing still.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import DataError
from grandmodel.stats.folds import Fold

Floats = NDArray[np.float64]

ROWS_MIN = 60
ROWS_PER_FACTOR_MIN = 20
LEVERAGE_MAX = 0.5  # of one bar: what it alone decides of its own fitted value
CONDITION_MAX = 1e6  # of the correlations of factors with one another


@dataclass(frozen=True)
class TrainingMoves:
    """Returns of instruments and moves of factors over the same bars, of the training fold alone."""

    symbols: tuple[str, ...]
    returns: Floats  # float64[T, N], simple returns; NaN where an instrument did not trade
    factors: tuple[str, ...]
    moves: Floats  # float64[T, F], in the unit of each factor's name; NaN where unknown


@dataclass(frozen=True)
class FactorBetas:
    """Least squares of each instrument on the factors. N instruments, F factors."""

    symbols: tuple[str, ...]
    factors: tuple[str, ...]
    beta: Floats  # float64[N, F], return per unit of the factor
    covariance: Floats  # float64[N, F, F] of the betas, White's
    residual_deviation: Floats  # float64[N], of one bar
    r_squared: Floats  # float64[N]
    rows: NDArray[np.int64]  # int64[N], bars used
    proxy: tuple[str, ...]  # the symbol whose betas these are; its own as a rule

    @property
    def standard_error(self) -> Floats:
        """Return float64[N, F]."""
        return np.asarray(np.sqrt(np.diagonal(self.covariance, axis1=1, axis2=2)))

    def expected(self, moves: Mapping[str, float]) -> tuple[Floats, Floats]:
        """Return each instrument's expected return and its standard error for ``moves`` of exactly these factors.

        Both float64[N]. The intercept is left out: it is the drift of a bar, not of a shock. Raises DataError when
        ``moves`` names other factors or holds a value that is not finite.
        """
        if set(moves) != set(self.factors):
            raise DataError("factor moves", f"must name {sorted(self.factors)}", sorted(moves))
        vector = np.array([moves[name] for name in self.factors], float)
        if not np.isfinite(vector).all():
            raise DataError("factor moves", "must be finite", dict(moves))
        return self.beta @ vector, np.sqrt(np.einsum("f,nfg,g->n", vector, self.covariance, vector))


def training_moves(
    returns: Mapping[str, Floats], moves: Mapping[str, Floats], fold: Fold, *, factors: Sequence[str] | None = None
) -> TrainingMoves:
    """Cut returns and factor moves to the training rows of ``fold``.

    Args:
        returns: symbol to float64[T] simple returns, one row a bar, NaN where it did not trade.
        moves: factor to float64[T] on the same rows, NaN where unknown.
        fold: its ``train_start`` and ``train_stop`` are rows of these columns.
        factors: the factors to keep, in order; all by default.

    Raises:
        DataError: no column, lengths that differ, a value that is infinite, a factor that is missing, an empty fold.
    """
    names = tuple(moves) if factors is None else tuple(factors)
    missing = [name for name in names if name not in moves]
    if missing or not names or not returns:
        raise DataError("factor betas", "needs returns and every factor asked for", missing, "Give their moves")
    columns = {**{name: moves[name] for name in names}, **returns}
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1 or max(lengths.values()) < fold.train_stop:
        raise DataError("factor betas", f"columns must have one length, {fold.train_stop} or more", lengths)
    rows = slice(fold.train_start, fold.train_stop)
    for name, column in columns.items():
        if np.isinf(column[rows]).any():
            raise DataError(f"{name} in the training fold", "must not be infinite")
    if fold.train_stop <= fold.train_start:
        raise DataError("factor betas", "the training fold must hold rows", (fold.train_start, fold.train_stop))
    return TrainingMoves(
        tuple(returns),
        np.column_stack([np.asarray(column, float)[rows] for column in returns.values()]),
        names,
        np.column_stack([np.asarray(moves[name], float)[rows] for name in names]),
    )


def estimate_betas(
    training: TrainingMoves,
    factors: Sequence[str] | None = None,
    *,
    symbols: Sequence[str] | None = None,
    proxies: Mapping[str, str] | None = None,
) -> FactorBetas:
    """Regress each instrument on the factors over the bars on which it and all of them are known.

    Args:
        training: of the training fold.
        factors: the subset to use; all by default.
        symbols: the instruments wanted; all by default.
        proxies: for an instrument with too few bars, the instrument whose betas it takes, told in the result.

    Raises:
        DataError: an unknown factor or symbol; too few bars and no proxy; a factor that never or seldom moves or
            follows from the others; one bar that decides the fit; a return that is infinite.
    """
    names = training.factors if factors is None else tuple(factors)
    unknown = [name for name in names if name not in training.factors]
    if unknown or not names:
        raise DataError("factor betas", f"only {list(training.factors)} have moves", unknown, "Give their moves")
    wanted = training.symbols if symbols is None else tuple(symbols)
    strangers = [symbol for symbol in wanted if symbol not in training.symbols]
    if strangers or not wanted:
        raise DataError("factor betas", "need returns in the training fold", strangers, "Give their returns")
    moves = training.moves[:, [training.factors.index(name) for name in names]]
    known = np.asarray(np.isfinite(moves).all(axis=1))
    needed = max(ROWS_MIN, ROWS_PER_FACTOR_MIN * len(names))
    columns = [training.symbols.index(symbol) for symbol in wanted]
    taken = [_enough(training, column, known, needed, proxies or {}) for column in columns]
    fitted = {
        column: _regress(
            training.symbols[column], training.returns[:, column], moves, known & ~np.isnan(training.returns[:, column])
        )
        for column in sorted(set(taken))
    }
    parts = [fitted[column] for column in taken]
    return FactorBetas(
        wanted,
        names,
        np.array([part.beta for part in parts]),
        np.array([part.covariance for part in parts]),
        np.array([part.residual_deviation for part in parts]),
        np.array([part.r_squared for part in parts]),
        np.array([part.rows for part in parts], np.int64),
        tuple(training.symbols[column] for column in taken),
    )


@dataclass(frozen=True)
class _Fit:
    beta: Floats
    covariance: Floats
    residual_deviation: float
    r_squared: float
    rows: int


def _enough(
    training: TrainingMoves, column: int, known: NDArray[np.bool_], needed: int, proxies: Mapping[str, str]
) -> int:
    """Return the column to regress for this one: itself, or its proxy where it has too few bars."""
    symbol = training.symbols[column]
    rows = int((known & ~np.isnan(training.returns[:, column])).sum())
    if rows >= needed:
        return column
    proxy = proxies.get(symbol, "")
    if proxy in training.symbols and proxy != symbol:
        return _enough(training, training.symbols.index(proxy), known, needed, {})
    rule = f"needs {needed} training bars on which it and all factors are known"
    raise DataError(f"factor betas of {symbol}", rule, rows, "Name a proxy, state its moves, or give more history")


def _regress(symbol: str, returns: Floats, moves: Floats, rows: NDArray[np.bool_]) -> _Fit:
    y, x = returns[rows], moves[rows]
    if not np.isfinite(y).all():
        raise DataError(f"returns of {symbol}", "must not be infinite")
    deviation, moved = x.std(axis=0), np.count_nonzero(x, axis=0)
    if not (deviation > 0).all():
        raise DataError(f"factor betas of {symbol}", "every factor must move in the training fold", deviation.tolist())
    if (moved < ROWS_PER_FACTOR_MIN).any():
        rule = f"every factor must move on {ROWS_PER_FACTOR_MIN} bars of the training fold"
        raise DataError(f"factor betas of {symbol}", rule, moved.tolist(), "Give more history")
    # Standardised, because yields in basis points and returns differ by four powers of ten.
    design = np.column_stack([np.ones(len(y)), (x - x.mean(axis=0)) / deviation])
    inverse_scale = 1.0 / np.append(1.0, deviation)
    condition = float(np.linalg.cond(design.T @ design))
    if not condition < CONDITION_MAX:
        raise DataError(f"factor betas of {symbol}", "no factor may follow from the others", condition, "Drop one")
    bread = np.linalg.inv(design.T @ design)
    leverage = float(np.einsum("tf,fg,tg->t", design, bread, design).max())
    if leverage > LEVERAGE_MAX:
        rule = f"no bar may decide more than {LEVERAGE_MAX:g} of its own fit"
        raise DataError(f"factor betas of {symbol}", rule, leverage, "Give more history")
    coefficients = bread @ (design.T @ y)
    residual = y - design @ coefficients
    spare = len(y) - design.shape[1]
    meat = (design * (residual**2)[:, None]).T @ design
    covariance = bread @ meat @ bread * (len(y) / spare) * np.outer(inverse_scale, inverse_scale)
    total = float(((y - y.mean()) ** 2).sum())
    return _Fit(
        (coefficients * inverse_scale)[1:],
        covariance[1:, 1:],
        float(np.sqrt((residual**2).sum() / spare)),
        1.0 - float((residual**2).sum()) / total if total > 0 else float("nan"),
        len(y),
    )
