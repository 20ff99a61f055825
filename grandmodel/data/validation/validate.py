"""Judge raw rows by the committed Great Expectations suite; nothing is written outside the folder given for pages."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

import great_expectations as gx
import numpy as np
import pandas as pd
from great_expectations.data_context.data_context.file_data_context import FileDataContext

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.data.dataset import RawDataset
from grandmodel.data.validation import expectations as _expectations  # noqa: F401  # registers them; unknown ones are dropped
from grandmodel.data.validation.docs import failures_html, publish
from grandmodel.data.validation.suite_batch import suite_batches


class Check(TypedDict):
    """One expectation and how it went; plain data."""

    name: str
    suite: str
    level: Literal["critical", "warning", "info"]
    passed: bool
    rule: str
    do: str
    failing_count: int
    failing_rows: list[dict[str, Any]]  # at most 20: what names the row, such as file and row, and the values that fail


@dataclass(frozen=True, slots=True)
class ValidationReport:
    """All checks of one dataset; ``passed`` when no critical one failed."""

    passed: bool
    checks: list[Check]
    docs_index: Path

    def raise_if_blocked(self, subject: str = "the data") -> None:
        """Raise DataError in one sentence about the first critical check that failed; return when there is none.

        ``subject`` names the data where the check is about no single row.
        """
        failed = [check for check in self.checks if check["level"] == "critical" and not check["passed"]]
        if not failed:
            return
        first = failed[0]
        more_checks = "1 further check fails" if len(failed) == 2 else f"{len(failed) - 1} further checks fail"
        others = f" ({more_checks}, see {self.docs_index})" if len(failed) > 1 else ""
        if not first["failing_rows"]:
            raise DataError(subject, first["rule"], first["failing_count"], first["do"] + others)
        row = dict(first["failing_rows"][0])
        place = f"{row.pop('file')} row {row.pop('row')}" if "file" in row else f"{subject} {row.pop('symbol')}"
        more = f" and {first['failing_count'] - 1} more" if first["failing_count"] > 1 else ""
        raise DataError(place + more, first["rule"], row, first["do"] + others)


def validate(raw: RawDataset, context_root: Path, docs_folder: Path) -> ValidationReport:
    """Judge ``raw`` by the suite of each class of instrument in it, and build the pages in ``docs_folder``.

    Raises:
        ConfigError: the context at ``context_root`` is not there, or an expectation of a suite was not evaluated.
    """
    batches = {f"bars_{kind}": batch for kind, batch in suite_batches(raw).items()}
    return run_suites(batches, context_root, docs_folder)


def run_suites(batches: Mapping[str, pd.DataFrame], context_root: Path, docs_folder: Path) -> ValidationReport:
    """Run the checkpoint of each name over its batch and build one set of pages in ``docs_folder``.

    The context is copied to a temporary folder first, so the committed files stay as they are and two runs never meet.
    Only the suites asked for are copied: they alone get a page.

    Raises:
        ConfigError: the context is not there, or an expectation of a suite was not evaluated.
    """
    if not (context_root / "great_expectations.yml").is_file():
        do = "Run from the project root, or python -m grandmodel.data.validation.build_suites"
        raise ConfigError(str(context_root), "the folder must hold a Great Expectations context", do=do)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "great_expectations"
        _copy_context(context_root, root, list(batches))
        context = gx.get_context(mode="file", context_root_dir=str(root))
        checks = [check for name, batch in batches.items() for check in _run(context, root, name, batch)]
        context.build_data_docs()
        site = root / "uncommitted" / "data_docs" / "local_site"
        docs_index = publish(site, docs_folder, failures_html(checks))
    passed = all(check["passed"] for check in checks if check["level"] == "critical")
    return ValidationReport(passed, checks, docs_index)


def _copy_context(source: Path, target: Path, names: list[str]) -> None:
    target.mkdir()
    shutil.copy(source / "great_expectations.yml", target)
    for folder in ("expectations", "validation_definitions", "checkpoints"):
        (target / folder).mkdir()
        for name in names:
            file = source / folder / f"{name}.json"
            if not file.is_file():
                do = "Run python -m grandmodel.data.validation.build_suites"
                raise ConfigError(str(file), "the context must hold a suite for every class of instrument", do=do)
            shutil.copy(file, target / folder)


def _run(context: FileDataContext, root: Path, name: str, batch: pd.DataFrame) -> list[Check]:
    """Return the checks of one suite in the order in which failures are told."""
    checkpoint = context.checkpoints.get(name)
    suite_ids = [item.id for part in checkpoint.validation_definitions for item in part.suite.expectations]
    # The library silently drops expectations it does not know, so what the file holds is counted.
    expected = len(json.loads((root / "expectations" / f"{name}.json").read_text())["expectations"])
    labelled = batch.set_axis(_labels(batch), axis="index")
    outcome = checkpoint.run(batch_parameters={"dataframe": labelled})
    results: list[dict[str, Any]] = [
        cast("dict[str, Any]", result.to_json_dict()) for run in outcome.run_results.values() for result in run.results
    ]
    if len(results) != expected or not expected:
        raise ConfigError(name, f"all {expected} expectations must be evaluated", len(results))
    results.sort(key=lambda result: suite_ids.index(result["expectation_config"]["id"]))
    return [_check(name, result, labelled) for result in results]


def _labels(batch: pd.DataFrame) -> pd.Index:
    """Return what names each row on the pages: its file and row, or its instrument and measure.

    They are the index, because the library spends a quarter of a millisecond on each failing row whose names it is to
    take from columns.
    """
    if "file" in batch.columns:
        return pd.Index(batch["file"].astype(str) + " row " + batch["row"].astype(str))
    return pd.Index(batch["symbol"].astype(str) + " " + batch["measure"].astype(str))


def _check(suite: str, result: Mapping[str, Any], batch: pd.DataFrame) -> Check:
    config, found = result["expectation_config"], result.get("result") or {}
    _refuse_exception(str(config["type"]), result.get("exception_info") or {})
    kwargs = config["kwargs"]
    columns = [kwargs["column"]] if "column" in kwargs else list(kwargs.get("column_list", []))
    target = "-".join(columns)
    passed = bool(result["success"])
    names = ["file", "row"] if "file" in batch.columns else ["symbol", "measure"]
    shown = [*names, *(column for column in columns if column not in names)]
    rows = batch.loc[found.get("partial_unexpected_index_list") or [], shown]
    count = found.get("unexpected_count", 0 if passed else found.get("observed_value", 0))
    return Check(
        name=f"{suite}: {config['type']}{f'({target})' if target else ''}",
        suite=suite,
        level=config.get("severity", "critical"),
        passed=passed,
        rule=config["meta"]["rule"],
        do=config["meta"]["do"],
        failing_count=int(count),
        failing_rows=[
            dict(zip(shown, map(_plain, row), strict=True)) for row in rows.itertuples(index=False, name=None)
        ],
    )


def _refuse_exception(name: str, info: Mapping[str, Any]) -> None:
    """Raise ConfigError when the expectation could not run: a missing column keys the details by metric."""
    details = [info] if "raised_exception" in info else list(info.values())
    for detail in details:
        if detail.get("raised_exception"):
            raise ConfigError(name, "the expectation must be evaluated", detail.get("exception_message"))


def _plain(value: Any) -> Any:
    """Return ``value`` as JSON knows it: NaN becomes None."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if isinstance(value, (int, float, str, bool, type(None))) else str(value)
