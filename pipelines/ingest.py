"""Ingest: read raw files into one table of rows, each with its file and line; judge nothing yet."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import get_args

from grandmodel.data.readers import read_raw
from grandmodel.data.stamps import DateOrder
from pipelines.workspace import PROJECT, Workspace, empty_folder, finish


def ingest(
    workspace: Workspace,
    data: Path,
    *,
    symbols: tuple[str, ...] = (),
    timezone: str = "auto",
    date_order: DateOrder = "auto",
) -> None:
    """Read the raw bars at ``data`` into the workspace."""
    raw = read_raw(
        data,
        symbols=symbols,
        timezone=timezone,
        date_order=date_order,
        instruments_max=workspace.params.data.instruments_max,
    )
    folder = empty_folder(workspace.ingest)
    raw.save(folder)
    for finding in raw.report:
        print(f"  {finding.subject}: {finding.text}")
    if (data / "truth").is_dir():  # only a simulated market has one; evaluation alone looks at it, for the oracle's row
        shutil.copytree(data / "truth", folder / "truth" / "truth")
        shutil.copy(data / "dataset.yaml", folder / "truth" / "dataset.yaml")


def main() -> None:
    """Run the stage from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, default=PROJECT / "artifacts")
    parser.add_argument("--data", type=Path, default=PROJECT / "data")
    parser.add_argument("--symbol", action="append", default=[])
    parser.add_argument("--timezone", default="auto")
    parser.add_argument("--date-order", choices=get_args(DateOrder), default="auto")
    given = parser.parse_args()
    symbols, zone, order = tuple(given.symbol), given.timezone, given.date_order
    finish(lambda: ingest(Workspace(given.workspace), given.data, symbols=symbols, timezone=zone, date_order=order))


if __name__ == "__main__":
    main()
