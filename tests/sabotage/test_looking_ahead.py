"""One bar of look-ahead, at every stage of the stack: gate G1 refuses it and names the stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import grandmodel.features.kernels
import grandmodel.market.core
import grandmodel.market.replay
import models.feature_spec
import models.release
from grandmodel.features.columns import STRATEGIC_COLUMNS, TACTICAL_COLUMNS
from tests.sabotage.conftest import Attempt

Function = Callable[..., Any]


def ahead(values: np.ndarray) -> np.ndarray:
    """Return each row of the next bar; the last has none and keeps its own."""
    return np.concatenate([values[1:], values[-1:]])


def column_ahead(column: int) -> Callable[[Function], Function]:
    """Return what lets one column of a feature function look one bar ahead."""

    def sabotage(honest: Function) -> Function:
        def peeking(*args: Any) -> np.ndarray:
            values = np.array(honest(*args))
            values[:, column] = ahead(values[:, column])
            return values

        return peeking

    return sabotage


def next_votes(honest: Function) -> Function:
    """Count the label that only the next cross will tell."""

    def peeking(slow: Any, fast: Any, side: np.ndarray, *args: Any) -> np.ndarray:
        votes = np.array(honest(slow, fast, side, *args))
        crosses = np.flatnonzero(np.diff(side, prepend=side[:1]))
        following = np.searchsorted(crosses, np.arange(len(side)), side="right")
        known = following < len(crosses)
        votes[known, 0] = votes[crosses[following[known]], 0]
        return votes

    return peeking


def windows_ahead(honest: Function) -> Function:
    """Show each agent the columns of the next bar."""

    def peeking(features: np.ndarray, offsets: np.ndarray, spec: Any) -> Any:
        return honest(ahead(features), offsets, spec)

    return peeking


def intents_ahead(honest: Function) -> Function:
    """Hand the tactical team the intent of the next half hour."""

    def peeking(table: Any, close_ns: np.ndarray) -> Any:
        return honest(table, close_ns + 30 * 60 * 1_000_000_000)

    return peeking


@dataclass(frozen=True)
class Cheat:
    """What is replaced, by what, and what the reason must name."""

    module: Any
    function: str
    sabotage: Callable[[Function], Function]
    named: tuple[str, ...]


CHEATS = {
    "strategic feature": Cheat(
        models.feature_spec,
        "strategic_features",
        column_ahead(STRATEGIC_COLUMNS.index("momentum_20")),
        ("features of strategic", "(momentum_20)"),
    ),
    "tactical feature": Cheat(
        models.feature_spec,
        "tactical_features",
        column_ahead(TACTICAL_COLUMNS.index("momentum_5")),
        ("features of tactical", "(momentum_5)"),
    ),
    "votes of mlmi": Cheat(
        grandmodel.features.kernels, "cross_votes", next_votes, ("features of strategic", "mlmi_value")
    ),
    "observation": Cheat(grandmodel.market.core, "lay_windows", windows_ahead, ("observations of strategic",)),
    "agents": Cheat(grandmodel.market.replay, "lay_windows", windows_ahead, ("decisions of",)),
    "intent": Cheat(models.release, "intents_on_clock", intents_ahead, ("intents of tactical",)),
}


def test_a_clean_stack_passes(attempt: Callable[[], Attempt]) -> None:
    result = attempt().leakage()
    assert result.passed, result.reason
    assert result.n == 2 * (6 + 1)  # instruments x (cuts and one shuffle)


@pytest.mark.parametrize("cheat", CHEATS.values(), ids=CHEATS)
def test_a_bar_of_look_ahead_is_caught_at_its_stage(
    attempt: Callable[[], Attempt], monkeypatch: pytest.MonkeyPatch, cheat: Cheat
) -> None:
    monkeypatch.setattr(cheat.module, cheat.function, cheat.sabotage(getattr(cheat.module, cheat.function)))
    result = attempt().leakage()
    assert not result.passed
    for name in (*cheat.named, "at row", "when the future is"):
        assert name in result.reason
