"""The canary that stands: whose shadow is replayed, what becomes of its days, and how it is told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from grandmodel.core.config import load_params
from grandmodel.core.errors import DataError, LedgerError, RegistryError
from grandmodel.gates import g8_canary
from grandmodel.gates.canary import Course, follow, plan_for
from grandmodel.gates.canary_calendar import is_over, markets_of
from grandmodel.gates.canary_days import CanaryDay, CanaryPlan
from grandmodel.gates.canary_ledger import Pair, begin, plan_of
from grandmodel.gates.canary_record import read_days, timeline, walk_on
from grandmodel.gates.selection import released_trial
from grandmodel.registry.ledger import Ledger
from grandmodel.registry.store import Registry
from grandmodel.registry.trials import read_returns, read_trials
from pipelines.canary import spec_of
from pipelines.promote import standing_in


class Canary(NamedTuple):
    """A challenger in canary beside the champion of production."""

    pair: Pair
    since: str  # when the challenger entered canary, ISO, UTC: earlier bars may have been looked at


def standing_canary(registry: Registry) -> Canary | None:
    """Return the canary that stands; None where nothing stands in canary or production, or the same release in both.

    Nothing is loaded: a canary is judged whether or not its bundles still serve. Raises LedgerError where the ledger
    does not verify.
    """
    challenger, champion = (standing_in(registry, name) for name in ("canary", "production"))
    release_id, champion_id = challenger["release_id"], champion["release_id"]
    if release_id is None or champion_id is None or release_id == champion_id:
        return None
    return Canary(Pair(release_id, champion_id), challenger["since"])


def bundles_of(registry: Registry, pair: Pair) -> tuple[Path, Path]:
    """Return the bundles of challenger and champion, verified. Raises RegistryError also where one is out of date."""
    found = [registry.champion(name) for name in ("canary", "production")]
    if tuple(move.release_id for move, _ in found) != pair:
        raise RegistryError("canary", f"must still be {pair}", do="Run the flow again")
    return found[0][1], found[1][1]


def begin_record(registry: Registry, pair: Pair, challenger: Path, trials: Ledger) -> CanaryPlan:
    """Fix the plan of a canary, whose envelope comes from the days of the released training in the trial ledger.

    Args:
        registry: whose ledger takes the plan.
        pair: whose canary.
        challenger: its bundle, verified.
        trials: the trial ledger.

    Raises:
        LedgerError: the trial ledger does not know that training, or one of the two does not verify.
        DataError: too few days of evidence.
    """
    held = plan_of(registry.ledger, pair)
    if held is not None:
        return held
    with trials.locked():
        released = released_trial(read_trials(trials), challenger)
        if released is None:
            rule = "must hold the training with the data and the weights of the canary"
            raise LedgerError(str(trials.path), rule, pair.release_id, "Restore the trial ledger from its copy")
        days = read_returns(trials, released).daily_returns
    instruments = list(spec_of(challenger).instruments.values())
    markets = markets_of(instruments, simulated=is_simulated(challenger))
    seed = load_params(challenger / "params.json").seed
    return begin(registry.ledger, plan_for(days, seed, markets), pair)


def is_simulated(bundle: Path) -> bool:
    """Return whether a release was trained on simulated data; one that does not say was not."""
    return json.loads((bundle / "evidence.json").read_text()).get("data", {}).get("simulated") is True


def take_in_shadow(
    registry: Registry, state: Path, pair: Pair, plan: CanaryPlan, replayed: Path, *, simulated: bool, now: datetime
) -> int:
    """Add to the record what the shadow did on the days that it still walks alone; return how many days those were.

    Args:
        registry: whose ledger takes the steps.
        state: folder of the record.
        pair: whose canary.
        plan: of the canary.
        replayed: the file ``days.json`` of the shadow.
        simulated: whether the challenger was trained on simulated data.
        now: UTC; days that are not over are left for later.

    Raises:
        DataError: the bars of the shadow are simulated and the release is not, or the reverse; or as ``walk_on``.
        LedgerError, RegistryError: as ``walk_on``.
    """
    content = json.loads(replayed.read_text())
    if content.get("simulated") is not simulated:
        rule = f"the bars of the shadow must be {'simulated' if simulated else 'real'}, as those of the release"
        raise DataError(str(replayed), rule, content.get("simulated"))
    with registry.ledger.locked():
        held = read_days(pair.days_file(state))
        newest = held[-1].session if held else -1
        days = [CanaryDay.from_dict(day) for day in content["days"]]
        newer = [day for day in days if newest < day.session and is_over(plan.markets, day.session, now)]
        return walk_on(registry, state, pair, now=None, days=shadow_part(plan, held, newer)).days_added


def shadow_part(plan: CanaryPlan, held: Sequence[CanaryDay], newer: Sequence[CanaryDay]) -> list[CanaryDay]:
    """Return the first of ``newer`` days, as many as the challenger has no share of the capital on."""
    taken: list[CanaryDay] = []
    for day in newer:
        course = follow(plan, timeline(plan, [*held, *taken], last_session=day.session - 1, now=None))
        if course.share_frac > 0.0 or course.status != "running":
            break
        taken.append(day)
    return taken


def sentence_of(canary: Canary, course: Course, added: int) -> str:
    """Return where the canary is, in words."""
    days, release_id = len(course.faults), canary.pair.release_id
    if course.status == "rolled_back":
        return f"Canary {release_id} was rolled back after {days} sessions: {course.steps[-1].reason}."
    if course.status == "completed":
        return f"Canary {release_id} walked through all shares in {days} sessions; a person may let it in."
    waits = "" if course.share_frac == 0.0 else " Its next days come from whoever trades: `grandmodel canary add`."
    share = f"{course.share_frac:.0%} of the capital"
    return f"Canary {release_id} is at {share} after {days} sessions, {added} of them new.{waits}"


def rows_of(course: Course) -> list[dict[str, object]]:
    """Return one row for each sequence: how much of its bound is used now, and at most so far."""
    return [
        {"sequence": name, "now": round(path[-1], 3), "at most": round(max(path), 3), "bound": g8_canary.ALARM_MAX}
        for name, path in course.alarms.items()
        if path
    ]
