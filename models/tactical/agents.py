"""Who the tactical agents are, what each sees, and how many actions each has."""

from __future__ import annotations

from grandmodel.core.config import TeamParams
from grandmodel.market.team import AGGRESSIVE, FLAT, TeamSpec

N_COLUMNS = 7

# Feature columns by index: 0 fvg_bullish_active, 1 fvg_bearish_active, 2 fvg_nearest_level, 3 fvg_age,
# 4 fvg_mitigation_signal, 5 momentum_5, 6 volume_ratio. Every agent sees all of them, and the intent.
AGENTS = ("fvg", "momentum", "entry")
ACTION_COUNTS = (3, 3, 3)
# The intent carried out as it stands: no veto, and the next open. Training begins there and learns where to depart.
DEFAULT_ACTIONS = (FLAT, FLAT, AGGRESSIVE)


def tactical_team(params: TeamParams) -> TeamSpec:
    """Return the tactical team; ``params.lags`` says how many bars of the columns each agent sees."""
    return TeamSpec(
        name="tactical",
        agents=AGENTS,
        columns=(tuple(range(N_COLUMNS)),) * len(AGENTS),
        action_counts=ACTION_COUNTS,
        n_columns=N_COLUMNS,
        lags=params.lags,
        uses_intent=True,
        default_actions=DEFAULT_ACTIONS,
    )
