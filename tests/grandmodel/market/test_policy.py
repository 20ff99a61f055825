from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from grandmodel.core.errors import ConfigError
from grandmodel.core.random import random_stream
from grandmodel.market import reference
from grandmodel.market.policy import WEIGHT_NAMES, TeamPolicy, greedy_action, random_policy, tanh_in_place


@pytest.fixture
def policy(sized_team):
    return random_policy(sized_team, 16, random_stream(1, "policy"))


def test_logits_equal_the_plain_twin_bit_for_bit(policy):
    stream = random_stream(2, "observations")
    for agent, count in enumerate(policy.spec.action_counts):
        for _ in range(50):
            seen = stream.normal(0, 2, policy.spec.observation_size).astype(np.float32)
            np.testing.assert_array_equal(policy.logits(seen, agent), reference.logits(policy, seen, agent)[:count])


def test_logits_are_those_of_a_tanh_network_in_double_precision(policy):
    seen = random_stream(3, "observations").normal(0, 2, policy.spec.observation_size).astype(np.float32)
    for agent, count in enumerate(policy.spec.action_counts):
        size = policy.spec.observation_sizes[agent]
        layer = seen[:size].astype(np.float64)
        for number in range(3):
            weight = policy.weights[f"actor.{number}.weight"][agent].astype(np.float64)[: len(layer)]
            layer = layer @ weight + policy.weights[f"actor.{number}.bias"][agent]
            layer = np.tanh(layer) if number < 2 else layer
        np.testing.assert_allclose(policy.logits(seen, agent), layer[:count], atol=1e-5)


def test_tanh_is_within_its_stated_error():
    x = np.linspace(-12, 12, 200_001).astype(np.float32)
    found = x.copy()
    tanh_in_place(found)
    assert np.abs(found - np.tanh(x.astype(np.float64))).max() < 5e-7
    np.testing.assert_array_equal(found, reference.tanh_approximation(x))
    np.testing.assert_array_equal(found, -found[::-1])


def test_probabilities_sum_to_one_over_the_agent_s_own_actions(policy):
    seen = np.ones(policy.spec.observation_size, np.float32)
    for agent, count in enumerate(policy.spec.action_counts):
        chances = policy.probabilities(seen, agent)
        assert chances.shape == (count,)
        assert chances.min() > 0
        assert chances.sum() == pytest.approx(1, abs=1e-6)
        assert policy.act(seen, agent) == int(np.argmax(chances))


def test_what_stands_behind_an_agent_s_own_numbers_is_not_read(policy):
    seen = np.ones(policy.spec.observation_size, np.float32)
    padded = seen.copy()
    padded[policy.spec.observation_sizes[0] :] = 1e6
    np.testing.assert_array_equal(policy.logits(seen, 0), policy.logits(padded, 0))


def test_ties_go_to_the_lowest_action_and_missing_actions_are_ignored():
    assert greedy_action(np.array([1, 2, 2, 9], np.float32), 3) == 1
    assert greedy_action(np.zeros(4, np.float32), 4) == 0


def test_a_policy_survives_its_file(policy, tmp_path):
    policy.save(tmp_path / "team.safetensors")
    again = TeamPolicy.load(tmp_path / "team.safetensors", policy.spec)
    assert again.hash() == policy.hash()
    assert TeamPolicy.load(tmp_path / "team.safetensors").spec == policy.spec


def test_equal_policies_have_equal_files(policy, tmp_path):
    backwards = TeamPolicy(policy.spec, dict(reversed(policy.weights.items())))
    policy.save(tmp_path / "a")
    backwards.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_file_of_another_team_or_no_team_is_refused(policy, tmp_path):
    policy.save(tmp_path / "team.safetensors")
    with pytest.raises(ConfigError, match="must be a policy of"):
        TeamPolicy.load(tmp_path / "team.safetensors", replace(policy.spec, lags=2))
    (tmp_path / "broken").write_bytes(b"not safetensors")
    for missing in ("broken", "absent"):
        with pytest.raises(ConfigError, match="safetensors"):
            TeamPolicy.load(tmp_path / missing, policy.spec)


@pytest.mark.parametrize("name", WEIGHT_NAMES)
def test_wrong_weights_are_refused(policy, name):
    for wrong in (
        policy.weights[name][:1],
        policy.weights[name].astype(np.float64),
        np.full_like(policy.weights[name], np.nan),
    ):
        with pytest.raises(ConfigError, match="float32"):
            TeamPolicy(policy.spec, {**policy.weights, name: wrong})
    with pytest.raises(ConfigError, match="exactly"):
        TeamPolicy(policy.spec, {key: value for key, value in policy.weights.items() if key != name})


def test_an_observation_of_a_wrong_shape_is_refused(policy):
    with pytest.raises(ConfigError, match="float32"):
        policy.logits(np.zeros(3, np.float32), 0)
