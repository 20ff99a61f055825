"""Write the committed files of the Great Expectations context: ``python -m grandmodel.data.validation.build_suites``.

Run it by hand after changing a rule here; the flow only reads the files. Random ids are replaced by ones derived from
their place, so that building twice gives equal bytes.
"""

from __future__ import annotations

import argparse
import json
import math
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

from grandmodel.data.asset_classes import LIMITS, ClassLimits
from grandmodel.data.dataset import PRICE_COLUMNS, VALUE_COLUMNS
from grandmodel.data.validation.drift import KS_EXCESS_BLOCKING, PSI_BLOCKING, PSI_WARNING
from grandmodel.data.validation.expectations import (
    ExpectBarEnvelope,
    ExpectBarStartsToIncrease,
    ExpectMovesWithin,
    ExpectTickMultiples,
)

CRITICAL, WARNING = FailureSeverity.CRITICAL, FailureSeverity.WARNING
BARS, DRIFT = "bars", "drift"
DATASOURCE, BATCH = "frames", "whole"
ROWS_MIN = 200
PRICE_MAX = 1e9  # also catches infinity
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_COMMITTED = ("expectations", "validation_definitions", "checkpoints")
_CORRECT, _REMOVE = "Correct or remove the row", "Remove the repeated row"
_KEPT_FRAC_MIN, _KEPT_FRAC_USUAL = 0.5, 0.99
_WHOLE_SESSION_FRAC, _WHOLE_SESSIONS_USUAL = 0.6, 0.98


def suites() -> dict[str, list[Expectation]]:
    """Return the expectations of each suite by its name."""
    found = {f"{BARS}_{kind}": bar_expectations(limits) for kind, limits in LIMITS.items()}
    return {**found, DRIFT: drift_expectations()}


def bar_expectations(limits: ClassLimits) -> list[Expectation]:
    """Return the suite of one class in the order in which failures are told; ``meta`` holds rule and what to do."""
    return [*_possible_bars(), *_usable_data(limits), *_usual_data(limits)]


def drift_expectations() -> list[Expectation]:
    """Return the suite over the measures of a new batch against the training reference, one row per measure."""
    look = "Compare the batch with the reference; train anew if the market has changed"
    return [
        ExpectColumnValuesToBeBetween(
            column="psi",
            max_value=PSI_BLOCKING,
            severity=CRITICAL,
            meta=_meta(f"the population stability index must be at most {PSI_BLOCKING:g}", look),
        ),
        ExpectColumnValuesToBeBetween(
            column="ks_excess",
            max_value=KS_EXCESS_BLOCKING,
            severity=CRITICAL,
            meta=_meta(f"the Kolmogorov-Smirnov distance must be at most {KS_EXCESS_BLOCKING:g} times its bound", look),
        ),
        ExpectColumnValuesToBeBetween(
            column="psi",
            max_value=PSI_WARNING,
            severity=WARNING,
            meta=_meta(f"the population stability index should be at most {PSI_WARNING:g}", look),
        ),
        ExpectColumnValuesToBeBetween(
            column="ks_excess",
            max_value=1,
            severity=WARNING,
            meta=_meta("the Kolmogorov-Smirnov distance should be within its bound", look),
        ),
    ]


def _possible_bars() -> list[Expectation]:
    """Return what makes each row a possible bar; all of it blocks."""
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
    ]


def _on_ticks(frac_min: float, severity: FailureSeverity) -> Expectation:
    most = "prices" if frac_min == 1 else f"at least {frac_min:.0%} of the bars"
    return ExpectTickMultiples(
        column_list=[*PRICE_COLUMNS, "tick_size"],
        mostly=frac_min,
        ignore_row_if="any_value_is_missing",
        severity=severity,
        meta=_meta(f"{most} must be whole numbers of ticks", "Correct the row, or the tick_size of the instrument"),
    )


def _usable_data(limits: ClassLimits) -> list[Expectation]:
    """Return what blocks although each row is possible: a level nobody explains, too little left after masking."""
    most = math.expm1(limits.impossible_move)
    return [
        _on_ticks(limits.on_tick_frac_min, CRITICAL),
        ExpectMovesWithin(
            column_list=["move", "bar_minutes"],
            move_max_5m=limits.impossible_move,
            move_max_30m=limits.impossible_move,
            move_max_1d=limits.impossible_move,
            ignore_row_if="any_value_is_missing",
            severity=CRITICAL,
            meta=_meta(
                f"a close more than {most:.0%} from the one before must be a roll, a split or an error that comes back",
                "Name the roll in rolls.csv, or cut the file at this row",
            ),
        ),
        ExpectColumnValuesToBeBetween(
            column="masked",
            max_value=0,
            mostly=_KEPT_FRAC_MIN,
            severity=CRITICAL,
            meta=_meta("at least half of the rows must be left after masking", "See the findings; use another file"),
        ),
    ]


def _usual_data(limits: ClassLimits) -> list[Expectation]:
    """Return what is merely unusual for the class; none of it blocks."""
    moves = [limits.usual_move_5m, limits.usual_move_30m, limits.usual_move_1d]
    spoken = [f"{move:.3g} %" for move in (100 * limit for limit in moves)]
    return [
        *([_on_ticks(1.0, WARNING)] if limits.on_tick_frac_min < 1 else []),
        ExpectMovesWithin(
            column_list=["move", "bar_minutes"],
            move_max_5m=moves[0],
            move_max_30m=moves[1],
            move_max_1d=moves[2],
            ignore_row_if="any_value_is_missing",
            severity=WARNING,
            meta=_meta(
                f"a bar of 5 minutes should close within {spoken[0]} of the one before, of 30 minutes within "
                f"{spoken[1]}, of a day within {spoken[2]}",
                "Check it; true moves stay",
            ),
        ),
        ExpectColumnValuesToBeBetween(
            column="volume",
            min_value=0,
            strict_min=True,
            mostly=1 - limits.zero_volume_frac_max,
            severity=WARNING,
            meta=_meta(
                f"at most {limits.zero_volume_frac_max:.0%} of the bars should have no volume",
                "Check whether this is the traded contract",
            ),
        ),
        ExpectColumnValuesToBeBetween(
            column="masked",
            max_value=0,
            mostly=_KEPT_FRAC_USUAL,
            severity=WARNING,
            meta=_meta("at most 1 % of the rows should be cut by a mask", "See the findings"),
        ),
        ExpectColumnValuesToBeBetween(
            column="session_frac",
            min_value=_WHOLE_SESSION_FRAC,
            mostly=_WHOLE_SESSIONS_USUAL,
            severity=WARNING,
            meta=_meta("at most 2 % of the sessions should lack more than 40 % of their bars", "See the findings"),
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
    source = context.data_sources.add_pandas(DATASOURCE)
    batches = {
        name: source.add_dataframe_asset(name).add_batch_definition_whole_dataframe(BATCH) for name in (BARS, DRIFT)
    }
    for name, expectations in suites().items():
        suite = context.suites.add(gx.ExpectationSuite(name=name, expectations=expectations))
        batch = batches[DRIFT if name == DRIFT else BARS]
        definition = context.validation_definitions.add(gx.ValidationDefinition(name=name, data=batch, suite=suite))
        context.checkpoints.add(
            gx.Checkpoint(
                name=name,
                validation_definitions=[definition],
                actions=[],
                result_format={
                    "result_format": "SUMMARY",
                    "partial_unexpected_count": 20,
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
