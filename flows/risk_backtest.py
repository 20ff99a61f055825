"""The nightly backtest of the risk numbers: which methods of value at risk may vote, and what their vote is.

The work is done by ``pipelines/risk_backtest.py`` in a child process. That no method may vote is a finding, not a
failure: the flow completes, and what it publishes says REDUCING. By hand: ``python -m pipelines.risk_backtest``.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from rich.console import Console

from flows.commands import one_run_at_a_time, run_stage_module
from pipelines.workspace import PROJECT

WAIT_SECONDS = 3600.0  # for a release that is still being made
RESULT = "risk_backtest.json"
console = Console()


@task(task_run_name="risk backtest")
def run_backtest(folder: Path) -> dict[str, Any]:
    """Judge the release in ``folder``, write the result beside it, and return it."""
    run_stage_module("risk_backtest", "--workspace", str(folder), "--to", str(folder / RESULT))
    result: dict[str, Any] = json.loads((folder / RESULT).read_text())
    return result


@task(task_run_name="artifacts")
def publish(result: dict[str, Any]) -> None:
    """Attach the sentence and one row for each method to the run's page in the Prefect UI."""
    about = f"{result['days']} days, {result['first_day']} to {result['last_day']}, {result['level']:.0%}, 1 day ahead"
    create_markdown_artifact(
        f"# {result['sentence']}\n\n{about}", key="risk-vote", description="Which methods of value at risk may vote"
    )
    create_table_artifact(table(result), key="risk-backtest", description=f"Value at risk against returns: {about}")


@flow(name="risk_backtest")
def risk_backtest(workspace: str | None = None) -> dict[str, Any]:
    """Judge the risk numbers of a release by what it earned out of sample.

    Args:
        workspace: folder of the run that made the release; None means ``artifacts/``.
    """
    folder = Path(workspace) if workspace else PROJECT / "artifacts"
    with one_run_at_a_time(WAIT_SECONDS):
        result = run_backtest(folder)
    publish(result)
    console.print(f"result  {folder / RESULT}", soft_wrap=True)
    return result


def table(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one row for each method as the page shows it: text and numbers only."""
    return [
        {
            "method": row["method"],
            "exceptions": f"{row['exceptions']} of {result['days']}, {row['expected']:g} expected",
            "light": row["light"],
            "vote": "yes" if row["may_vote"] else "no",
            "mean VaR": _percent(row["mean_var_frac"]),
            "next day": _percent(row["next_day_var_frac"]),
            **{test: one["verdict"] for test, one in row["tests"].items()},
            "why": row["reason"],
        }
        for row in result["methods"]
    ]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"
