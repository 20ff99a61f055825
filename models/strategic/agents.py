"""Who the strategic agents are, what each sees, and how many actions each has."""

from __future__ import annotations

from grandmodel.core.config import TeamParams
from grandmodel.market.team import TeamSpec

N_COLUMNS = 13

# Feature columns by index: 0 mlmi_value, 1 mlmi_signal, 2 nwrqk_deviation, 3 nwrqk_slope, 4 lvn_distance,
# 5 lvn_strength, 6 hour_sin, 7 hour_cos, 8 momentum_20, 9 momentum_50, 10 mmd_score, 11 volatility_30,
# 12 volume_profile_skew.
COLUMNS = {
    "mlmi": (0, 1, 8, 9),
    "nwrqk": (2, 3, 4, 5),
    "regime": (10, 11, 12),
    "coordinator": (6, 7),  # and the triples of the three before it
}
ACTION_COUNTS = {"mlmi": 3, "nwrqk": 3, "regime": 3, "coordinator": 4}


def strategic_team(params: TeamParams) -> TeamSpec:
    """Return the strategic team; ``params.lags`` says how many bars of its columns an agent sees."""
    return TeamSpec(
        name="strategic",
        agents=tuple(COLUMNS),
        columns=tuple(COLUMNS.values()),
        action_counts=tuple(ACTION_COUNTS[agent] for agent in COLUMNS),
        n_columns=N_COLUMNS,
        lags=params.lags,
        uses_intent=False,
    )
