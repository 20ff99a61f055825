"""The value at risk of a release over a half hour and a day, judged on what its first seed earned out of sample."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from grandmodel.core.errors import DataError
from grandmodel.core.random import random_stream
from grandmodel.gates.risk_number import RiskNumber, follow
from pipelines.risk_backtest import daily_returns
from pipelines.workspace import Workspace


def risk_numbers(workspace: Workspace) -> list[RiskNumber | str]:
    """Return the risk number of each horizon, or the words why it cannot be judged (gate G6 refuses those).

    Raises: DataError when the evidence of the evaluate stage cannot be read.
    """
    evidence = workspace.evaluate / "evidence"
    days, _ = daily_returns(evidence / "daily.safetensors")
    half_hours = load_file(evidence / "bars_30m.safetensors")["release"]
    return [_judged(half_hours, "30 minutes", workspace), _judged(days, "1 day", workspace)]


def _judged(returns: NDArray[np.float64], horizon: str, workspace: Workspace) -> RiskNumber | str:
    params = workspace.params
    stream = random_stream(params.seed, "risk number", horizon)
    try:
        return follow(returns, horizon, level=params.gates.risk_level, stream=stream)
    except DataError as error:
        return str(error)
