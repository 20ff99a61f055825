"""Actors and critic: equally shaped perceptrons with two hidden tanh layers, stacked in one flat tensor.

One row of the tensor holds all parameters of one network, so that a gradient norm per network and an Adam step are
single passes. The critic is a stack of one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from grandmodel.marl.dropout import Masks
from grandmodel.marl.superposition import Mixture, draw_mixture, export_mixture, mixture_size, split_mixture

MixIn = Callable[[Tensor], Tensor]

# Stands for minus infinity on actions an agent does not have: exp gives exactly 0, and 0 x log 0 stays 0, not NaN.
MASKED_LOGIT = -1e30


class Layers(NamedTuple):
    """Views of a stack's parameters, or of its gradients."""

    weights: tuple[Tensor, ...]  # three of [B, in, out]
    biases: tuple[Tensor, ...]  # three of [B, out]


@dataclass(frozen=True)
class Stack:
    """B networks: parameters ``flat`` float32 [B, P] with its gradient in ``flat.grad``, and the layer widths.

    The parameters of a mixture layer stand last in ``flat``; ``dropout`` is the rate in training.
    """

    flat: Tensor
    widths: tuple[int, int, int, int]
    mixture: Mixture = "none"
    dropout: float = 0.0

    @cached_property
    def layers(self) -> Layers:
        """Parameters as views."""
        return split(self.flat.detach(), self.widths)

    @cached_property
    def gradients(self) -> Layers:
        """Gradients as views; ``flat.grad`` is never replaced, only written to."""
        assert self.flat.grad is not None
        return split(self.flat.grad, self.widths)

    def clear_gradients(self) -> None:
        """Set all gradients to zero in place."""
        assert self.flat.grad is not None
        self.flat.grad.zero_()

    def clip_norms(self, norm_max: float) -> None:
        """Scale each network's gradient to a norm of at most ``norm_max``."""
        assert self.flat.grad is not None
        norms = torch.linalg.vector_norm(self.flat.grad, dim=1, keepdim=True)
        self.flat.grad *= (norm_max / (norms + 1e-6)).clamp_(max=1.0)

    def export(self, prefix: str, networks: int) -> dict[str, NDArray[np.float32]]:
        """Return copies as ``{prefix}.{layer}.weight`` [networks, in, out] and ``.bias`` [networks, out].

        A stack of one network is repeated. With a mixture layer its arrays follow as ``{prefix}.mixture.*``, see
        ``superposition.export_mixture``; with dropout its rate as ``{prefix}.dropout`` [1].
        """
        named: dict[str, Tensor] = {}
        for index, (weight, bias) in enumerate(zip(*self.layers, strict=True)):
            named |= {f"{index}.weight": weight, f"{index}.bias": bias}
        if self.mixture != "none":
            mixture = export_mixture(split_mixture(self.flat.detach(), self.widths[2]), self.mixture)
            named |= {f"mixture.{name}": tensor for name, tensor in mixture.items()}
        arrays: dict[str, NDArray[np.float32]] = {}
        for name, tensor in named.items():
            shape = (networks, *tensor.shape[1:])
            arrays[f"{prefix}.{name}"] = tensor.cpu().expand(shape).contiguous().numpy().copy()
        if self.dropout > 0:
            arrays[f"{prefix}.dropout"] = np.array([self.dropout], np.float32)
        return arrays


def new_stack(
    count: int,
    widths: tuple[int, int, int, int],
    last_gain: float,
    generator: np.random.Generator,
    device: str,
    mixture: Mixture = "none",
    dropout: float = 0.0,
) -> Stack:
    """Return ``count`` networks with orthogonal weights (gain sqrt 2, last layer ``last_gain``) and zero biases."""
    size = sum(rows * columns + columns for rows, columns in pairwise(widths)) + mixture_size(mixture, widths[2])
    flat = torch.zeros(count, size)
    for layer, weight in enumerate(split(flat, widths).weights):
        for network in range(count):
            gain = last_gain if layer == 2 else float(np.sqrt(2.0))
            weight[network] = orthogonal(generator, widths[layer], widths[layer + 1], gain)
    if mixture != "none":
        draw_mixture(split_mixture(flat, widths[2]), generator)
    flat = flat.to(device).requires_grad_()
    flat.grad = torch.zeros_like(flat)
    return Stack(flat, widths, mixture, dropout)


def lean(actors: Stack, actions: tuple[int, ...], action_counts: tuple[int, ...], share: float) -> None:
    """Bias the last layer of fresh ``actors`` so that agent k draws ``actions[k]`` with a chance of about ``share``.

    The agent's other actions share the rest alike. A stack of one network takes the first agent's. An agent with one
    action has nothing to lean to.
    """
    biases = actors.layers.biases[2]
    for network, action, count in zip(range(len(biases)), actions, action_counts, strict=False):
        if count > 1:
            biases[network, action] = float(np.log(share * (count - 1) / (1.0 - share)))


def split(flat: Tensor, widths: tuple[int, int, int, int]) -> Layers:
    """Return ``flat`` [B, P] as weight views [B, in, out] and bias views [B, out] of the three layers."""
    weights, biases, start = [], [], 0
    for rows, columns in pairwise(widths):
        weights.append(flat[:, start : start + rows * columns].view(-1, rows, columns))
        start += rows * columns
        biases.append(flat[:, start : start + columns])
        start += columns
    return Layers(tuple(weights), tuple(biases))


def forward(layers: Layers, inputs: Tensor, masks: Masks | None = None, mix: MixIn | None = None) -> Tensor:
    """Return the outputs [B, M, out] of all networks for ``inputs`` [B, M, in].

    ``masks`` [B, M, H] are dropout's factors of the hidden layers; ``mix`` adds a mixture's context to the second.
    """
    hidden = inputs
    for index, (weight, bias) in enumerate(zip(*layers, strict=True)):
        hidden = torch.baddbmm(bias.unsqueeze(1), hidden, weight)
        if index < 2:
            hidden = torch.tanh(hidden)
            hidden = hidden * masks[index] if masks is not None else hidden
        if index == 1 and mix is not None:
            hidden = mix(hidden)
    return hidden


def orthogonal(generator: np.random.Generator, rows: int, columns: int, gain: float) -> Tensor:
    """Draw a [rows, columns] matrix with orthogonal rows or columns (Saxe et al. 2014), times ``gain``."""
    tall = torch.from_numpy(generator.standard_normal((max(rows, columns), min(rows, columns))))
    q, r = torch.linalg.qr(tall)
    q *= torch.where(r.diagonal() < 0, -1.0, 1.0)
    drawn: Tensor = gain * (q if rows >= columns else q.T)
    return drawn.float()


def action_mask(action_counts: tuple[int, ...]) -> NDArray[np.float32]:
    """Return [A, K]: 0 where the agent has the action, MASKED_LOGIT where it does not."""
    exists = np.arange(max(action_counts)) < np.asarray(action_counts)[:, None]
    return np.where(exists, 0.0, MASKED_LOGIT).astype(np.float32)
