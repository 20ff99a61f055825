"""Limits as data: which of them a book or an order breaks, and how they are changed.

The numbers stand in ``configs/`` (``RiskLimits``). Every function here is pure and says what it finds as ``Breach``es,
each with the limit's name, the value found and the bound; what follows from a breach is the guard's business. Exposure
is money over equity and carries the sign of the position.

A limit changes through a line of the ledger and in no other way: ``limit_change`` writes the subject of that line,
somebody with a name appends it, ``line_of_ledger`` takes it out of the ledger that verifies, once and never again, and
``limits_of_line`` reads the new limits out of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from grandmodel.core.config import BreakerLimits, RiskLimits
from grandmodel.core.errors import ConfigError, LedgerError
from grandmodel.core.hashing import hash_json

LIMIT_CHANGE = "limit_change"  # kind of the ledger line
TOLERANCE = 1e-9  # relative: a book scaled down to a limit stands at it, not above it


@dataclass(frozen=True)
class Breach:
    """One limit that does not hold."""

    limit: str  # name of the field in ``RiskLimits``
    value: float  # what was found, in the unit of the limit
    bound: float  # what the limit allows
    symbol: str = ""  # the instrument; empty where the whole book breaks it


class LimitLedger(Protocol):
    """What a change of limits needs of a ledger."""

    def read(self) -> Sequence[object]:
        """Return all lines as dataclasses, oldest first, after verifying them. Raises LedgerError."""


def instrument_cap(limits: RiskLimits, adverse_move_frac: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the largest absolute exposure of each instrument alone: concentration and risk per trade.

    Args:
        limits: what holds.
        adverse_move_frac: float64[N], move of the price against the position that the trade is meant to survive, as a
            fraction of the price; positive. NaN gives NaN.
    """
    return np.minimum(
        limits.concentration_max_frac * limits.gross_exposure_max, limits.trade_risk_max_frac / adverse_move_frac
    )


def same_bet(exposure: NDArray[np.float64], correlation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return float64[N, N]: correlation of the positions (not of the prices); 0 on the diagonal and beside flat ones.

    Long and short of two instruments that move together is a hedge and correlates negatively.
    """
    side = np.sign(exposure)
    pairs = correlation * side[:, None] * side
    np.fill_diagonal(pairs, 0.0)
    return pairs


def book_breaches(
    limits: RiskLimits,
    exposure: NDArray[np.float64],
    adverse_move_frac: NDArray[np.float64],
    correlation: NDArray[np.float64],
    symbols: Sequence[str],
    *,
    gross_cap: float | None = None,
) -> tuple[Breach, ...]:
    """Return every limit that a book of N positions breaks, held or asked for.

    Args:
        limits: what holds.
        exposure: float64[N], finite.
        adverse_move_frac: float64[N], see ``instrument_cap``.
        correlation: float64[N, N] of returns.
        symbols: N names.
        gross_cap: what the breaker leaves of ``gross_exposure_max``, where it has cut.
    """
    size = np.abs(exposure)
    gross, net = float(size.sum()), abs(float(exposure.sum()))
    gross_max = limits.gross_exposure_max if gross_cap is None else min(gross_cap, limits.gross_exposure_max)
    concentration_max = limits.concentration_max_frac * limits.gross_exposure_max
    held = int(np.count_nonzero(exposure))
    found = []
    if _above(gross, gross_max):
        found.append(Breach("gross_exposure_max", gross, gross_max))
    if _above(net, limits.net_exposure_max):
        found.append(Breach("net_exposure_max", net, limits.net_exposure_max))
    if held > limits.positions_max:
        found.append(Breach("positions_max", float(held), float(limits.positions_max)))
    for i in where_true(size > concentration_max * (1 + TOLERANCE)):
        share = float(size[i]) / limits.gross_exposure_max
        found.append(Breach("concentration_max_frac", share, limits.concentration_max_frac, symbols[i]))
    risk = size * adverse_move_frac
    for i in where_true(risk > limits.trade_risk_max_frac * (1 + TOLERANCE)):
        found.append(Breach("trade_risk_max_frac", float(risk[i]), limits.trade_risk_max_frac, symbols[i]))
    if held > 1:
        worst = same_bet(exposure, correlation).max(axis=1)
        for i in where_true(worst > limits.correlation_max):
            found.append(Breach("correlation_max", float(worst[i]), limits.correlation_max, symbols[i]))
    return tuple(found)


def daily_loss_breach(limits: RiskLimits, day_equity: float, equity: float) -> Breach | None:
    """Return the breach of the daily loss, where ``equity`` lost too much of ``day_equity``. Reached is broken."""
    loss = 1.0 - equity / day_equity
    if loss >= limits.daily_loss_max_frac - 1e-12:  # also where 1 - 0.95 falls short of 0.05 by rounding
        return Breach("daily_loss_max_frac", loss, limits.daily_loss_max_frac)
    return None


def value_at_risk_breach(limits: RiskLimits, value_at_risk_frac: float) -> Breach | None:
    """Return the breach of the book's value at risk (99 %, one day, a fraction of equity)."""
    if value_at_risk_frac > limits.value_at_risk_max_frac:
        return Breach("value_at_risk_max_frac", value_at_risk_frac, limits.value_at_risk_max_frac)
    return None


def collar_breaches(
    limits: RiskLimits, price: NDArray[np.float64], reference: NDArray[np.float64], symbols: Sequence[str]
) -> tuple[Breach, ...]:
    """Return the instruments whose price lies farther from ``reference`` than the collar; both float64[N], positive."""
    move = np.abs(price / reference - 1.0)
    return tuple(
        Breach("price_collar_frac", float(move[i]), limits.price_collar_frac, symbols[i])
        for i in where_true(move > limits.price_collar_frac)
    )


def limits_as_record(limits: RiskLimits, breaker: BreakerLimits) -> dict[str, float]:
    """Return both groups as one flat record, with the names that a ledger line uses."""
    groups = {"limits": limits, "breaker": breaker}
    return {f"{group}.{name}": value for group, one in groups.items() for name, value in one.model_dump().items()}


def limit_change(
    limits: RiskLimits, breaker: BreakerLimits, new_limits: RiskLimits, new_breaker: BreakerLimits
) -> dict[str, Any]:
    """Return the subject of the ledger line that changes limits: each changed name with its old and new value.

    Raises:
        ConfigError: nothing changes.
    """
    old, new = limits_as_record(limits, breaker), limits_as_record(new_limits, new_breaker)
    changed = {name: {"from": old[name], "to": new[name]} for name in old if old[name] != new[name]}
    if not changed:
        raise ConfigError("limit change", "must change a limit", do="Leave the limits as they are")
    return {"changed": changed, "limits_sha256": hash_json(new)}


def line_of_ledger(ledger: LimitLedger | None, sequence: int, *, adopted: tuple[int, str]) -> dict[str, Any]:
    """Return line ``sequence`` of a ledger as plain data.

    Args:
        ledger: read and verified here.
        sequence: of the line that is asked for, counted from 0.
        adopted: sequence and hash of the line that set the limits in force; (-1, "") where none did.

    Raises:
        LedgerError: there is no ledger, it does not verify, it has no such line, the line is not later than the adopted
            one, or the adopted one does not stand in this ledger.
    """
    if ledger is None:
        raise LedgerError("limit change", "needs the ledger in which its line stands", do="Name the ledger")
    lines = [vars(line) for line in ledger.read()]
    if not 0 <= sequence < len(lines):
        raise LedgerError("limit change", f"must be one of the {len(lines)} lines of the ledger", sequence)
    last, last_sha256 = adopted
    if sequence <= last:
        raise LedgerError("limit change", f"must be later than line {last}, which set the limits in force", sequence)
    if last >= 0 and lines[last]["hash"] != last_sha256:
        rule = f"must stand in the ledger whose line {last} set the limits in force"
        raise LedgerError("limit change", rule, lines[last]["hash"])
    return lines[sequence]


def limits_of_line(
    limits: RiskLimits, breaker: BreakerLimits, line: Mapping[str, Any]
) -> tuple[RiskLimits, BreakerLimits]:
    """Return the limits that a ledger line puts in force.

    Args:
        limits: in force until now.
        breaker: likewise.
        line: a whole line of the ledger as plain data, as it was read back after it was written.

    Raises:
        LedgerError: the line is none, was altered, is of another kind, names nobody or no reason, or starts from other
            limits than those in force.
        ConfigError: a new value is not allowed.
    """
    body = {key: value for key, value in line.items() if key != "hash"}
    if line.get("kind") != LIMIT_CHANGE:
        raise LedgerError("limit change", f"the line must be of kind {LIMIT_CHANGE}", line.get("kind"))
    if line.get("hash") != hash_json(body):
        raise LedgerError("limit change", "the line's hash must match its content", line.get("hash"))
    if not str(line.get("actor", "")).strip() or not str(line.get("reason", "")).strip():
        raise LedgerError("limit change", "actor and reason must be named", (line.get("actor"), line.get("reason")))
    record = limits_as_record(limits, breaker)
    for name, move in line["subject"]["changed"].items():
        if name not in record or record[name] != move["from"]:
            raise LedgerError("limit change", f"{name} must start from the value in force", move["from"])
        record[name] = move["to"]
    if hash_json(record) != line["subject"]["limits_sha256"]:
        raise LedgerError("limit change", "the line must lead to the limits that it names", hash_json(record))
    return limits_of_record(record)


def limits_of_record(record: Mapping[str, float]) -> tuple[RiskLimits, BreakerLimits]:
    """Read back what ``limits_as_record`` wrote. Raises ConfigError naming the first bad limit."""
    groups: dict[str, dict[str, float]] = {"limits": {}, "breaker": {}}
    for name, value in record.items():
        group, _, field = name.partition(".")
        groups.setdefault(group, {})[field] = value
    try:
        return RiskLimits.model_validate(groups["limits"]), BreakerLimits.model_validate(groups["breaker"])
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"limit {'.'.join(map(str, first['loc']))}", first["msg"], first.get("input")) from error


def where_true(mask: NDArray[np.bool_]) -> list[int]:
    """Return the indices at which ``mask``, bool[N], is true."""
    found: list[int] = mask.nonzero()[0].tolist()
    return found


def _above(value: float, bound: float) -> bool:
    return not value <= bound * (1 + TOLERANCE)  # an overflow to NaN is above every bound
