"""Mixture layers of an actor: K = 8 candidate market states, read off the second hidden layer.

``superposition`` is a complex-valued mixture layer on classical hardware, no quantum advantage claimed. Complex
amplitudes c = a + ib, linear in the hidden layer h, are brought to unit length; psi = U c with a learned unitary U;
p = |psi|^2 (Born's rule) are the probabilities of the states. ``softmax`` is the plain mixture of equal size: arrays of
the same shapes, p = softmax(a + tanh(b) M). Either puts out the context sum_k p_k e_k, which is added to h.

U is exp(A) of a skew-Hermitian A, whose K^2 real degrees of freedom are one real [K, K] matrix S: the antisymmetric
part of S is the real part of A, its symmetric part the imaginary part. So U is unitary at every step of training.

U adds no function that W and b could not express: U (W h + b) is linear in h, and U keeps lengths. It changes how the
gradient moves through the layer, and nothing else; serving multiplies it into W.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

STATES = 8
SMALLEST_LENGTH = 1e-12  # squared; below it amplitudes have no direction to speak of
Mixture = Literal["none", "superposition", "softmax"]


class MixtureLayers(NamedTuple):
    """Views of the mixture's parameters of B networks."""

    gate: Tensor  # [B, H, 2 K], columns a and then b
    gate_bias: Tensor  # [B, 2 K]
    mix: Tensor  # [B, K, K], S of the superposition or M of the softmax
    embeddings: Tensor  # [B, K, H]


def mixture_size(mixture: Mixture, hidden: int) -> int:
    """Return how many parameters the mixture layer of one network has."""
    return 0 if mixture == "none" else sum(int(np.prod(shape)) for shape in _shapes(hidden))


def split_mixture(flat: Tensor, hidden: int) -> MixtureLayers:
    """Return the last numbers of ``flat`` [B, P] as views of the mixture's parameters."""
    shapes = _shapes(hidden)
    sizes = [int(np.prod(shape)) for shape in shapes]
    ends = np.cumsum([flat.shape[1] - sum(sizes), *sizes]).tolist()
    parts = [flat[:, a:b].view(-1, *shape) for (a, b), shape in zip(pairwise(ends), shapes, strict=True)]
    return MixtureLayers(*parts)


def _shapes(hidden: int) -> tuple[tuple[int, ...], ...]:
    return (hidden, 2 * STATES), (2 * STATES,), (STATES, STATES), (STATES, hidden)


def draw_mixture(layers: MixtureLayers, generator: np.random.Generator) -> None:
    """Draw start values in place: a gate that keeps the hidden layer's scale, a random mix, small embeddings."""
    scales = (1 / np.sqrt(layers.gate.shape[1]), 0.1, 0.5, 0.1)
    for tensor, scale in zip(layers, scales, strict=True):
        drawn = generator.normal(0.0, scale, tuple(tensor.shape)).astype(np.float32)
        tensor.copy_(torch.from_numpy(drawn))


def unitary(mix: Tensor) -> Tensor:
    """Return exp of the skew-Hermitian matrices that the real ``mix`` [B, K, K] describes, complex [B, K, K]."""
    turned = mix.transpose(1, 2)
    mixer: Tensor = torch.linalg.matrix_exp(torch.complex((mix - turned) / 2, (mix + turned) / 2))
    return mixer


def amplitudes(gated: Tensor) -> Tensor:
    """Return amplitudes of unit length from the gate's outputs [..., 2 K]: real parts a, then imaginary parts b."""
    return gated / gated.square().sum(dim=-1, keepdim=True).clamp_min(SMALLEST_LENGTH).sqrt()


def born(amplitude: Tensor, mixer: Tensor) -> Tensor:
    """Return |U c|^2 [B, M, K] for ``amplitude`` c [B, M, 2 K], real parts first, and U complex [B, K, K].

    The complex product is one real product with the blocks of U: torch's complex ones are several times slower.
    """
    real, imaginary = mixer.real.transpose(1, 2), mixer.imag.transpose(1, 2)
    blocks = torch.cat([torch.cat([real, imaginary], dim=2), torch.cat([-imaginary, real], dim=2)], dim=1)
    squares = torch.bmm(amplitude, blocks).square()
    return squares[..., :STATES] + squares[..., STATES:]


def probabilities(layers: MixtureLayers, hidden: Tensor, mixture: Mixture) -> Tensor:
    """Return the probabilities of the states [B, M, K] for the second hidden layer [B, M, H]."""
    gated = torch.baddbmm(layers.gate_bias.unsqueeze(1), hidden, layers.gate)
    if mixture == "superposition":
        return born(amplitudes(gated), unitary(layers.mix))
    mixed = torch.baddbmm(gated[..., :STATES], torch.tanh(gated[..., STATES:]), layers.mix)
    return torch.softmax(mixed, dim=2)


def with_context(layers: MixtureLayers, hidden: Tensor, mixture: Mixture) -> Tensor:
    """Return ``hidden`` [B, M, H] plus the expected embedding of its states."""
    return hidden + torch.bmm(probabilities(layers, hidden, mixture), layers.embeddings)


def draw_states(chances: Tensor, uniforms: Tensor) -> Tensor:
    """Return the states drawn by ``uniforms`` [...] from [0, 1): the first whose running sum of ``chances`` exceeds it.

    Training and serving use the expectation and draw nothing; this is what the probabilities mean.
    """
    return (chances.cumsum(dim=-1) <= uniforms.unsqueeze(-1)).sum(dim=-1).clamp_max(chances.shape[-1] - 1)


def export_mixture(layers: MixtureLayers, mixture: Mixture) -> dict[str, Tensor]:
    """Return the arrays that serving reads, by name; the unitary [B, 2, K, K] has its real part first."""
    named = {"gate.weight": layers.gate, "gate.bias": layers.gate_bias, "states": layers.embeddings}
    if mixture == "superposition":
        mixer = unitary(layers.mix.double())
        named["unitary"] = torch.stack([mixer.real, mixer.imag], dim=1).float()
    else:
        named["mix"] = layers.mix
    return named
