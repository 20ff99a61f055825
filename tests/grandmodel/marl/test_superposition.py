"""The mixture layers: what probabilities must obey, what learns, what serving computes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from grandmodel.core.config import TeamParams
from grandmodel.core.errors import ConfigError
from grandmodel.core.random import random_stream
from grandmodel.market import mixture as serving
from grandmodel.marl import superposition
from grandmodel.marl.mappo import new_learner, train_vectorised
from grandmodel.marl.networks import Stack, new_stack
from grandmodel.marl.superposition import STATES, Mixture, amplitudes, born, split_mixture, unitary
from tests.grandmodel.marl.games import AnswerGame

KINDS: list[Mixture] = ["superposition", "softmax"]
HIDDEN = 24


def stack_of(kind: Mixture, networks: int = 3) -> Stack:
    return new_stack(networks, (9, HIDDEN, HIDDEN, 4), 1.0, random_stream(1, "mixture"), "cpu", kind)


def normal(*shape: int, name: str = "normal") -> Tensor:
    return torch.from_numpy(random_stream(2, name).standard_normal(shape).astype(np.float32))


def test_the_mix_is_unitary() -> None:
    mixer = unitary(3 * normal(50, STATES, STATES))
    products = torch.bmm(mixer, mixer.conj().transpose(1, 2))
    assert float((products - torch.eye(STATES)).abs().max()) < 1e-5


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_sum_to_one(kind: Mixture) -> None:
    layers = split_mixture(stack_of(kind).flat.detach(), HIDDEN)
    chances = superposition.probabilities(layers, normal(3, 200, HIDDEN), kind)
    assert float(chances.min()) >= 0
    torch.testing.assert_close(chances.sum(dim=2), torch.ones(3, 200), atol=1e-5, rtol=0)


def test_a_phase_of_all_amplitudes_changes_nothing_and_one_of_some_does() -> None:
    mixer, gated = unitary(normal(2, STATES, STATES)), amplitudes(normal(2, 100, 2 * STATES, name="gated"))
    complex_form = torch.complex(gated[..., :STATES], gated[..., STATES:])

    def turned(angles: Tensor) -> Tensor:
        c = complex_form * torch.polar(torch.ones(STATES), angles)
        return born(torch.cat([c.real, c.imag], dim=2), mixer)

    before = born(gated, mixer)
    torch.testing.assert_close(turned(torch.full((STATES,), 1.234)), before, atol=1e-6, rtol=1e-4)
    relative = turned(torch.tensor([1.234] + [0.0] * (STATES - 1)))
    assert float((relative - before).abs().max()) > 0.05


def test_born_s_rule_is_the_squared_length_of_the_complex_product() -> None:
    mixer, gated = unitary(normal(2, STATES, STATES)), amplitudes(normal(2, 100, 2 * STATES, name="gated"))
    c = torch.complex(gated[..., :STATES], gated[..., STATES:])
    expected = torch.einsum("bjk,bmk->bmj", mixer, c).abs().square()
    torch.testing.assert_close(born(gated, mixer), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_reach_every_part(kind: Mixture) -> None:
    stack = stack_of(kind)
    layers = split_mixture(stack.flat, HIDDEN)
    superposition.with_context(layers, normal(3, 50, HIDDEN), kind).square().sum().backward()
    assert stack.flat.grad is not None
    slopes = split_mixture(stack.flat.grad, HIDDEN)
    for slope in (
        slopes.gate[..., :STATES],
        slopes.gate[..., STATES:],
        slopes.gate_bias,
        slopes.mix,
        slopes.embeddings,
    ):
        assert float(slope.abs().amax(dim=tuple(range(1, slope.dim()))).min()) > 1e-4


def test_draws_match_the_probabilities() -> None:
    layers = split_mixture(stack_of("superposition", 1).flat.detach(), HIDDEN)
    chances = superposition.probabilities(layers, 3 * normal(1, 1, HIDDEN), "superposition")[0, 0]
    uniforms = torch.from_numpy(random_stream(3, "draws").random(100_000))
    counts = torch.bincount(superposition.draw_states(chances, uniforms), minlength=STATES)
    expected = chances.double() * len(uniforms)
    assert float(((counts - expected).square() / expected).sum()) < 24.3  # chi-square, 7 degrees, 99.9 %


def test_the_two_mixtures_are_of_equal_size() -> None:
    assert stack_of("superposition").flat.shape == stack_of("softmax").flat.shape
    assert stack_of("superposition").flat.shape[1] > stack_of("none").flat.shape[1]


@pytest.mark.parametrize("kind", KINDS)
def test_serving_reads_the_states_that_training_meant(kind: Mixture) -> None:
    stack, hidden = stack_of(kind), normal(3, 40, HIDDEN)
    expected = superposition.probabilities(split_mixture(stack.flat.detach(), HIDDEN), hidden, kind)
    weights = stack.export("actor", 3)
    for agent in range(3):
        for row in range(40):
            found = serving.states_of(weights, hidden[agent, row].numpy(), agent)
            np.testing.assert_allclose(found, expected[agent, row], atol=1e-5)
    assert serving.STATES == STATES


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_team_learns_with_it(kind: Mixture, dropout: float) -> None:
    game = AnswerGame(copies=64)
    content = {"path": "torch", "mixture": kind, "dropout": dropout, "hidden": 16, "rollout_steps": 8}
    params = TeamParams.model_validate({**content, "frames": 8_000, "learning_rate": 5e-3, "entropy": 0.0})
    trained = train_vectorised(game, params, seed=4)
    again = train_vectorised(AnswerGame(copies=64), params, seed=4)
    assert trained.curves == again.curves
    assert trained.curves[-1]["return_per_step"] > trained.curves[0]["return_per_step"] + 0.2


def test_the_fused_path_refuses_what_it_cannot_train() -> None:
    for changes in ({"mixture": "superposition"}, {"dropout": 0.1}):
        with pytest.raises(ConfigError, match="path: torch"):
            new_learner(AnswerGame(), TeamParams.model_validate(changes), random_stream(1, "refused"), "cpu")


def test_an_action_is_judged_under_the_mask_it_was_taken_under() -> None:
    """Before the first step the ratio of probabilities is 1 for every sample: no divergence."""
    content = {"path": "torch", "dropout": 0.5, "rollout_steps": 4, "frames": 128, "epochs": 1, "minibatches": 1}
    game = AnswerGame(copies=32)
    row = train_vectorised(game, TeamParams.model_validate(content), seed=1).curves[0]
    assert row["kl"] == pytest.approx(0, abs=1e-6)
