"""Damaged files are read or refused in words; nothing else ever happens."""

from __future__ import annotations

from collections import Counter

import numpy as np

from grandmodel.core.errors import DataError
from grandmodel.core.random import random_stream
from grandmodel.data.readers import read_dataset


def _flip(content: bytes, generator: np.random.Generator) -> bytes:
    at = int(generator.integers(len(content)))
    return content[:at] + bytes([int(generator.integers(256))]) + content[at + 1 :]


def _cut(content: bytes, generator: np.random.Generator) -> bytes:
    return content[: int(generator.integers(len(content)))]


def _lines(content: bytes, generator: np.random.Generator) -> tuple[list[bytes], int, int]:
    lines = content.split(b"\n")
    first, second = sorted(int(row) for row in generator.integers(1, len(lines) - 2, 2))
    return lines, first, second + 1


def _repeat(content: bytes, generator: np.random.Generator) -> bytes:
    lines, first, second = _lines(content, generator)
    return b"\n".join(lines[:second] + lines[first:])


def _drop(content: bytes, generator: np.random.Generator) -> bytes:
    lines, first, second = _lines(content, generator)
    return b"\n".join(lines[:first] + lines[second:])


def _shift(content: bytes, generator: np.random.Generator) -> bytes:
    lines, first, _ = _lines(content, generator)
    return b"\n".join([*lines[:first], b",".join(lines[first].split(b",")[1:]), *lines[first + 1 :]])


def test_a_damaged_file_is_read_or_refused_in_words(globex, csv):
    path = csv(globex(sessions=40), "Asia/Jerusalem", form="%d/%m/%Y %H:%M:%S")
    good = path.read_bytes()
    seen: Counter[str] = Counter()
    for case in range(60):
        generator = random_stream(case, "fuzz")
        damage = (_flip, _cut, _repeat, _drop, _shift)[case % 5]
        path.write_bytes(damage(good, generator))
        try:
            read_dataset(path)
            messages = []
        except DataError as error:
            messages = [str(error)]
        seen["refused" if messages else "read"] += 1
        assert all("NQ.csv" in message for message in messages)
    assert min(seen["read"], seen["refused"]) > 5
