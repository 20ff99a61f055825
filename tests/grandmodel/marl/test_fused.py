"""The compiled update gives the gradients and the steps of automatic differentiation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from grandmodel.core.config import TeamParams
from grandmodel.core.random import random_stream
from grandmodel.marl.autograd import STATISTICS, AutogradLearner
from grandmodel.marl.fused import FusedLearner
from grandmodel.marl.mappo import new_optimiser
from grandmodel.marl.networks import Stack, new_stack
from grandmodel.marl.perceptron import TILE
from grandmodel.marl.rollout import Batch

COUNTS = (3, 2, 4)
PARAMS = TeamParams(clip=0.3)


def networks(hidden: int = 32, actors: int = 3, seed: int = 1) -> tuple[Stack, Stack]:
    generator = random_stream(seed, "networks")
    return (
        new_stack(actors, (21, hidden, hidden, 4), 1.0, generator, "cpu"),
        new_stack(1, (30, 48, 48, 1), 1.0, generator, "cpu"),
    )


def both(hidden: int = 32, actors: int = 3, params: TeamParams = PARAMS) -> tuple[FusedLearner, AutogradLearner]:
    """Return the two learners with equal parameters."""
    return (
        FusedLearner(*networks(hidden, actors), COUNTS, params),
        AutogradLearner(*networks(hidden, actors), COUNTS, params),
    )


def batch(size: int) -> Batch:
    """Return samples far from the team's own: all branches of both clips are met."""
    generator = random_stream(2, "batch")
    normal = [generator.standard_normal(shape) for shape in ((3, size, 21), (size, 30), (size,), (size,), (size,))]
    inputs, states, gains, returns, values = (torch.from_numpy(array.astype(np.float32)) for array in normal)
    actions = torch.from_numpy(np.stack([generator.integers(0, count, size) for count in COUNTS]))
    log_probs = torch.from_numpy(np.log(generator.uniform(0.1, 0.6, (3, size))).astype(np.float32))
    return Batch(inputs, states, actions, log_probs, gains, returns, values)


def close(data: Batch, learner: AutogradLearner) -> Batch:
    """Return ``data`` with the learner's own estimates as old ones, less a little: nothing is clipped."""
    old = learner.values(data.states.numpy()) - random_stream(3, "old").uniform(-0.1, 0.1, len(data.values))
    return data._replace(values=torch.from_numpy(old.astype(np.float32)))


def relative_error(found: Stack, expected: Stack) -> float:
    assert found.flat.grad is not None
    assert expected.flat.grad is not None
    assert float(expected.flat.grad.norm()) > 1e-3
    return float((found.flat.grad - expected.flat.grad).norm() / expected.flat.grad.norm())


@pytest.mark.parametrize("actors", [1, 3])
@pytest.mark.parametrize("near", [False, True])
@pytest.mark.parametrize(("hidden", "size"), [(32, 330), (64, TILE), (20, 1), (80, TILE + 7)])
def test_gradients_and_statistics_agree(hidden: int, size: int, near: bool, actors: int) -> None:
    fast, slow = both(hidden, actors)
    data = close(batch(600), slow) if near else batch(600)
    index = torch.randperm(600, generator=torch.Generator().manual_seed(3))[:size]
    for name, found, expected in zip(STATISTICS, fast.gradients(data, index), slow.gradients(data, index), strict=True):
        torch.testing.assert_close(found.float(), expected, rtol=1e-5, atol=1e-6, msg=name)
    assert relative_error(fast.actors, slow.actors) < 1e-5
    assert relative_error(fast.critic, slow.critic) < 1e-5


def test_the_gradient_of_no_sample_is_lost_to_rounding_in_the_value_clip() -> None:
    fast, slow = both()
    data = close(batch(2000), slow)
    for row in range(0, 2000, 40):
        index = torch.tensor([row])
        fast.gradients(data, index)
        slow.gradients(data, index)
        assert relative_error(fast.critic, slow.critic) < 1e-5


@pytest.mark.parametrize("norm_max", [0.01, 100.0])
def test_steps_agree(norm_max: float) -> None:
    fast, slow = both(params=TeamParams(gradient_norm_max=norm_max))
    fast_adam, slow_adam = new_optimiser(fast, fast.params), new_optimiser(slow, slow.params)
    before, data = fast.actors.flat.detach().clone(), batch(600)
    for index in torch.arange(600).split(150):
        fast.update(data, index, fast_adam)
        slow.update(data, index, slow_adam)
    for stack, twin in ((fast.actors, slow.actors), (fast.critic, slow.critic)):
        torch.testing.assert_close(stack.flat, twin.flat, rtol=1e-4, atol=1e-6)
        for name in ("exp_avg", "exp_avg_sq", "step"):
            found, expected = fast_adam.state[stack.flat][name], slow_adam.state[twin.flat][name]
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-8)
    assert float((fast.actors.flat.detach() - before).abs().max()) > 1e-3


def test_estimates_agree() -> None:
    fast, slow = both()
    states = batch(2500).states.numpy()
    np.testing.assert_allclose(fast.values(states), slow.values(states), rtol=1e-4, atol=1e-5)


def test_outputs_of_missing_actions_get_no_gradient() -> None:
    learner, _ = both()
    learner.gradients(batch(400), torch.arange(400))
    last = learner.actors.gradients.weights[2]
    assert float(last[1, :, :2].abs().sum()) > 0
    assert float(last[1, :, 2:].abs().sum()) == 0
    assert float(last[0, :, 3:].abs().sum()) == 0


@pytest.mark.parametrize("field", ["observations", "states", "advantages", "returns", "log_probs"])
def test_a_number_that_is_not_finite_shows_in_the_statistics(field: str) -> None:
    learner, _ = both()
    data = batch(400)
    getattr(data, field).view(-1)[17] = np.nan
    assert not np.isfinite(learner.gradients(data, torch.arange(400)).numpy()).all()
