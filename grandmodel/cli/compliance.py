"""Rule checks with evidence: read the guard's journal and the ledger, and print what the controls left in them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grandmodel.cli.checkout import State, find_checkout, state_folder
from grandmodel.cli.show import Json, say, show_json, show_rows
from grandmodel.core.errors import DataError, GrandModelError

if TYPE_CHECKING:
    from grandmodel.compliance.report import Record, Row

compliance_app = typer.Typer(no_args_is_help=True, help="Rule checks with evidence.")

JournalFolder = Annotated[
    Path | None, typer.Option("--journal", help="Folder of the guard's journal; default: guard/ of the state folder.")
]


@compliance_app.callback()
def rule_checks() -> None:
    """Rule checks with evidence."""


@compliance_app.command()
def report(state: State = None, journal: JournalFolder = None, as_json: Json = False) -> None:
    """Show each control with its limit, the test that makes it fire, and when it last fired here.

    A journal or a ledger that does not verify is named, what would stand in it is "not known", and the exit code is 1.
    """
    from grandmodel.compliance.controls import load_controls
    from grandmodel.compliance.report import as_json as plain
    from grandmodel.compliance.report import report as rows_of
    from grandmodel.core.config import load_environment

    checkout, states = find_checkout(), state_folder(state)
    config = Path("configs") / "production.yaml"
    environment = load_environment(checkout / config)
    controls = load_controls(checkout / "configs" / "controls.yaml", checkout, environment)
    errors: list[GrandModelError] = []
    records = [
        _read("journal", journal or states / "guard", lambda folder: _journal(folder, journal is not None), errors),
        _read("ledger", states / "ledger.jsonl", _ledger, errors),
    ]
    rows = rows_of(controls, environment, config.as_posix(), records)
    if as_json:
        show_json(plain(rows, records))
    else:
        _show(rows, records)
    if errors:
        raise errors[0]


def _read(name: str, path: Path, read: Callable[[Path], Record], errors: list[GrandModelError]) -> Record:
    """Return the record at ``path``, with its fault where there is one; the error joins ``errors``."""
    from grandmodel.compliance.report import Record

    try:
        return read(path)
    except GrandModelError as error:
        errors.append(error)
    except OSError as error:
        errors.append(DataError(str(path), "must be readable", str(error)))
    return Record(name, str(path), fault=str(errors[-1]))


def _journal(folder: Path, is_named: bool) -> Record:
    """Return the journal in ``folder``, none where the default folder is absent: nothing has run under the guard."""
    from grandmodel.compliance.report import Record, journal_record
    from grandmodel.risk.journal import EVENTS_FILE, STATE_FILE, read_events

    if not folder.exists() and not is_named:
        return Record("journal", str(folder))
    for file in (EVENTS_FILE, STATE_FILE):
        if not (folder / file).is_file():
            raise DataError(
                str(folder / file), "must exist beside the rest of the journal", do="Name another --journal"
            )
    events = read_events(folder)
    return journal_record(folder, events, len(list(folder.glob(f"{EVENTS_FILE}.broken-*"))))


def _ledger(path: Path) -> Record:
    """Return the ledger at ``path``, none where nothing has been released."""
    from grandmodel.compliance.report import Record, ledger_record
    from grandmodel.core.clock import system_clock

    if not path.exists() and not path.with_name(f"{path.name}.head").exists():
        return Record("ledger", str(path))
    return ledger_record(path, system_clock)


def _show(rows: list[Row], records: list[Record]) -> None:
    for record in records:
        said = "CANNOT BE READ" if record.fault else f"{len(record.lines)} lines" if record.lines else "nothing yet"
        aside = f"; {record.set_aside} earlier set aside, not counted here" if record.set_aside else ""
        say(f"{record.name}  {record.path}: {said}{aside}")
    table = [
        {
            "control": row.control,
            "rule": row.rule,
            "limit": ", ".join(f"{name.rpartition('.')[2]} {_value(value)}" for name, value in row.limit.items()),
            "test": row.test.removeprefix("tests/"),
            "last_trigger": f"{row.last[:19].replace('T', ' ')} {row.trigger}" if row.last else row.trigger,
        }
        for row in rows
    ]
    show_rows("Rule checks with evidence", table, False)
    for origin in sorted({row.limit_from for row in rows if row.limit}):
        say(f"limits from {origin}: {', '.join(row.control for row in rows if row.limit_from == origin)}")


def _value(value: object) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(str, value))
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
