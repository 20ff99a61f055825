"""The verdict of one gate, as data that can be stored, hashed and shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any

import numpy as np

from grandmodel.core.hashing import canonical_json
from grandmodel.gates.text import percent
from grandmodel.stats.bootstrap import Interval


@dataclass(frozen=True)
class GateResult:
    """What one gate found. Never holds NaN; what could not be computed is None, and the gate has then refused.

    A gate that passes has looked at something and says what it could have shown.
    """

    name: str
    passed: bool
    statistic: float | None
    threshold: float
    power: float | None  # probability of the right verdict in the case that evidence["power_statement"] words
    n: int  # observations behind the statistic
    reason: str  # one sentence with figures
    evidence: dict[str, Any]  # plain JSON types

    def __post_init__(self) -> None:
        assert isinstance(self.passed, bool), f"{self.name}: passed must be a plain bool"
        assert self.name, "a gate says its name"
        assert self.reason, f"{self.name}: a gate says its reason"
        assert isfinite(self.threshold), f"{self.name}: threshold {self.threshold}"
        assert self.statistic is None or isfinite(self.statistic), f"{self.name}: statistic {self.statistic}"
        assert self.power is None or 0.0 <= self.power <= 1.0, f"{self.name}: power {self.power}"
        assert not (self.passed and self.statistic is None), f"{self.name}: passed without a statistic"
        assert not (self.passed and self.n <= 0), f"{self.name}: passed on no observation"
        assert not (self.passed and self.power is None), f"{self.name}: passed without a power"
        assert not (self.passed and not self.evidence.get("power_statement")), f"{self.name}: passed, power not told"
        canonical_json(self.evidence)

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> GateResult:
        """Return the verdict that ``to_dict`` wrote."""
        return cls(**{field.name: content[field.name] for field in fields(cls)})


def power_evidence(
    statement: str,
    *,
    smallest: str,
    data: str,
    smallest_effect_80: float | None = None,
    days_needed_80: int | None = None,
) -> dict[str, object]:
    """Return what every gate says about its own power, under the same names everywhere.

    Args:
        statement: in which case the right verdict comes with which probability; an exact gate says so, and what it
            does not see.
        smallest: the smallest defect or effect that 80 % power finds, in words.
        data: what data it still needs, in words.
        smallest_effect_80: that effect as a number in the unit of the gate; None where there is none.
        days_needed_80: days that would give 80 % power; None where more days do not help or none are needed.
    """
    return {
        "power_statement": statement,
        "smallest_defect": smallest,
        "data_needed": data,
        "smallest_effect_80": smallest_effect_80,
        "days_needed_80": days_needed_80,
    }


def days_words(needed: int | None, days: int) -> str:
    """Return how many more days than ``days`` are needed, in words; None is a number that no record reaches."""
    if needed is None:
        return "more days would not help"
    return f"{needed - days:,} more days ({needed:,} in all)" if needed > days else "none"


def refused(
    name: str, threshold: float, why: str, *, n: int = 0, evidence: Mapping[str, object] | None = None
) -> GateResult:
    """Return the refusal of a gate whose statistic cannot be computed."""
    reason = f"Refused because the statistic cannot be computed: {why.rstrip('.')}."
    silent = power_evidence(
        "Nothing is said of power, because the statistic cannot be computed.",
        smallest="not known",
        data="what the reason names",
    )
    return GateResult(name, False, None, threshold, None, n, reason, plain({**silent, **(evidence or {})}))


def plain(value: Any) -> Any:
    """Return ``value`` with numpy scalars, arrays, tuples and dataclass-free mappings as plain JSON types.

    Numbers that are not finite become their names ("nan", "inf"), so that evidence of a broken input can be kept.
    """
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not isfinite(value):
        return str(value)
    return value


def interval_dict(interval: Interval) -> dict[str, float]:
    """Return an interval as plain JSON types."""
    return asdict(interval)


def interval_text(interval: Interval) -> str:
    """Return ``6.1 % log a year (95 % interval 1.2 % to 11.0 %)``: gates compare annual log returns."""
    level = percent(interval.confidence, 0)
    bounds = f"{percent(interval.lower)} to {percent(interval.upper)}"
    return f"{percent(interval.estimate)} log a year ({level} interval {bounds})"
