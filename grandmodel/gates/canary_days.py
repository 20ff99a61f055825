"""What a canary is judged by: its rules, and one day of champion and challenger, as plain data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from grandmodel.core.errors import ConfigError

SHARES_FRAC = (0.0, 0.01, 0.05, 0.25, 1.0)  # of the capital; the first is the shadow
SEQUENCES = ("slippage", "rejects", "limit_hits", "divergence", "drawdown")
DRAWDOWN_MAX_FRAC = 0.25  # of the peak, however wild the evidence: what G6 lets a stress take
WAY_ON = "Release another one, or have a named person waive g8_canary"  # after a rollback


@dataclass(frozen=True)
class CanaryPlan:
    """The rules of one canary, fixed before its first day."""

    drawdown_max_frac: float  # envelope of the release's own days, see ``plan_for``
    divergence_max_frac: float = 0.005  # of decisions
    slippage_margin_frac: float = 0.0  # by which the challenger may be worse and still be called alike
    alpha: float = 0.05  # probability that a challenger like its champion is rolled back, however often one looks
    days_per_step: int = 6  # on which both traded alike and all was known
    days_max: int = 45  # sessions, those without a day included, after which a canary that is not through ends
    unknown_days_max: int = 2  # in a row; one more ends it
    unknown_days_total_max: int = 6  # in all; one more ends it
    markets: tuple[tuple[str, str], ...] = ()  # calendar and product that say which sessions there are; (): weekdays

    def __post_init__(self) -> None:
        bounds = (self.drawdown_max_frac, self.divergence_max_frac, self.alpha)
        if not (all(0.0 < one < 1.0 for one in bounds) and 0.0 <= self.slippage_margin_frac < 1.0):
            raise ConfigError("canary plan", "bounds must lie in (0, 1), the margin at zero or above", asdict(self))
        if not (0 < self.days_per_step * len(SHARES_FRAC) <= self.days_max):
            raise ConfigError("canary plan days_max", "must leave room for every step", self.days_max)
        if min(self.unknown_days_max, self.unknown_days_total_max) < 0:
            raise ConfigError("canary plan", "no number of unknown days may be negative", asdict(self))

    @property
    def log_evidence_max(self) -> float:
        """Return the log evidence from which on a sequence is breached."""
        return math.log(len(SEQUENCES) / self.alpha)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> CanaryPlan:
        """Return the plan whose ``asdict`` went through JSON."""
        return cls(**{**content, "markets": tuple((calendar, product) for calendar, product in content["markets"])})


@dataclass(frozen=True)
class Traded:
    """What one release did on one day."""

    decisions: int
    orders: int  # decisions that asked for another position than the one held
    rejects: int  # orders that were not sent as asked
    limit_hits: int  # decisions at which a limit of the guard was broken
    fills: int
    slippage_frac: float | None  # cost over money traded; None where nothing was filled, or it is not known
    log_return: float | None  # of the capital it was given; None where it is not known


@dataclass(frozen=True)
class CanaryDay:
    """One day of champion and challenger on the same bars."""

    session: int  # days since 1970-01-01
    share_frac: float  # of the capital, that the challenger traded with
    champion: Traded
    challenger: Traded
    compared: int = 0  # decisions of the challenger held against those of its shadow; none while it is the shadow
    divergent: int = 0  # of these

    def to_dict(self) -> dict[str, Any]:
        """Return the day as plain JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> CanaryDay:
        """Return the day that ``to_dict`` wrote. Raises TypeError, ValueError, KeyError where it is none."""
        both = ("champion", "challenger")
        champion, challenger = (Traded(**_typed(Traded, content[name])) for name in both)
        numbers = _typed(cls, {name: value for name, value in content.items() if name not in both})
        return cls(**numbers, champion=champion, challenger=challenger)


ABSENT = Traded(0, 0, 0, 0, 0, None, None)


def is_absent(day: CanaryDay) -> bool:
    """Return whether nothing at all is on record of a day."""
    return day.champion == day.challenger == ABSENT


def with_absent(days: Sequence[CanaryDay], sessions: Iterable[int]) -> list[CanaryDay]:
    """Return ``days`` in order of their sessions, with an empty one for each of ``sessions`` that has none."""
    held = {day.session for day in days}
    absent = [CanaryDay(session, 0.0, ABSENT, ABSENT) for session in sessions if session not in held]
    return sorted([*days, *absent], key=lambda day: day.session)


def fault_of(day: CanaryDay) -> str:
    """Return what is not known of a day, in words; "" where all is. Such a day never lets the share grow."""
    if is_absent(day):
        return "no day is on record"
    for who, traded in (("champion", day.champion), ("challenger", day.challenger)):
        if traded.log_return is None or not math.isfinite(traded.log_return):
            return f"the return of the {who} is not known"
        if traded.fills and (traded.slippage_frac is None or not math.isfinite(traded.slippage_frac)):
            return f"the slippage of the {who} is not known"
        if not traded.decisions:
            return f"the {who} decided nothing"
    if day.share_frac > 0.0 and day.compared < day.challenger.decisions:
        return f"{day.compared} of {day.challenger.decisions} decisions were held against the shadow"
    return ""


def _typed(kind: type, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``content`` with numbers of the kinds that the fields of ``kind`` name; raises where one is another."""
    kinds = {field.name: str(field.type) for field in fields(kind)}
    return {name: _number(value, kinds[name], name) for name, value in dict(content).items()}


def _number(value: object, kind: str, name: str) -> int | float | None:
    if value is None and kind == "float | None":
        return None
    if isinstance(value, int) and not isinstance(value, bool) and kind == "int":
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and kind != "int" and math.isfinite(value):
        return float(value)
    raise TypeError(f"{name} must be {'a whole number' if kind == 'int' else 'a finite number'}, found {value!r}")
