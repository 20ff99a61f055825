"""The scenario table of a release on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from grandmodel.cli.show import show_json, show_rows

COLUMNS = {  # of the table, each with the key that fills it; more would not fit on a line
    "scenario": "scenario",
    "kind": "kind",
    "without_breaker_frac": "loss_without_breaker_frac",
    "loss_frac": "loss_frac",
    "drawdown_frac": "drawdown_frac",
    "bars_to_breaker": "bars_to_breaker",
    "cap_after": "gross_cap_after",
    "state": "state",
}


def stress_rows(stress: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return every row of a stress table, the dated ones last, each with its ``kind``: scenario, drill or dated."""
    rows = [{**row, "kind": "drill" if row.get("drill") else "scenario"} for row in stress["scenarios"]]
    return rows + [{**row, "kind": "dated"} for row in stress.get("dated", ())]


def show_stress(title: str, stress: Mapping[str, Any], as_json: bool) -> None:
    """Print the rows of ``stress``; the table shows a dash where a row was not told something, JSON all it was told."""
    rows = stress_rows(stress)
    if as_json:
        show_json(rows)
    else:
        show_rows(title, [{column: row.get(key) for column, key in COLUMNS.items()} for row in rows], as_json)
