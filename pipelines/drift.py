"""Drift: has the stream of bars changed since a release was trained, and have these bars been trained on already?

Not a DVC stage: it looks at bars outside the repository. What it measures is what ``grandmodel data drift`` measures.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from grandmodel.core.clock import system_clock
from grandmodel.core.files import write_json_atomic
from grandmodel.data.cleaning.adjust import adjusted_bars
from grandmodel.data.reading.readers import read_raw
from grandmodel.data.validation.drift import fit_reference, measure_drift
from grandmodel.data.validation.validate import run_suites
from grandmodel.registry.ledger import Ledger
from grandmodel.registry.trials import open_trials, read_trials
from pipelines.workspace import PROJECT, Workspace, finish, state_folder


def drift(batch: Path, against: Path, workspace: Workspace, trials: Ledger, pages: Path) -> dict[str, Any]:
    """Return the verdict of the drift suite on ``batch``, the hash of its bars, and whether they were trained on.

    Args:
        batch: folder or file of raw bars, read as the stage ``ingest`` would.
        against: the bars that the release was trained on.
        workspace: gives the parameters.
        trials: the trial ledger, which knows every training by the hash of its data.
        pages: folder of the pages of Great Expectations; replaced.

    Raises:
        DataError: bars cannot be read, or are too few to be judged.
        LedgerError: the trial ledger does not verify.
    """
    most = workspace.params.data.instruments_max
    reference, raw = (read_raw(path, instruments_max=most) for path in (against, batch))
    fitted = fit_reference(reference.name, reference.raw_hash, adjusted_bars(reference)[0])
    measures = measure_drift(fitted, adjusted_bars(raw)[0])
    report = run_suites({"drift": measures}, PROJECT / "great_expectations", pages)
    return {
        "batch": raw.name,
        "simulated": raw.simulated,
        "reference": reference.name,
        "raw_hash": raw.raw_hash,
        "trained": any(one.releasable and one.data_hash == raw.raw_hash for one in read_trials(trials)),
        "drifted": not report.passed,
        "checks": [{key: check[key] for key in ("name", "level", "passed", "rule")} for check in report.checks],
        "measures": [dict(zip(measures.columns, row, strict=True)) for row in measures.itertuples(index=False)],
        "pages": str(report.docs_index),
    }


def main() -> None:
    """Compare from the command line and write the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=Path, required=True)
    parser.add_argument("--against", type=Path, default=PROJECT / "data")
    parser.add_argument("--to", type=Path, required=True, help="JSON file; its pages lie beside it")
    given = parser.parse_args()

    def work() -> None:
        trials = open_trials(state_folder(), system_clock)
        found = drift(given.batch, given.against, Workspace(given.to.parent), trials, given.to.parent / "docs")
        write_json_atomic(given.to, found)

    finish(work)


if __name__ == "__main__":
    main()
