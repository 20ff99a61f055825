"""Bars: the one shape in which prices walk through the house."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import DataError

NS_PER_MINUTE = 60_000_000_000


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars of one instrument on one clock, as equally long contiguous columns.

    Prices are adjusted by ratio so that a contract roll is never a return: ``raw = price / price_factor``.
    A bar is stamped by its start and may be seen only at its close.
    """

    symbol: str
    bar_minutes: int
    start_ns: NDArray[np.int64]  # UTC nanoseconds, strictly increasing
    close_ns: NDArray[np.int64]  # when the bar becomes visible; later than start + length where it spans a halt
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    close: NDArray[np.float64]
    volume: NDArray[np.float64]
    session: NDArray[np.int32]  # exchange trading day, as days since 1970-01-01; never decreasing
    price_factor: NDArray[np.float64]  # 1.0 from the last roll on
    tradable: NDArray[np.bool_]  # False where quality masks the bar: neither trained on nor filled

    def __post_init__(self) -> None:
        lengths = {f.name: len(getattr(self, f.name)) for f in fields(self)[2:]}
        if len(set(lengths.values())) != 1:
            raise DataError(self.symbol, "all columns of Bars must have one length", lengths)
        if len(self.start_ns) > 1 and not bool(np.all(np.diff(self.start_ns) > 0)):
            row = int(np.argmax(np.diff(self.start_ns) <= 0)) + 1
            raise DataError(self.symbol, "bar starts must strictly increase", f"row {row}")
        if bool(np.any(self.close_ns <= self.start_ns)):
            row = int(np.argmax(self.close_ns <= self.start_ns))
            raise DataError(self.symbol, "a bar must close after it starts", f"row {row}")

    def __len__(self) -> int:
        return len(self.start_ns)

    def rows(self, start: int, stop: int) -> Bars:
        """Return bars ``start`` (inclusive) to ``stop`` (exclusive) as views."""
        part = slice(start, stop)
        return replace(self, **{f.name: getattr(self, f.name)[part] for f in fields(self)[2:]})
