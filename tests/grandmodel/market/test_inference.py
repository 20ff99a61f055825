"""The serving kernel against the replay's arithmetic, and against what the networks mean in double precision."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from grandmodel.core.config import TeamParams
from grandmodel.core.errors import ConfigError, DataError
from grandmodel.core.philox import dropout_masks
from grandmodel.core.random import random_stream
from grandmodel.core.vector import padded
from grandmodel.market import mixture
from grandmodel.market.inference import TILE, FusedInference, abstain
from grandmodel.market.policy import TeamPolicy, random_policy
from grandmodel.market.team import FLAT, LONG, TRIPLE_SIZE, TeamSpec
from models.strategic.agents import strategic_team
from models.tactical.agents import tactical_team

KINDS = [mixture.NONE, mixture.SUPERPOSITION, mixture.SOFTMAX]


def with_mixture(policy: TeamPolicy, kind: int) -> TeamPolicy:
    """Return ``policy`` with a random mixture layer."""
    random, agents = random_stream(4, "mixture", kind), len(policy.spec.agents)
    arrays = {
        name: random.normal(0.0, 0.4, shape).astype(np.float32)
        for name, shape in mixture.shapes_of(kind, agents, policy.hidden).items()
    }
    if kind == mixture.SUPERPOSITION:
        drawn = random.normal(size=(2, agents, mixture.STATES, mixture.STATES))
        unitary = np.linalg.qr(drawn[0] + 1j * drawn[1]).Q
        arrays[mixture.UNITARY] = np.stack([unitary.real, unitary.imag], axis=1).astype(np.float32)
    return replace(policy, weights={**policy.weights, **arrays})


def teams(kind: int, hidden: int = 24) -> list[TeamPolicy]:
    """Return both teams of a release, seven agents, with distinct weights."""
    specs = (strategic_team(TeamParams(lags=2)), tactical_team(TeamParams()))
    return [with_mixture(random_policy(spec, hidden, random_stream(1, spec.name)), kind) for spec in specs]


def seated(kind: int, seed: int = 2, hidden: int = 24) -> tuple[FusedInference, list[TeamPolicy]]:
    """Return an inference whose agents see random numbers."""
    policies = teams(kind, hidden)
    inference = FusedInference(policies)
    row = 0
    for policy in policies:
        for agent in range(len(policy.spec.agents)):
            size = own_size(policy.spec, agent)
            inference.observations[row, :size] = random_stream(seed, row).normal(0, 2, size)
            row += 1
    return inference, policies


def own_size(spec: TeamSpec, agent: int) -> int:
    return spec.observation_sizes[agent] - TRIPLE_SIZE * agent


def double_precision(policy: TeamPolicy, seen: np.ndarray, agent: int, masks: np.ndarray | None = None) -> np.ndarray:
    """Return the probabilities of ``agent``, of every dropout sample if ``masks`` [2, N, H] are given."""
    weights = {name: array.astype(np.float64)[agent] for name, array in policy.weights.items()}
    hidden = seen[None].astype(np.float64)
    for layer in range(2):
        weight = weights[f"actor.{layer}.weight"][: hidden.shape[1]]
        hidden = np.tanh(hidden @ weight + weights[f"actor.{layer}.bias"])
        hidden = hidden if masks is None else hidden * masks[layer]
    if policy.mixture != mixture.NONE:
        gated = hidden @ weights[mixture.GATE_WEIGHT] + weights[mixture.GATE_BIAS]
        a, b = gated[:, : mixture.STATES], gated[:, mixture.STATES :]
        if policy.mixture == mixture.SUPERPOSITION:
            amplitudes = (a + 1j * b) / np.linalg.norm(gated, axis=1, keepdims=True)
            unitary = weights[mixture.UNITARY]
            chances = np.abs(amplitudes @ (unitary[0] + 1j * unitary[1]).T) ** 2
        else:
            chances = softmax(a + np.tanh(b) @ weights[mixture.MIX])
        hidden = hidden + chances @ weights[mixture.EMBEDDINGS]
    logits = hidden @ weights["actor.2.weight"] + weights["actor.2.bias"]
    return softmax(logits[:, : policy.spec.action_counts[agent]])


def softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("hidden", [16, 24])
def test_seven_agents_decide_as_one_after_the_other(kind, hidden):
    for seed in range(20):
        inference, policies = seated(kind, seed, hidden)
        actions = inference.decide()
        row = 0
        for policy in policies:
            votes: list[int] = []
            for agent, count in enumerate(policy.spec.action_counts):
                size = policy.spec.observation_sizes[agent]
                seen = inference.observations[row, :size].copy()
                triples = np.eye(TRIPLE_SIZE, dtype=np.float32)[votes].ravel()
                np.testing.assert_array_equal(seen[own_size(policy.spec, agent) :], triples)
                expected = double_precision(policy, seen, agent)[0]
                np.testing.assert_allclose(inference.probabilities[row, :count], expected, atol=1e-5)
                np.testing.assert_allclose(policy.probabilities(seen, agent), expected, atol=1e-5)
                assert not inference.probabilities[row, count:].any()
                assert actions[row] == np.argmax(expected)
                votes.append(int(actions[row]))
                row += 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("samples", [1, TILE, 300])
def test_dropout_samples_are_those_of_the_stated_masks(kind, samples):
    inference, policies = seated(kind)
    inference.decide()
    found = inference.uncertainty(samples=samples, rate=0.25, seed=9)
    row = 0
    for policy in policies:
        for agent, count in enumerate(policy.spec.action_counts):
            width = padded(policy.hidden)
            both = dropout_masks(9, row, samples, 2 * width, 0.25)
            masks = np.stack([both[:, : policy.hidden], both[:, width : width + policy.hidden]])
            seen = inference.observations[row, : policy.spec.observation_sizes[agent]]
            expected = double_precision(policy, seen, agent, masks)
            np.testing.assert_allclose(found.samples[row, :, :count], expected, atol=1e-5)
            mean = expected.mean(axis=0)
            np.testing.assert_allclose(found.probabilities[row, :count], mean, atol=1e-5)
            predictive, each = -(mean * np.log(mean)).sum(), -(expected * np.log(expected)).sum(axis=1)
            assert found.predictive_entropy[row] == pytest.approx(predictive, abs=1e-5)
            assert found.expected_entropy[row] == pytest.approx(each.mean(), abs=1e-5)
            assert found.mutual_information[row] == pytest.approx(predictive - each.mean(), abs=2e-5)
            row += 1


def test_equal_seeds_draw_equal_samples_and_others_do_not():
    inference, _ = seated(mixture.NONE)
    inference.decide()
    first = inference.uncertainty(samples=50, rate=0.1, seed=3).samples
    np.testing.assert_array_equal(inference.uncertainty(samples=50, rate=0.1, seed=3).samples, first)
    assert np.abs(inference.uncertainty(samples=50, rate=0.1, seed=4).samples - first).max() > 0.01


def test_without_dropout_nothing_is_random():
    inference, _ = seated(mixture.SUPERPOSITION)
    inference.decide()
    found = inference.uncertainty(samples=130, rate=0.0, seed=3)
    np.testing.assert_allclose(found.probabilities, inference.probabilities[:, :4], atol=1e-6)
    assert found.mutual_information.max() < 1e-6


def test_only_the_agents_asked_for_are_sampled():
    inference, _ = seated(mixture.NONE)
    inference.decide()
    whole = inference.uncertainty(samples=60, rate=0.1, seed=3)
    part = inference.uncertainty(samples=60, rate=0.1, seed=3, agents=range(2, 3))
    np.testing.assert_array_equal(part.samples[2], whole.samples[2])
    assert not np.delete(part.samples, 2, axis=0).any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_refused_by_name(value):
    inference, _ = seated(mixture.NONE)
    inference.observations[5, 3] = value
    with pytest.raises(DataError, match="observation of momentum"):
        inference.decide()
    with pytest.raises(DataError, match="observation of momentum"):
        inference.uncertainty(samples=10, rate=0.1, seed=1)


@pytest.mark.parametrize(("samples", "rate"), [(0, 0.1), (10, 1.0), (10, -0.1), (10, float("nan"))])
def test_a_sample_count_or_rate_out_of_range_is_refused(samples, rate):
    inference, _ = seated(mixture.NONE)
    with pytest.raises(ConfigError, match="MC dropout"):
        inference.uncertainty(samples=samples, rate=rate, seed=1)


@pytest.mark.parametrize(("agents", "seed"), [(range(99), 1), (range(-1, 2), 1), (range(2), -1), (range(2), 2**70)])
def test_agents_and_seeds_out_of_range_are_refused(agents, seed):
    inference, _ = seated(mixture.NONE)
    with pytest.raises(ConfigError, match="MC dropout"):
        inference.uncertainty(samples=10, rate=0.1, seed=seed, agents=agents)


def test_a_voter_in_doubt_abstains_and_the_others_do_not():
    inference, _ = seated(mixture.NONE)
    inference.decide()
    doubt = inference.uncertainty(samples=20, rate=0.1, seed=1)
    doubt = doubt._replace(predictive_entropy=np.array([0.5, 0.7, np.nan, 2.0, 0.6, 0.8, 2.0]))
    actions = np.full(7, LONG)
    kept = abstain(actions, (0, 1, 2, 4, 5), doubt, entropy_max=0.6)
    assert kept.tolist() == [LONG, FLAT, FLAT, LONG, LONG, FLAT, LONG]
    assert actions.tolist() == [LONG] * 7


def test_no_team_is_no_inference():
    with pytest.raises(ConfigError, match="at least one team"):
        FusedInference([])


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_policy_with_a_mixture_survives_the_disk(kind, tmp_path):
    policy = teams(kind)[0]
    policy = replace(policy, weights={**policy.weights, "actor.dropout": np.array([0.1], np.float32)})
    policy.save(tmp_path / "team.safetensors")
    loaded = TeamPolicy.load(tmp_path / "team.safetensors")
    assert (loaded.mixture, loaded.dropout) == (kind, pytest.approx(0.1))
    assert loaded.hash() == policy.hash()


def test_half_a_mixture_is_refused():
    policy = teams(mixture.SOFTMAX)[0]
    weights = {name: array for name, array in policy.weights.items() if name != mixture.EMBEDDINGS}
    with pytest.raises(ConfigError, match="needs exactly"):
        replace(policy, weights=weights)
