"""The canary that stands: whose shadow is replayed, what becomes of its days, and how it is told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from grandmodel.core.config import load_params
from grandmodel.core.errors import LedgerError
from grandmodel.gates import g8_canary
from grandmodel.gates.canary import CanaryDay, CanaryPlan, Course, follow
from grandmodel.gates.canary_record import add_days, begin, folder_of, read_days
from grandmodel.gates.selection import released_trial
from grandmodel.registry.ledger import Ledger
from grandmodel.registry.store import Registry
from grandmodel.registry.trials import read_returns, read_trials
from pipelines.canary import plan_for
from pipelines.promote import standing_in


@dataclass(frozen=True)
class Canary:
    """A challenger in canary beside the champion of production."""

    release_id: str
    champion_id: str
    challenger: Path  # bundle, verified
    champion: Path
    since: str  # when the challenger entered canary, ISO, UTC: earlier bars may have been looked at
    record: Path


def standing_canary(registry: Registry, state: Path) -> Canary | None:
    """Return the canary that stands; None where nothing stands in canary or production, or the same release in both.

    Raises:
        RegistryError: a bundle does not verify, or is past its last day.
        LedgerError: the ledger does not verify.
    """
    challenger, champion = (standing_in(registry, name) for name in ("canary", "production"))
    release_id, champion_id = challenger["release_id"], champion["release_id"]
    if release_id is None or champion_id is None or release_id == champion_id:
        return None
    return Canary(
        release_id,
        champion_id,
        registry.load_champion("canary"),
        registry.load_champion("production"),
        challenger["since"],
        folder_of(state, release_id, champion_id),
    )


def begin_record(canary: Canary, trials: Ledger) -> CanaryPlan:
    """Fix the plan of ``canary``, whose envelope comes from the days of the released training in the trial ledger.

    Raises LedgerError where the trial ledger does not know that training, or does not verify.
    """
    with trials.locked():
        released = released_trial(read_trials(trials), canary.challenger)
        if released is None:
            rule = "must hold the training with the data and the weights of the canary"
            raise LedgerError(str(trials.path), rule, canary.release_id, "Restore the trial ledger from its copy")
        days = read_returns(trials, released).daily_returns
    return begin(canary.record, plan_for(days, load_params(canary.challenger / "params.json").seed))


def take_in_shadow(canary: Canary, plan: CanaryPlan, replayed: Path) -> int:
    """Add to the record what the shadow did on the days that it still walks alone; return how many days those were.

    Raises DataError where a day is held with other content.
    """
    days = [CanaryDay.from_dict(day) for day in json.loads(replayed.read_text())["days"]]
    held = read_days(canary.record)
    newer = [day for day in days if not held or day.session > held[-1].session]
    return add_days(canary.record, shadow_part(plan, held, newer))


def shadow_part(plan: CanaryPlan, held: Sequence[CanaryDay], newer: Sequence[CanaryDay]) -> list[CanaryDay]:
    """Return the first of ``newer`` days, as many as the challenger has no share of the capital on."""
    taken: list[CanaryDay] = []
    for day in newer:
        course = follow(plan, [*held, *taken])
        if course.share_frac > 0.0 or course.status != "running":
            break
        taken.append(day)
    return taken


def sentence_of(canary: Canary, course: Course, added: int) -> str:
    """Return where the canary is, in words."""
    days = len(course.faults)
    if course.status == "rolled_back":
        return f"Canary {canary.release_id} was rolled back after {days} days: {course.steps[-1].reason}."
    if course.status == "completed":
        return f"Canary {canary.release_id} walked through all shares in {days} days; a person may let it in."
    waits = "" if course.share_frac == 0.0 else " Its next days come from whoever trades: `grandmodel canary add`."
    share = f"{course.share_frac:.0%} of the capital"
    return f"Canary {canary.release_id} is at {share} after {days} days, {added} of them new.{waits}"


def rows_of(course: Course) -> list[dict[str, object]]:
    """Return one row for each sequence: how much of its bound is used now, and at most so far."""
    return [
        {"sequence": name, "now": round(path[-1], 3), "at most": round(max(path), 3), "bound": g8_canary.ALARM_MAX}
        for name, path in course.alarms.items()
        if path
    ]
