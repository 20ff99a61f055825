"""What the tactical actions mean, and how an exported team is loaded.

fvg and momentum each vote 0 short, 1 flat or 2 long on the intent they are given; entry picks 0 wait, 1 execute or 2
aggressive. With d = (long - short) x size of the intent, the target position is d, or flat where both votes are against
d: a veto. Wait keeps the position; execute works a limit order at the last close for one bar, which fills only if the
price trades through it; aggressive takes the next open and pays spread and impact.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from grandmodel.core.config import TeamParams
from grandmodel.market.policy import TeamPolicy
from models.tactical.agents import AGENTS, tactical_team

VOTES = ("short", "flat", "long")
ORDERS = ("wait", "execute by limit order", "execute at the market")


def load(path: Path, params: TeamParams) -> TeamPolicy:
    """Read the exported tactical team. Raises ConfigError when the file holds another team."""
    return TeamPolicy.load(path, tactical_team(params))


def in_words(actions: Sequence[int]) -> str:
    """Return one bar's actions as a sentence, such as "fvg long, momentum flat: wait"."""
    *votes, order = actions
    spoken = ", ".join(f"{agent} {VOTES[vote]}" for agent, vote in zip(AGENTS[:-1], votes, strict=True))
    return f"{spoken}: {ORDERS[order]}"
