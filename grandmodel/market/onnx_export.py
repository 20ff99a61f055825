"""Actors in the Open Neural Network Exchange format, one model an agent; the only file that imports ``onnx``.

The graph is that of ``policy.py``: three dense layers with tanh between, and where the team has one its mixture layer.
Another runtime takes another tanh and sums in another order: it agrees to some 1e-6, not to the last bit.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from grandmodel.core.files import write_bytes_atomic
from grandmodel.core.hashing import canonical_json
from grandmodel.market.mixture import EMBEDDINGS, MIX, NONE, SMALLEST_LENGTH, STATES, SUPERPOSITION, fold_gate
from grandmodel.market.policy import TeamPolicy

OPSET = 17
INPUT, OUTPUT = "observation", "probabilities"


def agent_model(policy: TeamPolicy, agent: int) -> onnx.ModelProto:
    """Return the actor of agent number ``agent``.

    Input ``observation`` float32 [batch, its own inputs, unpadded]; output ``probabilities`` float32 [batch, its own
    actions]. The team's description stands in the metadata under ``team``.
    """
    spec, graph = policy.spec, _Graph()
    size, actions = spec.observation_sizes[agent], spec.action_counts[agent]
    layers = [(policy.weights[f"actor.{n}.weight"][agent], policy.weights[f"actor.{n}.bias"][agent]) for n in range(3)]
    hidden = graph.tanh(graph.dense(INPUT, layers[0][0][:size], layers[0][1]))
    hidden = graph.tanh(graph.dense(hidden, *layers[1]))
    if policy.mixture != NONE:
        hidden = _with_context(graph, policy, agent, hidden)
    logits = graph.dense(hidden, layers[2][0][:, :actions], layers[2][1][:actions])
    graph.add("Softmax", [logits], output=OUTPUT, axis=-1)
    floats = onnx.TensorProto.FLOAT
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            f"{spec.name}.{spec.agents[agent]}",
            [helper.make_tensor_value_info(INPUT, floats, ["batch", size])],
            [helper.make_tensor_value_info(OUTPUT, floats, ["batch", actions])],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=8,
        producer_name="grandmodel",
    )
    helper.set_model_props(model, {"team": canonical_json(spec.to_dict()), "agent": spec.agents[agent]})
    onnx.checker.check_model(model, full_check=True)
    return model


def export_onnx(policy: TeamPolicy, folder: Path) -> list[Path]:
    """Write ``{team}.{agent}.onnx`` for every agent to ``folder``; return the files in acting order."""
    paths = []
    for agent, name in enumerate(policy.spec.agents):
        paths.append(folder / f"{policy.spec.name}.{name}.onnx")
        write_bytes_atomic(paths[-1], agent_model(policy, agent).SerializeToString(deterministic=True))
    return paths


class _Graph:
    """Nodes and constants under running names."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def add(self, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        """Append one node and return the name of its output."""
        output = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def constant(self, values: NDArray[np.generic]) -> str:
        """Store an array and return its name."""
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def dense(self, values: str, weight: NDArray[np.float32], bias: NDArray[np.float32]) -> str:
        return self.add("Gemm", [values, self.constant(weight), self.constant(bias)])

    def tanh(self, values: str) -> str:
        return self.add("Tanh", [values])

    def columns(self, values: str, first: int, last: int) -> str:
        bounds = [self.constant(np.array([number], np.int64)) for number in (first, last, 1)]
        return self.add("Slice", [values, *bounds])


def _with_context(graph: _Graph, policy: TeamPolicy, agent: int, hidden: str) -> str:
    """Add the expected embedding of the market states to ``hidden``, see ``mixture.py``."""
    gated = graph.dense(hidden, *fold_gate(policy.weights, agent))
    left, right = graph.columns(gated, 0, STATES), graph.columns(gated, STATES, 2 * STATES)
    if policy.mixture == SUPERPOSITION:
        squares = graph.add("Add", [graph.add("Mul", [left, left]), graph.add("Mul", [right, right])])
        axis = graph.constant(np.array([1], np.int64))
        total = graph.add("ReduceSum", [squares, axis], keepdims=1)
        floor = graph.constant(np.array(SMALLEST_LENGTH, np.float32))
        chances = graph.add("Div", [squares, graph.add("Max", [total, floor])])
    else:
        mixed = graph.add("MatMul", [graph.tanh(right), graph.constant(policy.weights[MIX][agent])])
        chances = graph.add("Softmax", [graph.add("Add", [left, mixed])], axis=-1)
    context = graph.add("MatMul", [chances, graph.constant(policy.weights[EMBEDDINGS][agent])])
    return graph.add("Add", [hidden, context])
