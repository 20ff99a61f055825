"""Exported actors give what the serving policy gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from grandmodel.core.random import random_stream
from grandmodel.market import mixture
from grandmodel.market.onnx_export import export_onnx
from grandmodel.market.policy import TeamPolicy
from tests.grandmodel.market.conftest import make_sized_team


def policy_of(kind: int, hidden: int = 16) -> TeamPolicy:
    spec, random = make_sized_team(), random_stream(1, "onnx", kind)
    agents, size, actions = len(spec.agents), spec.observation_size, spec.actions_max
    shapes = mixture.shapes_of(kind, agents, hidden)
    for layer, (rows, columns) in enumerate([(size, hidden), (hidden, hidden), (hidden, actions)]):
        shapes |= {f"actor.{layer}.weight": (agents, rows, columns), f"actor.{layer}.bias": (agents, columns)}
    weights = {name: random.normal(0, 0.4, shape).astype(np.float32) for name, shape in shapes.items()}
    if kind == mixture.SUPERPOSITION:
        unitary = np.linalg.qr(random.normal(size=(agents, 8, 8)) + 1j * random.normal(size=(agents, 8, 8)))[0]
        weights[mixture.UNITARY] = np.stack([unitary.real, unitary.imag], axis=1).astype(np.float32)
    return TeamPolicy(spec, weights)


@pytest.mark.parametrize("kind", [mixture.NONE, mixture.SUPERPOSITION, mixture.SOFTMAX])
def test_every_agent_agrees_with_the_serving_policy(tmp_path: Path, kind: int) -> None:
    policy = policy_of(kind)
    paths = export_onnx(policy, tmp_path)
    assert [path.name for path in paths] == [f"sized.{agent}.onnx" for agent in policy.spec.agents]
    for agent, path in enumerate(paths):
        seen = random_stream(2, "seen", agent).normal(size=(20, policy.spec.observation_sizes[agent]))
        seen = seen.astype(np.float32)
        (found,) = ReferenceEvaluator(onnx.load(path)).run(None, {"observation": seen})
        expected = [policy.probabilities(row, agent) for row in seen]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_equal_policies_give_equal_bytes(tmp_path: Path) -> None:
    from grandmodel.market.onnx_export import export_onnx

    first, again = (export_onnx(policy_of(mixture.NONE), tmp_path / name) for name in ("first", "again"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
