"""The stages as plain calls in one process, with pandas instead of Great Expectations: the measure of orchestration."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from grandmodel.core.files import write_json_atomic
from grandmodel.data.dataset import RawDataset
from pipelines.evaluate import evaluate
from pipelines.features import features
from pipelines.ingest import ingest
from pipelines.package import package
from pipelines.stress import stress
from pipelines.train import train
from pipelines.workspace import PROJECT, STATE_VARIABLE, Workspace, empty_folder, finish


def plain_checks(workspace: Workspace) -> None:
    """Check the ingested rows with pandas and write a report of the shape that the validate stage writes."""
    frame = RawDataset.load(workspace.ingest).frame
    prices = frame[["open", "high", "low", "close"]]
    rules = {
        "no_missing": bool(prices.notna().all(axis=None)),
        "positive": bool((prices > 0).all(axis=None)),
        "envelope": bool((frame.high >= prices.max(axis=1)).all() and (frame.low <= prices.min(axis=1)).all()),
        "unique": not bool(frame.duplicated(["symbol", "ts"]).any()),
    }
    assert all(rules.values()), rules
    blank = {"level": "critical", "do": "", "failing_count": 0, "failing_rows": []}
    checks = [{"name": name, "rule": name, "passed": held, **blank} for name, held in rules.items()]
    write_json_atomic(empty_folder(workspace.validate) / "report.json", {"passed": True, "checks": checks})


def main() -> None:
    """Run all stages into the folder named on the command line."""
    workspace = Workspace(Path(sys.argv[1]))
    os.environ[STATE_VARIABLE] = str(workspace.folder / "state")  # a measurement is no trial of the project's search
    ingest(workspace, PROJECT / "data")
    plain_checks(workspace)
    for stage in (features, train, evaluate, stress, package):
        stage(workspace)


if __name__ == "__main__":
    finish(main)
