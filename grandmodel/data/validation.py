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

from grandmodel.core.errors import ConfigError, DataError
from grandmodel.data import expectations as _expectations  # noqa: F401  # registers them; unknown ones are dropped
from grandmodel.data.dataset import RawDataset
from grandmodel.data.docs import publish

CHECKPOINT = "bars"


class Check(TypedDict):
    """One expectation and how it went; plain data."""

    name: str
    level: Literal["critical", "warning", "info"]
    passed: bool
    rule: str
    do: str
    failing_count: int
    failing_rows: list[dict[str, Any]]  # at most 20: file, row and the values that fail


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
        subject = f"{row.pop('file')} row {row.pop('row')}"
        more = f" and {first['failing_count'] - 1} more" if first["failing_count"] > 1 else ""
        raise DataError(subject + more, first["rule"], row, first["do"] + others)


def validate(raw: RawDataset, context_root: Path, docs_folder: Path) -> ValidationReport:
    """Run the checkpoint of the context at ``context_root`` over ``raw`` and build its pages in ``docs_folder``.

    The context is copied to a temporary folder first, so the committed files stay as they are and two runs never meet.

    Raises:
        ConfigError: the context is not there, or an expectation of the suite was not evaluated.
    """
    if not (context_root / "great_expectations.yml").is_file():
        do = "Run from the project root, or python -m grandmodel.data.build_suites"
        raise ConfigError(str(context_root), "the folder must hold a Great Expectations context", do=do)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "great_expectations"
        shutil.copytree(context_root, root, ignore=shutil.ignore_patterns("uncommitted", "plugins"))
        context = gx.get_context(mode="file", context_root_dir=str(root))
        checkpoint = context.checkpoints.get(CHECKPOINT)
        suite_ids = [item.id for part in checkpoint.validation_definitions for item in part.suite.expectations]
        expected = _count_expectations(root)
        outcome = checkpoint.run(batch_parameters={"dataframe": _batch(raw)})
        results: list[dict[str, Any]] = [
            cast("dict[str, Any]", result.to_json_dict())
            for run in outcome.run_results.values()
            for result in run.results
        ]
        if len(results) != expected or not expected:
            raise ConfigError(str(context_root), f"all {expected} expectations must be evaluated", len(results))
        results.sort(key=lambda result: suite_ids.index(result["expectation_config"]["id"]))  # the order of telling
        checks = [_check(result) for result in results]
        context.build_data_docs()
        docs_index = publish(root / "uncommitted" / "data_docs" / "local_site", docs_folder)
    passed = all(check["passed"] for check in checks if check["level"] == "critical")
    return ValidationReport(passed, checks, docs_index)


def _count_expectations(root: Path) -> int:
    """Return how many expectations the suite files hold: the library silently drops those it does not know."""
    return sum(len(json.loads(file.read_text())["expectations"]) for file in (root / "expectations").glob("*.json"))


def _batch(raw: RawDataset) -> pd.DataFrame:
    tick_sizes = np.array([raw.instruments[symbol].tick_size for symbol in raw.frame["symbol"].cat.categories])
    return raw.frame.assign(tick_size=tick_sizes[raw.frame["symbol"].cat.codes.to_numpy()])


def _check(result: Mapping[str, Any]) -> Check:
    config, found = result["expectation_config"], result.get("result") or {}
    _refuse_exception(str(config["type"]), result.get("exception_info") or {})
    kwargs = config["kwargs"]
    target = kwargs.get("column") or "-".join(kwargs.get("column_list", []))
    passed = bool(result["success"])
    rows = found.get("partial_unexpected_index_list") or []
    count = found.get("unexpected_count", 0 if passed else found.get("observed_value", 0))
    return Check(
        name=f"{config['type']}{f'({target})' if target else ''}",
        level=config.get("severity", "critical"),
        passed=passed,
        rule=config["meta"]["rule"],
        do=config["meta"]["do"],
        failing_count=int(count),
        failing_rows=[{key: _plain(value) for key, value in row.items()} for row in rows],
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
