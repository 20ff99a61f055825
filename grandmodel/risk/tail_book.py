"""VaR and ES of a book of N assets by all six methods, in one compiled call a bar, over kept state.

Kept are the returns of the last T bars, the P&L they would have given the present weights, the EWMA covariance and its
triangular factor. A bar costs O(N^2 + T); weights other than those of the bar before cost O(N T) more, because the P&L
window is then another. Each number is what the method of ``tail`` gives for that P&L window, so it does not depend on
how the window came about.

**Weights** are signed fractions of equity, shorts negative; a position of an asset in absolute shocks
(``tail_prices``) is its exposure instead. A book without a position has no risk: all numbers are 0.

**Horizons.** One bar, one day and ten days. A longer horizon takes the one-bar number times the square root of its
bars, for all methods alike. Overlapping sums of a window would hold T / horizon independent values (6 days in 500
five-minute bars), hence no 99 % quantile. The rule is exact for independent normal changes without drift; it
understates where volatility clusters or prices trend and overstates where they revert; skewness and kurtosis, which
sums lose, are kept. Where enough history exists, hand daily returns to the methods of ``tail`` instead.

**Refusal.** A return or weight that is not finite, fewer than T bars, assets whose covariance is singular and a P&L
that does not vary give NaN and the reason; a method whose VaR is not positive has no number of its own. A row with a
return that is not finite is not taken in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.risk.covariance import LARGEST_RETURN, checked_row
from grandmodel.risk.tail import (
    EWMA_LAMBDA,
    LEVELS,
    METHODS,
    NO_LOSS,
    NO_VARIATION,
    OUT_OF_RANGE,
    OUTSIDE_DOMAIN,
    STILL,
    TOO_STILL,
    TailRisk,
)
from grandmodel.risk.tail_allocation import Allocation, allocate
from grandmodel.risk.tail_book_kernel import (
    CURSOR,
    DETAIL,
    FLAT,
    IN_DOMAIN,
    RETURN,
    SEEN,
    SINGULAR,
    STOPPED,
    TOO_FEW,
    WEIGHT,
    BookState,
    advance,
    start_covariance,
)
from grandmodel.risk.tail_kernel import tail_constants

Floats = NDArray[np.float64]
HORIZONS = ("bar", "day", "ten_days")
METHOD_NAMES = tuple(METHODS)


@dataclass(frozen=True, slots=True)
class BookTails:
    """The tail of a book after a bar: positive fractions of equity; all NaN where ``reason`` says why."""

    tails: Floats  # [3 horizons, 6 methods, L levels, (VaR, ES)]
    reason: str
    cornish_fisher_in_domain: bool
    levels: tuple[float, ...]
    horizon_bars: tuple[int, ...]
    window_bars: int

    def of(self, method: str, level: float, horizon: str = "bar") -> TailRisk:
        """Return one method at one level and horizon. Raises ConfigError on a name or level this book has not."""
        if method not in METHOD_NAMES or level not in self.levels or horizon not in HORIZONS:
            known = f"must be of {METHOD_NAMES}, {self.levels}, {HORIZONS}"
            raise ConfigError("tail of the book", known, (method, level, horizon))
        place = HORIZONS.index(horizon)
        var, es = self.tails[place, METHOD_NAMES.index(method), self.levels.index(level)]
        reason = self.reason
        if not reason and method == "cornish_fisher" and not self.cornish_fisher_in_domain:
            reason = OUTSIDE_DOMAIN
        elif not reason and math.isnan(var):
            reason = NO_LOSS
        return TailRisk(float(var), float(es), level, self.window_bars, reason, self.horizon_bars[place])


class BookRisk:
    """The tail of one book, bar by bar."""

    def __init__(
        self,
        assets: int,
        window_bars: int,
        *,
        bars_per_day: int = 1,
        levels: tuple[float, ...] = LEVELS,
        decay: float = EWMA_LAMBDA,
        seed: int = 0,
    ) -> None:
        """Make room for ``assets`` and ``window_bars``.

        Raises:
            ConfigError: no asset, no bar in a day, or what ``tail_constants`` refuses.
        """
        if assets < 1 or bars_per_day < 1:
            raise ConfigError("book", "needs at least one asset and one bar a day", (assets, bars_per_day))
        self.assets, self.window_bars, self.levels = assets, window_bars, levels
        self.decay, self.seed = decay, seed
        self.constants = tail_constants(window_bars, levels, decay, seed)
        self.horizon_bars = (1, bars_per_day, 10 * bars_per_day)
        self._roots = np.sqrt(np.array(self.horizon_bars, np.float64))
        self.state = BookState(
            rows=np.zeros((assets, window_bars)),
            pnl=np.zeros(2 * window_bars),
            weights=np.full(assets, np.nan),
            covariance=np.zeros((assets, assets)),
            factor=np.zeros((assets, assets)),
            marks=np.zeros(5, np.int64),
            scratch=np.empty((2, window_bars)),
            row=np.empty(assets),
            tails=np.empty((6, len(levels), 2)),
        )

    def load(self, returns: Floats) -> None:
        """Take in history at once: float64[T', N], oldest first; the newest ``window_bars`` rows replace all kept.

        Raises:
            DataError: the columns are not the assets, the rows too few, or a value is not finite.
        """
        newest = np.asarray(returns, np.float64)[-self.window_bars :]
        if newest.shape != (self.window_bars, self.assets):
            rule = f"must be at least {self.window_bars} rows of {self.assets} assets"
            raise DataError("history of the book", rule, np.shape(returns))
        if not bool((np.abs(newest) <= LARGEST_RETURN).all()):
            raise DataError("history of the book", "every return must be finite")
        self.state.rows[:] = newest.T
        self.state.weights[:] = np.nan
        self.state.marks[:] = 0
        self.state.marks[SEEN] = self.window_bars
        start_covariance(self.state, self.decay)

    def update(self, returns: Floats, weights: Floats) -> BookTails:
        """Take in the bar's ``returns`` (float64[N]) and return the tail of the book at ``weights`` (float64[N])."""
        row, held = checked_row(returns, self.assets), checked_row(weights, self.assets)
        tails = np.empty((3, 6, len(self.levels), 2))
        return self._answer(advance(self.state, self.constants, row, held, self._roots, True, tails), tails)

    def measure(self, weights: Floats) -> BookTails:
        """Return the tail of the book at other ``weights`` (float64[N]) without a new bar."""
        held = checked_row(weights, self.assets)
        tails = np.empty((3, 6, len(self.levels), 2))
        return self._answer(advance(self.state, self.constants, held, held, self._roots, False, tails), tails)

    def allocate(self, weights: Floats, level: float, method: str) -> Allocation:
        """Split the risk of ``weights`` (float64[N]) by asset; NaN where the book refuses. Errors as ``allocate``."""
        reason = self.measure(weights).reason
        if reason:
            unknown = np.full(self.assets, math.nan)
            return Allocation(unknown, unknown, unknown, unknown, reason)
        return allocate(self.returns(), np.asarray(weights, np.float64), level, method, self.decay, self.seed)

    def returns(self) -> Floats:
        """Return the kept returns, float64[bars seen, N], oldest first."""
        seen, cursor = int(self.state.marks[SEEN]), int(self.state.marks[CURSOR])
        return np.roll(self.state.rows, -cursor, axis=1)[:, self.window_bars - seen :].T.copy()

    def _answer(self, code: int, tails: Floats) -> BookTails:
        reason = self._reason(code) if code else ""
        in_domain = bool(self.state.marks[IN_DOMAIN])
        return BookTails(tails, reason, in_domain, self.levels, self.horizon_bars, self.window_bars)

    def _reason(self, code: int) -> str:
        asset = int(self.state.marks[DETAIL])
        return {
            RETURN: f"the return of asset {asset} is not finite",
            WEIGHT: f"the weight of asset {asset} is not finite",
            TOO_FEW: f"{self.state.marks[SEEN]} of {self.window_bars} bars seen",
            SINGULAR: f"the covariance is singular: asset {asset} is a combination of those before it or never moves",
            FLAT: NO_VARIATION,
            STOPPED: f"{OUT_OF_RANGE}, or {STILL}, or {TOO_STILL}",
        }[code]
