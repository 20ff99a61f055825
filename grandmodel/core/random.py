"""Named random streams: every consumer draws from its own, so adding one never shifts another."""

from __future__ import annotations

import hashlib

import numpy as np


def random_stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return the generator that belongs to ``seed`` and the path of ``names``, the same on every call."""
    return np.random.Generator(np.random.PCG64(derive_seed(seed, *names)))


def derive_seed(seed: int, *names: str | int) -> int:
    """Return a 63-bit seed for the path of ``names`` below ``seed``."""
    path = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(path.encode()).digest()[:8], "big") >> 1
