"""The trial ledger on the terminal: what was tried on each data set, and what that leaves of its champion."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from grandmodel.cli.checkout import State, find_registry, state_folder
from grandmodel.cli.show import Json, say, show_json, show_rows, without
from grandmodel.core.clock import system_clock
from grandmodel.core.errors import LedgerError

if TYPE_CHECKING:
    from grandmodel.registry.bundle import Bundle
    from grandmodel.registry.ledger import Ledger
    from grandmodel.registry.store import Registry

trials_app = typer.Typer(invoke_without_command=True, help="Every training that was ever tried, promoted or not.")


@trials_app.callback()
def trials(context: typer.Context, state: State = None, as_json: Json = False) -> None:
    """Show for each data set its trials, what they amount to, and the champion judged by all of them.

    The champion is that of the last registry which has one made of this data; deflated is its deflated Sharpe ratio. On
    a record shorter than the years needed the best of so many worthless trials is expected to show an annual Sharpe
    ratio of 1 (minimum backtest length).
    """
    context.obj = state
    if context.invoked_subcommand is not None:
        return
    from grandmodel.gates.selection import search_rows

    ledger, registry = _ledger(state), find_registry(state)
    rows = search_rows(ledger, _champions(registry) if registry else {}) if ledger.begun() else []
    show_rows("Trials", rows if as_json else without(rows, "data_hash", "overfitting"), as_json)


@trials_app.command()
def verify(context: typer.Context, state: State = None, as_json: Json = False) -> None:
    """Check the chain, the returns of every trial and its run in MLflow; exit 1 with the first fault."""
    from grandmodel.registry.trial_runs import verify_all

    state = state if state is not None else context.obj
    ledger = _ledger(state)
    if not ledger.begun():
        raise LedgerError(str(ledger.path), "the trial ledger must exist", do="Make a first run with `grandmodel run`")
    report = verify_all(ledger, find_registry(state))
    if as_json:
        show_json({"ledger": str(ledger.path), **vars(report)})
        return
    say(f"{ledger.path}: {report.trials} trials, {report.tracked} of them in MLflow, all intact, head {report.head}.")


def evidence_over_all_trials(registry: Registry, version: str, state: Path | None) -> dict[str, Any]:
    """Return what version ``version`` of dev must show before staging. Raises RegistryError, LedgerError."""
    from grandmodel.gates.selection import staging_evidence

    return staging_evidence(registry.bundle_of("dev", version), _ledger(state), registry)


def _ledger(state: Path | None) -> Ledger:
    from grandmodel.registry.trials import open_trials

    return open_trials(state_folder(state), system_clock)


def _champions(registry: Registry) -> dict[str, Bundle]:
    """Return by hash of its raw data the champion of the last registry that has one made of it."""
    champions = {}
    for row in registry.status():  # from dev to production
        if row["version"] is not None:
            bundle = registry.bundle_of(row["environment"], row["version"])
            champions[str(bundle.read_json("evidence.json").get("lineage", {}).get("data"))] = bundle
    return champions
