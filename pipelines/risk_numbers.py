"""The value at risk of a release over a half hour and a day, judged on what its first seed held and earned."""

from __future__ import annotations

from collections.abc import Callable

from safetensors.numpy import load_file

from grandmodel.core.errors import DataError
from grandmodel.core.random import random_stream
from grandmodel.gates.risk_number import RiskNumber, follow, follow_book
from grandmodel.risk.held_book import HeldBook
from pipelines.risk_backtest import daily_returns
from pipelines.workspace import Workspace


def risk_numbers(workspace: Workspace) -> list[RiskNumber | str]:
    """Return the risk number of each horizon, or the words why it cannot be judged (gate G6 refuses those).

    Raises: DataError when the evidence of the evaluate stage cannot be read.
    """
    evidence = workspace.evaluate / "evidence"
    days, _ = daily_returns(evidence / "daily.safetensors")
    book = HeldBook(**load_file(evidence / "book_30m.safetensors"))
    return [_judged(follow_book, book, "30 minutes", workspace), _judged(follow, days, "1 day", workspace)]


def _judged(judge: Callable[..., RiskNumber], lived: object, horizon: str, workspace: Workspace) -> RiskNumber | str:
    params = workspace.params
    stream = random_stream(params.seed, "risk number", horizon)
    try:
        return judge(lived, horizon, level=params.gates.risk_level, stream=stream)
    except DataError as error:
        return str(error)
