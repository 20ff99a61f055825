"""Forward and backward passes of the fused path for networks of three layers, in compiled code.

Samples are worked off in tiles whose activations stay in the cache, row by row: [samples, width]. Widths of hidden and
output layers are padded to whole vectors; the padding is zero everywhere and stays zero.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from grandmodel.core.vector import compile_once, multiply, padded, tanh

TILE = 128
F = np.float32
Floats = NDArray[np.float32]


class Padded(NamedTuple):
    """Weights or gradients of B networks, widths padded; the fields of one layer lie behind each other."""

    weight0: Floats  # [B, in, h0]
    bias0: Floats  # [B, 1, h0]
    weight1: Floats  # [B, h0, h1]
    bias1: Floats
    weight2: Floats  # [B, h1, out]
    bias2: Floats


class Tile(NamedTuple):
    """Activations and derivatives of one tile of samples."""

    inputs: Floats  # [TILE, in]
    hidden0: Floats
    hidden1: Floats
    outputs: Floats
    slopes0: Floats
    slopes1: Floats
    scratch: Floats  # [6 + 2 * out, TILE]
    ones: Floats  # [1, TILE]
    zeros: Floats  # [1, widest]


class Side(NamedTuple):
    """B networks of one kind, actors or critic."""

    widths: NDArray[np.int64]  # [4], not padded
    flat: Floats  # [B, P] parameters, shared with torch
    gradient: Floats  # [B, P] shared with torch
    weights: Padded
    turned1: Floats  # [B, h1, h0]
    turned2: Floats  # [B, out, h1]
    sums: Padded
    tile: Tile


def new_side(widths: tuple[int, int, int, int], flat: Floats, gradient: Floats) -> Side:
    """Return the padded buffers for B networks over the given parameters and gradients [B, P]."""
    inputs, hidden0, hidden1, outputs = widths[0], *map(padded, widths[1:])
    count = len(flat)

    def empty(*shape: int) -> Floats:
        return np.zeros(shape, F)

    def layers() -> Padded:
        pairs = ((inputs, hidden0), (hidden0, hidden1), (hidden1, outputs))
        return Padded(*(empty(count, rows, columns) for above, columns in pairs for rows in (above, 1)))

    tile = Tile(
        inputs=empty(TILE, inputs),
        hidden0=empty(TILE, hidden0),
        hidden1=empty(TILE, hidden1),
        outputs=empty(TILE, outputs),
        slopes0=empty(TILE, hidden0),
        slopes1=empty(TILE, hidden1),
        scratch=empty(6 + 2 * outputs, TILE),
        ones=np.ones((1, TILE), F),
        zeros=empty(1, max(hidden0, hidden1, outputs)),
    )
    turned = empty(count, hidden1, hidden0), empty(count, outputs, hidden1)
    return Side(np.array(widths, np.int64), flat, gradient, layers(), *turned, layers(), tile)


@njit(cache=True, nogil=True)
def _copy_layer(flat: Floats, at: int, weight: Floats, bias: Floats, rows: int, columns: int, out: bool) -> int:
    """Copy one layer between ``flat`` from ``at`` on and its padded arrays, ``out`` of them or into them."""
    for row in range(rows):
        for column in range(columns):
            if out:
                flat[at + row * columns + column] = weight[row, column]
            else:
                weight[row, column] = flat[at + row * columns + column]
    at += rows * columns
    for column in range(columns):
        if out:
            flat[at + column] = bias[0, column]
        else:
            bias[0, column] = flat[at + column]
    return at + columns


@njit(cache=True, nogil=True)
def _copy_layers(flat: Floats, padded_layers: Padded, network: int, widths: NDArray[np.int64], out: bool) -> None:
    w, n = padded_layers, network
    at = _copy_layer(flat[n], 0, w.weight0[n], w.bias0[n], widths[0], widths[1], out)
    at = _copy_layer(flat[n], at, w.weight1[n], w.bias1[n], widths[1], widths[2], out)
    _copy_layer(flat[n], at, w.weight2[n], w.bias2[n], widths[2], widths[3], out)


@njit(cache=True, nogil=True)
def load_weights(side: Side) -> None:
    """Copy all parameters into the padded arrays and turn the upper two layers for the backward pass."""
    for network in range(len(side.flat)):
        _copy_layers(side.flat, side.weights, network, side.widths, False)
        side.turned1[network] = side.weights.weight1[network].T
        side.turned2[network] = side.weights.weight2[network].T


@njit(cache=True, nogil=True)
def clear_gradients(side: Side) -> None:
    """Set the padded sums of gradients to zero."""
    for array in side.sums:
        array[:] = F(0.0)


@njit(cache=True, nogil=True)
def store_gradients(side: Side) -> None:
    """Copy the padded sums into the gradients that torch sees."""
    for network in range(len(side.flat)):
        _copy_layers(side.gradient, side.sums, network, side.widths, True)


@njit(cache=True, nogil=True, error_model="numpy")
def _squash(values: Floats) -> None:
    for i in range(len(values)):
        values[i] = tanh(values[i])


@njit(cache=True, nogil=True)
def _through_tanh(slopes: Floats, hidden: Floats) -> None:
    for i in range(len(slopes)):
        slopes[i] *= F(1.0) - hidden[i] * hidden[i]


@njit(cache=True, nogil=True)
def forward(side: Side, network: int, inputs: Floats, rows: int) -> None:
    """Fill hidden layers and outputs of the tile for ``inputs[:rows]``."""
    compile_once()
    weights, tile = side.weights, side.tile
    hidden0, hidden1, outputs = tile.hidden0, tile.hidden1, tile.outputs
    width0, width1, width2 = hidden0.shape[1], hidden1.shape[1], outputs.shape[1]
    depth = inputs.shape[1]
    multiply(inputs, False, weights.weight0[network], weights.bias0[network], hidden0, rows, width0, depth)
    _squash(hidden0.reshape(-1)[: rows * width0])
    multiply(hidden0, False, weights.weight1[network], weights.bias1[network], hidden1, rows, width1, width0)
    _squash(hidden1.reshape(-1)[: rows * width1])
    multiply(hidden1, False, weights.weight2[network], weights.bias2[network], outputs, rows, width2, width1)


@njit(cache=True, nogil=True)
def _add_gradients(left: Floats, slopes: Floats, weight: Floats, bias: Floats, ones: Floats, rows: int) -> None:
    """Add ``left.T @ slopes`` and the sum of ``slopes`` over ``rows`` samples."""
    multiply(left, True, slopes, weight, weight, weight.shape[0], weight.shape[1], rows)
    multiply(ones, False, slopes, bias, bias, 1, bias.shape[1], rows)


@njit(cache=True, nogil=True)
def backward(side: Side, network: int, rows: int) -> None:
    """Add the gradients of one tile; its outputs hold the derivatives of the loss by the outputs."""
    compile_once()
    tile, sums = side.tile, side.sums
    slopes0, slopes1 = tile.slopes0, tile.slopes1
    width0, width1 = slopes0.shape[1], slopes1.shape[1]
    _add_gradients(tile.hidden1, tile.outputs, sums.weight2[network], sums.bias2[network], tile.ones, rows)
    multiply(tile.outputs, False, side.turned2[network], tile.zeros, slopes1, rows, width1, side.widths[3])
    _through_tanh(slopes1.reshape(-1)[: rows * width1], tile.hidden1.reshape(-1)[: rows * width1])
    _add_gradients(tile.hidden0, slopes1, sums.weight1[network], sums.bias1[network], tile.ones, rows)
    multiply(slopes1, False, side.turned1[network], tile.zeros, slopes0, rows, width0, side.widths[2])
    _through_tanh(slopes0.reshape(-1)[: rows * width0], tile.hidden0.reshape(-1)[: rows * width0])
    _add_gradients(tile.inputs, slopes0, sums.weight0[network], sums.bias0[network], tile.ones, rows)
