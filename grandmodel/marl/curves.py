"""Curves of a training as it goes on: one line of JSON a rollout, and the event file that TensorBoard shows.

The event file is written here, without TensorBoard: records of TensorFlow's format (length, masked CRC-32C, bytes) that
hold one ``Event`` message each, of which only five fields are needed (tensorflow/core/util/event.proto).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from grandmodel.core.clock import Clock
from grandmodel.core.files import write_bytes_atomic

Row = Mapping[str, float]
EVENT_FILE = "events.out.tfevents.curves"
NOT_SHOWN = ("frames", "frames_total", "seconds_left", "time")


class CurveLog:
    """Hears the progress of one training; after a kill it goes on where the training does."""

    def __init__(self, lines: Path, events: Path | None, clock: Clock) -> None:
        """Write to the file ``lines``, and to an event file in the folder ``events`` where one is named."""
        self._lines, self._clock = lines, clock
        self._events = events / EVENT_FILE if events is not None else None
        self._begun = False

    def __call__(self, row: Row) -> None:
        """Append one row of curves; the first one drops what stands at or after its frames."""
        row = {**row, "time": self._clock().timestamp()}
        if not self._begun:
            kept = [one for one in read_rows(self._lines) if one["frames"] < row["frames"]]
            write_bytes_atomic(self._lines, b"".join(_line(one) for one in kept))
            if self._events is not None:
                write_bytes_atomic(self._events, event_file(kept))
            self._begun = True
        with self._lines.open("ab") as stream:
            stream.write(_line(row))
        if self._events is not None:
            with self._events.open("ab") as stream:
                stream.write(_record(_event(row)))


def read_rows(lines: Path) -> list[dict[str, float]]:
    """Return the rows that a ``CurveLog`` wrote; a last line torn by a kill is left out, and so is an absent file."""
    return list(_whole_rows(lines)) if lines.exists() else []


def event_file(rows: list[dict[str, float]]) -> bytes:
    """Return ``rows`` as the bytes of an event file: scalars by name, at the step of their frames."""
    time = rows[0]["time"] if rows else 0.0
    version = _double(1, time) + _bytes(3, b"brain.Event:2")
    return b"".join([_record(version), *(_record(_event(row)) for row in rows)])


def _whole_rows(lines: Path) -> Iterator[dict[str, float]]:
    for line in lines.read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            yield json.loads(line)


def _line(row: Row) -> bytes:
    return json.dumps(row).encode() + b"\n"


def _event(row: Row) -> bytes:
    values = b"".join(
        _bytes(1, _bytes(1, name.encode()) + _key(2, 5) + struct.pack("<f", value))
        for name, value in row.items()
        if name not in NOT_SHOWN
    )
    return _double(1, row["time"]) + _key(2, 0) + _varint(int(row["frames"])) + _bytes(5, values)


def _record(content: bytes) -> bytes:
    length = struct.pack("<Q", len(content))
    return length + struct.pack("<I", _masked_crc(length)) + content + struct.pack("<I", _masked_crc(content))


def _key(field: int, kind: int) -> bytes:
    return _varint(field << 3 | kind)


def _double(field: int, value: float) -> bytes:
    return _key(field, 1) + struct.pack("<d", value)


def _bytes(field: int, content: bytes) -> bytes:
    return _key(field, 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _masked_crc(content: bytes) -> int:
    crc, table = 0xFFFFFFFF, _crc_table()
    for byte in content:
        crc = table[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@cache
def _crc_table() -> tuple[int, ...]:
    """Return the table of CRC-32C (Castagnoli 1993, reflected polynomial 0x82F63B78)."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return tuple(table)
