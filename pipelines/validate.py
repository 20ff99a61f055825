"""Validate: Great Expectations over the raw rows; a blocking finding ends the run before anything is trained."""

from __future__ import annotations

from grandmodel.core.files import write_json_atomic
from grandmodel.data.dataset import RawDataset
from grandmodel.data.validation.validate import validate as run_expectations
from pipelines.workspace import PROJECT, Workspace, empty_folder, run_stage


def validate(workspace: Workspace) -> None:
    """Check the ingested rows, build Data Docs, and raise DataError on a blocking finding."""
    raw = RawDataset.load(workspace.ingest)
    folder = empty_folder(workspace.validate)
    report = run_expectations(raw, PROJECT / "great_expectations", folder / "docs")
    content = {"passed": report.passed, "checks": report.checks}
    write_json_atomic(folder / "report.json", content)
    report.raise_if_blocked(raw.name)


if __name__ == "__main__":
    run_stage(validate)
