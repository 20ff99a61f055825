"""How long a release may stand: until its next review, and while its training data are not too old.

Both days are worked out when a release enters an environment and are written into the move, so that they stand in the
ledger and a later change of the configuration moves neither. Past one of them the release is neither served nor moved.
Simulated data do not age: their dates are made up.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from grandmodel.core.config import Environment
from grandmodel.registry.bundle import Bundle
from grandmodel.registry.moves import Move


def review_day(environment: Environment, now: datetime) -> str | None:
    """Return the last day (ISO, UTC) on which what enters now stands unreviewed; None where no review is asked for."""
    days = environment.review_after_days
    return None if days is None else (now.date() + timedelta(days=days)).isoformat()


def data_day(environment: Environment, bundle: Bundle) -> str | None:
    """Return the last day (ISO, UTC) on which the training data are young enough; None where they may have any age.

    Data that name no last day never were young enough.
    """
    days = environment.data_age_max_days
    if days is None or _data(bundle).get("simulated") is True:
        return None
    end = _end_of_training(bundle)
    return date.min.isoformat() if end is None else (end + timedelta(days=days)).isoformat()


def age_reasons(environment: Environment, bundle: Bundle, now: datetime) -> list[str]:
    """Return why the training data are too old to enter ``environment``; empty where they are not."""
    last = data_day(environment, bundle)
    if last is None or now.date() <= date.fromisoformat(last):
        return []
    end = _end_of_training(bundle)
    if end is None:
        return ["the bundle's evidence.json does not say when its training data end (data.trained_until)"]
    return [
        f"its training data end on {end}; {environment.name} takes none older than {environment.data_age_max_days} days"
    ]


def expired(move: Move, now: datetime) -> list[str]:
    """Return why what ``move`` let in may no longer stand at ``now``; empty where it may."""
    days = (("its review was due by", move.review_by), ("its training data are too old since", move.data_until))
    return [f"{what} {day}" for what, day in days if day is not None and now.date() > date.fromisoformat(day)]


def last_day(move: Move) -> str | None:
    """Return the last day (ISO, UTC) on which what ``move`` let in may stand; None where it has no end."""
    return min((day for day in (move.review_by, move.data_until) if day is not None), default=None)


def _data(bundle: Bundle) -> Mapping[str, Any]:
    record = bundle.read_json("evidence.json") if "evidence.json" in bundle.files else None
    data = record.get("data") if isinstance(record, dict) else None
    return data if isinstance(data, dict) else {}


def _end_of_training(bundle: Bundle) -> date | None:
    try:
        return date.fromisoformat(str(_data(bundle).get("trained_until")))
    except ValueError:
        return None
