"""The tactical team's market as PettingZoo environments; without arguments over a small simulated tape."""

from __future__ import annotations

from models.env import TeamFaces
from models.tactical.agents import tactical_team

_FACES = TeamFaces(tactical_team)

env = _FACES.env
raw_env = _FACES.raw_env
parallel_env = _FACES.parallel_env
