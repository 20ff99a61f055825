"""The ledger on the terminal: whether it is whole, what its lines rested on, and checkpoints elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grandmodel.cli.checkout import State, open_registry, state_folder
from grandmodel.cli.show import Json, say, show_json, show_rows
from grandmodel.core.errors import LedgerError

if TYPE_CHECKING:
    from grandmodel.registry.ledger import Ledger

ledger_app = typer.Typer(no_args_is_help=True, help="The ledger of promotions.")


@ledger_app.command()
def verify(state: State = None, as_json: Json = False) -> None:
    """Check every line, the chain, all checkpoints elsewhere, and the evidence; exit 1 with the first broken line."""
    ledger = _ledger(state)
    report = ledger.verify()
    open_registry(state).verify_evidence()
    if as_json:
        show_json({"ledger": str(ledger.path), **vars(report)})
        return
    held = f"{report.checkpoints} checkpoints elsewhere hold."
    torn = f" {report.torn_bytes} bytes after it were left by a kill; the next entry repairs that." * bool(
        report.torn_bytes
    )
    say(f"{ledger.path}: {report.entries} entries, all intact, head {report.head}. {held}{torn}")


@ledger_app.command()
def evidence(
    digest: Annotated[str, typer.Argument(help="Its hash, as `grandmodel history` shows it; the first letters do.")],
    state: State = None,
) -> None:
    """Print what a move or a refusal rested on, as JSON."""
    show_json(open_registry(state).evidence(digest))


@ledger_app.command()
def anchor(state: State = None, as_json: Json = False) -> None:
    """Write a checkpoint of ledger and trial ledger to the file that GRANDMODEL_ANCHOR names.

    Once it is named each new line leaves one; this is for lines that stood before.
    """
    from grandmodel.core.clock import system_clock
    from grandmodel.registry.trials import open_trials

    trials = open_trials(state_folder(state), system_clock)
    ledgers = [_ledger(state), *([trials] if trials.begun() else [])]
    show_rows("Checkpoints", [vars(ledger.anchor()) for ledger in ledgers], as_json)


def _ledger(state: Path | None) -> Ledger:
    from grandmodel.core.clock import system_clock
    from grandmodel.registry.ledger import Ledger

    ledger = Ledger(state_folder(state) / "ledger.jsonl", system_clock)
    if not ledger.begun():
        raise LedgerError(str(ledger.path), "the ledger must exist", do="Make a first release with `grandmodel run`")
    return ledger
