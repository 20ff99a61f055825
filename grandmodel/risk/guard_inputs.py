"""What the guard is told, and what of it cannot be used. A fault is a sentence for a person; any fault only reduces."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from grandmodel.risk.guard_state import GuardState
from grandmodel.risk.limits import TOLERANCE, where_true

Vector = NDArray[np.float64]

ALARMS_THAT_CUT = ("HIGH", "CRITICAL")
ALARMS = ("NONE", *ALARMS_THAT_CUT)  # names of shock.Severity; its UNKNOWN is none of them, so it reduces


@dataclass(frozen=True)
class Book:
    """What is held now."""

    equity: float  # money
    quantity: Sequence[float] | Vector  # [N] signed, in contracts or units


@dataclass(frozen=True)
class RiskNumbers:
    """What is known of the risk of the book as it is held. Losses are positive, fractions are of equity."""

    value_at_risk_frac: float  # 99 %, one day
    adverse_move_frac: Sequence[float] | Vector  # [N] move against the position that its trade is meant to survive
    correlation: Sequence[Sequence[float]] | Vector  # [N, N] of returns
    alarm: str = "NONE"  # of the correlation shock detector; one of ALARMS


@dataclass(frozen=True)
class Inputs:
    """The same as columns of the right length, with what stands in for the unknown, and what was wrong."""

    equity: float  # as given; not finite where it is not known
    equity_is_usable: bool
    equity_for_exposure: float  # positive: the last known one where this one cannot be used
    quantity: Vector  # [N]; NaN where not known
    price: Vector  # [N] positive: the last known one where this one cannot be used
    target: Vector  # [N]; what is held where it is not known, and 0 where that is not known either
    value_at_risk: float
    adverse_move: Vector  # [N]
    correlation: Vector  # [N, N]
    alarm: str  # reason of the cut, or empty
    clock_ns: int
    faults: tuple[str, ...]


def read_inputs(
    state: GuardState,
    book: Book | None,
    prices: Sequence[float] | Vector | None,
    targets: Sequence[float] | Vector | None,
    risk: RiskNumbers | None,
    clock_ns: int,
) -> Inputs:
    """Return what can be used of the inputs of a decision, and a fault for each that cannot. Raises nothing."""
    n = len(state.symbols)
    equity = _scalar(getattr(book, "equity", None))
    usable = math.isfinite(equity) and equity > 0
    quantity = _array(getattr(book, "quantity", None), (n,))
    price, target = _array(prices, (n,)), _array(targets, (n,))
    adverse = _array(getattr(risk, "adverse_move_frac", None), (n,))
    correlation = _array(getattr(risk, "correlation", None), (n, n))
    value_at_risk = _scalar(getattr(risk, "value_at_risk_frac", None))
    alarm = getattr(risk, "alarm", None)
    faults = [f"equity is {equity}"] if not math.isfinite(equity) else []
    if not (np.isfinite((quantity, price, target, adverse)).all() and price.min() > 0 and adverse.min() > 0):
        faults += _column_faults(state.symbols, quantity, price, target, adverse)
        price = np.where(np.isfinite(price) & (price > 0), price, np.array(state.prices))
        target = np.where(np.isfinite(target), target, np.where(np.isfinite(quantity), quantity, 0.0))
    if not (math.isfinite(value_at_risk) and value_at_risk >= 0):
        faults.append(f"value at risk is {value_at_risk}")
    if not _are_correlations(correlation):
        faults.append("the correlations are not all known and possible")
    if not (isinstance(alarm, str) and alarm in ALARMS):
        faults.append(f"alarm is {alarm!r}")
        alarm = "NONE"
    is_time = isinstance(clock_ns, int | np.integer) and clock_ns >= state.clock_ns
    if not is_time:
        faults.append(f"the clock says {clock_ns} after {state.clock_ns}")
    return Inputs(
        equity=equity,
        equity_is_usable=usable,
        equity_for_exposure=equity if usable else state.equity,
        quantity=quantity,
        price=price,
        target=target,
        value_at_risk=value_at_risk,
        adverse_move=adverse,
        correlation=correlation,
        alarm=f"correlation shock {alarm}" if alarm in ALARMS_THAT_CUT else "",
        clock_ns=int(clock_ns) if is_time else state.clock_ns,
        faults=tuple(faults),
    )


def _are_correlations(matrix: Vector) -> bool:
    """Say whether all are known, symmetric and 1 on the diagonal. The limits use pairs, so pairs alone are judged."""
    within = (np.abs(matrix) <= 1.0 + TOLERANCE).all() and (np.abs(matrix - matrix.T) <= TOLERANCE).all()
    return bool(within and (np.abs(matrix.diagonal() - 1.0) <= TOLERANCE).all())


def _scalar(value: object) -> float:
    return float(_array(value, ()))


def _array(values: object, shape: tuple[int, ...]) -> Vector:
    """Return float64 of ``shape``: a copy, or NaN throughout where ``values`` are nothing of the kind."""
    try:
        if isinstance(values, np.ma.MaskedArray):  # what is masked is not known, whatever lies under the mask
            values = np.ma.filled(values.astype(np.float64), np.nan)
        array = np.array(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        return np.full(shape, np.nan)
    return array if array.shape == shape else np.full(shape, np.nan)


def _column_faults(names: Sequence[str], quantity: Vector, price: Vector, target: Vector, adverse: Vector) -> list[str]:
    return [
        *_faults("quantity", quantity, np.isfinite(quantity), names),
        *_faults("price", price, np.isfinite(price) & (price > 0), names),
        *_faults("target", target, np.isfinite(target), names),
        *_faults("adverse move", adverse, np.isfinite(adverse) & (adverse > 0), names),
    ]


def _faults(what: str, values: Vector, good: NDArray[np.bool_], names: Sequence[str]) -> list[str]:
    if good.all():
        return []
    bad = where_true(~good)
    more = f" and {len(bad) - 1} more" if len(bad) > 1 else ""
    return [f"{what} of {names[bad[0]]} is {values[bad[0]]}{more}"]
