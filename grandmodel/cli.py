"""The ``grandmodel`` command. Every command that reports takes ``--json``.

The commands that orchestrate (``run``, ``up``) and those that need the checkout start the flow or stage as a process:
the library knows nothing of flows and pipelines.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from grandmodel.core.errors import ConfigError, GrandModelError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="May this model trade, and can we prove why?")
data_app = typer.Typer(no_args_is_help=True, help="Raw bars: check, import, simulate.")
ledger_app = typer.Typer(no_args_is_help=True, help="The promotion ledger.")
app.add_typer(data_app, name="data")
app.add_typer(ledger_app, name="ledger")
console = Console()

Json = Annotated[bool, typer.Option("--json", help="print JSON instead of a table")]
State = Annotated[Path | None, typer.Option("--state", help="folder of registries and ledger; default: state/")]


@app.command()
def run(
    data: Annotated[Path | None, typer.Option(help="folder or file of bars; default: the tracked simulated data")] = None,
    symbol: Annotated[list[str] | None, typer.Option(help="instrument to use; repeat for several")] = None,
    timezone: Annotated[str, typer.Option(help="zone of naive stamps, or auto")] = "auto",
    date_order: Annotated[str, typer.Option(help="auto, day-first, month-first or year-first")] = "auto",
    auto_approve: Annotated[str, typer.Option(metavar="NAME", help="who approves production")] = "auto-approver",
    state: State = None,
) -> None:
    """Run the release flow in this process; no server needed."""
    options = ["--timezone", timezone, "--date-order", date_order, "--auto-approve", auto_approve]
    if data is not None:
        options += ["--data", str(data.resolve())]
    if state is not None:
        options += ["--state", str(state.resolve())]
    for name in symbol or []:
        options += ["--symbol", name]
    _become("flows.release", options)


@app.command()
def up() -> None:
    """Start Prefect server, the release schedule and the MLflow UI on loopback."""
    _become("flows.up", [])


@app.command()
def stress(model: Annotated[str, typer.Option(help="champion of this registry")] = "production", state: State = None,
           as_json: Json = False) -> None:
    """Show the scenario table that a release was admitted with."""
    bundle = _registry(state).load_champion(model)
    rows = json.loads((bundle / "stress.json").read_text())["scenarios"]
    _show("Stress", rows, as_json)


@app.command()
def status(state: State = None, as_json: Json = False) -> None:
    """Show what stands in the four registries."""
    _show("Registries", _registry(state).status(), as_json)


@app.command()
def history(at: Annotated[str | None, typer.Option(help="ISO time: what ran then")] = None, state: State = None,
            as_json: Json = False) -> None:
    """Show promotions, refusals and rollbacks, from the ledger."""
    _show("History", _registry(state).history(at), as_json)


@app.command()
def promote(
    version: str,
    to: Annotated[str, typer.Option(help="staging, canary or production")],
    actor: Annotated[str, typer.Option(help="who asks")],
    reason: Annotated[str, typer.Option(help="why")] = "promoted by hand",
    approver: Annotated[str | None, typer.Option(help="who approves; production needs one other than the actor")] = None,
    state: State = None,
) -> None:
    """Move a version of the registry before ``--to`` into it, if its evidence allows."""
    line = _registry(state).promote_to(to, version, actor=actor, reason=reason, approver=approver)
    console.print(line)


@app.command()
def rollback(
    environment: str,
    actor: Annotated[str, typer.Option(help="who asks")],
    reason: Annotated[str, typer.Option(help="why")],
    to: Annotated[str | None, typer.Option(help="version; default: the previous champion")] = None,
    state: State = None,
) -> None:
    """Put the previous champion of a registry back."""
    console.print(_registry(state).rollback(environment, to_version=to, actor=actor, reason=reason))


def _become(module: str, options: Sequence[str]) -> None:
    """Replace this process by ``python -m module`` in the checkout, so that signals reach the flow itself."""
    os.chdir(_checkout())
    os.execv(sys.executable, [sys.executable, "-m", module, *options])


def _checkout() -> Path:
    for folder in (Path.cwd(), *Path.cwd().parents, Path(__file__).resolve().parents[1]):
        if (folder / "dvc.yaml").exists() and (folder / "flows").is_dir():
            return folder
    raise ConfigError(str(Path.cwd()), "this command must run inside a GrandModel checkout", do="Change into one")


def _show(title: str, rows: Sequence[dict[str, object]], as_json: bool) -> None:
    if as_json:
        print(json.dumps(list(rows), indent=2, default=str))
        return
    table = Table(title=title, title_justify="left")
    for column in rows[0] if rows else ("nothing yet",):
        table.add_column(str(column))
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    console.print(table)


def main() -> None:
    """Run the command line; an operating error prints one sentence and exits 1."""
    try:
        app()
    except GrandModelError as error:
        Console(stderr=True).print(f"[bold red]error:[/bold red] {error}", soft_wrap=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
