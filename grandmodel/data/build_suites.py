"""Write the committed files of the Great Expectations context: ``python -m grandmodel.data.build_suites``.

Run it by hand after changing a rule here; the flow only reads the files. Random ids are replaced by ones derived from
their place, so that building twice gives equal bytes.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import tempfile
import uuid
from pathlib import Path

import great_expectations as gx
import yaml
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.expectations.core.expect_column_values_to_be_between import ExpectColumnValuesToBeBetween
from great_expectations.expectations.core.expect_column_values_to_not_be_null import ExpectColumnValuesToNotBeNull
from great_expectations.expectations.core.expect_compound_columns_to_be_unique import ExpectCompoundColumnsToBeUnique
from great_expectations.expectations.core.expect_table_row_count_to_be_between import ExpectTableRowCountToBeBetween
from great_expectations.expectations.expectation import Expectation
from great_expectations.expectations.metadata_types import FailureSeverity

from grandmodel.data.dataset import PRICE_COLUMNS, VALUE_COLUMNS
from grandmodel.data.expectations import (
    ExpectBarEnvelope,
    ExpectBarStartsToIncrease,
    ExpectPlausibleBarReturns,
    ExpectTickMultiples,
)

CRITICAL, WARNING = FailureSeverity.CRITICAL, FailureSeverity.WARNING
SUITE = CHECKPOINT = "bars"
DATASOURCE, ASSET, BATCH = "frames", "bars", "whole"
ROWS_MIN = 200
PRICE_MAX = 1e9  # also catches infinity
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_COMMITTED = ("expectations", "validation_definitions", "checkpoints")
_CORRECT, _REMOVE = "Correct or remove the row", "Remove the repeated row"


def bar_expectations() -> list[Expectation]:
    """Return the suite in the order in which failures are told; ``meta`` holds the rule and what to do."""
    not_null = [
        ExpectColumnValuesToNotBeNull(column=name, severity=CRITICAL, meta=_meta(f"{name} must be a number"))
        for name in VALUE_COLUMNS
    ]
    positive = [
        ExpectColumnValuesToBeBetween(
            column=name,
            min_value=0,
            max_value=PRICE_MAX,
            strict_min=True,
            severity=CRITICAL,
            meta=_meta(f"{name} must be a positive price"),
        )
        for name in PRICE_COLUMNS
    ]
    return [
        ExpectTableRowCountToBeBetween(
            min_value=ROWS_MIN,
            severity=CRITICAL,
            meta=_meta(f"the data must hold at least {ROWS_MIN} bars", "Use a longer file"),
        ),
        *not_null,
        *positive,
        ExpectColumnValuesToBeBetween(
            column="volume", min_value=0, severity=CRITICAL, meta=_meta("volume must be at least 0")
        ),
        ExpectBarEnvelope(
            column_list=list(PRICE_COLUMNS),
            ignore_row_if="any_value_is_missing",
            severity=CRITICAL,
            meta=_meta("high must be at least and low at most open and close"),
        ),
        ExpectBarStartsToIncrease(
            column_list=["symbol", "ts"],
            severity=CRITICAL,
            meta=_meta("bar starts of one instrument must strictly increase, none may repeat", _REMOVE),
        ),
        ExpectCompoundColumnsToBeUnique(
            column_list=["symbol", "ts"],
            severity=CRITICAL,
            meta=_meta("an instrument must have one bar per start", _REMOVE),
        ),
        ExpectTickMultiples(
            column_list=[*PRICE_COLUMNS, "tick_size"],
            ignore_row_if="any_value_is_missing",
            severity=CRITICAL,
            meta=_meta("prices must be whole numbers of ticks", "Correct the row, or the tick_size of the instrument"),
        ),
        ExpectPlausibleBarReturns(
            column_list=["symbol", "close"],
            log_return_max=0.1,
            ignore_row_if="any_value_is_missing",
            severity=WARNING,
            meta=_meta("a bar should close within 10 % of the one before", "Check it; true moves and rolls may stay"),
        ),
        ExpectColumnValuesToBeBetween(
            column="volume",
            min_value=0,
            strict_min=True,
            mostly=0.99,
            severity=WARNING,
            meta=_meta("nearly all bars should have volume", "Check whether this is the traded contract"),
        ),
    ]


def build(context_root: Path) -> None:
    """Write the context's committed files below ``context_root``, replacing those there; equal bytes every time."""
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder) / "context"
        _build_context(built)
        ids: dict[str, str] = {}
        for name in _COMMITTED:
            shutil.rmtree(context_root / name, ignore_errors=True)
            for file in sorted((built / name).rglob("*.json")):
                content = json.dumps(json.loads(file.read_text()), indent=2, sort_keys=True) + "\n"
                _write(context_root / file.relative_to(built), _stable_ids(content, ids))
        settings = yaml.safe_load((built / "great_expectations.yml").read_text())
        settings["data_docs_sites"]["local_site"]["show_how_to_buttons"] = False
        content = yaml.safe_dump(settings, sort_keys=True)
        _write(context_root / "great_expectations.yml", _stable_ids(content, ids))
        _write(context_root / ".gitignore", "uncommitted/\nplugins/\nexpectations/.ge_store_backend_id\n")


def _build_context(root: Path) -> None:
    context = gx.get_context(mode="file", context_root_dir=str(root))
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    context.variables.analytics_enabled = False
    context.variables.save()
    asset = context.data_sources.add_pandas(DATASOURCE).add_dataframe_asset(ASSET)
    batch = asset.add_batch_definition_whole_dataframe(BATCH)
    suite = context.suites.add(gx.ExpectationSuite(name=SUITE, expectations=bar_expectations()))
    definition = context.validation_definitions.add(gx.ValidationDefinition(name=SUITE, data=batch, suite=suite))
    context.checkpoints.add(
        gx.Checkpoint(
            name=CHECKPOINT,
            validation_definitions=[definition],
            actions=[],
            result_format={
                "result_format": "SUMMARY",
                "partial_unexpected_count": 20,
                "unexpected_index_column_names": ["file", "row"],
            },
        )
    )


def _meta(rule: str, do: str = _CORRECT) -> dict[str, str]:
    return {"rule": rule, "do": do}


def _stable_ids(content: str, ids: dict[str, str]) -> str:
    def replace(match: re.Match[str]) -> str:
        name = f"grandmodel/great_expectations/{len(ids)}"
        return ids.setdefault(match[0], str(uuid.uuid5(uuid.NAMESPACE_URL, name)))

    return _UUID.sub(replace, content)


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, default=Path("great_expectations"))
    build(parser.parse_args().root)
