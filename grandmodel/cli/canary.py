"""The canary on the terminal: how far it is, and the days that come from whoever trades."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from grandmodel.cli.checkout import State, open_registry, state_folder
from grandmodel.cli.errors import REFUSED
from grandmodel.cli.show import Json, say, show_json, show_rows
from grandmodel.core.clock import system_clock
from grandmodel.core.errors import ConfigError

if TYPE_CHECKING:
    from grandmodel.gates.canary import Course
    from grandmodel.gates.canary_ledger import Pair
    from grandmodel.registry.store import Registry

canary_app = typer.Typer(invoke_without_command=True, help="The canary: its share of the capital, day by day.")


@canary_app.callback()
def canary(context: typer.Context, state: State = None, as_json: Json = False) -> None:
    """Show the canary that stands: its share, its sequences, and every step with its reason."""
    context.obj = state
    if context.invoked_subcommand is not None:
        return
    from grandmodel.gates.canary import follow
    from grandmodel.gates.canary_record import sessions_of

    registry = open_registry(state)
    plan, days = sessions_of(registry.ledger, state_folder(state), _standing(registry), system_clock())
    _show(follow(plan, days), as_json)


@canary_app.command()
def add(
    context: typer.Context,
    days: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="One day a line, see docs/canary.md.")],
    state: State = None,
    as_json: Json = False,
) -> None:
    """Take in days of the canary, judge them, and roll the canary back on a breach (exit 3)."""
    from grandmodel.gates.canary_record import read_days, walk_on

    state = state if state is not None else context.obj
    registry = open_registry(state)
    pair = _standing(registry)
    course, _, back = walk_on(registry, state_folder(state), pair, now=system_clock(), days=read_days(days))
    _show(course, as_json)
    if back is not None and not as_json:
        say(f"Release {back.release_id} is again the champion of canary, version {back.version}.")
    if course.status == "rolled_back":
        raise typer.Exit(REFUSED)


def evidence_of_canary(registry: Registry, version: str, state: Path | None) -> dict[str, Any]:
    """Return what version ``version`` of canary must show before production. Raises RegistryError, LedgerError."""
    from grandmodel.gates.canary_record import production_evidence

    return production_evidence(registry, state_folder(state), registry.bundle_of("canary", version).release_id)


def _standing(registry: Registry) -> Pair:
    """Return challenger and champion of the canary that stands. Raises ConfigError where there is none."""
    from grandmodel.gates.canary_ledger import Pair

    standing = {row["environment"]: row["release_id"] for row in registry.status()}
    release_id, champion_id = standing["canary"], standing["production"]
    if release_id is None or champion_id is None or release_id == champion_id:
        rule = "a release must stand in canary beside another one in production"
        raise ConfigError("canary", rule, (release_id, champion_id), "See `grandmodel status`")
    return Pair(release_id, champion_id)


def _show(course: Course, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        show_json(asdict(course))
        return
    sessions, unknown = len(course.faults), sum(bool(fault) for fault in course.faults)
    state = f"{course.status.replace('_', ' ')}: {course.share_frac:.0%} of the capital after {sessions} sessions"
    say(f"{state}, {unknown} of them not known; {course.days_counted} days count towards the next step.")
    nearest = [{"sequence": name, "of its bound": round(path[-1], 2)} for name, path in course.alarms.items() if path]
    show_rows("Sequences", nearest, as_json=False)
    show_rows("Steps", [asdict(step) for step in course.steps], as_json=False)
