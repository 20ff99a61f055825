from __future__ import annotations

import numpy as np
import pytest

from grandmodel.core.config import TeamParams
from grandmodel.core.errors import ConfigError
from grandmodel.core.random import random_stream
from grandmodel.market.policy import random_policy
from grandmodel.market.team import AGGRESSIVE, FLAT
from models.strategic import policy as strategic_policy
from models.strategic.agents import strategic_team
from models.tactical import policy as tactical_policy
from models.tactical.agents import tactical_team


def test_the_strategic_team_is_the_one_described():
    team = strategic_team(TeamParams(lags=2))
    assert team.agents == ("mlmi", "nwrqk", "regime", "coordinator")
    assert team.columns == ((0, 1, 8, 9), (2, 3, 4, 5), (10, 11, 12), (6, 7))
    assert (team.action_counts, team.n_columns, team.lags, team.uses_intent) == ((3, 3, 3, 4), 13, 2, False)
    assert sorted(column for own in team.columns for column in own) == list(range(13))


def test_the_tactical_team_is_the_one_described():
    team = tactical_team(TeamParams(lags=3))
    assert team.agents == ("fvg", "momentum", "entry")
    assert team.columns == (tuple(range(7)),) * 3
    assert (team.action_counts, team.n_columns, team.lags, team.uses_intent) == ((3, 3, 3), 7, 3, True)


def test_the_tactical_team_begins_by_carrying_the_intent_out():
    assert tactical_team(TeamParams()).default_actions == (FLAT, FLAT, AGGRESSIVE)
    assert strategic_team(TeamParams()).default_actions is None


@pytest.mark.parametrize(("module", "team"), [(strategic_policy, strategic_team), (tactical_policy, tactical_team)])
def test_an_exported_team_is_loaded_for_its_own_parameters_alone(module, team, tmp_path):
    params = TeamParams()
    saved = random_policy(team(params), 8, random_stream(1, "policy"))
    saved.save(tmp_path / "team.safetensors")
    assert module.load(tmp_path / "team.safetensors", params).hash() == saved.hash()
    with pytest.raises(ConfigError):
        module.load(tmp_path / "team.safetensors", TeamParams(lags=2))


def test_actions_are_put_in_words():
    assert strategic_policy.in_words(np.array([2, 1, 2, 3])) == "mlmi long, nwrqk flat, regime long: full size"
    assert tactical_policy.in_words([0, 1, 0]) == "fvg short, momentum flat: wait"
