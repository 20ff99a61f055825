from __future__ import annotations

from dataclasses import replace

import pytest

from grandmodel.core.errors import ConfigError
from grandmodel.market.team import TeamSpec


def test_sizes_follow_from_columns_lags_and_the_agents_before(sized_team, ordering_team):
    assert sized_team.observation_sizes == (3 + 4, 2 + 4 + 3, 1 + 4 + 6, 0 + 4 + 9)
    assert sized_team.observation_size == 13
    assert sized_team.state_size == 5 + 4
    assert ordering_team.observation_sizes == (3 + 10, 2 + 10 + 3, 3 + 10 + 6)
    assert replace(ordering_team, lags=3).observation_sizes == (9 + 10, 6 + 10 + 3, 9 + 10 + 6)
    assert replace(ordering_team, lags=3).state_size == 9 + 10


def test_layout_says_where_triples_start_and_what_actions_mean(sized_team, ordering_team):
    assert replace(sized_team, lags=2).layout.triples_at.tolist() == [10, 8, 6, 4]
    assert ordering_team.layout.triples_at.tolist() == [13, 12, 13]
    targets = sized_team.layout.targets
    assert targets.shape == (7, 4)
    assert targets[0].tolist() == [0, -1 / 3, -2 / 3, -1]
    assert targets[3].tolist() == [0, 0, 0, 0]
    assert targets[5, 3] == 2 / 3


def test_a_team_survives_its_plain_form(sized_team, ordering_team):
    for team in (sized_team, ordering_team, replace(ordering_team, default_actions=(1, 1, 2))):
        assert TeamSpec.from_dict(team.to_dict()) == team


@pytest.mark.parametrize(
    "wrong",
    [
        {"agents": ("alone",)},
        {"columns": ((0,), (1,), (2,), (9,))},
        {"action_counts": (3, 4, 3, 4)},
        {"action_counts": (3, 3, 3, 1)},
        {"lags": 0},
        {"uses_intent": True},
        {"default_actions": (1, 1, 1)},
        {"default_actions": (1, 1, 1, 4)},
        {"default_actions": (-1, 1, 1, 0)},
    ],
)
def test_an_impossible_team_is_refused(sized_team, wrong):
    with pytest.raises(ConfigError):
        replace(sized_team, **wrong)


def test_unknown_fields_are_refused(sized_team):
    with pytest.raises(ConfigError):
        TeamSpec.from_dict(sized_team.to_dict() | {"colour": "red"})
    with pytest.raises(ConfigError):
        TeamSpec.from_dict({"name": "x"})
