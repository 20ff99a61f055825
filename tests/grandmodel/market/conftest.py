"""Small teams and hand-made tapes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from grandmodel.core.config import MarketParams
from grandmodel.market.tape import FLAT_INTENT, MarketTape
from grandmodel.market.team import TeamSpec

HandTape = Callable[..., MarketTape]


def make_sized_team(lags: int = 1) -> TeamSpec:
    return TeamSpec(
        name="sized",
        agents=("near", "far", "hour", "sizer"),
        columns=((0, 1, 4), (2, 3), (4,), ()),
        action_counts=(3, 3, 3, 4),
        n_columns=5,
        lags=lags,
        uses_intent=False,
    )


def make_ordering_team(lags: int = 1) -> TeamSpec:
    return TeamSpec(
        name="ordering",
        agents=("gap", "speed", "entry"),
        columns=((0, 1, 2), (1, 2), (0, 1, 2)),
        action_counts=(3, 3, 3),
        n_columns=3,
        lags=lags,
        uses_intent=True,
    )


def make_hand_tape(
    gap_frac: Sequence[float],
    body_frac: Sequence[float],
    *,
    columns: int = 5,
    leverage: float = 1.0,
    half_spread_frac: float = 0.0,
    commission_frac: float = 0.0,
    impact_frac: float = 0.0,
    offsets: Sequence[int] = (),
    **replaced: object,
) -> MarketTape:
    """Return one tape row per given gap and body; high and low are the extremes of open and close unless replaced."""
    gap, body = np.array(gap_frac, np.float64), np.array(body_frac, np.float64)
    rows = len(gap)
    ends = np.stack([gap, (1 + gap) * (1 + body) - 1])
    starts = tuple(offsets) or (0, rows)
    fields: dict[str, object] = {
        "symbols": tuple(f"S{number}" for number in range(len(starts) - 1)),
        "bar_minutes": 30,
        "offsets": np.array(starts, np.int64),
        "start_ns": np.arange(rows, dtype=np.int64) * 1800 * 10**9,
        "close_ns": (np.arange(rows, dtype=np.int64) + 1) * 1800 * 10**9,
        "session": np.zeros(rows, np.int32),
        "features": np.zeros((rows, columns), np.float32),
        "gap_frac": gap,
        "body_frac": body,
        "high_frac": ends.max(axis=0),
        "low_frac": ends.min(axis=0),
        "half_spread_frac": np.full(rows, half_spread_frac),
        "commission_frac": np.full(rows, commission_frac),
        "impact_frac": np.full(rows, impact_frac),
        "leverage": np.full(rows, leverage),
        "reward_scale": np.full(rows, 100.0),
        "session_left": np.linspace(1, 0, rows, dtype=np.float32),
        "tradable": np.ones(rows, np.bool_),
        "rolled": np.zeros(rows, np.bool_),
        "intent": np.tile(np.array(FLAT_INTENT, np.float32), (rows, 1)),
    }
    return MarketTape(**{**fields, **replaced})  # type: ignore[arg-type]


@pytest.fixture
def sized_team() -> TeamSpec:
    return make_sized_team()


@pytest.fixture
def ordering_team() -> TeamSpec:
    return make_ordering_team()


@pytest.fixture
def lagged_team() -> Callable[[bool], TeamSpec]:
    return lambda uses_intent: make_ordering_team(3) if uses_intent else make_sized_team(3)


@pytest.fixture
def hand_tape() -> HandTape:
    return make_hand_tape


@pytest.fixture
def params() -> MarketParams:
    return MarketParams()


@pytest.fixture(scope="module")
def hand_tape_module() -> HandTape:
    """Return the same maker for property tests, which may not use function-scoped fixtures."""
    return make_hand_tape
