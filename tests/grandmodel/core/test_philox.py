"""Random bits by counter against the published vectors and a plain twin."""

from __future__ import annotations

import numpy as np
import pytest

from grandmodel.core.philox import LEVELS, dropout_masks, fill_masks, fill_words, new_words


def philox(counter: list[int], key: list[int]) -> list[int]:
    """Return the four words of Philox4x32-10 in plain integers."""
    a, b, c, d = counter
    low, high = key
    for _ in range(10):
        first, second = 0xD2511F53 * a, 0xCD9E8D57 * c
        a, b, c, d = (second >> 32) ^ b ^ low, second % 2**32, (first >> 32) ^ d ^ high, first % 2**32
        low, high = (low + 0x9E3779B9) % 2**32, (high + 0xBB67AE85) % 2**32
    return [a, b, c, d]


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ([0] * 4, [0] * 2, [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([2**32 - 1] * 4, [2**32 - 1] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_the_twin_gives_the_published_words(counter: list[int], key: list[int], expected: list[int]) -> None:
    assert philox(counter, key) == expected


def test_compiled_words_are_those_of_the_twin() -> None:
    key = 0x7123456789ABCDEF
    words = np.zeros((4, 6), np.uint32)
    fill_words(key, 5, 9, 2, 3, words)
    for row in range(2):
        for block in range(3):
            expected = philox([block, 9 + row, 5, 0], [key % 2**32, key >> 32])
            assert words[:, row * 3 + block].tolist() == expected


def test_masks_are_what_the_documented_layout_says() -> None:
    blocks, rate = 4, 0.3
    masks = dropout_masks(11, 2, 3, 8 * blocks, rate)
    threshold = round(rate * LEVELS)
    for row in range(3):
        for part in range(8):
            for block in range(blocks):
                word = philox([block, row, 2, 0], [11, 0])[part // 2]
                half = (word >> (16 * (part % 2))) & 0xFFFF
                expected = 0.0 if half < threshold else LEVELS / (LEVELS - threshold)
                assert masks[row, part * blocks + block] == np.float32(expected)


def test_a_row_does_not_depend_on_what_is_drawn_beside_it() -> None:
    whole, part = dropout_masks(3, 1, 10, 64, 0.2), np.empty((4, 64), np.float32)
    fill_masks(3, 1, 6, 0.2, new_words(4, 64), part)
    np.testing.assert_array_equal(part, whole[6:])


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5])
def test_the_rate_is_met_and_the_mean_kept(rate: float) -> None:
    masks = dropout_masks(4, 0, 4000, 128, rate)
    deviation = np.sqrt(rate * (1 - rate) / masks.size)
    assert abs(float((masks == 0).mean()) - rate) < 4 * deviation + 1e-5
    assert abs(float(masks.mean(dtype=np.float64)) - 1) < 4 * deviation / (1 - rate) + 1e-4
    # Neighbours, in units and in rows, are dropped independently of each other.
    dropped = (masks == 0) - rate
    for other in (dropped[:, 1:] * dropped[:, :-1], dropped[1:] * dropped[:-1]):
        assert abs(float(other.mean())) < 4 * rate * (1 - rate) / np.sqrt(other.size) + 1e-5
