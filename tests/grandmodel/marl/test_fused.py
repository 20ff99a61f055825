"""The hand-written update gives the gradients of automatic differentiation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from grandmodel.core.config import TeamParams
from grandmodel.core.random import random_stream
from grandmodel.marl import fused
from grandmodel.marl.autograd import STATISTICS, AutogradLearner
from grandmodel.marl.fused import FusedLearner
from grandmodel.marl.networks import Stack, new_stack
from grandmodel.marl.rollout import Batch

COUNTS = (3, 2, 4)


def networks(seed: int = 1) -> tuple[Stack, Stack]:
    generator = random_stream(seed, "networks")
    return new_stack(3, (21, 32, 32, 4), 1.0, generator, "cpu"), new_stack(1, (30, 48, 48, 1), 1.0, generator, "cpu")


def batch(size: int) -> Batch:
    generator = random_stream(2, "batch")
    normal = [generator.standard_normal(shape) for shape in ((3, size, 21), (size, 30), (size,), (size,), (size,))]
    inputs, states, gains, returns, values = (torch.from_numpy(array.astype(np.float32)) for array in normal)
    actions = torch.from_numpy(np.stack([generator.integers(0, count, size) for count in COUNTS]))
    log_probs = torch.from_numpy(np.log(generator.uniform(0.1, 0.6, (3, size))).astype(np.float32))
    return Batch(inputs, states, actions, log_probs, gains, returns, values)


@pytest.mark.parametrize("onednn", [True, False])
def test_gradients_and_statistics_agree(onednn: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "HAS_ONEDNN", onednn and fused.HAS_ONEDNN)
    monkeypatch.setattr(fused, "CHUNK", 100)  # several chunks, the last one shorter
    data, index = batch(600), torch.randperm(600, generator=torch.Generator().manual_seed(3))[:330]
    fast, slow = (kind(*networks(), COUNTS, TeamParams(clip=0.3)) for kind in (FusedLearner, AutogradLearner))
    for name, found, expected in zip(STATISTICS, fast.gradients(data, index), slow.gradients(data, index), strict=True):
        torch.testing.assert_close(found, expected.cpu(), rtol=1e-5, atol=1e-6, msg=name)
    for stack, twin in ((fast.actors, slow.actors), (fast.critic, slow.critic)):
        found, expected = stack.flat.grad, twin.flat.grad
        assert found is not None
        assert expected is not None
        assert float(expected.norm()) > 1e-3
        assert float((found - expected).norm() / expected.norm()) < 1e-5


def test_forward_passes_agree() -> None:
    fast, slow = (kind(*networks(), COUNTS, TeamParams()) for kind in (FusedLearner, AutogradLearner))
    data = batch(2500)
    for agent in range(3):
        inputs = data.observations[agent].numpy()
        np.testing.assert_allclose(fast.logits(agent, inputs), slow.logits(agent, inputs), rtol=1e-4, atol=1e-5)
    states = data.states.numpy()
    np.testing.assert_allclose(fast.values(states), slow.values(states), rtol=1e-4, atol=1e-5)


def test_outputs_of_missing_actions_get_no_gradient() -> None:
    learner = FusedLearner(*networks(), COUNTS, TeamParams())
    learner.gradients(batch(400), torch.arange(400))
    last = learner.actors.gradients.weights[2]
    assert float(last[1, :, :2].abs().sum()) > 0
    assert float(last[1, :, 2:].abs().sum()) == 0
    assert float(last[0, :, 3:].abs().sum()) == 0
