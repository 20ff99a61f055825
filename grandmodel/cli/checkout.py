"""Where the checkout is, and what of it the commands use: its registries, its flows."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from grandmodel.core.clock import system_clock
from grandmodel.core.errors import ConfigError, RegistryError

if TYPE_CHECKING:
    from grandmodel.registry.store import Registry

State = Annotated[Path | None, typer.Option("--state", help="Folder of registries and ledger; default: state/.")]


def find_checkout() -> Path:
    """Return the checkout around the working folder, else the one this library was installed from.

    Raises ConfigError when there is neither.
    """
    for folder in (Path.cwd(), *Path.cwd().parents, Path(__file__).resolve().parents[2]):
        if (folder / "dvc.yaml").is_file() and (folder / "params.yaml").is_file() and (folder / "flows").is_dir():
            return folder
    raise ConfigError(str(Path.cwd()), "this command must run inside a GrandModel checkout", do="Change into one")


def become(module: str, options: Sequence[str]) -> None:
    """Replace this process by ``python -m module`` in the checkout, so that signals reach the flow itself."""
    sys.stdout.flush()
    os.chdir(find_checkout())
    os.execv(sys.executable, [sys.executable, "-m", module, *options])


def state_folder(state: Path | None) -> Path:
    """Return the folder of registries and ledger: the one given, that of GRANDMODEL_STATE, or the checkout's."""
    return (state or Path(os.environ.get("GRANDMODEL_STATE") or find_checkout() / "state")).resolve()


def find_registry(state: Path | None) -> Registry | None:
    """Return the registries of ``state``; None where nothing has been released yet.

    Raises LedgerError where something was, and the ledger is gone.
    """
    from grandmodel.registry.ledger import Ledger

    folder = state_folder(state)
    if not Ledger(folder / "ledger.jsonl", system_clock).begun():
        return None
    from grandmodel.registry.backends import backends
    from grandmodel.registry.conditions import load_environments
    from grandmodel.registry.store import Registry

    stores = backends(folder, os.environ)
    return Registry(
        stores.tracking_uri,
        folder / "artifacts",
        folder / "ledger.jsonl",
        system_clock,
        load_environments(find_checkout() / "configs"),
        artifacts_uri=stores.artifacts_uri,
    )


def open_registry(state: Path | None) -> Registry:
    """Return the registries of ``state``. Raises RegistryError where nothing has been released yet."""
    registry = find_registry(state)
    if registry is None:
        do = "Make a first release with `grandmodel run`"
        raise RegistryError(str(state_folder(state)), "must hold registries and their ledger", do=do)
    return registry
