"""The strategic team's market as PettingZoo environments; without arguments over a small simulated tape."""

from __future__ import annotations

from models.env import TeamFaces
from models.strategic.agents import strategic_team

_FACES = TeamFaces(strategic_team)

env = _FACES.env
raw_env = _FACES.raw_env
parallel_env = _FACES.parallel_env
