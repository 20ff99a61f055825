"""What the strategic actions mean, and how an exported team is loaded.

mlmi, nwrqk and regime each vote 0 short, 1 flat or 2 long; coordinator picks 0..3 thirds of the risk budget. The mean
of the three votes is the direction triple (short, flat, long) of the intent, the coordinator's thirds are its size, the
largest share of the triple its confidence. In training the team also holds a book of its own: target position =
(long - short) x size, reached by market order at the next open.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from grandmodel.core.config import TeamParams
from grandmodel.market.policy import TeamPolicy
from models.strategic.agents import COLUMNS, strategic_team

VOTES = ("short", "flat", "long")
SIZES = ("no size", "a third of the size", "two thirds of the size", "full size")


def load(path: Path, params: TeamParams) -> TeamPolicy:
    """Read the exported strategic team. Raises ConfigError when the file holds another team."""
    return TeamPolicy.load(path, strategic_team(params))


def in_words(actions: Sequence[int]) -> str:
    """Return one bar's actions as a sentence, such as "mlmi long, nwrqk flat, regime long: full size"."""
    *votes, size = actions
    voters = list(COLUMNS)[:-1]
    spoken = ", ".join(f"{agent} {VOTES[vote]}" for agent, vote in zip(voters, votes, strict=True))
    return f"{spoken}: {SIZES[size]}"
