"""Random bits by counter: any bit of a dropout mask can be drawn again from key and place, in any order.

Philox4x32-10 of Salmon, Moraes, Dror and Shaw (2011), "Parallel random numbers: as easy as 1, 2, 3": a block of four
32-bit words is a function of a 64-bit key and a 128-bit counter.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

ROUNDS = 10
LEVELS = 1 << 16  # a unit is kept or dropped by 16 bits
UNITS_PER_BLOCK = 8

U32, U64 = np.uint32, np.uint64


@njit(cache=True, nogil=True)
def fill_words(key: int, stream: int, first_row: int, rows: int, blocks: int, words: NDArray[np.uint32]) -> None:
    """Write the words of counters (b, ``first_row`` + r, ``stream``, 0) to ``words`` [4, >= rows * blocks] at r, b."""
    key_low, key_high = U32(key & 0xFFFFFFFF), U32((key >> 32) & 0xFFFFFFFF)
    out0, out1, out2, out3 = words[0], words[1], words[2], words[3]
    for row in range(rows):
        for block in range(blocks):  # all rounds at once, many blocks in vectors
            a, b, c, d = U32(block), U32(first_row + row), U32(stream), U32(0)
            low, high = key_low, key_high
            for _ in range(ROUNDS):
                first, second = U64(0xD2511F53) * U64(a), U64(0xCD9E8D57) * U64(c)
                a, b, c, d = (
                    U32(U32(second >> U64(32)) ^ b ^ low),
                    U32(second),
                    U32(U32(first >> U64(32)) ^ d ^ high),
                    U32(first),
                )
                low, high = U32(low + U32(0x9E3779B9)), U32(high + U32(0xBB67AE85))
            at = row * blocks + block
            out0[at], out1[at], out2[at], out3[at] = a, b, c, d


@njit(cache=True, nogil=True)
def fill_masks(
    key: int, stream: int, first_row: int, rate: float, words: NDArray[np.uint32], masks: NDArray[np.float32]
) -> None:
    """Write 0, or 1 / (1 - rate), to ``masks`` [rows, units]; row r has the counter ``first_row + r``.

    Units are a multiple of UNITS_PER_BLOCK, and ``words`` comes from ``new_words``. With n blocks a row, unit p * n + b
    (p below 8) has the low (p even) or high half of word p // 2 of block b, and is dropped where that is below
    ``round(rate * 65536)``.
    """
    threshold = U32(round(rate * LEVELS))
    zero, kept = np.float32(0.0), np.float32(LEVELS / (LEVELS - threshold))
    rows, blocks = masks.shape[0], masks.shape[1] // UNITS_PER_BLOCK
    fill_words(key, stream, first_row, rows, blocks, words)
    for row in range(rows):
        for word in range(4):
            bits = words[word, row * blocks : (row + 1) * blocks]
            even = masks[row, 2 * word * blocks : (2 * word + 1) * blocks]
            odd = masks[row, (2 * word + 1) * blocks : (2 * word + 2) * blocks]
            for block in range(len(bits)):
                even[block] = zero if U32(bits[block] & U32(0xFFFF)) < threshold else kept
                odd[block] = zero if U32(bits[block] >> U32(16)) < threshold else kept


def dropout_masks(key: int, stream: int, rows: int, units: int, rate: float) -> NDArray[np.float32]:
    """Return the masks [rows, units] that compiled code draws for the same key, stream and rate: 0 or 1 / (1 - rate).

    ``units`` is a multiple of UNITS_PER_BLOCK; the layout depends on it.
    """
    masks = np.empty((rows, units), np.float32)
    fill_masks(key, stream, 0, rate, new_words(rows, units), masks)
    return masks


def new_words(rows: int, units: int) -> NDArray[np.uint32]:
    """Return room for the random bits of ``rows`` of ``units`` units."""
    return np.empty((4, rows * (units // UNITS_PER_BLOCK)), np.uint32)
