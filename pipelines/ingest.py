"""Ingest: read raw files into one table of rows, each with its file and line; judge nothing yet."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import get_args

import yaml

from grandmodel.core.errors import DataError
from grandmodel.data.reading.readers import read_raw
from grandmodel.data.reading.stamps import DateOrder
from pipelines.workspace import PROJECT, Workspace, empty_folder, finish, open_workspace


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
    if data.resolve() == PROJECT / "data":
        refuse_untracked(raw.raw_hash, PROJECT / "data.dvc")
    folder = empty_folder(workspace.ingest)
    raw.save(folder)
    for finding in raw.report:
        print(f"  {finding.subject}: {finding.text}")
    if (data / "truth").is_dir():  # only a simulated market has one; evaluation alone looks at it, for the oracle's row
        shutil.copytree(data / "truth", folder / "truth" / "truth")
        shutil.copy(data / "dataset.yaml", folder / "truth" / "dataset.yaml")


def refuse_untracked(raw_hash: str, tracked: Path) -> None:
    """Raise DataError when the tracked bars are not those whose hash stands in ``data.dvc``.

    ``dvc repro`` writes a new md5 of changed data into that file before any stage runs; it leaves ``meta`` alone.
    """
    meta = yaml.safe_load(tracked.read_text()).get("meta", {}) if tracked.exists() else {}
    if "raw_hash" in meta and meta["raw_hash"] != raw_hash:
        do = "Run `git checkout data.dvc && dvc checkout --force data.dvc`; other data go in by `grandmodel run --data`"
        raise DataError("data/", f"the bars must be those of data.dvc, hash {meta['raw_hash'][:12]}", raw_hash[:12], do)


def main() -> None:
    """Run the stage from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, default=PROJECT / "artifacts")
    parser.add_argument("--data", type=Path, default=PROJECT / "data")
    parser.add_argument("--symbol", action="append", default=[])
    parser.add_argument("--timezone", default="auto")
    parser.add_argument("--date-order", choices=get_args(DateOrder), default="auto")
    given = parser.parse_args()
    workspace, symbols = open_workspace(given.workspace), tuple(given.symbol)
    zone, order = given.timezone, given.date_order
    finish(lambda: ingest(workspace, given.data, symbols=symbols, timezone=zone, date_order=order))


if __name__ == "__main__":
    main()
