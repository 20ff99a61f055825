"""Scaling fitted on the training rows, which refuses to call those rows unseen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from grandmodel.core.errors import DataError, LeakageError
from grandmodel.features.columns import BOUNDED_COLUMNS, NORMAL_IQR
from grandmodel.features.kernels import Floats

Span = tuple[int, int]  # [start, stop) in UTC nanoseconds


@dataclass(frozen=True, slots=True)
class FittedScaler:
    """Center and scale of each column, and the span they were learnt from, less the holes in it that are tested."""

    names: tuple[str, ...]
    center: tuple[float, ...]
    scale: tuple[float, ...]
    abs_max: float
    fit_start_ns: int
    fit_stop_ns: int  # exclusive
    holes_ns: tuple[Span, ...] = ()  # [start, stop) inside the span; no row of them was fitted on

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.center) == len(self.scale):
            found = (len(self.names), len(self.center), len(self.scale))
            raise DataError("scaler", "names, center and scale must have one length", found)
        if not (np.isfinite(self.center).all() and np.isfinite(self.scale).all() and min(self.scale, default=1.0) > 0):
            raise DataError("scaler", "center must be finite and scale positive", (self.center, self.scale))
        if not (0 < self.abs_max < np.inf and self.fit_start_ns < self.fit_stop_ns):
            span = (self.abs_max, self.fit_start_ns, self.fit_stop_ns)
            raise DataError("scaler", "abs_max must be positive and the fitted span not empty", span)

    def transform(self, values: Floats, start_ns: NDArray[np.int64], *, unseen: bool) -> NDArray[np.float32]:
        """Scale float64[T, F] to float32[T, F]: (value - center) / scale, clipped to +-``abs_max``; NaN becomes 0.

        Args:
            values: raw features; NaN where not warm.
            start_ns: int64[T], start of each row's bar.
            unseen: True where the result is used as if the scaler had not seen these rows (test, replay, serving).

        Raises:
            LeakageError: a row starts before the fitted span, or inside it and in no hole although ``unseen``.
            DataError: the shape does not fit, or a value is infinite.
        """
        _check_shape(values, start_ns, self.names)
        earliest = self.fit_stop_ns if unseen else self.fit_start_ns
        refused = start_ns[(start_ns < earliest) & ~(unseen & inside(start_ns, self.holes_ns))]
        if len(refused):
            rows = "unseen rows" if unseen else "rows"
            rule = f"{rows} must start at {earliest} ns or later" + (", or in a hole" if self.holes_ns else "")
            raise LeakageError("scaler", rule, int(refused.min()), "Use the scaler of the fold that ends before")
        scaled = (values - np.array(self.center)) / np.array(self.scale)
        clipped = np.clip(np.nan_to_num(scaled, nan=0.0), -self.abs_max, self.abs_max)
        return np.ascontiguousarray(clipped, dtype=np.float32)

    def to_dict(self) -> dict[str, Any]:
        """Return plain data for the release's feature spec."""
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        return plain | {"holes_ns": [list(hole) for hole in self.holes_ns]}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> FittedScaler:
        """Rebuild a scaler. Raises DataError when lengths disagree or a scale is not positive."""
        return cls(
            tuple(str(name) for name in content["names"]),
            tuple(float(value) for value in content["center"]),
            tuple(float(value) for value in content["scale"]),
            float(content["abs_max"]),
            int(content["fit_start_ns"]),
            int(content["fit_stop_ns"]),
            tuple((int(start), int(stop)) for start, stop in content.get("holes_ns", ())),
        )


def fit_scaler(
    values: Floats,
    start_ns: NDArray[np.int64],
    train_stop: int,
    names: Sequence[str],
    abs_max: float,
    holes_ns: tuple[Span, ...] = (),
) -> FittedScaler:
    """Fit median and IQR / 1.349 of each column on rows [0, ``train_stop``), NaN left out.

    ``holes_ns`` are the spans [start, stop) before or between those rows that were left out of them to be tested.
    Bounded and cyclic columns keep center 0 and scale 1. A column whose quartiles coincide (mostly one value) takes its
    standard deviation instead, a constant one scale 1.

    Raises:
        DataError: shapes disagree, ``train_stop`` lies outside the rows, a training column is all NaN or infinite.
        LeakageError: a row from ``train_stop`` on starts before the training span ends, or a row before it in a hole.
    """
    _check_shape(values, start_ns, names)
    if not 0 < train_stop <= len(values):
        raise DataError("scaler train_stop", f"must lie in 1..{len(values)}", train_stop)
    stop_ns = int(start_ns[:train_stop].max()) + 1
    later = start_ns[train_stop:]
    if len(later) and int(later.min()) < stop_ns:
        raise LeakageError("scaler", f"rows after train_stop must start at {stop_ns} ns or later", int(later.min()))
    fitted = start_ns[:train_stop]
    if bool(inside(fitted, holes_ns).any()):
        raise LeakageError("scaler", f"no training row may start in the holes {holes_ns}", int(fitted.min()))
    start_of_fit = min([int(fitted.min()), *(start for start, _ in holes_ns)])
    moments = [_center_and_scale(name, values[:train_stop, k]) for k, name in enumerate(names)]
    center, scale = zip(*moments, strict=True)
    return FittedScaler(tuple(names), center, scale, float(abs_max), start_of_fit, stop_ns, holes_ns)


def inside(start_ns: NDArray[np.int64], spans_ns: Sequence[Span]) -> NDArray[np.bool_]:
    """Return which of ``start_ns`` lie in any of ``spans_ns`` [start, stop)."""
    found = np.zeros(len(start_ns), np.bool_)
    for start, stop in spans_ns:
        found |= (start_ns >= start) & (start_ns < stop)
    return found


def _center_and_scale(name: str, column: Floats) -> tuple[float, float]:
    if name in BOUNDED_COLUMNS:
        return 0.0, 1.0
    known = column[~np.isnan(column)]
    if len(known) == 0:
        raise DataError(f"feature {name}", "needs at least one training row that is not NaN", do="Train on more bars")
    low, center, high = np.percentile(known, [25, 50, 75])
    if low == high:
        deviation = float(known.std()) if known.min() < known.max() else 0.0
        return float(center), deviation or 1.0
    return float(center), float(high - low) / NORMAL_IQR


def _check_shape(values: Floats, start_ns: NDArray[np.int64], names: Sequence[str]) -> None:
    if values.shape != (len(start_ns), len(names)):
        raise DataError("features", f"must have shape {(len(start_ns), len(names))}", values.shape)
    infinite = np.isinf(values)
    if bool(infinite.any()):
        row, column = (int(i) for i in np.argwhere(infinite)[0])
        raise DataError(f"feature {names[column]} row {row}", "must not be infinite", float(values[row, column]))
