"""Each control beside its limit, its test and the last line that it left in a record of this machine.

Records come in as plain lines, because the journal belongs to the guard and the ledger to the registries: who calls
reads them. A record that could not be read makes unknown what would stand in it; it is never "never fired".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from grandmodel.compliance.controls import Control, LimitValue, Trigger, limit_value
from grandmodel.core.clock import Clock, iso
from grandmodel.core.config import Environment
from grandmodel.core.errors import DataError
from grandmodel.registry.ledger import Ledger

NEVER = "never fired here"
NOT_KNOWN = "not known"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Line:
    """What a record says happened."""

    time: str  # ISO 8601, UTC
    kind: str
    reason: str
    limit: str = ""
    symbol: str = ""


@dataclass(frozen=True)
class Record:
    """A journal or a ledger as it was read, oldest line first."""

    name: str  # "journal" or "ledger"
    path: str
    lines: tuple[Line, ...] = ()
    fault: str = ""  # why it could not be read; then there are no lines
    set_aside: int = 0  # earlier files that a restart in doubt put away; their lines are not among these
    limits: Mapping[str, LimitValue] | None = None  # in force by the record, by name; None where it sets none


@dataclass(frozen=True)
class Row:
    """One control and its evidence."""

    control: str
    rule: str
    limit: dict[str, LimitValue]  # by name; empty where the rule has no number
    limit_from: str  # the file or the record that sets the values
    test: str
    source: str
    last: str | None  # ISO 8601, UTC, of the last trigger
    trigger: str  # the last one in words, NEVER, or NOT_KNOWN with the record that could not be read
    times: int | None  # how often it fired; None where that is not known


def report(
    controls: Sequence[Control], environment: Environment, config_path: str, records: Sequence[Record]
) -> list[Row]:
    """Return one row for each control, in their order.

    Args:
        controls: checked against ``environment``.
        environment: whose configured limits are shown where no record sets others.
        config_path: of the environment, as it is to be shown.
        records: journal and ledger; one that is absent on this machine has no lines.
    """
    by_name = {record.name: record for record in records}
    return [_row(control, environment, config_path, by_name) for control in controls]


def journal_record(path: Path, events: Sequence[Mapping[str, Any]], set_aside: int = 0) -> Record:
    """Return the lines of the guard's journal, and the limits that its last state has in force.

    Args:
        path: of the journal, as it is to be shown.
        events: its lines as plain data, verified.
        set_aside: how many earlier files lie beside it.

    Raises:
        DataError: a line lacks what every line of a journal has.
    """
    lines, limits = [], None
    for number, event in enumerate(events, start=1):
        try:
            time = iso(_EPOCH + timedelta(microseconds=int(event["clock_ns"]) // 1000))
            lines.append(Line(time, event["kind"], event["reason"], event["limit"], event["symbol"]))
            if "state" in event:
                limits = _limits_in_force(event["state"])
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            found = f"{type(error).__name__}: {error}"
            raise DataError(f"{path} line {number}", "must be an event of the guard", found) from error
    return Record("journal", str(path), tuple(lines), set_aside=set_aside, limits=limits)


def ledger_record(path: Path, clock: Clock) -> Record:
    """Return the lines of the ledger. Raises LedgerError where it does not verify."""
    entries = Ledger(path, clock).read()
    return Record("ledger", str(path), tuple(Line(entry.time, entry.kind, entry.reason) for entry in entries))


def as_json(rows: Sequence[Row], records: Sequence[Record]) -> dict[str, Any]:
    """Return rows and records as plain data for JSON."""
    shown = ("name", "path", "fault", "set_aside")
    listed = [{**{name: getattr(one, name) for name in shown}, "lines": len(one.lines)} for one in records]
    return {"records": listed, "controls": [asdict(row) for row in rows]}


def _row(control: Control, environment: Environment, config_path: str, records: Mapping[str, Record]) -> Row:
    limit, limit_from = _limit(control, environment, config_path, records)
    asked = {trigger.record for trigger in control.triggers}
    found = [
        line
        for name in sorted(asked & records.keys())
        for line in records[name].lines
        if any(trigger.record == name and _fired(trigger, line) for trigger in control.triggers)
    ]
    unread = sorted(name for name in asked if name not in records or records[name].fault)
    last = max(found, key=lambda line: datetime.fromisoformat(line.time), default=None)
    said = NEVER
    if unread:
        said = f"{NOT_KNOWN}: the {' and the '.join(unread)} cannot be read"
    elif any(records[name].set_aside for name in asked):
        said = f"{NEVER} since an earlier journal was set aside"
    return Row(
        control=control.id,
        rule=control.rule,
        limit=limit,
        limit_from=limit_from,
        test=control.test,
        source=control.source,
        last=last.time if last and not unread else None,
        trigger=f"{last.kind}: {last.reason}" if last and not unread else said,
        times=None if unread else len(found),
    )


def _limit(
    control: Control, environment: Environment, config_path: str, records: Mapping[str, Record]
) -> tuple[dict[str, LimitValue], str]:
    """Return the limits in force, and where they come from: the journal has the last word on those that it holds."""
    configured = {name: limit_value(environment, name) for name in control.limits}
    if not configured:
        return {}, ""
    journal = records.get("journal")
    if journal is not None and journal.fault:
        return configured, f"{config_path}; what is in force is {NOT_KNOWN}"
    recorded = (journal.limits if journal else None) or {}
    if not any(name in recorded for name in configured):
        return configured, config_path
    in_force = {name: recorded.get(name, value) for name, value in configured.items()}
    differing = ", ".join(f"{name} {value}" for name, value in configured.items() if in_force[name] != value)
    return in_force, f"journal; {config_path} says {differing}" if differing else f"journal and {config_path}"


def _fired(trigger: Trigger, line: Line) -> bool:
    return line.kind == trigger.kind and trigger.limit in ("", line.limit) and trigger.says in line.reason


def _limits_in_force(state: Mapping[str, Any]) -> dict[str, LimitValue]:
    groups = {"limits": state["limits"], "breaker": state["breaker"]["limits"]}
    return {f"{group}.{name}": value for group, one in groups.items() for name, value in one.items()}
