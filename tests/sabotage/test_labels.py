"""Labels shifted: decisions that are paid with a bar they have already seen are refused by gate G1.

Nothing that is known is wrong then, and no future is looked at, so neither a cut nor a shuffle shows it; what shows it
is the account, counted again from the bars after the decisions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import grandmodel.market.tape
from tests.sabotage.conftest import Attempt


def paid_late(honest: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """Return what makes market columns in which each bar pays what the bar before it moved."""

    def columns(*args: Any) -> dict[str, Any]:
        honest_columns = honest(*args)
        moves = {name: honest_columns[name] for name in ("gap_frac", "body_frac", "high_frac", "low_frac")}
        return honest_columns | {name: np.concatenate([move[:1], move[:-1]]) for name, move in moves.items()}

    return columns


def test_rewards_of_a_bar_already_seen_are_caught(
    attempt: Callable[[], Attempt], monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = grandmodel.market.tape._instrument_columns
    monkeypatch.setattr(grandmodel.market.tape, "_instrument_columns", paid_late(honest))
    result = attempt().leakage()
    assert not result.passed
    assert result.evidence["differences_total"] == 0, "what is known is not wrong, only what is paid"
    assert result.evidence["faults_total"] == 4, "two instruments on two clocks"
    assert "account of strategic" in result.reason
    assert "did not pay what the bar after the decision earned" in result.reason
